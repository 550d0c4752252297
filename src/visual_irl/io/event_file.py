"""Curves as TensorBoard reads them: an event file of scalars, written as they come, whole record by whole record.

A file is a row of TFRecords (length, masked CRC-32C of it, data, masked CRC-32C of that), each one protocol buffer `Event`:
`wall_time = 1 (double), step = 2 (int64), file_version = 3 (string), summary = 5 { value = 1 { tag = 1, simple_value = 2 } }`.
That is all that curves need, and it spares everyone who learns a skill TensorBoard's own dependencies.
"""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path
from types import TracebackType

from visual_irl.io.atomic import require_writable_folder


class EventFile:
    """An event file in a folder; a new one each time, so that a run that goes on adds to its curves."""

    def __init__(self, folder: Path) -> None:
        require_writable_folder(folder)
        name = f"events.out.tfevents.{time.time():.6f}.{os.getpid()}"
        self.path = Path(folder) / name
        self._file = self.path.open("ab")
        self._write(_text(3, b"brain.Event:2"))

    def scalar(self, tag: str, value: float, step: int) -> None:
        """One point of the curve `tag`; it is on disk when this returns."""
        point = _text(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
        self._write(b"\x10" + _varint(step) + _text(5, _text(1, point)))

    def close(self) -> None:
        """Nothing more is written."""
        self._file.close()

    def __enter__(self) -> EventFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _write(self, fields: bytes) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + fields
        size = struct.pack("<Q", len(event))
        record = size + struct.pack("<I", masked_crc(size)) + event + struct.pack("<I", masked_crc(event))
        self._file.write(record)
        self._file.flush()


def masked_crc(data: bytes) -> int:
    """CRC-32C (Castagnoli) as TFRecords mask it: rotated, so that a checksum of checksums is still one."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CASTAGNOLI[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        rows.append(crc)
    return tuple(rows)


_CASTAGNOLI = _table()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content
