"""Which sightings are of one object: identity through occlusion, solved for a whole recording at once.

Things do not appear out of nothing and two solid things are not in one place. Sightings that follow each other closely
make pieces of a path. The pieces are joined to whole paths at the least total cost: a piece that begins where the hand
can have brought an object that vanished continues it; a new object is dear; leaving a faint piece out is cheap. That is
a minimum-cost path cover (Zhang, Li and Nevatia 2008, "Global data association for multi-object tracking using network
flows"), here with optional nodes and solved as one assignment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from visual_irl.bounds import require_within
from visual_irl.types import ObjectEstimate

_NEVER = 1e3
"""Cost of what cannot be [m]."""


@dataclass(frozen=True)
class AssociationConfig:
    """Distances and costs [m], durations [s]."""

    still: float = 0.02
    """An object within this of its place has not moved: detection noise is 2 to 8 mm, more when half hidden."""
    grasp: float = 0.13
    """A held object's centre is at most this far from the grasp centre: half a hand and its landmark error."""
    gate: float = 0.07
    """A moving object is looked for within this of where the hand leads it, or about as far from its last sighting ..."""
    speed: float = 1.2
    """... but no further than a hand carries it, or it falls, in the time between [m/s]."""
    longest_gap: float = 0.5
    """An object that is not seen for longer ends its piece [s]: anything may have happened meanwhile."""
    solid: float = 0.75
    """Two sightings nearer to each other than this share of the sum of their radii are of one object."""
    roll: float = 3.0
    """Cost of a move without a hand per metre: seldom, and never far."""
    beginning: float = 0.1
    """Cost of an object that is seen within `longest_gap` from the start."""
    birth: float = 0.6
    """Cost of an object that appears later. Landmarks of a hand are off by up to 0.3 m when its fingers are hidden."""
    sighting: float = 0.05
    """Cost of leaving out a sighting, times its squared confidence: twelve full views make a late object, slivers none."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 1e3)


@dataclass(eq=False)
class Track:
    """Sightings of one object in the order of time."""

    label: str
    frames: list[int] = field(default_factory=list)
    seen: list[ObjectEstimate] = field(default_factory=list)

    def add(self, frame: int, estimate: ObjectEstimate) -> None:
        """One sighting more."""
        self.frames.append(frame)
        self.seen.append(estimate)

    def until(self, frame: int) -> Track:
        """Its sightings before a frame."""
        n = bisect_left(self.frames, frame)
        return Track(self.label, self.frames[:n], self.seen[:n])


def associate(
    t: Float[ndarray, "T"],
    detections: Sequence[Sequence[ObjectEstimate]],
    hand: Float[ndarray, "T 3"],
    config: AssociationConfig,
) -> list[Track]:
    """One track an object, in the order of their first sightings.

    Args:
        t: frame times [s].
        detections: what was seen in each frame.
        hand: grasp centre [m] without gaps; all NaN when it was never seen.
        config: distances and costs.
    """
    pieces = _pieces(t, detections, hand, config)
    tracks = []
    for chain in _chains(_costs(pieces, t, hand, config)):
        track = pieces[chain[0]]
        for i in chain[1:]:
            track = track.until(pieces[i].frames[0])
            track = Track(track.label, track.frames + pieces[i].frames, track.seen + pieces[i].seen)
        tracks.append(track)
    return sorted(tracks, key=lambda track: track.frames[0])


# -- pieces: sightings that follow each other closely -----------------------------------------------------------------


def _pieces(
    t: ndarray, detections: Sequence[Sequence[ObjectEstimate]], hand: ndarray, config: AssociationConfig
) -> list[Track]:
    """Join sightings frame by frame: first to what lies still, then to what moves."""
    pieces: list[Track] = []
    for frame, found in enumerate(detections):
        free = list(range(len(found)))
        waiting = [piece for piece in pieces if t[frame] - t[piece.frames[-1]] <= config.longest_gap]
        for cost in (_stayed, _moved):
            table = np.array([[cost(piece, found[j], frame, t, hand, config) for j in free] for piece in waiting])
            if not table.size:
                break
            pairs = [(waiting[a], free[b]) for a, b in zip(*linear_sum_assignment(table), strict=True) if table[a, b] < _NEVER]
            for piece, j in pairs:
                piece.add(frame, found[j])
                waiting.remove(piece)
                free.remove(j)
        solid = [found[j] for j in range(len(found)) if j not in free]
        for estimate in sorted((found[j] for j in free), key=lambda e: -e.confidence):
            if not any(_overlap(estimate, other, config) for other in solid):
                pieces.append(Track(estimate.label, [frame], [estimate]))
                solid.append(estimate)
    return pieces


def _overlap(a: ObjectEstimate, b: ObjectEstimate, config: AssociationConfig) -> bool:
    """Whether both cannot be there, as when one onion shows in two places between the fingers."""
    return bool(np.linalg.norm(a.p_world - b.p_world) < config.solid * (a.radius + b.radius))


def _stayed(piece: Track, estimate: ObjectEstimate, frame: int, t: ndarray, hand: ndarray, config: AssociationConfig) -> float:
    """Distance [m] to where the piece was last seen, when that is as good as none."""
    gap = float(np.linalg.norm(estimate.p_world - piece.seen[-1].p_world))
    return gap if estimate.label == piece.label and gap < config.still else _NEVER


def _moved(piece: Track, estimate: ObjectEstimate, frame: int, t: ndarray, hand: ndarray, config: AssociationConfig) -> float:
    """Distance [m] to where the hand leads the piece or, when that is too far, to where it was just seen.

    Landmarks of a hand that closes around something jump; what the camera sees of the object itself does not.
    """
    if estimate.label != piece.label:
        return _NEVER
    last, p = piece.frames[-1], piece.seen[-1].p_world
    led = _led_by_hand(p, estimate.p_world, hand[last : frame + 1], config)
    if led < config.gate:
        return led
    gap = float(np.linalg.norm(estimate.p_world - p))
    near = np.linalg.norm(hand[last] - p) < 2.0 * config.grasp
    free = min(config.speed * (t[frame] - t[last]), config.gate) if near or _in_motion(piece, t, config) else config.still
    return gap if gap < config.still + free else _NEVER


def _in_motion(piece: Track, t: ndarray, config: AssociationConfig) -> bool:
    """Whether it was on its way when it was last seen."""
    since = bisect_left(piece.frames, int(np.searchsorted(t, t[piece.frames[-1]] - config.longest_gap)))
    recent = np.array([s.p_world for s in piece.seen[since:]])
    return bool(np.linalg.norm(recent - recent[-1], axis=1).max() > config.still)


def _led_by_hand(p: ndarray, to: ndarray, way: Float[ndarray, "C 3"], config: AssociationConfig) -> float:
    """How far [m] `to` is from where a hand on this `way` can have carried, or dropped, an object that was at `p`.

    A hand that does not come within a grasp's reach of `p` misses by the rest of the way to it.
    """
    distance = np.linalg.norm(way - p, axis=1)
    if not np.isfinite(distance).all():
        return _NEVER
    costs = []
    for taken in {0, int(distance.argmin())}:  # it was in the hand already, or was taken when the hand was nearest
        d = to - (way[taken:] + p - way[taken])
        d[:, 2] = np.where(d[:, 2] < 0.0, 0.3 * d[:, 2], d[:, 2])  # it falls when let go of
        costs.append(float(np.linalg.norm(d, axis=1).min()) + max(float(distance.min()) - config.grasp, 0.0))
    return min(costs)


# -- from pieces to objects -------------------------------------------------------------------------------------------


def _costs(pieces: Sequence[Track], t: ndarray, hand: ndarray, config: AssociationConfig) -> Float[ndarray, "M M"]:
    """What each piece's end (row) costs to be followed by each piece's beginning (column).

    The second halves are beginnings of objects (rows) and ends of objects (columns); on the diagonal of the first
    halves a piece is followed by itself, which leaves it out.
    """
    n = len(pieces)
    costs = np.full((2 * n, 2 * n), _NEVER)
    costs[n:, n:] = 0.0
    for i, before in enumerate(pieces):
        costs[i, i] = min(_worth(before.seen, config), 0.5 * _NEVER)
        costs[n + i, i] = config.beginning if t[before.frames[0]] - t[0] <= config.longest_gap else config.birth
        costs[i, n + i] = 0.0
        for j, after in enumerate(pieces):
            if i != j and before.label == after.label:
                costs[i, j] = _followed(before, after, hand, config)
    return costs


def _worth(seen: Sequence[ObjectEstimate], config: AssociationConfig) -> float:
    """Cost [m] of leaving out sightings."""
    return config.sighting * sum(s.confidence**2 for s in seen)


def _followed(before: Track, after: Track, hand: ndarray, config: AssociationConfig) -> float:
    """Cost [m] of one piece being the other's continuation.

    The end of a piece may be left out: it may have gone astray, to where something shows between the fingers.
    """
    first = after.frames[0]
    early = before.until(first)
    if not early.frames:
        return _NEVER
    p, to = early.seen[-1].p_world, after.seen[0].p_world
    rolled = config.roll * float(np.linalg.norm(to - p))
    led = _led_by_hand(p, to, hand[early.frames[-1] : first + 1], config)
    return min(rolled, led) + _worth(before.seen[len(early.seen) :], config)


def _chains(costs: Float[ndarray, "M M"]) -> list[list[int]]:
    """The cheapest set of chains of pieces."""
    n = len(costs) // 2
    if not n:
        return []
    rows, columns = linear_sum_assignment(costs)
    follows = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    chains = []
    for first in (i for i in range(n) if follows[n + i] == i):
        chain = [first]
        while follows[chain[-1]] < n:
            chain.append(follows[chain[-1]])
        chains.append(chain)
    return chains
