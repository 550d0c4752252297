"""A scripted person who sorts things: the truth behind synthetic recordings. How the person moves is `performer`'s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import Unreachable
from visual_irl.tasks.body import Body, sample_body
from visual_irl.tasks.human import frame_of
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.performer import OPEN_HAND, REST_HAND, Performance, Performer, PerformerConfig, Score, Staging
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.tasks.scene import Fixture, Scene, SceneObject

GRAVITY = 9.81
PITCH = 0.30
"""Of fingers that grasp from above, down [rad]."""
USUAL = 3
"""Things on the table where no number is asked for."""


@dataclass(frozen=True)
class DemonstratorConfig(PerformerConfig):
    """How the person moves. Distances [m], durations [s]."""

    reach: float = 0.90
    descend: float = 0.50
    close: float = 0.25
    lift: float = 0.50
    carry: float = 0.90
    inspect: float = 0.80
    open: float = 0.25
    inspection_place: tuple[float, float, float] = (0.10, -0.10, 0.28)
    """Where an onion is looked at, for the right hand; mirrored for the left."""
    hover: float = 0.09
    """Height above an onion from which the hand descends, and to which it lifts."""
    release_height: float = 0.07
    """Height above a bin's wall at which the onion is let go."""


@dataclass(frozen=True)
class _Handling:
    """When one object is grasped and released [s], and where it comes to rest."""

    item: SceneObject
    grasped: float
    released: float
    resting: ndarray


class Demonstrator(Performer):
    """A person who performs the task in one scene.

    Raises:
        Unreachable: an onion, a bin or the inspection place is out of the arm's reach.
    """

    def __init__(self, scene: Scene, body: Body, config: DemonstratorConfig, task: PickPlace) -> None:
        super().__init__(scene, body, config, task.name)
        self.config, self.task = config, task

    def perform(self) -> Performance:
        """Sort everything in the scene."""
        score, handlings = self._write_score()
        t, p, R, postures, Ts = self._move_body(score)
        objects, turns, held = self._objects(t, p, R, handlings)
        demonstration = self._demonstration(
            t, Ts, held, objects,
            radii={o.name: o.radius for o in self.scene.objects},
            attributes={o.name: dict(o.attributes) for o in self.scene.objects},
            fixtures={f.name: f.T_world for f in self.scene.fixtures},
        )  # fmt: skip
        return Performance(self.scene, self.human, demonstration, tuple(postures), Ts, turns)

    # -- the plan ------------------------------------------------------------------------------------------------

    def _write_score(self) -> tuple[Score, list[_Handling]]:
        c = self.config
        rest_p, rest_R = self._rest(self.config.side)
        score = Score(rest_p, rest_R, np.array(REST_HAND))
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

    def _handle(self, score: Score, item: SceneObject, fixture: Fixture, slot: ndarray) -> _Handling:
        """One thing: reach, grasp, lift, inspect, place. `slot` is where in the bin it goes (its floor's frame)."""
        c, lap = self.config, self.config.overlap
        p_grasp = item.p_world
        R_grasp = self._in_line(p_grasp, self._palm_down)
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
        score.move(p_drop, self._in_line(p_drop, self._palm_down), self._about(c.carry))
        released = score.clock + 0.4 * c.open
        score.close(OPEN_HAND, c.open)
        score.wait(c.open)
        return _Handling(item, grasped, released, resting)

    def _slots(self, fixture: Fixture) -> Iterator[ndarray]:
        """Places in a bin, apart from each other, nearest to the person first."""
        dx, dy = 0.46 * fixture.half_x, 0.64 * fixture.half_y
        mine = np.array([-0.15, self.sign * 0.18])
        R, p = fixture.T_world[:2, :2], fixture.T_world[:2, 3]
        places = [np.array([x, y]) for x in (-dx, dx) for y in (-dy, 0.0, dy)]
        return iter(sorted(places, key=lambda q: float(np.linalg.norm(R @ q + p - mine))))

    def _inspection(self) -> tuple[ndarray, ndarray]:
        """The onion in front of the chest, palm to the face."""
        x, y, z = self.config.inspection_place
        p = np.array([x, -self.sign * y, z]) + self._rng.uniform(-0.015, 0.015, 3)
        fingers = np.array([0.50, -0.60 * self.sign, 0.45])
        return p, frame_of(fingers, np.array([-0.75, -0.25 * self.sign, 0.45]))

    def _palm_down(self, yaw: float) -> ndarray:
        """Hand orientation for a grasp from above: palm down, fingers pitched down."""
        fingers = np.array([np.cos(yaw) * np.cos(PITCH), np.sin(yaw) * np.cos(PITCH), -np.sin(PITCH)])
        return frame_of(fingers, np.array([0.0, 0.0, -1.0]))

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


def demonstrate(
    scene: Scene, body: Body, config: DemonstratorConfig | None = None, task: PickPlace | None = None
) -> Performance:
    """A scripted performance of a task, onion sorting if none is given, in `scene`.

    Raises:
        Unreachable: an onion, a bin or the inspection place is out of the arm's reach.
    """
    return Demonstrator(scene, body, config or DemonstratorConfig(), task or OnionSorting()).perform()


def perform_sorting(task: PickPlace, staging: Staging) -> Performance:
    """What a person does with a random scene of a task.

    Raises:
        Unreachable: a thing, a box or the inspection place is out of the arm's reach.
    """
    task = task.for_side(staging.side)
    things = USUAL if staging.things is None else staging.things
    scene = task.sample_scene(np.random.default_rng(staging.seed), things)
    config = DemonstratorConfig(seed=staging.seed, side=staging.side, rate=staging.rate)
    return demonstrate(scene, sample_body(staging.body_seed), config, task)
