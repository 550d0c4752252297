"""Whether perception's memory stays flat: the whole live chain over many frames, and the process's memory on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from visual_irl.errors import InvalidInput, MissingDependency
from visual_irl.io.atomic import atomic_path, require_writable_folder
from visual_irl.perception.live_stream import LiveStream
from visual_irl.perception.sources import open_frames
from visual_irl.types import RgbdFrame

WARM_UP = 0.2
"""Share of the frames before memory is looked at: networks, caches and pools fill."""
BROKEN = 50
"""Every so many frames one is black: what is refused must not be kept either."""
SAMPLES = 200


@dataclass(frozen=True)
class MemoryCurve:
    """Resident memory [MB] after so many frames, and its trend after the warm-up [MB per 1,000 frames]."""

    frames: tuple[int, ...]
    resident_mb: tuple[float, ...]
    mb_per_1000_frames: float
    warm_mb: float
    last_mb: float
    problems: dict[str, int]

    def text(self) -> str:
        """One line for people."""
        return (
            f"{self.frames[-1]} frames: {self.warm_mb:.0f} MB after the first {100 * WARM_UP:.0f} %, {self.last_mb:.0f} MB at "
            f"the end, trend {self.mb_per_1000_frames:+.2f} MB per 1,000 frames; not usable: {self.problems or 'none'}"
        )


def perception_memory(recording: Path, frames: int, json_out: Path, progress: Callable[[int, int], None]) -> MemoryCurve:
    """Memory while a recording is perceived over and over, live, as one stream of `frames` frames; writes `json_out`.

    Raises:
        InvalidInput: too few frames to tell a trend.
        MissingDependency: the system does not tell a process's memory (no /proc).
        MissingFile, UnreadableFile: the recording cannot be read.
    """
    if frames < 100:
        raise InvalidInput(f"{frames} frames tell no trend; give 100 or more")
    require_writable_folder(Path(json_out).parent)
    stream, at, resident = LiveStream(), [], []
    try:
        for i, frame in enumerate(_endless(recording)):
            stream.step(replace(frame, rgb=np.zeros_like(frame.rgb)) if i % BROKEN == BROKEN - 1 else frame)
            if i % max(1, frames // SAMPLES) == 0 or i == frames - 1:
                at.append(i + 1)
                resident.append(resident_mb())
                progress(i + 1, frames)
            if i == frames - 1:
                break
    finally:
        stream.close()
    warm = np.array(at) > WARM_UP * frames
    slope = float(np.polyfit(np.array(at)[warm], np.array(resident)[warm], 1)[0])
    curve = MemoryCurve(
        tuple(at), tuple(resident), 1e3 * slope, float(np.array(resident)[warm][0]), resident[-1], stream.health.problems()
    )
    with atomic_path(json_out) as partial:
        partial.write_text(json.dumps(asdict(curve), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return curve


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
