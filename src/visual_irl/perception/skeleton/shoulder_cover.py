"""Who stands before a shoulder: somebody else, or an own hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.perception.landmarks.detection import POSE_INDEX, PersonDetection
from visual_irl.types import SIDES

OWN_HAND = 0.15
"""What is so near to a landmark of the person's own hand [m, across the ray] is that hand, or what it holds."""
BESIDE = 0.09
"""Where somebody stands before one shoulder, the other may have gone by so much less [m], in any direction: it may be drawn on
them, too."""


class ShouldersBefore(NamedTuple):
    """Both shoulders, left and right, as they were a moment ago."""

    p: Float[ndarray, "2 3"]
    """Where they were last [m], in the coordinates of now; NaN: not known."""
    z: Float[ndarray, "2"]
    """Their least depth in the last pictures [m]."""
    reach: float
    """How far they may have come since [m]."""


def before_shoulders(
    p: Float[ndarray, "2 3"], last: ShouldersBefore, person: PersonDetection, px_per_m: float
) -> tuple[Bool[ndarray, "2"], Bool[ndarray, "2"]]:
    """Which shoulders, left and right, something is seen before, and which of these are not theirs: no own hand is there.

    Args:
        p: where each is by what its pixel shows [m]; NaN: unknown.
        last: where they were.
        person: whose they are.
        px_per_m: how large the person appears [px/m].
    """
    hidden = somebody = p[:, 2] < last.z - last.reach
    hands = [hand.uv for hand in person.hands.values()]
    if hidden.any() and hands:
        uv = person.uv[[POSE_INDEX[f"{side}_shoulder"] for side in SIDES]]
        away = np.linalg.norm(np.concatenate(hands)[None] - uv[:, None], axis=2).min(1)
        somebody = hidden & (away > OWN_HAND * px_per_m)
    if somebody.any():
        somebody = somebody | ~(np.linalg.norm(p - last.p, axis=1) <= last.reach - BESIDE)
    return hidden | somebody, somebody
