"""How the demonstrator handles a vessel: where it is held, how its mouth moves while it tips, how fast, and when that ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, LearningFailed
from visual_irl.policy.motion import LONGEST
from visual_irl.policy.motion_file import Packed, require_array
from visual_irl.tasks.pour_episode import PourEpisode, mouth_of, tilt_of
from visual_irl.types import Demonstration, HumanArmTrajectory

EVENTS = ("take", "pour", "dispose")
"""What the hand does with a vessel."""
SAMPLES = 60
"""Samples of a profile."""


@dataclass(frozen=True)
class PourMotion:
    """Means over the demonstrations.

    `mouth` and `swivel` are over `SAMPLES` tilts from 0 to `tilt_max`; `out` and `back` are tilts over normalised time.
    """

    grip_height: float
    """Of the hand over the vessel's foot, along its axis [m]."""
    carry_height: float
    """By which the vessel is lifted before it is carried away [m]."""
    side: float
    """1: tips to the left of the fingers, -1: to the right."""
    headings: Mapping[str, float]
    """Fingers' direction against the one from the shoulder at each event [rad]."""
    tilt_max: float
    """Tilt at which the vessel is held to empty it [rad]."""
    mouth: Float[ndarray, "S 2"]
    """Where the mouth's centre is against the receiver's rim: to the side that it tips to, and up [m]."""
    swivel: Float[ndarray, "S"]
    """Elbow swivel [rad]."""
    out: Float[ndarray, "S"]
    """Share of `tilt_max` over the time that tipping takes."""
    back: Float[ndarray, "S"]
    """The same over the time back upright."""
    seconds: tuple[float, float]
    """How long tipping and coming back upright take [s]."""
    hold_seconds: float
    """How long the vessel is held tipped [s]."""

    def __post_init__(self) -> None:
        require_array("grip height", self.grip_height, (), 0.0, 1.0)
        require_array("carry height", self.carry_height, (), -1.0, 1.0)
        if self.side not in (1.0, -1.0):
            raise InvalidInput(f"side is {self.side}, expected 1 or -1")
        if set(self.headings) != set(EVENTS):
            raise InvalidInput(f"headings are of {', '.join(self.headings) or 'nothing'}, expected {', '.join(EVENTS)}")
        for event, heading in self.headings.items():
            require_array(f"heading of '{event}'", heading, (), -10.0, 10.0)
        require_array("largest tilt", self.tilt_max, (), 0.0, np.pi)
        require_array("mouth", self.mouth, (SAMPLES, 2), -2.0, 2.0)
        require_array("swivel", self.swivel, (SAMPLES,), -10.0, 10.0)
        for what, course in (("way out", self.out), ("way back", self.back)):
            require_array(what, course, (SAMPLES,), 0.0, 1.0)
        for what, seconds in zip(("tipping", "coming back", "holding"), (*self.seconds, self.hold_seconds), strict=True):
            require_array(f"time of {what}", seconds, (), 0.0, LONGEST)

    def tilting(self, rate: float) -> tuple[Float[ndarray, "N"], Float[ndarray, "M"]]:
        """Tilts [rad] while the vessel is tipped and while it comes back, `rate` a second, without the first sample."""
        grid, tilts = np.linspace(0.0, 1.0, len(self.out)), []
        for course, seconds in zip((self.out, self.back), self.seconds, strict=True):
            s = np.linspace(0.0, 1.0, max(4, round(seconds * rate)) + 1)[1:]
            tilts.append(self.tilt_max * np.interp(s, grid, course))
        return tilts[0], tilts[1]

    def mouth_at(self, tilt: Float[ndarray, "N"]) -> tuple[Float[ndarray, "N"], Float[ndarray, "N"]]:
        """Where the mouth is at these tilts [rad]: to the side and up from the rim's centre [m]."""
        grid = np.linspace(0.0, self.tilt_max, len(self.mouth))
        return np.interp(tilt, grid, self.mouth[:, 0]), np.interp(tilt, grid, self.mouth[:, 1])

    def swivel_at(self, tilt: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
        """The elbow's swivel at these tilts [rad]."""
        swivel: ndarray = np.interp(tilt, np.linspace(0.0, self.tilt_max, len(self.swivel)), self.swivel)
        return swivel

    def packed(self) -> Packed:
        """For a file."""
        arrays = {"mouth": self.mouth, "swivel": self.swivel, "out": self.out, "back": self.back}
        numbers = {
            "grip_height": self.grip_height,
            "carry_height": self.carry_height,
            "side": self.side,
            "headings": dict(self.headings),
            "tilt_max": self.tilt_max,
            "seconds": self.seconds,
            "hold_seconds": self.hold_seconds,
        }
        return Packed(arrays, numbers)

    @classmethod
    def unpacked(cls, packed: Packed) -> PourMotion:
        """From a file."""
        out, back = packed.numbers["seconds"]
        parts: dict[str, Any] = {**packed.arrays, **packed.numbers, "seconds": (float(out), float(back))}
        return cls(**parts)


@dataclass(frozen=True)
class ObservedPouring:
    """What is learned from: one demonstration, its arm and elbow swivel [rad], and what happens when."""

    demo: Demonstration
    arm: HumanArmTrajectory
    swivel: Float[ndarray, "T"]
    episode: PourEpisode

    @property
    def tilt(self) -> Float[ndarray, "T"]:
        """Of the vessel [rad]."""
        return tilt_of(self.demo, self.episode.vessel)


def learn_pour_motion(observed: Sequence[ObservedPouring]) -> PourMotion:
    """The mean way to handle the vessel.

    Raises:
        LearningFailed: the demonstrations tip the vessel to different sides.
    """
    sides = [_side(o) for o in observed]
    if abs(sum(sides)) != len(sides):
        raise LearningFailed("the demonstrations tip the vessel to different sides of the hand; learn one skill for each")
    tilt_max = float(np.mean([o.tilt[o.episode.full : o.episode.back + 1].max() for o in observed]))
    grid = np.linspace(0.0, tilt_max, SAMPLES)
    times = [(o.episode, o.demo.t) for o in observed]
    return PourMotion(
        grip_height=float(np.mean([_grip_height(o) for o in observed])),
        carry_height=float(np.mean([_carry_height(o) for o in observed])),
        side=sides[0],
        headings={event: float(np.mean([_headings(o)[event] for o in observed])) for event in EVENTS},
        tilt_max=tilt_max,
        mouth=np.mean([_over_tilt(grid, o, _mouth(o)) for o in observed], axis=0),
        swivel=np.mean([_over_tilt(grid, o, o.swivel[:, None])[:, 0] for o in observed], axis=0),
        out=np.mean([_course(o, o.episode.tip, o.episode.full) for o in observed], axis=0),
        back=1.0 - np.mean([_course(o, o.episode.back, o.episode.upright) for o in observed], axis=0),
        seconds=(
            float(np.mean([t[e.full] - t[e.tip] for e, t in times])),
            float(np.mean([t[e.upright] - t[e.back] for e, t in times])),
        ),
        hold_seconds=float(np.mean([t[e.back] - t[e.full] for e, t in times])),
    )


def _aside(o: ObservedPouring) -> Float[ndarray, "3"]:
    """Level direction to which the vessel is tipped."""
    axis = o.demo.turns[o.episode.vessel][o.episode.full : o.episode.back + 1, :, 2].mean(axis=0) * [1.0, 1.0, 0.0]
    unit: ndarray = axis / np.linalg.norm(axis)
    return unit


def _side(o: ObservedPouring) -> float:
    """1 where that is to the left of the fingers, -1 to the right."""
    fingers = o.arm.Ts_world_hand[o.episode.tip : o.episode.full, :3, 2].mean(axis=0)
    return 1.0 if float(np.cross([0.0, 0.0, 1.0], fingers) @ _aside(o)) > 0.0 else -1.0


def _grip_height(o: ObservedPouring) -> float:
    """Height of the hand over the foot, along the vessel's axis [m]."""
    carried = slice(o.episode.grasp, o.episode.release)
    reach = o.arm.Ts_world_hand[carried, :3, 3] - o.demo.objects[o.episode.vessel][carried]
    along = np.sum(reach * o.demo.turns[o.episode.vessel][carried, :, 2], axis=1)
    return float(np.clip(np.median(along), 0.0, o.demo.heights[o.episode.vessel]))


def _carry_height(o: ObservedPouring) -> float:
    """How high the foot is over where it stood, in the second half of the way to the receiver [m]."""
    foot = o.demo.objects[o.episode.vessel]
    a, b = o.episode.grasp, o.episode.tip
    return float(np.median(foot[(a + b) // 2 : b + 1, 2]) - np.median(foot[: max(a, 1), 2]))


def _headings(o: ObservedPouring) -> dict[str, float]:
    """Fingers' direction against the one from the shoulder, at each event [rad]."""
    e, shoulder = o.episode, np.median(o.arm.shoulder, axis=0)
    foot, receiver = o.demo.objects[e.vessel], o.demo.objects[e.receiver]
    at = {"take": (e.grasp, foot[e.grasp]), "pour": (e.tip, receiver[e.tip]), "dispose": (e.release, foot[-1])}
    headings = {}
    for event, (frame, place) in at.items():
        fingers, line = o.arm.Ts_world_hand[frame, :3, 2], place - shoulder
        turn = np.arctan2(fingers[1], fingers[0]) - np.arctan2(line[1], line[0])
        headings[event] = float((turn + np.pi) % (2.0 * np.pi) - np.pi)
    return headings


def _mouth(o: ObservedPouring) -> Float[ndarray, "T 2"]:
    """The mouth against the receiver's rim: to the side that it is tipped to, and up [m]."""
    rim = o.demo.objects[o.episode.receiver] + [0.0, 0.0, o.demo.heights[o.episode.receiver]]
    off = mouth_of(o.demo, o.episode.vessel) - rim
    return np.stack([off @ _aside(o), off[:, 2]], axis=1)


def _over_tilt(grid: ndarray, o: ObservedPouring, values: Float[ndarray, "T D"]) -> Float[ndarray, "S D"]:
    """What goes with each tilt of `grid` while the vessel is tipped."""
    part = slice(o.episode.tip, o.episode.full + 1)
    rising = np.maximum.accumulate(o.tilt[part])
    rising = rising + 1e-9 * np.arange(len(rising))  # strictly
    return np.stack([np.interp(grid, rising, column) for column in values[part].T], axis=1)


def _course(o: ObservedPouring, first: int, last: int) -> Float[ndarray, "S"]:
    """Share of the change of tilt that is done, over normalised time; it never turns back."""
    t = o.demo.t[first : last + 1]
    tilt = np.interp(np.linspace(t[0], t[-1], SAMPLES), t, o.tilt[first : last + 1])
    share: ndarray = np.maximum.accumulate(np.clip((tilt - tilt[0]) / (tilt[-1] - tilt[0]), 0.0, 1.0))
    return share
