"""A file played as a camera, and the newest of its frames for someone slower: every frame is accounted for."""

from __future__ import annotations

import json
import threading
import time
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.perception.cameras import latest_frame
from visual_irl.perception.cameras.latest_frame import LatestFrame
from visual_irl.perception.cameras.player import PlayConfig, Player
from visual_irl.types import Intrinsics, RgbdFrame

FRAMES = 5


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    camera = {"fx": 50.0, "fy": 50.0, "cx": 15.5, "cy": 11.5, "width": 32, "height": 24, "fps": 100.0}
    (tmp_path / "camera.json").write_text(json.dumps(camera))
    for i in range(FRAMES):
        cv2.imwrite(str(tmp_path / f"color_{i}.png"), np.full((24, 32, 3), 10 * i, np.uint8))
    return tmp_path


def test_frames_carry_the_time_at_which_they_are_shown(pictures: Path) -> None:
    clock = iter(range(7, 1000))
    player = Player(pictures, PlayConfig(), lambda: next(clock))
    assert [(f.stamp_ns, int(f.rgb[0, 0, 0])) for f in islice(player, FRAMES)] == [(7 + i, 10 * i) for i in range(FRAMES)]


def test_a_player_repeats_when_told_and_goes_on_when_told_later(pictures: Path) -> None:
    player = Player(pictures, PlayConfig(rate=1000.0), time.time_ns)
    seen: list[RgbdFrame] = []
    thread = threading.Thread(target=lambda: seen.extend(islice(player, 3 * FRAMES)), daemon=True)
    thread.start()
    thread.join(1.0)
    assert len(seen) <= FRAMES and thread.is_alive(), "it stands at the end"
    player.config = PlayConfig(loop=True, rate=1000.0)
    thread.join(30.0)
    assert len(seen) == 3 * FRAMES
    player.end()
    assert list(player) == []


def test_a_pace_that_is_none_is_refused() -> None:
    for rate in (-1.0, float("nan"), 1e9):
        with pytest.raises(InvalidInput, match="rate"):
            PlayConfig(rate=rate)


def frame(stamp: int) -> RgbdFrame:
    return RgbdFrame(stamp, np.zeros((2, 2, 3), np.uint8), None, Intrinsics(1.0, 1.0, 0.5, 0.5, 2, 2), None)


def test_offered_frames_are_taken_newest_first_and_counted() -> None:
    with LatestFrame() as frames:
        for stamp in range(4):
            frames.offer(frame(stamp))
        assert next(iter(frames)).stamp_ns == 3
        frames.offer(frame(9))
    assert [f.stamp_ns for f in frames] == [9], "what is there when it ends is still given"
    assert (frames.received, frames.dropped) == (5, 3)


def test_a_frame_that_has_waited_gives_way_to_the_next_while_that_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    with LatestFrame() as frames:
        for stamp in range(2):
            frames.offer(frame(stamp))
            time.sleep(0.02)  # longer than a frame is fresh
        assert next(iter(frames)).stamp_ns == 1, "the camera has stopped: what is there is given"
        monkeypatch.setattr(latest_frame, "LATE", 1e6)
        monkeypatch.setattr(latest_frame, "LONGEST", 1e6)
        frames.offer(frame(2))
        assert next(iter(frames)).stamp_ns == 2, "a fresh one is taken at once"
        frames.offer(frame(3))
        time.sleep(0.02)
        later = threading.Timer(0.05, frames.offer, [frame(4)])
        later.start()
        assert next(iter(frames)).stamp_ns == 4
        assert (frames.received, frames.dropped) == (5, 2)
        frames.offer(frame(5))
        time.sleep(0.02)
        threading.Timer(0.05, frames.__exit__, [None, None, None]).start()
        assert [f.stamp_ns for f in frames] == [5], "nor is the last one waited beyond the end"
