"""What the demonstrating hand does in each frame: open, closed, holding an object, or not seen."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from visual_irl.types import Demonstration, keypoint_index

OPENS_ABOVE, CLOSES_BELOW = 0.75, 0.5
"""Thumb and index fingertip are so many palm lengths apart (wrist to middle knuckle, 0.09 to 0.1 m) where a hand opens or
closes; between them it stays what it was. A pinch is below 0.3, a relaxed hand near 0.6, a spread one above 1."""


def grasp_states(demo: Demonstration) -> tuple[str, ...]:
    """'holding' where an object is known to be in the hand, else 'open' or 'closed' by the aperture, 'unknown' where lost."""
    wrist, knuckle = (demo.p_world[:, keypoint_index(f"{demo.side}_hand_{joint}")] for joint in ("wrist", "middle_mcp"))
    palm: ndarray = np.linalg.norm(knuckle - wrist, axis=1)
    length = float(np.nanmedian(palm)) if np.isfinite(palm).any() else np.nan
    states, fingers = [], "unknown"
    for aperture, held in zip(demo.aperture / length, demo.held, strict=True):
        if not np.isfinite(aperture):
            fingers = "unknown"
        elif aperture >= OPENS_ABOVE or (fingers == "unknown" and aperture > 0.5 * (OPENS_ABOVE + CLOSES_BELOW)):
            fingers = "open"
        elif aperture <= CLOSES_BELOW or fingers == "unknown":
            fingers = "closed"
        states.append("holding" if held else fingers)
    return tuple(states)
