"""Frames that cannot be used are counted, never crash, and never become keypoints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visual_irl.errors import InvalidInput
from visual_irl.perception.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.mediapipe_detector import MediapipeDetectorConfig
from visual_irl.perception.sources import open_frames
from visual_irl.perception.stream_health import StreamHealth
from visual_irl.types import Intrinsics, RgbdFrame

RECORDING = Path(__file__).resolve().parents[2] / "models" / "recordings" / "onion_sorting"
KINDS = ("good", "black", "white", "noise", "no_depth", "garbage_depth", "reversed", "small")


@pytest.fixture(scope="module")
def sound() -> list[RgbdFrame]:
    with open_frames(RECORDING) as source:
        frames = iter(source)
        return [next(frames) for _ in range(3)]


@pytest.fixture(scope="module")
def stream() -> Iterator[KeypointStream]:
    # without the search for bodies that show no head, which costs most; it has tests of its own
    opened = KeypointStream(KeypointConfig(), MediapipeDetectorConfig(pose_model="full", search_without_head=False).build())
    yield opened
    opened.close()


def spoilt(frame: RgbdFrame, kind: str, stamp_ns: int) -> RgbdFrame:
    """The frame as a broken camera would send it."""
    assert frame.depth is not None
    rng = np.random.default_rng(stamp_ns % 1000)
    frame = replace(frame, stamp_ns=stamp_ns)
    if kind in ("black", "white"):
        return replace(frame, rgb=np.full_like(frame.rgb, 0 if kind == "black" else 255))
    if kind == "noise":
        return replace(frame, rgb=rng.integers(0, 256, frame.rgb.shape, dtype=np.uint8))
    if kind == "no_depth":
        return replace(frame, depth=np.full_like(frame.depth, np.nan))
    if kind == "garbage_depth":
        values = np.array([np.inf, -np.inf, np.nan, -1.0, 0.0], np.float32)
        return replace(frame, depth=rng.choice(values, frame.depth.shape))
    if kind == "small":
        k = frame.intrinsics
        half = Intrinsics(k.fx / 2, k.fy / 2, k.cx / 2, k.cy / 2, k.width // 2, k.height // 2)
        return replace(frame, rgb=frame.rgb[::2, ::2].copy(), depth=frame.depth[::2, ::2].copy(), intrinsics=half)
    return frame


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=7))
def test_no_sequence_of_broken_frames_crashes_or_invents_a_keypoint(
    kinds: list[str], sound: list[RgbdFrame], stream: KeypointStream
) -> None:
    stream.health = StreamHealth()
    first = sound[0].stamp_ns
    newest = -1
    stream.step(spoilt(sound[0], "good", first))  # it says which size is right
    for i, kind in enumerate(kinds, start=1):
        stamp = first - i if kind == "reversed" else first + 66_000_000 * i
        out = stream.step(spoilt(sound[i % 3], kind, stamp))
        newest = max(newest, stamp)
        assert out.stamp_ns == stamp
        lost = out.confidence == 0.0
        assert np.isnan(out.p_world[lost]).all() and np.isfinite(out.p_world[~lost]).all()
        assert (out.sigma[~lost] > 0.0).all()
        if kind == "good":
            assert out.person
        else:
            assert not out.person, kind
    count = kinds.count
    assert stream.health.frames == 1 + len(kinds)
    problems = {
        "blank": count("black") + count("white"),
        "no_depth": count("no_depth") + count("garbage_depth"),
        "out_of_order": count("reversed"),
        "wrong_size": count("small"),
        "no_person": count("noise"),
    }
    assert stream.health.problems() == {name: n for name, n in problems.items() if n}


def test_a_repeated_stamp_is_out_of_order(sound: list[RgbdFrame]) -> None:
    health = StreamHealth()
    assert health.admit(sound[0]) and not health.admit(sound[0]) and health.admit(sound[1])
    assert health.problems() == {"out_of_order": 1}


def test_arrays_that_do_not_fit_are_refused_when_the_frame_is_made(sound: list[RgbdFrame]) -> None:
    frame = sound[0]
    assert frame.depth is not None
    with pytest.raises(InvalidInput, match="camera info says"):
        replace(frame, rgb=frame.rgb[:-1].copy(), depth=frame.depth[:-1].copy())
