"""Every joint solution of a tool pose in closed form: the Panda over its redundant joint 7, the UR5e's eight and their turns.

Backed by frankik (He and Liu 2021, "Analytical inverse kinematics for Franka Emika Panda") and EAIK (Ostermeier, Kuelz and
Althoff 2025, "Automatic geometric decomposition for analytical inverse kinematics"). Poses are of the tool, in the base frame.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product

import frankik
import numpy as np
import pinocchio as pin
from eaik.IK_HP import HPRobot
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.robots.model import RobotModel

Q7_STEP = np.radians(4.0)
"""Spacing of the Panda's redundant joint [rad]: close enough that neighbours continue each other."""


def panda_solutions(robot: RobotModel, T_base_tcp: Float[ndarray, "4 4"]) -> Float[ndarray, "N 7"]:
    """All solutions inside the limits on a grid of joint 7; empty when out of reach."""
    T_flange_tcp = se3.inverse(robot.fk(robot.home, "panda_link8")) @ robot.fk(robot.home, robot.tcp_frame)
    T_base_flange = np.asfortranarray(T_base_tcp @ se3.inverse(T_flange_tcp))
    grid = np.arange(robot.lower[6] + 0.02, robot.upper[6] - 0.02, Q7_STEP)
    rows = np.concatenate([frankik.ik_full(T_base_flange, robot.home, q7) for q7 in grid])
    return _inside(robot, rows[np.isfinite(rows).all(axis=1)])


def six_axis_solutions(robot: RobotModel, T_base_tcp: Float[ndarray, "4 4"]) -> Float[ndarray, "N 6"]:
    """All solutions of an arm with six joints and a geometric decomposition, with the turns of its joints that lie inside
    the limits and within one and a half half-turns of home; empty when out of reach."""
    solver, R_zero, turns = _six_axis_solver(robot)
    pose = np.array(T_base_tcp)
    pose[:3, :3] = T_base_tcp[:3, :3] @ R_zero.T
    found = solver.IK(pose)
    exact = [q for q, approximate in zip(found.Q, found.is_LS, strict=True) if not approximate]
    if not exact:
        return np.zeros((0, 6))
    rows = (np.array(exact)[:, None, :] + turns[None]).reshape(-1, 6)
    near = np.abs(rows - robot.home).max(axis=1) < 1.5 * np.pi  # a second turn away from home serves no tabletop motion
    return _inside(robot, rows[near])


@lru_cache
def _six_axis_solver(robot: RobotModel) -> tuple[HPRobot, ndarray, ndarray]:
    """The solver built from our own description (joint axes and offsets at zero), the tool's rotation at zero, all turns."""
    model = robot.pinocchio()
    data = model.createData()
    zero = np.zeros(model.nq)
    axes = np.array(pin.computeJointJacobians(model, data, zero)[3:].T)
    T_zero = robot.fk(zero, robot.tcp_frame)
    points = np.array([np.zeros(3), *(data.oMi[i].translation for i in range(1, model.njoints)), T_zero[:3, 3]])
    turns = np.array(list(product((0.0, -2 * np.pi, 2 * np.pi), repeat=6)))
    return HPRobot(axes, np.diff(points, axis=0)), T_zero[:3, :3], turns


SOLVERS = {
    "fr3": panda_solutions,
    "panda": panda_solutions,
    "ur10e": six_axis_solutions,
    "ur5e": six_axis_solutions,
}
"""Robot name -> solver."""


def _inside(robot: RobotModel, rows: ndarray) -> ndarray:
    margin = 0.02
    return rows[((rows > robot.lower + margin) & (rows < robot.upper - margin)).all(axis=1)]
