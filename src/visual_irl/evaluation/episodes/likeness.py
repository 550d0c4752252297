"""How much a robot's motion looks like the person's: limbs, smoothness, path and time, for ours and for a hand-only solver.

The solver's motion is timed and judged like ours, and executed where the guard passes it: in the same physics, but with nothing
on the table, as it stands on a branch of its own and nothing was arranged for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import VisualIrlError
from visual_irl.evaluation.mapping_peers import DampedLeastSquares, Target
from visual_irl.evaluation.metrics import spectral_arc_length
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.mujoco_executor import MujocoExecutor, Randomisation
from visual_irl.execution.state import RobotState
from visual_irl.mapping.offline import EXACT_POSITION, EXACT_ROTATION, hand_errors
from visual_irl.mapping.retarget import STREAMED_JERK, RetargetConfig, arm_points, bounds_between_frames
from visual_irl.mapping.targets import mirrored_upwards, targets_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.timing import time_parametrised
from visual_irl.tasks.scene import Scene
from visual_irl.types import HumanArmTrajectory, JointTrajectory

SUMMARY = ("upper_deg", "fore_deg", "sparc", "sparc_person", "path_ratio", "time_ratio", "without_timing", "refused")
"""What is said of motions."""
EXECUTED_RATE = 100.0
"""Samples a second of a motion whose smoothness is measured [1/s]."""


@dataclass(frozen=True)
class Likeness:
    """One motion beside the person's."""

    upper: Float[ndarray, "T"]
    """Angle between the robot's and the person's upper arm in every frame [rad]; the person's is mirrored upwards."""
    fore: Float[ndarray, "T"]
    """The same of the forearm [rad]."""
    smoothness: tuple[float, float]
    """Spectral arc length of the robot's and of the person's hand's speed; NaN where the hand stands still."""
    path: tuple[float, float]
    """Length of the robot's and of the person's hand path [m]."""
    time: tuple[float, float]
    """Duration of the robot's and of the person's motion [s]; NaN where the robot cannot do it."""
    q_end: Float[ndarray, "J"]
    """Where the robot ends [rad]."""
    refused: str = ""
    """Why a motion that was planned only cannot be executed; '' where nothing speaks against it."""


def likeness_of(
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    arm: HumanArmTrajectory,
    times: Float[ndarray, "T"],
    t: Float[ndarray, "M"],
    q: Float[ndarray, "M J"],
) -> Likeness:
    """Of a motion that was planned, or as it was measured: joints `q` [rad] at `t` [s] of the trajectory, which passes the
    person's frames at `times` [s]."""
    at = np.stack([np.interp(times, t, column) for column in q.T], axis=1)
    return _likeness(arm, arm_points(robot, T_world_base, at), t, arm_points(robot, T_world_base, q)[:, 3], q[-1])


@dataclass(frozen=True)
class HandOnly:
    """What a solver that knows of the hand alone does for a hand path."""

    planned: Likeness
    executed: Likeness | None
    """As it was measured; None where it could not be executed."""


def hand_only(
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    arm: HumanArmTrajectory,
    q_start: Float[ndarray, "J"],
    config: RetargetConfig,
    world: World,
    scene: Scene,
) -> HandOnly:
    """What Pinocchio's damped least squares makes of the same hand path, with our margin to joint limits, timed as ours is.

    Where it could not be executed the planned one's `refused` says why: the hand is not there, it has no timing, or the guard
    that ours passes has something against it, where the arm stands at its first sample. It is executed among the fixtures of
    the `scene`.
    """
    targets = targets_of(arm, robot, T_world_base, config.elbow_up)
    solver = DampedLeastSquares(robot, config.offline.margin)
    solver.reset(q_start)
    columns = (targets.R, targets.p, targets.upper, targets.fore, targets.posture)
    hands = [Target(*row, targets.interval()) for row in zip(*columns, strict=True)]
    q = np.array([solver.follow(hand) for hand in hands])
    points = arm_points(robot, T_world_base, q)
    limits = (robot.velocity, robot.acceleration, STREAMED_JERK * robot.jerk, config.speed_share, EXECUTED_RATE)
    try:
        t, timed, qd, times, _ = time_parametrised(targets.t, q, *limits, bounds=bounds_between_frames(robot, config))
    except VisualIrlError as error:  # a path with a jump has no timing: it counts by its frames alone
        frames_only = _likeness(arm, points, np.full(1, np.nan), points[:, 3], q[-1])
        return HandOnly(replace(frames_only, refused=str(error)), None)
    opening = np.interp(t, times, (1.0 - arm.grip) * robot.max_opening)
    trajectory = JointTrajectory(robot.joint_names, t, timed, qd, opening)
    planned = _likeness(arm, points, t, arm_points(robot, T_world_base, timed)[:, 3], q[-1])
    approved, refused = _approved(robot, hand_errors(robot, targets, q), trajectory, world)
    if approved is None:
        return HandOnly(replace(planned, refused=refused), None)
    emptied = replace(scene, objects=(), vessels=(), grains=None)
    done = MujocoExecutor(emptied, robot, T_world_base, randomise=Randomisation(start=0.0)).execute(approved)
    return HandOnly(planned, likeness_of(robot, T_world_base, arm, times, done.t, done.q_measured))


def _approved(
    robot: RobotModel, errors: tuple[ndarray, ndarray], trajectory: JointTrajectory, world: World
) -> tuple[ApprovedTrajectory | None, str]:
    """A planned motion that can be executed, or why it cannot."""
    position, rotation = (float(e.max()) for e in errors)
    if not (position < EXACT_POSITION and rotation < EXACT_ROTATION):
        return None, f"the hand is {1e3 * position:.1f} mm and {np.degrees(rotation):.1f} degrees off"
    try:
        start = RobotState.at_rest(robot.joint_names, trajectory.q[0])
        return approve(trajectory, robot, start, world, SIMULATED), ""
    except VisualIrlError as error:
        return None, str(error)


def _likeness(arm: HumanArmTrajectory, frames: ndarray, t: ndarray, hand: ndarray, q_end: ndarray) -> Likeness:
    upper, fore = mirrored_upwards(arm.elbow - arm.shoulder), arm.wrist - arm.elbow
    own = arm.Ts_world_hand[:, :3, 3]
    return Likeness(
        se3.angle_between(frames[:, 1] - frames[:, 0], upper),
        se3.angle_between(frames[:, 2] - frames[:, 1], fore),
        (_smoothness(t, hand, EXECUTED_RATE), _smoothness(arm.t, own, 1.0 / float(np.median(np.diff(arm.t))))),
        (_length(hand), _length(own)),
        (float(t[-1] - t[0]) if len(t) > 1 else float("nan"), float(arm.t[-1] - arm.t[0])),
        np.array(q_end),
    )


def summary(motions: Sequence[Likeness]) -> dict[str, float]:
    """Means over motions: limb errors [degrees] over frames, smoothness beside the person's, path and time over the person's;
    and the shares of the motions that have no timing, and that could not be executed, that being one reason."""
    if not motions:
        return dict.fromkeys(SUMMARY, float("nan"))
    timed = [m for m in motions if np.isfinite(m.time[0])]
    moved = [m.smoothness for m in timed if np.isfinite(m.smoothness).all()]  # a hand that stands still has no smoothness
    sparc, person = np.mean(moved, axis=0).tolist() if moved else (float("nan"), float("nan"))
    return {
        "upper_deg": float(np.degrees(np.concatenate([m.upper for m in motions]).mean())),
        "fore_deg": float(np.degrees(np.concatenate([m.fore for m in motions]).mean())),
        "sparc": sparc,
        "sparc_person": person,
        "path_ratio": sum(m.path[0] for m in motions) / sum(m.path[1] for m in motions),
        "time_ratio": sum(m.time[0] for m in timed) / sum(m.time[1] for m in timed) if timed else float("nan"),
        "without_timing": 1.0 - len(timed) / len(motions),
        "refused": sum(bool(m.refused) for m in motions) / len(motions),
    }


def _smoothness(t: ndarray, p: ndarray, rate: float) -> float:
    """Of a path [m], at `rate` [1/s]; NaN where it has no time."""
    if len(t) < 2:
        return float("nan")
    grid = np.arange(t[0], t[-1], 1.0 / rate)
    even = np.stack([np.interp(grid, t, column) for column in p.T], axis=1)
    return spectral_arc_length(np.linalg.norm(np.diff(even, axis=0), axis=1) * rate, rate)


def _length(p: ndarray) -> float:
    return float(np.linalg.norm(np.diff(p, axis=0), axis=1).sum())
