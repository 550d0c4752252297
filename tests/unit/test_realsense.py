"""The RealSense driver on librealsense's software device: alignment, time, gaps, unplugging, and its own recordings."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_irl.errors import InvalidInput, MissingDependency, MissingFile, UnreadableFile
from visual_irl.io.lens import Straightener
from visual_irl.perception.cameras import realsense
from visual_irl.perception.cameras.realsense import RealSense, RealSenseConfig, play_realsense, realsense_library
from visual_irl.perception.cameras.sources import open_frames

try:
    rs = realsense_library()
except MissingDependency as missing:
    pytest.skip(str(missing), allow_module_level=True)

W, H, F = 64, 48, 60.0
BASELINE = 0.015
"""The colour camera's place beside the depth camera's [m]."""
NO_LENS, BARREL = (0.0,) * 5, (-0.3, 0.0, 0.0, 0.0, 0.0)
MARKED, MARK = (40, 56), 90
"""A pixel of the colour picture, and its green."""


class Device:
    """librealsense's software device with a depth and a colour sensor."""

    def __init__(self, domain: Any = None, lens: tuple[float, ...] = NO_LENS, model: str = "brown_conrady") -> None:
        self._coefficients, self._model = lens, model
        self.device = rs.software_device()
        self.sensors = [self.device.add_sensor(name) for name in ("Stereo Module", "RGB Camera")]
        streams = ((rs.stream.depth, 1, rs.format.z16, 2), (rs.stream.color, 2, rs.format.rgb8, 3))
        self.profiles = [s.add_video_stream(self._stream(*row)) for s, row in zip(self.sensors, streams, strict=True)]
        self.sensors[0].add_read_only_option(rs.option.depth_units, 0.001)
        self.device.create_matcher(rs.matchers.default)
        beside = rs.extrinsics()
        beside.rotation, beside.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [-BASELINE, 0, 0]
        self.profiles[0].register_extrinsics_to(self.profiles[1], beside)
        self.domain = domain or rs.timestamp_domain.hardware_clock
        self._kept: list[np.ndarray] = []  # librealsense does not copy what is handed in

    def _stream(self, kind: Any, uid: int, form: Any, size: int) -> Any:
        k = rs.intrinsics()
        k.width, k.height, k.fx, k.fy, k.ppx, k.ppy = W, H, F, F, 0.5 * W, 0.5 * H
        k.model, k.coeffs = rs.distortion.none, [0.0] * 5
        if kind == rs.stream.color and any(self._coefficients):
            k.model, k.coeffs = getattr(rs.distortion, self._model), list(self._coefficients)
        stream = rs.video_stream()
        stream.type, stream.index, stream.uid, stream.fmt, stream.bpp = kind, 0, uid, form, size
        stream.width, stream.height, stream.fps, stream.intrinsics = W, H, 30, k
        return stream

    def push(self, number: int, depth: np.ndarray, colour: np.ndarray) -> None:
        """One picture of each sensor, at 30 Hz of device time."""
        for sensor, profile, pixels, size in zip(self.sensors, self.profiles, (depth, colour), (2, 3), strict=True):
            self._kept.append(pixels)
            frame = rs.software_video_frame()
            frame.pixels, frame.stride, frame.bpp, frame.frame_number = pixels, W * size, size, number
            frame.timestamp, frame.domain, frame.profile = number * 100.0 / 3.0, self.domain, profile.as_video_stream_profile()
            frame.depth_units = 0.001
            sensor.on_video_frame(frame)


def pictures(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A wall at 1 m with a nearer square, and colour that counts and is marked once."""
    depth = np.full((H, W), 1000, np.uint16)
    depth[20:28, 30:38] = 500
    depth[:4] = 0
    colour = np.zeros((H, W, 3), np.uint8)
    colour[..., 0], colour[..., 2] = number, 200
    colour[MARKED][1] = MARK
    return depth, colour


class Plugged:
    """A session on the software device that sends so many pictures, and then falls silent as when the cable is pulled."""

    def __init__(
        self,
        count: int,
        domain: Any = None,
        last: bool = False,
        lens: tuple[float, ...] = NO_LENS,
        model: str = "brown_conrady",
    ) -> None:
        self._device, self._left, self._number, self._last = Device(domain, lens, model), count, 0, last
        self._syncer = rs.syncer()
        for sensor, profile in zip(self._device.sensors, self._device.profiles, strict=True):
            sensor.open(profile)
            sensor.start(self._syncer)
        self.closed = False

    def wait(self, seconds: float) -> Any | None:
        if self._left == 0:
            return None
        self._left -= 1
        self._device.push(self._number, *pictures(self._number))
        self._number += 1
        return self._syncer.wait_for_frames(2000)

    def ended(self) -> bool:
        return self._last and self._left == 0

    def close(self) -> None:
        for sensor in self._device.sensors:
            sensor.stop()
            sensor.close()
        self.closed = True


def test_depth_lies_where_the_colour_camera_sees_it() -> None:
    frames = list(RealSense(connect=lambda _: Plugged(6, last=True)))
    assert len(frames) >= 5
    frame = frames[-1]
    assert frame.depth is not None and frame.depth.shape == frame.rgb.shape[:2] == (H, W)
    assert frame.intrinsics.fx == pytest.approx(F) and frame.intrinsics.cx == 0.5 * W
    near = np.argwhere(np.isclose(frame.depth, 0.5))
    # 15 mm to the left in the colour camera's frame: f b / z = 1.8 px at half a metre
    assert near[:, 1].mean() == pytest.approx(33.5 - F * BASELINE / 0.5, abs=0.6)
    assert near[:, 0].mean() == pytest.approx(23.5, abs=0.6)
    assert np.isnan(frame.depth[:3]).all() and np.isclose(np.nanmax(frame.depth), 1.0)
    assert (frame.rgb[..., 2] == 200).all() and np.argwhere(frame.rgb[..., 1]).tolist() == [list(MARKED)]
    reds = [int(f.rgb[0, 0, 0]) for f in frames]
    assert reds == sorted(set(reds)), "every picture is a copy of its own"


@pytest.mark.parametrize("model", ["brown_conrady", "inverse_brown_conrady"])
def test_colour_of_a_distorted_lens_is_straightened_to_where_depth_is(model: str) -> None:
    """Depth is aligned by the pinhole model whatever the lens; a point of colour moves to where that has it."""
    straight, distorted = (
        list(RealSense(connect=lambda _, lens=lens: Plugged(6, last=True, lens=lens, model=model)))[-1]
        for lens in (NO_LENS, BARREL)
    )
    assert np.array_equal(straight.depth, distorted.depth, equal_nan=True)
    assert np.argwhere(straight.rgb[..., 1] == MARK).tolist() == [list(MARKED)]
    middle = np.array([0.5 * H, 0.5 * W])
    ray = (np.argwhere(distorted.rgb[..., 1] == MARK).mean(axis=0) - middle) / F
    assert middle + F * ray * (1 + BARREL[0] * (ray @ ray)) == pytest.approx(MARKED, abs=0.75)
    assert np.abs(middle + F * ray - MARKED).max() > 1.0  # the lens moves it


@pytest.mark.parametrize("model", ["brown_conrady", "inverse_brown_conrady"])
def test_a_lens_is_what_librealsense_deprojects_by(model: str) -> None:
    """A D455's own coefficients, librealsense issue 9551; pixels and depths of the working area and of the corners."""
    k = rs.intrinsics()
    k.width, k.height, k.fx, k.fy, k.ppx, k.ppy = 640, 480, 384.0, 384.0, 320.0, 240.0
    k.model, k.coeffs = getattr(rs.distortion, model), [-0.056536, 0.068202, 0.000366, 0.000693, -0.021843]
    camera, distortion = realsense._lens(k, rs)
    straighten = Straightener(camera, np.array(distortion))
    rows, columns = (straighten(numbers, -1.0) for numbers in np.mgrid[:480, :640])
    off = []
    for v, u in ((240, 320), (180, 210), (300, 470), (40, 600), (12, 12)):  # of the straight picture
        seen = [float(columns[v, u]), float(rows[v, u])]
        p = np.array(rs.rs2_deproject_pixel_to_point(k, seen, 1.0))
        assert np.abs(camera.project(p) - [u, v]).max() < 0.55  # the nearest pixel is taken
        off.append(1e3 * np.linalg.norm(p - camera.back_project(np.array(seen), np.array(1.0))))
    assert off[0] < 0.1 and off[1] > 1.0 and max(off) > 9.0  # mm at 1 m, left in the picture


def test_a_lens_of_an_unknown_model_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"model .*modified_brown_conrady, which is not supported"):
        list(RealSense(connect=lambda _: Plugged(2, last=True, lens=BARREL, model="modified_brown_conrady")))


def test_device_time_paces_the_stamps() -> None:
    stamps = np.array([f.stamp_ns for f in RealSense(connect=lambda _: Plugged(8, last=True))])
    assert np.allclose(np.diff(stamps), 1e9 / 30.0, atol=2.0)  # milliseconds as floats, rounded to ns
    system = [f.stamp_ns for f in RealSense(connect=lambda _: Plugged(4, rs.timestamp_domain.system_time, last=True))]
    assert system[-1] == 100_000_000  # the host's own time is taken as it is


def test_an_unplugged_camera_is_opened_again_and_time_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realsense, "RETRY", 0.01)
    sessions: list[Plugged] = []
    away = [False, True, True, False]

    def connect(_: RealSenseConfig) -> Plugged:
        if away.pop(0):
            raise MissingDependency("no device")
        sessions.append(Plugged(4, last=not away))
        return sessions[-1]

    camera = RealSense(connect=connect)
    stamps = [f.stamp_ns for f in camera]
    assert camera.reconnects == 1 and len(sessions) == 2 and all(s.closed for s in sessions)
    assert len(stamps) >= 6 and (np.diff(stamps) > 0).all()  # the device's own clock began anew


def test_a_camera_that_stays_away_is_an_error_after_the_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realsense, "RETRY", 0.01)
    monkeypatch.setattr(realsense, "SILENCE", 0.02)
    first = [Plugged(3)]

    def connect(_: RealSenseConfig) -> Plugged:
        if not first:
            raise MissingDependency("no device")
        return first.pop()

    frames = iter(RealSense(RealSenseConfig(patience=0.1), connect=connect))
    with pytest.raises(UnreadableFile, match="silent for"):
        for _ in range(10):
            next(frames)


def test_no_camera_and_bad_settings_say_so() -> None:
    with pytest.raises(MissingDependency, match="plug it into"):
        next(iter(RealSense()))
    with pytest.raises(InvalidInput, match="0x480"):
        RealSenseConfig(width=0)


def test_without_the_package_the_message_is_the_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    with pytest.raises(MissingDependency, match=r'pip install "visual-irl\[realsense\]"'):
        RealSense()


def test_its_own_recordings_are_played_to_their_end(tmp_path: Path) -> None:
    device, path = Device(), tmp_path / "clip.db3"
    recorder, syncer = rs.recorder(str(path), device.device), rs.syncer()
    for sensor in recorder.query_sensors():
        sensor.open(sensor.get_stream_profiles()[0])
        sensor.start(syncer)
    for number in range(12):
        device.push(number, *pictures(number))
        syncer.wait_for_frames(2000)
    time.sleep(0.3)  # the recorder writes behind
    for sensor in recorder.query_sensors():
        sensor.stop()
        sensor.close()
    del recorder
    with open_frames(path) as source:
        frames, again = list(source), list(source)
    assert len(frames) == len(again) >= 3  # as fast as it is read, so whole; how many of the 12 were recorded is not ours
    steps = np.diff([f.stamp_ns for f in frames]) * 30.0 / 1e9
    assert source.has_depth and np.allclose(steps, np.round(steps), atol=1e-6) and (steps > 0.5).all()
    assert frames[-1].depth is not None and np.isclose(np.nanmin(frames[-1].depth), 0.5)
    with pytest.raises(MissingFile, match="nowhere"):
        next(iter(play_realsense(tmp_path / "nowhere.bag")))
    (tmp_path / "broken.bag").write_bytes(b"not a bag")
    with pytest.raises(UnreadableFile, match=r"broken\.bag"), open_frames(tmp_path / "broken.bag") as broken:
        next(iter(broken))
