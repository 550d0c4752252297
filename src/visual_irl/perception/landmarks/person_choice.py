"""Which of several people demonstrates, and whether a body is still theirs: pure functions of a picture and its landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from visual_irl.perception.landmarks.body_geometry import faces_otherwise, trunk_length
from visual_irl.perception.landmarks.detection import POSE_INDEX, PersonDetection, pixels_per_metre
from visual_irl.perception.landmarks.region import Region
from visual_irl.types import BODY_KEYPOINTS, SIDES

KEEP_NS = 5_000_000_000
"""A person who was not seen for so long [ns] has left, and somebody is chosen anew."""
MAX_STEP, MAX_SPEED, FARTHEST = 1.0, 3.0, 2.5
"""How far the shoulders of one person move at most from one sighting to the next: so many trunk lengths (0.5 m), so many
more per second [1/s], and no further than the last however long it takes. Another person's are mostly further."""
MAX_GROWTH, DOUBT, GROWN = 1.4, 1.2, 0.5
"""By which factor the size of a person in the picture [px/m] differs at most from what it was, where no distance is known, from
which factor on a smoothed body is doubted, and over how long that is remembered [s]. It is 1.1 while somebody works; whoever
stands behind looks smaller, whoever walks in front larger, and smoothing passes from one to the other."""
MAX_NEARER, MAX_APPROACH, NEAREST = 0.25, 1.5, 0.5
"""How much nearer or farther the trunk's skin is at most [m], so much more per second [m/s], and no more than the last: it
is the same to 30 mm while somebody works."""
TURN_NS = 400_000_000
"""Nobody turns their back, or their front, within so long [ns]: the network has left and right exchanged."""
SAME_COLOUR, LEAST_ALIKE = 60.0, 0.2
"""Clothes have their colour where it differs by less [levels of 255], and show at this share of the trunk's points at least;
arms, what they carry and who walks past hide the others. One person's show at 0.4 or more while they work."""
_FADE = 0.1
"""Weight of the newest picture in the colour that is remembered: light changes slowly."""
_ROOM = 1.3  # around all landmarks of a person, for what they may do until the next picture

_BODY = np.array([POSE_INDEX[name] for name in BODY_KEYPOINTS])
_TRUNK = np.array([POSE_INDEX[f"{side}_{joint}"] for joint in ("shoulder", "hip") for side in SIDES])
_SHOULDERS = _TRUNK[:2]
_ACROSS, _DOWN = np.array([0.2, 0.4, 0.6, 0.8]), np.array([0.1, 0.25, 0.4, 0.55])
"""The trunk's points: from one side to the other, and from the shoulders to the hips, which a table may hide."""


@dataclass(frozen=True)
class Look:
    """What tells people apart besides their place: the colours at points of the trunk, and how far away its skin is [m]."""

    colours: Float[ndarray, "N 3"]
    """Levels of 255; no row where the trunk is outside of the picture."""
    distance: float
    """NaN where it is not known. It is the upper quartile: what is held before the trunk is no part of it."""


@dataclass(frozen=True)
class Chosen:
    """The person who is followed, as last seen, and when [ns]."""

    person: PersonDetection
    stamp_ns: int
    size: float
    """In the picture [px/m], over the last pictures."""
    distance: float = np.nan
    """Of the trunk's skin [m]."""
    clothes: Float[ndarray, "3"] | None = None
    """Their colour, over all pictures so far."""

    @staticmethod
    def seen(person: PersonDetection, look: Look, stamp_ns: int, before: Chosen | None) -> Chosen:
        """The person who was found, with what is known from `before`."""
        distance, clothes, size = look.distance, None, size_of(person)
        if before is not None:
            newest = 1.0 - np.exp(-1e-9 * abs(stamp_ns - before.stamp_ns) / GROWN)
            distance, clothes = before.distance if np.isnan(distance) else distance, before.clothes
            size = before.size * (size / before.size) ** newest
        if len(look.colours):
            ranked = np.sort(look.colours, axis=0)
            now = 0.5 * (ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2])  # the median
            clothes = now if clothes is None else (1.0 - _FADE) * clothes + _FADE * now
        return Chosen(person, stamp_ns, size, distance, clothes)


def look_of(person: PersonDetection, rgb: UInt8[ndarray, "H W 3"], depth: Float32[ndarray, "H W"] | None) -> Look:
    """What a picture, and its depth [m] where there is any, show of a person's trunk."""
    sides = person.uv[_TRUNK].reshape(2, 2, 2)
    top, bottom = (edge[0] + _ACROSS[:, None] * (edge[1] - edge[0]) for edge in sides)
    points = np.rint(top[None] + _DOWN[:, None, None] * (bottom - top)[None]).astype(int).reshape(-1, 2)
    u, v = points[((points >= 0) & (points < rgb.shape[1::-1])).all(1)].T
    z = np.zeros(0) if depth is None else depth[v, u]
    z = np.sort(z[np.isfinite(z)])
    quartile = float(np.interp(0.75 * (len(z) - 1), np.arange(len(z)), z)) if len(z) else np.nan
    return Look(rgb[v, u].astype(float), quartile)


def demonstrator(people: Sequence[PersonDetection], width: int) -> PersonDetection:
    """The one who demonstrates: who stands nearest to the camera, and among those about as near who is most in the middle.

    Adults' trunks are alike to a tenth, so that the one who looks largest is the nearest.
    """
    nearest = max(trunk_length(person) for person in people)
    about_as_near = [person for person in people if trunk_length(person) >= 0.85 * nearest]
    return min(about_as_near, key=lambda person: abs(float(middle_of_shoulders(person)[0]) - 0.5 * width))


def nearest_to(people: Sequence[PersonDetection], place: Float[ndarray, "2"]) -> PersonDetection:
    """The one whose shoulders are nearest to a pixel."""
    return min(people, key=lambda person: float(np.linalg.norm(middle_of_shoulders(person) - place)))


def far_from(person: PersonDetection, place: Float[ndarray, "2"]) -> bool:
    """Whether a body's shoulders are too far from where they should be to be that person's, other camera's errors and all."""
    return bool(np.linalg.norm(middle_of_shoulders(person) - place) > MAX_STEP * trunk_length(person))


def same_person(person: PersonDetection, look: Look, chosen: Chosen, stamp_ns: int) -> bool:
    """Whether a body may be the chosen one's: by where its shoulders are, how large it looks, how far away it is, and by the
    colour of its clothes."""
    elapsed = 1e-9 * abs(stamp_ns - chosen.stamp_ns)
    reach = min(MAX_STEP + MAX_SPEED * elapsed, FARTHEST) * trunk_length(chosen.person)
    step = float(np.linalg.norm(middle_of_shoulders(person) - middle_of_shoulders(chosen.person)))
    distant = np.isfinite(look.distance - chosen.distance)
    grown = not distant and growth(person, chosen) > MAX_GROWTH
    nearer = abs(look.distance - chosen.distance) > min(MAX_NEARER + MAX_APPROACH * elapsed, NEAREST)  # NaN: not known
    alike = chosen.clothes is None or not len(look.colours) or wears(look, chosen.clothes)
    return bool(step <= reach and not grown and not nearer and alike)


def exchanged(person: PersonDetection, chosen: Chosen, stamp_ns: int) -> bool:
    """Whether a body has left and right exchanged: it shows its other side sooner than anybody turns."""
    return faces_otherwise(person, chosen.person) and abs(stamp_ns - chosen.stamp_ns) < TURN_NS


def doubtful(person: PersonDetection, look: Look, chosen: Chosen) -> bool:
    """Whether a body that may be the chosen one's is perhaps on its way to somebody else's, by smoothing."""
    return bool(np.isnan(look.distance - chosen.distance) and growth(person, chosen) > DOUBT)


def growth(person: PersonDetection, chosen: Chosen) -> float:
    """By which factor a body's size in the picture differs from the chosen one's, at least 1."""
    return float(np.exp(abs(np.log(size_of(person) / chosen.size))))


def wears(look: Look, clothes: Float[ndarray, "3"]) -> bool:
    """Whether clothes of a colour [levels of 255] show on a trunk; not on one that is outside of the picture."""
    alike = np.linalg.norm(look.colours - clothes, axis=1) < SAME_COLOUR
    return bool(alike.sum() >= LEAST_ALIKE * max(len(alike), 1))


def place_of(person: PersonDetection) -> Region:
    """A square with all of a person, and some room."""
    x, y = middle_of(person)
    return Region(float(x), float(y), max(_ROOM * float(np.ptp(person.uv, axis=0).max()), 32.0))


def middle_of(person: PersonDetection) -> Float[ndarray, "2"]:
    """The middle of the box around all landmarks [px]."""
    return 0.5 * (person.uv.min(0) + person.uv.max(0))


def middle_of_shoulders(person: PersonDetection) -> Float[ndarray, "2"]:
    """Where a body's shoulders are [px]."""
    return np.asarray(0.5 * (person.uv[_SHOULDERS[0]] + person.uv[_SHOULDERS[1]]))


def size_of(person: PersonDetection) -> float:
    """How large a body's trunk and arms appear [px/m]."""
    return max(pixels_per_metre(person.uv[_BODY], person.shape[_BODY]), 1e-3)
