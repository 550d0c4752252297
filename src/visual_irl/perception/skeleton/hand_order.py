"""Fingers in reverse order: a hand whose thumb is hidden looks much like the other hand turned over, and is drawn as that.

Its index finger is then where the little finger is, and so on. The hand alone does not tell, but its arm does: a forearm
turns about its axis by less than a right angle from the middle (thumb towards the upper arm, elbow bent) either way, and
the reverse order is half a turn off.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.perception.landmarks.detection import HandDetection

MOST_TWIST = float(np.radians(115.0))
"""A forearm turns by no more [rad]: 80 to 90 degrees from the middle (Kapandji 1982), knuckles slant by 10, landmarks err."""
LEAST_BEND = float(np.radians(20.0))
"""A straighter elbow [rad] does not tell where the middle is."""
LEAST_ACROSS = 0.3
"""Nor do knuckles that lie along the forearm: the sine of the angle between them."""
REVERSED = np.array([0, 1, 2, 3, 4, *range(17, 21), *range(13, 17), *range(9, 13), *range(5, 9)])
"""Row of the reversed hand -> row of the drawn one; the thumb stays."""


def forearm_twist(arm: Float[ndarray, "3 3"], index: Float[ndarray, "3"], little: Float[ndarray, "3"]) -> float:
    """Angle [rad], at most pi, by which a forearm is turned from its middle, either way; NaN where the arm does not tell.

    Args:
        arm: shoulder, elbow and wrist [m].
        index: first knuckle of the index finger [m].
        little: that of the little finger [m].
    """
    upper, along, across = arm[0] - arm[1], arm[2] - arm[1], index - little
    along = along / np.linalg.norm(along)
    middle = upper - (upper @ along) * along
    aside = across - (across @ along) * along
    bent, slanted = (float(np.linalg.norm(part) / np.linalg.norm(whole)) for part, whole in ((middle, upper), (aside, across)))
    if not (bent >= np.sin(LEAST_BEND) and slanted >= LEAST_ACROSS):  # NaN does not tell either
        return float("nan")
    cosine = float(middle @ aside / (np.linalg.norm(middle) * np.linalg.norm(aside)))
    return float(np.arccos(np.clip(cosine, -1.0, 1.0)))


def reversed_order(hand: HandDetection) -> HandDetection:
    """The hand with its fingers in the other order."""
    return replace(hand, uv=hand.uv[REVERSED], shape=hand.shape[REVERSED])
