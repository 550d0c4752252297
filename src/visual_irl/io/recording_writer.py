"""Write RGB-D recordings as a RealSense's driver fills them: a folder with `metadata.yaml` and `NAME_0.mcap`.

`ros2 bag play` replays them, and `visual_irl.io.recording` reads them back.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from jaxtyping import Float
from mcap.writer import CompressionType, Writer
from numpy import ndarray

from visual_irl.errors import InvalidInput, UnwritableOutput
from visual_irl.io import messages
from visual_irl.io.atomic import require_writable_folder
from visual_irl.io.mcap_stream import cut_to_whole
from visual_irl.types import RgbdFrame

CAMERA_FRAME = "camera_color_optical_frame"
WORLD_FRAME = "world"
COLOUR_TOPIC = "/camera/camera/color/image_raw"
DEPTH_TOPIC = "/camera/camera/aligned_depth_to_color/image_raw"
INFO_TOPIC = "/camera/camera/color/camera_info"
STATIC_TOPIC = "/tf_static"

ENCODINGS = ("compressed", "raw")
CHUNK_SIZE = 1 << 20
"""Uncompressed size [bytes] after which a chunk is closed: what a power cut can cost."""

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
        self._file = self.folder / f"{self.folder.name}_0.mcap"
        self._channels: dict[str, tuple[int, str, str]] = {}  # topic -> (channel id, type, quality of service)
        self._counts: dict[str, int] = {}
        self._first = self._last = self._transforms = 0
        self._camera: object = None

    def __enter__(self) -> RecordingWriter:
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise UnwritableOutput(f"'{self.folder}' exists already and is never overwritten; choose another --out")
        require_writable_folder(self.folder)
        self._stream: IO[bytes] = open(self._file, "xb")
        self._writer = Writer(self._stream, chunk_size=CHUNK_SIZE, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="visual_irl")
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
        except OSError as error:
            raise self._given_up(error) from error
        self.count += 1
        self._last = frame.stamp_ns

    def _start(self, frame: RgbdFrame, camera: object) -> None:
        self._camera, self._first = camera, frame.stamp_ns
        picture = messages.COMPRESSED_IMAGE if self.compress else messages.IMAGE
        self._colour = COLOUR_TOPIC + ("/compressed" if self.compress else "")
        self._depth = DEPTH_TOPIC + ("/compressedDepth" if self.compress else "")
        static = dict(self.fixtures)
        if frame.T_world_camera is not None:
            static[CAMERA_FRAME] = frame.T_world_camera
        if static:
            self._declare(STATIC_TOPIC, messages.TRANSFORMS, _qos(1, latched=True))
            self._put(STATIC_TOPIC, frame.stamp_ns, messages.encode_transforms(frame.stamp_ns, WORLD_FRAME, static))
        self._declare(INFO_TOPIC, messages.CAMERA_INFO, _qos(10, latched=False))
        self._declare(self._colour, picture, _qos(10, latched=False))
        if frame.depth is not None:
            self._declare(self._depth, picture, _qos(10, latched=False))

    def _write_frame(self, frame: RgbdFrame) -> None:
        stamp, name = frame.stamp_ns, CAMERA_FRAME
        self._put(INFO_TOPIC, stamp, messages.encode_camera_info(stamp, name, frame.intrinsics))
        self._put(self._colour, stamp, messages.encode_colour(stamp, name, frame.rgb, self.compress))
        if frame.depth is not None:
            self._put(self._depth, stamp, messages.encode_depth(stamp, name, frame.depth, self.compress))

    def _declare(self, topic: str, kind: str, qos: str) -> None:
        definition = str(messages.TYPES.generate_msgdef(kind, ros_version=2)[0])
        schema = self._writer.register_schema(kind, "ros2msg", definition.encode())
        channel = self._writer.register_channel(topic, "cdr", schema, {"offered_qos_profiles": qos})
        self._channels[topic] = (channel, kind, qos)
        self._counts[topic] = 0

    def _put(self, topic: str, stamp: int, data: bytes) -> None:
        self._writer.add_message(self._channels[topic][0], stamp, data, stamp, self._counts[topic])
        self._counts[topic] += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stream.closed:  # the disk is full: that was said
            return
        try:
            with self._stream:
                if self.count and error is None:
                    self._writer.finish()
                elif self.count:
                    self._writer.flush()  # keep what came, without the footer that would call it complete
            if not self.count:
                self._remove()
            elif error is None:
                (self.folder / "metadata.yaml").write_text(self._metadata())
        except OSError as full:
            said = self._given_up(full)
            if error is None:
                raise said from full
        if not self.count and error is None:
            raise InvalidInput(f"no frame came for the recording '{self.folder}'; nothing was written")

    def _given_up(self, full: OSError) -> UnwritableOutput:
        """Closes what cannot be written any more, keeps of it what is whole, and says how much that is."""
        with suppress(OSError):  # what waits to be written has no place
            self._stream.close()
        whole = cut_to_whole(self._file)
        counts = {} if whole is None else whole.topics
        kept = min((counts[t].count if t in counts else 0 for t in self._channels if t != STATIC_TOPIC), default=0)
        if not kept:
            self._remove()
        left = f"the first {kept} frames are kept in this one" if kept else "nothing was kept"
        return UnwritableOutput(
            f"cannot write '{self._file}' after {self.count} frames: {full.strerror or full}; free some space, or choose "
            f"another folder: {left}"
        )

    def _remove(self) -> None:
        self._file.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _metadata(self) -> str:
        """What rosbag2 wants to know beside the file (its format version 8: Iron and later read it)."""
        span = self._last - self._first
        total = sum(self._counts.values())
        lines = [
            "rosbag2_bagfile_information:",
            "  version: 8",
            "  storage_identifier: mcap",
            f"  duration: {{nanoseconds: {span}}}",
            f"  starting_time: {{nanoseconds_since_epoch: {self._first}}}",
            f"  message_count: {total}",
            "  topics_with_message_count:",
        ]
        for topic, (_, kind, qos) in self._channels.items():
            lines += [
                "    - topic_metadata:",
                f"        name: {topic}",
                f"        type: {kind}",
                "        serialization_format: cdr",
                "        offered_qos_profiles: |-",
                *(f"          {line}" for line in qos.splitlines()),
                f"        type_description_hash: {messages.TYPES.hash_rihs01(kind)}",
                f"      message_count: {self._counts[topic]}",
            ]
        return "\n".join([
            *lines,
            '  compression_format: ""',
            '  compression_mode: ""',
            f"  relative_file_paths: [{self._file.name!r}]",
            "  files:",
            f"    - path: {self._file.name!r}",
            f"      starting_time: {{nanoseconds_since_epoch: {self._first}}}",
            f"      duration: {{nanoseconds: {span}}}",
            f"      message_count: {total}",
            "  custom_data: ~",
            "  ros_distro: jazzy",
            "",
        ])  # fmt: skip
