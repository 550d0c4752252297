"""A recording, video or picture folder played as if it were a camera: frames come when they are due, stamped with that time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from visual_irl.bounds import require_within
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.types import RgbdFrame

_LOOK = 0.05
"""How often a player that has come to the end looks whether it shall go on [s]."""


@dataclass(frozen=True)
class PlayConfig:
    """How a file is played."""

    loop: bool = False
    """Play it again and again. Without it the player stands at the end, and goes on when this is set."""
    rate: float = 0.0
    """Pictures a second [1/s]; 0 for the pace of their stamps."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1000.0)


class Player:
    """Iterate it for the frames; `config` may be replaced while it plays, `end` ends it from any thread.

    Args:
        path: what `sources.open_frames` opens.
        config: pace and repetition.
        now_ns: the clock that stamps the frames [ns].
    """

    def __init__(self, path: Path, config: PlayConfig, now_ns: Callable[[], int]) -> None:
        self.path, self.config, self._now_ns = Path(path), config, now_ns
        self._ended = threading.Event()

    def end(self) -> None:
        """No more frames."""
        self._ended.set()

    def __iter__(self) -> Iterator[RgbdFrame]:
        while not self._ended.is_set():
            yield from self._once()
            while not self.config.loop and not self._ended.wait(_LOOK):
                pass

    def _once(self) -> Iterator[RgbdFrame]:
        first_ns: int | None = None
        begin = due = time.monotonic()
        with open_frames(self.path) as frames:
            for frame in frames:
                if first_ns is None:
                    first_ns, begin = frame.stamp_ns, time.monotonic()
                    due = begin
                elif self.config.rate > 0.0:
                    due += 1.0 / self.config.rate
                else:
                    due = begin + 1e-9 * (frame.stamp_ns - first_ns)
                if self._ended.wait(max(0.0, due - time.monotonic())):
                    return
                yield replace(frame, stamp_ns=self._now_ns())
