"""A square of a picture on which a landmark network looks, and how its outputs become a body or a hand there."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from visual_irl.perception.landmarks.detection import POSE_LANDMARKS, HandDetection, PersonDetection

BODY_INPUT = 256
"""Side of the body network's input [px]."""
HAND_INPUT = 224
"""Side of the hand network's input [px]."""
_CENTRE, _TOP = 33, 34  # two more landmarks: the hips' middle, and a point of the circle around the whole body
_BODY_MARGIN = 1.25
_HAND_MARGIN, _HAND_SHIFT = 2.0, -0.1  # of the box around the palm's landmarks; the shift is along its up
_PALM_MARGIN, _PALM_SHIFT = 2.6, -0.5  # of the box around a palm that a detector found
_PALM_TURN = math.remainder(90.0 - 0.5 * math.pi, 2.0 * math.pi)
# MediaPipe turns such a region by 27 degrees too much: its graph says 90 where radians are meant. So that both see the same
# hand in the first picture, it is done here, too; from the second picture on, landmarks tell the turn.
_PALM = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]  # wrist, and the two lower joints of each finger


@dataclass(frozen=True)
class Region:
    """A square that holds a whole body or hand: centre (x, y) and side [px], and by how much its up is turned right [rad].

    `extended`: above the picture its top row goes on, instead of black. A trunk that ends at a black edge is often taken
    for one seen from behind, one that goes on is not; where the edge cuts an arm, black is better.
    """

    x: float
    y: float
    side: float
    turn: float = 0.0
    extended: bool = False

    def to_crop(self, size: int = BODY_INPUT) -> Float[ndarray, "2 3"]:
        """The affine map from the picture's pixels to a network's input of `size` x `size` [px]."""
        A = size / self.side * self._axes()
        return np.column_stack([A, 0.5 * size - A @ [self.x, self.y]])

    def from_crop(self, size: int) -> Float[ndarray, "2 3"]:
        """The affine map back: from a network's input to the picture's pixels."""
        A = self.side / size * self._axes().T
        return np.column_stack([A, np.array([self.x, self.y]) - A @ [0.5 * size, 0.5 * size]])

    def upright(self, shape: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
        """A shape that a network saw in this region [m], turned into the picture's axes."""
        turned = shape.copy()
        turned[:, :2] = shape[:, :2] @ self._axes()
        return turned

    def _axes(self) -> Float[ndarray, "2 2"]:
        c, s = np.cos(self.turn), np.sin(self.turn)
        return np.array([[c, s], [-s, c]])

    def crop(self, rgb: UInt8[ndarray, "H W 3"], size: int = BODY_INPUT) -> UInt8[ndarray, "size size 3"]:
        """A network's input."""
        M = self.to_crop(size)
        if self.extended:
            rows = max(0, math.ceil(0.75 * self.side - self.y))  # half the diagonal of the square
            rgb = cv2.copyMakeBorder(rgb, rows, 0, 0, 0, cv2.BORDER_REPLICATE)
            M[:, 2] -= rows * M[:, 1]
        return np.ascontiguousarray(cv2.warpAffine(rgb, M, (size, size), flags=cv2.INTER_LINEAR))


def body_around(centre: Float[ndarray, "2"], top: Float[ndarray, "2"], extended: bool = False) -> Region:
    """The region of a body with these hips' middle and this point of the circle around it [px]."""
    up = top - centre
    side = max(2.0 * _BODY_MARGIN * float(np.linalg.norm(up)), 32.0)
    return Region(float(centre[0]), float(centre[1]), side, turn_of(up), extended)


def body_in(rows: Float[ndarray, "39 5"], metres: Float[ndarray, "39 3"], region: Region) -> tuple[PersonDetection, Region]:
    """What the body network saw in a region: the body without hands, and the region for the next picture.

    Args:
        rows: x and y [px of the input], depth, and the logarithms of the odds of visibility and presence.
        metres: the body's shape [m] in the region's axes.
        region: where the network looked.
    """
    M = region.from_crop(BODY_INPUT)
    uv = rows[:, :2] @ M[:, :2].T + M[:, 2]
    with np.errstate(over="ignore"):
        visibility = 1.0 / (1.0 + np.exp(-rows[:POSE_LANDMARKS, 3]))
    person = PersonDetection(uv[:POSE_LANDMARKS], visibility, region.upright(metres)[:POSE_LANDMARKS], {})
    return person, body_around(uv[_CENTRE], uv[_TOP], region.extended)


def hand_in(rows: Float[ndarray, "21 3"], metres: Float[ndarray, "21 3"], right: float, region: Region) -> HandDetection:
    """What the hand network saw in a region.

    Args:
        rows: x, y [px of the input], and depth.
        metres: the hand's shape [m] in the region's axes.
        right: probability that it is a right hand.
        region: where the network looked.
    """
    M = region.from_crop(HAND_INPUT)
    label, score = ("right", right) if right >= 0.5 else ("left", 1.0 - right)
    return HandDetection(rows[:, :2] @ M[:, :2].T + M[:, 2], region.upright(metres), float(score), label)


def hand_around(uv: Float[ndarray, "21 2"]) -> Region:
    """The region of a hand with these landmarks [px], upright along its wrist and the middle of its knuckles."""
    knuckles = 0.5 * (0.5 * (uv[5] + uv[13]) + uv[9])
    turn = turn_of(knuckles - uv[0])
    palm, (c, s) = uv[_PALM], (np.cos(turn), np.sin(turn))
    middle = 0.5 * (palm.max(0) + palm.min(0))
    axes = np.array([[c, s], [-s, c]])
    inside = (palm - middle) @ axes.T
    high, low = inside.max(0), inside.min(0)
    return _shifted(middle + 0.5 * (high + low) @ axes, high - low, turn, _HAND_MARGIN, _HAND_SHIFT)


def hand_of_palm(box: Float[ndarray, "4"], wrist: Float[ndarray, "2"], knuckle: Float[ndarray, "2"]) -> Region:
    """The region of a hand whose palm was found: box (left, top, width, height), wrist and middle knuckle [px]."""
    return _shifted(box[:2] + 0.5 * box[2:], box[2:], turn_of(knuckle - wrist) + _PALM_TURN, _PALM_MARGIN, _PALM_SHIFT)


def turn_of(up: Float[ndarray, "2"]) -> float:
    """By how much a direction in the picture is turned right from upwards [rad]."""
    return float(np.arctan2(up[0], -up[1]))


def overlap(a: Region, b: Region) -> float:
    """Intersection over union of two regions, as if neither were turned."""
    gap = np.minimum([a.x + a.side / 2, a.y + a.side / 2], [b.x + b.side / 2, b.y + b.side / 2])
    gap = gap - np.maximum([a.x - a.side / 2, a.y - a.side / 2], [b.x - b.side / 2, b.y - b.side / 2])
    both = float(np.prod(np.maximum(gap, 0.0)))
    return both / (a.side**2 + b.side**2 - both)


def _shifted(centre: ndarray, size: ndarray, turn: float, margin: float, shift: float) -> Region:
    x, y = centre + shift * size[1] * np.array([-np.sin(turn), np.cos(turn)])
    return Region(float(x), float(y), max(margin * float(size.max()), 8.0), turn)
