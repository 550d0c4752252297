"""Which frames of a stream cannot be used, and why: counted, so that a user learns of a loose cable or a covered lens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from visual_irl.types import RgbdFrame

_BLANK = 2.0
"""A picture whose brightness varies by less than this [levels of 255] shows nothing: a covered lens, or a lost one."""
_SAMPLE = 7
"""Every so many rows and columns are looked at; odd, so that a fault of every other row is not all there is."""
_LEAST_DEPTH = 0.01
"""Least share of pixels with depth."""
_LEAP_NS = 10_000_000_000
"""A frame that is further than this after the last one [ns] is believed when a second one confirms its time: one broken stamp
must not make all that follow it look old."""
_SCALES = 0.45, 2.2
"""A person is at most so many times as far away by depth as by their size: 0.9 to 1.2 on rendered and real adults, 0.6 for a
child of five."""
_FARTHEST = 65.535
"""Depth beyond this [m] is none: what 16 bits of millimetres hold."""


def with_possible_depth(frame: RgbdFrame) -> RgbdFrame:
    """The frame, or a copy in which depths that are infinite, not positive or beyond all sensors are NaN."""
    if frame.depth is None or not frame.depth.size:
        return frame
    nearest, farthest = np.fmin.reduce(frame.depth, axis=None), np.fmax.reduce(frame.depth, axis=None)  # these skip NaN
    if np.isnan(nearest) or (nearest > 0.0 and farthest <= _FARTHEST):
        return frame
    known = (frame.depth > 0.0) & (frame.depth <= _FARTHEST)
    return replace(frame, depth=np.where(known, frame.depth, np.float32(np.nan)))


def _spread(rgb: UInt8[ndarray, "H W 3"]) -> float:
    """Standard deviation of all values; OpenCV needs a tenth of the time that NumPy does."""
    values = np.ascontiguousarray(rgb).reshape(-1, 1)
    return float(cv2.meanStdDev(values)[1][0, 0]) if len(values) else 0.0


@dataclass
class StreamHealth:
    """Counts of frames by what is wrong with them; a frame is counted once, under the first that applies."""

    frames: int = 0
    """All that came."""
    out_of_order: int = 0
    """Not newer than the one before: their time cannot be believed."""
    wrong_size: int = 0
    """Another size, or another camera, than the first one's; or not the size that its camera info says."""
    corrupt: int = 0
    """Pictures that could not be decoded."""
    cut_off: int = 0
    """Pictures that a video promises and does not hold: it was cut off, or is broken from there on."""
    unpaired: int = 0
    """Colour pictures of a recording without a depth picture of their time; that one may be among the corrupt."""
    blank: int = 0
    """Black, white, or all one colour."""
    no_depth: int = 0
    """Hardly a pixel with depth."""
    wrong_scale: int = 0
    """Depth puts the person so much nearer or farther than their size in the picture does that its unit, or the focal length,
    is wrong."""
    no_person: int = 0
    """Sound, but nobody is seen."""
    sides_unknown: int = 0
    """Sound, and a body without a head is seen whose left and right are not certain: it is lost."""

    def __post_init__(self) -> None:
        self._last_ns: int | None = None
        self._leapt_ns: int | None = None
        self._gap_ns = 0
        self._camera: object = None
        self._before: tuple[int, object] | None = None
        self.sound = True
        """Whether the last frame could be used."""
        self.estranged = 0
        """How many frames in a row were refused for their time or their camera and agree about both among themselves."""
        self.scale = 1.0
        """The last scale that was wrong."""

    def admit(self, frame: RgbdFrame) -> bool:
        """Count a frame; whether it can be used."""
        self.frames += 1
        reason = self._reason(frame)
        self.sound = reason is None
        if reason is not None:
            setattr(self, reason, getattr(self, reason) + 1)
        agrees = self._before is not None and frame.stamp_ns > self._before[0] and frame.intrinsics == self._before[1]
        self._before = frame.stamp_ns, frame.intrinsics
        self.estranged = 0 if reason not in ("out_of_order", "wrong_size") else self.estranged * agrees + 1
        return reason is None

    def note_nobody(self, sides_unknown: bool) -> None:
        """Count the last frame, if it was sound, as one in which nobody was found, or left and right were not certain."""
        self.sides_unknown += self.sound and sides_unknown
        self.no_person += self.sound and not sides_unknown

    def note_scale(self, scale: float) -> None:
        """How many times as far away as by their size depth puts the person of the last frame; NaN: not known."""
        if scale < _SCALES[0] or scale > _SCALES[1]:
            self.sound, self.scale = False, scale
            self.wrong_scale += 1

    def begin_anew(self) -> None:
        """Take the next frame for the first of another camera or another clock; counts go on."""
        self._last_ns, self._leapt_ns, self._gap_ns, self._camera, self.estranged = None, None, 0, None, 0

    def refuse(self, refused: Mapping[str, int]) -> None:
        """Count frames that were refused before they came here."""
        for reason, n in refused.items():
            setattr(self, reason, getattr(self, reason) + n)
            self.frames += n

    def newer(self, frame: RgbdFrame) -> bool:
        """Whether a frame is newer than all before, and its time is believed."""
        if self._last_ns is None:
            return True
        limit = max(_LEAP_NS, 3 * self._gap_ns)  # a slow stream has longer gaps
        if 0 < frame.stamp_ns - self._last_ns <= limit:
            return True
        leapt = self._leapt_ns
        return leapt is not None and 0 < frame.stamp_ns - leapt <= max(limit, 3 * (leapt - self._last_ns))

    def _reason(self, frame: RgbdFrame) -> str | None:
        if not self.newer(frame):
            if self._last_ns is not None and frame.stamp_ns > self._last_ns:
                self._leapt_ns = frame.stamp_ns
            return "out_of_order"
        self._gap_ns = 0 if self._last_ns is None else frame.stamp_ns - (self._leapt_ns or self._last_ns)
        self._last_ns, self._leapt_ns = frame.stamp_ns, None
        if self._camera is None:
            self._camera = frame.intrinsics
        if frame.intrinsics != self._camera:
            return "wrong_size"
        if _spread(frame.rgb[::_SAMPLE, ::_SAMPLE]) < _BLANK:
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
