"""Intel RealSense cameras through pyrealsense2: depth aligned to colour, device time, reconnection, and played recordings."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, MissingDependency, MissingFile, UnreadableFile, pip_install
from visual_irl.io.lens import Straightener
from visual_irl.types import Intrinsics, RgbdFrame

SILENCE = 2.0
"""A camera that sends nothing for so long has been unplugged [s]."""
RETRY = 0.5
"""Time between tries to open it again [s]."""
Lens = tuple[Intrinsics, tuple[float, ...]]
"""A pinhole camera, and the coefficients of its distortion in OpenCV's order (none: it is straight)."""


@dataclass(frozen=True)
class RealSenseConfig:
    """Which camera, and what it sends."""

    width: int = 640
    height: int = 480
    rate: int = 30
    """Frames a second."""
    serial: str = ""
    """Serial number; needed when several cameras are plugged in."""
    patience: float = 30.0
    """After so long without the camera [s] reading fails; until then it is opened again and again."""

    def __post_init__(self) -> None:
        if not (self.width > 0 and self.height > 0 and self.rate > 0 and self.patience >= 0.0):
            raise InvalidInput(
                f"RealSense of {self.width}x{self.height} px at {self.rate} Hz with a patience of {self.patience} s: sizes and "
                "rate must be above 0, patience at least 0"
            )


@runtime_checkable
class Session(Protocol):
    """An opened camera."""

    def wait(self, seconds: float) -> Any | None:
        """The next pyrealsense2 frame set, or None when none came in time."""
        ...

    def ended(self) -> bool:
        """Whether nothing can come any more, as at the end of a file."""
        ...

    def close(self) -> None:
        """Let go of the camera."""
        ...


class RealSense:
    """Iterate it to get frames, of which `T_world_camera` is as given (None: not calibrated).

    A camera that falls silent is closed and opened again; `reconnects` counts how often, `incomplete` frame sets without colour
    or depth. Stamps are the device's own times, moved once a connection to where the host's clock stood at its first frame when
    the device counts from its own start, so that time goes on after a reconnection.
    """

    def __init__(
        self,
        config: RealSenseConfig | None = None,
        T_world_camera: Float[ndarray, "4 4"] | None = None,
        connect: Callable[[RealSenseConfig], Session] | None = None,
    ) -> None:
        self.config, self.T_world_camera = config or RealSenseConfig(), T_world_camera
        self.reconnects = self.incomplete = 0
        self._connect = connect or LiveSession
        self._rs = realsense_library()
        self._align = self._rs.align(self._rs.stream.color)
        self._shift_ns: int | None = None
        self._last_ns = 0
        self._lens: tuple[Lens, Straightener] | None = None

    def __iter__(self) -> Iterator[RgbdFrame]:
        """Frames until a file's end.

        Raises:
            MissingDependency: no camera is there, at the first try.
            UnreadableFile: the camera stayed away for longer than the patience.
        """
        session: Session | None = self._connect(self.config)
        heard = time.monotonic()
        try:
            while True:
                if session is None:
                    session = self._again(heard)
                    continue
                frames = session.wait(SILENCE)
                if frames is not None:
                    heard = time.monotonic()
                    frame = self._frame(frames)
                    if frame is not None:
                        yield frame
                elif session.ended():
                    return
                else:
                    session.close()
                    session, self._shift_ns = None, None
        finally:
            if session is not None:
                session.close()

    def _again(self, heard: float) -> Session | None:
        """A new connection, or None when the camera is still away."""
        silent = time.monotonic() - heard
        if silent > self.config.patience + SILENCE:
            raise UnreadableFile(
                f"the RealSense camera has been silent for {silent:.0f} s, and does not open again; plug it in, "
                "or raise the patience"
            )
        try:
            session = self._connect(self.config)
        except MissingDependency:
            time.sleep(min(RETRY, self.config.patience))
            return None
        self.reconnects += 1
        return session

    def _frame(self, frames: Any) -> RgbdFrame | None:
        if not (frames.get_depth_frame() and frames.get_color_frame()):
            self.incomplete += 1
            return None
        aligned = self._align.process(frames)
        depth, colour = aligned.get_depth_frame(), aligned.get_color_frame()
        steps = np.asanyarray(depth.get_data())
        metres = steps.astype(np.float32) * np.float32(depth.get_units())
        metres[steps == 0] = np.nan
        rgb = self._rgb(colour)
        profile = colour.profile.as_video_stream_profile()
        lens = _lens(profile.get_intrinsics(), self._rs)
        intrinsics, distortion = lens
        if any(distortion):
            if self._lens is None or self._lens[0] != lens:
                self._lens = lens, Straightener(intrinsics, np.array(distortion))
            straighten = self._lens[1]
            rgb, metres = straighten.pair(rgb, metres)
        return RgbdFrame(self._stamp(colour), rgb, metres, intrinsics, self.T_world_camera)

    def _rgb(self, colour: Any) -> ndarray:
        """An own copy: librealsense uses its buffers again."""
        form, pixels = colour.profile.format(), np.asanyarray(colour.get_data())
        if form == self._rs.format.rgb8:
            return np.array(pixels)
        if form == self._rs.format.bgr8:
            return np.ascontiguousarray(pixels[..., ::-1])
        raise InvalidInput(
            f"RealSense colour comes as {form}, known are rgb8 and bgr8; record the colour stream as one of these"
        )

    def _stamp(self, colour: Any) -> int:
        """Device time [ns]."""
        device = round(colour.get_timestamp() * 1e6)
        if colour.get_frame_timestamp_domain() != self._rs.timestamp_domain.hardware_clock:
            return device  # already the host's time
        if self._shift_ns is None:
            self._shift_ns = max(time.time_ns(), self._last_ns + 1_000_000) - device
        self._last_ns = device + self._shift_ns
        return self._last_ns


class LiveSession:
    """The camera that is plugged in.

    Raises:
        MissingDependency: none is, or not the one that is asked for, or it cannot send what is asked for.
    """

    def __init__(self, config: RealSenseConfig) -> None:
        rs = realsense_library()
        wanted = rs.config()
        if config.serial:
            wanted.enable_device(config.serial)
        wanted.enable_stream(rs.stream.depth, config.width, config.height, rs.format.z16, config.rate)
        wanted.enable_stream(rs.stream.color, config.width, config.height, rs.format.rgb8, config.rate)
        self._pipeline = rs.pipeline()
        try:
            if not len(rs.context().query_devices()):  # start would wait for 15 s
                raise RuntimeError("no device is connected")
            self._pipeline.start(wanted)
        except RuntimeError as error:
            which = f"with serial {config.serial}" if config.serial else "of any serial"
            raise MissingDependency(
                f"no RealSense camera {which} sends {config.width}x{config.height} at {config.rate} Hz: {error}; plug it into "
                "a USB 3 port, and see `rs-enumerate-devices` for what it can"
            ) from error

    def wait(self, seconds: float) -> Any | None:
        """See `Session`; an error of the driver counts as silence."""
        try:
            came, frames = self._pipeline.try_wait_for_frames(round(1e3 * seconds))
        except RuntimeError:
            return None
        return frames if came else None

    def ended(self) -> bool:
        """See `Session`."""
        return False

    def close(self) -> None:
        """See `Session`."""
        with suppress(RuntimeError):  # an unplugged one has stopped
            self._pipeline.stop()


class PlayedSession(LiveSession):
    """A recording of librealsense, played as fast as it is read.

    Raises:
        MissingFile: nothing is there.
        UnreadableFile: librealsense cannot read it.
    """

    def __init__(self, path: Path) -> None:
        rs = realsense_library()
        if not path.is_file():
            raise MissingFile(f"no RealSense recording at '{path}'; RealSense Viewer writes one (.bag)")
        wanted = rs.config()
        wanted.enable_device_from_file(str(path), repeat_playback=False)
        self._pipeline = rs.pipeline()
        try:
            player = wanted.resolve(rs.pipeline_wrapper(self._pipeline)).get_device().as_playback()
            player.set_real_time(False)  # before it plays: a short clip would be over before it is read
            self._pipeline.start(wanted)
        except RuntimeError as error:
            raise UnreadableFile(f"'{path}' is no RealSense recording that can be read: {error}") from error

    def ended(self) -> bool:
        """See `Session`."""
        return True  # a file that gives nothing has no more


def play_realsense(path: Path, T_world_camera: Float[ndarray, "4 4"] | None = None) -> RealSense:
    """A recording of librealsense (.bag, .db3) as a camera: iterate it once for its frames."""
    return RealSense(RealSenseConfig(), T_world_camera, lambda _: PlayedSession(path))


def realsense_library() -> Any:
    """The module pyrealsense2.

    Raises:
        MissingDependency: it, or what it is linked against, is absent.
    """
    try:
        import pyrealsense2
    except ModuleNotFoundError as error:
        raise MissingDependency(f"RealSense cameras need the package 'pyrealsense2': {pip_install('realsense')}") from error
    except ImportError as error:
        raise MissingDependency(f"pyrealsense2 cannot be loaded ({error}): `apt-get install -y libusb-1.0-0`") from error
    return pyrealsense2


def _lens(k: Any, rs: Any) -> Lens:
    """Of librealsense's intrinsics.

    A D455's colour stream says "inverse Brown-Conrady", with coefficients that are not zero. Despite the name librealsense 2.59
    projects and deprojects by it as by Brown's own model, to 0.03 mm at 1 m, and its ROS driver says `plumb_bob`: so do we.

    Raises:
        InvalidInput: a lens of another model, as a fisheye's.
    """
    camera, coefficients = Intrinsics(k.fx, k.fy, k.ppx, k.ppy, k.width, k.height), tuple(float(c) for c in k.coeffs)
    if not any(coefficients) or k.model == rs.distortion.none:
        return camera, ()
    if k.model not in (rs.distortion.brown_conrady, rs.distortion.inverse_brown_conrady):
        raise InvalidInput(
            f"the RealSense colour camera's lens is of the model {k.model}, which is not supported (brown_conrady and "
            "inverse_brown_conrady are); calibrate the camera and read its pictures from a folder"
        )
    return camera, coefficients
