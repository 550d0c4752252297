"""What the perception benchmark compares with: MediaPipe as it comes, placed by its own shape or by plain depth.

Bare MediaPipe is its pose (heavy) and hand (full) landmarker, each run once on the letterboxed picture. Hands go to the
nearest wrist, which is kinder than its labels.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection
from visual_irl.perception.landmarks.mediapipe_detector import QUIET, hands_of, letterbox, people_of
from visual_irl.perception.landmarks.weights import weight_path
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, SIDES, RgbdFrame, keypoint_index

_MIN_VISIBILITY = 0.5
_ROWS = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
_ARM = [i for i, name in enumerate(BODY_KEYPOINTS) if not name.endswith("hip")]


class BareMediapipe:
    """Both landmarkers on a stream, with nothing around them."""

    def __init__(self) -> None:
        video = vision.RunningMode.VIDEO
        pose, hand = (str(weight_path(name)) for name in ("pose_landmarker_heavy", "hand_landmarker_full"))
        with QUIET:
            self._pose = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(base_options=BaseOptions(model_asset_path=pose), running_mode=video)
            )
            self._hands = vision.HandLandmarker.create_from_options(
                vision.HandLandmarkerOptions(base_options=BaseOptions(model_asset_path=hand), running_mode=video, num_hands=2)
            )

    def detect(self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int) -> PersonDetection | None:
        """The person in a picture, or None."""
        square, offset = letterbox(rgb)
        image = Image(image_format=ImageFormat.SRGB, data=square)
        with QUIET:
            pose = self._pose.detect_for_video(image, stamp_ns // 1_000_000)
            found = hands_of(self._hands.detect_for_video(image, stamp_ns // 1_000_000), square.shape[0], offset)
        people = people_of(pose, square.shape[0], offset)
        if not people:
            return None
        person = people[0]
        return PersonDetection(person.uv, person.visibility, person.shape, _nearest(person, found))

    def close(self) -> None:
        """Free the networks."""
        with QUIET:
            self._pose.close()
            self._hands.close()


def _nearest(person: PersonDetection, found: list[HandDetection]) -> dict[str, HandDetection]:
    hands: dict[str, HandDetection] = {}
    for hand in sorted(found, key=lambda h: h.score):
        gap = {side: float(np.linalg.norm(hand.uv[0] - person.uv[POSE_INDEX[f"{side}_wrist"]])) for side in SIDES}
        hands[min(gap, key=gap.__getitem__)] = hand
    return hands


def back_projected(person: PersonDetection | None, frame: RgbdFrame) -> Float[ndarray, "K 3"]:
    """Every visible landmark at the depth of its pixel, in the world [m]."""
    uv = np.full((len(KEYPOINTS), 2), np.nan)
    if person is not None:
        uv[: len(_ROWS)] = np.where(person.visibility[_ROWS, None] >= _MIN_VISIBILITY, person.uv[_ROWS], np.nan)
        for side, hand in person.hands.items():
            first = keypoint_index(f"{side}_hand_wrist")
            uv[first : first + 21] = hand.uv
    assert frame.depth is not None and frame.T_world_camera is not None
    height, width = frame.depth.shape
    inside = (uv >= 0.0).all(1) & (uv[:, 0] < width - 0.5) & (uv[:, 1] < height - 0.5)
    z = np.full(len(uv), np.nan)
    column, row = np.round(uv[inside]).astype(int).T
    z[inside] = frame.depth[row, column]
    return se3.apply(frame.T_world_camera, frame.intrinsics.back_project(uv, z))


def world_landmarks(person: PersonDetection | None, frame: RgbdFrame, truth: Float[ndarray, "K 3"]) -> Float[ndarray, "K 3"]:
    """The networks' own metric shapes [m], turned into the world and moved so that the true arms' middle is met.

    They know no place, so the truth gives them one, the best one: arms and each hand are centred on their truth.
    """
    p = np.full((len(KEYPOINTS), 3), np.nan)
    if person is None:
        return p
    assert frame.T_world_camera is not None
    R = frame.T_world_camera[:3, :3]
    p[: len(_ROWS)] = np.where(person.visibility[_ROWS, None] >= _MIN_VISIBILITY, person.shape[_ROWS], np.nan) @ R.T
    seen = [i for i in _ARM if np.isfinite(p[i]).all()]
    p[: len(_ROWS)] += (truth[seen] - p[seen]).mean(0) if seen else np.nan
    for side, hand in person.hands.items():
        rows = slice(keypoint_index(f"{side}_hand_wrist"), keypoint_index(f"{side}_hand_wrist") + 21)
        turned = hand.shape @ R.T
        p[rows] = turned + (truth[rows] - turned).mean(0)
    return p
