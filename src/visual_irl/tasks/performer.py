"""A scripted person who handles things at a table: how the hand moves, how the body follows, and what a camera would see.

The hand moves by overlapping minimum-jerk submovements (Flash and Henis 1991, J. Cogn. Neurosci. 3(3)): each one adds
`d * s(t)` with `s = 10 t^3 - 15 t^4 + 6 t^5` (Flash and Hogan 1985), so that speed is smooth where they overlap. What
is planned is the grasp centre between thumb and fingers and the hand's orientation; the arm follows by inverse
kinematics with the elbow low and slightly outward, and the trunk leans when a target is far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.tasks.body import Body
from visual_irl.tasks.human import ArmPosture, Human, Posture, elbow_of, frame_of, turns_about
from visual_irl.tasks.scene import Scene
from visual_irl.types import KEYPOINTS, SIDES, Demonstration, keypoint_index, require_side

MAX_LEAN = 0.40
"""Forward lean that a seated person adds for a far target [rad]."""
BASE_LEAN = 0.05
OPEN_HAND = (0.02, -0.25)
REST_HAND = (0.0, 0.10)
"""Curl and thumb of the hand before a grasp and at rest."""

Course = Callable[[Float[ndarray, "T"]], tuple[ndarray, ndarray]]
"""Displacement (T, 3) [m] and turn in the hand's own frame (T, 3, 3) of a submovement at shares of it in [0, 1]."""


@dataclass(frozen=True)
class PerformerConfig:
    """How a person moves, whatever the task. Durations [s] vary by `variation` from move to move."""

    seed: int = 0
    side: str = "right"
    rate: float = 15.0
    """Samples a second [Hz]."""
    rest: float = 0.35
    """Time at rest before the first and after the last move."""
    overlap: float = 0.20
    """How long a submovement overlaps the next."""
    variation: float = 0.06

    def __post_init__(self) -> None:
        require_side(self.side)
        if not 1.0 <= self.rate <= 1000.0:
            raise InvalidInput(f"rate {self.rate} Hz is outside of 1 to 1000 Hz")


@dataclass(frozen=True)
class Performance:
    """What a scripted person did: the true demonstration, and what a camera needs to draw it.

    `Ts_world_bone` carries points of the person's rest mesh into the world; `Rs_object` are the objects' turns since
    the start (a thing turns with the hand).
    """

    scene: Scene
    human: Human
    demonstration: Demonstration
    postures: tuple[Posture, ...]
    Ts_world_bone: Float[ndarray, "T N 4 4"]
    Rs_object: dict[str, Float[ndarray, "T 3 3"]]


@dataclass(frozen=True)
class Staging:
    """Who performs a task, with which hand, and what chance decides."""

    seed: int = 0
    """Draws the scene and the person's timing."""
    body_seed: int = 0
    """Draws the person; 0 is the average one."""
    side: str = "right"
    """The hand that does it; the table is mirrored for the left."""
    rate: float = 15.0
    """Samples a second [Hz]."""
    things: int | None = None
    """How many there are to handle, where a task leaves that open; None: as many as are usual."""


def min_jerk(s: Float[ndarray, "T"]) -> Float[ndarray, "T"]:
    """The minimum-jerk course from 0 to 1 (Flash and Hogan 1985); `s` outside of [0, 1] is held."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10.0 - 15.0 * s + 6.0 * s * s)


@dataclass
class Score:
    """Submovements of the hand in the order of their start: pose of the grasp centre and the grip (curl, thumb)."""

    p: ndarray
    R: ndarray
    grip: ndarray
    clock: float = field(default=0.0, init=False)
    start: tuple[ndarray, ndarray, ndarray] = field(init=False)
    moves: list[tuple[float, float, Course]] = field(default_factory=list, init=False)
    grips: list[tuple[float, float, ndarray]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self.start = (self.p, self.R, self.grip)

    def move(self, p: ndarray, R: ndarray, duration: float, overlap: float = 0.0) -> None:
        """Move to a pose; the next move may start `overlap` seconds before this one ends."""
        dp, w = p - self.p, se3.log_so3(self.R.T @ R)
        angle = float(np.linalg.norm(w))
        axis = w / angle if angle > 0.0 else np.array([0.0, 0.0, 1.0])
        self.trace(lambda s: (s[:, None] * dp, turns_about(axis, s * angle)), duration, overlap)

    def trace(self, course: Course, duration: float, overlap: float = 0.0) -> None:
        """Move along a course of its own at a minimum-jerk pace."""
        self.moves.append((self.clock, duration, course))
        (dp,), (dR,) = course(np.ones(1))
        self.p, self.R = self.p + dp, self.R @ dR
        self.clock += duration - overlap

    def close(self, grip: tuple[float, float], duration: float) -> None:
        """Change the grip from now on, while other moves may run."""
        new = np.array(grip)
        self.grips.append((self.clock, duration, new - self.grip))
        self.grip = new

    def wait(self, duration: float) -> None:
        """Stay as it is."""
        self.clock += duration

    def play(self, t: Float[ndarray, "T"]) -> tuple[ndarray, ndarray, ndarray]:
        """Grasp centre (T, 3), hand orientation (T, 3, 3) and grip (T, 2) at times `t` [s]."""
        p, R, grip = (np.repeat(x[None], len(t), axis=0) for x in self.start)
        for begin, duration, course in self.moves:
            dp, dR = course(min_jerk((t - begin) / duration))
            p, R = p + dp, R @ dR
        for begin, duration, change in self.grips:
            grip += min_jerk((t - begin) / duration)[:, None] * change
        return p, R, grip


class Performer:
    """The body of a person who performs a task; a subclass says what the hand does."""

    def __init__(self, scene: Scene, body: Body, config: PerformerConfig, task: str) -> None:
        self.scene, self._config, self._task = scene, config, task
        self.human = Human(body)
        self.sign = -1.0 if config.side == "right" else 1.0  # outward along y
        self._rng = np.random.default_rng([config.seed, 0xD3])

    def _move_body(self, score: Score) -> tuple[ndarray, ndarray, ndarray, list[Posture], ndarray]:
        """Times, grasp centres, hand orientations, postures and bone poses while a score is played."""
        t = np.arange(0.0, score.clock, 1.0 / self._config.rate)
        p, R, grip = score.play(t)
        postures = [self._posture(p[i], R[i], grip[i]) for i in range(len(t))]
        return t, p, R, postures, np.array([self.human.bone_poses(posture) for posture in postures])

    def _about(self, duration: float) -> float:
        v = self._config.variation
        return duration * float(self._rng.uniform(1.0 - v, 1.0 + v))

    def _rest(self, side: str) -> tuple[ndarray, ndarray]:
        """Grasp centre and orientation of a hand that lies on the table; the idle one is out of the way."""
        out = -1.0 if side == "right" else 1.0
        active = side == self._config.side
        wrist = np.array([0.0, 0.24 * out, 0.066]) if active else np.array([-0.01, 0.10 * out, 0.066])
        fingers = np.array([0.85, -0.5 * out, 0.0]) if active else np.array([0.5, -0.85 * out, 0.0])
        R = frame_of(fingers, np.array([0.0, 0.0, -1.0]))
        return wrist + self.human.grasp_centre(R), R

    def _lean(self, wrist: ndarray) -> float:
        """Forward lean for a wrist target: none while it is near, smoothly more beyond 80 % of the arm's reach."""
        h = self.human
        excess = float(np.linalg.norm(wrist - h.shoulders(BASE_LEAN)[self._config.side])) - 0.80 * (
            h.upper_length + h.fore_length
        )
        smooth = 0.5 * (excess + np.hypot(excess, 0.04))
        return BASE_LEAN + MAX_LEAN * float(np.tanh(2.5 * smooth / MAX_LEAN))

    def _pole(self, side: str, R: ndarray) -> ndarray:
        """Where the elbow points: it hangs low and slightly outward, whatever the hand's orientation `R`."""
        return np.array([-0.25, -0.55 if side == "right" else 0.55, -1.0])

    def _arm(self, side: str, wrist: ndarray, R: ndarray, lean: float) -> tuple[ndarray, ndarray]:
        """Shoulder and elbow [m] for a wrist and a hand orientation."""
        h = self.human
        shoulder = h.shoulders(lean)[side]
        return shoulder, elbow_of(shoulder, wrist, h.upper_length, h.fore_length, self._pole(side, R))

    def _in_line(self, p: ndarray, hand: Callable[[float], ndarray]) -> ndarray:
        """Of the orientations that a `hand` has by its yaw [rad], that of one at `p` [m] that is in line with its forearm."""
        yaw = 0.0
        for _ in range(12):
            R = hand(yaw)
            wrist = p - self.human.grasp_centre(R)
            _, elbow = self._arm(self._config.side, wrist, R, self._lean(wrist))
            fore = wrist - elbow
            yaw += 0.5 * (np.arctan2(fore[1], fore[0]) - yaw)
        return R

    def _arm_posture(self, side: str, p: ndarray, R: ndarray, grip: ndarray, lean: float) -> ArmPosture:
        wrist = p - self.human.grasp_centre(R)
        shoulder, elbow = self._arm(side, wrist, R, lean)
        return ArmPosture(elbow - shoulder, wrist - elbow, R[:, 0], R[:, 1], float(grip[0]), float(grip[1]))

    def _posture(self, p: ndarray, R: ndarray, grip: ndarray) -> Posture:
        """The whole body for a pose of the active hand; the head follows the hand."""
        side = self._config.side
        lean = self._lean(p - self.human.grasp_centre(R))
        other = SIDES[1 - SIDES.index(side)]
        p_rest, R_rest = self._rest(other)
        gaze = p - np.array([0.0, 0.0, 0.52])
        return Posture(
            arms={
                side: self._arm_posture(side, p, R, grip, lean),
                other: self._arm_posture(other, p_rest, R_rest, np.array(REST_HAND), lean),
            },
            lean=lean,
            head_pitch=float(0.42 * np.arctan2(-gaze[2], np.hypot(gaze[0] + 0.15, gaze[1]))),
            head_yaw=float(0.6 * np.arctan2(gaze[1], gaze[0] + 0.3)),
        )

    def _demonstration(
        self,
        t: ndarray,
        Ts_bone: ndarray,
        held: tuple[str, ...],
        objects: Mapping[str, ndarray],
        radii: Mapping[str, float],
        attributes: Mapping[str, Mapping[str, float]],
        fixtures: Mapping[str, ndarray],
        **more: Any,
    ) -> Demonstration:
        """The truth about what was done."""
        side = self._config.side
        keypoints = np.array([self.human.keypoints(T) for T in Ts_bone])
        thumb, index = (keypoints[:, keypoint_index(f"{side}_hand_{tip}")] for tip in ("thumb_tip", "index_tip"))
        config, body = asdict(self._config), asdict(self.human.body)
        return Demonstration(
            t=t,
            side=side,
            p_world=keypoints,
            covariance=np.zeros((len(t), len(KEYPOINTS), 3, 3)),
            seen=np.ones(len(t), dtype=bool),
            aperture=np.linalg.norm(thumb - index, axis=1),
            objects=objects,
            radii=radii,
            attributes=attributes,
            held=held,
            fixtures=fixtures,
            frame="world",
            task=self._task,
            provenance={"source": "scripted person", "config": config, "body": body},
            **more,
        )
