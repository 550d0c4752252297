"""Which object is which over a whole recording, and when it is in the hand.

Works offline, on the tracks that `association` makes of single sightings. Each track is a story of rests, where the
object lies while the hand moves, and of carries between two rests at different places, or from the recording's start or to
its end. While a hand hides what it carries, the object is where the hand is. One hand holds one thing at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d, median_filter

from visual_irl.bounds import require_within
from visual_irl.perception.objects.association import AssociationConfig, Track, associate
from visual_irl.perception.objects.marks import MarkConfig, mark_probability
from visual_irl.types import ObjectEstimate

GRAVITY = 9.81


@dataclass(frozen=True)
class TrackingConfig:
    """Distances [m] and durations [s]."""

    association: AssociationConfig = field(default_factory=AssociationConfig)
    marks: MarkConfig = field(default_factory=MarkConfig)
    settled: float = 0.006
    """Where a rest begins and ends: above this it is on its way; three times the noise of a clear sighting."""
    highest: float = 0.15
    """An object whose centre is higher lies on nothing, neither on the table nor on others in a bin."""
    hand_moves: float = 0.06
    """An object that stays while the hand moves this far is at rest, not held still."""
    least_sightings: int = 5
    """A track with fewer sightings is spurious."""
    least_clear: float = 0.5
    """Sightings with at least this confidence (visible share) vote on radius and height, when there are any."""
    least_carry: float = 0.04
    """An object whose place did not change by this was not carried."""
    shortest_carry: float = 0.2
    """What changed its place in less [s] was pushed or rolled."""
    dropped_after: float = 0.5
    """An object last seen in the hand longer than this before the end was let go of out of sight [s], and one first seen in
    the hand longer than this after the start was taken out of sight."""
    steadied: float = 0.07
    """Standard deviation of the Gaussian [s] under which the hand's speed is taken."""
    near_place: float = 0.15
    """A hand this near to the middle of a bin, seen from above, is over it."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 10.0, least_sightings=(1, 1000), steadied=(1e-3, 1.0), least_clear=(0.0, 1.0))


@dataclass(frozen=True)
class Tracks:
    """Objects over time: paths [m], radii [m], attributes in [0, 1], and which one is held per frame ('' for none).

    Things that stand have heights [m] and axes, unit vectors from foot to mouth; a path is always the centre's.
    """

    objects: dict[str, Float[ndarray, "T 3"]]
    radii: dict[str, float]
    attributes: dict[str, dict[str, float]]
    held: tuple[str, ...]
    heights: dict[str, float] = field(default_factory=dict)
    axes: dict[str, Float[ndarray, "T 3"]] = field(default_factory=dict)


@dataclass
class _Rest:
    """Frames first to last in which an object is seen at one place."""

    first: int
    last: int
    p: ndarray


@dataclass
class _Story:
    """Path (T, 3) [m] of an object and its carries: first frame in the hand, first frame out of it."""

    path: ndarray
    carries: list[tuple[int, int]]


def track_objects(
    t: Float[ndarray, "T"],
    detections: Sequence[Sequence[ObjectEstimate]],
    hand: Float[ndarray, "T 3"],
    places: Float[ndarray, "P 3"] | None = None,
    config: TrackingConfig | None = None,
) -> Tracks:
    """Objects of a recording, named `<label>_<i>` in the order in which they are taken, then of their place along y.

    A thing that stands and is the only one of its class is named by its class alone.

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
    tracks = [k for k in associate(t, detections, hand, config.association) if _is_thing(k, hand, config)]
    stories = [_story(track, t, hand, places, config) for track in tracks]
    order = sorted(range(len(tracks)), key=lambda i: (_taken(stories[i]), float(stories[i].path[0, 1])))
    names = _names([tracks[i] for i in order], order)
    stand = [i for i in order if tracks[i].seen[0].height is not None]
    return Tracks(
        objects={names[i]: stories[i].path for i in order},
        radii={names[i]: float(np.median([s.radius for s in _voters(tracks[i], config)])) for i in order},
        attributes={names[i]: _attributes(tracks[i], config) for i in order},
        held=_held(len(t), {names[i]: stories[i].carries for i in order}),
        heights={names[i]: float(np.median([s.height for s in _voters(tracks[i], config)])) for i in stand},
        axes={names[i]: _axes(tracks[i], stories[i], t) for i in stand},
    )


def _names(tracks: Sequence[Track], order: Sequence[int]) -> dict[int, str]:
    """Names of tracks, by their number."""
    labels = [track.label for track in tracks]
    names = {}
    for k, (i, track) in enumerate(zip(order, tracks, strict=True)):
        alone = track.seen[0].height is not None and labels.count(track.label) == 1
        names[i] = track.label if alone else f"{track.label}_{labels[:k].count(track.label)}"
    return names


def _is_thing(track: Track, hand: ndarray, config: TrackingConfig) -> bool:
    """Whether a track is an object: seen often enough on something rather than in the air, or clearly and in the hand."""
    if sum(bool(s.p_world[2] <= config.highest) for s in track.seen) >= config.least_sightings:
        return True
    clear = [(frame, s) for frame, s in zip(track.frames, track.seen, strict=True) if s.confidence >= config.least_clear]
    held = [bool(np.linalg.norm(s.p_world - hand[frame]) < config.association.grasp) for frame, s in clear]
    return sum(held) >= 2 * config.least_sightings and 2 * sum(held) > len(track.seen)


def _taken(story: _Story) -> float:
    return float(story.carries[0][0]) if story.carries else np.inf


def _held(n: int, carries: Mapping[str, Sequence[tuple[int, int]]]) -> tuple[str, ...]:
    """What is in the hand in each of `n` frames; it has let go of one thing when it takes the next."""
    held = [""] * n
    in_time = sorted((grasp, release, name) for name, mine in carries.items() for grasp, release in mine)
    for k, (grasp, release, name) in enumerate(in_time):
        end = min([release, *(later[0] for later in in_time[k + 1 : k + 2])])
        held[grasp:end] = [name] * (end - grasp)
    return tuple(held)


def _bridged(t: ndarray, hand: ndarray) -> Float[ndarray, "T 3"]:
    """The hand's path with its gaps interpolated; all NaN when it was never seen."""
    known = np.isfinite(hand).all(1)
    if not known.any():
        return np.full(hand.shape, np.nan)
    path = np.stack([np.interp(t, t[known], hand[known, axis]) for axis in range(3)], 1)
    return median_filter(path, size=(3, 1), mode="nearest")  # single outliers of the landmarks


# -- from a track to its story ----------------------------------------------------------------------------------------


def _story(track: Track, t: ndarray, hand: ndarray, places: ndarray, config: TrackingConfig) -> _Story:
    """Where the object of a track is, and when it is in the hand."""
    frames = np.array(track.frames)
    p = np.array([s.p_world for s in track.seen])
    radius = float(np.median([s.radius for s in _voters(track, config)]))
    rests = _rests(frames, p, hand, config)
    if not rests:
        return _without_rest(frames, p, t, hand, config)
    story = _Story(np.tile(rests[0].p, (len(t), 1)), [])
    head = frames < rests[0].first
    moved = head & (np.linalg.norm(p - rests[0].p, axis=1) > config.least_carry)
    if moved.sum() >= 2 and np.isfinite(hand).all():
        _first_carry(rests[0], frames, p, moved, t, hand, config, story)
    for before, after in pairwise(rests):
        grasp, landed = _carry_between(before, after, frames, hand)
        release = _let_go(grasp, landed, t, frames, p, after.p[2])
        if t[min(release, len(t) - 1)] - t[grasp] >= config.shortest_carry:
            story.carries.append((grasp, release))
        story.path[grasp:landed] = _carried_path(grasp, landed, frames, p, hand)
        story.path[landed:] = after.p
    tail = frames > rests[-1].last
    moved = tail & (np.linalg.norm(p - rests[-1].p, axis=1) > config.least_carry)
    if moved.sum() >= 2 and np.isfinite(hand).all():
        _last_carry(rests[-1], frames, p, moved, t, hand, radius, places, config, story)
    return story


def _rests(frames: ndarray, p: ndarray, hand: ndarray, config: TrackingConfig) -> list[_Rest]:
    """Places where the object stays although the hand moves, in time; neighbours at one place are joined."""
    runs: list[list[int]] = []
    for i in range(len(frames)):
        if runs and np.linalg.norm(p[i] - np.median(p[runs[-1][-15:]], axis=0)) < config.association.still:
            runs[-1].append(i)
        else:
            runs.append([i])
    rests: list[_Rest] = []
    for run in runs:
        place = np.median(p[run], axis=0)
        off = np.linalg.norm(p[run] - place, axis=1)
        calm = [i for i, d in zip(run, off, strict=True) if d <= max(config.settled, 2.0 * float(np.median(off)))]
        run = run[run.index(calm[0]) : run.index(calm[-1]) + 1]  # without its start of motion, or its landing
        first, last = int(frames[run[0]]), int(frames[run[-1]])
        way = np.linalg.norm(hand[first : last + 1] - np.median(hand[first : first + 3], axis=0), axis=1)
        at_rest = not np.isfinite(way).all() or np.sum(way > config.hand_moves) >= 3  # not a single bad landmark
        if len(run) < 3 or not at_rest or place[2] > config.highest:
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
        left = before.last + int(np.nonzero(from_place <= from_place.min() + 0.015)[0][-1]) + 1
        grasp = min(left, away)  # where it is seen on its way, it was taken before
        release = _put_down(max(landed, grasp), after, hand)
    return min(grasp, after.first), max(min(release, after.first), grasp)


def _put_down(away: int, rest: _Rest, hand: ndarray) -> int:
    """First frame in which an object is at its place, which was seen on its way there last in frame `away`."""
    to_place = np.linalg.norm((hand[away : rest.first + 1] - rest.p)[:, :2], axis=1)
    return away + int(np.nonzero(to_place <= to_place.min() + 0.01)[0][-1]) if len(to_place) else rest.first


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
    seen = median_filter(p[mine], size=(3, 1), mode="nearest")  # single outliers
    offset = seen - hand[frames[mine]]
    return hand[steps] + np.stack([np.interp(steps, frames[mine], offset[:, axis]) for axis in range(3)], 1)


def _without_rest(frames: ndarray, p: ndarray, t: ndarray, hand: ndarray, config: TrackingConfig) -> _Story:
    """An object that is never seen at rest is in the hand throughout, if it moves; else it only shows where it was seen."""
    seen = np.stack([np.interp(t, t[frames], p[:, axis]) for axis in range(3)], 1)
    way = np.linalg.norm(p - np.median(p[:3], axis=0), axis=1)
    if np.sum(way > config.least_carry) < 3 or not np.isfinite(hand).all():
        return _Story(seen, [])
    first = _taken_by(int(frames[0]), t, config)
    seen[first:] = _carried_path(first, len(t), frames, p, hand)
    return _Story(seen, [(first, len(t))])


def _taken_by(seen: int, t: ndarray, config: TrackingConfig) -> int:
    """First frame in the hand of what is in the hand when it is first seen: the recording's first when that is near."""
    return 0 if t[seen] - t[0] <= config.dropped_after else seen


def _first_carry(
    rest: _Rest, frames: ndarray, p: ndarray, moved: ndarray, t: ndarray, hand: ndarray, config: TrackingConfig, story: _Story
) -> None:
    """The object was on its way before it came to its first place: it was in the hand when it was first seen."""
    grasp, away = _taken_by(int(frames[moved][0]), t, config), int(frames[moved][-1])
    landed = _put_down(away, rest, hand)
    release = _let_go(grasp, landed, t, frames, p, rest.p[2])
    if t[min(release, len(t) - 1)] - t[grasp] < config.shortest_carry:
        return
    story.carries.append((grasp, release))
    story.path[grasp:landed] = _carried_path(grasp, landed, frames, p, hand)
    story.path[:grasp] = p[0]


def _last_carry(
    rest: _Rest, frames: ndarray, p: ndarray, moved: ndarray, t: ndarray, hand: ndarray, radius: float,
    places: ndarray, config: TrackingConfig, story: _Story,
) -> None:  # fmt: skip
    """The object left its last place and was not seen at rest again: it is still held, or was let go of out of sight.

    Then it lies below where the hand paused. Adds it to `story`.
    """
    away, last = int(frames[moved][0]), int(frames[moved][-1])
    from_place = np.linalg.norm(hand[rest.last : away + 1] - rest.p, axis=1)
    grasp = rest.last + int(np.nonzero(from_place <= from_place.min() + 0.015)[0][-1]) + 1
    release = len(t)
    if t[-1] - t[last] > config.dropped_after:
        release = _end_of_pause(last, t, hand, places, config)
    path = story.path
    story.carries.append((grasp, release))
    path[grasp:release] = _carried_path(grasp, release, frames[moved], p[moved], hand)
    if release < len(t):
        path[release:] = [*path[release - 1, :2], radius]


def _end_of_pause(last: int, t: ndarray, hand: ndarray, places: ndarray, config: TrackingConfig) -> int:
    """End of the hand's first pause after frame `last`, over one of the `places` if it pauses over any."""
    steady = gaussian_filter1d(hand, config.steadied / float(np.median(np.diff(t))), axis=0)
    speed = np.linalg.norm(np.gradient(steady, t, axis=0), axis=1)[last:]
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


def _axes(track: Track, story: _Story, t: ndarray) -> Float[ndarray, "T 3"]:
    """Unit axis of a thing over time: as seen while it is carried, the median of what was seen of it while it rests."""
    frames, seen = np.array(track.frames), np.array([s.axis for s in track.seen])
    axes = np.stack([np.interp(t, t[frames], column) for column in seen.T], 1)
    axes = median_filter(axes, size=(3, 1), mode="nearest")  # single outliers
    ends = [0, *(frame for carry in story.carries for frame in carry), len(t)]
    for first, last in zip(ends[::2], ends[1::2], strict=True):
        mine = (frames >= first) & (frames < last)
        if last > first and mine.any():
            axes[first:last] = np.median(seen[mine], axis=0)
    unit: ndarray = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return unit


# -- what a track is --------------------------------------------------------------------------------------------------


def _voters(track: Track, config: TrackingConfig) -> list[ObjectEstimate]:
    """The clear sightings of a track, or all when there is none."""
    return [s for s in track.seen if s.confidence >= config.least_clear] or track.seen


def _attributes(track: Track, config: TrackingConfig) -> dict[str, float]:
    """How probable each attribute is after all sightings; one that no sighting tells of is left out."""
    told: dict[str, list[ObjectEstimate]] = {}
    for s in track.seen:
        for name in s.attributes:
            told.setdefault(name, []).append(s)
    return {
        name: mark_probability(
            np.array([s.attributes[name] for s in seen]), np.array([s.confidence for s in seen]), config.marks
        )
        for name, seen in told.items()
    }
