"""Dark pictures, brightened: the networks were taught on well exposed ones, and the dark has no colours to tell an onion by."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from visual_irl.types import RgbdFrame

DARK, BRIGHT = 80.0, 200.0
"""A picture whose brightest parts are below the first level of 255 is dark; they are brought to the second."""
BLACK = 16.0
"""Where they are below this, there is only noise to brighten."""
_PARTS = 99.0  # percentile of all pixels that are its brightest parts: no single lamp
_SAMPLE = 8
_BLUR = 1.0
"""Standard deviation [px]: what is brightened is noisy."""


def well_exposed(frame: RgbdFrame) -> RgbdFrame:
    """The frame itself, or a copy of a dark one in which all colours are brighter by one factor, and noise is averaged."""
    brightest = _brightest(frame)
    if not BLACK <= brightest < DARK:
        return frame
    levels = np.minimum(np.arange(256) * (BRIGHT / brightest), 255.0).astype(np.uint8)
    return replace(frame, rgb=cv2.LUT(cv2.GaussianBlur(frame.rgb, (0, 0), _BLUR), levels))


def is_dark(frame: RgbdFrame) -> bool:
    """Whether a picture is so dark that it was brightened, or that there was nothing to brighten."""
    return _brightest(frame) < DARK


def _brightest(frame: RgbdFrame) -> float:
    """Level of a picture's brightest parts; infinite where that is no question, and where there is no picture."""
    few = frame.rgb[::_SAMPLE, ::_SAMPLE]
    if np.count_nonzero(few >= DARK) > (1.0 - 0.01 * _PARTS) * few.size:  # most pictures; the rest costs ten times as much
        return np.inf
    return float(np.percentile(few.max(2), _PARTS)) if few.size else np.inf
