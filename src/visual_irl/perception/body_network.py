"""BlazePose's landmark network on a region of our choice, run by OpenCV.

MediaPipe finds a body by its face. Where the head is out of the picture its region is wrong, and with it the arms; the
landmark network itself does not need the head when the region is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from visual_irl.perception.detection import POSE_LANDMARKS, PersonDetection

_INPUT = 256
_OUTPUTS = ("Identity", "Identity_1", "Identity_4")  # landmarks, presence, landmarks in metres
_CENTRE, _TOP = 33, 34  # two more landmarks: the hips' middle, and a point of the circle around the whole body
_MARGIN = 1.25


@dataclass(frozen=True)
class Region:
    """A square that holds a whole body: centre (x, y) and side [px], and by how much its up is turned right [rad]."""

    x: float
    y: float
    side: float
    turn: float = 0.0

    def to_crop(self) -> Float[ndarray, "2 3"]:
        """The affine map from the picture's pixels to the network's input."""
        scale = _INPUT / self.side
        c, s = scale * np.cos(self.turn), scale * np.sin(self.turn)
        A = np.array([[c, s], [-s, c]])
        return np.column_stack([A, 0.5 * _INPUT - A @ [self.x, self.y]])


def first_regions(width: int, height: int) -> Iterator[Region]:
    """Where a body whose head is out of the picture may be, the likeliest first: it fills the picture or leaves it
    at the top, the bottom or the left and right."""
    side = float(max(width, height))
    yield Region(0.5 * width, 0.5 * height, side)
    yield Region(0.5 * width, 0.5 * height, 1.5 * side)
    yield Region(0.5 * width, 0.8 * height, 1.3 * side)
    yield Region(0.3 * width, 0.6 * height, 1.5 * side)
    yield Region(0.7 * width, 0.6 * height, 1.5 * side)


class BodyNetwork:
    """The bare landmark network; `run` gives what it sees in a region, and the region for the next picture."""

    def __init__(self, network: Path) -> None:
        # the newer engine of OpenCV 5 gives only one of the five outputs
        self._net = cv2.dnn.readNetFromTFLite(str(network), cv2.dnn.ENGINE_CLASSIC)

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """Landmarks (without hands), the probability that a body is there, and the body's own region."""
        M = region.to_crop()
        crop = cv2.warpAffine(rgb, M, (_INPUT, _INPUT), flags=cv2.INTER_LINEAR)
        self._net.setInput((crop.astype(np.float32) / 255.0).transpose(2, 0, 1)[None])
        landmarks, presence, metres = self._net.forward(list(_OUTPUTS))
        rows = landmarks.reshape(-1, 5).astype(float)
        uv = (rows[:, :2] - M[:, 2]) @ np.linalg.inv(M[:, :2]).T
        c, s = np.cos(region.turn), np.sin(region.turn)
        shape = metres.reshape(-1, 3).astype(float) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T
        with np.errstate(over="ignore"):
            visibility = 1.0 / (1.0 + np.exp(-rows[:POSE_LANDMARKS, 3]))
        person = PersonDetection(uv[:POSE_LANDMARKS], visibility, shape[:POSE_LANDMARKS], {})
        up = uv[_TOP] - uv[_CENTRE]
        side = max(2.0 * _MARGIN * float(np.linalg.norm(up)), 32.0)
        own = Region(float(uv[_CENTRE, 0]), float(uv[_CENTRE, 1]), side, float(np.arctan2(up[0], -up[1])))
        return person, float(np.ravel(presence)[0]), own
