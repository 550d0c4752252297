"""Every joint solution of a tool pose in closed form: the Panda over its redundant joint 7, the UR5e's eight and their turns.

Backed by frankik (He and Liu 2021, "Analytical inverse kinematics for Franka Emika Panda") and ur-analytic-ik (Hawkins
2013), which state poses of the flange; here poses are of the tool, in the base frame of our robot descriptions.
"""

from __future__ import annotations

from itertools import product

import frankik
import numpy as np
from jaxtyping import Float
from numpy import ndarray
from ur_analytic_ik import ur5e

from visual_irl import se3
from visual_irl.robots.model import RobotModel

Q7_STEP = np.radians(4.0)
"""Spacing of the Panda's redundant joint [rad]: close enough that neighbours continue each other."""

_UR_BASE = np.diag([-1.0, -1.0, 1.0, 1.0])
"""ur-analytic-ik's base is turned half about z against ROS's base_link (REP 103)."""


def panda_solutions(robot: RobotModel, T_base_tcp: Float[ndarray, "4 4"]) -> Float[ndarray, "N 7"]:
    """All solutions inside the limits on a grid of joint 7; empty when out of reach."""
    T_flange_tcp = se3.inverse(robot.fk(robot.home, "panda_link8")) @ robot.fk(robot.home, robot.tcp_frame)
    T_base_flange = np.asfortranarray(T_base_tcp @ se3.inverse(T_flange_tcp))
    grid = np.arange(robot.lower[6] + 0.02, robot.upper[6] - 0.02, Q7_STEP)
    rows = np.concatenate([frankik.ik_full(T_base_flange, robot.home, q7) for q7 in grid])
    return _inside(robot, rows[np.isfinite(rows).all(axis=1)])


def ur5e_solutions(robot: RobotModel, T_base_tcp: Float[ndarray, "4 4"]) -> Float[ndarray, "N 6"]:
    """Up to eight solutions with all turns of their joints inside the limits; empty when out of reach."""
    T_flange_tcp = se3.inverse(robot.fk(robot.home, "wrist_3_link")) @ robot.fk(robot.home, robot.tcp_frame)
    solutions = ur5e.inverse_kinematics(np.ascontiguousarray(_UR_BASE @ T_base_tcp @ se3.inverse(T_flange_tcp)))
    if not solutions:
        return np.zeros((0, 6))
    turns = np.array(list(product(*[(0.0,) if j == 2 else (0.0, -2 * np.pi, 2 * np.pi) for j in range(6)])))
    rows = (np.array(solutions)[:, None, :] + turns[None]).reshape(-1, 6)
    near = np.abs(rows - robot.home).max(axis=1) < 1.5 * np.pi  # a second turn away from home serves no tabletop motion
    return _inside(robot, rows[near])


SOLVERS = {"panda": panda_solutions, "ur5e": ur5e_solutions}
"""Robot name -> solver."""


def _inside(robot: RobotModel, rows: ndarray) -> ndarray:
    margin = 0.02
    return rows[((rows > robot.lower + margin) & (rows < robot.upper - margin)).all(axis=1)]
