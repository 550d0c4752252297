"""Training of the blemish classifier from scratch, on rendered onions as the detector itself finds and cuts them out.

A sighting is blemished when so much of what is seen of the onion is blemish that a person would say so, and sound when none
is; what lies between is not taught. Every eighth picture is held out. Everything is drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32
from numpy import ndarray
from safetensors.numpy import save_file

from visual_irl.errors import LearningFailed
from visual_irl.io.atomic import atomic_path
from visual_irl.perception.blemish import (
    FEATURES,
    HIDDEN,
    HIDDEN_SHARES,
    SHARES,
    BlemishNetwork,
    blemish_probability,
    dark_shares,
)
from visual_irl.perception.onion_lessons import LessonConfig, draw_lesson
from visual_irl.perception.onion_pixels import CELLS, CHANNELS
from visual_irl.perception.onions import OnionFinder

BLEMISHED_FROM = 0.02
"""Least share of what is seen of an onion that makes it blemished; below, and not 0, is not taught."""
_FOUND = 0.015
"""An onion is found when its centre is within this of the true one [m]."""
HELD_OUT = 8
"""Every so many pictures one is held out."""


@dataclass(frozen=True)
class TrainingConfig:
    """How the classifier is trained."""

    seed: int = 0
    pictures: int = 6000
    epochs: int = 20
    batch: int = 256
    rate: float = 4e-3
    """AdamW's first step size; it falls to nothing along a cosine."""
    decay: float = 1e-3
    """AdamW's weight decay."""


@dataclass(frozen=True)
class TrainingReport:
    """How many sightings were taught; of those held out, the share that is told right, sound and blemished apart."""

    sightings: int
    held_out: int
    sound_right: float
    blemished_right: float


class Sightings(NamedTuple):
    """What the detector found in lessons."""

    patches: Float32[ndarray, "N C S S"]
    blemished: Bool[ndarray, "N"]
    shares: Float32[ndarray, "N"]


def train_classifier(
    out: Path, config: TrainingConfig, progress: Callable[[str, int, int], None] = lambda what, done, total: None
) -> TrainingReport:
    """Train the classifier and write it.

    Raises:
        LearningFailed: too few pictures to teach and to hold some out.
    """
    taught: list[Sightings] = []
    held: list[Sightings] = []
    for i in range(config.pictures):
        (held if i % HELD_OUT == HELD_OUT - 1 else taught).append(found_in(config.seed * config.pictures + i))
        if (i + 1) % 50 == 0:
            progress("rendering", i + 1, config.pictures)
    lessons, asked = joined(taught), joined(held)
    if len(lessons.patches) < config.batch or not all(len(set(s.blemished)) == 2 for s in (lessons, asked)):
        raise LearningFailed(f"{config.pictures} pictures show too few onions to learn from; render 200 or more")
    network = fit(lessons, config, lambda done, total: progress("learning", done, total))
    right = np.array([blemish_probability(network, patch) > 0.5 for patch in asked.patches]) == asked.blemished
    with atomic_path(out) as path:
        save_file(network._asdict(), path)
    sound, bad = (float(right[asked.blemished == kind].mean()) for kind in (False, True))
    return TrainingReport(len(lessons.patches), len(right), sound, bad)


def found_in(seed: int, config: LessonConfig | None = None, finder: OnionFinder | None = None) -> Sightings:
    """The onions that the detector finds in one lesson, and whether they are blemished; the doubtful ones are left out."""
    lesson = draw_lesson(seed, config)
    patches, shares = [], []
    for onion in (finder or OnionFinder()).find(lesson.frame):
        gaps = np.linalg.norm(lesson.centres - onion.sphere.centre, axis=1)
        share = lesson.shares[int(gaps.argmin())]
        if gaps.min() < _FOUND and (share == 0.0 or share >= BLEMISHED_FROM):
            patches.append(onion.patch)
            shares.append(share)
    stack = np.array(patches, np.float32).reshape(-1, CHANNELS, CELLS, CELLS)
    return Sightings(stack, np.array(shares) > 0.0, np.array(shares, np.float32))


def joined(sightings: list[Sightings]) -> Sightings:
    """All of them in one."""
    return Sightings(*(np.concatenate(parts) for parts in zip(*sightings, strict=True)))


class _Pooled(torch.nn.Module):
    """The greatest and the mean of each feature over the picture."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.amax((2, 3)), x.mean((2, 3))], 1)


def build_shapes() -> torch.nn.Sequential:
    """The part of `blemish`'s network that looks for shapes, to be trained: a score, above 0 for a blemish."""
    a, b = FEATURES
    return torch.nn.Sequential(
        torch.nn.Conv2d(CHANNELS, a, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(a, b, 3, padding=1), torch.nn.ReLU(), _Pooled(),
        torch.nn.Linear(2 * b, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1),
    )  # fmt: skip


def build_shares() -> torch.nn.Sequential:
    """The part that knows only shares."""
    return torch.nn.Sequential(torch.nn.Linear(SHARES, HIDDEN_SHARES), torch.nn.ReLU(), torch.nn.Linear(HIDDEN_SHARES, 1))


def fit(lessons: Sightings, config: TrainingConfig, progress: Callable[[int, int], None]) -> BlemishNetwork:
    """Logistic regression on what each part makes of the pictures, by AdamW."""
    shares = np.array([dark_shares(patch) for patch in lessons.patches])
    mean, scale = shares.mean(0), shares.std(0) + 1e-3
    torch.manual_seed(config.seed)
    of_shares, of_shapes = build_shares(), build_shapes()
    _descend(of_shares, (shares - mean) / scale, lessons.blemished, config, lambda done, total: None)
    _descend(of_shapes, lessons.patches, lessons.blemished, config, progress)
    network = network_of(of_shapes, of_shares)
    V1 = network.V1 / scale  # the compiled part reads plain shares
    return network._replace(V1=V1, c1=network.c1 - V1 @ mean)


def network_of(shapes: torch.nn.Sequential, shares: torch.nn.Sequential) -> BlemishNetwork:
    """Both parts as they are compiled and written."""
    layers = [m for m in [*shapes, *shares] if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    both = [w.detach().numpy().copy() for m in layers for w in (m.weight, m.bias) if w is not None]
    return BlemishNetwork(*both)


def _descend(
    network: torch.nn.Sequential, x: Float32[ndarray, "N ..."], wanted: Bool[ndarray, "N"], config: TrainingConfig,
    progress: Callable[[int, int], None],
) -> None:  # fmt: skip
    """Pictures are turned and mirrored at random."""
    adam = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.decay)
    batches = len(x) // config.batch
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, config.epochs * batches)
    inputs, target = torch.from_numpy(x), torch.from_numpy(wanted.astype(np.float32))
    loss_of = torch.nn.BCEWithLogitsLoss()
    for epoch in range(config.epochs):
        order = torch.randperm(len(x))
        for i in range(batches):
            rows = order[i * config.batch : (i + 1) * config.batch]
            shown = inputs[rows]
            if shown.ndim == 4:
                shown = torch.rot90(shown, int(torch.randint(4, (1,))), (2, 3))
                shown = shown.flip(3) if torch.rand(1) < 0.5 else shown
            loss = loss_of(network(shown).squeeze(1), target[rows])
            adam.zero_grad()
            loss.backward()
            adam.step()
            schedule.step()
        progress(epoch + 1, config.epochs)
