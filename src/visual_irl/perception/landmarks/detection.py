"""What a keypoint detector sees in one colour picture, before anything is 3D in the camera's frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

POSE_LANDMARKS = 33
"""Landmarks of a body in BlazePose's order (Bazarevsky et al. 2020)."""

POSE_INDEX = {
    "left_shoulder": 11,
    "right_shoulder": 12,
    "left_elbow": 13,
    "right_elbow": 14,
    "left_wrist": 15,
    "right_wrist": 16,
    "left_hip": 23,
    "right_hip": 24,
}
"""BlazePose's row of each of `types.BODY_KEYPOINTS`; left is the person's own."""


@dataclass(frozen=True)
class HandDetection:
    """One hand: 21 landmarks [px], their shape [m] about the hand's centre (camera axes), and a score in [0, 1].

    `label` is the side that the hand alone looks like.
    """

    uv: Float[ndarray, "21 2"]
    shape: Float[ndarray, "21 3"]
    score: float
    label: str


@dataclass(frozen=True)
class PersonDetection:
    """One person: 33 landmarks [px] with visibility in [0, 1], their shape [m] about the hips, and hands by side.

    The axes of shapes are the optical camera's (x right, y down, z forward) as seen along the ray to the person.
    """

    uv: Float[ndarray, "33 2"]
    visibility: Float[ndarray, "33"]
    shape: Float[ndarray, "33 3"]
    hands: Mapping[str, HandDetection]


@runtime_checkable
class Detector(Protocol):
    """Finds the one person of a stream; pictures come in the order of their strictly increasing stamps."""

    def detect(self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int) -> PersonDetection | None:
        """The person in a picture, or None."""
        ...

    def close(self) -> None:
        """Free the networks."""
        ...


@runtime_checkable
class ExpectsPlace(Protocol):
    """What a detector may have besides: it is told where another camera sees the person, or where they were before somebody
    came between."""

    def expect(self, shoulders: Float[ndarray, "2"] | None) -> None:
        """Where the middle between the person's shoulders will be in the next picture [px]; None: nobody knows."""
        ...


@runtime_checkable
class SeesDepth(Protocol):
    """What a detector may have besides, with or without `ExpectsPlace`: it is shown depth, which tells people apart."""

    def show_depth(self, depth: Float32[ndarray, "H W"] | None) -> None:
        """The depth of the next picture [m], NaN where it is not known; None: it has none."""
        ...


@runtime_checkable
class SeesCuts(Protocol):
    """What a detector may have besides: it is told where a video is cut."""

    def begin_shot(self) -> None:
        """The next picture shows another place than those before: nobody is where they were."""
        ...


@runtime_checkable
class DoubtsSides(Protocol):
    """What a detector may have besides: it tells that nobody was found because left and right are not certain."""

    def doubts_sides(self) -> bool:
        """Whether that is so of the last picture."""
        ...


def pixels_per_metre(uv: Float[ndarray, "N 2"], shape: Float[ndarray, "N 3"]) -> float:
    """How large a shape [m] appears [px/m]: the ratio of spreads across the viewing ray."""
    spread = float(np.linalg.norm(shape[:, :2] - shape[:, :2].mean(0)))
    return float(np.linalg.norm(uv - uv.mean(0))) / max(spread, 1e-3)


def mirrored(person: PersonDetection) -> PersonDetection:
    """The same picture of a body that is turned the other way: left and right exchanged, depth reversed.

    From afar the two look alike; only the face, or the hands, tell them apart.
    """
    order = np.arange(POSE_LANDMARKS)
    for left, right in _PAIRS:
        order[left], order[right] = right, left
    hands = {("right" if side == "left" else "left"): hand for side, hand in person.hands.items()}
    shape = person.shape[order] * np.array([1.0, 1.0, -1.0])
    return PersonDetection(person.uv[order], person.visibility[order], shape, hands)


_PAIRS = ((1, 4), (2, 5), (3, 6), (7, 8), (9, 10), *((i, i + 1) for i in range(11, POSE_LANDMARKS, 2)))
