"""Videos and folders of pictures: what is read, and one clear error for what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingFile, NoPersonFound, UnreadableFile
from visual_irl.perception.cameras.sources import VideoConfig, metres, open_frames
from visual_irl.perception.extraction import ExtractionConfig, extract_demonstration
from visual_irl.perception.landmarks.detection import PersonDetection
from visual_irl.perception.landmarks.mediapipe_detector import letterbox
from visual_irl.perception.skeleton.keypoints import KeypointConfig, extract_keypoints

RATE = 10


def write_video(path: Path, frames: int, rotation: int = 0, red: int = 250, **options: str) -> Path:
    """A video of 96x64 whose left half is red."""
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream("mpeg4", rate=RATE)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        container.start_encoding()  # writes the header even when no frame follows
        for i in range(frames):
            picture = np.full((64, 96, 3), 10 * (i % 10), np.uint8)
            picture[:, :48, 0] = red
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


def write_folder(path: Path, depth: np.ndarray, **camera: object) -> Path:
    path.mkdir(exist_ok=True)
    for i in range(2):
        cv2.imwrite(str(path / f"color_{i}.png"), np.full((8, 10, 3), (0, 0, 200), np.uint8))
        cv2.imwrite(str(path / f"depth_{i}.png"), depth)
    fields = {"fx": 9, "fy": 9.5, "cx": 4.5, "cy": 3.5, "width": 10, "height": 8, "depth_unit_m": 0.001, "fps": 5}
    (path / "camera.json").write_text(json.dumps(fields | camera))
    return path


class Nobody:
    """A detector for streams whose pictures do not matter."""

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection | None:
        return None

    def close(self) -> None:
        pass


def test_frames_carry_presentation_times_and_assumed_intrinsics(tmp_path: Path) -> None:
    with open_frames(write_video(tmp_path / "a.mp4", 5), VideoConfig(horizontal_fov=np.pi / 2)) as source:
        frames = list(source)
        again = list(source)
    assert source.count == 5 and not source.has_depth and source.fixtures == {}
    assert [f.stamp_ns for f in frames] == [round(i * 1e9 / RATE) for i in range(5)]
    assert [f.stamp_ns for f in again] == [f.stamp_ns for f in frames]
    assert frames[0].intrinsics.fx == pytest.approx(48.0)  # half of 96 px at 45 degrees
    assert frames[0].depth is None
    assert frames[0].rgb[32, 10, 0] > 200 and frames[0].rgb[32, 80, 0] < 100


@pytest.mark.parametrize(("rotation", "row", "column"), [(90, -10, 32), (-90, 10, 32), (180, 32, -10)])
def test_pictures_are_shown_upright(tmp_path: Path, rotation: int, row: int, column: int) -> None:
    (first, *_) = list(open_frames(write_video(tmp_path / "a.mp4", 3, rotation)))
    assert first.rgb.shape == ((96, 64, 3) if rotation != 180 else (64, 96, 3))
    assert first.rgb[row, column, 0] > 200  # the red side, turned counter-clockwise


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"no recording or video at .*nothing.mp4"):
        open_frames(tmp_path / "nothing.mp4")


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(UnreadableFile, match="is empty"):
        open_frames(tmp_path / "empty.mp4")


def test_a_text_file_is_no_video(tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    with pytest.raises(UnreadableFile, match="no video that can be read"):
        open_frames(tmp_path / "text.mp4")


def test_a_video_without_frames_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"no frame|no video"):
        open_frames(write_video(tmp_path / "a.mp4", 0))


def test_a_cut_off_video_says_so(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", 60).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])  # without its index, which stands at the end
    with pytest.raises(UnreadableFile, match="no video that can be read"):
        list(open_frames(tmp_path / "cut.mp4"))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_cut_off_behind_its_index_is_read_as_far_as_it_goes(tmp_path: Path, suffix: str) -> None:
    options = {"movflags": "faststart"} if suffix == "mp4" else {}
    whole = write_video(tmp_path / f"whole.{suffix}", 60, **options).read_bytes()
    (tmp_path / f"cut.{suffix}").write_bytes(whole[: int(0.7 * len(whole))])
    source = open_frames(tmp_path / f"cut.{suffix}")
    read = len(list(source))
    assert 10 < read < 58
    assert source.refused["cut_off"] > 0 and source.refused["corrupt"] <= 1  # the picture at the cut may be there in part
    assert abs(read + source.refused.total() - 60) <= 1
    whole_source = open_frames(tmp_path / f"whole.{suffix}")
    assert len(list(whole_source)) == 60 and not whole_source.refused


@pytest.mark.parametrize("frames", [1, 2, 5, 9])
def test_a_short_video_is_not_taken_for_cut_off(tmp_path: Path, frames: int) -> None:
    """Its last picture is shown for a tenth of it, or longer."""
    source = open_frames(write_video(tmp_path / "short.mp4", frames))
    assert len(list(source)) == frames and not source.refused


def test_broken_pictures_of_a_video_are_counted_and_cost_nothing_else(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mkv", 40)
    sizes = [packet.size for packet in av.open(str(path)).demux(video=0) if packet.size]
    data, garbage = path.read_bytes(), np.random.default_rng(0).integers(0, 256, 400, dtype=np.uint8).tobytes()
    with av.open(str(path)) as container:
        begin = data.index(bytes(list(container.demux(video=0))[12]))  # the second picture that stands for itself
    path.write_bytes(data[:begin] + garbage[: sizes[12]] + data[begin + sizes[12] :])
    source = open_frames(path)
    stamps = [frame.stamp_ns for frame in source]
    assert source.refused["corrupt"] == 1 and len(stamps) == 39 and 1_200_000_000 not in stamps


def test_an_unknown_folder_lists_what_is_known(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"folder of no known format.*camera\.json"):
        open_frames(tmp_path)


def test_a_folder_of_pictures_has_metric_depth(tmp_path: Path) -> None:
    depth = np.full((8, 10), 1500, np.uint16)
    depth[0, 0] = 0
    source = open_frames(write_folder(tmp_path / "rgbd", depth))
    frames = list(source)
    assert source.count == 2 and source.has_depth
    assert [f.stamp_ns for f in frames] == [0, 200_000_000]
    assert frames[0].rgb[0, 0].tolist() == [200, 0, 0]
    assert frames[0].depth is not None
    assert np.isnan(frames[0].depth[0, 0]) and frames[0].depth[1, 1] == pytest.approx(1.5)


def test_a_folder_with_a_bad_camera_says_what_is_missing(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "rgbd", np.zeros((8, 10), np.uint16), fps=0)
    with pytest.raises(InvalidInput, match="fps > 0"):
        open_frames(folder)
    (folder / "camera.json").write_text("{}")
    with pytest.raises(InvalidInput, match="fx"):
        open_frames(folder)


def test_depth_zero_is_unknown() -> None:
    depth = metres(np.array([[0, 2]], np.uint16), 0.001)
    assert np.isnan(depth[0, 0]) and depth[0, 1] == pytest.approx(0.002)


def test_letterbox_keeps_the_aspect_ratio() -> None:
    square, offset = letterbox(np.full((64, 96, 3), 7, np.uint8))
    assert square.shape == (96, 96, 3) and offset.tolist() == [0.0, 16.0]
    assert (square[16:80] == 7).all() and (square[:16] == 0).all()


def test_a_video_without_a_person_is_refused_with_counts(tmp_path: Path) -> None:
    source = open_frames(write_video(tmp_path / "a.mp4", 4))
    with pytest.raises(NoPersonFound, match="0 of 4 frames, 1 are needed") as refused:
        extract_keypoints(source)
    assert "dark" not in str(refused.value)


def test_a_video_in_the_dark_is_told_to_be_filmed_in_more_light(tmp_path: Path) -> None:
    source = open_frames(write_video(tmp_path / "a.mp4", 4, red=60))
    with pytest.raises(NoPersonFound, match=r"a body in 0; 4 are dark\); film the person in more light, upright"):
        extract_keypoints(source)


def test_depth_that_is_never_known_is_refused(tmp_path: Path) -> None:
    source = open_frames(write_folder(tmp_path / "rgbd", np.zeros((8, 10), np.uint16)))
    with pytest.raises(InvalidInput, match="no pixel of 2 depth pictures is known"):
        extract_keypoints(source, KeypointConfig(), detector=Nobody())


def test_pictures_of_a_clip_that_ends_in_black_show_none_of_it(tmp_path: Path) -> None:
    """Many videos do. Four pictures of the recording that ships, and a black one."""
    with open_frames(asset_path("models/recordings/onion_sorting")) as source:
        frames = list(islice(source, 0, 16, 4))
    first = frames[0].intrinsics
    lens = {name: getattr(first, name) for name in ("fx", "fy", "cx", "cy", "width", "height")}
    for i, frame in enumerate([*frames, replace(frames[0], rgb=np.zeros_like(frames[0].rgb))]):
        assert frame.depth is not None
        cv2.imwrite(str(tmp_path / f"color_{i}.png"), frame.rgb[..., ::-1])
        cv2.imwrite(str(tmp_path / f"depth_{i}.png"), np.nan_to_num(1000.0 * frame.depth).astype(np.uint16))
    (tmp_path / "camera.json").write_text(json.dumps(lens | {"depth_unit_m": 0.001, "fps": 4}))
    demo, pages = extract_demonstration([tmp_path], ExtractionConfig(), 8, lambda done, total: None)
    assert len(demo.t) == 5 and demo.provenance["problems"]["blank"] == 1
    assert len(pages) == 4 and all(picture.mean() > 20.0 for _, picture in pages)
