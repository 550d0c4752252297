"""Body and hands of one person with MediaPipe on the CPU.

Body: BlazePose (Bazarevsky et al. 2020); hands: MediaPipe Hands (Zhang et al. 2020).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.perception.detection import HandDetection, PersonDetection
from visual_irl.perception.person_finder import PersonFinder, PersonFinderConfig
from visual_irl.perception.region import HAND_INPUT, Region, body_in, hand_in
from visual_irl.perception.region_network import BODY_OUTPUTS, HAND_OUTPUTS, RegionNetwork
from visual_irl.perception.weights import component_path, weight_path


@dataclass(frozen=True)
class MediapipeDetectorConfig(PersonFinderConfig):
    """Options of the MediaPipe detector."""

    def build(self) -> PersonFinder:
        """The detector, its weights pulled when missing.

        Raises:
            DownloadFailed: the weights cannot be had.
        """
        return PersonFinder(self, MediapipeNetworks(self.pose_model, self.min_confidence))


class MediapipeNetworks:
    """MediaPipe's landmarkers as `person_finder.Networks`."""

    def __init__(self, pose_model: str, least: float) -> None:
        """`least`: a body or hand with a lower score in [0, 1] is not there."""
        pose, hand = str(weight_path(f"pose_landmarker_{pose_model}")), str(weight_path("hand_landmarker_full"))
        self._pose_model, self._least = pose_model, least
        with quiet_stderr():
            self._pose = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=pose),
                    running_mode=vision.RunningMode.VIDEO,
                    min_pose_detection_confidence=least,
                    min_pose_presence_confidence=least,
                )
            )
            self._hands = self._hand_landmarker(hand, vision.RunningMode.VIDEO, 2)
            self._crop_hands = self._hand_landmarker(hand, vision.RunningMode.IMAGE, 1)
        self._body_region: RegionNetwork | None = None
        self._hand_region: RegionNetwork | None = None
        self._square, self._offset = Image(image_format=ImageFormat.SRGB, data=np.zeros((1, 1, 3), np.uint8)), np.zeros(2)
        self._ms = -1

    def _hand_landmarker(self, path: str, mode: vision.RunningMode, hands: int) -> vision.HandLandmarker:
        return vision.HandLandmarker.create_from_options(
            vision.HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=path),
                running_mode=mode,
                num_hands=hands,
                min_hand_detection_confidence=self._least,
                min_hand_presence_confidence=self._least,
            )
        )

    def begin(self, rgb: UInt8[ndarray, "H W 3"], stamp_ms: int) -> None:
        """The picture that `hands` and `body` look at from here on."""
        square, self._offset = letterbox(rgb)
        self._square, self._ms = Image(image_format=ImageFormat.SRGB, data=square), stamp_ms

    def hands(self) -> list[HandDetection]:
        """Up to two hands in the picture."""
        with quiet_stderr():
            return hands_of(self._hands.detect_for_video(self._square, self._ms), self._square.width, self._offset)

    def body(self) -> PersonDetection | None:
        """The body in the picture, without hands."""
        with quiet_stderr():
            pose = self._pose.detect_for_video(self._square, self._ms)
        return person_of(pose, self._square.width, self._offset) if pose.pose_landmarks else None

    def hand_in(self, crop: UInt8[ndarray, "S S 3"]) -> HandDetection | None:
        """A hand in a picture of its own."""
        with quiet_stderr():
            result = self._crop_hands.detect(Image(image_format=ImageFormat.SRGB, data=crop))
        hands = hands_of(result, crop.shape[0], np.zeros(2))
        return hands[0] if hands else None

    def hand_at(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> HandDetection | None:
        """What the hand's network sees in a region; it is loaded when first needed."""
        with quiet_stderr():
            if self._hand_region is None:
                self._hand_region = RegionNetwork(component_path("hand_landmark_full"), HAND_OUTPUTS)
            rows, presence, right, metres = self._hand_region.run(region.crop(rgb, HAND_INPUT))
        hand = hand_in(rows.reshape(21, 3), metres.reshape(21, 3), float(right[0]), region)
        return hand if presence[0] > self._least else None

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """What the body's network sees in a region; it is loaded when first needed: most clips show a head."""
        with quiet_stderr():
            if self._body_region is None:
                self._body_region = RegionNetwork(component_path(f"pose_landmark_{self._pose_model}"), BODY_OUTPUTS)
            rows, presence, metres = self._body_region.run(region.crop(rgb))
        person, own = body_in(rows.reshape(-1, 5), metres.reshape(-1, 3), region)
        return person, float(presence[0]), own

    def close(self) -> None:
        """Free the networks."""
        with quiet_stderr():
            for network in (self._pose, self._hands, self._crop_hands, self._body_region, self._hand_region):
                if network is not None:
                    network.close()


def letterbox(rgb: UInt8[ndarray, "H W 3"]) -> tuple[UInt8[ndarray, "S S 3"], Float[ndarray, "2"]]:
    """The picture in the middle of a black square, and its offset (x, y) [px] there. Squashing loses detections."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    x, y = (side - width) // 2, (side - height) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[y : y + height, x : x + width] = rgb
    return square, np.array([x, y], float)


def person_of(result: vision.PoseLandmarkerResult, side: int, offset: Float[ndarray, "2"]) -> PersonDetection:
    landmarks = result.pose_landmarks[0]
    return PersonDetection(
        uv=np.array([[p.x, p.y] for p in landmarks]) * side - offset,
        visibility=np.array([p.visibility for p in landmarks]),
        shape=np.array([[p.x, p.y, p.z] for p in result.pose_world_landmarks[0]]),
        hands={},
    )


def hands_of(result: vision.HandLandmarkerResult, side: int, offset: Float[ndarray, "2"]) -> list[HandDetection]:
    return [
        HandDetection(
            uv=np.array([[p.x, p.y] for p in landmarks]) * side - offset,
            shape=np.array([[p.x, p.y, p.z] for p in world]),
            score=float(handedness[0].score),
            label=handedness[0].category_name.lower(),
        )
        for landmarks, world, handedness in zip(
            result.hand_landmarks, result.hand_world_landmarks, result.handedness, strict=True
        )
    ]


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """MediaPipe's C++ side writes notices to stderr that no option turns off; what Python raises is not touched."""
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(sink)
        os.close(saved)
