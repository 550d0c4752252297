"""Frames in, a demonstration out: keypoints and objects of every frame, smoothed and put together."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from visual_irl.errors import InvalidInput, NoPersonFound, UnreadableFile
from visual_irl.perception.assembly import assemble
from visual_irl.perception.cameras.depth_alignment import DepthAlignment
from visual_irl.perception.cameras.exposure import well_exposed
from visual_irl.perception.cameras.shot_cuts import ShotCuts
from visual_irl.perception.cameras.sources import FrameSource, VideoConfig, is_video, open_frames
from visual_irl.perception.cameras.stream_health import StreamHealth
from visual_irl.perception.drawing import draw_keypoints
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.perception.objects.tracking import TrackingConfig
from visual_irl.perception.skeleton.fusion import FusionConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig, iterate_keypoints
from visual_irl.perception.skeleton.lifting import to_world
from visual_irl.perception.skeleton.moments import expected_shoulders, fuse_cameras
from visual_irl.perception.skeleton.smoothing import SmoothingConfig, smooth_keypoints
from visual_irl.perception.skeleton.torso import ArmLengths, align_to_torso, demonstrating_side
from visual_irl.tasks import TASKS, load_task
from visual_irl.types import SIDES, Demonstration, KeypointFrame, RgbdFrame, keypoint_index


@dataclass(frozen=True)
class ExtractionConfig:
    """How frames become a demonstration."""

    side: str = "auto"
    """The demonstrating arm: right, left, or auto for the one that moves more."""
    task: str = "onion_sorting"
    """Task whose objects are looked for."""
    every: int = 1
    """Use every n-th frame: a long clip at 30 frames a second loses little at 10."""
    keypoints: KeypointConfig = field(default_factory=KeypointConfig)
    objects: ObjectsConfig = field(default_factory=ObjectsConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    video: VideoConfig = field(default_factory=VideoConfig)
    fusion: FusionConfig = field(default_factory=FusionConfig)
    """How several cameras become one."""
    lengths: ArmLengths = field(default_factory=ArmLengths)
    """The person's arm, which gives a video without depth its scale."""

    def __post_init__(self) -> None:
        if self.side not in ("auto", *SIDES):
            raise InvalidInput(f"side '{self.side}' is unknown; known: auto, {', '.join(SIDES)}")
        if not 1 <= self.every <= 30:
            raise InvalidInput(f"every is {self.every}, must lie between 1 and 30")

    def with_lengths(self, upper_arm: float | None, forearm: float | None) -> ExtractionConfig:
        """The same with the person's own limb lengths [m], where they are given."""
        given = {"upper_arm_length": upper_arm, "forearm_length": forearm}
        lengths = dataclasses.replace(self.lengths, **{k: v for k, v in given.items() if v is not None})
        return dataclasses.replace(self, lengths=lengths)


def extract_demonstration(
    paths: Sequence[Path],
    config: ExtractionConfig,
    pictures: int,
    progress: Callable[[int, int], None],
) -> tuple[Demonstration, list[tuple[str, UInt8[ndarray, "H W 3"]]]]:
    """The demonstration that a recording, folder or video shows, and about `pictures` titled frames with the keypoints on them.

    Several are cameras of one world that filmed the same person at the same time: they are fused. Objects are looked for where
    there is depth in a calibrated world. Without such a world, it is the person's torso.

    Raises:
        MissingFile, UnreadableFile, InvalidInput: the input cannot be read, or cameras have no common world or time. Of several
            cameras, one that breaks off only ends there; the demonstration's note says so.
        NoPersonFound: no arm is seen in enough frames.
    """
    views: list[_View] = []
    for path in paths:
        done = sum(len(view.frames) for view in views)
        guide = next((view.frames for view in views if view.frames), None)
        views.append(
            _watched(Path(path), config, len(paths), pictures, lambda n, of, done=done: progress(done + n, done + of), guide)  # type: ignore[misc]
        )
    found = [view for view in views if view.frames]
    if not found:
        raise NoPersonFound("; ".join(view.notes["note"] for view in views))
    if len(paths) == 1 and len(found[0].frames) < 2:
        raise InvalidInput(f"'{paths[0]}' has one frame; a demonstration needs two or more, record longer")
    frames, notes = (found[0].frames, found[0].notes) if len(paths) == 1 else _fused(views, config.fusion)
    shots = found[0].shots if len(paths) == 1 else []
    side = demonstrating_side(frames) if config.side == "auto" else config.side
    calibrated, fixtures = notes["calibrated"], {}
    if not calibrated:
        frames = _in_torso(frames, shots, side, None if notes["depth"] else config.lengths)
        frames = [dataclasses.replace(f, objects=()) for f in frames]
    else:
        fixtures = {name: T for view in reversed(found) for name, T in view.fixtures.items()}
    frames = _smoothed(frames, config.smoothing, shots)
    world = "world" if calibrated else "torso"
    demo = assemble(frames, side, fixtures, config.task, world, _provenance(notes, frames), config.tracking)
    examples = [view.example for view in found if view.example is not None]
    if examples and not any(demo.held):
        note = "; ".join(part for part in (notes["note"], _nothing_held(demo, config, examples)) if part)
        demo = dataclasses.replace(demo, provenance={**demo.provenance, "note": note})
    return demo, [page for view in views for page in view.pages]


@dataclass(frozen=True)
class _View:
    """What one camera saw."""

    frames: list[KeypointFrame]
    fixtures: Mapping[str, Float[ndarray, "4 4"]]
    notes: dict[str, Any]
    pages: list[tuple[str, ndarray]]
    example: RgbdFrame | None
    """The first frame in which objects were looked for."""
    shots: list[int]
    """With which frames a new shot begins."""


def _watched(
    path: Path,
    config: ExtractionConfig,
    cameras: int,
    pictures: int,
    progress: Callable[[int, int], None],
    guide: Sequence[KeypointFrame] | None,
) -> _View:
    """All that one camera saw of the person whom the one before it followed (`guide`). What fails raises, but one of several
    cameras only ends."""
    expected = None if guide is None else partial(expected_shoulders, guide)
    album = _Album(-(-pictures // cameras))
    frames: list[KeypointFrame] = []
    calibrated = metric = True
    failure = example = None
    alignment, cuts = DepthAlignment(), ShotCuts()
    with open_frames(path, config.video) as every_frame:
        source = thinned(every_frame, config.every)
        health = StreamHealth()
        finder = config.objects.build(config.task)  # first: it may refuse, and a detector has to be closed
        detector = config.keypoints.build_detector()
        try:
            for frame, keypoints in iterate_keypoints(source, detector, config.keypoints, health, expected, cuts):
                calibrated &= frame.T_world_camera is not None
                metric &= frame.depth is not None
                if cameras > 1 and not calibrated:
                    raise InvalidInput(
                        f"'{path}' does not say where its camera stands, as each of {cameras} cameras must; "
                        "`visual-irl calibrate extrinsics` finds it"
                    )
                if frame.depth is not None and frame.T_world_camera is not None:
                    keypoints = dataclasses.replace(keypoints, objects=finder.detect(well_exposed(frame)))
                    if example is None and health.sound:
                        example = frame
                frames.append(keypoints)
                if health.sound:  # many videos end in black
                    alignment.look(frame)
                    album.offer(frame.rgb, keypoints, frames[0].stamp_ns)
                progress(len(frames), source.count or len(frames))
        except (UnreadableFile, NoPersonFound) as error:
            if cameras == 1:
                raise
            failure = f"camera '{path.name}': {error}; its {len(frames)} frames before that were used"
        finally:
            detector.close()
        fixtures, note = source.fixtures, source.note
    remarks = _beside(alignment), _cut(path, cuts, frames), _from_behind(frames, cameras)
    said = "; ".join(part for part in (note, _unusable(health), _unsure(health), *remarks, failure) if part) or None
    notes = {"source": path.name, "calibrated": calibrated, "depth": metric, "note": said, "problems": health.problems()}
    title = f"{path.stem}, " if cameras > 1 else ""
    pages = [(f"{title}t = {t:.1f} s", picture) for t, picture in album.pages]
    return _View(frames, fixtures, notes, pages, example, [i for i, f in enumerate(frames) if f.stamp_ns in cuts.stamps])


def _nothing_held(demo: Demonstration, config: ExtractionConfig, examples: Sequence[RgbdFrame]) -> str:
    """What to say when no object of the task was ever in the hand, and what some frames show of other tasks."""
    said = [f"no object of task '{config.task}' was {'ever held' if demo.objects else 'found'}"]
    tasks = (*TASKS.names, config.task) if config.objects.detector == "auto" else ()
    by_detector = {load_task(task).detector: task for task in tasks}
    others = [task for detector, task in by_detector.items() if detector and task != config.task]
    for task in others:
        finder = config.objects.build(task)
        labels = sorted({thing.label for frame in examples for thing in finder.detect(well_exposed(frame))})
        said += [f"the first picture shows {' and '.join(labels)}, as --task {task} has"] if labels else []
    return "; ".join(said)


def _fused(views: Sequence[_View], config: FusionConfig) -> tuple[list[KeypointFrame], dict[str, Any]]:
    """The keypoints of several cameras as those of one, and what is to be said about it."""
    frames, shares, left_out = fuse_cameras([view.frames for view in views], config)
    names = [view.notes["source"] for view in views]
    notes = {"source": ", ".join(names), "calibrated": True, "depth": True, "left_out": left_out}
    notes["note"] = "; ".join(view.notes["note"] for view in views if view.notes["note"]) or None
    notes["problems"] = [view.notes["problems"] for view in views]
    notes["cameras"] = list(zip(names, shares, strict=True))
    return frames, notes


def thinned(source: FrameSource, every: int) -> FrameSource:
    """Every n-th frame of a source."""
    count = None if source.count is None else -(-source.count // every)
    return FrameSource(
        source.path,
        lambda: islice(source, 0, None, every),
        count,
        source.has_depth,
        source.fixtures,
        source.note,
        source.refused,
    )


def _in_torso(frames: list[KeypointFrame], shots: Sequence[int], side: str, lengths: ArmLengths | None) -> list[KeypointFrame]:
    """The frames of each shot, which `shots` begin, in its own torso frame; those of a shot that shows none are lost.

    Raises:
        NoPersonFound: no shot shows the arm and both shoulders.
    """
    aligned: list[KeypointFrame] = []
    refused: list[NoPersonFound] = []
    ends = [0, *shots, len(frames)]
    for begin, end in pairwise(ends):
        try:
            aligned += align_to_torso(frames[begin:end], side, lengths)[0]
        except NoPersonFound as error:
            refused.append(error)
            aligned += [to_world(None, frame.stamp_ns, None) for frame in frames[begin:end]]
    if len(refused) == len(ends) - 1:
        raise refused[0]
    return aligned


def _smoothed(frames: list[KeypointFrame], config: SmoothingConfig, shots: Sequence[int]) -> list[KeypointFrame]:
    """The frames with smoothed keypoints; what the smoother could not bridge is lost. With `shots` a new shot begins."""
    t = (np.array([f.stamp_ns for f in frames]) - frames[0].stamp_ns) * 1e-9
    paths = smooth_keypoints(t, frames, config, shots)
    found = np.isfinite(paths.p_world).all(axis=2)
    return [
        dataclasses.replace(f, p_world=p, covariance=c, confidence=np.where(ok, np.maximum(f.confidence, 1e-3), 0.0))
        for f, p, c, ok in zip(frames, paths.p_world, paths.covariance, found, strict=True)
    ]


_LOST = "no_person", "sides_unknown"
_UNSURE = 0.05
"""Share of the frames from which on it is said that left and right are not certain in them."""


def _unsure(health: StreamHealth) -> str | None:
    """How often a body without a head is lost because its left and right are not certain."""
    n = health.sides_unknown
    if n <= _UNSURE * health.frames:
        return None
    return (
        f"left and right of a body without a head are not certain in {n} of {health.frames} frames, which are lost: film the "
        "head, too, or in colour and with more light"
    )


def _unusable(health: StreamHealth) -> str | None:
    """Which frames of a source could not be used."""
    unused = [f"{n} {name.replace('_', ' ')}" for name, n in health.problems().items() if name not in _LOST]
    return f"unusable frames: {', '.join(unused)} of {health.frames}" if unused else None


def _beside(alignment: DepthAlignment) -> str | None:
    """Where depth does not lie on colour."""
    offset = alignment.offset()
    if offset is None:
        return None
    where = f"{abs(offset)} pixels to the {'right' if offset > 0 else 'left'} of colour"
    return f"depth lies {where}, so fingers and objects are off: align it in the driver (align_depth.enable:=true) or calibrate"


def _cut(path: Path, cuts: ShotCuts, frames: Sequence[KeypointFrame]) -> str | None:
    """Where a video is put together of several shots, and how the longest is had alone."""
    if not cuts.stamps:
        return None
    begins = [1e-9 * (stamp - frames[0].stamp_ns) for stamp in (frames[0].stamp_ns, *cuts.stamps, frames[-1].stamp_ns)]
    times = ", ".join(f"{t:.1f}" for t in begins[1:-1][:5])
    more = f" and {len(cuts.stamps) - 5} more" if len(cuts.stamps) > 5 else ""
    said = f"the picture becomes another one at {times} s{more}, as at a cut: extract each shot by itself"
    if not is_video(path):
        return said
    longest = int(np.argmax(np.diff(begins)))
    end = "" if longest == len(cuts.stamps) else f" -to {begins[longest + 1]:.2f}"
    return f"{said} (`ffmpeg -i {shlex.quote(path.name)} -ss {begins[longest]:.2f}{end} shot.mp4` makes a file of the longest)"


def _from_behind(frames: Sequence[KeypointFrame], cameras: int) -> str | None:
    """Whether the person shows their back; of several cameras, the others tell left from right."""
    shoulders = [keypoint_index(f"{side}_shoulder") for side in SIDES]
    seen = [f.uv[shoulders, 0] for f in frames if (f.confidence[shoulders] > 0.0).all()]
    if cameras > 1 or not seen:
        return None
    backs = sum(bool(left < right) for left, right in seen)
    if 2 * backs <= len(seen):
        return None
    return (
        f"the person is seen from behind in {backs} of {len(seen)} frames; if they face the camera, left and right are "
        "exchanged: film the head, too"
    )


def _provenance(notes: dict[str, Any], frames: list[KeypointFrame]) -> dict[str, Any]:
    return {**notes, "frames": len(frames), "frames_with_person": sum(f.person for f in frames)}


class _Album:
    """Keeps some evenly spaced pictures of a stream of unknown length in bounded memory."""

    def __init__(self, pages: int) -> None:
        self._wanted, self._stride, self._seen = pages, 1, 0
        self._kept: list[tuple[float, ndarray]] = []

    def offer(self, rgb: ndarray, keypoints: KeypointFrame, start_ns: int) -> None:
        """Maybe keep a frame."""
        if self._wanted and self._seen % self._stride == 0:
            self._kept.append(((keypoints.stamp_ns - start_ns) * 1e-9, draw_keypoints(rgb, keypoints)))
            if len(self._kept) >= 4 * self._wanted:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._seen += 1

    @property
    def pages(self) -> list[tuple[float, ndarray]]:
        """The wanted number of pictures, from beginning to end."""
        if len(self._kept) <= self._wanted:
            return self._kept
        rows = np.linspace(0, len(self._kept) - 1, self._wanted).astype(int)
        return [self._kept[i] for i in rows]
