"""Whether depth lies on colour: edges of depth have to be edges of the picture, not so many pixels beside them."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray

from visual_irl.types import RgbdFrame

REACH = 20
"""How far to the side is looked [px of 640]."""
LEAST_OFFSET, LEAST_WORSE = 6, 0.6
"""Depth is beside colour where its edges fit best so far away [px of 640], and fit in place by less than this share of that: at
most 1 px and 0.87 or more on 60 rendered and real stretches, and 0.53 or less where they were moved by 8 or 12 px."""
LEAST_EDGES = 500
"""So few pixels of depth edges tell nothing."""
LOOKS, EVERY_NS = 5, 1_000_000_000
"""So many frames are looked at, at least so far apart [ns]."""
_JUMP, _NEAR, _FAR = 0.10, 3.0, 9.0  # an edge's step, how near its nearer side is, and what is unknown on both sides [m]
_STRONGEST = 80.0  # of edges in the picture: one strong one is not worth ten


class DepthAlignment:
    """Looks at some frames of a recording."""

    def __init__(self) -> None:
        self._looks, self._last_ns, self._edges = 0, -EVERY_NS, 0
        self._fit: ndarray = np.zeros(0)
        self._width = 640

    def look(self, frame: RgbdFrame) -> None:
        """Maybe look at a frame; all are of one size."""
        if frame.depth is None or self._looks == LOOKS or abs(frame.stamp_ns - self._last_ns) < EVERY_NS:
            return
        fit, edges = edge_fit(frame.rgb, frame.depth)
        self._fit = fit + (self._fit if self._looks else 0.0)
        self._looks, self._last_ns, self._width = self._looks + 1, frame.stamp_ns, frame.rgb.shape[1]
        self._edges += edges

    def offset(self) -> int | None:
        """How far to the right of colour depth lies [px]; None where it does not, or too few edges tell."""
        if self._edges < LEAST_EDGES:
            return None
        reach = len(self._fit) // 2
        best = int(self._fit.argmax()) - reach
        beside = abs(best) >= LEAST_OFFSET * self._width / 640.0 and self._fit[reach] < LEAST_WORSE * self._fit.max()
        return -best if beside else None


def edge_fit(rgb: UInt8[ndarray, "H W 3"], depth: Float32[ndarray, "H W"]) -> tuple[Float[ndarray, "N"], int]:
    """The sum of the picture's edges so many pixels to the right of depth's, from -N // 2 to N // 2, and how many those are."""
    reach = round(REACH * rgb.shape[1] / 640.0)
    rows, columns = np.nonzero(depth_edges(depth)[:, reach : rgb.shape[1] - reach])
    grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    strength = np.minimum(np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)), _STRONGEST)
    return np.array([strength[rows, columns + reach + d].sum() for d in range(-reach, reach + 1)], float), len(rows)


def depth_edges(depth: Float32[ndarray, "H W"]) -> Bool[ndarray, "H W"]:
    """Where depth [m] steps along a row. What is not known is as far as the farther of its neighbours: what only one of two
    imagers sees lies behind."""
    known = np.isfinite(depth) & (depth > 0.0)
    far = np.where(known, depth, _FAR).astype(np.float32)
    behind = np.maximum(_last_known(far, known), _last_known(far[:, ::-1], known[:, ::-1])[:, ::-1])
    z = np.asarray(cv2.medianBlur(np.where(known, far, behind), 5), np.float32)
    before = np.roll(z, 1, axis=1)
    return (np.abs(z - before) > _JUMP) & (np.minimum(z, before) < _NEAR)


def _last_known(z: Float32[ndarray, "H W"], known: Bool[ndarray, "H W"]) -> Float32[ndarray, "H W"]:
    """In each row the last value that is known up to each column."""
    columns = np.maximum.accumulate(np.where(known, np.arange(z.shape[1]), 0), axis=1)
    return np.take_along_axis(z, columns, axis=1)
