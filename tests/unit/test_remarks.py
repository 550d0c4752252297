"""What `extract` remarks on in a video that it reads all the same: cuts, and a person who shows their back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from perfect_person import CAMERA, LANDMARKS, person_of
from visual_irl.errors import InvalidInput
from visual_irl.perception import DETECTORS
from visual_irl.perception.cameras.shot_cuts import ShotCuts
from visual_irl.perception.extraction import ExtractionConfig, extract_demonstration
from visual_irl.perception.landmarks.detection import PersonDetection, mirrored
from visual_irl.perception.live_stream import LiveStream, LiveStreamConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig
from visual_irl.types import Demonstration, Intrinsics, RgbdFrame, keypoint_index

STEP_NS = 100_000_000


class Seeing:
    """A detector, and its own configuration, that sees one person in every picture."""

    person = person_of(LANDMARKS)

    def build(self) -> Seeing:
        return self

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection | None:
        return self.person

    def close(self) -> None:
        pass


class SeeingABack(Seeing):
    person = mirrored(Seeing.person)


def place(seed: int) -> np.ndarray:
    """A picture of some room, 640x480."""
    small = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return cv2.resize(small, (640, 480), interpolation=cv2.INTER_CUBIC)


class SeeingTwo(Seeing):
    """Sees the person elsewhere and smaller from 0.5 s on."""

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection:
        later = stamp_ns >= 500_000_000
        return replace(self.person, uv=0.6 * self.person.uv + [220.0, 60.0]) if later else self.person


class Doubting(Seeing):
    """Finds nobody in every other picture, as left and right are not certain there."""

    seen = 0

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection | None:
        self.seen += 1
        return None if self.doubts_sides() else self.person

    def doubts_sides(self) -> bool:
        return self.seen % 2 == 0


def extracted(path: Path, pictures: list[np.ndarray], kind: type[Seeing], patch: pytest.MonkeyPatch) -> Demonstration:
    """What is extracted from a video of these pictures, ten a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    patch.setitem(DETECTORS._table, "mine", (f"{__name__}:{kind.__name__}", "nothing"))
    config = ExtractionConfig(keypoints=KeypointConfig(detector="mine"))
    return extract_demonstration([path], config, 0, lambda done, total: None)[0]


def remark_on(path: Path, pictures: list[np.ndarray], kind: type[Seeing], patch: pytest.MonkeyPatch) -> str | None:
    """The note of that, where the person is seen in all pictures."""
    demo = extracted(path, pictures, kind, patch)
    assert demo.seen.all()
    note = demo.provenance["note"]
    assert note is None or isinstance(note, str)
    return note


def test_a_video_of_two_shots_says_where_the_second_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [place(0)] * 5 + [place(1)] * 5
    note = remark_on(tmp_path / "cut.mp4", pictures, Seeing, monkeypatch)
    assert note == (
        "the picture becomes another one at 0.5 s, as at a cut: extract each shot by itself "
        "(`ffmpeg -i cut.mp4 -ss 0.00 -to 0.50 shot.mp4` makes a file of the longest)"
    )
    note = remark_on(tmp_path / "a cut.mp4", [place(0)] * 4 + [place(1)] * 6, Seeing, monkeypatch)
    assert note is not None and "ffmpeg -i 'a cut.mp4' -ss 0.40 shot.mp4" in note  # to the end
    assert remark_on(tmp_path / "one.mp4", pictures[:5], Seeing, monkeypatch) is None


def test_each_shot_has_its_own_torso_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = [keypoint_index(f"right_{joint}") for joint in ("shoulder", "elbow", "wrist")]
    cut = extracted(tmp_path / "cut.mp4", [place(0)] * 5 + [place(1)] * 5, SeeingTwo, monkeypatch).p_world[:, arm]
    assert np.abs(cut[:5, 0]).max() < 0.01 and np.abs(cut[5:, 0]).max() < 0.01, "both shots' shoulders are the origin"
    assert np.linalg.norm(cut[:5] - cut[5:], axis=2).max() < 0.05  # [m], of what perspective makes of another place
    one = extracted(tmp_path / "one.mp4", [place(0)] * 10, SeeingTwo, monkeypatch).p_world[:, arm]
    assert np.nanmax(np.abs(one[:, 0])) > 0.1, "without a cut it is one frame for all"


def test_a_live_stream_follows_the_next_shot_as_if_it_began_there() -> None:
    frames = [RgbdFrame(i * STEP_NS, place(i // 5), None, CAMERA, None) for i in range(8)]
    live, fresh = (LiveStream(LiveStreamConfig(objects=None), SeeingTwo()) for _ in range(2))
    through = [live.step(frame) for frame in frames]
    begun = [fresh.step(frame) for frame in frames[6:]]
    for a, b in zip(through[6:], begun, strict=True):
        assert a is not None and b is not None and a.person
        assert np.array_equal(a.p_world, b.p_world, equal_nan=True)
        assert np.array_equal(a.covariance, b.covariance, equal_nan=True)


def test_sides_that_are_not_certain_are_remarked_on_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = extracted(tmp_path / "doubt.mp4", [place(0)] * 10, Doubting, monkeypatch)
    assert demo.seen.sum() == 5 and demo.provenance["problems"] == {"sides_unknown": 5}
    assert demo.provenance["note"] == (
        "left and right of a body without a head are not certain in 5 of 10 frames, which are lost: film the head, too, or in "
        "colour and with more light"
    )


def test_a_person_who_shows_their_back_is_remarked_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note = remark_on(tmp_path / "back.mp4", [place(0)] * 4, SeeingABack, monkeypatch)
    assert note is not None and note.startswith(
        "the person is seen from behind in 4 of 4 frames; if they face the camera, left"
    )


def test_a_video_of_one_picture_is_refused_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidInput, match=r"one\.mp4' has one frame; a demonstration needs two or more"):
        remark_on(tmp_path / "one.mp4", [place(0)], Seeing, monkeypatch)


def stamps_of(pictures: list[np.ndarray], calibrated: bool = False) -> list[int]:
    """In which of these pictures a new shot begins."""
    height, width = pictures[0].shape[:2]
    lens = Intrinsics(100.0, 100.0, 0.5 * width, 0.5 * height, width, height)
    cuts = ShotCuts()
    for i, picture in enumerate(pictures):
        cuts.look(RgbdFrame(i * STEP_NS, picture, None, lens, np.eye(4) if calibrated else None))
    return [stamp // STEP_NS for stamp in cuts.stamps]


def test_only_a_place_that_stays_another_one_is_a_cut() -> None:
    room, other, white = place(0), place(1), np.full((480, 640, 3), 250, np.uint8)
    assert stamps_of([room] * 3 + [other] * 3 + [room] * 2) == [3, 6]
    assert stamps_of([room] * 3 + [other] + [room] * 3) == [], "one picture of something else"
    assert stamps_of([room] * 3 + [white] + [room] * 3) == [], "a flash"
    assert stamps_of([room] * 3 + [(0.5 * room).astype(np.uint8)] * 3) == [], "the lamp goes out"
    assert stamps_of([room] * 3 + [other] * 3, calibrated=True) == []
    boxed, other_boxed = (np.pad(p[:, 140:500], ((0, 0), (140, 140), (0, 0))) for p in (room, other))
    assert stamps_of([boxed] * 3 + [other_boxed] * 3) == [3], "bars beside the picture are no part of it"
    walking = [room.copy() for _ in range(10)]
    for i, picture in enumerate(walking):
        picture[:, 60 * i : 60 * i + 120] = 20  # a fifth of the picture
    assert stamps_of(walking) == []
    for level in (20, 140, 230):
        before_lens = room.copy()
        before_lens[:, :320] = level
        assert stamps_of([room] * 3 + [before_lens] * 3 + [room] * 3) == [], "a hand before half of the lens, at once"
    lamp = np.exp(-np.linspace(0.0, 2.0, 640))[None, :, None]
    assert stamps_of([(lamp * room).astype(np.uint8)] * 3 + [room] * 3) == [], "a lamp goes on over one that lit one side"
    assert stamps_of([cv2.resize(p, (90, 160)) for p in [room] * 3 + [other] * 3]) == [3]
