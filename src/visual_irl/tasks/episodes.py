"""Cut a demonstration into episodes, one an object: reach, grasp, perhaps inspect, release. No action is given; all is seen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from visual_irl.errors import LearningFailed
from visual_irl.types import Demonstration

SLOW = 0.25
"""A hand below this share of its episode's top speed dwells."""
SMOOTH_SECONDS = 0.09
"""Standard deviation of the window that takes noise off the hand's path, at any frame rate [s]."""
DWELL_SECONDS = 0.25
"""Shortest dwell that counts as an inspection [s]."""
AWAY = 0.08
"""An inspection happens at least this far from where the object was taken and from where it is released [m]."""


@dataclass(frozen=True)
class Episode:
    """One object's story. Frame indices into the demonstration; positions [m] in its world."""

    name: str
    attributes: Mapping[str, float]
    start: int
    grasp: int
    release: int
    dwell: tuple[int, int] | None
    p_object: Float[ndarray, "3"]
    p_inspect: Float[ndarray, "3"] | None
    goal: str
    """Fixture in which the object was put; '' when in none."""


def cut_episodes(demo: Demonstration, hand: Float[ndarray, "T 3"]) -> list[Episode]:
    """The episodes of a demonstration in the order of time; `hand` is the path of the grasp centre [m].

    Raises:
        LearningFailed: nothing was ever held, with what to check.
    """
    held = np.array(demo.held)
    episodes: list[Episode] = []
    start = 0
    for begin, end in _runs(held):
        name = str(held[begin])
        path = demo.objects[name]
        dwell = _dwell(demo.t, hand, begin, end)
        middle = None if dwell is None else np.median(hand[dwell[0] : dwell[1]], axis=0)
        before = path[max(0, begin - 3)]
        episodes.append(
            Episode(
                name,
                demo.attributes[name],
                start,
                begin,
                end,
                dwell,
                before,
                middle,
                _fixture_below(demo, path[-1 if not (held[end:] == name).any() else end]),
            )
        )
        start = end
    if not episodes:
        raise LearningFailed(
            f"no object was ever held in this demonstration ({len(demo.objects)} objects, {len(demo.t)} frames): the task "
            "cannot be learned from it; check `--task` and `--pictures` of `visual-irl extract`"
        )
    return episodes


def _runs(held: ndarray) -> list[tuple[int, int]]:
    """Frame ranges [begin, end) in which one object is held without a break."""
    edges = [0, *(np.nonzero(held[1:] != held[:-1])[0] + 1), len(held)]
    return [(int(a), int(b)) for a, b in itertools.pairwise(edges) if held[a] != ""]


def _dwell(t: ndarray, hand: ndarray, begin: int, end: int) -> tuple[int, int] | None:
    """The longest stretch of a carry in which the hand is slow, away from where the carry begins and ends."""
    if end - begin < 5:
        return None
    width = SMOOTH_SECONDS / float(np.median(np.diff(t[begin:end])))  # in frames
    smooth = gaussian_filter1d(hand[begin:end], width, axis=0, mode="nearest")
    speed = np.linalg.norm(np.gradient(smooth, t[begin:end], axis=0), axis=1)
    away = np.minimum(np.linalg.norm(smooth - smooth[0], axis=1), np.linalg.norm(smooth - smooth[-1], axis=1)) > AWAY
    slow = (speed < SLOW * speed.max()) & away
    runs = [(a, b) for a, b in _runs(np.where(slow, "slow", "")) if t[begin + b - 1] - t[begin + a] >= DWELL_SECONDS]
    if not runs:
        return None
    a, b = max(runs, key=lambda run: run[1] - run[0])
    return begin + a, begin + b


def _fixture_below(demo: Demonstration, p: ndarray) -> str:
    """The fixture whose origin is nearest to a point within 0.15 m on the table; '' for none."""
    distances = {name: float(np.linalg.norm(p[:2] - T[:2, 3])) for name, T in demo.fixtures.items()}
    if not distances or min(distances.values()) > 0.15:
        return ""
    return min(distances, key=lambda name: distances[name])


def inspection_place(episodes: Sequence[Episode]) -> Float[ndarray, "3"] | None:
    """Where objects are inspected [m]: the median over the episodes that dwell; None when fewer than half do."""
    places = [e.p_inspect for e in episodes if e.p_inspect is not None]
    return None if len(places) * 2 < len(episodes) or not places else np.median(places, axis=0)
