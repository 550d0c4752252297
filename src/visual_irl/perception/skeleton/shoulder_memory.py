"""Where the shoulders of a stream were a moment ago: what is seen much nearer than that is somebody who steps before one.

A shoulder comes towards the camera as fast as people lean and turn. Only that way: the person's own skin is farther than what
covers it, so that an error is not kept up.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.skeleton.lifting import Lifted
from visual_irl.perception.skeleton.shoulder_cover import ShouldersBefore
from visual_irl.types import SIDES, keypoint_index

LONGEST = 5.0
"""How long a shoulder is remembered [s]: as long as a person is kept (`person_choice.KEEP_NS`)."""
KEPT = 3
"""So many sightings of each shoulder count, the nearest of them: one that was taken for the wall behind does not decide."""
STAYS = 0.15
"""A shoulder may be so much nearer than it was [m], however long it was hidden, ..."""
SPEED, SLOWEST = 0.7, 0.5
"""... and further by this much a second from one picture to the next [m/s], of which no more than so long counts [s]: people
who reach over a table lean so fast."""
_ROWS = [keypoint_index(f"{side}_shoulder") for side in SIDES]


class ShoulderMemory:
    """Ask it once a picture where the shoulders were `before`, and feed it what was lifted."""

    def __init__(self) -> None:
        self._seen: list[deque[tuple[int, ndarray]]] = [deque(maxlen=KEPT) for _ in SIDES]
        self._last_ns: int | None = None
        self.astray = False
        """Whether what was followed last is somebody who stands where neither shoulder can be."""

    def before(self, stamp_ns: int, T_world_camera: Float[ndarray, "4 4"] | None) -> ShouldersBefore:
        """Where the shoulders were, in the camera's coordinates of now."""
        T = np.eye(4) if T_world_camera is None else se3.inverse(T_world_camera)
        apart = 0.0 if self._last_ns is None else 1e-9 * (stamp_ns - self._last_ns)
        self._last_ns, p, z = stamp_ns, np.full((len(SIDES), 3), np.nan), np.full(len(SIDES), np.nan)
        for k, seen in enumerate(self._seen):
            recent = [place for then_ns, place in seen if 0.0 <= 1e-9 * (stamp_ns - then_ns) <= LONGEST]
            if recent:
                places = se3.apply(T, np.array(recent))
                p[k], z[k] = places[-1], places[:, 2].min()
        return ShouldersBefore(p, z, STAYS + SPEED * min(max(apart, 0.0), SLOWEST))

    def remember(self, lifted: Lifted | None, stamp_ns: int, T_world_camera: Float[ndarray, "4 4"] | None) -> None:
        """One picture more: shoulders with depth of their own, unless one of both is lost, as somebody may stand before it.

        `lifted` is what became of a body whose shoulders are in view.
        """
        lost = np.ones(len(SIDES), bool) if lifted is None else lifted.confidence[_ROWS] == 0.0
        self.astray = bool(lost.all())
        if lifted is None or lost.any():
            return
        T = np.eye(4) if T_world_camera is None else T_world_camera
        for seen, row in zip(self._seen, _ROWS, strict=True):
            if lifted.measured[row]:
                seen.append((stamp_ns, se3.apply(T, lifted.p_camera[row])))
