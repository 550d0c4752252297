"""How much a robot's motion looks like the person's: limbs, smoothness, path and time, for ours and for a hand-only solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import VisualIrlError
from visual_irl.evaluation.mapping_peers import DampedLeastSquares, Target
from visual_irl.evaluation.metrics import spectral_arc_length
from visual_irl.mapping.retarget import STREAMED_JERK, MappingReport, RetargetConfig, arm_points
from visual_irl.mapping.targets import targets_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.timing import time_parametrised
from visual_irl.types import HumanArmTrajectory

EXECUTED_RATE = 100.0
"""Samples a second of a motion whose smoothness is measured [1/s]."""


@dataclass(frozen=True)
class Likeness:
    """One motion beside the person's."""

    upper: Float[ndarray, "T"]
    """Angle between the robot's and the person's upper arm in every frame [rad]; the person's is mirrored upwards."""
    fore: Float[ndarray, "T"]
    """The same of the forearm [rad]."""
    smoothness: float
    """Spectral arc length of the hand's speed."""
    path: tuple[float, float]
    """Length of the robot's and of the person's hand path [m]."""
    time: tuple[float, float]
    """Duration of the robot's and of the person's motion [s]; NaN where the robot cannot do it."""
    q_end: Float[ndarray, "J"]
    """Where the robot ends [rad]."""


def likeness_of(
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    arm: HumanArmTrajectory,
    report: MappingReport,
    t: Float[ndarray, "M"],
    q: Float[ndarray, "M J"],
) -> Likeness:
    """Of a motion that was measured: joints `q` [rad] at `t` [s] of the trajectory."""
    at = np.stack([np.interp(report.trajectory_t, t, column) for column in q.T], axis=1)
    return _likeness(arm, arm_points(robot, T_world_base, at), t, arm_points(robot, T_world_base, q)[:, 3], q[-1])


def likeness_of_hand_only(
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    arm: HumanArmTrajectory,
    q_start: Float[ndarray, "J"],
    config: RetargetConfig,
) -> Likeness:
    """Of what a solver that knows of the hand alone plans for the same hand path: Pinocchio's damped least squares, timed as
    ours is. It is not executed."""
    targets = targets_of(arm, robot, T_world_base, config.elbow_up)
    solver = DampedLeastSquares(robot)
    solver.reset(q_start)
    columns = (targets.R, targets.p, targets.upper, targets.fore, targets.posture)
    hands = [Target(*row, targets.interval()) for row in zip(*columns, strict=True)]
    q = np.array([solver.follow(hand) for hand in hands])
    limits = (robot.velocity, robot.acceleration, STREAMED_JERK * robot.jerk, config.speed_share, EXECUTED_RATE)
    try:
        t, timed, _, _, _ = time_parametrised(targets.t, q, *limits)
    except VisualIrlError:  # a path with a jump has no timing: it counts by its frames alone
        points = arm_points(robot, T_world_base, q)
        return _likeness(arm, points, np.full(1, np.nan), points[:, 3], q[-1])
    return _likeness(arm, arm_points(robot, T_world_base, q), t, arm_points(robot, T_world_base, timed)[:, 3], q[-1])


def _likeness(arm: HumanArmTrajectory, frames: ndarray, t: ndarray, hand: ndarray, q_end: ndarray) -> Likeness:
    upper, fore = arm.elbow - arm.shoulder, arm.wrist - arm.elbow
    upper = np.column_stack([upper[:, :2], np.abs(upper[:, 2])])
    own = arm.Ts_world_hand[:, :3, 3]
    smoothness = float("nan")
    if len(t) > 1:
        grid = np.arange(t[0], t[-1], 1.0 / EXECUTED_RATE)
        even = np.stack([np.interp(grid, t, column) for column in hand.T], axis=1)
        smoothness = spectral_arc_length(np.linalg.norm(np.diff(even, axis=0), axis=1) * EXECUTED_RATE, EXECUTED_RATE)
    return Likeness(
        se3.angle_between(frames[:, 1] - frames[:, 0], upper),
        se3.angle_between(frames[:, 2] - frames[:, 1], fore),
        smoothness,
        (_length(hand), _length(own)),
        (float(t[-1] - t[0]) if len(t) > 1 else float("nan"), float(arm.t[-1] - arm.t[0])),
        np.array(q_end),
    )


def summary(motions: Sequence[Likeness]) -> dict[str, float]:
    """Means over motions: limb errors [degrees] over frames, smoothness, and path and time over the person's."""
    if not motions:
        return dict.fromkeys(("upper_deg", "fore_deg", "sparc", "path_ratio", "time_ratio", "without_timing"), float("nan"))
    timed = [m for m in motions if np.isfinite(m.time[0])]
    moved = [m.smoothness for m in timed if np.isfinite(m.smoothness)]  # a hand that stands still has no smoothness
    return {
        "upper_deg": float(np.degrees(np.concatenate([m.upper for m in motions]).mean())),
        "fore_deg": float(np.degrees(np.concatenate([m.fore for m in motions]).mean())),
        "sparc": float(np.mean(moved)) if moved else float("nan"),
        "path_ratio": sum(m.path[0] for m in motions) / sum(m.path[1] for m in motions),
        "time_ratio": sum(m.time[0] for m in timed) / sum(m.time[1] for m in timed) if timed else float("nan"),
        "without_timing": 1.0 - len(timed) / len(motions),
    }


def _length(p: ndarray) -> float:
    return float(np.linalg.norm(np.diff(p, axis=0), axis=1).sum())
