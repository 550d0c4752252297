"""Pictures for people: a skeleton drawn over a colour image."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from visual_irl.types import SIDES, KeypointFrame, keypoint_index

COLOURS = {"left": (255, 80, 60), "right": (60, 150, 255)}
"""RGB of each side: left is red, right is blue."""
_MIDDLE = (255, 255, 255)
_FINGERS = ("thumb", "index", "middle", "ring", "pinky")


def _links(side: str) -> list[tuple[str, str]]:
    links = [("shoulder", "elbow"), ("elbow", "wrist"), ("shoulder", "hip")]
    for finger in _FINGERS:
        joints = ("cmc", "mcp", "ip", "tip") if finger == "thumb" else ("mcp", "pip", "dip", "tip")
        chain = ["hand_wrist", *(f"hand_{finger}_{joint}" for joint in joints)]
        links += list(pairwise(chain))
    return [(f"{side}_{a}", f"{side}_{b}") for a, b in links]


LINKS = tuple(
    [(a, b, COLOURS[side]) for side in SIDES for a, b in _links(side)]
    + [(f"left_{joint}", f"right_{joint}", _MIDDLE) for joint in ("shoulder", "hip")]
)
"""The skeleton's lines: two keypoints and the colour (RGB) of the line between them."""


def draw_keypoints(rgb: UInt8[ndarray, "H W 3"], keypoints: KeypointFrame) -> UInt8[ndarray, "H W 3"]:
    """A copy of the picture with the found keypoints: left red, right blue, what was lost is left out."""
    picture = np.array(rgb)
    thickness = max(1, round(min(rgb.shape[:2]) / 160))
    for a, b, colour in LINKS:
        i, j = keypoint_index(a), keypoint_index(b)
        if min(keypoints.confidence[i], keypoints.confidence[j]) > 0.0:
            ends = [(round(float(x)), round(float(y))) for x, y in keypoints.uv[[i, j]]]
            cv2.line(picture, ends[0], ends[1], colour, 1 if "hand_" in b else thickness, cv2.LINE_AA)
    return picture
