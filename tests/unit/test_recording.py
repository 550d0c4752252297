"""RGB-D recordings: written and read back, opened by an independent reader, cut off, broken, and made elsewhere."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2 import Reader as RosbagReader
from rosbags.typesys import Stores, get_typestore

import visual_irl
from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile, UnwritableOutput
from visual_irl.io import messages
from visual_irl.io.lens import Straightener
from visual_irl.io.recording import open_recording
from visual_irl.io.recording_writer import RecordingWriter
from visual_irl.types import Intrinsics, RgbdFrame

CAMERA = Intrinsics(150.0, 151.0, 79.5, 59.5, 160, 120)
T_WORLD_CAMERA = se3.look_at(np.array([1.05, -0.25, 0.6]), np.array([0.1, 0.0, 0.1]))
FIXTURES = {"bin_a": se3.transform(se3.exp_so3(np.array([0.1, -0.2, 2.9])), np.array([0.1, 0.2, 0.0]))}
FPS_NS = 33_333_333
START = 1_700_000_000_123_456_789


def frame(i: int, rng: np.random.Generator, depth: bool = True, camera: Intrinsics = CAMERA) -> RgbdFrame:
    """A smooth colour picture with a moving square, and noisy depth with a hole."""
    h, w = camera.height, camera.width
    v, u = np.mgrid[:h, :w]
    rgb = np.stack([u % 256, v % 256, (u + v) // 2 % 256], -1).astype(np.uint8)
    rgb[20:40, (5 * i) % (w - 20) :][:, :20] = (200, 40, 30)
    z = (0.8 + 0.001 * v + rng.normal(0, 0.002, (h, w))).astype(np.float32)
    z[5:15, 5:25] = np.nan
    return RgbdFrame(START + i * FPS_NS, rgb, z if depth else None, camera, T_WORLD_CAMERA)


def record(folder: Path, n: int, encoding: str = "compressed", depth: bool = True) -> list[RgbdFrame]:
    rng = np.random.default_rng(0)
    frames = [frame(i, rng, depth) for i in range(n)]
    with RecordingWriter(folder, FIXTURES, encoding) as writer:
        for f in frames:
            writer.write(f)
    return frames


@pytest.mark.parametrize("encoding", ["compressed", "raw"])
def test_round_trip(tmp_path: Path, encoding: str) -> None:
    frames = record(tmp_path / "demo", 7, encoding)
    recording = open_recording(tmp_path / "demo", require_depth=True)
    assert recording.recovered is None and recording.has_depth and recording.count == len(recording) == 7
    assert recording.intrinsics == CAMERA and abs(recording.period_ns - FPS_NS) < 10
    np.testing.assert_allclose(recording.T_world_camera, T_WORLD_CAMERA, atol=1e-12)  # through a unit quaternion
    assert list(recording.fixtures) == ["bin_a"]
    np.testing.assert_allclose(recording.fixtures["bin_a"], FIXTURES["bin_a"], atol=1e-12)
    for _ in range(2):  # it can be read more than once
        read = list(recording)
        assert [f.stamp_ns for f in read] == [f.stamp_ns for f in frames] and recording.unpaired == 0
    for a, b in zip(frames, read, strict=True):
        assert a.depth is not None and b.depth is not None
        np.testing.assert_array_equal(np.isnan(a.depth), np.isnan(b.depth))
        np.testing.assert_allclose(a.depth, b.depth, atol=0.50001e-3)  # whole millimetres
        error = np.abs(a.rgb.astype(int) - b.rgb)
        assert error.max() == 0 if encoding == "raw" else error.mean() < 2.0  # JPEG of quality 92


def test_video_without_depth(tmp_path: Path) -> None:
    record(tmp_path / "demo", 3, depth=False)
    recording = open_recording(tmp_path / "demo")
    assert not recording.has_depth and [f.depth for f in recording] == [None] * 3
    with pytest.raises(InvalidInput, match=r"(?s)color/image_raw/compressed.*align_depth.enable:=true"):
        open_recording(tmp_path / "demo", require_depth=True)


@pytest.mark.parametrize("encoding", ["compressed", "raw"])
def test_another_reader_opens_it(tmp_path: Path, encoding: str) -> None:
    """rosbags' reader is independent of the `mcap` package with which we write."""
    frames = record(tmp_path / "demo", 4, encoding)
    store = get_typestore(Stores.ROS2_HUMBLE)
    with RosbagReader(tmp_path / "demo") as reader:
        assert reader.message_count == 1 + 3 * 4
        assert reader.start_time == START
        static = [c for c in reader.connections if c.topic == "/tf_static"]
        assert static[0].ext.offered_qos_profiles[0].durability.name == "TRANSIENT_LOCAL"  # or players drop it
        for connection in reader.connections:
            assert "MSG: std_msgs/Header" in connection.msgdef.data and connection.digest.startswith("RIHS01_")
        stamps = []
        for connection, stamp, data in reader.messages():
            message = store.deserialize_cdr(data, connection.msgtype)
            if connection.topic.endswith(("/color/image_raw", "/color/image_raw/compressed")):
                assert messages.stamp_ns(message.header) == stamp
                stamps.append(stamp)
    assert stamps == [f.stamp_ns for f in frames]


def test_existing_recording_is_never_touched(tmp_path: Path) -> None:
    record(tmp_path / "demo", 3)
    before = {p.name: p.read_bytes() for p in (tmp_path / "demo").iterdir()}
    with pytest.raises(UnwritableOutput, match="exists already"), RecordingWriter(tmp_path / "demo") as writer:
        writer.write(frame(0, np.random.default_rng(0)))
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "demo").iterdir()}


def test_failed_write_leaves_nothing_or_a_recoverable_recording(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RuntimeError), RecordingWriter(tmp_path / "early") as writer:
        raise RuntimeError("no camera")
    assert not (tmp_path / "early").exists()
    with pytest.raises(InvalidInput, match="no frame"), RecordingWriter(tmp_path / "empty") as writer:
        pass
    assert not (tmp_path / "empty").exists()
    with pytest.raises(RuntimeError), RecordingWriter(tmp_path / "late", FIXTURES) as writer:
        for i in range(5):
            writer.write(frame(i, rng))
        raise RuntimeError("cable pulled")
    recording = open_recording(tmp_path / "late")
    assert recording.recovered and "not closed properly" in recording.recovered
    assert len(list(recording)) == 5 and "bin_a" in recording.fixtures


@pytest.mark.parametrize(("room", "end"), [(8_000, False), (1_000_000, False), (8_000, True), (1_000_000, True)])
def test_a_full_disk_leaves_nothing_or_what_is_whole(tmp_path: Path, room: int, end: bool) -> None:
    """Full while frames come (of raw ones a chunk closes at every tenth, and each second), or, with a few, only at the end."""
    rng, out, usual = np.random.default_rng(0), tmp_path / "demo", resource.getrlimit(resource.RLIMIT_FSIZE)
    count = (52 if room > 10_000 else 10) if end else 200
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))  # a larger file cannot be written
    try:
        with pytest.raises(UnwritableOutput) as told, RecordingWriter(out, FIXTURES, "raw") as writer:
            for i in range(count):
                writer.write(frame(i, rng))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert re.search(rf"after {writer.count} frames: .*free some space", str(told.value)) and (writer.count == count) == end
    if room < 10_000:
        assert "nothing was kept" in str(told.value) and not out.exists()
        return
    recording = open_recording(out, require_depth=True)
    assert recording.recovered and "bytes are lost" not in recording.recovered, "what was half written is gone"
    frames = list(recording)
    assert f"the first {len(frames)} frames are kept" in str(told.value) and count > len(frames) > 20
    assert [f.stamp_ns for f in frames] == [START + i * FPS_NS for i in range(len(frames))]


def test_killed_process_leaves_a_recoverable_recording(tmp_path: Path) -> None:
    """A process that dies without any clean-up, as in a power cut of the program, loses at most two chunks."""
    script = tmp_path / "record.py"
    script.write_text(
        "import os, sys, numpy as np\n"
        "from pathlib import Path\n"
        "from visual_irl.io.recording_writer import RecordingWriter\n"
        "from visual_irl.types import Intrinsics, RgbdFrame\n"
        "rng, camera = np.random.default_rng(0), Intrinsics(150.0, 150.0, 79.5, 59.5, 160, 120)\n"
        "with RecordingWriter(Path(sys.argv[1]), encoding='raw') as writer:\n"
        "    for i in range(60):\n"
        "        rgb = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)\n"
        "        writer.write(RgbdFrame(1000 + i * 33_000_000, rgb, None, camera, None))\n"
        "    os._exit(9)\n"
    )
    source = Path(visual_irl.__file__).parent.parent
    died = subprocess.run([sys.executable, script, tmp_path / "demo"], env={**os.environ, "PYTHONPATH": str(source)})
    assert died.returncode == 9
    recording = open_recording(tmp_path / "demo")
    assert recording.recovered
    assert len(list(recording)) >= 60 - 2 * 19  # 19 of these pictures fill a chunk


def test_writer_refuses_time_that_runs_back_and_a_moved_camera(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    first, second = frame(1, rng), frame(0, rng)
    with pytest.raises(InvalidInput, match="not after"), RecordingWriter(tmp_path / "a") as writer:
        writer.write(first)
        writer.write(second)
    moved = RgbdFrame(START + 9 * FPS_NS, first.rgb, first.depth, CAMERA, np.eye(4))
    with pytest.raises(InvalidInput, match="camera pose"), RecordingWriter(tmp_path / "b") as writer:
        writer.write(first)
        writer.write(moved)
    with pytest.raises(InvalidInput, match="compressed, raw"):
        RecordingWriter(tmp_path / "c", encoding="h264")


def test_truncated_anywhere_is_recovered_or_refused(tmp_path: Path) -> None:
    record(tmp_path / "demo", 60, "raw")  # several chunks
    whole = (tmp_path / "demo" / "demo_0.mcap").read_bytes()
    cut = tmp_path / "cut.mcap"
    counts = []
    for share in (0.25, 0.5, 0.75, 0.97, 1.0 - 10 / len(whole)):
        cut.write_bytes(whole[: int(share * len(whole))])
        recording = open_recording(cut)
        assert recording.recovered is not None and "bytes are lost" in recording.recovered
        read = list(recording)
        assert 0 < len(read) <= recording.count and recording.fixtures and recording.T_world_camera is not None
        assert [f.stamp_ns for f in read] == [START + i * FPS_NS for i in range(len(read))]
        counts.append(len(read))
    assert counts == sorted(counts) and counts[-1] == 60  # only the footer was cut
    assert counts[0] >= 0.25 * 60 - 25  # at most one chunk is lost: 1 MiB holds some 11 of these frames
    (tmp_path / "zeros.mcap").write_bytes(whole[: len(whole) // 2] + bytes(5000))  # a file system after a power cut
    assert open_recording(tmp_path / "zeros.mcap").recovered
    for size in (0, 5, 8, 200, 5000):
        cut.write_bytes(whole[:size])
        with pytest.raises(UnreadableFile):
            open_recording(cut)


def test_garbage_and_damage(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="visual-irl record"):
        open_recording(tmp_path / "nothing")
    (tmp_path / "text.mcap").write_text("not a recording " * 100)
    with pytest.raises(UnreadableFile, match="not an MCAP"):
        open_recording(tmp_path / "text.mcap")
    rng = np.random.default_rng(1)
    (tmp_path / "noise.mcap").write_bytes(b"\x89MCAP0\r\n" + rng.bytes(20_000))
    with pytest.raises(UnreadableFile):
        open_recording(tmp_path / "noise.mcap")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnreadableFile, match=r"no \.mcap file"):
        open_recording(tmp_path / "folder")
    record(tmp_path / "demo", 60, "raw")
    file = tmp_path / "demo" / "demo_0.mcap"
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 64] = rng.bytes(64)
    file.write_bytes(data)
    with pytest.raises(UnreadableFile, match="damaged near byte"):
        list(open_recording(tmp_path / "demo"))


def test_memory_stays_bounded_while_streaming(tmp_path: Path) -> None:
    """The peak must not grow with the recording: the long one holds 20 times as many pictures."""
    peaks = []
    for n in (20, 400):
        record(tmp_path / str(n), n, "raw")
        tracemalloc.start()
        assert sum(1 for _ in open_recording(tmp_path / str(n))) == n
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2e6  # an index entry per chunk; the pictures themselves are 38 MB


Bag = Callable[..., Path]
Store = get_typestore(Stores.ROS2_JAZZY)


@pytest.fixture
def bag(tmp_path: Path) -> Bag:
    """A maker of bags as other tools write them: rosbags' writer, topics and encodings as given."""

    def make(entries: list[tuple[str, str, int, bytes]], name: str = "foreign") -> Path:
        writer = Writer(tmp_path / name, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        with writer:
            connections = {}
            for topic, kind, stamp, data in entries:
                if topic not in connections:
                    connections[topic] = writer.add_connection(topic, kind, typestore=Store)
                writer.write(connections[topic], stamp, data)
        return tmp_path / name

    return make


def image(encoding: str, pixels: np.ndarray, stamp: int, padding: int = 0, frame_id: str = "optical") -> bytes:
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(pixels.shape[0], -1)
    rows = np.pad(rows, ((0, 0), (0, padding)))
    message = Store.types[messages.IMAGE](
        header=messages._header(stamp, frame_id), height=pixels.shape[0], width=pixels.shape[1], encoding=encoding,
        is_bigendian=0, step=rows.shape[1], data=rows.ravel(),
    )  # fmt: skip
    return bytes(Store.serialize_cdr(message, messages.IMAGE))


def info(stamp: int) -> bytes:
    return messages.encode_camera_info(stamp, "optical", CAMERA)


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8"])
def test_foreign_colour_encodings_and_namespaces(bag: Bag, encoding: str) -> None:
    rgb = frame(3, np.random.default_rng(0)).rgb
    pixels = {
        "rgb8": rgb, "bgr8": rgb[..., ::-1], "mono8": rgb[..., :1],
        "rgba8": np.dstack([rgb, rgb[..., 0]]), "bgra8": np.dstack([rgb[..., ::-1], rgb[..., 0]]),
    }[encoding]  # fmt: skip
    entries = []
    for i in range(3):
        stamp = START + i * FPS_NS
        entries += [
            ("/cam1/camera/color/camera_info", messages.CAMERA_INFO, stamp, info(stamp)),
            ("/cam1/camera/color/image_raw", messages.IMAGE, stamp, image(encoding, pixels, stamp, padding=6)),
            ("/cam1/camera/infra1/image_rect_raw", messages.IMAGE, stamp, image("mono8", rgb[..., :1], stamp)),
        ]
    recording = open_recording(bag(entries))
    assert recording.count == 3 and recording.T_world_camera is None and not recording.fixtures
    expected = np.repeat(rgb[..., :1], 3, axis=2) if encoding == "mono8" else rgb
    for f in recording:
        np.testing.assert_array_equal(f.rgb, expected)


@pytest.mark.parametrize("form", ["16UC1", "32FC1", "inverse"])
def test_foreign_depth_with_other_clock_phase_and_a_static_chain(bag: Bag, form: str) -> None:
    rng = np.random.default_rng(2)
    f = frame(0, rng)
    assert f.depth is not None
    millimetres = np.nan_to_num(f.depth * 1000).round().astype(np.uint16)
    entries = []
    T_link_optical = se3.transform(se3.exp_so3(np.array([-1.2, 1.2, -1.2])), np.array([0.0, 0.015, 0.0]))
    T_world_link = T_WORLD_CAMERA @ se3.inverse(T_link_optical)
    for parent, child in (("camera_link", {"optical": T_link_optical}), ("world", {"camera_link": T_world_link})):
        entries.append(("/tf_static", messages.TRANSFORMS, START, messages.encode_transforms(START, parent, child)))
    entries.append(
        ("/tf_static", messages.TRANSFORMS, START, messages.encode_transforms(START, "world", FIXTURES))
    )  # fmt: skip
    for i in range(6):
        stamp = START + i * FPS_NS
        entries += [
            ("/camera/color/camera_info", messages.CAMERA_INFO, stamp, info(stamp)),
            ("/camera/color/image_raw", messages.IMAGE, stamp, image("rgb8", f.rgb, stamp)),
        ]
        if i == 2:
            continue  # a lost depth picture
        late = stamp + FPS_NS // 3
        topic, kind = "/camera/aligned_depth_to_color/image_raw", messages.IMAGE
        if form == "16UC1":
            data = image("16UC1", millimetres, late)
        elif form == "32FC1":
            data = image("32FC1", f.depth, late)
        else:
            topic, kind, data = topic + "/compressedDepth", messages.COMPRESSED_IMAGE, inverse_depth(f.depth, late)
        entries.append((topic, kind, late, data))
    recording = open_recording(bag(entries), require_depth=True)
    np.testing.assert_allclose(recording.T_world_camera, T_WORLD_CAMERA, atol=1e-9)
    assert list(recording.fixtures) == ["bin_a"]
    read = list(recording)
    assert [g.stamp_ns for g in read] == [START + i * FPS_NS for i in (0, 1, 3, 4, 5)]
    assert recording.unpaired == 1
    tolerance = {"16UC1": 0.501e-3, "32FC1": 1e-7, "inverse": 2e-4}[form]  # last: quantised inverse depth
    np.testing.assert_allclose(read[0].depth, f.depth, atol=tolerance)


def inverse_depth(depth: np.ndarray, stamp: int) -> bytes:
    """32FC1 as compressed_depth_image_transport quantises it: pixel = A / depth + B."""
    import io

    from PIL import Image

    a, b = 100.0 * (100.0 + 1.0), 1.0 - 100.0 * (100.0 + 1.0) / 10.0  # depth_quantization 100, depth_max 10 m
    pixels = np.nan_to_num(a / depth + b).astype(np.uint16)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = messages.DEPTH_HEADER.pack(0, a, b) + buffer.getvalue()
    return messages._compressed(stamp, "optical", "32FC1; compressedDepth png", data)


def test_several_cameras_need_a_choice(bag: Bag) -> None:
    rgb = frame(0, np.random.default_rng(0)).rgb
    entries = []
    for name, value in (("/left/camera", 10), ("/right/camera", 20)):
        entries.append((f"{name}/color/camera_info", messages.CAMERA_INFO, START, info(START)))
        picture = image("rgb8", np.full_like(rgb, value), START)
        entries.append((f"{name}/color/image_raw", messages.IMAGE, START, picture))
    path = bag(entries)
    with pytest.raises(InvalidInput, match=r"several cameras.*/left/camera, /right/camera"):
        open_recording(path)
    with pytest.raises(InvalidInput, match="no camera 'middle'"):
        open_recording(path, camera="middle")
    assert next(iter(open_recording(path, camera="right/camera"))).rgb[0, 0, 0] == 20


def test_depth_of_another_clock_is_refused(bag: Bag) -> None:
    f = frame(0, np.random.default_rng(0))
    entries = []
    for i in range(4):
        stamp = START + i * FPS_NS
        entries += [
            ("/camera/color/camera_info", messages.CAMERA_INFO, stamp, info(stamp)),
            ("/camera/color/image_raw", messages.IMAGE, stamp, image("rgb8", f.rgb, stamp)),
            ("/camera/aligned_depth_to_color/image_raw", messages.IMAGE, stamp,
             image("32FC1", f.depth, stamp - 10**12)),
        ]  # fmt: skip
    with pytest.raises(InvalidInput, match="one clock"):
        list(open_recording(bag(entries)))


def test_recording_without_pictures_names_its_topics(bag: Bag) -> None:
    with pytest.raises(InvalidInput, match=r"no colour pictures.*/camera/color/camera_info"):
        open_recording(bag([("/camera/color/camera_info", messages.CAMERA_INFO, START, info(START))]))


def test_distorted_pictures_are_undistorted() -> None:
    """A point that the distorted camera sees at one pixel appears where the pinhole model projects it."""
    kind = Store.types[messages.CAMERA_INFO]
    plain = messages.decode(messages.CAMERA_INFO, info(START))
    k1, k2, p1, p2 = 0.12, -0.05, 0.003, -0.002
    fields = {n: getattr(plain, n) for n in kind.__dataclass_fields__ if n not in ("d", "__msgtype__")}
    data = Store.serialize_cdr(kind(**fields, d=np.array([k1, k2, p1, p2, 0.0])), messages.CAMERA_INFO)
    intrinsics, distortion = messages.decode_camera_info(bytes(data))
    assert distortion is not None
    shape = intrinsics.height, intrinsics.width
    numbered = np.arange(np.prod(shape)).reshape(shape)
    source = Straightener(intrinsics, distortion)(numbered, -1.0)
    p = np.array([0.3, -0.2, 1.0])
    u, v = intrinsics.project(p)
    x, y = p[:2]
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2 * r2
    seen = np.array(
        [x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y, 1]
    )
    row, column = divmod(int(source[round(v), round(u)]), CAMERA.width)
    expected = intrinsics.project(seen)
    assert np.abs(np.array([column, row]) - expected).max() <= 1.1  # rounding of both pixels
    assert np.linalg.norm(expected - [u, v]) > 0.5  # the distortion is not nothing
