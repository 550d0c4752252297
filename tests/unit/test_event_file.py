"""Event files: what was written is read again by the format's own rules, also when the writer was killed."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from visual_irl.io.event_file import EventFile, masked_crc
from visual_irl.verbs import stages

TRUTH = Path(__file__).parents[2] / "models" / "recordings" / "onion_sorting" / "truth.npz"


def records(path: Path) -> list[bytes]:
    """Whole records of a file, their checksums checked; what was cut off at its end is left out."""
    data, at, found = path.read_bytes(), 0, []
    while at + 12 <= len(data):
        (size,) = struct.unpack_from("<Q", data, at)
        if at + 16 + size > len(data):
            break
        event = data[at + 12 : at + 12 + size]
        assert struct.unpack_from("<I", data, at + 8) == (masked_crc(data[at : at + 8]),)
        assert struct.unpack_from("<I", data, at + 12 + size) == (masked_crc(event),)
        found.append(event)
        at += 16 + size
    return found


def test_the_checksum_is_the_published_one() -> None:
    # CRC-32C of "123456789" is 0xE3069283 (RFC 3720); the mask is TFRecord's
    crc = 0xE3069283
    assert masked_crc(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_scalars_are_written_as_protocol_buffers(tmp_path: Path) -> None:
    with EventFile(tmp_path / "curves") as file:
        file.scalar("loss", 0.25, 300)
    first, second = records(file.path)
    assert first[9:] == b"\x1a\x0dbrain.Event:2"
    point = b"\x0a\x04loss" + b"\x15" + struct.pack("<f", 0.25)
    assert second[9:] == b"\x10\xac\x02" + b"\x2a" + bytes([len(point) + 2]) + b"\x0a" + bytes([len(point)]) + point


def test_points_are_on_disk_at_once(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    file.scalar("loss", 1.0, 1)
    assert len(records(file.path)) == 2  # a writer that is killed now has lost nothing
    file.close()
    with pytest.raises(ValueError, match="closed"):
        file.scalar("loss", 1.0, 2)


def test_learning_leaves_its_curve_beside_the_skill(tmp_path: Path) -> None:
    stages.learn((TRUTH,), tmp_path / "skill", "max_ent")
    (file,) = stages.curves_of(tmp_path / "skill").iterdir()
    assert not any("tfevents" in f.name for f in (tmp_path / "skill").rglob("*"))  # the skill's digest is of the skill alone
    points = [struct.unpack("<f", event[-4:])[0] for event in records(file)[1:]]
    assert len(points) > 5 and points[-1] < points[0]  # the loss fell
