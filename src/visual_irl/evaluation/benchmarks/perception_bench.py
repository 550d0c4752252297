"""The perception benchmark: our keypoints and objects beside bare MediaPipe, on the same rendered frames, in one run.

Ours and bare MediaPipe take turns frame by frame, so that other load on the machine meets both alike; which one comes first
alternates. CPU time is the whole process's, so that the networks' threads count; each clip's first frame, on which networks
are loaded, is not timed, and code is compiled on a clip of each task before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from visual_irl.evaluation.benchmarks.perception_rivals import BareMediapipe, back_projected, world_landmarks
from visual_irl.evaluation.benchmarks.perception_scenes import (
    TIPS,
    TRUTH,
    Clip,
    benchmark_clips,
    frames_before,
    render,
    still_clip,
)
from visual_irl.evaluation.benchmarks.perception_score import (
    ARM_ROWS,
    Paths,
    Truth,
    figures,
    holding_figures,
    object_figures,
    visible_tips,
)
from visual_irl.evaluation.pictures import contact_sheet
from visual_irl.io import artifacts
from visual_irl.io.atomic import atomic_path, require_writable_file, require_writable_folder
from visual_irl.perception.assembly import assemble
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.drawing import draw_keypoints
from visual_irl.perception.grasp import HandWatch
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.skeleton.live import LiveFilter
from visual_irl.perception.skeleton.smoothing import smooth_keypoints
from visual_irl.types import Demonstration, KeypointFrame, RgbdFrame

METHODS = ("ours", "ours_live", "world_landmarks", "back_projection")
PICTURES = 9
SETTLING = 10
"""Frames of the still clip before its jitter is measured."""


@dataclass
class _Run:
    """What is gathered over one clip."""

    truth: Truth
    frames: list[KeypointFrame] = field(default_factory=list)
    live: list[KeypointFrame] = field(default_factory=list)
    rivals: dict[str, list[ndarray]] = field(default_factory=lambda: {"world_landmarks": [], "back_projection": []})
    seconds: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: {"ours": [], "objects": [], "bare": []})


@dataclass(frozen=True)
class PerceptionBench:
    """The result of the benchmark."""

    clips: tuple[Clip, ...]
    methods: dict[str, dict[str, Any]]
    bare_mediapipe_cpu_ms: float

    def as_json(self) -> dict[str, Any]:
        """The content of the result file."""
        return {
            **self.methods,
            "bare_mediapipe_cpu_ms": self.bare_mediapipe_cpu_ms,
            "frames": sum(clip.frames for clip in self.clips),
            "clips": [clip.name for clip in self.clips],
        }

    def table(self) -> str:
        """All methods as text for people."""
        lines = [
            f"{sum(clip.frames for clip in self.clips)} rendered frames in {len(self.clips)} clips",
            f"{'method':<18}{'arm mm mean/p95':>17}{'fingertip mm':>14}{'missed':>8}{'swapped':>9}{'in 90 %':>9}"
            f"{'CPU ms':>8}{'ms p50/p99':>14}",
        ]
        for name in METHODS:
            m = self.methods[name]
            arm = "/".join(_text(m[key], 1) for key in ("arm_mm_mean", "arm_mm_p95"))
            latency = "/".join(_text(m.get(key), 0) for key in ("latency_ms_p50", "latency_ms_p99"))
            lines.append(
                f"{name:<18}{arm:>17}{_text(m['fingertip_mm_mean'], 1):>14}{_text(m['missed'], 3):>8}"
                f"{_text(m['swapped'], 3):>9}{_text(m['interval90_coverage'], 3):>9}{_text(m.get('cpu_ms'), 1):>8}{latency:>14}"
            )
        ours, live = self.methods["ours"], self.methods["ours_live"]
        lines += [
            "objects "
            + ", ".join(f"{label} {_text(mm, 1)} mm" for label, mm in sorted(ours["objects_mm"].items()))
            + f", axes {_text(ours['axis_deg_mean'], 1)} degrees, attributes right {_text(ours['attribute_accuracy'], 3)}, "
            f"{ours['false_sightings']} of {ours['object_sightings']} sightings false",
            f"holding, live: {_text(live['holding_told'], 2)} of the frames with something in the hand told, "
            f"{_text(live['holding_claimed'], 2)} of the others claimed",
            f"still arm {_text(ours['jitter_mm_rms'], 2)} mm RMS ({_text(live['jitter_mm_rms'], 2)} live); bare MediaPipe "
            f"{self.bare_mediapipe_cpu_ms:.1f} CPU ms, overhead {100 * ours['cpu_overhead']:+.1f} % "
            f"({100 * ours['keypoints_cpu_overhead']:+.1f} % without objects)",
        ]
        return "\n".join(lines)


def bench_perception(
    json_out: Path,
    folder: Path,
    pictures: Path | None,
    progress: Callable[[str, int, int], None],
    clips: tuple[Clip, ...] | None = None,
    still: Clip | None = None,
) -> PerceptionBench:
    """Measure on all clips (those of `benchmark_clips` when not given); writes `json_out`.

    Clips are rendered into `folder` where they are not there yet.

    Raises:
        MissingDependency: no OpenGL to render with.
        DownloadFailed: the weights cannot be had.
        UnwritableOutput: a result cannot be written.
    """
    require_writable_file(Path(json_out), "--json")
    require_writable_folder(folder)
    if pictures is not None:
        require_writable_folder(pictures, "--pictures")
    clips, still = clips or benchmark_clips(), still or still_clip()
    render([*clips, still], folder, lambda done, total: progress("rendering", done, total))
    for task in sorted({clip.task for clip in clips}):
        _warm_up(folder, next(clip for clip in clips if clip.task == task))
    runs: list[_Run] = []
    truths: list[Demonstration] = []
    album: list[tuple[str, ndarray]] = []
    total = sum(clip.frames for clip in clips) + still.frames
    for clip in [*clips, still]:
        truth = artifacts.load_demonstration(folder / clip.name / TRUTH)
        before = sum(len(run.frames) for run in runs)
        run, picture = _measure(folder, clip, truth, lambda n, before=before: progress("measuring", before + n, total))  # type: ignore[misc]
        runs.append(run)
        truths.append(truth)
        album.append((f"{clip.task} {clip.body} {clip.lighting}", picture))
    bench = _judge(clips, runs[:-1], truths[:-1], runs[-1])
    if pictures is not None:
        contact_sheet(
            pictures / "perception.png", [image for _, image in album[:PICTURES]], [name for name, _ in album[:PICTURES]]
        )
    with atomic_path(json_out) as partial:
        partial.write_text(json.dumps(bench.as_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return bench


def _warm_up(folder: Path, clip: Clip) -> None:
    """Ours on a clip, untimed: what is compiled on the way, once after an installation, takes seconds."""
    stream, live, finder = KeypointStream(KeypointConfig()), LiveFilter(), ObjectsConfig().build(clip.task)
    for source in ([frames_before(folder, clip)] if clip.before else []) + [folder / clip.name]:
        with open_frames(source) as frames:
            for frame in frames:
                finder.detect(frame)
                if source == folder / clip.name:
                    _ours(stream, live, frame)
    stream.close()


def _measure(folder: Path, clip: Clip, truth: Demonstration, progress: Callable[[int], None]) -> tuple[_Run, ndarray]:
    """Everything on one clip, and a picture of its middle."""
    run = _Run(Truth(truth.p_world, np.zeros((len(truth.t), 0), bool), truth.side))
    stream, live, bare = KeypointStream(KeypointConfig()), LiveFilter(), BareMediapipe()
    finder = ObjectsConfig().build(truth.task)
    with np.load(folder / clip.name / TIPS) as tips:
        skin = tips["skin"]
    visible, picture = [], np.zeros((1, 1, 3), np.uint8)
    if clip.before:
        with open_frames(frames_before(folder, clip)) as source:
            for frame in source:
                finder.detect(frame)
    with open_frames(folder / clip.name) as source:
        for i, frame in enumerate(source):
            if i % 2:
                person = _timed(run, "bare", lambda frame=frame: bare.detect(frame.rgb, frame.stamp_ns))  # type: ignore[misc]
            keypoints, smooth = _timed(run, "ours", lambda frame=frame: _ours(stream, live, frame))  # type: ignore[misc]
            objects = _timed(run, "objects", lambda frame=frame: finder.detect(frame))  # type: ignore[misc]
            if not i % 2:
                person = _timed(run, "bare", lambda frame=frame: bare.detect(frame.rgb, frame.stamp_ns))  # type: ignore[misc]
            run.frames.append(replace(keypoints, objects=objects))
            run.live.append(smooth)
            run.rivals["world_landmarks"].append(world_landmarks(person, frame, truth.p_world[i]))
            run.rivals["back_projection"].append(back_projected(person, frame))
            assert frame.depth is not None and frame.T_world_camera is not None
            visible.append(visible_tips(skin[i], frame.T_world_camera, frame.depth, frame.intrinsics))
            if i == len(truth.t) // 2:
                picture = draw_keypoints(frame.rgb, keypoints)
            progress(i + 1)
    stream.close()
    bare.close()
    return replace(run, truth=replace(run.truth, tips_visible=np.array(visible))), picture


def _ours(stream: KeypointStream, live: LiveFilter, frame: RgbdFrame) -> tuple[KeypointFrame, KeypointFrame]:
    keypoints = stream.step(frame)
    return keypoints, live.step(keypoints)


def _timed(run: _Run, what: str, call: Callable[[], Any]) -> Any:
    cpu, wall = time.process_time(), time.perf_counter()
    result = call()
    run.seconds[what].append((time.process_time() - cpu, time.perf_counter() - wall))
    return result


def _judge(clips: tuple[Clip, ...], runs: list[_Run], truths: list[Demonstration], still: _Run) -> PerceptionBench:
    """Figures of all methods. Object tracking needs the smoothed hand, so it works on the smoothed frames."""
    true = [run.truth for run in runs]
    smoothed = [_smoothed(run, truth) for run, truth in zip(runs, truths, strict=True)]
    paths = {"ours": smoothed, "ours_live": [_paths(run.live) for run in runs]}
    paths |= {
        name: [Paths(np.array(run.rivals[name]), None) for run in runs] for name in ("world_landmarks", "back_projection")
    }
    methods = {name: figures(paths[name], true) for name in METHODS}
    tracked = [
        assemble(
            [replace(f, p_world=p, covariance=c) for f, p, c in zip(run.frames, x.p, x.covariance, strict=True)],  # type: ignore[arg-type]
            truth.side, truth.fixtures, truth.task, "world", {},
        )
        for run, truth, x in zip(runs, truths, smoothed, strict=True)
    ]  # fmt: skip
    methods["ours"] |= object_figures([[f.objects for f in run.frames] for run in runs], tracked, truths)
    methods["ours_live"] |= holding_figures([_with_hands(run) for run in runs], truths)
    cpu = {what: 1e3 * np.concatenate([np.array(run.seconds[what][1:]) for run in runs]) for what in runs[0].seconds}
    mean = {what: float(values[:, 0].mean()) for what, values in cpu.items()}
    wall = cpu["ours"][:, 1] + cpu["objects"][:, 1]
    ours = mean["ours"] + mean["objects"]
    methods["ours"] |= {
        "cpu_ms": ours,
        "keypoints_cpu_ms": mean["ours"],
        "objects_cpu_ms": mean["objects"],
        "cpu_overhead": ours / mean["bare"] - 1.0,
        "keypoints_cpu_overhead": mean["ours"] / mean["bare"] - 1.0,
        "latency_ms_p50": float(np.percentile(wall, 50)),
        "latency_ms_p99": float(np.percentile(wall, 99)),
    }
    for name in ("world_landmarks", "back_projection"):
        methods[name] |= {"cpu_ms": mean["bare"], **_latency(cpu["bare"][:, 1])}
    methods["ours"]["jitter_mm_rms"] = _jitter(_smoothed_paths(still).p)
    methods["ours_live"]["jitter_mm_rms"] = _jitter(_paths(still.live).p)
    return PerceptionBench(clips, methods, mean["bare"])


def _latency(ms: ndarray) -> dict[str, float]:
    return {"latency_ms_p50": float(np.percentile(ms, 50)), "latency_ms_p99": float(np.percentile(ms, 99))}


def _paths(frames: list[KeypointFrame]) -> Paths:
    return Paths(np.array([f.p_world for f in frames]), np.array([f.covariance for f in frames]))


def _with_hands(run: _Run) -> list[KeypointFrame]:
    """The live frames with their objects and what the hands do."""
    watch = HandWatch()
    return [watch.step(replace(f, objects=seen.objects)) for f, seen in zip(run.live, run.frames, strict=True)]


def _smoothed(run: _Run, truth: Demonstration) -> Paths:
    smooth = smooth_keypoints(truth.t, run.frames)
    return Paths(smooth.p_world, smooth.covariance)


def _smoothed_paths(run: _Run) -> Paths:
    stamps = np.array([f.stamp_ns for f in run.frames])
    smooth = smooth_keypoints((stamps - stamps[0]) * 1e-9, run.frames)
    return Paths(smooth.p_world, smooth.covariance)


def _jitter(p: ndarray) -> float | None:
    """RMS distance [mm] of arm joints from their mean place, once the filter has settled."""
    arm = p[SETTLING:, ARM_ROWS]
    away = np.linalg.norm(arm - arm.mean(0), axis=2)
    return float(1e3 * np.sqrt((away**2).mean())) if np.isfinite(away).all() else None


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
