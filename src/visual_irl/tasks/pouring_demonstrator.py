"""A scripted person who pours: takes the bottle, carries it upright, tips it over the cup, puts it down in the zone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, Unreachable
from visual_irl.tasks.body import Body, sample_body
from visual_irl.tasks.human import frame_of, turns_about
from visual_irl.tasks.performer import OPEN_HAND, REST_HAND, Performance, Performer, PerformerConfig, Score, Staging, min_jerk
from visual_irl.tasks.pouring import BOTTLE, CUP, ZONE, Pouring
from visual_irl.tasks.scene import Scene

UP = np.array([0.0, 0.0, 1.0])
ELBOW_RISE = 0.8
"""By how much the elbow turns outward while the bottle is tipped by a right angle [rad]; pronation alone does not reach."""


@dataclass(frozen=True)
class PouringConfig(PerformerConfig):
    """How the person moves. Distances [m], durations [s]."""

    reach: float = 0.90
    advance: float = 0.45
    close: float = 0.25
    lift: float = 0.60
    carry: float = 1.10
    tip: float = 6.0
    hold: float = 1.2
    right: float = 2.6
    lower: float = 0.70
    open: float = 0.25
    grip_height: float = 0.065
    """Height of the grasp on the bottle."""
    stand_off: float = 0.10
    """Distance behind the bottle from which the hand comes along its fingers."""
    lift_height: float = 0.13
    tilt: float = 2.2
    """Tilt at which the bottle is emptied [rad]."""
    behind: float = 0.035
    """How far the bottle's mouth stays short of the cup's middle."""
    mouth_high: float = 0.168
    """Height of the mouth over the rim while the bottle begins to tip: hand and bottle clear the cup."""
    mouth_low: float = 0.036
    """The same once it is tipped."""
    falling: tuple[float, float] = (0.95, 1.5)
    """Tilts between which the mouth comes down [rad]."""


class PouringDemonstrator(Performer):
    """A person who performs the task in one scene.

    Raises:
        Unreachable: the bottle, the cup or the zone is out of the arm's reach.
    """

    def __init__(self, scene: Scene, body: Body, config: PouringConfig, task: Pouring) -> None:
        super().__init__(scene, body, config, task.name)
        self.config = config
        self.side = -self.sign
        """1 where the bottle tips to the left, as from a right hand."""

    def perform(self) -> Performance:
        """Pour all that is in the bottle."""
        try:
            score, grasped, released = self._write_score()
            t, p, R, postures, Ts = self._move_body(score)
        except Unreachable as error:
            raise Unreachable(f"the {self.config.side} arm cannot pour in this scene: {error}") from error
        bottle, cup, zone = self.scene.vessel(BOTTLE), self.scene.vessel(CUP), self.scene.zone(ZONE)
        carried, after = (t >= grasped) & (t < released), t >= released
        feet, turns = np.tile(bottle.T_world[:3, 3], (len(t), 1)), np.tile(bottle.T_world[:3, :3], (len(t), 1, 1))
        first, last = int(np.argmax(carried)), int(np.argmax(after)) - 1
        turns[carried] = R[carried] @ R[first].T @ turns[0]
        feet[carried] = p[carried] - self.config.grip_height * turns[carried][:, :, 2]
        turns[after], feet[after] = turns[last], feet[last] * [1.0, 1.0, 0.0]
        still = np.tile(np.eye(3), (len(t), 1, 1))
        demonstration = self._demonstration(
            t, Ts, tuple(np.where(carried, BOTTLE, "")),
            objects={BOTTLE: feet, CUP: np.tile(cup.T_world[:3, 3], (len(t), 1))},
            radii={v.name: v.outer_radius for v in (bottle, cup)},
            attributes={v.name: {} for v in (bottle, cup)},
            fixtures={zone.name: zone.T_world},
            turns={BOTTLE: turns, CUP: still},
            heights={v.name: v.height for v in (bottle, cup)},
        )  # fmt: skip
        since = {BOTTLE: turns @ turns[0].T, CUP: still}
        return Performance(self.scene, self.human, demonstration, tuple(postures), Ts, since)

    def _write_score(self) -> tuple[Score, float, float]:
        """What the hand does, and when the bottle is grasped and released [s]."""
        c, lap = self.config, self.config.overlap
        bottle, cup, zone = self.scene.vessel(BOTTLE), self.scene.vessel(CUP), self.scene.zone(ZONE)
        rest_p, rest_R = self._rest(c.side)
        score = Score(rest_p, rest_R, np.array(REST_HAND))
        score.wait(c.rest)
        score.move(rest_p + np.array([0.02, 0.0, 0.10]), rest_R, self._about(0.5), lap)

        grip = bottle.T_world[:3, 3] + (c.grip_height + self._rng.uniform(-0.003, 0.003)) * UP
        R_take = self._in_line(grip, self._level)
        score.close(OPEN_HAND, 0.5)
        score.move(grip - (bottle.outer_radius + c.stand_off) * R_take[:, 0], R_take, self._about(c.reach), 0.5 * lap)
        score.move(grip, R_take, self._about(c.advance))
        score.close(self.human.grip(c.side, bottle.outer_radius), c.close)
        score.wait(c.close)
        grasped = score.clock

        score.move(grip + (c.lift_height + self._rng.uniform(-0.01, 0.01)) * UP, R_take, self._about(c.lift), lap)
        rim = cup.T_world[:3, 3] + cup.height * UP + np.array([*self._rng.uniform(-0.002, 0.002, 2), 0.0])
        start, R_pour = self._over(rim)
        score.move(start, R_pour, self._about(c.carry))
        tilt = c.tilt * float(self._rng.uniform(0.98, 1.02))
        score.trace(lambda s: self._tipping(rim, R_pour, 0.0, s * tilt), self._about(c.tip))
        score.wait(self._about(c.hold))
        score.trace(lambda s: self._tipping(rim, R_pour, tilt, (1.0 - s) * tilt), self._about(c.right))

        down = zone.T_world[:3, 3] + c.grip_height * UP + np.array([*self._rng.uniform(-0.008, 0.008, 2), 0.0])
        R_down = self._in_line(down, self._level)
        score.move(down + 0.10 * UP, R_down, self._about(c.carry), 0.5 * lap)
        score.move(down, R_down, self._about(c.lower))
        released = score.clock + 0.4 * c.open
        score.close(OPEN_HAND, c.open)
        score.wait(c.open)
        score.move(down - (bottle.outer_radius + c.stand_off) * R_down[:, 0], R_down, self._about(c.advance), 0.5 * lap)
        score.close(REST_HAND, 0.5)
        score.move(rest_p + np.array([0.02, 0.0, 0.10]), rest_R, self._about(0.8), lap)
        score.move(rest_p, rest_R, self._about(0.6))
        score.wait(c.rest)
        return score, grasped, released

    def _level(self, yaw: float) -> ndarray:
        """Hand orientation with level fingers, thumb up and the palm to the middle."""
        fingers = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        return frame_of(fingers, self.side * np.cross(UP, fingers))

    def _over(self, rim: ndarray) -> tuple[ndarray, ndarray]:
        """Hand pose in which the upright bottle's mouth is where tipping begins."""
        p, R = rim, self._level(0.0)
        for _ in range(4):
            p = self._grips(rim, R, np.zeros(1))[0]
            R = self._in_line(p, self._level)
        return self._grips(rim, R, np.zeros(1))[0], R

    def _grips(self, rim: ndarray, R: ndarray, tilt: Float[ndarray, "T"]) -> Float[ndarray, "T 3"]:
        """Where the hand is [m] for the bottle's mouth to be over the rim at these tilts [rad]."""
        c = self.config
        aside = self.side * np.cross(UP, R[:, 0])
        first, last = c.falling
        above = c.mouth_high + (c.mouth_low - c.mouth_high) * min_jerk((tilt - first) / (last - first))
        axis = np.cos(tilt)[:, None] * UP + np.sin(tilt)[:, None] * aside
        mouth = rim - c.behind * aside + above[:, None] * UP
        grips: ndarray = mouth - (self.scene.vessel(BOTTLE).height - c.grip_height) * axis
        return grips

    def _tipping(self, rim: ndarray, R: ndarray, first: float, tilt: Float[ndarray, "T"]) -> tuple[ndarray, ndarray]:
        """Displacement and turn of the hand since the tilt was `first`; the turn is about its own fingers."""
        moved = self._grips(rim, R, tilt) - self._grips(rim, R, np.array([first]))
        return moved, turns_about(np.array([1.0, 0.0, 0.0]), -self.side * (tilt - first))

    def _rest(self, side: str) -> tuple[ndarray, ndarray]:
        """The hand that pours lies on its edge, thumb up."""
        if side != self.config.side:
            return super()._rest(side)
        R = self._level(-0.5 * self.sign)
        return np.array([0.0, 0.24 * self.sign, 0.066]) + self.human.grasp_centre(R), R

    def _pole(self, side: str, R: ndarray) -> ndarray:
        """The elbow rises outward as the bottle tips."""
        low = super()._pole(side, R)
        if side != self.config.side:
            return low
        tilt = float(np.arccos(np.clip(self.side * R[2, 2], -1.0, 1.0)))
        rise = ELBOW_RISE * tilt / (0.5 * np.pi)
        pole: ndarray = np.cos(rise) * low + np.sin(rise) * np.array([-0.25, 1.1 * self.sign, 0.3])
        return pole


def demonstrate_pouring(
    scene: Scene, body: Body, config: PouringConfig | None = None, task: Pouring | None = None
) -> Performance:
    """A scripted performance of pouring in `scene`.

    Raises:
        Unreachable: the bottle, the cup or the zone is out of the arm's reach.
    """
    return PouringDemonstrator(scene, body, config or PouringConfig(), task or Pouring()).perform()


def perform_pouring(task: Pouring, staging: Staging) -> Performance:
    """What a person does with a random scene of a task.

    Raises:
        InvalidInput: a number of things is asked for, which this task does not have.
        Unreachable: the bottle, the cup or the zone is out of the arm's reach.
    """
    if staging.things is not None:
        raise InvalidInput(f"{staging.things} things for '{task.name}', which always has one bottle and one cup: leave it out")
    task = task.for_side(staging.side)
    config = PouringConfig(seed=staging.seed, side=staging.side, rate=staging.rate)
    scene = task.sample_scene(np.random.default_rng(staging.seed))
    return demonstrate_pouring(scene, sample_body(staging.body_seed), config, task)
