"""Boxes out of a single-shot detector's raw outputs: anchors, decoding, and overlapping boxes averaged into one.

MediaPipe's detectors have anchors of one size, so that an anchor is only a place (Bazarevsky et al. 2019, "BlazeFace").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

MERGED_ABOVE = 0.3
"""Boxes that overlap more (intersection over union) are of one thing."""


@dataclass(frozen=True)
class Box:
    """Something that was found: box (left, top, width, height) and points, in shares of the input's side, and a score."""

    box: Float[ndarray, "4"]
    points: Float[ndarray, "P 2"]
    score: float


def anchors(side: int, strides: Sequence[int]) -> Float[ndarray, "A 2"]:
    """Centres (x, y) in shares of the side: two anchors a cell for each layer that has a stride."""
    out = []
    for stride in sorted(set(strides)):
        cells = side // stride
        places = (np.arange(cells) + 0.5) / cells
        grid = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
        out.append(np.repeat(grid, 2 * list(strides).count(stride), axis=0))
    return np.concatenate(out)


def found_boxes(
    raw: Float[ndarray, "A C"], odds: Float[ndarray, "A"], places: Float[ndarray, "A 2"], side: int, least: float
) -> list[Box]:
    """The boxes with at least a score, best first; those of one thing are averaged by their scores.

    Args:
        raw: per anchor the box's centre, width and height, then its points, all [px of the input] about the anchor.
        odds: logarithms of the odds that there is something.
        places: `anchors`.
        side: of the input [px].
        least: score in (0, 1).
    """
    score = 1.0 / (1.0 + np.exp(-np.clip(odds, -100.0, 100.0)))
    rows = np.flatnonzero(score >= least)
    rows = rows[np.argsort(-score[rows], kind="stable")]
    values, score, centre = raw[rows] / side, score[rows], places[rows]
    boxes = np.concatenate([values[:, :2] + centre - 0.5 * values[:, 2:4], values[:, 2:4]], axis=1)
    points = values[:, 4:].reshape(len(rows), (raw.shape[1] - 4) // 2, 2) + centre[:, None]
    found = []
    left = np.arange(len(rows))
    while len(left):
        same = _overlaps(boxes[left], boxes[left[0]]) > MERGED_ABOVE
        same[0] = True
        one = left[same]
        w = score[one] / score[one].sum()
        found.append(Box(w @ boxes[one], np.tensordot(w, points[one], 1), float(score[one[0]])))
        left = left[~same]
    return found


def _overlaps(boxes: Float[ndarray, "N 4"], box: Float[ndarray, "4"]) -> Float[ndarray, "N"]:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, :2] + boxes[:, 2:], box[:2] + box[2:])
    both = np.maximum(high - low, 0.0).prod(1)
    return both / np.maximum(boxes[:, 2:].prod(1) + box[2:].prod() - both, 1e-12)
