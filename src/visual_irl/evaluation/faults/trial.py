"""One trial of a fault: what is moved, when and where the fault strikes, and what the physics then did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray
from scipy.interpolate import CubicSpline

from visual_irl.errors import InvalidInput, RefusedTrajectory
from visual_irl.evaluation.faults.faulty_arm import FaultyArm, moving_joint
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.state import RobotState
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.timing import time_parametrised
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import JointTrajectory

SHARE = (0.3, 0.9)
"""Share of the limits that the motions use."""
AFTER = 1.5
"""How long it is watched that nothing moves [s]."""


class Course(NamedTuple):
    """What the physics did in a trial, and when."""

    history: Sequence[ndarray] | ndarray
    """Time [s], positions [rad] and speeds [rad/s] of its steps, (S, 1 + 2 J)."""
    commands: Sequence[ndarray] | ndarray
    """Time, position, speed and acceleration of all commands, (C, 1 + 3 J)."""
    struck: float
    """When the fault struck [s]."""
    still: int
    """The step from which on everything stood."""
    refused: bool
    """Whether every attempt to go on was refused."""


@runtime_checkable
class _Commanded(Protocol):
    """An arm of which the guard can be asked."""

    robot: RobotModel

    def read(self) -> RobotState: ...


def random_motion(robot: RobotModel, world: World, rng: np.random.Generator) -> JointTrajectory:
    """A motion from home through random poses and to rest, near the arm's limits, that the guard approves."""
    for _ in range(200):
        knots = np.cumsum(np.vstack([np.zeros(len(robot.home)), rng.normal(0.0, 0.3, (3, len(robot.home)))]), axis=0)
        path = CubicSpline(np.arange(4.0), robot.home + knots, bc_type="clamped")
        t = np.linspace(0.0, 3.0, 91)
        q = path(t)
        if not ((q > robot.lower + 0.05) & (q < robot.upper - 0.05)).all():
            continue
        share = float(rng.uniform(*SHARE))
        limits = (robot.velocity, robot.acceleration, robot.jerk)
        try:
            timed = time_parametrised(0.4 * t, q, *limits, share, 100.0)
            trajectory = JointTrajectory(robot.joint_names, timed.t, timed.q, timed.qd, np.zeros(len(timed.t)))
            approved_by(FaultyArm(robot, timed.q[0], "none", np.inf, 0), trajectory, world)
        except (RefusedTrajectory, InvalidInput):
            continue
        if timed.t[-1] > 0.8:
            return trajectory
    raise InvalidInput(f"no random motion of the {robot.name} was approved in 200 draws")


class Trial(NamedTuple):
    """What is moved, and when and where a fault strikes."""

    robot: RobotModel
    world: World
    trajectory: JointTrajectory
    at: float
    """[s]"""
    joint: int


def random_trial(kind: str, robot_name: str, rng: np.random.Generator) -> Trial:
    """A random motion, and a random time and joint for a fault."""
    robot = load_robot(robot_name)
    world = surroundings(Scene((), ()), robot.T_world_base)
    while True:
        trajectory = random_motion(robot, world, rng)
        approved = approved_by(FaultyArm(robot, trajectory.q[0], "none", np.inf, 0), trajectory, world)
        at = float(rng.uniform(0.1, 0.85) * approved.motion.t[-1])
        joint = int(rng.integers(len(robot.home)))
        if kind == "joint against a stop":
            found = moving_joint(approved.motion, at, 0.15)
            if found is None:
                continue
            joint = found
        return Trial(robot, world, trajectory, at, joint)


def approved_by(arm: _Commanded, trajectory: JointTrajectory, world: World) -> ApprovedTrajectory:
    """The motion as the guard approves it for an arm as it stands now.

    Raises:
        RefusedTrajectory: it does not.
    """
    state = arm.read()
    return approve(trajectory, arm.robot, state, world, SIMULATED, now_ns=state.stamp_ns)
