"""Keypoints of one person over a whole recording or video."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput, NoPersonFound
from visual_irl.perception import DETECTORS
from visual_irl.perception.cameras.exposure import is_dark, well_exposed
from visual_irl.perception.cameras.shot_cuts import ShotCuts
from visual_irl.perception.cameras.sources import FrameSource
from visual_irl.perception.cameras.stream_health import StreamHealth, with_possible_depth
from visual_irl.perception.cameras.upright_camera import turned_upright
from visual_irl.perception.landmarks.detection import (
    POSE_INDEX,
    Detector,
    DoubtsSides,
    ExpectsPlace,
    PersonDetection,
    SeesCuts,
    SeesDepth,
)
from visual_irl.perception.skeleton.arm_depth import LimbLengths
from visual_irl.perception.skeleton.arm_memory import ArmMemory
from visual_irl.perception.skeleton.lifting import LiftingConfig, apparent_scale, lift_keypoints, to_world
from visual_irl.perception.skeleton.shoulder_cover import ShouldersBefore
from visual_irl.perception.skeleton.shoulder_memory import ShoulderMemory
from visual_irl.perception.skeleton.torso import ARM, arm_seen
from visual_irl.types import SIDES, KeypointFrame, RgbdFrame

_SHOULDERS = [POSE_INDEX[f"{side}_shoulder"] for side in SIDES]
Progress = Callable[[str, int, int | None], None]
"""Called with what is being done, how many frames are done, and how many there are where that is known."""


@dataclass(frozen=True)
class KeypointConfig:
    """How keypoints are extracted."""

    detector: str = "mediapipe"
    """A name of `perception.DETECTORS`."""
    lifting: LiftingConfig = field(default_factory=LiftingConfig)
    min_seen: float = 0.1
    """Smallest share of frames in which one arm must be complete; with less there is nothing to learn from."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1.0)

    def build_detector(self) -> Detector:
        """The detector with its default options.

        Raises:
            InvalidInput: a plug-in's `build()` gives no `Detector`.
        """
        detector = DETECTORS.load(self.detector)().build()
        if not isinstance(detector, Detector):
            raise InvalidInput(
                f"detector '{self.detector}': its build() gives a {type(detector).__name__} without detect(rgb, stamp_ns) and "
                "close(); see perception.landmarks.detection.Detector"
            )
        return detector


class KeypointStream:
    """Keypoints frame by frame, of one person: detector, lifting, and what is learned about the arms on the way."""

    def __init__(self, config: KeypointConfig, detector: Detector | None = None) -> None:
        self.config = config
        self.detector = detector or config.build_detector()
        self.lengths, self._arms, self._shoulders = LimbLengths(), ArmMemory(), ShoulderMemory()
        self.health = StreamHealth()
        """What was wrong with how many frames."""
        self.cuts = ShotCuts()
        self.new_shot = False
        """Whether the last frame was the first one that is known to belong to a new shot: nothing before tells of it."""

    def step(self, frame: RgbdFrame) -> KeypointFrame:
        """The frame's keypoints: in the world frame when the camera is calibrated, else in the camera frame.

        A frame without a person has all keypoints NaN and confidence 0, and so has one that cannot be used: see
        `StreamHealth`. No keypoint is carried over from other frames.
        """
        if isinstance(self.detector, SeesDepth):
            self.detector.show_depth(frame.depth)
        admitted = self.health.admit(frame)
        self.new_shot = admitted and self.cuts.look(frame)
        if self.new_shot:
            self.lengths, self._arms, self._shoulders = LimbLengths(), ArmMemory(), ShoulderMemory()
            if isinstance(self.detector, SeesCuts):
                self.detector.begin_shot()
        person = last = None
        if admitted:
            last = self._shoulders.before(frame.stamp_ns, frame.T_world_camera)
            person = self._detect(frame, last)
        if person is None:
            self.health.note_nobody(isinstance(self.detector, DoubtsSides) and self.detector.doubts_sides())
        if person is not None and frame.depth is not None:
            self.health.note_scale(apparent_scale(person, frame.depth, frame.intrinsics, self.config.lifting))
        lifted = None
        if person is not None and self.health.sound:
            before = self._arms.before(frame.stamp_ns, frame.T_world_camera)
            lifted = lift_keypoints(person, frame.depth, frame.intrinsics, self.config.lifting, self.lengths, before, last)
            self._arms.remember(lifted, frame.stamp_ns, frame.T_world_camera)
            if person.visibility[_SHOULDERS].min() >= self.config.lifting.min_visibility:
                self._shoulders.remember(lifted, frame.stamp_ns, frame.T_world_camera)
        for upper, fore in lifted.limbs if lifted else ():
            self.lengths = self.lengths.updated((float(upper), float(fore)))
        return to_world(lifted, frame.stamp_ns, frame.T_world_camera)

    def _detect(self, frame: RgbdFrame, last: ShouldersBefore) -> PersonDetection | None:
        """The person; a detector that follows somebody who came between is told where the person's own shoulders were."""
        rgb = well_exposed(frame).rgb
        if not (self._shoulders.astray and isinstance(self.detector, ExpectsPlace) and np.isfinite(last.p).all()):
            return self.detector.detect(rgb, frame.stamp_ns)
        self.detector.expect(frame.intrinsics.project(last.p).mean(0))
        try:
            return self.detector.detect(rgb, frame.stamp_ns)
        finally:
            self.detector.expect(None)

    def close(self) -> None:
        """Free the detector's networks."""
        self.detector.close()


def iterate_keypoints(
    source: FrameSource,
    detector: Detector,
    config: KeypointConfig,
    health: StreamHealth | None = None,
    expected: Callable[[RgbdFrame], Float[ndarray, "2"] | None] | None = None,
    cuts: ShotCuts | None = None,
) -> Iterator[tuple[RgbdFrame, KeypointFrame]]:
    """Each frame with its keypoints, see `KeypointStream.step`; frames that are not newer than the last are left out.

    Frames of a camera that lies on its side are turned upright. `health`, where it is given, counts what was wrong; `expected`
    says where in a frame the person's shoulders should be [px]; `cuts`, where it is given, finds where a video is cut.

    Raises:
        InvalidInput: no frame has any usable depth although the source has depth, or depth contradicts the person's size.
        NoPersonFound: an arm is complete in too few frames.
    """
    frames = persons = arms = with_depth = dark = 0
    stream = KeypointStream(config, detector)
    stream.health, stream.cuts = health or stream.health, cuts or stream.cuts
    for raw in source:
        frame = turned_upright(with_possible_depth(raw))
        if expected is not None and isinstance(detector, ExpectsPlace):
            detector.expect(expected(frame))
        newer, bare = stream.health.newer(frame), stream.health.no_depth
        keypoints = stream.step(frame)
        if not newer:
            continue
        frames, persons, with_depth = frames + 1, persons + keypoints.person, with_depth + (stream.health.no_depth == bare)
        arms += any(arm_seen([keypoints], side)[0] for side in SIDES)
        dark += stream.health.sound and not keypoints.person and is_dark(frame)
        yield frame, keypoints
    stream.health.refuse(source.refused)
    if frames and not with_depth:
        raise InvalidInput(
            f"'{source.path}': no pixel of {frames} depth pictures is known; check that the depth stream is on "
            "and its depth unit is right"
        )
    if stream.health.wrong_scale > persons:
        raise InvalidInput(
            f"'{source.path}': the depth pictures put the person {stream.health.scale:.2g} times as far away as their size in "
            f"the picture does, in {stream.health.wrong_scale} of {frames} frames; check the depth's unit and the camera's "
            "focal length"
        )
    needed = max(1, math.ceil(config.min_seen * frames))
    if arms < needed:
        unsure = stream.health.sides_unknown
        doubt = f", and one without a head in {unsure}, whose left and right are not certain" if unsure else ""
        gloom, light = (f"; {dark} are dark", "in more light, ") if 2 * dark > frames - arms else ("", "")
        raise NoPersonFound(
            f"'{source.path}': an arm ({', '.join(ARM)}) is seen in {arms} of {frames} frames, {needed} are needed "
            f"(a body in {persons}{doubt}{gloom}); film the person {light}upright, from the front, {'head, ' if unsure else ''}"
            "shoulders and the whole arm in the picture"
        )


def extract_keypoints(
    source: FrameSource,
    config: KeypointConfig | None = None,
    progress: Progress | None = None,
    detector: Detector | None = None,
) -> tuple[Float[ndarray, "T"], list[KeypointFrame]]:
    """Times [s] from the first frame, and the keypoints of every frame; see `iterate_keypoints`."""
    config = config or KeypointConfig()
    own = detector is None
    detector = detector or config.build_detector()
    frames: list[KeypointFrame] = []
    try:
        for _, keypoints in iterate_keypoints(source, detector, config):
            frames.append(keypoints)
            if progress:
                progress("finding keypoints", len(frames), source.count)
    finally:
        if own:
            detector.close()
    stamps = np.array([frame.stamp_ns for frame in frames])
    return (stamps - stamps[0]) / 1e9, frames
