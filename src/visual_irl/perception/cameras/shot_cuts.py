"""Cuts in a video: the picture becomes another one from one moment to the next, and stays so."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from visual_irl.types import RgbdFrame

OTHER, SAME = 0.65, 0.8
"""Correlation of two pictures' brightness below which the second one shows another place, and from which both show the same.

Pictures of eleven clips of people who move correlate by 0.81 or more a second apart, pictures of two of them by 0.62 or less.
"""
ALIKE, KEPT = 0.8, 3
"""A part of the picture, of 16, shows what it did where it correlates by more than the first. After a cut no more than the
second do so by chance; whoever comes before the lens leaves the others, and a lamp leaves what each of them shows."""
_SIDE, _PARTS = 16, 4
"""Cells along each side of the picture, of which what people do changes few, and parts."""
_BLACK = 16.0
"""Nothing is seen in what is darker [levels of 255]."""
_FINEST = 48
"""More pixels along a side than this are thinned out first: it is as good, and cheaper."""


class ShotCuts:
    """Show it the sound frames of a stream in their order; it costs 0.2 ms each."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        """When a new shot begins [ns]."""
        self._last: ndarray | None = None
        self._new: tuple[int, ndarray] | None = None

    def look(self, frame: RgbdFrame) -> bool:
        """Whether a frame is the second one of a new shot, and makes sure of it; none of a calibrated camera, which stays."""
        if frame.T_world_camera is not None:
            return False
        now, sure = _cells(frame.rgb), False
        if self._last is None or _alike(now, self._last) >= OTHER or _kept(now, self._last) > KEPT:
            self._last, self._new = now, None
        elif self._new is not None and _alike(now, self._new[1]) >= SAME:  # no flash, and no broken picture
            self.stamps.append(self._new[0])
            self._last, self._new, sure = now, None, True
        else:
            self._new = frame.stamp_ns, now
        return sure


def _cells(rgb: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "S S"]:
    """The brightness of a picture's cells [levels of 255]."""
    step = max(1, min(rgb.shape[:2]) // _FINEST)
    grey = cv2.cvtColor(np.ascontiguousarray(rgb[::step, ::step]), cv2.COLOR_RGB2GRAY)
    return cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(float)


def _seen(a: Float[ndarray, "S S"], b: Float[ndarray, "S S"]) -> Bool[ndarray, "S S"]:
    """Cells of both pictures without black bars at the sides or above and below, and without the bars' edges."""
    lit = np.maximum(a, b) > _BLACK
    rows, columns = (np.convolve(~lit.any(axis), [1, 1, 1], "same") == 0 for axis in (1, 0))
    return rows[:, None] & columns


def _alike(a: Float[ndarray, "S S"], b: Float[ndarray, "S S"]) -> float:
    """Correlation of two pictures' cells; 0 of black ones."""
    seen = _seen(a, b)
    return _correlation(a[seen], b[seen])


def _kept(a: Float[ndarray, "S S"], b: Float[ndarray, "S S"]) -> int:
    """How many parts of two pictures look alike, whatever their brightness; none of which bars are more than half."""
    seen, edges = _seen(a, b), range(0, _SIDE, _SIDE // _PARTS)
    parts = [np.s_[y : y + edges.step, x : x + edges.step] for y in edges for x in edges]
    return sum(_correlation(a[part][seen[part]], b[part][seen[part]]) > ALIKE for part in parts if seen[part].mean() >= 0.5)


def _correlation(a: Float[ndarray, "N"], b: Float[ndarray, "N"]) -> float:
    if not len(a):
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / max(float(np.sqrt((a @ a) * (b @ b))), 1e-9))
