"""What happens in a demonstration of pouring, told from its states: what is taken, over what it is tipped, where it is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from visual_irl.errors import LearningFailed
from visual_irl.types import Demonstration

TIPPED = float(np.radians(60.0))
"""A vessel that never tilts as far as this is not poured from [rad]."""
LEANING = float(np.radians(6.0))
"""Tilt at which tipping begins and ends [rad]."""
FULLY = 0.97
"""Share of the largest tilt from which on the vessel is held tipped."""
SMOOTH_SECONDS = 0.1
"""Standard deviation of the window over the tilt [s]."""


@dataclass(frozen=True)
class PourEpisode:
    """Names of the things, and frames of the demonstration at which something begins or ends."""

    vessel: str
    receiver: str
    zone: str
    grasp: int
    tip: int
    """Tipping begins."""
    full: int
    """It is tipped as far as it will be."""
    back: int
    """It begins to come back."""
    upright: int
    release: int


def tilt_of(demo: Demonstration, name: str) -> Float[ndarray, "T"]:
    """Angle of a thing's axis to the vertical [rad].

    Raises:
        LearningFailed: its orientation is not known.
    """
    if name not in demo.turns or name not in demo.heights:
        raise LearningFailed(
            f"the demonstration does not tell how '{name}' is turned and how high it is (it does for: "
            f"{', '.join(set(demo.turns) & set(demo.heights)) or 'nothing'}); pouring is learned from demonstrations that do"
        )
    tilt = np.arccos(np.clip(demo.turns[name][:, 2, 2], -1.0, 1.0))
    smooth: ndarray = gaussian_filter1d(tilt, SMOOTH_SECONDS / float(np.median(np.diff(demo.t))), mode="nearest")
    return smooth


def mouth_of(demo: Demonstration, name: str) -> Float[ndarray, "T 3"]:
    """Where the middle of a vessel's mouth is [m]."""
    p: ndarray = demo.objects[name] + demo.heights[name] * demo.turns[name][:, :, 2]
    return p


def cut_pouring(demo: Demonstration) -> PourEpisode:
    """The one episode of a demonstration.

    Raises:
        LearningFailed: nothing was held, tipped over anything, or left anywhere; with what to check.
    """
    held = np.array(demo.held)
    names = [str(n) for n in np.unique(held) if n]
    if not names:
        raise LearningFailed(
            f"no object was ever held in this demonstration ({len(demo.objects)} objects, {len(demo.t)} frames): the task "
            "cannot be learned from it; check `--task` and `--pictures` of `visual-irl extract`"
        )
    vessel = max(names, key=lambda name: int((held == name).sum()))
    frames = np.nonzero(held == vessel)[0]
    grasp, release = int(frames[0]), int(min(frames[-1] + 1, len(held) - 1))
    tilt = tilt_of(demo, vessel)
    most = grasp + int(np.argmax(tilt[grasp:release]))
    if not tilt[most] >= TIPPED:
        raise LearningFailed(
            f"'{vessel}' is tilted by {np.degrees(tilt[most]):.0f} degrees at most, nothing is poured below "
            f"{np.degrees(TIPPED):.0f}: demonstrate how it is emptied"
        )
    fully = np.nonzero(tilt[grasp:release] >= FULLY * tilt[most])[0] + grasp
    straight = tilt < LEANING
    before, after = np.nonzero(straight[grasp:most])[0], np.nonzero(straight[most:release])[0]
    if not len(before) or not len(after):
        raise LearningFailed(f"'{vessel}' is not upright before and after it is tipped; it is to be put down upright")
    return PourEpisode(
        vessel, _receiver(demo, vessel, most), _zone(demo, vessel), grasp, grasp + int(before[-1]), int(fully[0]),
        int(fully[-1]), most + int(after[0]), release,
    )  # fmt: skip


def _receiver(demo: Demonstration, vessel: str, frame: int) -> str:
    """The thing over which the vessel's mouth is."""
    mouth = mouth_of(demo, vessel)[frame]
    others = {name: float(np.linalg.norm((path[frame] - mouth)[:2])) for name, path in demo.objects.items() if name != vessel}
    standing = {name: d for name, d in others.items() if name in demo.heights}
    if not standing or min(standing.values()) > 0.15:
        raise LearningFailed(f"'{vessel}' is tipped over nothing that could receive what is in it; there is: {sorted(others)}")
    return min(standing, key=lambda name: standing[name])


def _zone(demo: Demonstration, vessel: str) -> str:
    """The place nearest to where the vessel stands in the end."""
    end = demo.objects[vessel][-1]
    distance = {name: float(np.linalg.norm((T[:3, 3] - end)[:2])) for name, T in demo.fixtures.items()}
    if not distance or min(distance.values()) > 0.15:
        raise LearningFailed(f"'{vessel}' is left at none of the known places ({', '.join(demo.fixtures) or 'there is none'})")
    return min(distance, key=lambda name: distance[name])
