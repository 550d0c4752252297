"""A motion that would collide, changed where it must be and nowhere else.

Each stretch that comes too near to something is replaced between the last free sample before it and the first one after it.
First the hand stays exactly where it was and only the arm behind it gives way: the cheapest way through all solutions of the
hand's poses that touch nothing (dynamic programming over layers, as the offline mapper chooses branches). Where no such way
exists, a detour in joint space is planned, at first only among postures near the replaced ones; wider only if it must be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.errors import InCollision, InvalidInput, NoPathFound
from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.ompl_planner import connect
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.same_hand import same_hand
from visual_irl.planning.timed_path import STEP, rounded, slowed
from visual_irl.robots.carrying import Held, parts
from visual_irl.robots.collision import Contact
from visual_irl.robots.interpolation import motion_through
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Carried, World
from visual_irl.robots.timing import time_parametrised
from visual_irl.types import JointTrajectory

NEAR = (0.3, 0.7, 1.5)
"""How far from the replaced postures a detour is sought, one after the other, before anywhere [rad]."""
TRIES = 4
"""Detours of which the one that moves the arm least is taken."""
ROOM = (0.3, 0.8, 1.6)
"""Time before and after a stretch in which the arm may give way behind the hand, one after the other [s]."""
WIDER = (0.0, 0.15, 0.4)
"""By how much a stretch is widened at both ends, one after the other, until the repaired motion is free as it is timed [s]."""


@dataclass(frozen=True)
class Stretch:
    """One part of the motion that was replaced."""

    start: float
    """[s] on the clock of the motion that was given."""
    end: float
    """[s]"""
    how: str
    """"same hand" or "detour"."""


@dataclass(frozen=True, eq=False)
class Repaired:
    """The motion, what was done to it, and how far that moved the arm; arrays are per sample of the motion that was given."""

    trajectory: JointTrajectory
    stretches: tuple[Stretch, ...]
    held: tuple[Held, ...]
    """What the hand carries, on the clock of the new motion."""
    changed: Bool[ndarray, "T"]
    """Samples whose posture is another one now."""
    hand_moved: Float[ndarray, "T"]
    """[m]"""
    hand_turned: Float[ndarray, "T"]
    """[rad]"""
    limbs_turned: Float[ndarray, "T 2"]
    """By how much the directions of upper arm and forearm changed [rad]."""
    slowdown: float
    """Duration over the given one."""


class _Checks:
    """The checks along a motion in the hand of which something is now and then."""

    def __init__(self, robot: RobotModel, world: World, config: PlannerConfig, held: Sequence[Held]) -> None:
        self.held = tuple(held)
        self._of: dict[Carried | None, EdgeChecker] = {}
        for carried in (world.carried, *(row.carried for row in held)):
            there = dataclasses.replace(world, carried=carried)
            self._of[carried] = EdgeChecker.of(robot, there, config.clearance, config.resolution)
        self.bare = self._of[world.carried]

    def at(self, t: float) -> EdgeChecker:
        """The checks at a time [s]."""
        return self.over(t, t)

    def over(self, begin: float, end: float) -> EdgeChecker:
        """The checks that hold all through a time [s]: with the largest thing that is in the hand at any of it."""
        inside = [row.carried for row in self.held if row.begin <= end and begin <= row.end]
        return self._of[max(inside, key=lambda carried: carried.radius)] if inside else self.bare

    def along(self, trajectory: JointTrajectory, held: Sequence[Held]) -> Contact | None:
        """The first contact of a timed motion."""
        t = trajectory.t - trajectory.t[0]
        motion = motion_through(t, trajectory.q, trajectory.qd)
        shifted = [Held(row.begin - trajectory.t[0], row.end - trajectory.t[0], row.carried) for row in held]
        for begin, end, carried in parts(0.0, float(t[-1]), shifted):
            there = self.bare if carried is None else self._of[carried]
            contact = there.checker.contact_along(motion, there.clearance, there.resolution, begin, end)
            if contact is not None:
                return contact
        return None


def repair(
    trajectory: JointTrajectory,
    robot: RobotModel,
    world: World,
    config: PlannerConfig | None = None,
    held: Sequence[Held] = (),
) -> Repaired:
    """The motion without its collisions; returned as it is when there are none.

    What is in the hand according to `held`, on the motion's clock, is a part of the arm then.

    Raises:
        InvalidInput: the motion is another arm's.
        InCollision: its first or last posture touches something, which no repair may change.
        NoPathFound: there is no way around.
    """
    config = config or PlannerConfig()
    if trajectory.joint_names != robot.joint_names:
        raise InvalidInput(
            f"the motion moves {', '.join(trajectory.joint_names)}, '{robot.name}' has {', '.join(robot.joint_names)}: "
            "map it onto this robot"
        )
    checks = _Checks(robot, world, config, held)
    ends = {"start": 0, "end": len(trajectory.t) - 1}
    for what, k in ends.items():
        contact = checks.at(float(trajectory.t[k])).contact_at(trajectory.q[k])
        if contact is not None:
            raise InCollision(
                f"at its {what} the motion has link '{contact.first}' {contact.distance:.4g} m from '{contact.second}', "
                f"at least {config.clearance:.4g} m is kept: a repair keeps both ends, begin and end it elsewhere, or take the "
                "thing away"
            )
    if checks.along(trajectory, held) is None:
        return _report(trajectory, trajectory, trajectory.q, (), tuple(held), robot, 1.0)
    for wider in WIDER:
        stretches, t, q = _replaced(trajectory, robot, checks, config, wider)
        timed = time_parametrised(t, q, robot.velocity, robot.acceleration, robot.jerk, config.share, config.rate)
        qd = timed.qd.copy()
        qd[[0, -1]] = 0.0
        opening = np.interp(timed.t, timed.times, np.interp(t, trajectory.t, trajectory.opening))
        result = slowed(JointTrajectory(robot.joint_names, timed.t, timed.q, qd, opening), robot, checks.bare, config)
        slower = float(result.t[-1] / timed.t[-1])
        begin, end = (slower * np.interp([row[k] for row in held], t, timed.times) for k in (0, 1))
        later = [Held(float(begin[k]), float(end[k]), row.carried) for k, row in enumerate(held)]
        contact = checks.along(result, later)
        if contact is None:
            now = np.column_stack([np.interp(trajectory.t, t, column) for column in q.T])
            return _report(trajectory, result, now, stretches, tuple(later), robot, slower * timed.slowdown)
    assert contact is not None
    raise NoPathFound(
        f"repaired, the motion still has link '{contact.first}' {contact.distance:.4g} m from '{contact.second}' at "
        f"{contact.time:.2f} s ({config.clearance:.4g} m is kept): lower the clearance, try another seed, or make room"
    )


def colliding(t: Float[ndarray, "T"], q: Float[ndarray, "T J"], checks: _Checks) -> list[tuple[int, int]]:
    """Pairs of the last free sample before and the first one after each stretch that comes too near to something."""
    free = np.array([checks.at(at).free(row) for at, row in zip(t, q, strict=True)])
    ok = free.copy()
    for k in range(len(q) - 1):
        if free[k] and free[k + 1] and not checks.at(0.5 * (t[k] + t[k + 1])).edge_free(q[k], q[k + 1]):
            ok[k + (1 if k == 0 else 0)] = False
    bad = np.flatnonzero(~ok)
    if len(bad) == 0:
        return []
    groups = np.split(bad, np.flatnonzero(np.diff(bad) > 2) + 1)
    return [(max(int(g[0]) - 1, 0), min(int(g[-1]) + 1, len(q) - 1)) for g in groups]


def _replaced(
    trajectory: JointTrajectory, robot: RobotModel, checks: _Checks, config: PlannerConfig, wider: float
) -> tuple[tuple[Stretch, ...], ndarray, ndarray]:
    """The stretches, and the path with its times after they were replaced."""
    t, q = trajectory.t, trajectory.q
    stretches: list[Stretch] = []
    times, postures, at = [], [], 0
    todo = _widened(colliding(t, q, checks), t, q, checks, wider)
    for n, (a, b) in enumerate(todo):
        last = todo[n + 1][0] - 1 if n + 1 < len(todo) else len(t) - 1
        for room in ROOM:
            start, end = max(int(np.searchsorted(t, t[a] - room)), at), min(int(np.searchsorted(t, t[b] + room)), last)
            around = checks.over(t[start], t[end])
            new = same_hand(q[start : end + 1], t[start : end + 1], robot, around, config)
            if new is not None:
                how, clock = "same hand", t[start : end + 1]
                break
        else:
            start, end, how = a, b, "detour"
            new = _detour(q[a : b + 1], robot, checks.over(t[a], t[b]), config)
            clock = np.linspace(t[a], t[b], len(new))
        stretches.append(Stretch(float(t[start]), float(t[end]), how))
        times += [t[at:start], clock]
        postures += [q[at:start], new]
        at = end + 1
    return tuple(stretches), np.concatenate([*times, t[at:]]), np.concatenate([*postures, q[at:]])


def _widened(pairs: list[tuple[int, int]], t: ndarray, q: ndarray, checks: _Checks, wider: float) -> list[tuple[int, int]]:
    """Stretches with that much more time at both ends, which stay free; those that meet are joined."""
    out: list[tuple[int, int]] = []
    for a, b in pairs:
        a2, b2 = int(np.searchsorted(t, t[a] - wider)), min(int(np.searchsorted(t, t[b] + wider)), len(t) - 1)
        while a2 > 0 and not checks.at(t[a2]).free(q[a2]):
            a2 -= 1
        while b2 < len(t) - 1 and not checks.at(t[b2]).free(q[b2]):
            b2 += 1
        if out and a2 <= out[-1][1] + 1:
            out[-1] = (out[-1][0], b2)
        else:
            out.append((a2, b2))
    return out


def _detour(old: ndarray, robot: RobotModel, checker: EdgeChecker, config: PlannerConfig) -> ndarray:
    """Postures [rad] from the first to the last of `old`: of some detours near it the one that is nearest."""
    margin = config.position_margin
    lower, upper = np.minimum(robot.lower + margin, old.min(axis=0)), np.maximum(robot.upper - margin, old.max(axis=0))
    for near in (*NEAR, np.inf):
        low, high = np.maximum(lower, old.min(axis=0) - near), np.minimum(upper, old.max(axis=0) + near)
        found: list[tuple[float, int, ndarray]] = []
        for k in range(TRIES):
            moves = config.moves if near == np.inf else max(config.moves // 10, 1)
            trial = dataclasses.replace(config, seed=config.seed + k, moves=moves)
            try:
                path = connect(old[0], old[-1:], checker, low, high, trial)
            except NoPathFound:
                if not found and near < np.inf:
                    break  # nothing among these: look wider
                continue
            dense = _rounded_free(path, checker, config)
            middle = dense[np.linspace(0, len(dense) - 1, 30).astype(int)]
            cost = np.mean(np.min(np.linalg.norm(middle[:, None] - old[None, :: max(1, len(old) // 50)], axis=2), axis=1))
            found.append((float(cost), k, dense))
        if found:
            return min(found, key=lambda item: item[:2])[2]
    raise NoPathFound(
        f"no way around what is in the motion's way in {config.moves} moves or {config.time_limit} s, with a clearance of "
        f"{config.clearance:.4g} m: allow more (moves, time_limit), another seed, less clearance, or take the thing away"
    )


def _rounded_free(path: ndarray, checker: EdgeChecker, config: PlannerConfig) -> ndarray:
    """The path with its corners rounded as far as that stays free."""
    blend = config.blend
    for _ in range(5):
        dense = rounded(path, blend, STEP)
        if checker.path_free(dense):
            return dense
        blend *= 0.5
    return rounded(path, blend, STEP)


def _report(
    given: JointTrajectory,
    result: JointTrajectory,
    now: ndarray,
    stretches: tuple[Stretch, ...],
    held: tuple[Held, ...],
    robot: RobotModel,
    slowdown: float,
) -> Repaired:
    frames = (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)
    n = len(given.t)
    moved, turned, limbs = np.zeros(n), np.zeros(n), np.zeros((n, 2))
    changed = np.abs(now - given.q).max(axis=1) > 1e-6
    for k in np.flatnonzero(changed):
        T, T_now = robot.fk(given.q[k]), robot.fk(now[k])
        moved[k] = np.linalg.norm(T_now[:3, 3] - T[:3, 3])
        turned[k] = _angle(0.5 * (np.trace(T[:3, :3].T @ T_now[:3, :3]) - 1.0))
        p, p_now = (np.array([robot.fk(q, frame)[:3, 3] for frame in frames]) for q in (given.q[k], now[k]))
        d, d_now = np.diff(p, axis=0), np.diff(p_now, axis=0)
        for limb in range(2):
            limbs[k, limb] = _angle(d[limb] @ d_now[limb] / (np.linalg.norm(d[limb]) * np.linalg.norm(d_now[limb])))
    return Repaired(result, stretches, held, changed, moved, turned, limbs, slowdown)


def _angle(cosine: float) -> float:
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))
