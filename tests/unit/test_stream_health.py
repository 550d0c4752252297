"""Frames that cannot be used are counted, never crash, and never become keypoints."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from visual_irl.errors import InvalidInput, UnreadableFile
from visual_irl.io import messages
from visual_irl.io.recording_writer import RecordingWriter
from visual_irl.perception.cameras.exposure import well_exposed
from visual_irl.perception.cameras.sources import FrameSource, open_frames
from visual_irl.perception.cameras.stream_health import StreamHealth
from visual_irl.perception.landmarks.mediapipe_detector import MediapipeDetectorConfig
from visual_irl.perception.landmarks.person_finder import PersonFinder
from visual_irl.perception.live_stream import STAYS, LiveStream, LiveStreamConfig
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig, iterate_keypoints
from visual_irl.types import Intrinsics, RgbdFrame

RECORDING = Path(__file__).resolve().parents[2] / "models" / "recordings" / "onion_sorting"
KINDS = ("good", "black", "white", "noise", "no_depth", "garbage_depth", "half_depth", "reversed", "future", "small")
RECORDED = ("good", "black", "no_depth", "reversed", "small", "cut_jpeg", "cut_png", "garbage", "garbage_depth")
STEP = 66_000_000
HOUR = 3_600_000_000_000


@pytest.fixture(scope="module")
def sound() -> list[RgbdFrame]:
    with open_frames(RECORDING) as source:
        frames = iter(source)
        return [next(frames) for _ in range(3)]


@pytest.fixture(scope="module")
def detector() -> Iterator[PersonFinder]:
    # without the search for bodies that show no head, which costs most; it has tests of its own
    opened = MediapipeDetectorConfig(pose_model="full", search_without_head=False).build()
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
    if kind == "half_depth":  # what is left of it is sound
        depth = frame.depth.copy()
        depth[::2] = rng.choice(np.array([np.inf, -np.inf, np.nan, -1.0, 1e9], np.float32), depth[::2].shape)
        return replace(frame, depth=depth)
    if kind == "small":
        k = frame.intrinsics
        half = Intrinsics(k.fx / 2, k.fy / 2, k.cx / 2, k.cy / 2, k.width // 2, k.height // 2)
        return replace(frame, rgb=frame.rgb[::2, ::2].copy(), depth=frame.depth[::2, ::2].copy(), intrinsics=half)
    return frame


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8))
@example(kinds=["future"] * 3)
def test_no_live_stream_of_broken_frames_crashes_or_invents_a_keypoint(
    kinds: list[str], sound: list[RgbdFrame], detector: PersonFinder
) -> None:
    live = LiveStream(detector=detector)
    first = sound[0].stamp_ns
    live.step(spoilt(sound[0], "good", first))  # it says which size is right
    leaps = 0
    for i, kind in enumerate(kinds, start=1):
        leaps += kind == "future"
        ahead = HOUR * 5**leaps if kind == "future" else 0  # too far apart for one leap to confirm another
        stamp = first - i if kind == "reversed" else first + STEP * i + ahead
        out = live.step(spoilt(sound[i % 3], kind, stamp))
        if kind in ("reversed", "future"):
            assert out is None
            continue
        assert out is not None and out.stamp_ns == stamp
        lost = out.confidence == 0.0
        assert np.isnan(out.p_world[lost]).all() and np.isfinite(out.p_world[~lost]).all()
        assert (np.linalg.eigvalsh(out.covariance[~lost]) > 0.0).all()
        assert np.linalg.norm(out.p_world[~lost], axis=1).max(initial=0.0) < 3.0  # [m], of a world that is a table
        usable = kind in ("good", "half_depth")
        assert out.person == usable, kind
        assert usable or kind == "noise" or not out.objects
    count = kinds.count
    assert live.health.frames == 1 + len(kinds)
    problems = {
        "blank": count("black") + count("white"),
        "no_depth": count("no_depth") + count("garbage_depth"),
        "out_of_order": count("reversed") + count("future"),
        "wrong_size": count("small"),
        "no_person": count("noise"),
    }
    assert live.health.problems() == {name: n for name, n in problems.items() if n}


class FaultyWriter(RecordingWriter):
    """Writes what a broken driver, cable or disk leaves in a recording."""

    def spoil(self, frame: RgbdFrame, kind: str, stamp: int, came: int) -> None:
        """Append the frame's messages, spoilt, as received at the time `came`."""
        frame = spoilt(frame, kind if kind in KINDS and kind != "garbage_depth" else "good", stamp)
        assert frame.depth is not None
        colour = messages.encode_colour(stamp, "camera_color_optical_frame", frame.rgb, True)
        depth = messages.encode_depth(stamp, "camera_color_optical_frame", frame.depth, True)
        if kind in ("cut_jpeg", "cut_png"):
            whole = messages.decode(messages.COMPRESSED_IMAGE, colour if kind == "cut_jpeg" else depth)
            cut = messages._compressed(stamp, "camera_color_optical_frame", whole.format, whole.data.tobytes()[:900])
            colour, depth = (cut, depth) if kind == "cut_jpeg" else (colour, cut)
        noise = np.random.default_rng(stamp % 997).bytes(40)
        self._bag.write(self._colour, noise if kind == "garbage" else colour, came)
        self._bag.write(self._depth, noise if kind == "garbage_depth" else depth, came)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(RECORDED), min_size=1, max_size=7))
def test_no_recording_with_broken_pictures_crashes_or_invents_a_keypoint(
    kinds: list[str], sound: list[RgbdFrame], detector: PersonFinder
) -> None:
    first = sound[0].stamp_ns
    with tempfile.TemporaryDirectory() as folder:
        with FaultyWriter(Path(folder) / "broken") as writer:
            for i in range(4):
                writer.write(spoilt(sound[i % 3], "good", first + STEP * i))
            for i, kind in enumerate(kinds, start=4):
                stamp = first - HOUR + STEP * i if kind == "reversed" else first + STEP * i
                writer.spoil(sound[i % 3], kind, stamp, first + STEP * i)
        health = StreamHealth()
        with open_frames(Path(folder) / "broken") as source:
            found = list(iterate_keypoints(source, detector, KeypointConfig(), health))
    stamps = [keypoints.stamp_ns for _, keypoints in found]
    assert stamps == sorted(set(stamps))
    good = {first + STEP * i for i, kind in enumerate(["good"] * 4 + kinds) if kind == "good"}
    assert {keypoints.stamp_ns for _, keypoints in found if keypoints.person} == good
    count = kinds.count
    found_problems = health.problems()
    lost, old = found_problems.pop("unpaired", 0), found_problems.pop("out_of_order", 0)
    # a picture whose partner is corrupt has none; beside one, a frame from the past may find none either
    assert old <= count("reversed") <= old + lost <= count("reversed") + count("garbage_depth")
    corrupt = count("cut_jpeg") + count("cut_png") + count("garbage") + count("garbage_depth")
    problems = {"blank": count("black"), "no_depth": count("no_depth"), "wrong_size": count("small"), "corrupt": corrupt}
    assert found_problems == {name: n for name, n in problems.items() if n}


def test_a_recording_without_one_good_picture_says_what_is_wrong(sound: list[RgbdFrame], tmp_path: Path) -> None:
    written = tmp_path / "all"
    with FaultyWriter(written) as writer:
        writer._start(sound[0], None)
        writer._bag.write("/camera/camera/color/camera_info", messages.encode_camera_info(1, "x", sound[0].intrinsics), 1)
        for i in range(3):
            writer.spoil(sound[0], "cut_jpeg", sound[0].stamp_ns + STEP * i, sound[0].stamp_ns + STEP * i)
        writer.count = 3
    with open_frames(written) as source, pytest.raises(UnreadableFile, match="cannot be decoded"):
        list(source)
    assert source.refused == {"corrupt": 3}


def test_a_folder_leaves_out_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    camera = {"fx": 60, "fy": 60, "cx": 31.5, "cy": 23.5, "width": 64, "height": 48, "fps": 10}
    (tmp_path / "camera.json").write_text(json.dumps(camera))
    for i in range(3):
        Image.fromarray(np.full((48, 64 if i != 2 else 32, 3), 90, np.uint8)).save(tmp_path / f"color_{i}.png")
    (tmp_path / "color_1.png").write_bytes(b"no picture")
    with open_frames(tmp_path) as source:
        assert [frame.stamp_ns for frame in source] == [0]
    assert source.refused == {"corrupt": 1, "wrong_size": 1}


def test_one_stamp_from_the_future_does_not_make_the_rest_old_and_slow_streams_are_sound(sound: list[RgbdFrame]) -> None:
    def admitted(seconds: list[float]) -> list[bool]:
        health = StreamHealth()
        return [health.admit(replace(sound[0], stamp_ns=round(1e9 * t))) for t in seconds]

    assert admitted([1.0, 1.1, 9e5, 1.2, 1.3]) == [True, True, False, True, True]
    assert admitted([1.0, 1.1, 61.1, 61.2, 61.3, 61.0]) == [True, True, False, True, True, False]  # the camera had stopped
    assert admitted([0.0, 30.0, 60.0, 90.0, 120.0]) == [True, False, True, True, True]


@pytest.mark.parametrize("unit", [10.0, 0.1])
def test_depth_in_another_unit_is_told_and_gives_no_keypoint(
    unit: float, sound: list[RgbdFrame], detector: PersonFinder
) -> None:
    def frames() -> Iterator[RgbdFrame]:
        for i, frame in enumerate(sound):
            assert frame.depth is not None
            yield replace(frame, stamp_ns=int(1 + unit) * HOUR + STEP * i, depth=frame.depth * np.float32(unit))

    health, found = StreamHealth(), []
    with pytest.raises(InvalidInput, match="depth's unit"):
        for _, keypoints in iterate_keypoints(FrameSource(RECORDING, frames, 3, True, {}), detector, KeypointConfig(), health):
            found.append(keypoints.person)
    assert found == [False] * 3 and health.problems() == {"wrong_scale": 3}
    assert health.scale == pytest.approx(unit, rel=0.3)


def test_a_dark_picture_is_brightened_and_a_black_one_is_not(sound: list[RgbdFrame]) -> None:
    frame = sound[0]
    assert well_exposed(frame) is frame
    dark = replace(frame, rgb=(0.15 * frame.rgb).astype(np.uint8))
    bright = well_exposed(dark).rgb
    assert np.percentile(bright.max(2), 99) == pytest.approx(200.0, abs=15.0)  # levels come in steps of 1 / 0.15
    grey = bright.astype(float).mean(2)
    assert np.corrcoef(grey.ravel(), frame.rgb.astype(float).mean(2).ravel())[0, 1] > 0.95
    black = replace(frame, rgb=(0.03 * frame.rgb).astype(np.uint8))
    assert well_exposed(black) is black


def test_a_repeated_stamp_is_out_of_order(sound: list[RgbdFrame]) -> None:
    health = StreamHealth()
    assert health.admit(sound[0]) and not health.admit(sound[0]) and health.admit(sound[1])
    assert health.problems() == {"out_of_order": 1}


def test_arrays_that_do_not_fit_are_refused_when_the_frame_is_made(sound: list[RgbdFrame]) -> None:
    frame = sound[0]
    assert frame.depth is not None
    with pytest.raises(InvalidInput, match="camera info says"):
        replace(frame, rgb=frame.rgb[:-1].copy(), depth=frame.depth[:-1].copy())


def test_a_stream_is_perceived_anew_between_frames_but_not_by_other_networks(
    detector: PersonFinder, sound: list[RgbdFrame]
) -> None:
    live = LiveStream(LiveStreamConfig(objects=None), detector)
    first, config = sound[0].stamp_ns, live.config
    live.step(spoilt(sound[0], "good", first - STEP))  # somebody is found before being followed
    seen = live.step(spoilt(sound[0], "good", first))
    assert seen is not None and seen.person
    live.config = replace(config, smoothing=replace(config.smoothing, persistent=5.0))
    wider = live.step(spoilt(sound[0], "good", first + STEP))
    assert wider is not None
    known = (seen.confidence > 0.0) & (wider.confidence > 0.0)
    before, after = (np.trace(frame.covariance[known], axis1=1, axis2=2) for frame in (seen, wider))
    assert known.any() and (after > 2.0 * before).all()
    for other in (
        replace(config, keypoints=KeypointConfig(detector="torch")), replace(config, task="pouring"),
        replace(config, objects=ObjectsConfig()),
    ):  # fmt: skip
        with pytest.raises(InvalidInput, match="restart"):
            live.config = other


def test_a_camera_or_a_clock_that_was_started_anew_is_believed_once_it_stays(
    detector: PersonFinder, sound: list[RgbdFrame]
) -> None:
    live = LiveStream(LiveStreamConfig(objects=None), detector)
    first = sound[0].stamp_ns
    assert live.step(spoilt(sound[0], "good", first)) is not None
    earlier = first - HOUR
    for i in range(STAYS):
        assert live.step(spoilt(sound[0], "good", earlier + i * STEP)) is None
    back = live.step(spoilt(sound[1], "good", earlier + STAYS * STEP))
    assert back is not None and back.person, "the clock was set back"
    assert live.health.problems()["out_of_order"] == STAYS
    begin = earlier + STAYS * STEP
    for i in range(1, STAYS + 1):
        smaller = live.step(spoilt(sound[0], "small", begin + i * STEP))
        assert smaller is not None and not smaller.person
    smaller = live.step(spoilt(sound[1], "small", begin + (STAYS + 1) * STEP))
    assert smaller is not None and smaller.person, "the camera sends another size"
    assert live.step(spoilt(sound[1], "good", begin - HOUR)) is None and live.health.estranged == 1
