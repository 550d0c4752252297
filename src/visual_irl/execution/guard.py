"""The only door to an executor: a trajectory is approved as it is, or refused with the reason. Nothing is clipped.

Every comparison is written so that NaN fails it.
"""

from __future__ import annotations

from dataclasses import InitVar, dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import RefusedTrajectory
from visual_irl.robots.model import RobotModel
from visual_irl.types import JointTrajectory

START_DISTANCE = 0.05
"""Largest distance of the first sample from where the robot is, per joint [rad]."""

END_SPEED = 0.05
"""Largest speed at the last sample, per joint [rad/s]."""

ROUNDING = 1e-9
"""Excess over a bound that is rounding and not motion [rad], [rad/s], [m]."""

_TOKEN = object()


@dataclass(frozen=True, eq=False)
class ApprovedTrajectory:
    """A trajectory that `approve` let through for `robot`; cannot be made in any other way."""

    trajectory: JointTrajectory
    robot: RobotModel
    token: InitVar[object] = None

    def __post_init__(self, token: object) -> None:
        if token is not _TOKEN:
            raise RefusedTrajectory("an ApprovedTrajectory comes only from visual_irl.execution.guard.approve")


def approve(trajectory: JointTrajectory, robot: RobotModel, q_start: Float[ndarray, "J"]) -> ApprovedTrajectory:
    """The trajectory, approved for `robot` that now stands at `q_start` [rad].

    Checked: joint names, position limits, gripper opening, speed limits of the stated speeds and of the steps between
    samples, the distance of the start and standing still at the end.

    Raises:
        RefusedTrajectory: names the joint, sample, value, bound and the way out of the first reason found.
    """
    names = robot.joint_names
    if trajectory.joint_names != names:
        raise RefusedTrajectory(
            f"trajectory moves {', '.join(trajectory.joint_names)}, but '{robot.name}' has {', '.join(names)}: "
            "map the demonstration onto this robot"
        )
    q, qd, t = trajectory.q, trajectory.qd, trajectory.t
    reach = "move the demonstration closer to the robot's base or choose another mount"
    slower = "slow the motion down with a smaller speed share"
    _refuse_above(q, robot.upper, names, "position", "rad", reach)
    _refuse_below(q, robot.lower, names, "position", "rad", reach)
    _refuse_above(np.abs(qd), robot.velocity, names, "speed", "rad/s", slower)
    step_speed = np.abs(np.diff(q, axis=0)) / np.diff(t)[:, None]
    _refuse_above(step_speed, robot.velocity, names, "speed from this sample to the next", "rad/s", slower)
    widest = np.array([robot.max_opening])
    _refuse_above(trajectory.opening[:, None], widest, ("gripper",), "opening", "m", "command an opening the gripper has")
    _refuse_below(trajectory.opening[:, None], 0.0 * widest, ("gripper",), "opening", "m", "0 is closed")
    if np.shape(q_start) != (len(names),):
        raise RefusedTrajectory(f"the robot's state has shape {np.shape(q_start)}, expected {len(names)} joint angles")
    start = np.full(len(names), START_DISTANCE)
    _refuse_above(
        np.abs(q[:1] - q_start), start, names, "distance from the robot's position", "rad", "drive to the start first"
    )
    end = np.full(len(names), END_SPEED)
    _refuse_above(np.abs(qd[-1:]), end, names, "speed at the end", "rad/s", "let the trajectory come to rest", first=len(t) - 1)
    return ApprovedTrajectory(trajectory, robot, token=_TOKEN)


def _refuse_above(
    values: Float[ndarray, "T J"],
    bounds: Float[ndarray, "J"],
    names: tuple[str, ...],
    what: str,
    unit: str,
    way_out: str,
    first: int = 0,
) -> None:
    bad = ~(values <= bounds + ROUNDING)
    if bad.any():
        sample, joint = np.argwhere(bad)[0]
        raise RefusedTrajectory(
            f"joint '{names[joint]}' at sample {sample + first}: {what} {values[sample, joint]:.4g} {unit} is above "
            f"{bounds[joint]:.4g} {unit}; {way_out}"
        )


def _refuse_below(
    values: Float[ndarray, "T J"],
    bounds: Float[ndarray, "J"],
    names: tuple[str, ...],
    what: str,
    unit: str,
    way_out: str,
) -> None:
    bad = ~(values >= bounds - ROUNDING)
    if bad.any():
        sample, joint = np.argwhere(bad)[0]
        raise RefusedTrajectory(
            f"joint '{names[joint]}' at sample {sample}: {what} {values[sample, joint]:.4g} {unit} is below "
            f"{bounds[joint]:.4g} {unit}; {way_out}"
        )
