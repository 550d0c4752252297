"""How a vessel is taken, carried upright, tipped over another and put down: the person's way, as a path of the hand.

What the demonstrations fix is said about the vessels: where the hand holds the one, how its mouth moves over the other while it
tilts, how long that takes. What they leave open is a `Way`: from where about a vessel the hand comes, to which side of
itself it pours, and which finger is on top. A robot takes the way nearest to the person's that its arm can go.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.policy.hand_path import HandPath, HandState, PolicyConfig
from visual_irl.policy.motion import MotionLibrary
from visual_irl.policy.pour_motion import PourMotion

UP = np.array([0.0, 0.0, 1.0])
TURNS = tuple(sign * 0.25 * k for k in range(9) for sign in ((1.0, -1.0) if k else (1.0,)))
"""Turns of the hand about a vessel that are tried, from the person's own direction [rad]."""
RAISES = (0.0, 0.01, -0.01, 0.02, -0.02)
"""By how much higher than the person the hand may hold the vessel [m]: a robot's wrist is thicker than a person's and comes to
the table where it holds low; its fingers come to the cup where it holds high."""
PITCHES = (0.0, 0.2, 0.4)
"""How far the fingers may point down [rad]. Beyond that the hand comes to the cup when it tips, and so it does at 0.2 and 0.4
where it holds high."""
ROOM = 0.02
"""By how much higher than the person the vessel is tipped [m]: a gripper is wider than a person's hand."""
RELEASE_GAP = 0.001
"""Height over the table at which a vessel is let go [m]."""


@dataclass(frozen=True)
class Standing:
    """An upright thing as the policy sees it: centre of its foot on the table, height and outer radius [m]."""

    name: str
    p_world: Float[ndarray, "3"]
    height: float
    radius: float


@dataclass(frozen=True, slots=True)
class Way:
    """What a hand may choose. The default is what the person does."""

    take: float = 0.0
    """Turn of the hand about the vessel when it takes it [rad]."""
    pour: float = 0.0
    """The same about the receiver."""
    dispose: float = 0.0
    """The same about the place where the vessel is put down."""
    mirrored: bool = False
    """Pour to the other side of the hand than the person."""
    flipped: bool = False
    """The hand turned half about its fingers: a gripper is the same from both sides."""
    raised: float = 0.0
    """Hold the vessel higher than the person [m]."""
    pitch: float = 0.0
    """How far the fingers point down from the level [rad], all the way: the wrist is above what stands beside the vessel."""

    @property
    def strangeness(self) -> float:
        """How far it is from the person's way [rad]; the other side counts a third of a turn, what no person sees little."""
        return _strangeness(self.take, self.pour, self.dispose, self.mirrored, self.flipped, self.raised, self.pitch)


def _strangeness(take: Any, pour: Any, dispose: Any, mirrored: Any, flipped: Any, raised: Any, pitch: Any) -> Any:
    """Of one way, or of many as arrays."""
    return abs(take) + abs(pour) + abs(dispose) + abs(pitch) + 2.0 * mirrored + 0.3 * flipped + 10.0 * abs(raised)


def ways() -> Iterator[Way]:
    """All ways, the most human first: so many that they are ordered as arrays, and each is made when it is asked for."""
    options = (TURNS, TURNS, TURNS, (False, True), (False, True), RAISES, PITCHES)
    columns = [column.ravel() for column in np.meshgrid(*options, indexing="ij")]
    order = np.argsort(_strangeness(*columns), kind="stable")
    yield from (Way(*option) for option in zip(*(column[order].tolist() for column in columns), strict=True))


class PourPath(HandPath):
    """The hand of a person who pours: fingers level, thumb up, which the vessel's axis follows when it tilts.

    It begins at rest, or in `start`, where the plan before it ended.
    """

    def __init__(
        self, motion: MotionLibrary, pour: PourMotion, way: Way, config: PolicyConfig, start: HandState | None = None
    ) -> None:
        self.motion, self.pouring, self.way = motion, pour, way
        swivel = float(next(iter(motion.swivel.values()))[0])
        # a gripper is wider than a hand on its edge: it rests over the table
        rest = np.maximum(motion.rest, [-np.inf, -np.inf, pour.grip_height + config.approach])
        turned = self._direction(rest, "take", way.take)  # as it will take: nothing that it holds or passes forbids that
        super().__init__(motion, config, rest, start or HandState(rest, turned, swivel, pitch=way.pitch))

    @property
    def grip(self) -> float:
        """Height of the hand over the vessel's foot [m]."""
        return self.pouring.grip_height + self.way.raised

    @property
    def side(self) -> float:
        """1 where the vessel tips to the left of the fingers, -1 to the right."""
        return -self.pouring.side if self.way.mirrored else self.pouring.side

    def frames(
        self, yaw: Float[ndarray, "T"], tilt: Float[ndarray, "T"], pitch: Float[ndarray, "T"]
    ) -> Float[ndarray, "T 3 3"]:
        """Fingers along the direction over the table, `pitch` below it; thumb side and fingers turn with the vessel's axis."""
        level = np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=1)
        axis = np.cos(tilt)[:, None] * UP + np.sin(tilt)[:, None] * self.side * np.cross(UP, level)
        along, down = np.cos(pitch)[:, None], np.sin(pitch)[:, None]
        fingers, thumb = along * level - down * axis, (along * axis + down * level) * (-1.0 if self.way.flipped else 1.0)
        return np.stack([np.cross(thumb, fingers), thumb, fingers], axis=-1)

    def heading(self, p: Float[ndarray, "3"]) -> float:
        """Direction of the fingers at a place on the way [rad]: from the shoulder, as the person takes the vessel."""
        return self._direction(p, "take", 0.0)

    def _direction(self, p: ndarray, event: str, turn: float) -> float:
        d = p[:2] - self.motion.shoulder[:2]
        return float(np.arctan2(d[1], d[0])) + self.pouring.headings[event] + turn

    def take(self, vessel: Standing) -> None:
        """Reach beside the vessel, come along the fingers, close the hand and lift."""
        grip = vessel.p_world + self.grip * UP
        yaw = self._direction(grip, "take", self.way.take)
        self.closed = 0.0
        beside = grip - (vessel.radius + self.config.approach) * _fingers(yaw, self.way.pitch)
        self.travel("reach", beside, yaw, pitch=self.way.pitch)
        self.straight(grip, "advance")
        self.closed = 1.0
        self.hold(self.config.grasp_seconds, "grasp")
        self.held = vessel.name
        self.straight(grip + self.pouring.carry_height * UP, "lift")

    def pour(self, vessel: Standing, receiver: Standing) -> None:
        """Carry the vessel upright to the receiver and tip it until the person would have stopped; then back upright."""
        start = self.before("pour", vessel, receiver, receiver.p_world)
        self.travel("carry", start.p_world, start.yaw, 0.0)
        self.settle("carry")
        self.tip(vessel, receiver, "pour")

    def tip(self, vessel: Standing, receiver: Standing, phase: str) -> None:
        """Tip the vessel over the receiver, hold it, and bring it back upright, from where the hand is before that."""
        p, yaw, rim = self.pouring, self.yaw, receiver.p_world + receiver.height * UP
        out, back = p.tilting(self.config.rate)
        held = np.full(max(1, round(p.hold_seconds * self.config.rate)), out[-1])
        for tilt, part in ((out, phase), (held, phase), (back, "back")):
            self._append(self._grips(rim, yaw, tilt, vessel), p.swivel_at(tilt), part, tilt=tilt)

    def before(self, act: str, vessel: Standing, receiver: Standing, zone: Float[ndarray, "3"]) -> HandState:
        """Where the hand is, with the upright vessel in it, when tipping or putting down begins."""
        if act == "pour":
            rim = receiver.p_world + receiver.height * UP
            yaw = self._direction(rim, "pour", self.way.pour)
            p = self._grips(rim, yaw, np.zeros(1), vessel)[0]
            return HandState(p, yaw, float(self.pouring.swivel_at(np.zeros(1))[0]), 1.0, vessel.name, self.way.pitch)
        yaw = self._direction(zone, "dispose", self.way.dispose)
        above = zone + (self.grip + self.config.approach) * UP
        return HandState(above, yaw, float(self.motion.swivel["place"][-1]), 1.0, vessel.name, self.way.pitch)

    def _grips(self, rim: ndarray, yaw: float, tilt: ndarray, vessel: Standing) -> Float[ndarray, "T 3"]:
        """Where the hand holds the vessel [m] for its mouth to be where the person had it at these tilts [rad]."""
        d = self.side * np.cross(UP, _fingers(yaw))
        along, above = self.pouring.mouth_at(tilt)
        mouth = rim + along[:, None] * d + (above + ROOM)[:, None] * UP
        axis = np.cos(tilt)[:, None] * UP + np.sin(tilt)[:, None] * d
        grips: ndarray = mouth - (vessel.height - self.grip) * axis
        return grips

    def dispose(self, zone: Float[ndarray, "3"], vessel: Standing) -> None:
        """Carry the upright vessel to a place on the table and leave it there."""
        above = self.before("dispose", vessel, vessel, zone)
        self.travel("place", above.p_world, above.yaw, 0.0)
        self.put_down(zone, vessel)

    def put_down(self, zone: Float[ndarray, "3"], vessel: Standing) -> None:
        """Put the vessel down from above its place, let go and draw back."""
        self.straight(zone + (self.grip + RELEASE_GAP) * UP, "lower")
        self.closed = 0.0
        self.hold(self.config.grasp_seconds, "release")
        self.held = ""
        self.draw_back(vessel.radius + self.config.approach)

    def draw_back(self, distance: float) -> None:
        """Move back along the fingers [m]."""
        self.straight(self.at - distance * _fingers(self.yaw, self.pitch), "leave")


def _fingers(yaw: float, pitch: float = 0.0) -> Float[ndarray, "3"]:
    return np.array([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
