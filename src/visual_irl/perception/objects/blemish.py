"""How surely an onion's picture shows a blemish: a small network, trained by `blemish_training`.

It sees the onion without the light's colour, strength and direction (`onion_pixels.onion_patch`): two convolutions look for
shapes, of which the strongest and the mean over the onion count. Beside them it reads which share of the onion is how dark
against a matt ball of one colour, Lambert's law: the physics by itself. Two dense layers weigh both. Here it only runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32
from numba import njit
from numpy import ndarray

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingFile
from visual_irl.io.tensors import load_weights
from visual_irl.perception.objects.onion_pixels import CELLS, CHANNELS

WEIGHTS = "models/onion_blemish.safetensors"
"""The network that ships."""
FEATURES = (8, 16)
"""Of the first and the second convolution."""
HIDDEN = 24
"""Width of the dense layer."""
DARKER = np.array([0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.50, 0.60, 0.70], np.float32)
"""Brightnesses below which cells are counted: by themselves, against a matt ball's, and by the latter where four cells are."""
TINTED = np.array([0.3, 0.6], np.float32)
"""Differences of each of two colours above which dark cells are counted."""
SHARES = 3 * len(DARKER) + 2 * len(TINTED) + 1
"""Numbers that `dark_shares` counts."""
_INNER = 0.85  # of the radius: cells further out are not counted
_DARK = np.float32(0.6)
"""A blemish has a cell that is darker than this share of what a matt ball shows there, ..."""
_EDGE = 0.9
"""... within this share of the radius, a little further out than cells are counted: one may just be coming into view. Beyond,
there are the pads of a gripper, too. Without such a cell ..."""
_NOT_DARK = -2.0
"""... its log odds are this at most. What else looks odd, such as a gripper's pads at the rim, is in no lesson."""
_HOW = "train one with: visual-irl bench perception --train-blemish"

_X = (2.0 * np.arange(CELLS) + 1.0) / CELLS - 1.0
_COUNTED, _TOLD = (np.hypot(*np.meshgrid(_X, _X)) < share for share in (_INNER, _EDGE))


class BlemishNetwork(NamedTuple):
    """Weights and biases, float32, in the order in which they are used; shapes as in PyTorch."""

    W1: ndarray
    b1: ndarray
    W2: ndarray
    b2: ndarray
    W3: ndarray
    b3: ndarray
    W4: ndarray
    b4: ndarray


SHAPES = {
    "W1": (FEATURES[0], CHANNELS, 3, 3), "b1": (FEATURES[0],),
    "W2": (FEATURES[1], FEATURES[0], 3, 3), "b2": (FEATURES[1],),
    "W3": (HIDDEN, 2 * FEATURES[1] + SHARES), "b3": (HIDDEN,),
    "W4": (1, HIDDEN), "b4": (1,),
}  # fmt: skip
"""Of every layer in a file."""


def load_blemish_network(path: Path | None = None) -> BlemishNetwork:
    """The network that ships, or the one in a file.

    Raises:
        MissingFile: there is none, with how to train one.
        UnreadableFile, InvalidInput: not a file of weights, or not of this network.
    """
    try:
        path = asset_path(WEIGHTS) if path is None else Path(path)
    except MissingFile as error:
        raise MissingFile(f"{error}; or {_HOW}") from None
    weights = load_weights(path, "blemish classifier", _HOW)
    shapes = {name: w.shape for name, w in weights.items()}
    if shapes != SHAPES:
        raise InvalidInput(f"'{path}' is not a blemish classifier: it holds {shapes}, expected {SHAPES}; {_HOW}")
    if not all(np.isfinite(w).all() for w in weights.values()):
        raise InvalidInput(f"'{path}' is not a blemish classifier: it holds weights that are not finite; {_HOW}")
    return BlemishNetwork(**{name: np.ascontiguousarray(w, np.float32) for name, w in weights.items()})


def blemish_probability(network: BlemishNetwork, patch: Float32[ndarray, "C N N"]) -> float:
    """How probable it is that a blemish is in view, if it is as likely as not that one is."""
    a = _halved(_convolved(network.W1, network.b1, patch))
    b = _convolved(network.W2, network.b2, a)
    x = np.concatenate([b.max((1, 2)), b.mean((1, 2)), dark_shares(patch)])
    hidden = np.maximum(network.W3 @ x + network.b3, 0.0)
    score = float(network.W4[0] @ hidden + network.b4[0])
    if not (patch[2] < _DARK)[(patch[0] > 0.0) & _TOLD].any():
        score = min(score, _NOT_DARK)
    return float(1.0 / (1.0 + np.exp(-score)))


def dark_shares(patch: Float32[ndarray, "C N N"]) -> Float32[ndarray, "S"]:
    """Square roots of the shares of an onion that are dark in several ways, and what is seen of it.

    Dark below each of `DARKER`: by brightness, by brightness against a matt ball's, by that in four cells together; then dark
    and of another colour than the skin.
    """
    return np.asarray(_dark_shares(patch))


@njit(cache=True, nogil=True)
@no_type_check
def _dark_shares(patch):
    n, seen, cells = len(DARKER), 0, 0
    dark, bright = np.zeros(3 * n + 2 * len(TINTED)), np.float32(9.0)
    ball = np.full((CELLS, CELLS), bright)  # brightness against a matt ball's; what is not counted is bright
    for v in range(CELLS):
        for u in range(CELLS):
            seen += patch[0, v, u] > 0.0
            if not (patch[0, v, u] > 0.0 and _COUNTED[v, u]):
                continue
            cells += 1
            ball[v, u] = patch[2, v, u]
            for k in range(n):
                dark[k] += patch[1, v, u] < DARKER[k]
                dark[n + k] += ball[v, u] < DARKER[k]
            for k in range(2 * len(TINTED)):
                tint = abs(patch[3 + k // len(TINTED), v, u])
                dark[3 * n + k] += ball[v, u] < _DARK and tint > TINTED[k % len(TINTED)]
    for v in range(CELLS - 1):
        for u in range(CELLS - 1):
            four = ball[v : v + 2, u : u + 2].max()
            for k in range(n):
                dark[2 * n + k] += four < DARKER[k]
    return np.append(np.sqrt(dark / max(cells, 1)), seen / CELLS**2).astype(np.float32)


@njit(cache=True, nogil=True)
@no_type_check
def _convolved(W, b, x):
    """3 x 3 with zeros around, rectified: (F, C, 3, 3) on (C, H, W)."""
    features, channels, height, width = len(W), x.shape[0], x.shape[1], x.shape[2]
    around, out = np.zeros((channels, height + 2, width + 2), np.float32), np.empty((features, height, width), np.float32)
    around[:, 1:-1, 1:-1] = x
    for f in range(features):
        out[f] = b[f]
        for c in range(channels):
            for v in range(height):
                for k in range(3):
                    for j in range(3):
                        for u in range(width):
                            out[f, v, u] += W[f, c, k, j] * around[c, v + k, u + j]
    return np.maximum(out, np.float32(0.0))


def _halved(x: Float32[ndarray, "C H W"]) -> Float32[ndarray, "C H2 W2"]:
    """The largest of each 2 x 2 cells."""
    return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max((2, 4))
