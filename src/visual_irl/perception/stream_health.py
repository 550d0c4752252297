"""Which frames of a stream cannot be used, and why: counted, so that a user learns of a loose cable or a covered lens."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from visual_irl.types import RgbdFrame

_BLANK = 2.0
"""A picture whose brightness varies by less than this [levels of 255] shows nothing: a covered lens, or a lost one."""
_SAMPLE = 8
"""Every so many rows and columns are looked at."""
_LEAST_DEPTH = 0.01
"""Least share of pixels with depth."""


@dataclass
class StreamHealth:
    """Counts of frames by what is wrong with them; a frame is counted once, under the first that applies."""

    frames: int = 0
    """All that came."""
    out_of_order: int = 0
    """Not newer than the one before: their time cannot be believed."""
    wrong_size: int = 0
    """Another size, or another camera, than the first one's."""
    blank: int = 0
    """Black, white, or all one colour."""
    no_depth: int = 0
    """Hardly a pixel with depth."""
    no_person: int = 0
    """Sound, but nobody is seen."""

    def __post_init__(self) -> None:
        self._last_ns: int | None = None
        self._camera: object = None
        self.sound = True
        """Whether the last frame could be used."""

    def admit(self, frame: RgbdFrame) -> bool:
        """Count a frame; whether it can be used."""
        self.frames += 1
        reason = self._reason(frame)
        self.sound = reason is None
        if reason is not None:
            setattr(self, reason, getattr(self, reason) + 1)
        return reason is None

    def newer(self, frame: RgbdFrame) -> bool:
        """Whether a frame is newer than all before."""
        return self._last_ns is None or frame.stamp_ns > self._last_ns

    def _reason(self, frame: RgbdFrame) -> str | None:
        if not self.newer(frame):
            return "out_of_order"
        self._last_ns = frame.stamp_ns
        if self._camera is None:
            self._camera = frame.intrinsics
        if frame.intrinsics != self._camera:
            return "wrong_size"
        if float(frame.rgb[::_SAMPLE, ::_SAMPLE].std()) < _BLANK:
            return "blank"
        if frame.depth is not None:
            few = frame.depth[::_SAMPLE, ::_SAMPLE]
            if float(((few > 0.0) & np.isfinite(few)).mean()) < _LEAST_DEPTH:
                return "no_depth"
        return None

    def problems(self) -> dict[str, int]:
        """What was wrong, and how often; empty when nothing was."""
        counts = {f.name: int(getattr(self, f.name)) for f in fields(self) if f.name != "frames"}
        return {name: n for name, n in counts.items() if n}
