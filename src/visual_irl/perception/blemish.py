"""Whether an onion's picture shows a blemish: a small network of two parts, trained by `blemish_training`.

It sees the onion without the light's colour, strength and direction (`onion_pixels.onion_patch`). One part looks for shapes:
two convolutions, what they find anywhere and in the mean, and two dense layers. The other, two dense layers, knows only which
share of the onion is how dark; it errs more often, but less in light that was not taught. Their scores are weighed. Here it
only runs, compiled.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float32
from numba import njit
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile
from visual_irl.perception.onion_pixels import CELLS, CHANNELS

WEIGHTS = "models/onion_blemish.safetensors"
"""The network that ships."""
FEATURES = (8, 16)
"""Of the first and the second convolution."""
HIDDEN = 16
"""Width of the first part's dense layer."""
DARKER = (0.15, 0.20, 0.25, 0.30, 0.35, 0.40, 0.50, 0.60, 0.70)
"""Brightnesses below which cells are counted for the second part."""
TINTED = (0.3, 0.6)
"""Differences of colour above which they are."""
SHARES = 3 * len(DARKER) + 2 * len(TINTED) + 1
"""Numbers that the second part reads ..."""
HIDDEN_SHARES = 24
"""... and the width of its dense layer."""
SHAPES_WEIGH = 0.4
"""Weight of the first part's score; the rest is the second's."""
_INNER = 0.85  # of the radius: cells further out are not counted
_HOW = "train one with: visual-irl bench perception --train-classifier"


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
    V1: ndarray
    c1: ndarray
    V2: ndarray
    c2: ndarray


SHAPES = {
    "W1": (FEATURES[0], CHANNELS, 3, 3), "b1": (FEATURES[0],),
    "W2": (FEATURES[1], FEATURES[0], 3, 3), "b2": (FEATURES[1],),
    "W3": (HIDDEN, 2 * FEATURES[1]), "b3": (HIDDEN,),
    "W4": (1, HIDDEN), "b4": (1,),
    "V1": (HIDDEN_SHARES, SHARES), "c1": (HIDDEN_SHARES,),
    "V2": (1, HIDDEN_SHARES), "c2": (1,),
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
    if not path.is_file():
        raise MissingFile(f"there is no blemish classifier '{path}'; {_HOW}")
    try:
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"'{path}' is not a blemish classifier: {error}; {_HOW}") from error
    shapes = {name: w.shape for name, w in weights.items()}
    if shapes != SHAPES:
        raise InvalidInput(f"'{path}' is not a blemish classifier: it holds {shapes}, expected {SHAPES}; {_HOW}")
    return BlemishNetwork(**{name: np.ascontiguousarray(w, np.float32) for name, w in weights.items()})


def blemish_probability(network: BlemishNetwork, patch: Float32[ndarray, "C N N"]) -> float:
    """How probable it is that the part of an onion that is seen shows a blemish."""
    return float(1.0 / (1.0 + np.exp(-_score(network, patch))))


@njit(cache=True, nogil=True)
@no_type_check
def _score(network, patch):
    a = _halved(_convolved(network.W1, network.b1, patch))
    b = _convolved(network.W2, network.b2, a)
    features, cells = len(b), (CELLS // 2) ** 2
    pooled = np.zeros(2 * features, np.float32)
    for f in range(features):
        pooled[f], pooled[features + f] = b[f].max(), b[f].sum() / cells
    shapes = _dense(network.W3, network.b3, network.W4, network.b4, pooled)
    shares = _dense(network.V1, network.c1, network.V2, network.c2, dark_shares(patch))
    return SHAPES_WEIGH * shapes + (1.0 - SHAPES_WEIGH) * shares


@njit(cache=True, nogil=True)
@no_type_check
def dark_shares(patch):
    """Square roots of the shares of the onion that are darker than each of `DARKER`, by brightness, by brightness against an
    evenly coloured ball's, and by that where four cells together are; that are dark and of another colour; and what is seen."""
    out, seen, inner = np.zeros(SHARES, np.float32), 0, 0
    dark = np.full((CELLS, CELLS), np.float32(9.0))
    n = len(DARKER)
    for v in range(CELLS):
        for u in range(CELLS):
            if patch[0, v, u] <= 0.0:
                continue
            seen += 1
            x, y = (2.0 * u + 1.0) / CELLS - 1.0, (2.0 * v + 1.0) / CELLS - 1.0
            if x * x + y * y >= _INNER**2:
                continue
            inner += 1
            dark[v, u] = patch[2, v, u]
            for i in range(n):
                out[i] += patch[1, v, u] < DARKER[i]
                out[n + i] += patch[2, v, u] < DARKER[i]
            for i in range(len(TINTED)):
                for k in range(2):
                    out[3 * n + 2 * i + k] += patch[2, v, u] < 0.6 and abs(patch[3 + k, v, u]) > TINTED[i]
    for v in range(CELLS - 1):
        for u in range(CELLS - 1):
            together = dark[v : v + 2, u : u + 2].max()
            for i in range(n):
                out[2 * n + i] += together < DARKER[i]
    for i in range(SHARES - 1):
        out[i] = np.sqrt(out[i] / max(inner, 1))
    out[SHARES - 1] = seen / (CELLS * CELLS)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _dense(W, b, V, c, x):
    """Score of a rectified dense layer and a last one."""
    score = c[0]
    for i in range(len(b)):
        hidden = b[i]
        for k in range(len(x)):
            hidden += W[i, k] * x[k]
        score += V[0, i] * max(hidden, np.float32(0.0))
    return score


@njit(cache=True, nogil=True)
@no_type_check
def _convolved(W, b, x):
    """3 x 3 with zeros around, rectified."""
    height, width = x.shape[1:]
    out = np.empty((len(b), height, width), np.float32)
    for f in range(len(b)):
        out[f] = b[f]
        for c in range(len(x)):
            for dv in range(3):
                for du in range(3):
                    weight = W[f, c, dv, du]
                    for v in range(max(1 - dv, 0), min(height + 1 - dv, height)):
                        for u in range(max(1 - du, 0), min(width + 1 - du, width)):
                            out[f, v, u] += weight * x[c, v + dv - 1, u + du - 1]
        for v in range(height):
            for u in range(width):
                out[f, v, u] = max(out[f, v, u], np.float32(0.0))
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _halved(x):
    """The largest of each 2 x 2 cells."""
    out = np.empty((len(x), x.shape[1] // 2, x.shape[2] // 2), np.float32)
    for f in range(len(x)):
        for v in range(out.shape[1]):
            for u in range(out.shape[2]):
                out[f, v, u] = x[f, 2 * v : 2 * v + 2, 2 * u : 2 * u + 2].max()
    return out
