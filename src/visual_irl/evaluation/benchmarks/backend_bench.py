"""The PyTorch back end measured: agreement with MediaPipe, latency of one stream, and several streams as one batch.

Agreement is told apart by how far tracking is trusted. Picture by picture, regions come from the detectors and both see the
same crop. Followed through a clip, a picture's region comes from the last one's landmarks, and a heat map's window moves in
whole cells: what differs by a hundredth of a pixel grows by half an order of magnitude a picture until it is as large as the
networks' own noise. How large that is tells MediaPipe beside itself, on the same clip with one level of noise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from visual_irl.errors import MissingFile
from visual_irl.io.atomic import atomic_path, require_writable_file
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.landmarks.detection import HandDetection, PersonDetection
from visual_irl.perception.landmarks.mediapipe_detector import MediapipeNetworks
from visual_irl.perception.landmarks.person_finder import Networks
from visual_irl.perception.landmarks.torch_detector import TorchDetectorConfig, TorchNetworks, detect_together
from visual_irl.types import RgbdFrame

STREAMS = 8
RATE = 30.0
"""Pictures a second of a camera [1/s]: so many of each stream are real time."""
WARM_UP = 10
"""Pictures before anything is timed: kernels are chosen, graphs are captured."""
VISIBLE = 0.5
"""Landmarks count that both call at least so visible."""

Progress = Callable[[str, int, int], None]
_Seen = tuple[PersonDetection | None, list[HandDetection]]


@dataclass
class _Apart:
    """How far two back ends are apart [px]: landmarks of bodies and hands, and pictures where only one saw something."""

    body: list[ndarray] = field(default_factory=list)
    hand: list[ndarray] = field(default_factory=list)
    one_sided: int = 0
    pictures: int = 0

    def add(self, one: _Seen, other: _Seen) -> None:
        """What both saw in one picture."""
        self.pictures += 1
        bodies, hands = (one[0], other[0]), (one[1], other[1])
        self.one_sided += (bodies[0] is None) != (bodies[1] is None) or len(hands[0]) != len(hands[1])
        if bodies[0] is not None and bodies[1] is not None:
            self.body.append(_apart(bodies[0], bodies[1]))
        for hand in hands[0]:
            gaps = [np.linalg.norm(hand.uv - candidate.uv, axis=1) for candidate in hands[1]]
            self.hand += [min(gaps, key=lambda gap: float(gap.mean()))] if gaps else []

    def figures(self) -> dict[str, Any]:
        """Median, 99th percentile and the share below 3 px; None where nothing was seen by both."""
        out: dict[str, Any] = {"pictures": self.pictures, "seen_by_one_only": self.one_sided}
        for name, gaps in (("body", self.body), ("hand", self.hand), ("all", [*self.body, *self.hand])):
            px = np.concatenate(gaps) if gaps else np.zeros(0)
            known = len(px) > 0
            out[name] = {
                "landmarks": len(px),
                "median_px": float(np.median(px)) if known else None,
                "p99_px": float(np.percentile(px, 99)) if known else None,
                "below_3_px": float((px < 3.0).mean()) if known else None,
            }
        return out


@dataclass(frozen=True)
class BackendBench:
    """The result."""

    content: dict[str, Any]

    def text(self) -> str:
        """A few lines for people."""
        c = self.content
        lines = [f"PyTorch on {c['device']}, {c['precision']}"]
        for clip, rows in c["agreement"].items():
            lines.append(f"  {clip}")
            for how, row in rows.items():
                m = row["all"]
                apart = "nothing seen" if m["median_px"] is None else (
                    f"median {m['median_px']:.2f} px, p99 {m['p99_px']:.1f} px, {100 * m['below_3_px']:.1f} % below 3 px"
                )  # fmt: skip
                lines.append(f"    {how:<42}{apart}; {row['seen_by_one_only']} of {row['pictures']} seen by one only")
        one, many = c["one_stream"], c["batch"]
        lines.append(f"  one stream: {one['ms_p50']:.1f} ms p50, {one['ms_p99']:.1f} ms p99")
        lines.append(
            f"  {many['streams']} streams as one batch: {many['ms_p50']:.1f} ms p50, {many['ms_p99']:.1f} ms p99 a batch, "
            f"{many['pictures_per_s']:.0f} pictures/s; {'real time' if many['real_time'] else 'not real time'} at {RATE:.0f} Hz"
        )
        return "\n".join(lines)


def bench_backend(
    recording: Path, clips: Sequence[Path], json_out: Path, pictures: int, progress: Progress, config: TorchDetectorConfig
) -> BackendBench:
    """Measure on a recording and on clips, `pictures` of each; writes `json_out`.

    Raises:
        MissingFile, UnreadableFile: a clip cannot be read.
        DownloadFailed: the weights cannot be had.
        UnwritableOutput: the result cannot be written.
    """
    require_writable_file(Path(json_out), "--json")
    for clip in clips:
        if not Path(clip).exists():
            raise MissingFile(f"no clip at '{clip}': --clips takes paths of videos")
    finder = config.build()
    tracker = finder.networks.tracker  # type: ignore[attr-defined]
    device: torch.device = tracker.device
    agreement = {}
    for k, clip in enumerate([recording, *clips]):
        progress("clips compared", k + 1, 1 + len(clips))
        agreement[clip.name] = _agreement(clip, pictures, config)
    frames = _first(recording, pictures)
    content = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "precision": "16 bit" if config.half and device.type == "cuda" else "32 bit",
        "pose_model": config.pose_model,
        "agreement": agreement,
        "one_stream": _one_stream(config, frames, progress),
        "batch": _batch(config, frames, progress),
    }
    with atomic_path(json_out) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return BackendBench(content)


def _agreement(clip: Path, pictures: int, config: TorchDetectorConfig) -> dict[str, Any]:
    """Each picture on its own, then followed; and MediaPipe beside itself on pictures with one level of noise."""
    alone, followed, itself = _Apart(), _Apart(), _Apart()
    theirs, noisy = (MediapipeNetworks(config.pose_model, config.min_confidence) for _ in range(2))
    ours, rng = config.build().networks, np.random.default_rng(0)
    assert isinstance(ours, TorchNetworks)
    for i, frame in enumerate(_first(clip, pictures)):
        ms = 1 + frame.stamp_ns // 1_000_000
        speckled = frame.rgb + rng.integers(0, 2, frame.rgb.shape, dtype=np.uint8) * (frame.rgb < 255)
        seen = _looked(theirs, frame.rgb, ms)
        followed.add(seen, _looked(ours, frame.rgb, ms))
        itself.add(seen, _looked(noisy, speckled, ms))
        if i % 5 == 0:
            fresh = MediapipeNetworks(config.pose_model, config.min_confidence), TorchNetworks(ours.tracker)
            alone.add(*(_looked(networks, frame.rgb, ms) for networks in fresh))
            fresh[0].close()
    theirs.close()
    noisy.close()
    return {
        "picture by picture": alone.figures(),
        "followed": followed.figures(),
        "MediaPipe beside itself, one level of noise": itself.figures(),
    }


def _looked(networks: Networks, rgb: ndarray, stamp_ms: int) -> _Seen:
    networks.begin(rgb, stamp_ms)
    return networks.body(), networks.hands()


def _one_stream(config: TorchDetectorConfig, frames: Sequence[RgbdFrame], progress: Progress) -> dict[str, Any]:
    """Pose and both hands of one stream, picture in memory to landmarks in memory."""
    finder, ms = config.build(), []
    for i, frame in enumerate(_endless(frames, WARM_UP + len(frames))):
        start = time.perf_counter()
        finder.detect(frame.rgb, frame.stamp_ns)
        ms.append(1e3 * (time.perf_counter() - start))
        progress("pictures of one stream", i + 1, WARM_UP + len(frames))
    return _latency(ms[WARM_UP:])


def _batch(config: TorchDetectorConfig, frames: Sequence[RgbdFrame], progress: Progress) -> dict[str, Any]:
    """All streams' newest pictures as one batch; the streams show different parts of the recording."""
    finders, ms = config.build_many(STREAMS), []
    count = WARM_UP + max(WARM_UP, len(frames) // STREAMS)
    films = [list(_endless([*frames[k:], *frames[:k]], count)) for k in range(0, STREAMS * 3, 3)]
    for i in range(count):
        newest = [film[i] for film in films]
        start = time.perf_counter()
        detect_together(finders, [frame.rgb for frame in newest], [frame.stamp_ns for frame in newest])
        ms.append(1e3 * (time.perf_counter() - start))
        progress(f"batches of {STREAMS} streams", i + 1, count)
    latency = _latency(ms[WARM_UP:])
    return {
        "streams": STREAMS,
        **latency,
        "pictures_per_s": 1e3 * STREAMS / float(np.mean(ms[WARM_UP:])),
        "real_time": bool(latency["ms_p99"] < 1e3 / RATE),
    }


def _latency(ms: Sequence[float]) -> dict[str, float]:
    return {"ms_p50": float(np.percentile(ms, 50)), "ms_p99": float(np.percentile(ms, 99))}


def _first(clip: Path, count: int) -> list[RgbdFrame]:
    with open_frames(clip) as source:
        return list(islice(source, count))


def _endless(frames: Sequence[RgbdFrame], count: int) -> Iterator[RgbdFrame]:
    """`count` frames of a loop, at `RATE`: a person who jumps at its seam is searched for anew there."""
    for i in range(count):
        yield replace(frames[i % len(frames)], stamp_ns=int((i + 1) * 1e9 / RATE))


def _apart(one: PersonDetection, other: PersonDetection) -> ndarray:
    seen = np.minimum(one.visibility, other.visibility) >= VISIBLE
    return np.asarray(np.linalg.norm(one.uv - other.uv, axis=1)[seen])
