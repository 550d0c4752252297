"""What a keypoint detector of another package has to have, and what it may have: each of the latter is used by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.perception import DETECTORS
from visual_irl.perception.cameras.sources import FrameSource
from visual_irl.perception.landmarks.detection import (
    Detector,
    DoubtsSides,
    ExpectsPlace,
    PersonDetection,
    SeesCuts,
    SeesDepth,
)
from visual_irl.perception.landmarks.person_finder import PersonFinder
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream, iterate_keypoints
from visual_irl.types import Intrinsics, RgbdFrame

PLACE = np.array([4.0, 3.0])


class Plain:
    """All that is needed."""

    def __init__(self) -> None:
        self.told: Counter[str] = Counter()

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection | None:
        return None

    def close(self) -> None:
        pass


class WithPlace(Plain):
    def expect(self, shoulders: np.ndarray | None) -> None:
        self.told["place"] += shoulders is PLACE


class WithDepth(Plain):
    def show_depth(self, depth: np.ndarray | None) -> None:
        self.told["depth"] += depth is not None


class WithBoth(WithPlace, WithDepth):
    pass


class NoDetector:
    """What a plug-in must not give: it detects and cannot be closed."""

    def build(self) -> NoDetector:
        return self

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> None:
        return None


@pytest.mark.parametrize(
    ("kind", "told"), [(Plain, {}), (WithPlace, {"place": 3}), (WithDepth, {"depth": 3}), (WithBoth, {"place": 3, "depth": 3})]
)
def test_a_detector_is_told_each_thing_that_it_asks_for(kind: type[Plain], told: dict[str, int]) -> None:
    picture = np.arange(8 * 10 * 3, dtype=np.uint8).reshape(8, 10, 3)
    depth, lens = np.ones((8, 10), np.float32), Intrinsics(9.0, 9.0, 4.5, 3.5, 10, 8)
    frames = [RgbdFrame(i * 100_000_000, picture, depth, lens, None) for i in range(3)]
    source = FrameSource(Path("mine"), lambda: iter(frames), 3, True, {})
    detector = kind()
    assert isinstance(detector, Detector)
    steps = iterate_keypoints(source, detector, KeypointConfig(), expected=lambda frame: PLACE)
    assert all(not keypoints.person for _, keypoints in (next(steps) for _ in frames))
    assert detector.told == told


class WithCuts(Plain):
    def begin_shot(self) -> None:
        self.told["cut"] += 1


class WithDoubts(Plain):
    def doubts_sides(self) -> bool:
        return True


def test_a_cut_is_told_with_the_second_picture_of_the_new_shot_and_doubtful_sides_are_counted() -> None:
    rng, lens = np.random.default_rng(0), Intrinsics(9.0, 9.0, 4.5, 3.5, 64, 48)
    rooms = [np.kron(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8), np.ones((4, 4, 1), np.uint8)) for _ in range(2)]
    told = []
    stream = KeypointStream(KeypointConfig(), detector := WithCuts())
    for i in range(8):
        stream.step(RgbdFrame(i * 100_000_000, rooms[i // 4], None, lens, None))
        told.append((detector.told["cut"], stream.new_shot))
    assert told == [(0, False)] * 5 + [(1, True)] + [(1, False)] * 2
    assert stream.health.problems() == {"no_person": 8}
    doubting = KeypointStream(KeypointConfig(), WithDoubts())
    doubting.step(RgbdFrame(0, rooms[0], None, lens, None))
    doubting.step(RgbdFrame(1, np.zeros_like(rooms[0]), None, lens, None))
    assert doubting.health.problems() == {"blank": 1, "sides_unknown": 1}


def test_our_own_detectors_ask_for_all() -> None:
    assert issubclass(PersonFinder, ExpectsPlace) and issubclass(PersonFinder, SeesDepth)
    assert issubclass(PersonFinder, SeesCuts) and issubclass(PersonFinder, DoubtsSides)
    assert issubclass(PersonFinder, Detector)


def test_a_plug_in_that_builds_no_detector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DETECTORS._table, "mine", (f"{__name__}:NoDetector", "nothing"))
    with pytest.raises(InvalidInput, match=r"detector 'mine': its build\(\) gives a NoDetector without"):
        KeypointConfig(detector="mine").build_detector()
