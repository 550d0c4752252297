"""MCAP files as a stream of messages in bounded memory, also when the file was cut off while it was written.

A file with an intact summary is read through its index. One without (the recorder was killed, the disk was full) is
read from the front up to its last whole record, and says what is missing.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from visual_irl.errors import UnreadableFile

MAGIC = b"\x89MCAP0\r\n"


@dataclass(frozen=True)
class Topic:
    """A topic's message type and how many messages are readable."""

    kind: str
    count: int


@dataclass(frozen=True)
class McapFile:
    """What a file holds. `readable` is where its last whole record ends [bytes]; `damage` says what is lost."""

    path: Path
    topics: Mapping[str, Topic]
    indexed: bool
    readable: int
    damage: str | None

    def messages(self, topics: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """(topic, CDR bytes) of every readable message on `topics`, in order.

        Raises:
            UnreadableFile: a chunk in the middle is damaged; says where.
        """
        with open(self.path, "rb") as stream:
            try:
                if self.indexed:
                    for _, channel, message in SeekingReader(stream, validate_crcs=True).iter_messages(topics=topics):
                        yield channel.topic, message.data
                else:
                    for topic, _, message in _stream(stream, self.readable):
                        if topic in topics:
                            yield topic, message.data
            except UnreadableFile:
                raise
            except Exception as error:  # the container's readers raise whatever their bytes led to
                size = self.path.stat().st_size
                raise UnreadableFile(
                    f"'{self.path}' is damaged near byte {stream.tell()} of {size}: {error or type(error).__name__}; "
                    "`mcap recover` may save the rest, or record again"
                ) from error


def survey(path: Path) -> McapFile:
    """Which topics `path` holds, from its summary or, where that is missing, from the whole file.

    Raises:
        UnreadableFile: not an MCAP file, or cut off before its first message.
    """
    size = path.stat().st_size
    with open(path, "rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise UnreadableFile(f"'{path}' is not an MCAP file: its first bytes are not the MCAP magic; give a recording")
        try:
            topics = _summary(stream)
        except Exception:  # any failure means the same: there is no summary to trust
            topics = None
        if topics is not None:
            return McapFile(path, topics, indexed=True, readable=size, damage=None)
        return _scan(path, stream, size)


def cut_to_whole(path: Path) -> McapFile | None:
    """What is readable of a file that could not be written to its end, with what comes after it cut off, which needs no space.

    None where nothing is readable; the file is then gone.
    """
    try:
        whole = survey(path)
    except UnreadableFile:
        path.unlink()
        return None
    os.truncate(path, whole.readable)
    return whole


def _summary(stream: IO[bytes]) -> dict[str, Topic] | None:
    stream.seek(0)
    summary = SeekingReader(stream).get_summary()
    if summary is None or summary.statistics is None or not summary.chunk_indexes:
        return None
    counts = summary.statistics.channel_message_counts
    topics: dict[str, Topic] = {}
    for channel in summary.channels.values():
        schema = summary.schemas.get(channel.schema_id)
        _add(topics, channel.topic, schema.name if schema else "", counts.get(channel.id, 0))
    return topics


def _add(topics: dict[str, Topic], name: str, kind: str, count: int) -> None:
    topics[name] = Topic(kind, count + (topics[name].count if name in topics else 0))


def _scan(path: Path, stream: IO[bytes], size: int) -> McapFile:
    topics: dict[str, Topic] = {}
    times: list[int] = []
    readable, closed = _last_whole_record(stream, size)
    try:
        for topic, kind, message in _stream(stream, readable):
            _add(topics, topic, kind, 1)
            times = [min(times[0], message.log_time), max(times[1], message.log_time)] if times else [message.log_time] * 2
            last = stream.tell()
    except Exception:  # a damaged chunk: what came before it is good
        readable, closed = last if times else 0, False
    if not times:
        raise UnreadableFile(
            f"'{path}' ({size} bytes) was cut off or damaged before its first whole chunk: nothing can be read; record again"
        )
    lost = f": the last {size - readable:,} of {size:,} bytes are lost" if readable < size else ""
    if closed:
        stream.seek(size - len(MAGIC))
        whole = stream.read() == MAGIC
        damage = None if whole else f"'{path.name}' was cut off in its index{lost}, but no picture"
    else:
        span = (times[1] - times[0]) * 1e-9
        damage = f"'{path.name}' was not closed properly{lost}; readable are the first {span:.2f} s"
    return McapFile(path, topics, indexed=False, readable=readable, damage=damage)


def _last_whole_record(stream: IO[bytes], size: int) -> tuple[int, bool]:
    """Where the last complete record ends [bytes], and whether the data was closed; reads record heads only."""
    end = len(MAGIC)
    while end + 9 <= size:
        stream.seek(end)
        opcode, length = struct.unpack("<BQ", stream.read(9))
        if opcode == Opcode.DATA_END:
            return end, True
        if opcode == 0 or end + 9 + length > size:
            break
        end += 9 + length
    return end, False


def _stream(stream: IO[bytes], end: int) -> Iterator[tuple[str, str, Message]]:
    """(topic, type, message) of a file's records up to byte `end`, without an index; holds one chunk at a time."""
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    reader = StreamReader(stream, emit_chunks=True, record_size_limit=end)
    records = iter(reader.records)
    stream.seek(0)
    while stream.tell() < end:
        record = next(records)
        inner: list[Any] = breakup_chunk(record, validate_crc=True) if isinstance(record, Chunk) else [record]
        for item in inner:
            if isinstance(item, Schema):
                schemas[item.id] = item
            elif isinstance(item, Channel):
                channels[item.id] = item
            elif isinstance(item, Message):
                if item.channel_id not in channels:
                    raise McapError(f"message of channel {item.channel_id}, which was never declared")
                channel = channels[item.channel_id]
                schema = schemas.get(channel.schema_id)
                yield channel.topic, schema.name if schema else "", item
