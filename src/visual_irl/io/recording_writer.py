"""Write RGB-D recordings as a RealSense's driver fills them: a folder with `metadata.yaml` and `NAME_0.mcap`.

`ros2 bag play` replays them, and `visual_irl.io.recording` reads them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import DiskFull, InvalidInput, UnwritableOutput
from visual_irl.io import messages
from visual_irl.io.topic_writer import TopicWriter
from visual_irl.types import RgbdFrame

CAMERA_FRAME = "camera_color_optical_frame"
WORLD_FRAME = "world"
COLOUR_TOPIC = "/camera/camera/color/image_raw"
DEPTH_TOPIC = "/camera/camera/aligned_depth_to_color/image_raw"
INFO_TOPIC = "/camera/camera/color/camera_info"
STATIC_TOPIC = "/tf_static"

ENCODINGS = ("compressed", "raw")

_FOREVER = "{sec: 9223372036, nsec: 854775807}"


def _qos(depth: int, latched: bool) -> str:
    """Offered quality of service in rosbag2 version 8: keep last, reliable, transient local if latched."""
    return (
        f"- history: 1\n  depth: {depth}\n  reliability: 1\n  durability: {1 if latched else 2}\n"
        f"  deadline: {_FOREVER}\n  lifespan: {_FOREVER}\n  liveliness: 1\n"
        f"  liveliness_lease_duration: {_FOREVER}\n  avoid_ros_namespace_conventions: false"
    )


class RecordingWriter:
    """Writes frames to a new recording; use it as a context manager.

    Leaving the block normally closes the recording. Leaving it by an exception, or never (a power cut), or a full disk keeps
    the frames up to the last whole chunk as a recording that opens with a message of what was lost; when there is no
    frame yet, nothing is left. An existing recording is never touched.

    Args:
        folder: the new recording's folder.
        fixtures: where things stand that do not move: frame name -> `T_world_fixture`.
        encoding: 'compressed' (JPEG colour, PNG depth, exact to 1 mm) or 'raw' (both exact, about five times as large).

    Raises:
        UnwritableOutput: the folder exists and is not empty, or cannot be written.
        InvalidInput: an unknown encoding; on leaving: no frame was written.
    """

    def __init__(
        self, folder: Path, fixtures: Mapping[str, Float[ndarray, "4 4"]] | None = None, encoding: str = "compressed"
    ) -> None:
        if encoding not in ENCODINGS:
            raise InvalidInput(f"recording encoding '{encoding}' is unknown; known: {', '.join(ENCODINGS)}")
        self.folder = Path(folder)
        self.fixtures = dict(fixtures or {})
        self.compress = encoding == "compressed"
        self.count = 0
        self._last = 0
        self._camera: object = None

    def __enter__(self) -> RecordingWriter:
        self._bag = TopicWriter(self.folder)
        return self

    def write(self, frame: RgbdFrame) -> None:
        """Append one frame; the first one fixes the camera.

        Raises:
            InvalidInput: time does not increase, or the camera's intrinsics, pose or depth changed.
            UnwritableOutput: the disk is full; says how many frames stay readable.
        """
        pose = None if frame.T_world_camera is None else frame.T_world_camera.tobytes()
        camera = (frame.intrinsics, pose, frame.depth is not None)
        if self.count and camera != self._camera:
            raise InvalidInput(f"frame {self.count} has another camera, camera pose or depth mode than the first; record anew")
        if self.count and frame.stamp_ns <= self._last:
            raise InvalidInput(f"frame {self.count} has stamp {frame.stamp_ns} ns, not after {self._last} ns")
        try:
            if not self.count:
                self._start(frame, camera)
            self._write_frame(frame)
        except DiskFull as full:
            raise self._given_up(full) from full
        self.count += 1
        self._last = frame.stamp_ns

    def _start(self, frame: RgbdFrame, camera: object) -> None:
        self._camera = camera
        picture = messages.COMPRESSED_IMAGE if self.compress else messages.IMAGE
        self._colour = COLOUR_TOPIC + ("/compressed" if self.compress else "")
        self._depth = DEPTH_TOPIC + ("/compressedDepth" if self.compress else "")
        static = dict(self.fixtures)
        if frame.T_world_camera is not None:
            static[CAMERA_FRAME] = frame.T_world_camera
        if static:
            self._declare(STATIC_TOPIC, messages.TRANSFORMS, _qos(1, latched=True))
            static_transforms = messages.encode_transforms(frame.stamp_ns, WORLD_FRAME, static)
            self._bag.write(STATIC_TOPIC, static_transforms, frame.stamp_ns)
        self._declare(INFO_TOPIC, messages.CAMERA_INFO, _qos(10, latched=False))
        self._declare(self._colour, picture, _qos(10, latched=False))
        if frame.depth is not None:
            self._declare(self._depth, picture, _qos(10, latched=False))

    def _write_frame(self, frame: RgbdFrame) -> None:
        stamp, name = frame.stamp_ns, CAMERA_FRAME
        self._bag.write(INFO_TOPIC, messages.encode_camera_info(stamp, name, frame.intrinsics), stamp)
        self._bag.write(self._colour, messages.encode_colour(stamp, name, frame.rgb, self.compress), stamp)
        if frame.depth is not None:
            self._bag.write(self._depth, messages.encode_depth(stamp, name, frame.depth, self.compress), stamp)

    def _declare(self, topic: str, kind: str, qos: str) -> None:
        definition = str(messages.TYPES.generate_msgdef(kind, ros_version=2)[0])
        self._bag.declare(topic, kind, definition, qos, messages.TYPES.hash_rihs01(kind))

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bag.closed:  # the disk is full: that was said
            return
        if not self.count:
            self._bag.remove()
            if error is None:
                raise InvalidInput(f"no frame came for the recording '{self.folder}'; nothing was written")
            return
        try:
            if error is None:
                self._bag.close()
            else:
                self._bag.abandon()
        except DiskFull as full:
            said = self._given_up(full)
            if error is None:
                raise said from full

    def _given_up(self, full: DiskFull) -> UnwritableOutput:
        """How many frames stay readable; without a whole one nothing is left."""
        kept = min((full.kept.get(topic, 0) for topic in self._bag.counts if topic != STATIC_TOPIC), default=0)
        if not kept:
            self._bag.remove()
        left = f"the first {kept} frames are kept in this one" if kept else "nothing was kept"
        return UnwritableOutput(
            f"cannot write '{self._bag.file}' after {self.count} frames: {full.reason}; free some space, or choose another "
            f"folder: {left}"
        )
