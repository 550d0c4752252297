"""Which object is which over a whole recording, and when it is in the hand.

Works offline. Detections are first joined to tracks: what lies still keeps its place, what the hand took is looked for
along the way of the hand. Each track then is a story of rests, where the object stays while the hand moves, and of
carries between two rests at different places. While a hand hides what it carries, the object is where the hand is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.optimize import linear_sum_assignment

from visual_irl.types import ObjectEstimate

GRAVITY = 9.81


@dataclass(frozen=True)
class TrackingConfig:
    """Distances [m] and durations [s]."""

    still: float = 0.02
    """An object within this of its place has not moved: detection noise is 2 to 8 mm, more when half hidden."""
    settled: float = 0.006
    """Where a rest begins and ends: above this it is on its way; three times the noise of a clear sighting."""
    grasp: float = 0.13
    """A held object's centre is at most this far from the grasp centre: half a hand and its landmark error."""
    gate: float = 0.07
    """A moving object is looked for within this of where the hand leads it."""
    hand_moves: float = 0.06
    """An object that stays while the hand moves this far is at rest, not held still."""
    least_sightings: int = 5
    """A track with fewer sightings is spurious."""
    least_clear: float = 0.5
    """Sightings with at least this confidence (visible share) vote on attributes and radius, when there are any."""
    least_carry: float = 0.04
    """An object whose place did not change by this was not carried."""
    dropped_after: float = 0.5
    """An object last seen in the hand longer than this before the end was let go of out of sight [s]."""
    near_place: float = 0.15
    """A hand this near to the middle of a bin, seen from above, is over it."""


@dataclass(frozen=True)
class Tracks:
    """Objects over time: paths [m], radii [m], attributes in [0, 1], and which one is held per frame ('' for none)."""

    objects: dict[str, Float[ndarray, "T 3"]]
    radii: dict[str, float]
    attributes: dict[str, dict[str, float]]
    held: tuple[str, ...]


@dataclass
class _Track:
    """Sightings of one object."""

    label: str
    frames: list[int] = field(default_factory=list)
    seen: list[ObjectEstimate] = field(default_factory=list)

    def add(self, frame: int, estimate: ObjectEstimate) -> None:
        self.frames.append(frame)
        self.seen.append(estimate)

    @property
    def last(self) -> Float[ndarray, "3"]:
        return self.seen[-1].p_world


@dataclass
class _Rest:
    """Frames first to last in which an object is seen at one place."""

    first: int
    last: int
    p: ndarray


def track_objects(
    t: Float[ndarray, "T"],
    detections: Sequence[Sequence[ObjectEstimate]],
    hand: Float[ndarray, "T 3"],
    places: Float[ndarray, "P 3"] | None = None,
    config: TrackingConfig | None = None,
) -> Tracks:
    """Objects of a recording, named `<label>_<i>` in the order in which they are taken, then of their place along y.

    Args:
        t: frame times [s].
        detections: what was seen in each frame.
        hand: grasp centre [m] of the demonstrating hand; NaN where it was lost (bridged by interpolation).
        places: where objects are put down, such as bins [m]: where to expect what was let go of out of sight.
        config: thresholds.
    """
    config = config or TrackingConfig()
    places = np.zeros((0, 3)) if places is None else places
    hand = _bridged(t, hand)
    tracks = [k for k in _associate(detections, hand, config) if len(k.frames) >= config.least_sightings]
    stories = [_story(track, t, hand, places, config) for track in tracks]
    order = sorted(range(len(tracks)), key=lambda i: (_first(stories[i][1]), float(stories[i][0][0, 1])))
    names: dict[int, str] = {}
    for i in order:
        rank = sum(name.startswith(f"{tracks[i].label}_") for name in names.values())
        names[i] = f"{tracks[i].label}_{rank}"
    held = [""] * len(t)
    for i in order:
        for frame in np.nonzero(stories[i][1])[0]:
            held[frame] = names[i]  # where two stories overlap, what was taken later is in the hand
    return Tracks(
        objects={names[i]: stories[i][0] for i in order},
        radii={names[i]: float(np.median([s.radius for s in _voters(tracks[i], config)])) for i in order},
        attributes={names[i]: _attributes(tracks[i], config) for i in order},
        held=tuple(held),
    )


def _first(held: ndarray) -> int:
    return int(held.argmax()) if held.any() else len(held)


def _bridged(t: ndarray, hand: ndarray) -> Float[ndarray, "T 3"]:
    """The hand's path with its gaps interpolated; all NaN when it was never seen."""
    known = np.isfinite(hand).all(1)
    if not known.any():
        return np.full(hand.shape, np.nan)
    path = np.stack([np.interp(t, t[known], hand[known, axis]) for axis in range(3)], 1)
    return median_filter(path, size=(3, 1), mode="nearest")  # single outliers of the landmarks


# -- from detections to tracks ----------------------------------------------------------------------------------------


def _associate(detections: Sequence[Sequence[ObjectEstimate]], hand: ndarray, config: TrackingConfig) -> list[_Track]:
    """Join detections frame by frame: first to what lies still, then to what the hand may have brought there."""
    tracks: list[_Track] = []
    for frame, found in enumerate(detections):
        free = list(range(len(found)))
        waiting = list(range(len(tracks)))
        for cost, gate in ((_stayed, config.still), (_carried, config.gate)):
            table = np.array([[cost(tracks[i], found[j], frame, hand, config) for j in free] for i in waiting])
            if not table.size:
                break
            pairs = [(waiting[a], free[b]) for a, b in zip(*linear_sum_assignment(table), strict=True) if table[a, b] < gate]
            for i, j in pairs:
                tracks[i].add(frame, found[j])
                waiting.remove(i)
                free.remove(j)
        for j in free:
            tracks.append(_Track(found[j].label))
            tracks[-1].add(frame, found[j])
    return tracks


_FAR = 1e3
"""Cost of what cannot be [m]."""


def _stayed(track: _Track, estimate: ObjectEstimate, frame: int, hand: ndarray, config: TrackingConfig) -> float:
    """Distance [m] to where the track was last seen."""
    return float(np.linalg.norm(estimate.p_world - track.last)) if estimate.label == track.label else _FAR


def _carried(track: _Track, estimate: ObjectEstimate, frame: int, hand: ndarray, config: TrackingConfig) -> float:
    """Distance [m] to where the hand can have brought the track since it was last seen, or dropped it on the way."""
    if estimate.label != track.label:
        return _FAR
    since = track.frames[-1]
    way = hand[since : frame + 1]
    distance = np.linalg.norm(way - track.last, axis=1)
    if not distance.min() < config.grasp:  # the hand was never there (or is unknown): it can only have rolled
        return float(np.linalg.norm(estimate.p_world - track.last))
    costs = []
    for taken in {0, int(distance.argmin())}:  # it was in the hand already, or was taken when the hand was nearest
        d = estimate.p_world - (way[taken:] + track.last - way[taken])
        d[:, 2] = np.where(d[:, 2] < 0.0, 0.3 * d[:, 2], d[:, 2])  # it falls when let go of
        costs.append(float(np.linalg.norm(d, axis=1).min()))
    return min(costs)


# -- from a track to its story ----------------------------------------------------------------------------------------


def _story(track: _Track, t: ndarray, hand: ndarray, places: ndarray, config: TrackingConfig) -> tuple[ndarray, ndarray]:
    """Path (T, 3) [m] and held flags (T,) of one track."""
    n = len(t)
    frames = np.array(track.frames)
    p = np.array([s.p_world for s in track.seen])
    radius = float(np.median([s.radius for s in _voters(track, config)]))
    rests = _rests(frames, p, hand, config)
    path, held = np.full((n, 3), np.nan), np.zeros(n, bool)
    if not rests:  # never at rest: it only shows where it was seen
        return np.stack([np.interp(t, t[frames], p[:, axis]) for axis in range(3)], 1), held
    path[:] = rests[0].p
    for before, after in pairwise(rests):
        grasp, landed = _carry_between(before, after, frames, hand)
        held[grasp : _let_go(grasp, landed, t, frames, p, after.p[2])] = True
        path[grasp:landed] = _carried_path(grasp, landed, frames, p, hand)
        path[landed:] = after.p
    tail = frames > rests[-1].last
    moved = tail & (np.linalg.norm(p - rests[-1].p, axis=1) > config.least_carry)
    if moved.sum() >= 2 and np.isfinite(hand).all():
        _last_carry(rests[-1], frames, p, moved, t, hand, radius, places, config, path, held)
    return path, held


def _rests(frames: ndarray, p: ndarray, hand: ndarray, config: TrackingConfig) -> list[_Rest]:
    """Places where the object stays although the hand moves, in time; neighbours at one place are joined."""
    runs: list[list[int]] = []
    for i in range(len(frames)):
        if runs and np.linalg.norm(p[i] - np.median(p[runs[-1][-15:]], axis=0)) < config.still:
            runs[-1].append(i)
        else:
            runs.append([i])
    rests: list[_Rest] = []
    for run in runs:
        place = np.median(p[run], axis=0)
        calm = [i for i in run if np.linalg.norm(p[i] - place) < config.settled] or run
        run = run[run.index(calm[0]) : run.index(calm[-1]) + 1]  # without its start of motion, or its landing
        first, last = int(frames[run[0]]), int(frames[run[-1]])
        way = np.linalg.norm(hand[first : last + 1] - np.median(hand[first : first + 3], axis=0), axis=1)
        at_rest = not np.isfinite(way).all() or np.sum(way > config.hand_moves) >= 3  # not a single bad landmark
        if len(run) < 3 or not at_rest:
            continue
        if rests and np.linalg.norm(rests[-1].p - place) < config.least_carry:
            rests[-1].last = last
        else:
            rests.append(_Rest(first, last, place))
    return rests


def _carry_between(before: _Rest, after: _Rest, frames: ndarray, hand: ndarray) -> tuple[int, int]:
    """First frame in the hand and first frame out of it.

    What is hidden around the grasp was taken when the hand left the place, and let go of when it was over the new one.
    """
    between = frames[(frames > before.last) & (frames < after.first)]
    away, landed = (int(between[0]), int(between[-1])) if len(between) else (after.first, before.last)
    grasp, release = before.last + 1, after.first
    if np.isfinite(hand).all():
        from_place = np.linalg.norm(hand[before.last : away + 1] - before.p, axis=1)
        grasp = before.last + int(np.nonzero(from_place <= from_place.min() + 0.015)[0][-1]) + 1
        landed = max(landed, grasp)
        to_place = np.linalg.norm((hand[landed : after.first + 1] - after.p)[:, :2], axis=1)
        if len(to_place):
            release = landed + int(np.nonzero(to_place <= to_place.min() + 0.01)[0][-1])
    return min(grasp, after.first), max(min(release, after.first), grasp)


def _let_go(grasp: int, landed: int, t: ndarray, frames: ndarray, p: ndarray, floor: float) -> int:
    """First frame of the fall that ends in frame `landed`: an object that is seen `h` above takes sqrt(2 h / g)."""
    above = p[(frames >= grasp) & (frames < landed) & (t[frames] > t[landed] - 0.35), 2]
    if not len(above):
        return landed
    fall = np.sqrt(2.0 * max(float(above.max()) - floor, 0.0) / GRAVITY)
    return max(grasp, min(landed, int(np.searchsorted(t, t[landed] - fall))))


def _carried_path(grasp: int, release: int, frames: ndarray, p: ndarray, hand: ndarray) -> Float[ndarray, "C 3"]:
    """Where the object is while it is carried: as seen, else with the hand at the interpolated offset."""
    steps = np.arange(grasp, release)
    mine = (frames >= grasp) & (frames < release)
    if not np.isfinite(hand).all():
        return np.stack([np.interp(steps, frames, p[:, axis]) for axis in range(3)], 1)
    if not mine.any():
        return hand[steps]
    offset = median_filter(p[mine] - hand[frames[mine]], size=(3, 1), mode="nearest")
    return hand[steps] + np.stack([np.interp(steps, frames[mine], offset[:, axis]) for axis in range(3)], 1)


def _last_carry(
    rest: _Rest, frames: ndarray, p: ndarray, moved: ndarray, t: ndarray, hand: ndarray, radius: float,
    places: ndarray, config: TrackingConfig, path: ndarray, held: ndarray,
) -> None:  # fmt: skip
    """The object left its last place and was not seen at rest again: it is still held, or was let go of out of sight.

    Then it lies below where the hand paused. Fills `path` and `held` in place.
    """
    away, last = int(frames[moved][0]), int(frames[moved][-1])
    from_place = np.linalg.norm(hand[rest.last : away + 1] - rest.p, axis=1)
    grasp = rest.last + int(np.nonzero(from_place <= from_place.min() + 0.015)[0][-1]) + 1
    release = len(t)
    if t[-1] - t[last] > config.dropped_after:
        release = _end_of_pause(last, t, hand, places, config)
    held[grasp:release] = True
    path[grasp:release] = _carried_path(grasp, release, frames[moved], p[moved], hand)
    if release < len(t):
        path[release:] = [*path[release - 1, :2], radius]


def _end_of_pause(last: int, t: ndarray, hand: ndarray, places: ndarray, config: TrackingConfig) -> int:
    """End of the hand's first pause after frame `last`, over one of the `places` if it pauses over any."""
    speed = np.linalg.norm(np.gradient(gaussian_filter1d(hand, 1.0, axis=0), t, axis=0), axis=1)[last:]
    pause = speed < 0.25 * speed.max()
    if len(places):
        gaps = np.linalg.norm(hand[last:, None, :2] - places[None, :, :2], axis=2).min(1)
        over = pause & (gaps < config.near_place)
        pause = over if over.any() else pause
    if not pause.any():
        return last + int(speed.argmin()) + 1
    begin = int(pause.argmax())
    more = ~pause[begin:]
    return last + begin + (int(more.argmax()) if more.any() else len(more))


# -- what a track is --------------------------------------------------------------------------------------------------


def _voters(track: _Track, config: TrackingConfig) -> list[ObjectEstimate]:
    """The clear sightings of a track, or all when there is none."""
    return [s for s in track.seen if s.confidence >= config.least_clear] or track.seen


def _attributes(track: _Track, config: TrackingConfig) -> dict[str, float]:
    """Upper quartile of the votes: a mark shows only from one side, but nothing shows a mark that is not there."""
    votes = _voters(track, config)
    return {name: float(np.percentile([s.attributes[name] for s in votes], 75)) for name in votes[0].attributes}
