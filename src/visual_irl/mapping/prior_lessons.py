"""What the mapper's prior is taught: postures of a live arm, and how far along its self-motion the offline mapper would be.

A live arm without a prior follows a motion that is laid before the robot in some way. Every second and a half the offline
mapper goes on from where the live arm then is, with three seconds of the future in sight; until it does so again, its path is
the answer for the live arm's own postures and for some beside the path. So the answers hold on whichever branch the arm is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float
from numba import njit
from numpy import ndarray
from scipy.interpolate import CubicSpline

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping.anatomy import arm_of_angles, torso_frame
from visual_irl.mapping.branch_path import price
from visual_irl.mapping.hand_first import NO_STEPS, Pull, hand_first, self_motion, work_of
from visual_irl.mapping.human_arm import GRASP_REACH
from visual_irl.mapping.offline import OfflineConfig, map_offline
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status
from visual_irl.mapping.placement import placed_targets, varied_placements
from visual_irl.mapping.prior import INPUTS, TERMS, look, no_prior, note_limbs, prior_state
from visual_irl.mapping.targets import ArmTargets, cut
from visual_irl.robots.chain import forward, tool_jacobian
from visual_irl.robots.model import RobotModel
from visual_irl.robots.solutions import Solver, solutions, solver_of
from visual_irl.types import SIDES, HumanArmTrajectory

RANGE = np.radians([[-40, 140], [5, 140], [-80, 80], [3, 145], [-85, 85], [-65, 65], [-25, 35]])
"""Least and greatest of the seven angles that synthetic arms pass through, inside the joints' ranges."""
FPS = 60.0
SYNTHETIC_SECONDS = 8.0

SIGHT = 3.0
"""How far the teacher sees [s]."""
EVERY = 1.5
"""Time between its beginnings [s]."""
APART = 0.04
"""Time between two postures that are asked about [s]."""
ELSEWHERE = 5.0
"""Time after which the live arm may be put onto another branch [s], so that not only the best ones are learned about."""
LUCK = 0.15
"""How far a branch may cost more than the best one and still be taken as often as not [rad^2]."""
BESIDE = 0.22
"""How far beside the teacher's path postures are taken, standard deviation along the self-motion [rad]."""
STEP, BRANCH = 0.1, 0.9
"""Step along the self-motion, and joint difference beyond which a posture is on another branch than the teacher's [rad]."""
BEND = 0.7
"""Share of the way to the teacher's posture that lies along the self-motion where both are on one branch."""


class Lesson(NamedTuple):
    """N postures and their answers."""

    x: Float[ndarray, "N I"]
    """What the network reads."""
    terms: Float[ndarray, "N K"]
    """What draws the arm along its self-motion."""
    answer: Float[ndarray, "N"]
    """How far along it the teacher is [rad]."""


def joined(lessons: Sequence[Lesson]) -> Lesson:
    """All of them as one."""
    return Lesson(*(np.concatenate(parts) for parts in zip(*lessons, strict=True)))


def synthetic_arm(seed: int) -> HumanArmTrajectory:
    """An arm whose seven angles run along cubic splines, now slow, now fast: through random poses, between a few places, or to
    and fro. Arms differ in size, sides alternate, and some are as noisy as a camera's."""
    rng = np.random.default_rng(seed)
    side = SIDES[seed % 2]
    t = np.arange(int(SYNTHETIC_SECONDS * FPS)) / FPS
    middle, half = rng.uniform(RANGE[:, 0], RANGE[:, 1]), np.diff(RANGE, axis=1)[:, 0] / 2.0
    gaps = rng.uniform(0.25, 1.2, 60) * rng.uniform(0.7, 2.2)
    if seed % 3 == 2:
        gaps = rng.uniform(0.3, 0.9) * rng.uniform(0.85, 1.15, 60)
    knots = np.concatenate([[0.0], np.cumsum(gaps)])
    count = int(np.searchsorted(knots, t[-1])) + 1
    spread = rng.uniform(0.1, 0.55) * half
    if seed % 3 == 0:
        poses = middle + spread * rng.normal(size=(count, 7))
    elif seed % 3 == 1:
        places = middle + spread * rng.normal(size=(rng.integers(2, 5), 7))
        poses = places[rng.integers(0, len(places), count)] + 0.05 * half * rng.normal(size=(count, 7))
    else:
        there = (2.0 * (np.arange(count) % 2) - 1.0)[:, None] * rng.uniform(0.6, 1.2, (count, 1))
        drift = np.linspace(0.0, 0.3, count)[:, None] * half * rng.normal(size=7)
        poses = middle + spread * rng.normal(size=7) * there + drift + 0.05 * half * rng.normal(size=(count, 7))
    q = CubicSpline(knots[:count], np.clip(poses, RANGE[:, 0], RANGE[:, 1]), bc_type="clamped")(t)
    q, shoulder = np.clip(q, RANGE[:, 0], RANGE[:, 1]), np.zeros((len(t), 3))
    elbow, wrist, R = arm_of_angles(q, torso_frame(side), shoulder, rng.uniform(0.25, 0.34), rng.uniform(0.22, 0.30))
    if rng.uniform() < 0.3:
        elbow, wrist = (point + rng.normal(0.0, rng.uniform(0.001, 0.004), point.shape) for point in (elbow, wrist))
    Ts = np.tile(np.eye(4), (len(t), 1, 1))
    Ts[:, :3, :3], Ts[:, :3, 3] = R, wrist + GRASP_REACH * R[:, :, 2]
    return HumanArmTrajectory(t, side, q, shoulder, elbow, wrist, Ts, np.ones(len(t), bool), np.zeros(len(t)))


def lesson_of(
    robot: RobotModel,
    arm: HumanArmTrajectory,
    start: Bool[ndarray, "T"],
    placements: int,
    longest: int,
    rng: np.random.Generator,
) -> Lesson:
    """What one motion teaches, laid before the robot in several ways; `longest` frames from somewhere in it."""
    lessons: list[Lesson] = []
    for placement in varied_placements(arm, robot, rng, placements):
        targets = placed_targets(arm, robot, placement, elbow_up=placement.arm_scale is None, start=start)
        first = int(rng.integers(0, max(len(targets.t) - longest, 0) + 1))
        lessons.append(_lesson(robot, cut(targets, slice(first, first + longest)), rng))
    return joined(lessons)


def _lesson(robot: RobotModel, targets: ArmTargets, rng: np.random.Generator) -> Lesson:
    solver, dt = solver_of(robot, OfflineConfig().margin), targets.interval()
    live, exact = _followed(robot, solver, targets, rng)
    path, asked = live.copy(), np.zeros(len(live), bool)
    stride, sight, every = (max(1, round(seconds / dt)) for seconds in (APART, SIGHT, EVERY))
    for part in targets.segments():
        for first in range(part.start, part.stop, every):
            seen = slice(first, min(first + sight, part.stop))
            if not exact[first] or seen.stop - first < 2 * stride:
                continue
            try:
                best = map_offline(robot, cut(targets, seen), OfflineConfig(), q_start=live[first])
            except InvalidInput:  # the live arm is farther from the hand than the offline mapper may begin
                continue
            usable = best.exact & exact[seen] & (np.cumsum(~best.joined) <= 1)
            usable &= (np.arange(len(usable)) + int(rng.integers(stride))) % stride == 0
            rows = slice(first, min(first + every, part.stop))
            path[rows], asked[rows] = best.q[:every], usable[:every]
    most = 2 * int(asked.sum())
    lesson = Lesson(np.zeros((most, INPUTS), np.float32), np.zeros((most, TERMS)), np.zeros(most))
    count = _answer(
        solver.chain, work_of(solver.chain), prior_state(no_prior()), targets.R, targets.p, targets.upper, targets.fore,
        targets.start, live, path, asked, dt, rng.normal(0.0, BESIDE, len(path)), *lesson,
    )  # fmt: skip
    return Lesson(*(part[:count] for part in lesson))


def _followed(
    robot: RobotModel, solver: Solver, targets: ArmTargets, rng: np.random.Generator
) -> tuple[Float[ndarray, "T J"], Bool[ndarray, "T"]]:
    """Joint angles [rad] of a live arm without a prior, and where its hand is there; now and then it is put onto another of the
    more human branches."""
    mapper, work = OnlineMapper(robot, OnlineConfig(speed_share=np.inf), None), work_of(solver.chain)
    live, exact = np.empty((len(targets.t), len(robot.home))), np.zeros(len(targets.t), bool)
    dt = targets.interval()
    again = 0
    for k in range(len(live)):
        if targets.start[k] or k >= again:
            again = k + round(ELSEWHERE / dt)
            found = solutions(solver, se3.transform(targets.R[k], targets.p[k]))
            row = targets.upper[k], targets.fore[k], targets.posture[k]
            costs = np.array([price(solver, work, q, *row, OfflineConfig().costs) for q in found])
            costs -= LUCK * rng.gumbel(size=len(found))
            if np.isfinite(costs).any() and (targets.start[k] or rng.uniform() < 0.5):
                mapper.reset(found[int(np.argmin(costs))])
            elif targets.start[k]:
                mapper.reset(np.clip(robot.home, robot.lower, robot.upper))
        exact[k] = mapper.step(targets.R[k], targets.p[k], targets.upper[k], targets.fore[k], True, dt) == Status.TRACKING
        live[k] = mapper.q
    return live, exact


@njit(cache=True, nogil=True)
@no_type_check
def _answer(chain, work, state, R, p, upper, fore, start, live, path, asked, dt, beside, x, terms, answer):
    """Fill the rows of a lesson with the live arm's postures of the frames that are asked, and as many beside the teacher's
    path; returns how many."""
    joints, n = live.shape[1], 0
    q, free, way = np.empty(joints), np.ones(joints), np.empty(joints)
    pull = Pull(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    for t in range(len(live)):
        if start[t]:
            state.filled[0] = 0
        note_limbs(state, upper[t], fore[t], dt)
        for kind in range(2 if asked[t] else 0):
            q[:] = live[t] if kind == 0 else path[t]
            error = 0.0
            for _ in range(0 if kind == 0 else int(abs(beside[t]) / STEP) + 1):
                forward(chain, q, work.pose)
                tool_jacobian(work.pose, work.J)
                way[:] = free
                self_motion(work, way, free)
                q += np.sign(beside[t]) * min(STEP, abs(beside[t])) * free
                miss = hand_first(
                    chain, work, q, R[t], p[t], upper[t], fore[t], way, pull, chain.lower, chain.upper, NO_STEPS, np.int64(6),
                    1e-6,
                )  # fmt: skip
                error = max(error, miss)
            way[:] = path[t] - q
            far = np.sqrt((way * way).sum())
            if error > 1e-4 or np.abs(way).max() > BRANCH:
                continue
            forward(chain, q, work.pose)
            tool_jacobian(work.pose, work.J)
            self_motion(work, way, free)
            along = (free * way).sum()
            if far > 0.05 and along < BEND * far:
                continue
            look(chain, work, state, q, free)
            x[n], terms[n], answer[n] = state.x, state.terms, along
            n += 1
    return n
