"""What the perception benchmark looks at: rendered clips of several people, lights and moments, kept as recordings.

A task joins with its name in `FILMED`. The people here are not those on whom offsets and deviations were chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int
from numpy import ndarray

from visual_irl.evaluation.benchmarks.perception_score import FINGERS, TIP_ROWS
from visual_irl.io import artifacts
from visual_irl.io.recording_writer import RecordingWriter
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.tasks.performer import Performance
from visual_irl.types import KEYPOINTS, Demonstration, RgbdFrame

TRUTH = "truth.npz"
TIPS = "fingertips.npz"
TIP_LENGTH = 0.012
"""So much of a finger's end [m] is its tip, whose skin must be seen for the tip to count as visible."""
BODIES = (51, 52, 53)
"""Seeds of the people that are measured; 31 to 43 were looked at while choosing."""
LIGHTINGS = ("room", "dim", "lamp")
LENGTH = 36
"""Frames of a clip: nine clips make 324."""
STILL = 30
"""Frames of the clip in which nothing moves."""
FILMED = ("onion_sorting", "pouring")
"""Tasks whose clips are measured."""
BEFORE = {"pouring": 3}
"""Task -> `Clip.before` of its clips; onions are told without having been seen before."""


@dataclass(frozen=True)
class Clip:
    """One stretch of a rendered demonstration."""

    task: str
    body: int
    lighting: str
    seed: int
    side: str
    moment: float
    """Where the stretch lies in the demonstration, from 0 (its start) to 1 (its end)."""
    frames: int = LENGTH
    still: bool = False
    before: int = 0
    """Every so many frames of what was filmed before is shown to the object detector first: it knows vessels that have stood
    alone. 0 shows none."""

    @property
    def name(self) -> str:
        """Folder of the clip: every setting is in it, so that a changed one is rendered anew."""
        kind = ("still" if self.still else "moving") + (f"_after{self.before}_" if self.before else "")
        return f"{self.task}_b{self.body}_{self.lighting}_s{self.seed}_{self.side}_{self.moment:.2f}_{kind}{self.frames}"


def benchmark_clips() -> tuple[Clip, ...]:
    """Every body in every light, on either side, at moments spread over the demonstration."""
    clips = []
    for task in FILMED:
        for i, body in enumerate(BODIES):
            for k, lighting in enumerate(LIGHTINGS):
                number = len(LIGHTINGS) * i + k
                moment = ((4 * number) % 9 + 0.5) / 9.0
                side = "right" if number % 2 else "left"
                clips.append(Clip(task, body, lighting, 600 + number, side, moment, before=BEFORE.get(task, 0)))
    return tuple(clips)


def still_clip() -> Clip:
    """A scene in which nobody moves: what is left is jitter."""
    return Clip("onion_sorting", BODIES[0], LIGHTINGS[0], 610, "right", 0.3, STILL, still=True)


def render(clips: Iterable[Clip], folder: Path, progress: Callable[[int, int], None]) -> None:
    """Render what is not there yet; a clip whose truth and fingertips are written is complete."""
    missing = [clip for clip in clips if not all((folder / clip.name / name).is_file() for name in (TRUTH, TIPS))]
    total, done = sum(clip.frames for clip in missing), 0
    for clip in missing:
        camera = SyntheticCamera(task=clip.task, seed=clip.seed, body_seed=clip.body, side=clip.side, lighting=clip.lighting)
        first = int(clip.moment * (len(camera) - clip.frames))
        rows = np.full(clip.frames, first) if clip.still else np.arange(first, first + clip.frames)
        if clip.before:
            with RecordingWriter(frames_before(folder, clip), camera.fixtures) as writer:
                for frame in camera.film(range(0, first, clip.before)):
                    writer.write(frame)
        with RecordingWriter(folder / clip.name, camera.fixtures) as writer:
            for frame in _filmed(camera, clip, rows):
                writer.write(frame)
                done += 1
                progress(done, total)
        np.savez_compressed(folder / clip.name / TIPS, skin=fingertip_skin(camera.performance, rows))
        artifacts.save_demonstration(folder / clip.name / TRUTH, _cut(camera.truth, rows, camera.rate))


def fingertip_skin(performance: Performance, rows: Int[ndarray, "T"]) -> Float32[ndarray, "T N V 3"]:
    """Points of the skin at the end of each finger [m], in the order of `TIP_ROWS`; NaN where one has fewer than V."""
    rig = performance.human.rig
    skin = []
    for row in TIP_ROWS:
        side, _, finger, _ = KEYPOINTS[row].split("_")
        bone = rig.index(f"finger{1 + FINGERS.index(finger)}-3.{side[0].upper()}")
        mine = np.where(rig.bone_index == bone, rig.bone_weight, 0.0).sum(1) > 0.5
        end = np.flatnonzero(mine & (np.linalg.norm(rig.vertices - rig.tails[bone], axis=1) < TIP_LENGTH))
        Ts = np.einsum("vs,tvsij->tvij", rig.bone_weight[end], performance.Ts_world_bone[rows][:, rig.bone_index[end]])
        skin.append(np.einsum("tvij,vj->tvi", Ts[..., :3, :3], rig.vertices[end]) + Ts[..., :3, 3])
    most = max(points.shape[1] for points in skin)
    out = np.full((len(rows), len(skin), most, 3), np.nan, np.float32)
    for n, points in enumerate(skin):
        out[:, n, : points.shape[1]] = points
    return out


def frames_before(folder: Path, clip: Clip) -> Path:
    """Where the frames lie that are shown before a clip."""
    return folder / f"{clip.name}_before"


def _filmed(camera: SyntheticCamera, clip: Clip, rows: np.ndarray) -> Iterator[RgbdFrame]:
    return camera.film_still(int(rows[0]), clip.frames) if clip.still else camera.film(rows.tolist())


def _cut(truth: Demonstration, rows: np.ndarray, rate: float) -> Demonstration:
    """The truth of some frames, at times from 0 on."""
    return replace(
        truth,
        t=np.arange(len(rows)) / rate,
        p_world=truth.p_world[rows],
        covariance=truth.covariance[rows],
        seen=truth.seen[rows],
        aperture=truth.aperture[rows],
        objects={name: path[rows] for name, path in truth.objects.items()},
        held=tuple(truth.held[i] for i in rows),
        turns={name: R[rows] for name, R in truth.turns.items()},
    )
