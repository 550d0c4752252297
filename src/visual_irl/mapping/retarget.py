"""A human arm onto a robot: the hand exactly, the limbs as human as the arm can, every limit kept, timed.

The symbolic correspondence gives a posture, the offline mapper the best exact path, and the time parametrisation makes it a
motion within the arm's speed, acceleration and jerk limits. Frames that cannot be reached are reported, with the nearest
pose; nothing is clipped in silence. Where no continuous path exists the arm leaves the demonstration, moves to the next
branch at rest to rest, and goes on; the report says where.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.bounds import require_within
from visual_irl.errors import Unreachable
from visual_irl.mapping.branch_path import BranchCosts
from visual_irl.mapping.hand_smoothing import SmoothedHand, smoothed_hand
from visual_irl.mapping.offline import MappedPath, OfflineConfig, limb_errors, map_offline
from visual_irl.mapping.smoothing import SmoothCosts
from visual_irl.mapping.targets import ArmTargets, cut, targets_of
from visual_irl.robots.chain import arm_states, chain_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.timing import blend, jumps, time_parametrised
from visual_irl.types import HumanArmTrajectory, JointTrajectory

STREAMED_JERK = 0.85
"""Share of the jerk limits to plan with: what is streamed between samples passes the planned jerk by up to 60 % where that
switches from one limit to the other, and must keep within the limits at the usual speed share, too."""

PACE = 0.9
"""Share of the speeds and accelerations that timing allows which the self-motion is to keep to: the motion between frames takes
a little more."""
SWINGING = 0.6
"""Share of the frames' margin to the joint limits that the motion keeps between them, for the guard wants a part of it."""
UPPER_ON_TABLE, FORE_ON_TABLE = 1.5, 0.6
"""Weights of the limbs of an arm that stands on a table: with its elbow above its hand no forearm can be the person's, and what
it would gain costs the upper arm as much."""


@dataclass(frozen=True)
class RetargetConfig:
    """How a human arm becomes a robot's motion."""

    offline: OfflineConfig = field(default_factory=OfflineConfig)
    speed_share: float = 0.7
    """Share of the robot's speed, acceleration and jerk limits that is used."""
    elbow_up: bool = True
    """Mirror the upper arm's direction upwards: an arm that stands on the table cannot let its elbow hang below it."""
    table: float | None = 0.0
    """Height of the top of the table that the arm stands on, in the world [m]: its links, but for the last one and the hand,
    keep above where they can. None: there is none."""
    smooth_hand: float = 0.0
    """Width of the Gaussian that smooths the hand's path before it is mapped, so that a noisy or fast hand need not be slowed
    down [s]; 0 keeps the path exactly."""
    rate: float = 100.0
    """Samples a second of the result [1/s]."""
    min_reachable: float = 0.2
    """Smallest share of reachable frames for which a trajectory is made."""

    def __post_init__(self) -> None:
        bounds = {"speed_share": (0.01, 1.0), "table": (-10.0, 10.0), "smooth_hand": (0.0, 10.0), "rate": (10.0, 1000.0)}
        require_within(self, 0.0, 1.0, **bounds)


ON_TABLE = RetargetConfig(
    OfflineConfig(
        costs=BranchCosts(upper=UPPER_ON_TABLE, fore=FORE_ON_TABLE),
        smooth=SmoothCosts(jerk=1e6, haste=5.0, upper=UPPER_ON_TABLE, fore=FORE_ON_TABLE),
    )
)
"""For an arm that stands on a table and does what was planned. No noisy hand hurries its self-motion, which is as smooth as the
motion's own time allows."""
AT_WORK = replace(ON_TABLE, offline=replace(ON_TABLE.offline, costs=ON_TABLE.offline.costs._replace(jump=1000.0)))
"""The same, changing its branch only where there is no other way."""
STEADY = replace(AT_WORK, offline=replace(AT_WORK.offline, margin=0.02))
"""The same for an arm that holds a full bottle: it is not to come so near its limits that the way between two frames passes
them."""


@dataclass(frozen=True)
class MappingReport:
    """Per frame of the human motion: what the robot reaches, and how human it looks.

    Errors of the hand [m], [rad]; angle between the human's and the robot's upper arm and forearm [rad], the human's upper arm
    mirrored upwards where that was asked for (`RetargetConfig.elbow_up`); NaN where it is not known.
    """

    t: Float[ndarray, "T"]
    q: Float[ndarray, "T J"]
    position_error: Float[ndarray, "T"]
    rotation_error: Float[ndarray, "T"]
    upper_error: Float[ndarray, "T"]
    fore_error: Float[ndarray, "T"]
    reachable: Bool[ndarray, "T"]
    """Where the hand is exact: within 1 mm and 1 degree."""
    joined: Bool[ndarray, "T"]
    """Where the path continues the frame before; elsewhere the arm changed its branch, or a recording begins."""
    observed: Bool[ndarray, "T"]
    """Where the human arm was seen; elsewhere its path was bridged."""
    robot_points: Float[ndarray, "T 4 3"]
    """Robot shoulder, elbow, wrist and tool point in the world [m]."""
    slowdown: float
    """Duration of the motion over that of the demonstration."""
    smoothed_position: Float[ndarray, "T"]
    """How far smoothing moved the hand's target before it was mapped [m]; what is above is measured from where it then was."""
    smoothed_rotation: Float[ndarray, "T"]
    """The same of its orientation [rad]."""
    trajectory_t: Float[ndarray, "T"]
    """When the robot's trajectory passes the frame [s]."""

    def summary(self) -> dict[str, float | int]:
        """Figures for people: millimetres and degrees."""
        ok = self.reachable
        return {
            "frames": len(ok),
            "observed": float(self.observed.mean()),
            "reachable": float(ok.mean()),
            "position_mm_median": float(np.median(self.position_error[ok]) * 1e3) if ok.any() else float("nan"),
            "position_mm_max": float(self.position_error[ok].max() * 1e3) if ok.any() else float("nan"),
            "upper_deg_mean": float(np.degrees(np.nanmean(self.upper_error))),
            "fore_deg_mean": float(np.degrees(np.nanmean(self.fore_error))),
            "branch_changes": int((~self.joined[1:]).sum()),
            "slowdown": self.slowdown,
            "smoothed_mm_mean": float(self.smoothed_position.mean() * 1e3),
            "smoothed_mm_max": float(self.smoothed_position.max() * 1e3),
            "smoothed_deg_max": float(np.degrees(self.smoothed_rotation.max())),
        }


@dataclass(frozen=True, eq=False)
class Followed:
    """How a robot follows a human arm, not yet in time."""

    robot: RobotModel
    T_world_base: Float[ndarray, "4 4"]
    config: RetargetConfig
    hand: SmoothedHand
    targets: ArmTargets
    path: MappedPath

    def timed(self, frames: int | None = None) -> tuple[JointTrajectory, MappingReport]:
        """The motion, or the part of its first `frames`, and a report per frame of the human motion.

        Raises:
            Unreachable: fewer frames than `min_reachable` can be reached, with how far off they are.
        """
        hand, targets, path = self.hand, self.targets, self.path
        if frames is not None:
            part = slice(0, frames)
            path = MappedPath(*(getattr(path, f.name)[part] for f in fields(MappedPath)))
            targets, hand = cut(targets, part), SmoothedHand(hand.arm.cut(part), hand.moved[part], hand.turned[part])
        arm, robot, config = hand.arm, self.robot, self.config
        share = float(path.exact.mean())
        if not share >= config.min_reachable:
            far = float(np.median(path.position_error[~path.exact]))
            raise Unreachable(
                f"'{robot.name}' reaches {100 * share:.0f} % of the hand poses (at least {100 * config.min_reachable:.0f} % "
                f"are needed); the others are missed by {1e3 * far:.0f} mm in the median: move the base with --mount"
            )
        t, q, qd, times = _timed(robot, targets, path, config)
        opening = np.interp(t, times, (1.0 - arm.grip) * robot.max_opening)
        slowdown = float(t[-1]) / float(arm.t[-1] - arm.t[0])
        return JointTrajectory(robot.joint_names, t, q, qd, opening), _report(
            robot, hand, targets, self.T_world_base, path, times, slowdown
        )


def follow(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    config: RetargetConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
    start: Bool[ndarray, "T"] | None = None,
    q_start: Float[ndarray, "J"] | None = None,
    stands: Sequence[int] = (),
) -> Followed:
    """The robot's path for a human arm's motion.

    `start` is true where a new recording begins in the motion; `q_start` is where the robot goes on from [rad]; in the frames
    `stands` its whole arm is at rest, as between two steps.

    Raises:
        InvalidInput: the hand cannot be smoothed over `smooth_hand`, or is not at its start in `q_start`.
    """
    hand = smoothed_hand(arm, config.smooth_hand, start)
    targets = targets_of(hand.arm, robot, T_world_base, config.elbow_up, start)
    still = np.zeros(len(arm.t), bool)
    still[list(stands)] = True
    pace = PACE * config.speed_share * np.stack([robot.velocity, robot.acceleration])
    path = map_offline(robot, targets, config.offline, progress, q_start, table_of(config, T_world_base), still, pace)
    leaps = np.r_[False, jumps(targets.t, path.q, config.speed_share * robot.velocity)]
    path = replace(path, joined=path.joined & ~leaps)  # most often where the hand goes out of reach
    return Followed(robot, T_world_base, config, hand, targets, path)


def retarget(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    config: RetargetConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
    start: Bool[ndarray, "T"] | None = None,
) -> tuple[JointTrajectory, MappingReport]:
    """The robot's motion for a human arm's, and a report per frame of the human motion: `follow`, in time.

    Raises:
        Unreachable: fewer frames than `min_reachable` can be reached, with how far off they are.
        InvalidInput: the hand cannot be smoothed over `smooth_hand`.
    """
    return follow(arm, robot, T_world_base, config, progress, start).timed()


def retarget_at_work(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    config: RetargetConfig = ON_TABLE,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[JointTrajectory, MappingReport]:
    """As `retarget`, for an arm that does a task: if it would change its branch on the way, it is mapped again as `AT_WORK`.

    Raises:
        Unreachable: as there.
    """
    mapped = retarget(arm, robot, T_world_base, config, progress)
    if mapped[1].joined[1:].all():
        return mapped
    costs = config.offline.costs._replace(jump=AT_WORK.offline.costs.jump)
    return retarget(arm, robot, T_world_base, replace(config, offline=replace(config.offline, costs=costs)), progress)


def table_of(config: RetargetConfig, T_world_base: Float[ndarray, "4 4"]) -> Float[ndarray, "4"] | None:
    """The table's unit normal in the base frame, and its height along it [m]; None where there is none."""
    if config.table is None:
        return None
    normal = T_world_base[2, :3]
    return np.array([*normal, config.table - T_world_base[2, 3]])


def bounds_between_frames(robot: RobotModel, config: RetargetConfig) -> tuple[Float[ndarray, "J"], Float[ndarray, "J"]]:
    """Lower and upper joint angles [rad] that a timed motion keeps to between its frames, see `SWINGING`."""
    kept = SWINGING * config.offline.margin
    return robot.lower + kept, robot.upper - kept


def _timed(
    robot: RobotModel, targets: ArmTargets, path: MappedPath, config: RetargetConfig
) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Times, positions and velocities of the whole motion, and the time of each frame; pieces between changes of branch are
    joined by transitions from rest to rest."""
    limits = (robot.velocity, robot.acceleration, STREAMED_JERK * robot.jerk, config.speed_share, config.rate)
    bounds = bounds_between_frames(robot, config)
    edges = [*np.nonzero(~path.joined)[0].tolist(), len(path.q)]
    ts, qs, qds, times = [], [], [], np.zeros(len(path.q))
    clock, last = 0.0, None
    for a, b in pairwise(edges):
        if last is not None:
            t, q, qd = blend(last, path.q[a], *limits)
            ts.append(clock + t[1:-1])
            qs.append(q[1:-1])
            qds.append(qd[1:-1])
            clock += float(t[-1])
        if b - a < 2:  # a frame alone between two changes: the arm passes it at rest
            t, q, qd, at = np.zeros(1), path.q[a:b], np.zeros_like(path.q[a:b]), np.zeros(1)
        else:
            t, q, qd, at, _ = time_parametrised(targets.t[a:b], path.q[a:b], *limits, bounds=bounds)
        ts.append(clock + t)
        qs.append(q)
        qds.append(qd)
        times[a:b] = clock + at
        clock, last = clock + float(t[-1]), path.q[b - 1]
    t, q = np.concatenate(ts), np.concatenate(qs)
    beyond = np.maximum(q - robot.upper, robot.lower - q)
    if beyond.max() > 0.0:
        k, joint = divmod(int(np.argmax(beyond)), q.shape[1])
        raise Unreachable(
            f"{t[k]:.2f} s after its start the motion between two frames takes {robot.joint_names[joint]} to {q[k, joint]:.4f} "
            f"rad, outside of {robot.lower[joint]:.4f} to {robot.upper[joint]:.4f}: move the mount with --mount"
        )
    return t, q, np.concatenate(qds), times


def _report(
    robot: RobotModel,
    hand: SmoothedHand,
    targets: ArmTargets,
    T_world_base: ndarray,
    path: MappedPath,
    times: ndarray,
    slowdown: float,
) -> MappingReport:
    arm = hand.arm
    points, (upper, fore) = arm_points(robot, T_world_base, path.q), limb_errors(robot, targets, path.q).T
    return MappingReport(
        arm.t, path.q, path.position_error, path.rotation_error, upper, fore, path.exact, path.joined, arm.observed, points,
        slowdown, hand.moved, hand.turned, times,
    )  # fmt: skip


def arm_points(robot: RobotModel, T_world_base: Float[ndarray, "4 4"], q: Float[ndarray, "T J"]) -> Float[ndarray, "T 4 3"]:
    """The robot's shoulder, elbow, wrist and tool point in the world [m]."""
    Ts, points = arm_states(chain_of(robot), q)
    moved: ndarray = se3.apply(T_world_base, np.concatenate([points, Ts[:, None, :3, 3]], axis=1))
    return moved
