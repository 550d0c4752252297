"""Training of the blemish classifier from scratch, on rendered onions as the detector itself finds and cuts them out.

Half of the lessons are the synthetic camera's films of people, half ray-cast onions of more kinds. A sighting is blemished when
so much of what is seen of the onion is blemish that a person would say so, and sound when none is, whatever is on its other
side; what lies between is not taught. Every eighth picture is held out. Everything is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy import ndarray
from safetensors.numpy import save_file

from visual_irl.errors import LearningFailed
from visual_irl.io.atomic import atomic_path
from visual_irl.perception.objects.blemish import FEATURES, HIDDEN, SHARES, BlemishNetwork, blemish_probability, dark_shares
from visual_irl.perception.objects.filmed_lessons import film_lessons
from visual_irl.perception.objects.onion_lessons import Lesson, draw_lesson
from visual_irl.perception.objects.onion_pixels import CELLS, CHANNELS
from visual_irl.perception.objects.onions import OnionDetectorConfig, OnionFinder

BLEMISHED_FROM = 0.03
"""Least share of what is seen of an onion that makes it blemished; below, and not 0, is not taught."""
_FOUND = 0.015
"""An onion is found when its centre is within this of the true one [m]."""
_LEAST_SHOWN = 0.25 * np.pi / 4 * 0.95**2
"""Share of cells that show an onion below which a sighting teaches nothing: a quarter of its disc."""
HELD_OUT = 8
"""Every so many films, and ray-cast pictures, one is held out."""


@dataclass(frozen=True)
class TrainingConfig:
    """How the classifier is trained."""

    seed: int = 0
    films: int = 40
    """People who are filmed, two dozen frames each."""
    pictures: int = 1200
    """Ray-cast pictures besides."""
    epochs: int = 60
    batch: int = 128
    rate: float = 4e-3
    """AdamW's first step size; it falls to nothing along a cosine."""
    decay: float = 0.1
    """AdamW's weight decay."""


@dataclass(frozen=True)
class TrainingReport:
    """How many sightings were taught, and the mean loss of the first and the last epoch; of those held out, the share that is
    told right, sound and blemished apart."""

    sightings: int
    first_loss: float
    last_loss: float
    held_out: int
    sound_right: float
    blemished_right: float


class Sightings(NamedTuple):
    """What the detector found in lessons."""

    patches: Float32[ndarray, "N C S S"]
    shares: Float32[ndarray, "N"]
    """Of what is seen of each onion, how much is blemish."""

    @property
    def blemished(self) -> Bool[ndarray, "N"]:
        """Whether a blemish is in view."""
        return self.shares > 0.0


def train_classifier(
    out: Path, config: TrainingConfig, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> TrainingReport:
    """Train the classifier and write it.

    Raises:
        LearningFailed: too few pictures to teach and to hold some out.
        MissingDependency: no OpenGL to draw films with.
    """
    finder = OnionFinder(OnionDetectorConfig(least_told=0.0))
    taught: list[Sightings] = []
    held: list[Sightings] = []
    sources: list[tuple[str, int, Callable[[int], Iterator[Lesson]]]] = [
        ("filming", config.films, film_lessons),
        ("drawing", config.pictures, lambda seed: iter((draw_lesson(seed),))),
    ]
    for what, count, lessons_of in sources:
        for i in range(count):
            found = [found_in(lesson, finder) for lesson in lessons_of(config.seed * count + i)]
            (held if i % HELD_OUT == HELD_OUT - 1 else taught).extend(found)
            progress(what, i + 1, count)
    if not taught or not held or not all(0 < s.blemished.mean() < 1 for s in (joined(taught), joined(held))):
        raise LearningFailed(
            f"{config.films} films and {config.pictures} pictures show too few onions to learn from; take 8 or more of one"
        )
    lessons, asked = joined(taught), joined(held)
    network, losses = fit(lessons, config, lambda done, total: progress("learning", done, total))
    right = np.array([blemish_probability(network, patch) > 0.5 for patch in asked.patches]) == asked.blemished
    with atomic_path(out) as path:
        save_file(network._asdict(), path)
    sound, bad = (float(right[asked.blemished == kind].mean()) for kind in (False, True))
    return TrainingReport(len(lessons.shares), losses[0], losses[-1], len(right), sound, bad)


def found_in(lesson: Lesson, finder: OnionFinder) -> Sightings:
    """The onions that the detector finds in a lesson, as it cuts them out; the doubtful ones are left out."""
    patches, shares = [], []
    for onion in finder.find(lesson.frame):
        gaps = np.linalg.norm(lesson.centres - onion.sphere.centre, axis=1)
        share = lesson.shares[int(gaps.argmin())]
        if onion.patch is None or gaps.min() > _FOUND or onion.patch[0].mean() < _LEAST_SHOWN:
            continue
        if share == 0.0 or share >= BLEMISHED_FROM:
            patches.append(onion.patch)
            shares.append(share)
    stack = np.array(patches, np.float32).reshape(-1, CHANNELS, CELLS, CELLS)
    return Sightings(stack, np.array(shares, np.float32))


def joined(sightings: list[Sightings]) -> Sightings:
    """All of them in one."""
    return Sightings(*(np.concatenate(parts) for parts in zip(*sightings, strict=True)))


class BlemishModule(torch.nn.Module):
    """`blemish`'s network, to be trained: a score, above 0 for a blemish."""

    def __init__(self) -> None:
        super().__init__()
        a, b = FEATURES
        self.shapes = torch.nn.Sequential(
            torch.nn.Conv2d(CHANNELS, a, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(a, b, 3, padding=1), torch.nn.ReLU(),
        )  # fmt: skip
        self.weigh = torch.nn.Sequential(torch.nn.Linear(2 * b + SHARES, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1))

    def forward(self, patches: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Scores of patches (N, C, S, S) and their dark shares."""
        x = self.shapes(patches)
        score: torch.Tensor = self.weigh(torch.cat([x.amax((2, 3)), x.mean((2, 3)), shares], 1)).squeeze(1)
        return score

    def frozen(self) -> BlemishNetwork:
        """Its weights as they run and are written."""
        layers = [m for m in chain(self.shapes, self.weigh) if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
        return BlemishNetwork(*(w.detach().numpy().copy() for m in layers for w in (m.weight, m.bias)))  # type: ignore[union-attr]


def fit(lessons: Sightings, config: TrainingConfig, progress: Callable[[int, int], None]) -> tuple[BlemishNetwork, list[float]]:
    """Logistic regression by AdamW, both kinds of equal weight; patches are turned and mirrored at random. Losses by epoch."""
    torch.manual_seed(config.seed)
    module = BlemishModule()
    patches, wanted = torch.from_numpy(lessons.patches), torch.from_numpy(lessons.blemished)
    shares = torch.from_numpy(np.array([dark_shares(patch) for patch in lessons.patches]))
    weight = torch.where(wanted, 0.5 / wanted.float().mean(), 0.5 / (~wanted).float().mean())
    adam = torch.optim.AdamW(module.parameters(), config.rate, weight_decay=config.decay)
    batches = max(len(wanted) // config.batch, 1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.epochs * batches)
    losses = []
    for epoch in range(config.epochs):
        total = 0.0
        for rows in torch.randperm(len(wanted)).tensor_split(batches):
            shown = torch.rot90(patches[rows], int(torch.randint(4, (1,))), (2, 3))
            shown = shown.flip(3) if torch.rand(1) < 0.5 else shown
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                module(shown, shares[rows]), wanted[rows].float(), weight[rows]
            )
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
            total += float(loss.detach()) / batches
        losses.append(total)
        progress(epoch + 1, config.epochs)
    return module.frozen(), losses
