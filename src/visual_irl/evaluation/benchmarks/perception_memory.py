"""Whether perception's memory stays flat: the live chain over many frames, beside bare MediaPipe on the same ones.

Resident memory is what the system counts, and rises in steps as allocators keep what was freed in pieces. What is in use
tells a leak from that: bytes that malloc has given out and not got back (networks, pictures, arrays), and Python's blocks.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from visual_irl.errors import InvalidInput, MissingDependency
from visual_irl.evaluation.benchmarks.perception_rivals import BareMediapipe
from visual_irl.evaluation.spread import processes
from visual_irl.io.atomic import atomic_path, require_writable_file
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.live_stream import LiveStream
from visual_irl.types import RgbdFrame

WARM_UP = 0.2
"""Share of the frames before memory is looked at: networks, caches and pools fill."""
BROKEN = 50
"""Every so many frames one is black: what is refused must not be kept either."""
SAMPLES = 200


@dataclass(frozen=True)
class MemoryCurve:
    """A process's memory after so many frames: resident [MB], in use by malloc [MB; NaN where the C library does not tell],
    Python's blocks; and trends after the warm-up."""

    frames: tuple[int, ...]
    resident_mb: tuple[float, ...]
    in_use_mb: tuple[float, ...]
    blocks: tuple[int, ...]

    def trend(self, values: Sequence[float] | Sequence[int]) -> float:
        """How much one of them grows in 1,000 frames, after the warm-up."""
        at, values_at = np.array(self.frames), np.array(values, float)
        warm = self._warm()
        return float(1e3 * np.polyfit(at[warm], values_at[warm], 1)[0])

    def _warm(self) -> np.ndarray:
        return np.array(self.frames) > WARM_UP * self.frames[-1]

    def text(self) -> str:
        """One line for people."""
        warm = float(np.array(self.resident_mb)[self._warm()][0])
        return (
            f"{warm:.0f} MB after the first {100 * WARM_UP:.0f} %, {self.resident_mb[-1]:.0f} MB at the end, in 1,000 frames "
            f"{self.trend(self.resident_mb):+.2f} MB resident, {self.trend(self.in_use_mb):+.3f} MB in use, "
            f"{self.trend(self.blocks):+.0f} of Python's blocks"
        )

    def as_json(self) -> dict[str, object]:
        """The content of the result file; what is not known is null."""
        trends = {f"{name}_per_1000_frames": self.trend(getattr(self, name)) for name in ("resident_mb", "in_use_mb", "blocks")}
        return {k: _known(v) for k, v in (asdict(self) | trends).items()}


@dataclass(frozen=True)
class MemoryBench:
    """Our live chain, bare MediaPipe on the same frames in a process of its own, and what was wrong with how many frames."""

    ours: MemoryCurve
    bare_mediapipe: MemoryCurve
    problems: dict[str, int]

    def text(self) -> str:
        """For people."""
        return (
            f"{self.ours.frames[-1]} frames, not usable: {self.problems or 'none'}\n"
            f"ours:           {self.ours.text()}\nbare MediaPipe: {self.bare_mediapipe.text()}"
        )


def perception_memory(recording: Path, frames: int, json_out: Path, progress: Callable[[int, int], None]) -> MemoryBench:
    """Memory while a recording is perceived over and over, live, as one stream of `frames` frames; writes `json_out`.

    Raises:
        InvalidInput: too few frames to tell a trend.
        MissingDependency: the system does not tell a process's memory (no /proc).
        MissingFile, UnreadableFile: the recording cannot be read.
    """
    if frames < 100:
        raise InvalidInput(f"{frames} frames tell no trend; give 100 or more")
    require_writable_file(Path(json_out), "--json")
    with processes(1) as submit:
        bare = submit(_watch_bare, recording, frames)
        stream = LiveStream()
        try:
            ours = _watch(recording, frames, stream.step, progress)
        finally:
            stream.close()
        bench = MemoryBench(ours, bare.result(), stream.health.problems())
    with atomic_path(json_out) as partial:
        content = {"ours": ours.as_json(), "bare_mediapipe": bench.bare_mediapipe.as_json(), "problems": bench.problems}
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return bench


def _watch_bare(recording: Path, frames: int) -> MemoryCurve:
    bare = BareMediapipe()
    try:
        return _watch(recording, frames, lambda frame: bare.detect(frame.rgb, frame.stamp_ns), lambda done, total: None)
    finally:
        bare.close()


def _watch(
    recording: Path, frames: int, step: Callable[[RgbdFrame], object], progress: Callable[[int, int], None]
) -> MemoryCurve:
    """This process's memory while it works on so many frames."""
    at, resident, in_use, blocks = [], [], [], []
    for i, frame in enumerate(_endless(recording)):
        step(replace(frame, rgb=np.zeros_like(frame.rgb)) if i % BROKEN == BROKEN - 1 else frame)
        if i % max(1, frames // SAMPLES) == 0 or i == frames - 1:
            at.append(i + 1)
            resident.append(resident_mb())
            in_use.append(in_use_mb())
            blocks.append(sys.getallocatedblocks())
            progress(i + 1, frames)
        if i == frames - 1:
            break
    return MemoryCurve(tuple(at), tuple(resident), tuple(in_use), tuple(blocks))


def _endless(recording: Path) -> Iterator[RgbdFrame]:
    """The recording again and again, opened anew each time, with stamps that go on rising."""
    shift = last = 0
    while True:
        with open_frames(recording) as source:
            for i, frame in enumerate(source):
                if i == 0:
                    shift = last + 200_000_000 - frame.stamp_ns
                last = frame.stamp_ns + shift
                yield replace(frame, stamp_ns=last)


def resident_mb() -> float:
    """This process's resident memory [MB]."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError as error:
        raise MissingDependency("this system does not tell a process's memory (no /proc); measure on Linux") from error
    return int(status.split("VmRSS:")[1].split()[0]) / 1024.0


_MALLINFO = (
    "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
)  # fmt: skip


class _Mallinfo(ctypes.Structure):
    """`struct mallinfo2` of glibc 2.33 and later, see `man mallinfo`; sums over all arenas."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO]


def in_use_mb() -> float:
    """What malloc has given out and not got back [MB]; NaN where the C library does not tell it."""
    mallinfo = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo is None:
        return np.nan
    mallinfo.restype = _Mallinfo
    info = mallinfo()
    return float(info.uordblks + info.hblkhd) / 2**20


def _known(value: object) -> object:
    """NaN, alone or in a tuple, as None."""
    if isinstance(value, tuple):
        return [_known(v) for v in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value
