"""Keypoints straight between the library's arrays and the bytes of their topic (CDR), for the topic that must be quick.

What rosidl's Python classes do to a message of 50 keypoints takes as long as bringing it to another process. Every message of
one frame has the same layout, so it is made from the bytes of the last one; bytes of any other layout go through rosidl.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy import ndarray
from rclpy.serialization import deserialize_message
from visual_irl_msgs.msg import Keypoints

from visual_irl.covariance import packed
from visual_irl.errors import InvalidInput
from visual_irl.types import KEYPOINTS, KeypointFrame
from visual_irl_ros import convert

_K = len(KEYPOINTS)
_WIDTHS = {"positions": 3, "covariances": 6, "confidences": 1, "pixels": 2}
"""Numbers a keypoint, in the order of the message's fields."""
_HEAD = struct.Struct("<4xiII")
"""After the encapsulation's four bytes: seconds, nanoseconds, and the length of the frame's name with its closing zero."""
_TAIL = struct.Struct("<dd2B6xdd")
"""What follows the keypoints: `convert.Effort`, then both hands' grasps and apertures."""
_LITTLE_ENDIAN = b"\x00\x01"


def head_of(data: bytes) -> tuple[int, str]:
    """Stamp [ns] and frame of a message that begins with a header.

    Raises:
        InvalidInput: too short for one.
    """
    if len(data) < _HEAD.size or data[:2] != _LITTLE_ENDIAN:
        raise InvalidInput(f"{len(data)} bytes that begin with {data[:4].hex() or 'nothing'} are no message from here")
    sec, nanosec, length = _HEAD.unpack_from(data)
    name = data[_HEAD.size : _HEAD.size + max(length - 1, 0)]
    return sec * 1_000_000_000 + nanosec, name[:256].decode(errors="replace")


def message_of(data: bytes, kind: Any) -> Any:
    """The message in these bytes.

    Raises:
        InvalidInput: there is none of this kind.
    """
    try:
        return deserialize_message(data, kind)
    except Exception as error:  # the middleware's own, which has no common type
        raise InvalidInput(f"{len(data)} bytes are no {kind.__name__} message") from error


def effort_of(data: bytes) -> convert.Effort:
    """How long the picture of these sound keypoints waited and was worked on."""
    return convert.Effort(*_TAIL.unpack_from(data, len(data) - _TAIL.size)[:2])


class KeypointWire:
    """Encodes and decodes keypoints in one frame."""

    def __init__(self, frame_id: str) -> None:
        self._bytes, self._places = bytearray(_HEAD.size - 4), {}
        self._bytes[:4] = _LITTLE_ENDIAN + b"\x00\x00"
        self._text(frame_id)
        self._count(_K)
        for name in KEYPOINTS:
            self._text(name)
        fixed, begin = [], 12
        for name, width in _WIDTHS.items():
            self._count(_K * width)
            self._pad(8)
            self._places[name] = len(self._bytes)
            fixed.append(slice(begin, len(self._bytes)))
            self._bytes += bytes(8 * _K * width)
            begin = len(self._bytes)
        self._tail = len(self._bytes)
        self._bytes += bytes(_TAIL.size)
        self._fixed = [(part, bytes(self._bytes[part])) for part in fixed]
        self._out = {name: self._rows(self._bytes, name) for name in _WIDTHS}

    def _pad(self, size: int) -> None:
        self._bytes += bytes((4 - len(self._bytes)) % size)  # counted from behind the encapsulation

    def _count(self, n: int) -> None:
        self._pad(4)
        self._bytes += struct.pack("<I", n)

    def _text(self, text: str) -> None:
        self._count(len(text.encode()) + 1)
        self._bytes += text.encode() + b"\x00"

    def _rows(self, data: Any, name: str) -> ndarray:
        width = _WIDTHS[name]
        return np.frombuffer(data, "<f8", _K * width, self._places[name]).reshape(_K, width)

    def encode(self, frame: KeypointFrame, effort: convert.Effort | None = None) -> bytes:
        """The bytes of `convert.keypoints_to_msg`'s message."""
        out = self._out
        struct.pack_into("<iI", self._bytes, 4, *divmod(frame.stamp_ns, 1_000_000_000))
        out["positions"][:] = frame.p_world
        out["covariances"][:] = packed(frame.covariance)
        out["confidences"][:, 0] = frame.confidence
        out["pixels"][:] = frame.uv
        grasps, apertures = convert.hands_to_fields(frame.hands)
        _TAIL.pack_into(self._bytes, self._tail, *(effort or convert.Effort()), *grasps, *apertures)
        return bytes(self._bytes)

    def decode(self, data: bytes) -> KeypointFrame:
        """The frame in these bytes, as `convert.keypoints_of_msg` gives it.

        Raises:
            InvalidInput: they are no keypoints, or not sound.
        """
        if len(data) == len(self._bytes) and all(data[part] == same for part, same in self._fixed):
            _, _, left, right, *apertures = _TAIL.unpack_from(data, self._tail)
            rows = (self._rows(data, name) for name in _WIDTHS)
            return convert.sound_keypoints(head_of(data)[0], *rows, convert.hands_of_fields((left, right), apertures))
        return convert.keypoints_of_msg(message_of(data, Keypoints))
