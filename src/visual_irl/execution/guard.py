"""The only door to an executor: a trajectory is approved as it is, or refused with the reason. Nothing is clipped.

What is checked is what will be streamed: the quintic through the samples (`visual_irl.robots.interpolation`), after a straight
minimum-jerk move from where the arm is to the first sample. Limits hold everywhere on it, not only at samples. Collisions and
the speed of the arm's points are checked along the timed path (`visual_irl.robots.collision`).

Every comparison is written so that NaN fails it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import InitVar, dataclass, field, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, RefusedTrajectory, WouldCollide
from visual_irl.execution.collaboration import Collaboration
from visual_irl.execution.state import RobotState
from visual_irl.robots.carrying import Held, parts
from visual_irl.robots.chain import pose_of
from visual_irl.robots.collision import checker_of
from visual_irl.robots.interpolation import (
    ACCELERATION,
    JERK,
    POSITION,
    VELOCITY,
    Motion,
    extreme,
    first_beyond,
    joined,
    motion_through,
)
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.point_speed import fastest_point
from visual_irl.robots.timing import blend
from visual_irl.types import JointTrajectory

ROUNDING = 1e-9
"""Excess over a bound that is rounding and not motion, relative to the bound or absolute, whichever is more."""

LOOK = 0.004
"""Longest time between two looks at the speed of the arm's points [s]."""

APPROACH_RATE = 100.0
"""Samples a second of the move to the first sample [1/s]."""

_TOKEN = object()


@dataclass(frozen=True)
class GuardConfig:
    """Bounds of what is approved."""

    position_margin: float = 0.001
    """Kept from every position limit [rad]."""
    speed_share: float = 0.98
    """Share of the speed limits that may be used."""
    acceleration_share: float = 0.98
    """Share of the acceleration limits that may be used."""
    jerk_share: float = 0.98
    """Share of the jerk limits that may be used."""
    start_distance: float = 0.05
    """Largest distance of the first sample from where the arm is, per joint; it is bridged slowly [rad]."""
    start_speed: float = 0.02
    """Joint speed below which the arm counts as standing when the motion begins [rad/s]."""
    end_speed: float = 1e-3
    """Joint speed below which the trajectory counts as ending at rest [rad/s]."""
    approach_share: float = 0.1
    """Share of the limits with which the distance to the first sample is bridged."""
    state_age: float = 0.1
    """Oldest state that a motion may start from [s]."""
    clearance: float = 0.005
    """Least distance between links, and of the arm to its world [m]."""
    resolution: float = 0.002
    """Most that any point of the arm moves between two collision checks where it is near something [m]."""
    collaboration: Collaboration | None = field(default_factory=Collaboration)
    """What is known about people around the arm; None where nobody can be, as in simulation."""

    def __post_init__(self) -> None:
        for name in ("speed_share", "acceleration_share", "jerk_share", "approach_share"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InvalidInput(f"guard: {name} is {getattr(self, name)}, expected a share in (0, 1]")
        for name in ("position_margin", "start_distance", "start_speed", "end_speed", "state_age"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise InvalidInput(f"guard: {name} is {getattr(self, name)}, expected a number from 0")
        if not 0.0 < self.resolution <= self.clearance < np.inf:
            raise InvalidInput(
                f"guard: clearance {self.clearance} m must be at least the resolution {self.resolution} m, which is above 0: "
                "between two checks a thing could be touched"
            )


SIMULATED = GuardConfig(collaboration=None)
"""For simulation, where nobody stands beside the arm."""


@dataclass(frozen=True)
class SkillSeal:
    """Which skill a trajectory was made with, and which one is there: digests by `visual_irl.io.artifacts.digest`."""

    name: str
    made_with: str
    found: str


@dataclass(frozen=True, eq=False)
class ApprovedTrajectory:
    """A trajectory that `approve` let through for `robot`; cannot be made in any other way. Executors stream `motion`."""

    trajectory: JointTrajectory
    robot: RobotModel
    motion: Motion
    """The move to the first sample, then the trajectory; it starts at 0 s."""
    approach: float
    """How long the move to the first sample takes; the trajectory's clock starts then [s]."""
    world: World
    config: GuardConfig
    approved_ns: int
    """When, on the clock of the state [ns]."""
    token: InitVar[object] = None

    def __post_init__(self, token: object) -> None:
        if token is not _TOKEN:
            raise RefusedTrajectory("an ApprovedTrajectory comes only from visual_irl.execution.guard.approve")
        for array in self.motion:
            array.setflags(write=False)


def approve(
    trajectory: JointTrajectory,
    robot: RobotModel,
    state: RobotState,
    world: World,
    config: GuardConfig = GuardConfig(),
    now_ns: int | None = None,
    skill: SkillSeal | None = None,
    held: Sequence[Held] = (),
) -> ApprovedTrajectory:
    """The trajectory, approved for `robot` that is in `state` and stands in `world`.

    Checked, in this order: joint names, finite numbers, increasing time, gripper opening, the state's age and rest, the
    distance of the start, rest at the end, the skill's digest, then of everything that will be streamed position, speed,
    acceleration and jerk limits, the speed of the arm's points, and collisions with itself and the world.

    Args:
        trajectory: what is asked for.
        robot: the arm that shall do it.
        state: where it is, measured now.
        world: what stands around it, without what the hand is meant to touch; `World()` for nothing.
        config: the bounds.
        now_ns: now, on the clock of the state; the monotonic clock when not given [ns].
        skill: the skill that it was made with and the one that is there.
        held: what the hand carries, when on the trajectory's clock: it counts as a part of the arm then.

    Raises:
        RefusedTrajectory: names the joint, sample, value, bound and the way out of the first reason found.
        WouldCollide: the same, where all but the distance to things is as it must be.
    """
    _check_samples(trajectory, robot)
    now = time.monotonic_ns() if now_ns is None else now_ns
    _check_state(state, robot, config, now)
    q_now = state.q if state.q_target is None else state.q_target
    _check_ends(trajectory, robot, q_now, config)
    if skill is not None and skill.made_with != skill.found:
        raise RefusedTrajectory(
            f"the trajectory was made with skill '{skill.name}' {skill.made_with[:12]}, the one there is {skill.found[:12]}: "
            "map again with this skill, or bring the other one back"
        )
    motion, approach = _streamed(trajectory, robot, q_now, config)
    before = len(motion.t) - len(trajectory.t)
    _check_limits(motion, robot, config, before)
    _check_point_speed(motion, robot, config, before)
    first = float(trajectory.t[0]) - approach
    later = [Held(row.begin - first, row.end - first, row.carried) for row in held]
    for begin, end, carried in parts(0.0, float(motion.t[-1]), later):
        there = checker_of(robot, world if carried is None else replace(world, carried=carried))
        contact = there.contact_along(motion, config.clearance, config.resolution, begin, end)
        if contact is None:
            continue
        where = _where(motion, contact.time, before)
        raise WouldCollide(
            f"link '{contact.first}' {where}: distance to '{contact.second}' {contact.distance:.4g} m is below "
            f"{config.clearance:.4g} m; plan around it (visual_irl.planning), or take the thing away"
        )
    return ApprovedTrajectory(trajectory, robot, motion, approach, world, config, now, token=_TOKEN)


def _check_samples(trajectory: JointTrajectory, robot: RobotModel) -> None:
    names, t = robot.joint_names, trajectory.t
    if trajectory.joint_names != names:
        raise RefusedTrajectory(
            f"trajectory moves {', '.join(trajectory.joint_names)}, but '{robot.name}' has {', '.join(names)}: "
            "map the demonstration onto this robot"
        )
    made_again = "make the trajectory again"
    for array, what, unit in ((trajectory.q, "position", "rad"), (trajectory.qd, "speed", "rad/s")):
        _refuse_above(np.abs(array), np.full(len(names), 1e6), names, what, unit, made_again)
    widest = np.array([robot.max_opening])
    opening = trajectory.opening[:, None]
    _refuse_above(opening, widest, ("gripper",), "opening", "m", "command an opening the gripper has")
    _refuse_above(-opening, 0.0 * widest, ("gripper",), "opening", "m", "0 is closed", sign=-1.0)
    bad = ~(np.isfinite(t[:-1]) & (np.diff(t) > 0.0))
    if bad.any():
        k = int(np.argmax(bad))
        raise RefusedTrajectory(
            f"time at sample {k + 1}: {t[k + 1]:.9g} s is not after {t[k]:.9g} s of the sample before; sort the samples and "
            "drop duplicates"
        )


def _check_state(state: RobotState, robot: RobotModel, config: GuardConfig, now: int) -> None:
    names = robot.joint_names
    if state.joint_names != names:
        raise RefusedTrajectory(f"the state is of {', '.join(state.joint_names)}, but '{robot.name}' has {', '.join(names)}")
    age = 1e-9 * (now - state.stamp_ns)
    if not -1e-3 <= age <= config.state_age:
        raise RefusedTrajectory(
            f"the robot's state is {age:.3g} s old, at most {config.state_age} s is allowed (and none from the future): check "
            "the connection and the clocks"
        )
    if not state.safety.moving_allowed:
        raise RefusedTrajectory(
            f"the robot reports {state.safety.value}{': ' * bool(state.message)}{state.message}; clear it there"
        )
    standing = np.full(len(names), config.start_speed)
    _refuse_above(np.abs(state.qd[None]), standing, names, "the robot's speed", "rad/s", "wait until the arm stands")
    lag = np.full(len(names), config.start_distance)
    if state.q_target is not None:
        off = np.abs(state.q - state.q_target)[None]
        _refuse_above(off, lag, names, "distance of the arm from where it is held", "rad", "free the arm")


def _check_ends(trajectory: JointTrajectory, robot: RobotModel, q_now: ndarray, config: GuardConfig) -> None:
    names, last = robot.joint_names, len(trajectory.t) - 1
    near = np.full(len(names), config.start_distance)
    off = np.abs(trajectory.q[:1] - q_now)
    _refuse_above(off, near, names, "distance from the robot's position", "rad", "drive to the start first")
    rest = np.full(len(names), config.end_speed)
    come = "let the trajectory come to rest"
    _refuse_above(np.abs(trajectory.qd[-1:]), rest, names, "speed at the end", "rad/s", come, first=last)
    _refuse_above(np.abs(trajectory.qd[:1]), rest, names, "speed at the start", "rad/s", "let it start from rest")


def _streamed(
    trajectory: JointTrajectory, robot: RobotModel, q_now: Float[ndarray, "J"], config: GuardConfig
) -> tuple[Motion, float]:
    """The motion from where the arm is, and how long it takes to the first sample."""
    zero = np.zeros_like(trajectory.qd)
    zero[1:-1] = trajectory.qd[1:-1]  # what is left of speed at both ends is rounding: the arm rests there
    motion = motion_through(trajectory.t - trajectory.t[0], trajectory.q, zero)
    if not np.abs(trajectory.q[0] - q_now).max() > ROUNDING:
        return motion, 0.0
    limits = (robot.velocity, robot.acceleration, robot.jerk)
    t, q, qd = blend(q_now, trajectory.q[0], *limits, config.approach_share, APPROACH_RATE)
    approach = motion_through(t, q, qd)
    return joined(approach, motion), float(t[-1])


def _check_limits(motion: Motion, robot: RobotModel, config: GuardConfig, before: int) -> None:
    reach = "move the demonstration closer to the robot's base or choose another mount"
    slower = "slow the motion down with a smaller speed share"
    smoother = "slow the motion down with a smaller speed share, or smooth it"
    v, a = config.speed_share * robot.velocity, config.acceleration_share * robot.acceleration
    j = config.jerk_share * robot.jerk
    margin = config.position_margin
    bounds = (
        (POSITION, robot.lower + margin, robot.upper - margin, "position", "rad", reach),
        (VELOCITY, -v, v, "speed", "rad/s", slower),
        (ACCELERATION, -a, a, "acceleration", "rad/s^2", smoother),
        (JERK, -j, j, "jerk", "rad/s^3", smoother),
    )
    for order, lower, upper, what, unit, way_out in bounds:
        room = ROUNDING * np.maximum(1.0, np.maximum(np.abs(lower), np.abs(upper)))
        k, joint = first_beyond(motion, order, lower - room, upper + room)
        if k >= 0:
            value = extreme(motion, k, joint, order, 0.5 * float(lower[joint] + upper[joint]))
            low = value < 0.5 * (lower[joint] + upper[joint])
            bound = lower[joint] if low else upper[joint]
            raise RefusedTrajectory(
                f"joint '{robot.joint_names[joint]}' {_sample(k, before)}: {what} {value:.6g} {unit} is "
                f"{'below' if low else 'above'} {bound:.6g} {unit}; {way_out}"
            )


def _check_point_speed(motion: Motion, robot: RobotModel, config: GuardConfig, before: int) -> None:
    if config.collaboration is None:
        return
    limit = config.collaboration.speed_limit
    body = checker_of(robot, World()).body
    time_, speed, n = fastest_point(body.chain, body.hull, motion, pose_of(body.chain), LOOK, limit)
    if not speed <= limit:
        raise RefusedTrajectory(
            f"link '{body.shapes[n].link}' {_where(motion, time_, before)}: speed of its fastest point {speed:.4g} m/s "
            f"is above {limit:.4g} m/s, the limit beside people at {config.collaboration.separation} m; slow the motion "
            "down with a smaller speed share, or keep people farther away"
        )


def _sample(k: int, before: int) -> str:
    return f"at sample {k - before}" if k >= before else "on the way to sample 0"


def _where(motion: Motion, time_: float, before: int) -> str:
    k = int(np.clip(np.searchsorted(motion.t, time_, side="right") - 1, 0, len(motion.t) - 1))
    return f"{_sample(k, before)} (t = {time_:.3f} s)"


def _refuse_above(
    values: Float[ndarray, "T J"],
    bounds: Float[ndarray, "J"],
    names: tuple[str, ...],
    what: str,
    unit: str,
    way_out: str,
    first: int = 0,
    sign: float = 1.0,
) -> None:
    bad = ~(values <= bounds + ROUNDING)
    if bad.any():
        sample, joint = np.argwhere(bad)[0]
        raise RefusedTrajectory(
            f"joint '{names[joint]}' at sample {sample + first}: {what} {sign * values[sample, joint]:.4g} {unit} is "
            f"{'above' if sign > 0.0 else 'below'} {bounds[joint]:.4g} {unit}; {way_out}"
        )
