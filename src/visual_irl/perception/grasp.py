"""What a hand does in each frame: open, closed, holding an object, or not seen; of demonstrations, and of live streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.perception.assembly import grasp_centre
from visual_irl.types import SIDES, Demonstration, HandState, KeypointFrame, ObjectEstimate, keypoint_index

OPENS_ABOVE, CLOSES_BELOW = 0.75, 0.5
"""Thumb and index fingertip are so many palm lengths apart (wrist to middle knuckle, 0.09 to 0.1 m) where a hand opens or
closes; between them it stays what it was. A pinch is below 0.3, a relaxed hand near 0.6, a spread one above 1."""


def grasp_states(demo: Demonstration) -> tuple[str, ...]:
    """'holding' where an object is known to be in the hand, else 'open' or 'closed' by the aperture, 'unknown' where lost."""
    palm = _palm(demo.p_world, demo.side)
    length = float(np.nanmedian(palm)) if np.isfinite(palm).any() else np.nan
    states, fingers = [], "unknown"
    for aperture, held in zip(demo.aperture / length, demo.held, strict=True):
        fingers = _fingers(fingers, float(aperture))
        states.append("holding" if held else fingers)
    return tuple(states)


@dataclass(frozen=True)
class HandsConfig:
    """When something is in a hand, in a live stream that does not know what comes [m, s]."""

    reach: float = 0.06
    """From the grasp centre to the skin of what can be taken: landmarks of a hand that closes err by this."""
    follow: float = 0.04
    """A thing is seen again within this of where it was, or of where the wrist has brought it."""
    taken: float = 0.03
    """What moved by this since it came in reach is held."""
    still: float = 0.02
    """What moved by less lies still ..."""
    left: float = 0.08
    """... and was let go of when the wrist moved by this meanwhile, or ..."""
    far: float = 0.15
    """... when it is so far from the grasp centre, which may be 0.1 off where fingers are lost."""
    forgotten: float = 0.5
    """What is not seen for so long was let go of ..."""
    opened: float = 0.015
    """... once the fingers are further apart by this than when they held it."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0.0 <= value <= 10.0:
                raise InvalidInput(f"{field.name} is {value}, must lie between 0 and 10 [m, s]")


class HandWatch:
    """Feed it the frames of a live stream in the order of time."""

    def __init__(self, config: HandsConfig | None = None) -> None:
        self.config = config or HandsConfig()
        """May be replaced between two frames."""
        self._hands = {side: _Hand(side) for side in SIDES}

    def step(self, frame: KeypointFrame) -> KeypointFrame:
        """The frame with its hands; holding is known only of objects that the frame names."""
        return replace(frame, hands={side: hand.step(frame, self.config) for side, hand in self._hands.items()})


class _Hand:
    """One hand, and what is in its reach or in it."""

    def __init__(self, side: str) -> None:
        self._side = side
        self._tips = [keypoint_index(f"{side}_hand_{tip}") for tip in ("thumb_tip", "index_tip")]
        self._palm, self._palms, self._fingers = 0.0, 0, "unknown"
        self._wrist = keypoint_index(f"{side}_wrist")
        self._thing: _Thing | None = None

    def step(self, frame: KeypointFrame, config: HandsConfig) -> HandState:
        palm = float(_palm(frame.p_world[None], self._side)[0])
        if np.isfinite(palm):
            self._palms += 1
            self._palm += (palm - self._palm) / min(self._palms, 100)
        thumb, index = frame.p_world[self._tips]
        aperture = float(np.linalg.norm(thumb - index))
        self._fingers = _fingers(self._fingers, aperture / self._palm if self._palms else np.nan)
        centre, wrist = grasp_centre(frame.p_world[None], self._side)[0], frame.p_world[self._wrist]
        if np.isfinite(centre).all() and np.isfinite(wrist).all():
            self._watch(config, centre, wrist, aperture, frame.objects, 1e-9 * frame.stamp_ns)
        holding = self._thing is not None and self._thing.held
        return HandState(aperture, "holding" if holding else self._fingers)

    def _watch(
        self, c: HandsConfig, centre: ndarray, wrist: ndarray, aperture: float, objects: Sequence[ObjectEstimate], t: float
    ) -> None:
        """Follow what is in reach of the hand, and tell whether it was taken or let go of."""
        if self._thing is not None:
            self._thing = _followed(c, self._thing, centre, wrist, aperture, objects, t)
        if self._thing is None or not self._thing.held:
            near = min(objects, key=lambda o: _gap(o, centre), default=None)
            if near is None or _gap(near, centre) > c.reach:
                self._thing = None
            elif self._thing is None or np.linalg.norm(near.p_world - self._thing.p) > c.still:
                self._thing = _Thing(near.label, near.p_world, near.p_world, wrist, near.p_world, wrist, aperture, t, False)


@dataclass(frozen=True)
class _Thing:
    """What a hand reaches: its class and its place when it came in reach; when it was seen last [s], its place, the wrist's and
    the aperture [m]; where it came to rest, and where the wrist was then; and whether it is held."""

    label: str
    start: ndarray
    p: ndarray
    wrist: ndarray
    rest: ndarray
    at: ndarray
    aperture: float
    seen: float
    held: bool


def _followed(
    c: HandsConfig, thing: _Thing, centre: ndarray, wrist: ndarray, aperture: float, objects: Sequence[ObjectEstimate], t: float
) -> _Thing | None:
    """The thing one frame later; None when it was let go of."""
    places = (thing.p, thing.p + wrist - thing.wrist)
    gaps = [min(_moved(p, o.p_world) for p in places) if o.label == thing.label else np.inf for o in objects]
    if not gaps or min(gaps) > c.follow:
        let_go = t - thing.seen > c.forgotten and aperture > thing.aperture + c.opened
        return thing if thing.held and not let_go else None
    mine = objects[int(np.argmin(gaps))]
    p = mine.p_world
    rest, at = (thing.rest, thing.at) if np.linalg.norm(p - thing.rest) < c.still else (p, wrist)
    if _gap(mine, centre) > c.far or np.linalg.norm(wrist - at) > c.left:
        return None
    held = thing.held or bool(np.linalg.norm(p - thing.start) > c.taken)
    return _Thing(thing.label, thing.start, p, wrist, rest, at, aperture, t, held)


def _moved(a: Float[ndarray, "3"], b: Float[ndarray, "3"]) -> float:
    """Distance [m] between places of one thing, of which a fall counts a third: it is let go of above its new place."""
    way = b - a
    return float(np.linalg.norm([way[0], way[1], 0.3 * way[2] if way[2] < 0.0 else way[2]]))


def _fingers(before: str, aperture: float) -> str:
    """Open, closed or unknown, by the aperture [palm lengths] and what they were before."""
    if not np.isfinite(aperture):
        return "unknown"
    if aperture >= OPENS_ABOVE or (before == "unknown" and aperture > 0.5 * (OPENS_ABOVE + CLOSES_BELOW)):
        return "open"
    return "closed" if aperture <= CLOSES_BELOW or before == "unknown" else before


def _palm(p_world: Float[ndarray, "T K 3"], side: str) -> Float[ndarray, "T"]:
    """From wrist to middle knuckle [m]."""
    wrist, knuckle = (p_world[:, keypoint_index(f"{side}_hand_{joint}")] for joint in ("wrist", "middle_mcp"))
    length: ndarray = np.linalg.norm(knuckle - wrist, axis=1)
    return length


def _gap(thing: ObjectEstimate, p: Float[ndarray, "3"]) -> float:
    """From a place to a thing's skin [m], 0 within it."""
    nearest = thing.p_world
    if thing.axis is not None and thing.height is not None:
        along = float(np.clip((p - nearest) @ thing.axis, -0.5 * thing.height, 0.5 * thing.height))
        nearest = nearest + along * thing.axis
    return max(float(np.linalg.norm(p - nearest)) - thing.radius, 0.0)
