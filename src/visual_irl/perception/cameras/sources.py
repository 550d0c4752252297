"""Frames from a file or folder: a recording, an ordinary video, or a folder of colour and depth pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile, VisualIrlError
from visual_irl.io.recording import open_recording
from visual_irl.perception.cameras.camera_file import CameraFile, read_camera
from visual_irl.types import Intrinsics, RgbdFrame

CAMERA_FILE = "camera.json"
"""Name of the camera in a folder of pictures. That of a video, where there is one, lies beside it: clip.camera.json."""
REALSENSE = (".bag", ".db3")
"""How librealsense's own recordings end."""
FORMATS = (
    "a rosbag2 folder, an .mcap file, a RealSense .bag or .db3, a video file, "
    "or a folder with camera.json and color*.png (and depth*.png)"
)


@dataclass(frozen=True)
class VideoConfig:
    """What a plain video does not say about its camera."""

    horizontal_fov: float = np.deg2rad(60.0)
    """Horizontal field of view [rad]; phones and webcams have 55 to 75 degrees. Of the wider side when upright."""

    def __post_init__(self) -> None:
        require_within(self, 0.1, 3.1)


class FrameSource:
    """Frames in the order of their stamps, one at a time; iterate as often as you like. A context manager.

    `count` is the number of frames, where it is known before reading; `has_depth` whether frames carry depth;
    `fixtures` the poses in the world that a recording states (its static transforms), `note` what the user should know:
    what was lost of a recording that was cut off. `refused` counts, by fields of `StreamHealth`, what the last iteration met
    and left out.
    """

    def __init__(
        self,
        path: Path,
        frames: Callable[[], Iterator[RgbdFrame]],
        count: int | None,
        has_depth: bool,
        fixtures: Mapping[str, Float[ndarray, "4 4"]],
        note: str | None = None,
        refused: Counter[str] | None = None,
    ) -> None:
        self.refused: Counter[str] = Counter() if refused is None else refused
        self.path, self.count, self.has_depth, self.fixtures, self.note = path, count, has_depth, dict(fixtures), note
        self._frames = frames
        self._open: list[Iterator[RgbdFrame]] = []

    def __iter__(self) -> Iterator[RgbdFrame]:
        frames = self._frames()
        self._open.append(frames)
        return frames

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for frames in self._open:
            if hasattr(frames, "close"):
                frames.close()  # a generator: lets go of its file
        self._open.clear()


def open_frames(path: Path, config: VideoConfig | None = None) -> FrameSource:
    """The frames of whatever lies at `path`.

    Raises:
        MissingFile: nothing is there.
        UnreadableFile: no known format, damaged, or without a single frame.
        InvalidInput: a camera.json or an option is wrong.
    """
    path = Path(path)
    if not path.exists():
        raise MissingFile(f"no recording or video at '{path}'; give {FORMATS}")
    if path.is_dir() and (path / CAMERA_FILE).is_file():
        return _open_folder(path)
    if path.suffix == ".mcap" or (path.is_dir() and ((path / "metadata.yaml").is_file() or any(path.glob("*.mcap")))):
        recording = open_recording(path, require_depth=True)
        frames = partial(iter, recording)
        return FrameSource(path, frames, recording.count, True, recording.fixtures, recording.recovered, recording.refused)
    if path.suffix in REALSENSE:
        from visual_irl.perception.cameras.realsense import play_realsense

        return FrameSource(path, lambda: iter(play_realsense(path)), None, True, {})
    if path.is_dir():
        raise UnreadableFile(f"'{path}' is a folder of no known format; give {FORMATS}")
    return _open_video(path, config or VideoConfig())


def is_video(path: Path) -> bool:
    """Whether what can be opened at `path` is an ordinary video."""
    return path.is_file() and path.suffix not in (".mcap", *REALSENSE)


def _open_video(path: Path, config: VideoConfig) -> FrameSource:
    if path.stat().st_size == 0:
        raise UnreadableFile(f"'{path}' is empty (0 bytes); copy or record it again")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UnreadableFile(f"'{path}' holds no video stream; give {FORMATS}")
            count = container.streams.video[0].frames or None
            if next(_decode(container, Counter()), None) is None:
                raise UnreadableFile(f"'{path}' holds no frame (0 decoded); copy or record it again")
    except av.error.FFmpegError as error:
        raise UnreadableFile(f"'{path}' is no video that can be read: {error.strerror}; give {FORMATS}") from error
    beside = path.with_suffix("." + CAMERA_FILE)
    camera = read_camera(beside) if beside.is_file() else None
    refused: Counter[str] = Counter()
    return FrameSource(path, lambda: _video_frames(path, config, camera, refused), count, False, {}, refused=refused)


def _decode(container: av.container.InputContainer, refused: Counter[str]) -> Iterator[av.VideoFrame]:
    """The frames that can be decoded; the others are counted, so that one broken packet does not cost the rest."""
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.error.FFmpegError:  # the container itself is broken from here on
            refused["cut_off"] += 1
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            refused["corrupt"] += 1
            continue
        for frame in frames:
            if isinstance(frame, av.VideoFrame) and not frame.is_corrupt:
                yield frame
            else:
                refused["corrupt"] += 1


def _video_frames(path: Path, config: VideoConfig, camera: CameraFile | None, refused: Counter[str]) -> Iterator[RgbdFrame]:
    refused.clear()
    number, stamp_ns = 0, 0
    with av.open(str(path)) as container:
        for frame in _decode(container, refused):
            if frame.pts is None or frame.time_base is None:
                raise UnreadableFile(f"'{path}': frame {number} has no presentation time; convert it to .mp4")
            stamp_ns = int(frame.pts * frame.time_base * 1_000_000_000)
            rgb = upright(frame.to_ndarray(format="rgb24"), frame.rotation)
            if camera is None:
                yield RgbdFrame(stamp_ns, rgb, None, _assumed_intrinsics(rgb, config.horizontal_fov), None)
            else:
                shared = stamp_ns + round(1e9 * camera.start)
                yield RgbdFrame(shared, camera.straightened(rgb, 0.0), None, camera.intrinsics, camera.T_world_camera)
            number += 1
        begin, length, rate = container.start_time, container.duration, container.streams.video[0].average_rate
        if length and rate:  # [us]; sound may go on for a little longer
            missing = ((begin or 0) + length) * 1e-6 - stamp_ns * 1e-9 - 1.0 / float(rate)  # the last picture is shown so long
            if missing > 0.1 * length * 1e-6:
                refused["cut_off"] += max(1, int(missing * float(rate)) - refused["corrupt"])


def upright(rgb: UInt8[ndarray, "H W 3"], rotation: int) -> UInt8[ndarray, "H2 W2 3"]:
    """The picture as players show it: turned counter-clockwise by its display `rotation` [deg], a multiple of 90."""
    if rotation % 90:
        raise UnreadableFile(f"the video is to be shown turned by {rotation} degrees; only multiples of 90 are handled")
    return np.ascontiguousarray(np.rot90(rgb, rotation // 90))


def _assumed_intrinsics(rgb: UInt8[ndarray, "H W 3"], fov: float) -> Intrinsics:
    height, width = rgb.shape[:2]
    focal = Intrinsics.from_fov(max(height, width), min(height, width), fov).fx
    return Intrinsics(focal, focal, 0.5 * width - 0.5, 0.5 * height - 0.5, width, height)


def _open_folder(path: Path) -> FrameSource:
    camera = read_camera(path / CAMERA_FILE)
    colours, depths = sorted(path.glob("color*.png")), sorted(path.glob("depth*.png"))
    if not colours:
        raise UnreadableFile(
            f"'{path}' has a camera.json but no color*.png; name its pictures color_000.png, color_001.png, ..."
        )
    if depths and [d.name.removeprefix("depth") for d in depths] != [c.name.removeprefix("color") for c in colours]:
        raise InvalidInput(
            f"'{path}' has {len(colours)} colour and {len(depths)} depth pictures that do not pair by name: "
            "depth_000.png belongs to color_000.png"
        )
    if depths and not camera.depth_unit > 0:
        raise InvalidInput(f"'{path / 'camera.json'}' needs depth_unit_m > 0, the metres of one step of depth*.png")
    if len(colours) > 1 and not camera.fps > 0:
        raise InvalidInput(f"'{path / 'camera.json'}' needs fps > 0 for its {len(colours)} pictures")

    refused: Counter[str] = Counter()

    def frame(i: int) -> RgbdFrame:
        rgb = _read_picture(colours[i], cv2.IMREAD_COLOR_RGB)
        depth = metres(_read_picture(depths[i], cv2.IMREAD_UNCHANGED), camera.depth_unit) if depths else None
        rgb = camera.straightened(rgb, 0.0)
        depth = None if depth is None else camera.straightened(depth, np.nan)
        stamp_ns = round(1e9 * (camera.start + (i / camera.fps if i else 0.0)))
        return RgbdFrame(stamp_ns, rgb, depth, camera.intrinsics, camera.T_world_camera)

    def frames() -> Iterator[RgbdFrame]:
        refused.clear()
        failure: VisualIrlError | None = None
        for i in range(len(colours)):
            try:
                picture = frame(i)
            except (InvalidInput, UnreadableFile) as error:
                refused["corrupt" if isinstance(error, UnreadableFile) else "wrong_size"] += 1
                failure = error
                continue
            yield picture
        if failure is not None and refused.total() == len(colours):
            raise failure

    return FrameSource(path, frames, len(colours), bool(depths), {}, refused=refused)


def metres(steps: ndarray, unit: float) -> Float32[ndarray, "H W"]:
    """Depth [m] of integer steps of `unit` [m]; 0 is the sensors' sign for "not known" and becomes NaN."""
    depth = steps.astype(np.float32) * np.float32(unit)
    depth[steps == 0] = np.nan
    return depth


def _read_picture(path: Path, flags: int) -> ndarray:
    picture = cv2.imread(str(path), flags)
    if picture is None:
        raise UnreadableFile(f"'{path}' is no picture that can be read; copy or record it again")
    return picture
