"""Training of the mapper's neural part on the offline mapper's own solutions; the lessons are those of `prior_lessons`.

The network weighs what draws an arm along its self-motion, so that the sum is how far along it the teacher is, who sees the
future; where that cannot be told, the best answer is little. It reads few numbers, most of them the same for poses that ask the
same, and some of its units are left out in every step (dropout; Srivastava et al. 2014): a network of a hundred inputs, on the
same lessons, was worse on new motions than no answer at all. Everything is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from numpy import ndarray
from safetensors.numpy import save_file

from visual_irl.errors import InvalidInput, LearningFailed
from visual_irl.io.atomic import atomic_path
from visual_irl.mapping.prior import JOINTS, TERMS
from visual_irl.mapping.prior_lessons import Lesson, joined, lesson_of, synthetic_arm
from visual_irl.robots.model import RobotModel
from visual_irl.types import HumanArmTrajectory

FARTHEST = 0.6
"""Answers beyond count as this far [rad]: the arm goes there over many frames anyway."""
OUTLYING = 0.15
"""Error beyond which the loss grows no longer with the square but in proportion (Huber 1964) [rad]."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a prior is trained."""

    seed: int = 0
    synthetic: int = 300
    """Synthetic motions."""
    placements: int = 2
    """Ways in which each motion is laid before the robot."""
    longest: int = 1200
    """Frames of a recorded motion that are used."""
    hidden: tuple[int, int] = (64, 32)
    dropout: float = 0.2
    """Share of units that are left out in a step of the training."""
    decay: float = 0.05
    """Weight decay (AdamW; Loshchilov and Hutter 2019)."""
    epochs: int = 12
    batch: int = 256
    rate: float = 2e-3
    """First step size; it falls to nothing along a cosine."""


@dataclass(frozen=True)
class TrainingReport:
    """What was trained on; and on motions that were not, how much of the way to the teacher is told."""

    motions: int
    postures: int
    held_out_told: float
    """One less the mean loss over that of no answer; NaN where no motion was left out."""


def train_prior(
    robot: RobotModel,
    recorded: Sequence[tuple[HumanArmTrajectory, Bool[ndarray, "T"]]],
    out: Path,
    config: TrainingConfig,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TrainingReport:
    """Train a robot's prior and write it; `recorded` are arms with their segment starts, besides the synthetic ones.

    Every tenth motion is left out, and what is reported is about those.

    Raises:
        InvalidInput: the robot has no self-motion that a prior could choose along.
        LearningFailed: hardly a frame could be reached, so that there is nothing to learn from.
    """
    if len(robot.home) != JOINTS:
        raise InvalidInput(
            f"'{robot.name}' has {len(robot.home)} joints and no self-motion along which a prior could choose; priors are for "
            f"arms of {JOINTS} joints"
        )
    arms = [synthetic_arm(config.seed + i) for i in range(config.synthetic)]
    motions = [(arm, np.zeros(len(arm.t), bool)) for arm in arms] + list(recorded)
    rng = np.random.default_rng(config.seed)
    lessons: list[Lesson] = []
    for i, (arm, start) in enumerate(motions):
        progress("teaching", i, len(motions))
        lessons.append(lesson_of(robot, arm, start, config.placements, config.longest, rng))
    progress("teaching", len(motions), len(motions))
    held = [lesson for i, lesson in enumerate(lessons) if i % 10 == 9]
    taught = joined([lesson for i, lesson in enumerate(lessons) if i % 10 != 9])
    if len(taught.x) < config.batch:
        raise LearningFailed(f"'{robot.name}' reaches too little of the motions to learn from; give motions near its reach")
    network = fit(taught, config, lambda done, total: progress("learning", done, total))
    with atomic_path(out) as path:
        save_file(network.layers(), path)
    return TrainingReport(len(motions), len(taught.x), network.told(joined(held)) if held else float("nan"))


class Network(torch.nn.Module):
    """The network while it learns: inputs and terms are brought to the same size, which its layers then take in."""

    def __init__(self, lesson: Lesson, config: TrainingConfig) -> None:
        super().__init__()
        self.middle = torch.from_numpy(lesson.x.mean(axis=0))
        self.width = torch.from_numpy(lesson.x.std(axis=0) + 1e-6)
        self.size = torch.from_numpy(np.sqrt((lesson.terms**2).mean(axis=0)).astype(np.float32) + 1e-6)
        a, b = config.hidden
        drop = config.dropout
        self.body = torch.nn.Sequential(
            torch.nn.Linear(lesson.x.shape[1], a), torch.nn.ReLU(), torch.nn.Dropout(drop),
            torch.nn.Linear(a, b), torch.nn.ReLU(), torch.nn.Dropout(drop), torch.nn.Linear(b, TERMS),
        )  # fmt: skip

    def forward(self, x: torch.Tensor, terms: torch.Tensor) -> torch.Tensor:
        """How far along the self-motion [rad]."""
        weights: torch.Tensor = self.body((x - self.middle) / self.width)
        return (weights * terms / self.size).sum(dim=1)

    def layers(self) -> dict[str, ndarray]:
        """What `visual_irl.mapping.prior` runs: weights, a row an output, and biases of its three layers."""
        first, second, last = (layer for layer in self.body if isinstance(layer, torch.nn.Linear))
        with torch.no_grad():
            W1, W3 = first.weight / self.width, last.weight / self.size[:, None]
            parts = {"W1": W1, "b1": first.bias - W1 @ self.middle, "W2": second.weight, "b2": second.bias}
            parts |= {"W3": W3, "b3": last.bias / self.size}
            return {name: np.ascontiguousarray(part.numpy()) for name, part in parts.items()}

    def told(self, lesson: Lesson) -> float:
        """How much of the answers it knows: one less its mean loss over that of no answer."""
        self.eval()
        x, terms, answer = _tensors(lesson)
        with torch.no_grad():
            return float(1.0 - _loss(self(x, terms), answer) / _loss(torch.zeros_like(answer), answer))


def fit(lesson: Lesson, config: TrainingConfig, progress: Callable[[int, int], None]) -> Network:
    """A network of two hidden layers, fitted with AdamW."""
    torch.manual_seed(config.seed)
    network = Network(lesson, config)
    optimiser = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
    batches = len(lesson.x) // config.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs * batches)
    x, terms, answer = _tensors(lesson)
    done = 0
    for _ in range(config.epochs):
        order = torch.randperm(len(x))
        for i in range(batches):
            rows = order[i * config.batch : (i + 1) * config.batch]
            loss = _loss(network(x[rows], terms[rows]), answer[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            done += 1
            if done % 50 == 0:
                progress(done, config.epochs * batches)
    progress(1, 1)
    return network.eval()


def _tensors(lesson: Lesson) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    x, terms, answer = (torch.from_numpy(np.asarray(part, np.float32)) for part in lesson)
    return x, terms, answer.clamp(-FARTHEST, FARTHEST)


def _loss(guess: torch.Tensor, answer: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.huber_loss(guess, answer, delta=OUTLYING)
