"""A scripted person who sorts onions: the truth behind synthetic recordings.

The hand moves by overlapping minimum-jerk submovements (Flash and Henis 1991, J. Cogn. Neurosci. 3(3)): each one adds
`d * s(t)` with `s = 10 t^3 - 15 t^4 + 6 t^5` (Flash and Hogan 1985), so that speed is smooth where they overlap. What
is planned is the grasp centre between thumb and fingers and the hand's orientation; the arm follows by inverse
kinematics with the elbow low and slightly outward, and the trunk leans when a target is far.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput, Unreachable
from visual_irl.tasks.body import Body
from visual_irl.tasks.human import ArmPosture, Human, Posture, elbow_of, frame_of, turns_about
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.scene import Fixture, Scene, SceneObject
from visual_irl.types import KEYPOINTS, SIDES, Demonstration, keypoint_index

GRAVITY = 9.81
MAX_LEAN = 0.40
"""Forward lean that a seated person adds for a far target [rad]."""
BASE_LEAN = 0.05
OPEN_HAND = (0.02, -0.25)
REST_HAND = (0.0, 0.10)
"""Curl and thumb of the hand before a grasp and at rest."""


@dataclass(frozen=True)
class DemonstratorConfig:
    """How the person moves. Distances [m], durations [s]; durations vary by `variation` from move to move."""

    seed: int = 0
    side: str = "right"
    rate: float = 15.0
    """Samples a second [Hz]."""
    reach: float = 0.90
    descend: float = 0.50
    close: float = 0.25
    lift: float = 0.50
    carry: float = 0.90
    inspect: float = 0.80
    open: float = 0.25
    rest: float = 0.35
    """Time at rest before the first and after the last move."""
    overlap: float = 0.20
    """How long a submovement overlaps the next."""
    variation: float = 0.06
    inspection_place: tuple[float, float, float] = (0.10, -0.10, 0.28)
    """Where an onion is looked at, for the right hand; mirrored for the left."""
    hover: float = 0.09
    """Height above an onion from which the hand descends, and to which it lifts."""
    release_height: float = 0.07
    """Height above a bin's wall at which the onion is let go."""

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InvalidInput(f"side '{self.side}' is unknown; known: {', '.join(SIDES)}")
        if not 1.0 <= self.rate <= 1000.0:
            raise InvalidInput(f"rate {self.rate} Hz is outside of 1 to 1000 Hz")


@dataclass(frozen=True)
class Performance:
    """What a scripted person did: the true demonstration, and what a camera needs to draw it.

    `Ts_world_bone` carries points of the person's rest mesh into the world; `Rs_object` are the objects' turns since
    the start (an onion turns with the hand).
    """

    scene: Scene
    human: Human
    demonstration: Demonstration
    postures: tuple[Posture, ...]
    Ts_world_bone: Float[ndarray, "T N 4 4"]
    Rs_object: dict[str, Float[ndarray, "T 3 3"]]


def min_jerk(s: Float[ndarray, "T"]) -> Float[ndarray, "T"]:
    """The minimum-jerk course from 0 to 1 (Flash and Hogan 1985); `s` outside of [0, 1] is held."""
    s = np.clip(s, 0.0, 1.0)
    return s**3 * (10.0 - 15.0 * s + 6.0 * s * s)


@dataclass
class _Score:
    """Submovements of the hand in the order of their start: pose of the grasp centre and the grip (curl, thumb)."""

    p: ndarray
    R: ndarray
    grip: ndarray
    clock: float = 0.0
    start: tuple[ndarray, ndarray, ndarray] = field(init=False)
    moves: list[tuple[float, float, ndarray, ndarray]] = field(default_factory=list)
    grips: list[tuple[float, float, ndarray]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start = (self.p, self.R, self.grip)

    def move(self, p: ndarray, R: ndarray, duration: float, overlap: float = 0.0) -> None:
        """Move to a pose; the next move may start `overlap` seconds before this one ends."""
        self.moves.append((self.clock, duration, p - self.p, se3.log_so3(self.R.T @ R)))
        self.p, self.R = p, R
        self.clock += duration - overlap

    def close(self, grip: tuple[float, float], duration: float) -> None:
        """Change the grip from now on, while other moves may run."""
        new = np.array(grip)
        self.grips.append((self.clock, duration, new - self.grip))
        self.grip = new

    def wait(self, duration: float) -> None:
        self.clock += duration

    def play(self, t: Float[ndarray, "T"]) -> tuple[ndarray, ndarray, ndarray]:
        """Grasp centre (T, 3), hand orientation (T, 3, 3) and grip (T, 2) at times `t` [s]."""
        p, R, grip = (np.repeat(x[None], len(t), axis=0) for x in self.start)
        for begin, duration, dp, w in self.moves:
            s = min_jerk((t - begin) / duration)
            p += s[:, None] * dp
            angle = float(np.linalg.norm(w))
            if angle > 0.0:
                R = R @ turns_about(w / angle, s * angle)
        for begin, duration, change in self.grips:
            grip += min_jerk((t - begin) / duration)[:, None] * change
        return p, R, grip


@dataclass(frozen=True)
class _Handling:
    """When one object is grasped and released [s], and where it comes to rest."""

    item: SceneObject
    grasped: float
    released: float
    resting: ndarray


class Demonstrator:
    """A person who performs the task in one scene.

    Raises:
        Unreachable: an onion, a bin or the inspection place is out of the arm's reach.
    """

    def __init__(self, scene: Scene, body: Body, config: DemonstratorConfig, task: OnionSorting) -> None:
        self.scene, self.config = scene, config
        self.task = task
        self.human = Human(body)
        self.sign = -1.0 if config.side == "right" else 1.0  # outward along y
        self._rng = np.random.default_rng([config.seed, 0xD3])

    def perform(self) -> Performance:
        """Sort every onion of the scene."""
        score, handlings = self._write_score()
        t = np.arange(0.0, score.clock, 1.0 / self.config.rate)
        p, R, grip = score.play(t)
        postures = [self._posture(p[i], R[i], grip[i]) for i in range(len(t))]
        Ts = np.array([self.human.bone_poses(posture) for posture in postures])
        keypoints = np.array([self.human.keypoints(T) for T in Ts])
        objects, turns, held = self._objects(t, p, R, handlings)
        return Performance(
            scene=self.scene,
            human=self.human,
            demonstration=self._demonstration(t, keypoints, objects, held),
            postures=tuple(postures),
            Ts_world_bone=Ts,
            Rs_object=turns,
        )

    # -- the plan ------------------------------------------------------------------------------------------------

    def _write_score(self) -> tuple[_Score, list[_Handling]]:
        c = self.config
        rest_p, rest_R = self._rest(self.config.side)
        score = _Score(rest_p, rest_R, np.array(REST_HAND))
        score.wait(c.rest)
        score.move(rest_p + np.array([0.02, 0.0, 0.08]), rest_R, self._about(0.5), c.overlap)
        left = list(self.scene.objects)
        slots = {f.name: self._slots(f) for f in self.scene.fixtures}
        handlings = []
        while left:
            item = min(left, key=lambda o: float(np.linalg.norm(o.p_world - score.p)))
            left.remove(item)
            fixture = self.scene.fixture(self.task.goal(item.attributes))
            try:
                handlings.append(self._handle(score, item, fixture, next(slots[fixture.name])))
            except Unreachable as error:
                raise Unreachable(f"the {c.side} arm cannot bring '{item.name}' to '{fixture.name}': {error}") from error
        score.close(REST_HAND, 0.5)
        score.move(rest_p + np.array([0.02, 0.0, 0.08]), rest_R, self._about(0.8), 2 * c.overlap)
        score.move(rest_p, rest_R, self._about(0.6))
        score.wait(c.rest)
        return score, handlings

    def _handle(self, score: _Score, item: SceneObject, fixture: Fixture, slot: ndarray) -> _Handling:
        """One onion: reach, grasp, lift, inspect, place. `slot` is where in the bin it goes (its floor's frame)."""
        c, lap = self.config, self.config.overlap
        p_grasp = item.p_world
        R_grasp = self._hand_at(p_grasp)
        above = p_grasp + np.array([-0.02, 0.0, c.hover]) + self._rng.uniform(-0.01, 0.01, 3)
        score.close(OPEN_HAND, 0.5)
        score.move(above, R_grasp, self._about(c.reach), lap)
        score.move(p_grasp, R_grasp, self._about(c.descend))
        score.close(self.human.grip(c.side, item.radius), c.close)
        score.wait(c.close)
        grasped = score.clock

        p_look, R_look = self._inspection()
        turned = R_look @ se3.exp_so3(np.array([self.sign * self._rng.uniform(0.4, 0.6), 0.0, 0.0]))
        lifted = p_grasp + np.array([0.0, 0.0, c.hover]) + self._rng.uniform(-0.01, 0.01, 3)
        score.move(lifted, R_grasp, self._about(c.lift), lap)
        score.move(p_look, R_look, self._about(c.carry), 0.0)
        score.move(p_look, turned, self._about(c.inspect))

        resting = se3.apply(fixture.T_world, np.array([slot[0], slot[1], item.radius]))
        p_drop = resting + np.array([0.0, 0.0, fixture.height + c.release_height - item.radius])
        score.move(p_drop, self._hand_at(p_drop), self._about(c.carry))
        released = score.clock + 0.4 * c.open
        score.close(OPEN_HAND, c.open)
        score.wait(c.open)
        return _Handling(item, grasped, released, resting)

    def _about(self, duration: float) -> float:
        v = self.config.variation
        return duration * float(self._rng.uniform(1.0 - v, 1.0 + v))

    def _slots(self, fixture: Fixture) -> Iterator[ndarray]:
        """Places in a bin, apart from each other, nearest to the person first."""
        dx, dy = 0.46 * fixture.half_x, 0.64 * fixture.half_y
        mine = np.array([-0.15, self.sign * 0.18])
        R, p = fixture.T_world[:2, :2], fixture.T_world[:2, 3]
        places = [np.array([x, y]) for x in (-dx, dx) for y in (-dy, 0.0, dy)]
        return iter(sorted(places, key=lambda q: float(np.linalg.norm(R @ q + p - mine))))

    def _rest(self, side: str) -> tuple[ndarray, ndarray]:
        """Grasp centre and orientation of a hand that lies on the table; the idle one is out of the way."""
        out = -1.0 if side == "right" else 1.0
        active = side == self.config.side
        wrist = np.array([0.0, 0.24 * out, 0.066]) if active else np.array([-0.01, 0.10 * out, 0.066])
        fingers = np.array([0.85, -0.5 * out, 0.0]) if active else np.array([0.5, -0.85 * out, 0.0])
        R = frame_of(fingers, np.array([0.0, 0.0, -1.0]))
        return wrist + self.human.grasp_centre(R), R

    def _inspection(self) -> tuple[ndarray, ndarray]:
        """The onion in front of the chest, palm to the face."""
        x, y, z = self.config.inspection_place
        p = np.array([x, -self.sign * y, z]) + self._rng.uniform(-0.015, 0.015, 3)
        fingers = np.array([0.50, -0.60 * self.sign, 0.45])
        return p, frame_of(fingers, np.array([-0.75, -0.25 * self.sign, 0.45]))

    def _hand_at(self, p: ndarray, pitch: float = 0.30) -> ndarray:
        """Hand orientation for a grasp from above: palm down, fingers pitched down, in line with the forearm."""
        yaw = 0.0
        for _ in range(12):
            fingers = np.array([np.cos(yaw) * np.cos(pitch), np.sin(yaw) * np.cos(pitch), -np.sin(pitch)])
            R = frame_of(fingers, np.array([0.0, 0.0, -1.0]))
            wrist = p - self.human.grasp_centre(R)
            _, elbow = self._arm(self.config.side, wrist, self._lean(wrist))
            fore = wrist - elbow
            yaw += 0.5 * (np.arctan2(fore[1], fore[0]) - yaw)
        return R

    # -- the body ------------------------------------------------------------------------------------------------

    def _lean(self, wrist: ndarray) -> float:
        """Forward lean for a wrist target: none while it is near, smoothly more beyond 80 % of the arm's reach."""
        h = self.human
        excess = float(np.linalg.norm(wrist - h.shoulders(BASE_LEAN)[self.config.side])) - 0.80 * (
            h.upper_length + h.fore_length
        )
        smooth = 0.5 * (excess + np.hypot(excess, 0.04))
        return BASE_LEAN + MAX_LEAN * float(np.tanh(2.5 * smooth / MAX_LEAN))

    def _arm(self, side: str, wrist: ndarray, lean: float) -> tuple[ndarray, ndarray]:
        """Shoulder and elbow [m] for a wrist; the elbow hangs low and slightly outward."""
        h = self.human
        out = -1.0 if side == "right" else 1.0
        shoulder = h.shoulders(lean)[side]
        pole = np.array([-0.25, 0.55 * out, -1.0])
        return shoulder, elbow_of(shoulder, wrist, h.upper_length, h.fore_length, pole)

    def _arm_posture(self, side: str, p: ndarray, R: ndarray, grip: ndarray, lean: float) -> ArmPosture:
        wrist = p - self.human.grasp_centre(R)
        shoulder, elbow = self._arm(side, wrist, lean)
        return ArmPosture(elbow - shoulder, wrist - elbow, R[:, 0], R[:, 1], float(grip[0]), float(grip[1]))

    def _posture(self, p: ndarray, R: ndarray, grip: ndarray) -> Posture:
        """The whole body for a pose of the active hand; the head follows the hand."""
        side = self.config.side
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

    # -- the objects ---------------------------------------------------------------------------------------------

    def _objects(
        self, t: ndarray, p: ndarray, R: ndarray, handlings: list[_Handling]
    ) -> tuple[dict[str, ndarray], dict[str, ndarray], tuple[str, ...]]:
        """Each object stays, moves with the hand, falls into its bin and rests there."""
        paths, turns = {}, {}
        held = np.full(len(t), "", dtype=object)
        for h in handlings:
            carried = (t >= h.grasped) & (t < h.released)
            fallen = t >= h.released
            path = np.repeat(h.item.p_world[None], len(t), axis=0)
            path[carried] = p[carried]
            turn = np.repeat(np.eye(3)[None], len(t), axis=0)
            before = int(np.searchsorted(t, h.grasped)) - 1
            last = int(np.searchsorted(t, h.released)) - 1
            turn[carried] = R[carried] @ R[before].T
            turn[fallen] = R[last] @ R[before].T
            drop = 0.5 * GRAVITY * (t[fallen] - h.released) ** 2
            path[fallen] = p[last]
            path[fallen, 2] = np.maximum(p[last, 2] - drop, h.resting[2])
            paths[h.item.name], turns[h.item.name] = path, turn
            held[carried] = h.item.name
        return paths, turns, tuple(held)

    def _demonstration(
        self, t: ndarray, keypoints: ndarray, objects: dict[str, ndarray], held: tuple[str, ...]
    ) -> Demonstration:
        side = self.config.side
        thumb, index = (keypoints[:, keypoint_index(f"{side}_hand_{tip}")] for tip in ("thumb_tip", "index_tip"))
        body = self.human.body
        return Demonstration(
            t=t,
            side=side,
            p_world=keypoints,
            sigma=np.zeros((len(t), len(KEYPOINTS), 3)),
            seen=np.ones(len(t), dtype=bool),
            aperture=np.linalg.norm(thumb - index, axis=1),
            objects=objects,
            radii={o.name: o.radius for o in self.scene.objects},
            attributes={o.name: dict(o.attributes) for o in self.scene.objects},
            held=held,
            fixtures={f.name: f.T_world for f in self.scene.fixtures},
            frame="world",
            task=self.task.name,
            provenance={"source": "scripted person", "config": asdict(self.config), "body": asdict(body)},
        )


def table_for(side: str) -> OnionSorting:
    """The standard table for a right hand, and its mirror image for a left one, which could not reach across."""
    task = OnionSorting()
    if side == "right":
        return task
    low, high = task.onions_y
    flip = [(x, -y) for x, y in (task.bin_unblemished, task.bin_blemished)]
    return replace(task, onions_y=(-high, -low), bin_unblemished=flip[0], bin_blemished=flip[1])


def demonstrate(
    scene: Scene, body: Body, config: DemonstratorConfig | None = None, task: OnionSorting | None = None
) -> Performance:
    """A scripted performance of onion sorting in `scene`.

    Raises:
        Unreachable: an onion, a bin or the inspection place is out of the arm's reach.
    """
    return Demonstrator(scene, body, config or DemonstratorConfig(), task or OnionSorting()).perform()
