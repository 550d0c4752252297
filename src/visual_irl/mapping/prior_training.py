"""Training of the mapper's neural part on the offline mapper's own solutions.

The teacher maps whole motions, synthetic and recorded, laid before the robot in several ways. For a moment of one the pupil
is shown every solution of the hand pose and the last quarter of a second of the arm, and learns which solution is nearest to
where the teacher's path, chosen with the future in sight, goes: an energy for each, with the cross-entropy of their softmax
as loss (a conditional energy-based model; LeCun et al. 2006, "A tutorial on energy-based learning"). Everything is drawn
from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Bool, Float
from numba import njit
from numpy import ndarray
from safetensors.numpy import save_file
from scipy.interpolate import CubicSpline

from visual_irl.errors import LearningFailed
from visual_irl.io.atomic import atomic_path
from visual_irl.mapping.anatomy import arm_of_angles
from visual_irl.mapping.hand_first import angle_of, limb_direction, work_of
from visual_irl.mapping.human_arm import GRASP_REACH
from visual_irl.mapping.offline import OfflineConfig, map_offline
from visual_irl.mapping.placement import placed_targets, ranked_placements
from visual_irl.mapping.prior import file_moment, no_prior, prior_state, write_posture
from visual_irl.mapping.targets import cut
from visual_irl.robots.model import RobotModel
from visual_irl.robots.solutions import capacity, solutions_into, solver_of
from visual_irl.types import HumanArmTrajectory

RANGE = np.radians([[-30, 120], [20, 130], [-70, 70], [5, 140], [-80, 80], [-60, 60], [-20, 30]])
"""Least and greatest of the seven angles that synthetic arms pass through: everyday reaching, inside the joints' ranges."""
FPS = 60.0
SYNTHETIC_SECONDS = 8.0


@dataclass(frozen=True)
class TrainingConfig:
    """How a prior is trained."""

    seed: int = 0
    synthetic: int = 60
    """Synthetic motions."""
    placements: int = 4
    """Ways in which each motion is laid before the robot."""
    longest: int = 1500
    """Frames of a recorded motion that are used; longer ones give their first ones."""
    every: int = 5
    """Every how many frames a question is asked."""
    hidden: tuple[int, int] = (64, 32)
    epochs: int = 12
    batch: int = 256
    rate: float = 2e-3
    """Adam's first step size; it falls to nothing along a cosine."""


@dataclass(frozen=True)
class TrainingReport:
    """What was trained on; and on motions that were not, how often the guess is the teacher's solution (or its neighbour)."""

    motions: int
    questions: int
    held_out_right: float
    held_out_right_by_limbs: float
    """The same when the solution with the most human limbs is taken."""


def synthetic_arm(seed: int) -> HumanArmTrajectory:
    """An arm whose seven angles run along cubic splines through random poses, now slow, now fast; sides alternate."""
    rng = np.random.default_rng(seed)
    side = "left" if seed % 2 else "right"
    axes = np.array([[1.0, 0.0, 0.0], [0.0, 1.0 if side == "left" else -1.0, 0.0], [0.0, 0.0, 1.0]])
    t = np.arange(int(SYNTHETIC_SECONDS * FPS)) / FPS
    gaps = rng.uniform(0.25, 1.2, 40) * rng.uniform(0.7, 1.6)
    knots = np.concatenate([[0.0], np.cumsum(gaps)])
    count = int(np.searchsorted(knots, t[-1])) + 1
    centre = rng.uniform(RANGE[:, 0], RANGE[:, 1])
    spread = rng.uniform(0.15, 0.5)
    poses = centre + spread * rng.normal(0.0, 1.0, (count, 7)) * (RANGE[:, 1] - RANGE[:, 0]) / 2.0
    q = CubicSpline(knots[:count], np.clip(poses, RANGE[:, 0], RANGE[:, 1]), bc_type="clamped")(t)
    q = np.clip(q, RANGE[:, 0], RANGE[:, 1])
    shoulder = np.zeros((len(t), 3))
    elbow, wrist, R = arm_of_angles(q, axes, shoulder, 0.29, 0.26)
    Ts = np.tile(np.eye(4), (len(t), 1, 1))
    Ts[:, :3, :3], Ts[:, :3, 3] = R, wrist + GRASP_REACH * R[:, :, 2]
    seen = np.ones(len(t), bool)
    return HumanArmTrajectory(t, side, q, shoulder, elbow, wrist, Ts, seen, np.zeros(len(t)))


def train_prior(
    robot: RobotModel,
    recorded: Sequence[tuple[HumanArmTrajectory, Bool[ndarray, "T"]]],
    out: Path,
    config: TrainingConfig,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TrainingReport:
    """Train a robot's prior and write it; `recorded` are arms with their segment starts, besides the synthetic ones.

    Raises:
        LearningFailed: no frame could be reached, so that there is nothing to learn from.
    """
    nothing = np.zeros(int(SYNTHETIC_SECONDS * FPS), bool)
    arms = [(synthetic_arm(config.seed + i), nothing) for i in range(config.synthetic)]
    arms += list(recorded)
    rng = np.random.default_rng(config.seed)
    lessons: list[Lesson] = []
    for i, (arm, start) in enumerate(arms):
        progress("teaching", i, len(arms))
        lessons.append(_lesson(robot, arm, start, config, rng))
    progress("teaching", len(arms), len(arms))
    held = np.arange(len(lessons)) % 10 == 9
    taught = _joined([lesson for lesson, h in zip(lessons, held, strict=True) if not h])
    if len(taught.X) < config.batch:
        raise LearningFailed(f"'{robot.name}' reaches too little of the motions to learn from; give motions near its reach")
    network = _fit(taught, config, lambda done, total: progress("learning", done, total))
    asked = [lesson for lesson, h in zip(lessons, held, strict=True) if h]
    right, by_limbs = _right(network, _joined(asked)) if asked else (float("nan"), float("nan"))
    layers = [m for m in network if isinstance(m, torch.nn.Linear)]
    weights = {f"W{i + 1}": m.weight.detach().numpy().copy() for i, m in enumerate(layers)}
    weights |= {f"b{i + 1}": m.bias.detach().numpy().copy() for i, m in enumerate(layers)}
    with atomic_path(out) as path:
        save_file(weights, path)
    return TrainingReport(len(arms), len(taught.X), right, by_limbs)


class Lesson(NamedTuple):
    """Q questions of up to `OPTIONS` solutions each."""

    X: Float[ndarray, "Q K I"]
    """Inputs of the network."""
    distance: Float[ndarray, "Q K"]
    """Largest joint difference of each solution from the teacher's posture [rad]; infinite where there is no solution."""
    limbs: Float[ndarray, "Q K"]
    """Sum of the limbs' angles to the human's [rad]."""


OPTIONS = 32
"""Solutions of a question: the teacher's posture itself, and others drawn from all."""
NEAR = 0.3
"""Width of the kernel by which a solution is near the teacher's posture [rad]."""


def _joined(lessons: Sequence[Lesson]) -> Lesson:
    return Lesson(*(np.concatenate(parts) for parts in zip(*lessons, strict=True)))


def _lesson(
    robot: RobotModel, arm: HumanArmTrajectory, start: ndarray, config: TrainingConfig, rng: np.random.Generator
) -> Lesson:
    """What one motion teaches, laid before the robot in several ways."""
    solver = solver_of(robot, OfflineConfig().margin)
    prior = no_prior(len(robot.home))
    lessons = []
    for placement in ranked_placements(arm, robot, True, start)[: config.placements]:
        targets = cut(placed_targets(arm, robot, placement, start=start), slice(0, config.longest))
        path = map_offline(robot, targets, OfflineConfig())
        asked = path.exact & (rng.uniform(size=len(path.q)) < 1.0 / config.every)
        lessons.append(
            Lesson(
                *_questions(
                    solver, work_of(solver.chain), prior, prior_state(prior), targets.R, targets.p, targets.upper, targets.fore,
                    path.q, asked, targets.start, targets.interval(), rng.uniform(size=(len(path.q), OPTIONS)),
                    np.empty((capacity(solver), len(robot.home))),
                )
            )
        )  # fmt: skip
    return _joined(lessons)


@njit(cache=True, nogil=True)
@no_type_check
def _questions(solver, work, prior, state, R, p, upper, fore, q, asked, start, dt, chance, found):
    """Inputs, distances and limb angles of the solutions of the frames that are asked."""
    frames, joints = q.shape
    count, width = asked.sum(), len(state.x)
    x = np.zeros((count, OPTIONS, width), np.float32)
    distance, limbs = np.full((count, OPTIONS), np.inf, np.float32), np.full((count, OPTIONS), np.inf, np.float32)
    n = 0
    for t in range(frames):
        if start[t]:
            state.filled[0] = 0
        file_moment(prior, state, R[t], p[t], upper[t], fore[t], dt)
        if not asked[t]:
            continue
        options = solutions_into(solver, R[t], p[t], found)
        for k in range(min(options + 1, OPTIONS)):
            row = q[t]
            if k > 0:
                row = found[k - 1] if options < OPTIONS else found[int(chance[t, k] * options)]
            write_posture(solver.chain, work, state, row)
            x[n, k] = state.x
            far = 0.0
            for j in range(joints):
                d = abs(row[j] - q[t, j])
                if solver.periodic[j]:
                    d = abs(d - 2.0 * np.pi * np.round(d / (2.0 * np.pi)))
                far = max(far, d)
            distance[n, k] = far
            limb_direction(solver.chain, work, 0, work.d)
            limbs[n, k] = angle_of(work.d, upper[t])
            limb_direction(solver.chain, work, 1, work.d)
            limbs[n, k] += angle_of(work.d, fore[t])
        n += 1
    return x, distance, limbs


def _fit(lesson: Lesson, config: TrainingConfig, progress: Callable[[int, int], None]) -> torch.nn.Sequential:
    """A network of two hidden layers, fitted with Adam (Kingma and Ba 2015)."""
    torch.manual_seed(config.seed)
    a, b = config.hidden
    network = torch.nn.Sequential(
        torch.nn.Linear(lesson.X.shape[2], a), torch.nn.ReLU(), torch.nn.Linear(a, b), torch.nn.ReLU(), torch.nn.Linear(b, 1)
    )
    adam = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=1e-3)
    batches = len(lesson.X) // config.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.epochs * batches)
    x, distance = torch.from_numpy(lesson.X), torch.from_numpy(lesson.distance)
    there = torch.isfinite(distance)
    wanted = torch.softmax(torch.where(there, -((distance / NEAR) ** 2), -torch.inf), dim=1)
    done = 0
    for _ in range(config.epochs):
        order = torch.randperm(len(x))
        for i in range(batches):
            rows = order[i * config.batch : (i + 1) * config.batch]
            score = torch.where(there[rows], -network(x[rows]).squeeze(2), torch.tensor(-1e9))
            loss = -(wanted[rows] * torch.log_softmax(score, dim=1)).sum(dim=1).mean()
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            done += 1
            if done % 50 == 0:
                progress(done, config.epochs * batches)
    progress(1, 1)
    return network


def _right(network: torch.nn.Sequential, lesson: Lesson) -> tuple[float, float]:
    """Share of questions whose chosen solution is near the teacher's, by the network and by the limbs alone; the teacher's
    own posture, which no search would find, is left out of the choice."""
    with torch.no_grad():
        guess = network(torch.from_numpy(lesson.X)).squeeze(2).numpy()
    guess = np.where(np.isfinite(lesson.distance), guess, np.inf)
    chosen = (c[:, 1:].argmin(axis=1) + 1 for c in (guess, lesson.limbs))
    rows = np.arange(len(guess))
    a, b = (float((lesson.distance[rows, c] < 2.0 * NEAR).mean()) for c in chosen)
    return a, b
