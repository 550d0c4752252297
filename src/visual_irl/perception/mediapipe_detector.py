"""Body and hands of one person with MediaPipe on the CPU.

Body: BlazePose (Bazarevsky et al. 2020); hands: MediaPipe Hands (Zhang et al. 2020), once on the whole picture and,
for an arm whose hand was not found there, once more on an enlarged crop around the wrist.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.perception.body_geometry import fits, head_seen
from visual_irl.perception.body_network import BodyNetwork
from visual_irl.perception.detection import POSE_INDEX, HandDetection, PersonDetection
from visual_irl.perception.hand_labels import LabelVotes, distinct, palm_length
from visual_irl.perception.headless import HeadlessSearch
from visual_irl.perception.weights import component_path, weight_path
from visual_irl.types import SIDES

_CROP_SIZE = 256
"""Side of an enlarged hand crop [px]: the palm detector works on 192."""
_FACE_EVERY = 5
"""While a body without a head is followed, only every so many pictures are searched for a face: it costs a third."""


@dataclass(frozen=True)
class MediapipeDetectorConfig:
    """Options of the MediaPipe detector."""

    pose_model: str = "heavy"
    """`heavy` or `full`. Full costs a third of the time, but finds few bodies whose head is out of the picture."""
    min_confidence: float = 0.5
    """A body or hand with a lower score in [0, 1] is not there (MediaPipe's default)."""
    min_visibility: float = 0.5
    """A landmark with a lower visibility in [0, 1] is lost: below it the network guesses."""
    hand_reach: float = 0.6
    """A hand belongs to the arm whose wrist is nearest, at most this many forearm lengths away."""
    search_without_head: bool = True
    """Look for a body whose head is out of the picture by its arms and hands; costs up to two more runs of the
    body network a frame, and two of the hand networks."""

    def build(self) -> MediapipeDetector:
        """The detector, its weights pulled when missing.

        Raises:
            InvalidInput: an option is out of range.
            DownloadFailed: the weights cannot be had.
        """
        if self.pose_model not in ("heavy", "full"):
            raise InvalidInput(f"pose_model '{self.pose_model}' is unknown; known: full, heavy")
        for name in ("min_confidence", "min_visibility"):
            if not 0.0 < getattr(self, name) <= 1.0:
                raise InvalidInput(f"{name} is {getattr(self, name)}, must lie in (0, 1]")
        return MediapipeDetector(self)


class MediapipeDetector:
    """Tracks one person through a stream; see `MediapipeDetectorConfig`."""

    def __init__(self, config: MediapipeDetectorConfig) -> None:
        self.config = config
        pose, hand = str(weight_path(f"pose_landmarker_{config.pose_model}")), str(weight_path("hand_landmarker_full"))
        limit = config.min_confidence
        with quiet_stderr():
            self._pose = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=pose),
                    running_mode=vision.RunningMode.VIDEO,
                    min_pose_detection_confidence=limit,
                    min_pose_presence_confidence=limit,
                )
            )
            self._hands = self._hand_landmarker(hand, vision.RunningMode.VIDEO, 2)
            self._crop_hands = self._hand_landmarker(hand, vision.RunningMode.IMAGE, 1)
        self._last_ms = -1
        self._votes = LabelVotes()
        self._headless: HeadlessSearch | None = None
        self._without_face = 0

    def _hand_landmarker(self, path: str, mode: vision.RunningMode, hands: int) -> vision.HandLandmarker:
        limit = self.config.min_confidence
        return vision.HandLandmarker.create_from_options(
            vision.HandLandmarkerOptions(
                base_options=BaseOptions(model_asset_path=path),
                running_mode=mode,
                num_hands=hands,
                min_hand_detection_confidence=limit,
                min_hand_presence_confidence=limit,
            )
        )

    def detect(self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int) -> PersonDetection | None:
        """The person in a picture, or None. MediaPipe wants rising milliseconds: a stamp that stalls is moved on."""
        self._last_ms = max(self._last_ms + 1, stamp_ns // 1_000_000)
        square, offset = letterbox(rgb)
        image = Image(image_format=ImageFormat.SRGB, data=square)
        with quiet_stderr():
            hands = self._hands.detect_for_video(image, self._last_ms)
        found = self._votes.relabelled(distinct(hands_of(hands, square.shape[0], offset)), stamp_ns)
        followed = self._headless is not None and self._headless.locked
        if followed and self._without_face < _FACE_EVERY:
            self._without_face += 1
        else:
            self._without_face = 0
            person = self._by_face(rgb, image, offset, found)
            if person is not None and (person.hands or not followed):
                return person  # a face without a hand does not outdo a body that is followed by its hand
        if not self.config.search_without_head:
            return None
        if self._headless is None:
            self._headless = self._headless_search()
        return self._headless.find(rgb, stamp_ns, found)

    def _by_face(
        self, rgb: UInt8[ndarray, "H W 3"], square: Image, offset: Float[ndarray, "2"], found: list[HandDetection]
    ) -> PersonDetection | None:
        """What MediaPipe's pose task finds, unless it is no body with a head."""
        with quiet_stderr():
            pose = self._pose.detect_for_video(square, self._last_ms)
        person = person_of(pose, square.width, offset) if pose.pose_landmarks else None
        if person is None or not self._plausible(person, found, rgb.shape[1], rgb.shape[0]):
            return None
        return replace(person, hands=self._assign(rgb, person, found))

    def _headless_search(self) -> HeadlessSearch:
        """Loaded when a picture first needs it: most clips show a head."""
        with quiet_stderr():
            network = BodyNetwork(component_path(f"pose_landmark_{self.config.pose_model}"))
        return HeadlessSearch(network, self._closer, self._votes, self.config.min_confidence, self.config.min_visibility)

    def _plausible(self, person: PersonDetection, hands: list[HandDetection], width: int, height: int) -> bool:
        """Whether MediaPipe has found a body by its face. It also sees small ones within a trunk, or in a hand: these
        have no arms to see, or their hands are giants'."""
        elbows = person.visibility[[POSE_INDEX[f"{side}_elbow"] for side in SIDES]]
        armed = bool((elbows >= self.config.min_visibility).any())
        return armed and head_seen(person, width, height) and all(fits(person, hand) for hand in hands)

    def _assign(
        self, rgb: UInt8[ndarray, "H W 3"], person: PersonDetection, found: list[HandDetection]
    ) -> dict[str, HandDetection]:
        """Each hand to the arm with the nearest wrist; the closest pairs first, one hand an arm."""
        arms = {side: _arm(person, side) for side in SIDES if self._visible(person, side)}
        pairs = sorted(
            (float(np.linalg.norm(hand.uv[0] - arm[1])), side, i) for side, arm in arms.items() for i, hand in enumerate(found)
        )
        hands: dict[str, HandDetection] = {}
        used: set[int] = set()
        for distance, side, i in pairs:
            if side not in hands and i not in used and distance <= self._reach(person):
                hands[side] = found[i]
                used.add(i)
        for side, (elbow, wrist) in arms.items():
            if side not in hands:
                hand = self._look_closer(rgb, elbow, wrist, self._reach(person))
                taken = [other.uv[0] for other in hands.values()]
                if hand and all(np.linalg.norm(hand.uv[0] - p) > palm_length(hand) for p in taken):
                    hands[side] = hand
        return hands

    def _visible(self, person: PersonDetection, side: str) -> bool:
        rows = [POSE_INDEX[f"{side}_elbow"], POSE_INDEX[f"{side}_wrist"]]
        return bool((person.visibility[rows] >= self.config.min_visibility).all())

    def _reach(self, person: PersonDetection) -> float:
        """Largest distance [px] of a hand's wrist from the body's; by the longer forearm: one may be foreshortened."""
        return self.config.hand_reach * max(float(np.linalg.norm(np.subtract(*_arm(person, side)))) for side in SIDES)

    def _look_closer(
        self, rgb: UInt8[ndarray, "H W 3"], elbow: Float[ndarray, "2"], wrist: Float[ndarray, "2"], reach: float
    ) -> HandDetection | None:
        """A hand in an enlarged square around where the forearm points."""
        hand = self._closer(rgb, wrist + 0.35 * (wrist - elbow), 2.0 * reach)
        return hand if hand is not None and np.linalg.norm(hand.uv[0] - wrist) <= reach else None

    def _closer(self, rgb: UInt8[ndarray, "H W 3"], centre: Float[ndarray, "2"], half: float) -> HandDetection | None:
        """A hand in the enlarged square with a centre and half a side [px]."""
        scale = 0.5 * _CROP_SIZE / max(half, 24.0)
        shift = 0.5 * _CROP_SIZE - scale * centre
        A = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
        crop = cv2.warpAffine(rgb, A, (_CROP_SIZE, _CROP_SIZE), flags=cv2.INTER_LINEAR)
        with quiet_stderr():
            result = self._crop_hands.detect(Image(image_format=ImageFormat.SRGB, data=crop))
        hands = [replace(hand, uv=(hand.uv - shift) / scale) for hand in hands_of(result, _CROP_SIZE, np.zeros(2))]
        return hands[0] if hands else None

    def close(self) -> None:
        """Free the networks."""
        with quiet_stderr():
            for network in (self._pose, self._hands, self._crop_hands):
                network.close()
            if self._headless is not None:
                self._headless.close()


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


def _arm(person: PersonDetection, side: str) -> tuple[Float[ndarray, "2"], Float[ndarray, "2"]]:
    return person.uv[POSE_INDEX[f"{side}_elbow"]], person.uv[POSE_INDEX[f"{side}_wrist"]]


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
