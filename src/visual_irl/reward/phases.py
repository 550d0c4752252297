"""Where a demonstration is cut: when a thing is picked up, poured from, and let go for good; and when all is done.

Noise is told from motion first: flicker of the held flags is removed, and paths are smoothed as much as their noise asks for.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from visual_irl.tasks.situation import Situation

LEAST_POUR = 0.1
"""A level that changes by less than this in a demonstration is not poured [fills]."""


def debounced(held: Bool[Tensor, "T N"], shortest: int) -> Bool[Tensor, "T N"]:
    """Without runs shorter than `shortest` steps in their middle."""
    flags = held.numpy().copy()
    for n in range(flags.shape[1]):
        edges = [0, *(np.flatnonzero(np.diff(flags[:, n])) + 1), len(flags)]
        for a, b in itertools.pairwise(edges[1:-1]):
            if b - a < shortest:
                flags[a:b, n] = flags[a - 1, n]
    return torch.from_numpy(flags)


def last_handling(held: Bool[ndarray, "T"]) -> tuple[int | None, int | None]:
    """First held step and first loose step after it, of the last time that a thing was picked up and let go."""
    change = np.diff(held.astype(int))
    releases = np.flatnonzero(change < 0) + 1
    if not len(releases):
        return None, None
    picks = np.flatnonzero(change > 0) + 1
    before = picks[picks < releases[-1]]
    return (int(before[-1]), int(releases[-1])) if len(before) else (None, None)


def pouring(demo: Situation) -> tuple[int, int, slice] | None:
    """The thing that is emptied, the one that is filled, and the steps in which nine tenths of that happen; None if none is."""
    if demo.vessels is None:
        return None
    level = demo.vessels.level.numpy()
    gain = level[-1] - level[0]
    filled, emptied = int(gain.argmax()), int(gain.argmin())
    if gain[filled] < LEAST_POUR or -gain[emptied] < LEAST_POUR:
        return None
    share = (level[:, filled] - level[0, filled]) / gain[filled]
    return emptied, filled, slice(int(np.argmax(share > 0.05)), int(np.argmax(share >= 0.95)) + 1)


def noise(demo: Situation) -> float:
    """Standard deviation of what is not motion, an axis [m]: of second differences, of which most are none without it."""
    hand = demo.hand.numpy()
    return float(1.4826 * np.median(np.abs(np.diff(hand, 2, axis=0))) / np.sqrt(6.0)) if len(hand) > 2 else 0.0


def smoothed(demo: Situation, strength: float) -> Situation:
    """The demonstration with its paths smoothed as much as their noise asks for: distances to noisy points are too long."""
    hand, spread = demo.hand.numpy(), noise(demo)
    stride = np.median(np.linalg.norm(np.diff(hand, axis=0), axis=1)) if len(hand) > 1 else 0.0
    width = min(2.0, strength * spread / stride) if stride > 0.0 else 0.0
    if width < 0.1:
        return demo
    moved = [gaussian_filter1d(x.numpy(), width, axis=0, mode="nearest") for x in (demo.hand, demo.things)]
    return replace(demo, hand=torch.from_numpy(moved[0]), things=torch.from_numpy(moved[1]))


def strides(demo: Situation) -> Float[ndarray, "K"]:
    """How far the hand moves in each step [m], without those in which something is poured: there it rests."""
    length = np.linalg.norm(np.diff(demo.hand.numpy(), axis=0), axis=1)
    poured = pouring(demo)
    return length if poured is None else np.delete(length, poured[2])


def finish(demo: Situation, spread: float) -> int:
    """Last step at which a flag flips or the hand is away from its end by over a tenth of its path's size, and by more than
    noise of `spread` [m] makes it seem."""
    hand = demo.hand.numpy()
    size = np.linalg.norm(hand.max(axis=0) - hand.min(axis=0))
    distance = np.linalg.norm(hand - at_the_end(hand), axis=1)
    away = np.flatnonzero(distance > max(0.1 * size, 3.0 * spread))
    flips = np.flatnonzero((demo.held[1:] != demo.held[:-1]).any(dim=1).numpy())
    return min(int(max(away.max(initial=0), flips.max(initial=0))) + 1, len(hand) - 1)  # it may be cut off in motion


def at_the_end(path: Float[ndarray, "T 3"]) -> Float[ndarray, "3"]:
    """Where a path ends: the median of its last five steps, at which it rests."""
    end: ndarray = np.median(path[-5:], axis=0)
    return end
