"""Body and hands of one person with MediaPipe on the CPU.

Body: BlazePose (Bazarevsky et al. 2020); hands: MediaPipe Hands (Zhang et al. 2020).
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from jaxtyping import Float, UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.perception.landmarks.detection import HandDetection, PersonDetection
from visual_irl.perception.landmarks.person_choice import middle_of
from visual_irl.perception.landmarks.person_finder import MOST_PEOPLE, PersonFinder, PersonFinderConfig
from visual_irl.perception.landmarks.region import HAND_INPUT, Region, body_in, hand_in
from visual_irl.perception.landmarks.region_network import BODY_OUTPUTS, HAND_OUTPUTS, RegionNetwork
from visual_irl.perception.landmarks.weights import component_path, weight_path


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
    """MediaPipe's landmarkers as `person_finder.Networks`; hands are looked for beside the body, by a thread of their own."""

    def __init__(self, pose_model: str, least: float) -> None:
        """`least`: a body or hand with a lower score in [0, 1] is not there."""
        hand = str(weight_path("hand_landmarker_full"))
        self._pose_model, self._least = pose_model, least
        self._beside, self._found = ThreadPoolExecutor(1, "hands"), Future[list[HandDetection]]()
        with QUIET:
            self._pose = self._pose_landmarker(vision.RunningMode.VIDEO, 1)
            self._hands = self._hand_landmarker(hand, vision.RunningMode.VIDEO, 2)
            self._crop_hands = self._hand_landmarker(hand, vision.RunningMode.IMAGE, 1)
        self._people: vision.PoseLandmarker | None = None
        self._near: Region | None = None
        self._body_region: RegionNetwork | None = None
        self._hand_region: RegionNetwork | None = None
        self._square, self._offset = _picture(np.zeros((1, 1, 3), np.uint8)), np.zeros(2)
        self._ms = -1

    def _pose_landmarker(self, mode: vision.RunningMode, people: int) -> vision.PoseLandmarker:
        return vision.PoseLandmarker.create_from_options(
            vision.PoseLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=str(weight_path(f"pose_without_outline_{self._pose_model}"))),
                running_mode=mode,
                num_poses=people,
                min_pose_detection_confidence=self._least,
                min_pose_presence_confidence=self._least,
            )
        )

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
        self._square, self._ms = _picture(square), stamp_ms
        self._found = self._beside.submit(self._hands_in, self._square, self._ms, self._offset)

    def forget(self, stamp_ms: int) -> None:
        """Follow nothing any more.

        Shown nobody, MediaPipe forgets a body's place, but goes on smoothing how visible its landmarks are, which would lose
        the next one for two seconds: its landmarker is loaded anew, for 0.14 s of a CPU.
        """
        self._near = None
        with QUIET:
            self._hands.detect_for_video(_picture(np.zeros_like(self._square.numpy_view())), stamp_ms)
            self._pose.close()
            self._pose = self._pose_landmarker(vision.RunningMode.VIDEO, 1)

    def _hands_in(self, square: Image, ms: int, offset: ndarray) -> list[HandDetection]:
        with QUIET:
            return hands_of(self._hands.detect_for_video(square, ms), square.width, offset)

    def hands(self) -> list[HandDetection]:
        """Up to two hands in the picture; waits until they are found."""
        return self._found.result()

    def body(self, near: Region | None = None) -> PersonDetection | None:
        """The body in the picture, without hands; `near`: the one nearest to the middle of this square, searched for anew.

        MediaPipe smooths places and visibilities, and would pass slowly from one person to another: it is shown nobody
        meanwhile, and in the next picture only the square.
        """
        if near is not None:
            self._near = near
            with QUIET:
                self._pose.detect_for_video(_picture(np.zeros_like(self._square.numpy_view())), self._ms)
            people = self._all_in(self._only(near))
            return min(people, key=lambda body: np.linalg.norm(middle_of(body) - [near.x, near.y])) if people else None
        square, self._near = self._square if self._near is None else self._only(self._near), None
        with QUIET:
            pose = self._pose.detect_for_video(square, self._ms)
        people = people_of(pose, square.width, self._offset)
        return people[0] if people else None

    def bodies(self) -> list[PersonDetection]:
        """All bodies in the picture."""
        return self._all_in(self._square)

    def _all_in(self, square: Image) -> list[PersonDetection]:
        """With a landmarker of its own, loaded when first needed."""
        with QUIET:
            if self._people is None:
                self._people = self._pose_landmarker(vision.RunningMode.IMAGE, MOST_PEOPLE)
            return people_of(self._people.detect(square), square.width, self._offset)

    def _only(self, near: Region) -> Image:
        left, top = (np.array([near.x, near.y]) - 0.5 * near.side + self._offset).astype(int).clip(0)
        right, bottom = (np.array([near.x, near.y]) + 0.5 * near.side + self._offset).astype(int).clip(0)
        whole = self._square.numpy_view()
        part = np.zeros_like(whole)
        part[top:bottom, left:right] = whole[top:bottom, left:right]
        return _picture(part)

    def hand_in(self, crop: UInt8[ndarray, "S S 3"]) -> HandDetection | None:
        """A hand in a picture of its own."""
        with QUIET:
            result = self._crop_hands.detect(_picture(crop))
        hands = hands_of(result, crop.shape[0], np.zeros(2))
        return hands[0] if hands else None

    def hand_at(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> HandDetection | None:
        """What the hand's network sees in a region; it is loaded when first needed."""
        with QUIET:
            if self._hand_region is None:
                self._hand_region = RegionNetwork(component_path("hand_landmark_full"), HAND_OUTPUTS)
            rows, presence, right, metres = self._hand_region.run(region.crop(rgb, HAND_INPUT))
        hand = hand_in(rows.reshape(21, 3), metres.reshape(21, 3), float(right[0]), region)
        return hand if presence[0] > self._least else None

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """What the body's network sees in a region; it is loaded when first needed: most clips show a head."""
        with QUIET:
            if self._body_region is None:
                self._body_region = RegionNetwork(component_path(f"pose_landmark_{self._pose_model}"), BODY_OUTPUTS)
            rows, presence, metres = self._body_region.run(region.crop(rgb))
        person, own = body_in(rows.reshape(-1, 5), metres.reshape(-1, 3), region)
        return person, float(presence[0]), own

    def close(self) -> None:
        """Free the networks."""
        self._beside.shutdown()
        with QUIET:
            for network in (self._pose, self._people, self._hands, self._crop_hands, self._body_region, self._hand_region):
                if network is not None:
                    network.close()


def _picture(rgb: UInt8[ndarray, "H W 3"]) -> Image:
    return Image(image_format=ImageFormat.SRGB, data=rgb)


def letterbox(rgb: UInt8[ndarray, "H W 3"]) -> tuple[UInt8[ndarray, "S S 3"], Float[ndarray, "2"]]:
    """The picture in the middle of a black square, and its offset (x, y) [px] there. Squashing loses detections."""
    height, width = rgb.shape[:2]
    side = max(height, width)
    x, y = (side - width) // 2, (side - height) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[y : y + height, x : x + width] = rgb
    return square, np.array([x, y], float)


def people_of(result: vision.PoseLandmarkerResult, side: int, offset: Float[ndarray, "2"]) -> list[PersonDetection]:
    """The bodies that MediaPipe found in a square picture, without hands."""
    return [
        PersonDetection(
            uv=np.array([[p.x, p.y] for p in landmarks]) * side - offset,
            visibility=np.array([p.visibility for p in landmarks]),
            shape=np.array([[p.x, p.y, p.z] for p in world]),
            hands={},
        )
        for landmarks, world in zip(result.pose_landmarks, result.pose_world_landmarks, strict=True)
    ]


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


class _Quiet:
    """MediaPipe's C++ side writes notices to stderr that no option turns off; what Python raises is not touched.

    A context that several threads may be in at once: stderr is what it was when the last one has left.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._saved = threading.Lock(), 0, -1

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._saved = os.dup(2)
                sink = os.open(os.devnull, os.O_WRONLY)
                os.dup2(sink, 2)
                os.close(sink)
            self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                os.dup2(self._saved, 2)
                os.close(self._saved)


QUIET = _Quiet()
"""Stderr is the process's, and so is this."""
