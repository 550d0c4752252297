"""Serialised messages of any topics into a new rosbag2 folder: MCAP, zstd chunks that reach the disk every second.

A process that is killed leaves everything up to the last chunk; `visual_irl.io.recording` and the `mcap` tools read it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import yaml
from mcap.writer import CompressionType, Writer

from visual_irl.errors import DiskFull, InvalidInput, UnwritableOutput
from visual_irl.io.atomic import atomic_path, require_writable_folder
from visual_irl.io.mcap_stream import cut_to_whole

CHUNK = 1 << 20
"""Uncompressed size after which a chunk is closed [B]."""
FLUSH_NS = 1_000_000_000
"""Longest time between two chunks [ns]: what a power cut can cost."""


class _Channel(NamedTuple):
    id: int
    kind: str
    qos: str
    type_hash: str


class TopicWriter:
    """A new recording. `write` serialised messages (CDR), then `close`; an existing folder is never touched.

    Raises:
        UnwritableOutput: the folder exists and is not empty, or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise UnwritableOutput(f"'{folder}' exists already and is never overwritten; choose another folder")
        require_writable_folder(self.folder, "folder")
        self.file = self.folder / f"{self.folder.name}_0.mcap"
        self._stream = self.file.open("xb")
        self._writer = Writer(self._stream, chunk_size=CHUNK, compression=CompressionType.ZSTD)
        self._writer.start(profile="ros2", library="visual_irl")
        self._channels: dict[str, _Channel] = {}
        self.counts: dict[str, int] = {}
        """Messages of each topic."""
        self._first = self._last = self._flushed = 0

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._stream.closed

    def declare(self, topic: str, kind: str, definition: str, qos: str = "", type_hash: str = "") -> None:
        """Announce a topic of type `kind` (package/msg/Name) with the full text of its definition; where they are known, the
        quality of service that players shall offer (YAML, as rosbag2 writes it) and the type's hash."""
        if topic in self._channels:
            raise InvalidInput(f"topic '{topic}' is declared twice")
        schema = self._writer.register_schema(kind, "ros2msg", definition.encode())
        channel = self._writer.register_channel(topic, "cdr", schema, {"offered_qos_profiles": qos} if qos else {})
        self._channels[topic] = _Channel(channel, kind, qos, type_hash)
        self.counts[topic] = 0

    def write(self, topic: str, data: bytes, stamp_ns: int) -> None:
        """Append one message, received at `stamp_ns`.

        Raises:
            InvalidInput: the topic was not declared.
            DiskFull: what is there stays readable, and without a whole chunk nothing is left.
        """
        if topic not in self._channels:
            raise InvalidInput(f"topic '{topic}' is not declared; declared: {', '.join(self._channels) or 'none'}")
        try:
            self._writer.add_message(self._channels[topic].id, stamp_ns, data, stamp_ns, self.counts[topic])
            self._flushed = self._flushed or stamp_ns
            if stamp_ns - self._flushed >= FLUSH_NS:
                self._writer.flush()
                self._stream.flush()
                self._flushed = stamp_ns
        except OSError as error:
            raise self._given_up(error) from error
        self._first = self._first or stamp_ns
        self._last = max(self._last, stamp_ns)
        self.counts[topic] += 1

    def close(self) -> None:
        """Write the index and `metadata.yaml`. Without a single message nothing is left.

        Raises:
            InvalidInput: no message came.
            DiskFull: as for `write`.
        """
        if not any(self.counts.values()):
            self.remove()
            raise InvalidInput(f"no message came for the recording '{self.folder}'; nothing was written")
        try:
            with self._stream:
                self._writer.finish()
                self._stream.flush()
                os.fsync(self._stream.fileno())
            with atomic_path(self.folder / "metadata.yaml") as path:
                path.write_text(yaml.safe_dump(self._metadata(), sort_keys=False))
        except OSError as error:
            raise self._given_up(error) from error

    def abandon(self) -> None:
        """Keep what came, without the index that would call it complete.

        Raises:
            DiskFull: as for `write`.
        """
        try:
            with self._stream:
                self._writer.flush()
        except OSError as error:
            raise self._given_up(error) from error

    def remove(self) -> None:
        """Leave nothing."""
        with suppress(OSError):  # what waits to be written has no place
            self._stream.close()
        self.file.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _given_up(self, full: OSError) -> DiskFull:
        """Closes what cannot be written any more, and keeps of it what is whole."""
        with suppress(OSError):
            self._stream.close()
        whole = cut_to_whole(self.file)
        if whole is None:
            self.remove()
        left = "nothing was kept" if whole is None else "what was written until then is kept"
        reason = full.strerror or str(full)
        kept = {} if whole is None else {name: topic.count for name, topic in whole.topics.items()}
        return DiskFull(f"cannot write '{self.file}': {reason}; free some space: {left}", reason, kept)

    def _metadata(self) -> Mapping[str, object]:
        """What rosbag2 wants to know beside the file (its format version 8: Iron and later read it)."""
        count = sum(self.counts.values())
        span = {"duration": {"nanoseconds": self._last - self._first}}
        begin = {"starting_time": {"nanoseconds_since_epoch": self._first}}
        topics = [
            {
                "topic_metadata": {
                    "name": topic, "type": channel.kind, "serialization_format": "cdr",
                    "offered_qos_profiles": channel.qos, "type_description_hash": channel.type_hash,
                },
                "message_count": self.counts[topic],
            }
            for topic, channel in self._channels.items()
        ]  # fmt: skip
        return {
            "rosbag2_bagfile_information": {
                "version": 8, "storage_identifier": "mcap", **span, **begin, "message_count": count,
                "topics_with_message_count": topics, "compression_format": "", "compression_mode": "",
                "relative_file_paths": [self.file.name],
                "files": [{"path": self.file.name, **begin, **span, "message_count": count}],
                "custom_data": None, "ros_distro": "jazzy",
            }
        }  # fmt: skip
