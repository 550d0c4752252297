"""Whether something is in a hand, in a live stream that does not know what comes: evidence adds up, frame by frame.

What is held goes where the hand goes: over a short while, a thing's way is compared with the wrist's, and with none or a fall,
each by the likelihood of a Gaussian as wide as hands turn and sightings err. What is in reach and has nothing under it is held
at once, and what is out of reach is not. Fingers that open further than they held it let go. A hidden thing keeps its odds, but
for a hand that leaves: a thing that was left behind would show.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.types import ObjectEstimate

GRAVITY = 9.81


@dataclass(frozen=True)
class HoldingConfig:
    """What is evidence of holding, and how much [m, s, log odds]."""

    reach: float = 0.06
    """From the grasp centre to the skin of what can be taken: landmarks of a hand that closes err by this ..."""
    unseen_fingers: float = 0.06
    """... and its centre errs by so much more where its fingers are lost."""
    follow: float = 0.04
    """A thing is seen again within this of where it was, or of where the wrist has brought it."""
    window: float = 0.15
    """Ways of the wrist and of a thing are compared over so long."""
    still: float = 0.006
    """Standard deviation of the way of a thing that lies still: of two sightings, half hidden ones too."""
    led: float = 0.02
    """The same of a held thing's way against the wrist's ..."""
    turning: float = 0.4
    """... to which comes this share of the wrist's way: hands turn about it."""
    moved: float = 6.0
    """Ways tell this much within a window, at most."""
    high: float = 0.08
    """What is lowest at more than this above the table lies on nothing, unless it was there before the hand."""
    aloft: float = 4.0
    """When it comes in reach of a hand, that tells this much ..."""
    stays_aloft: float = 1.0
    """... and this much within each window after."""
    apart: float = -2.0
    """What is out of reach tells this much within a window."""
    far: float = 0.15
    """What is further from the grasp centre is not in the hand."""
    opened: float = 0.015
    """Fingers that are further apart by this than when they held it ..."""
    open_tells: float = -2.0
    """... tell this much within a window."""
    grip: float = 1.5
    """That is a mean over so long, as landmarks of a hand that holds something jump."""
    prior: float = -1.0
    """Of what comes in reach."""
    surest: float = 2.5
    """Odds go no further either way, so that they can turn."""
    sure: float = 1.0
    """Something is held above this, and let go of below its negative."""
    carried_off: float = 0.08
    """A hidden thing that a hand leaves behind would show once the wrist is so far ..."""
    left_unseen: float = 2.0
    """... which tells this much, once."""

    def __post_init__(self) -> None:
        odds, divisor = (-20.0, 20.0), (1e-6, 20.0)
        require_within(
            self, 0.0, 20.0, apart=odds, open_tells=odds, prior=odds, window=divisor, still=divisor, led=divisor, grip=divisor
        )


class HandPlace(NamedTuple):
    """A hand in one frame: grasp centre, wrist, and the aperture [m]."""

    centre: Float[ndarray, "3"]
    wrist: Float[ndarray, "3"]
    aperture: float


class _Sighting(NamedTuple):
    t: float
    p: ndarray
    wrist: ndarray


@dataclass
class _Thing:
    """What is in reach: its sightings within the window, its odds, whether it is held, and the aperture that holds it."""

    label: str
    seen: deque[_Sighting]
    score: float
    alone: bool
    """Whether it was where it is before the hand came."""
    held: bool = False
    aperture: float = np.inf
    hidden: bool = False
    """Whether it was counted as carried off unseen."""


class Holding:
    """Feed it a hand and the objects of each frame; `step` says whether it holds one of them."""

    def __init__(self, config: HoldingConfig | None = None) -> None:
        self.config, self._t = config or HoldingConfig(), 0.0
        self._thing: _Thing | None = None
        self._before: tuple[ObjectEstimate, ...] = ()

    @property
    def held(self) -> bool:
        """Whether something is in the hand."""
        return self._thing is not None and self._thing.held

    def step(self, t: float, hand: HandPlace, objects: Sequence[ObjectEstimate]) -> bool:
        """One frame more, at `t` [s]."""
        c, share = self.config, min((t - self._t) / self.config.window, 1.0)
        self._t = t
        thing = self._thing
        if thing is not None:
            mine = self._again(thing, t, hand, objects)
            self._weigh(thing, t, share, hand, mine)
            if self._lost(thing, hand, mine):
                thing = None
        if thing is None or not thing.held:
            near = min(objects, key=lambda o: _gap(o, hand.centre), default=None)
            new = thing is None or (near is not None and np.linalg.norm(near.p_world - thing.seen[-1].p) > c.follow)
            if near is not None and new and self._near(near, hand):
                alone = any(np.linalg.norm(o.p_world - near.p_world) < 2.0 * c.still for o in self._before)
                thing = _Thing(near.label, deque([_Sighting(t, near.p_world, hand.wrist)]), c.prior, alone)
                thing.score += 0.0 if self._on_something(thing, near) else c.aloft
                self._weigh(thing, t, 0.0, hand, near)
        self._thing, self._before = thing, tuple(objects)
        return self.held

    def _near(self, thing: ObjectEstimate, hand: HandPlace) -> bool:
        c = self.config
        return _gap(thing, hand.centre) < c.reach + (0.0 if np.isfinite(hand.aperture) else c.unseen_fingers)

    def _on_something(self, thing: _Thing, seen: ObjectEstimate) -> bool:
        """Whether nothing but a hand need hold it up."""
        return thing.alone or _lowest(seen) <= self.config.high

    def _again(self, thing: _Thing, t: float, hand: HandPlace, objects: Sequence[ObjectEstimate]) -> ObjectEstimate | None:
        """The thing in this frame."""
        last = thing.seen[-1]
        places = (last.p, last.p + hand.wrist - last.wrist)
        fall = GRAVITY * (t - last.t) ** 2
        gaps = [min(_moved(p, o.p_world, fall) for p in places) if o.label == thing.label else np.inf for o in objects]
        return objects[int(np.argmin(gaps))] if gaps and min(gaps) < self.config.follow else None

    def _lost(self, thing: _Thing, hand: HandPlace, mine: ObjectEstimate | None) -> bool:
        """Whether it is out of reach."""
        if mine is not None:
            return _gap(mine, hand.centre) > self.config.far
        return not thing.held and float(np.linalg.norm(hand.wrist - thing.seen[-1].wrist)) > 2.0 * self.config.carried_off

    def _weigh(self, thing: _Thing, t: float, share: float, hand: HandPlace, mine: ObjectEstimate | None) -> None:
        """Add one frame's evidence."""
        c = self.config
        if mine is not None:
            thing.seen.append(_Sighting(t, mine.p_world, hand.wrist))
            while len(thing.seen) > 2 and t - thing.seen[1].t >= c.window:
                thing.seen.popleft()
            place = c.apart if not self._near(mine, hand) else 0.0 if self._on_something(thing, mine) else c.stays_aloft
            thing.score += share * (self._ways(thing) + place)
            thing.hidden = False
        elif not thing.hidden and np.linalg.norm(hand.wrist - thing.seen[-1].wrist) > c.carried_off:
            thing.score, thing.hidden = thing.score + c.left_unseen, True
        if thing.held and hand.aperture > thing.aperture + c.opened:
            thing.score += share * c.open_tells
        thing.score = float(np.clip(thing.score, -c.surest, c.surest))
        thing.held = thing.score > (-c.sure if thing.held else c.sure)
        if thing.held and np.isfinite(hand.aperture):
            before = thing.aperture if np.isfinite(thing.aperture) else hand.aperture
            thing.aperture = before + min(share * c.window / c.grip, 1.0) * (hand.aperture - before)

    def _ways(self, thing: _Thing) -> float:
        """Log likelihood of the thing's way over the window if the wrist leads it, against lying still or falling."""
        c, first, last = self.config, thing.seen[0], thing.seen[-1]
        way, wrist = last.p - first.p, last.wrist - first.wrist
        led = c.led**2 + c.turning**2 * (wrist @ wrist)
        alone = np.array([way[0], way[1], max(way[2], 0.0)])
        odds = 0.5 * (alone @ alone) / (2.0 * c.still**2) - 0.5 * float((way - wrist) @ (way - wrist)) / led
        return float(np.clip(odds, -c.moved, c.moved))


def _gap(thing: ObjectEstimate, p: Float[ndarray, "3"]) -> float:
    """From a place to a thing's skin [m], 0 within it."""
    nearest = thing.p_world
    if thing.axis is not None and thing.height is not None:
        along = float(np.clip((p - nearest) @ thing.axis, -0.5 * thing.height, 0.5 * thing.height))
        nearest = nearest + along * thing.axis
    return max(float(np.linalg.norm(p - nearest)) - thing.radius, 0.0)


def _lowest(thing: ObjectEstimate) -> float:
    """Height of a thing's lowest point [m]."""
    if thing.axis is None or thing.height is None:
        return float(thing.p_world[2]) - thing.radius
    up = abs(float(thing.axis[2]))
    return float(thing.p_world[2]) - 0.5 * thing.height * up - thing.radius * float(np.sqrt(max(1.0 - up * up, 0.0)))


def _moved(a: Float[ndarray, "3"], b: Float[ndarray, "3"], fall: float) -> float:
    """Distance [m] between places of one thing; it may be let go of, and fall this far [m] meanwhile."""
    way = b - a
    return float(np.linalg.norm([way[0], way[1], way[2] if way[2] > 0.0 else min(way[2] + fall, 0.0)]))
