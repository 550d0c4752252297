"""Cuts in a video: the picture becomes another one from one moment to the next, and stays so."""

from __future__ import annotations

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from visual_irl.types import RgbdFrame

OTHER, SAME = 0.65, 0.8
"""Correlation of two pictures' brightness below which the second one shows another place, and from which both show the same.

Pictures of eleven clips of people who move correlate by 0.81 or more a second apart, pictures of two of them by 0.62 or less.
"""
_SIDE = 16
"""Cells along each side of the picture: what people do changes few of them."""
_FINEST = 48
"""More pixels along a side than this are thinned out first: it is as good, and cheaper."""


class ShotCuts:
    """Show it the sound frames of a stream in their order; it costs 0.1 ms each."""

    def __init__(self) -> None:
        self.stamps: list[int] = []
        """When a new shot begins [ns]."""
        self._last: ndarray | None = None
        self._new: tuple[int, ndarray] | None = None

    def look(self, frame: RgbdFrame) -> None:
        """Compare a frame with the last ones. A calibrated camera's is left out: it stays where it is."""
        if frame.T_world_camera is not None:
            return
        now = _cells(frame.rgb)
        if self._last is None or float((now * self._last).sum()) >= OTHER:
            self._last, self._new = now, None
        elif self._new is not None and float((now * self._new[1]).sum()) >= SAME:  # no flash, and no broken picture
            self.stamps.append(self._new[0])
            self._last, self._new = now, None
        else:
            self._new = frame.stamp_ns, now


def _cells(rgb: UInt8[ndarray, "H W 3"]) -> Float[ndarray, "S S"]:
    """The brightness of a picture's cells, about its mean and of length 1."""
    step = max(1, min(rgb.shape[:2]) // _FINEST)
    grey = cv2.cvtColor(np.ascontiguousarray(rgb[::step, ::step]), cv2.COLOR_RGB2GRAY)
    cells = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(float)
    cells -= cells.mean()
    return np.asarray(cells / max(float(np.linalg.norm(cells)), 1e-9))
