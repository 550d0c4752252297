"""What a hand does in each frame: open, closed, holding an object, or not seen; of demonstrations, and of live streams."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.perception.assembly import grasp_centre
from visual_irl.perception.holding import HandPlace, Holding, HoldingConfig
from visual_irl.types import SIDES, Demonstration, HandState, KeypointFrame, keypoint_index

OPENS_ABOVE, CLOSES_BELOW = 0.75, 0.5
"""Thumb and index fingertip are so many palm lengths apart (wrist to middle knuckle, 0.09 to 0.1 m) where a hand opens or
closes; between them it stays what it was. A pinch is below 0.3, a relaxed hand near 0.6, a spread one above 1."""

PALM = ("wrist", "middle_mcp")
"""Its ends, by which apertures are told."""


def grasp_states(demo: Demonstration) -> tuple[str, ...]:
    """'holding' where an object is known to be in the hand, else 'open' or 'closed' by the aperture, 'unknown' where lost."""
    palm = _palm(demo.p_world, demo.side)
    length = float(np.nanmedian(palm)) if np.isfinite(palm).any() else np.nan
    states, fingers = [], "unknown"
    for aperture, held in zip(demo.aperture / length, demo.held, strict=True):
        fingers = _fingers(fingers, float(aperture))
        states.append("holding" if held else fingers)
    return tuple(states)


class HandWatch:
    """Feed it the frames of a live stream in the order of time."""

    def __init__(self, config: HoldingConfig | None = None) -> None:
        self.config = config or HoldingConfig()
        """May be replaced between two frames."""
        self._hands = {side: _Hand(side) for side in SIDES}

    def step(self, frame: KeypointFrame) -> KeypointFrame:
        """The frame with its hands; holding is known only of objects that the frame names."""
        return replace(frame, hands={side: hand.step(frame, self.config) for side, hand in self._hands.items()})


class _Hand:
    """One hand: its fingers, and what it holds."""

    def __init__(self, side: str) -> None:
        self._side, self._holding = side, Holding()
        self._tips = [keypoint_index(f"{side}_hand_{tip}") for tip in ("thumb_tip", "index_tip")]
        self._ends = [keypoint_index(f"{side}_hand_{joint}") for joint in PALM]
        self._palm, self._palms, self._fingers = 0.0, 0, "unknown"
        self._wrist = keypoint_index(f"{side}_wrist")

    def step(self, frame: KeypointFrame, config: HoldingConfig) -> HandState:
        self._holding.config = config
        palm = math.dist(*frame.p_world[self._ends])
        if math.isfinite(palm):
            self._palms += 1
            self._palm += (palm - self._palm) / min(self._palms, 100)
        aperture = math.dist(*frame.p_world[self._tips])
        self._fingers = _fingers(self._fingers, aperture / self._palm if self._palms else np.nan)
        hand = HandPlace(grasp_centre(frame.p_world[None], self._side)[0], frame.p_world[self._wrist], aperture)
        if np.isfinite(hand.centre).all() and np.isfinite(hand.wrist).all():
            self._holding.step(1e-9 * frame.stamp_ns, hand, frame.objects)
        return HandState(aperture, "holding" if self._holding.held else self._fingers)


def _fingers(before: str, aperture: float) -> str:
    """Open, closed or unknown, by the aperture [palm lengths] and what they were before."""
    if not math.isfinite(aperture):
        return "unknown"
    if aperture >= OPENS_ABOVE or (before == "unknown" and aperture > 0.5 * (OPENS_ABOVE + CLOSES_BELOW)):
        return "open"
    return "closed" if aperture <= CLOSES_BELOW or before == "unknown" else before


def _palm(p_world: Float[ndarray, "T K 3"], side: str) -> Float[ndarray, "T"]:
    """From wrist to middle knuckle [m]."""
    wrist, knuckle = (p_world[:, keypoint_index(f"{side}_hand_{joint}")] for joint in PALM)
    length: ndarray = np.linalg.norm(knuckle - wrist, axis=1)
    return length
