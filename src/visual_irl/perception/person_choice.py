"""Which of several people demonstrates, and whether a body is still that person: pure functions of pictures' landmarks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.perception.body_geometry import trunk_length
from visual_irl.perception.detection import POSE_INDEX, PersonDetection
from visual_irl.perception.region import Region
from visual_irl.types import SIDES

KEEP_NS = 5_000_000_000
"""A person who was not seen for so long [ns] has left, and somebody is chosen anew."""
MAX_STEP, MAX_SPEED, FARTHEST = 1.0, 3.0, 2.5
"""How far the shoulders of one person move at most from one sighting to the next: so many trunk lengths (0.5 m), so many
more per second [1/s], and no further than the last however long it takes. Another person's are mostly further."""
MAX_GROWTH = 1.8
"""By which factor a trunk's length in the picture changes at most: whoever stands behind looks smaller."""
_ROOM = 1.3  # around all landmarks of a person, for what they may do until the next picture


@dataclass(frozen=True)
class Chosen:
    """The person who is followed, as last seen, and when [ns]."""

    person: PersonDetection
    stamp_ns: int


def demonstrator(people: Sequence[PersonDetection], width: int) -> PersonDetection:
    """The one who demonstrates: who stands nearest to the camera, and among those about as near who is most in the middle.

    Adults' trunks are alike to a tenth, so that the one who looks largest is the nearest.
    """
    nearest = max(trunk_length(person) for person in people)
    about_as_near = [person for person in people if trunk_length(person) >= 0.85 * nearest]
    return min(about_as_near, key=lambda person: abs(float(_shoulders(person)[0]) - 0.5 * width))


def nearest_to(people: Sequence[PersonDetection], place: Float[ndarray, "2"]) -> PersonDetection:
    """The one whose shoulders are nearest to a pixel."""
    return min(people, key=lambda person: float(np.linalg.norm(_shoulders(person) - place)))


def far_from(person: PersonDetection, place: Float[ndarray, "2"]) -> bool:
    """Whether a body's shoulders are too far from where they should be to be that person's, other camera's errors and all."""
    return bool(np.linalg.norm(_shoulders(person) - place) > MAX_STEP * trunk_length(person))


def same_person(person: PersonDetection, chosen: Chosen, stamp_ns: int) -> bool:
    """Whether a body may be the chosen one's, by where its shoulders are and how large it looks."""
    before, now = trunk_length(chosen.person), trunk_length(person)
    reach = min(MAX_STEP + MAX_SPEED * 1e-9 * abs(stamp_ns - chosen.stamp_ns), FARTHEST) * before
    step = float(np.linalg.norm(_shoulders(person) - _shoulders(chosen.person)))
    return bool(step <= reach and before / MAX_GROWTH <= now <= before * MAX_GROWTH)


def place_of(person: PersonDetection) -> Region:
    """A square with all of a person, and some room."""
    low, high = person.uv.min(0), person.uv.max(0)
    x, y = 0.5 * (low + high)
    return Region(float(x), float(y), max(_ROOM * float((high - low).max()), 32.0))


def _shoulders(person: PersonDetection) -> np.ndarray:
    return np.asarray(person.uv[[POSE_INDEX[f"{side}_shoulder"] for side in SIDES]].mean(0))
