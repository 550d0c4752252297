"""How surely an onion's picture shows a blemish: a small network, trained by `blemish_training`.

It sees the onion without the light's colour, strength and direction (`onion_pixels.onion_patch`): two convolutions look for
shapes, of which the strongest and the mean over the onion count. Beside them it reads which share of the onion is how dark
against a matt ball of one colour, Lambert's law: the physics by itself. Two dense layers weigh both. Here it only runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32
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
    seen = patch[0] > 0.0
    counted = seen & _COUNTED
    ball = _ball(patch)
    four = np.maximum(np.maximum(ball[1:, 1:], ball[:-1, 1:]), np.maximum(ball[1:, :-1], ball[:-1, :-1]))
    bright = np.where(counted, patch[1], np.float32(9.0))
    dark = [(x.reshape(-1, 1) < DARKER).sum(0) for x in (bright, ball, four)]
    tints = np.abs(patch[3:, ball < 0.6])
    tinted = (tints[:, :, None] > TINTED).sum(1)
    shares = np.sqrt(np.concatenate([*dark, tinted.ravel()]) / max(int(counted.sum()), 1))
    return np.append(shares, seen.mean()).astype(np.float32)


def _ball(patch: Float32[ndarray, "C N N"]) -> Float32[ndarray, "N N"]:
    """Brightness against a matt ball's of the cells that are counted; all others are bright."""
    return np.where((patch[0] > 0.0) & _COUNTED, patch[2], np.float32(9.0))


def _convolved(W: ndarray, b: ndarray, x: Float32[ndarray, "C H W"]) -> Float32[ndarray, "F H W"]:
    """3 x 3 with zeros around, rectified."""
    around = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(around, (3, 3), axis=(1, 2))
    out = np.tensordot(W, windows, ((1, 2, 3), (0, 3, 4))) + b[:, None, None]
    return np.maximum(out, np.float32(0.0))


def _halved(x: Float32[ndarray, "C H W"]) -> Float32[ndarray, "C H2 W2"]:
    """The largest of each 2 x 2 cells."""
    return x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).max((2, 4))
