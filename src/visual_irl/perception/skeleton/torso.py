"""The torso frame of a plain video, and which arm demonstrates.

Origin at the demonstrating shoulder, x forward, y left, z up; one frame and one scale for the whole clip, so that all
motion that is left is the arm's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.covariance import turned
from visual_irl.errors import InvalidInput, NoPersonFound
from visual_irl.types import SIDES, KeypointFrame, keypoint_index

ARM = ("shoulder", "elbow", "wrist")
WINDOW_NS = 3_000_000_000
"""Length of the windows in which an arm's motion is told [ns]: a reach takes one to two seconds."""


@dataclass(frozen=True)
class ArmLengths:
    """Limb lengths that give a plain video its scale; de Leva 1996 (J. Biomech. 29), mean of women and men."""

    upper_arm_length: float = 0.278
    """Shoulder centre to elbow centre [m]."""
    forearm_length: float = 0.267
    """Elbow centre to wrist centre [m]."""

    def __post_init__(self) -> None:
        for name, length in vars(self).items():
            if not 0.1 <= length <= 0.6:
                raise InvalidInput(f"{name} is {length} m, must lie between 0.1 and 0.6 m")


def arm_seen(frames: Sequence[KeypointFrame], side: str) -> Bool[ndarray, "T"]:
    """In which frames shoulder, elbow and wrist of an arm were all found."""
    rows = [keypoint_index(f"{side}_{joint}") for joint in ARM]
    return np.array([bool((frame.confidence[rows] > 0.0).all()) for frame in frames])


def demonstrating_side(frames: Sequence[KeypointFrame]) -> str:
    """The arm that demonstrates: the one whose wrist moves more about its shoulder, counted by how often it is seen.

    Motion is told window by window, so that a long rest before and after it does not outvote it.

    Raises:
        NoPersonFound: no arm is complete in two frames.
    """
    scores = {}
    for side in SIDES:
        seen = arm_seen(frames, side)
        if seen.sum() >= 2:
            path = _path(frames, f"{side}_wrist", seen) - _path(frames, f"{side}_shoulder", seen)
            stamps = np.array([frame.stamp_ns for frame, ok in zip(frames, seen, strict=True) if ok])
            scores[side] = _motion(path, stamps) * float(seen.mean())
    if not scores:
        raise NoPersonFound(
            f"no arm is complete (shoulder, elbow and wrist) in 2 of {len(frames)} frames; film the person from the "
            "front with one arm wholly in the picture"
        )
    return max(scores, key=lambda side: scores[side])


def _motion(path: Float[ndarray, "N 3"], stamps_ns: Int[ndarray, "N"]) -> float:
    """How much a point moves [m]: the root mean square, over windows, of the upper quartile of its distance from their medians,
    which single wild frames do not decide. Windows are weighted by their frames."""
    windows = (stamps_ns - stamps_ns[0]) // WINDOW_NS
    squares = []
    for window in np.unique(windows):
        part = path[windows == window]
        squares.append(len(part) * np.percentile(np.linalg.norm(part - np.median(part, 0), axis=1), 75.0) ** 2)
    return float(np.sqrt(np.sum(squares) / len(path)))


def align_to_torso(
    frames: Sequence[KeypointFrame], side: str, lengths: ArmLengths | None
) -> tuple[list[KeypointFrame], Float[ndarray, "4 4"]]:
    """The frames of an upright, uncalibrated camera in the torso frame, and the transform that was used.

    Args:
        frames: keypoints in the camera frame.
        side: the demonstrating arm.
        lengths: scale the whole clip so that the arm's median length is theirs; None when positions are metric already.

    Returns:
        Keypoints [m] in the torso frame, and `T_torso_camera` (after the scale).

    Raises:
        NoPersonFound: the arm or the other shoulder is never seen.
    """
    seen = arm_seen(frames, side)
    both = seen & _found(frames, *(f"{s}_shoulder" for s in SIDES))
    if not both.any():
        raise NoPersonFound(
            f"the {side} arm and both shoulders are seen together in none of {len(frames)} frames; film the person "
            "from the front with both shoulders in the picture"
        )
    scale = 1.0
    if lengths is not None:
        shoulder, elbow, wrist = (_path(frames, f"{side}_{joint}", seen) for joint in ARM)
        length = np.linalg.norm(elbow - shoulder, axis=1) + np.linalg.norm(wrist - elbow, axis=1)
        scale = (lengths.upper_arm_length + lengths.forearm_length) / float(np.median(length))
    R_torso_camera = _torso_axes(frames, both).T
    origin = scale * np.median(_path(frames, f"{side}_shoulder", seen), axis=0)
    T = se3.transform(R_torso_camera, -R_torso_camera @ origin)
    aligned = [
        replace(f, p_world=se3.apply(T, scale * f.p_world), covariance=turned(scale**2 * f.covariance, R_torso_camera))
        for f in frames
    ]
    return aligned, T


def _torso_axes(frames: Sequence[KeypointFrame], both: Bool[ndarray, "T"]) -> Float[ndarray, "3 3"]:
    """Columns: forward, left, up of the torso in the camera frame. Up is along the trunk when hips are seen, else the
    picture's: the person then stands or sits upright before a level camera."""
    left_shoulder, right_shoulder = (_path(frames, f"{s}_shoulder", both) for s in SIDES)
    left = np.median(left_shoulder - right_shoulder, axis=0)
    up = np.array([0.0, -1.0, 0.0])
    hips = both & _found(frames, *(f"{s}_hip" for s in SIDES))
    if hips.sum() >= 0.5 * both.sum():
        trunk = [0.5 * (_path(frames, f"left_{j}", hips) + _path(frames, f"right_{j}", hips)) for j in ("shoulder", "hip")]
        up = np.median(trunk[0] - trunk[1], axis=0)
    up = up / np.linalg.norm(up)
    left = left - (left @ up) * up
    left = left / np.linalg.norm(left)
    return np.stack([np.cross(left, up), left, up], axis=1)


def _found(frames: Sequence[KeypointFrame], *names: str) -> Bool[ndarray, "T"]:
    rows = [keypoint_index(name) for name in names]
    return np.array([bool((frame.confidence[rows] > 0.0).all()) for frame in frames])


def _path(frames: Sequence[KeypointFrame], name: str, rows: Bool[ndarray, "T"]) -> Float[ndarray, "N 3"]:
    index = keypoint_index(name)
    return np.array([frame.p_world[index] for frame, wanted in zip(frames, rows, strict=True) if wanted])
