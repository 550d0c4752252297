"""How many messages never came, by the numbers that their publishers gave them: lost on the way, or pushed out of a full queue.

The middleware's own event tells of the first only. Pure: no ROS here, so that it can be tested anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Missed:
    """Tell it of every message of a topic in the order in which they are taken; what one publisher sends is numbered on."""

    def __init__(self) -> None:
        self._next: dict[tuple[str, bytes], int] = {}

    @property
    def numbered(self) -> bool:
        """Whether messages say who numbered them: Jazzy's do not, its middleware's event is all there is."""
        return bool(self._next)

    def before(self, topic: str, info: Mapping[str, Any]) -> int:
        """How many are missing between this message and the last one of its publisher; `info` is what rclpy says of it."""
        number, publisher = info.get("publication_sequence_number"), info.get("publisher_gid")
        if number is None or publisher is None:
            return 0
        key = topic, bytes(publisher["data"])
        missing = number - self._next.get(key, number)
        self._next[key] = number + 1
        return int(max(missing, 0))
