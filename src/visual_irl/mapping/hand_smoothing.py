"""Smoothing of the path that the hand shall take, for recordings whose noise would slow a robot down.

The timing keeps a shown path exactly, so a joint's acceleration limit turns a camera's jitter into time. Smoothing the path
first trades some millimetres, which are reported for every frame, for speed; it is done only when asked for.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.types import HumanArmTrajectory

CUT = 3.0
"""Widths at which the kernel ends."""
WIDEST = 0.5
"""Largest width [s]: a hand's path is not one any more beyond."""


class SmoothedHand(NamedTuple):
    """An arm whose hand runs smoothly, and how far that is from where it was."""

    arm: HumanArmTrajectory
    moved: Float[ndarray, "T"]
    """[m]"""
    turned: Float[ndarray, "T"]
    """[rad]"""


def smoothed_hand(arm: HumanArmTrajectory, width: float, start: Bool[ndarray, "T"] | None = None) -> SmoothedHand:
    """The arm with its hand's path under a Gaussian of standard deviation `width` [s] in time; the limbs stay as they are.

    Orientations are averaged as matrices and brought back to rotations, the chordal mean (Hartley et al., "Rotation
    averaging", IJCV 103, 2013). Towards both ends of a recording the kernel narrows, so that they stay where they are.
    Each recording, which begins where `start` is true, is smoothed by itself. A width of 0 changes nothing.

    Raises:
        InvalidInput: the width is not a number from 0 to `WIDEST`.
    """
    if not 0.0 <= width <= WIDEST:
        raise InvalidInput(f"the hand's path cannot be smoothed over {width} s, expected 0 (not at all) to {WIDEST} s")
    Ts = np.array(arm.Ts_world_hand)
    if width > 0.0:
        begins = np.zeros(len(arm.t), bool) if start is None else np.array(start, bool)
        edges = np.unique(np.r_[0, np.nonzero(begins)[0], len(arm.t)])
        for a, b in pairwise(edges.tolist()):
            mean = _averaged(arm.t[a:b], Ts[a:b, :3, :].reshape(b - a, 12), width).reshape(b - a, 3, 4)
            Ts[a:b, :3, :3], Ts[a:b, :3, 3] = _nearest_rotations(mean[:, :, :3]), mean[:, :, 3]
    moved = np.linalg.norm(Ts[:, :3, 3] - arm.Ts_world_hand[:, :3, 3], axis=1)
    between = np.swapaxes(arm.Ts_world_hand[:, :3, :3], 1, 2) @ Ts[:, :3, :3]
    turned = np.array([np.linalg.norm(se3.log_so3(R)) for R in between])
    return SmoothedHand(replace(arm, Ts_world_hand=Ts), moved, turned)


def _averaged(t: Float[ndarray, "T"], values: Float[ndarray, "T D"], width: float) -> Float[ndarray, "T D"]:
    """Weighted means in time; a sample weighs by the kernel and by the time that it stands for."""
    n = len(t)
    if n < 3:
        return values
    widths = np.minimum(width, np.minimum(t - t[0], t[-1] - t) / CUT)
    cut = CUT * widths * (1.0 + 1e-9)  # a sample at the very edge counts on both sides, whatever rounding says
    spans = np.gradient(t)
    total, weights = spans[:, None] * values, spans.copy()
    reach = int(np.max(np.searchsorted(t, t + cut, side="right") - np.arange(n)))
    for k in range(1, reach + 1):
        for one, other in ((slice(0, n - k), slice(k, n)), (slice(k, n), slice(0, n - k))):
            away = np.abs(t[other] - t[one])
            near = away <= cut[one]
            weight = np.where(near, np.exp(-0.5 * (away / np.maximum(widths[one], 1e-12)) ** 2), 0.0) * spans[other]
            weights[one] += weight
            total[one] += weight[:, None] * values[other]
    return np.asarray(total / weights[:, None])


def _nearest_rotations(M: Float[ndarray, "T 3 3"]) -> Float[ndarray, "T 3 3"]:
    """The rotation nearest to each matrix in the Frobenius norm (Kabsch 1976)."""
    U, _, Vt = np.linalg.svd(M)
    U[:, :, 2] *= np.sign(np.linalg.det(U @ Vt))[:, None]
    return np.asarray(U @ Vt)
