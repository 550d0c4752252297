"""Whether a straight move between two postures touches anything: no fixed step, the room around the arm says how far to look.

A point of the arm moves at most the sum over joints of turn times reach. With everything at least d away, that much of the
move needs no look (conservative advancement, Mirtich 1996); where less is left, a look follows every `resolution` of such
motion. The clearance is at least the resolution, so that nothing can be touched in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl.robots.chain import Chain, Pose, forward, pose_of
from visual_irl.robots.collision import SLACK, Checker, Contact, checker_of, nearest
from visual_irl.robots.hull import Hull
from visual_irl.robots.interpolation import Motion
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacles, World

FIRST_LOOKS = 3
"""Halvings of a move at which it is looked at first: most moves that touch something do so there, and are refused early."""


@dataclass(frozen=True, eq=False)
class EdgeChecker:
    """Checks of one arm in one world; buffers are its own, so one a thread."""

    checker: Checker
    clearance: float
    """Least distance [m]."""
    resolution: float
    """Most that a point moves between two looks [m]."""
    pose: Pose
    near: ndarray

    @classmethod
    def of(cls, robot: RobotModel, world: World, clearance: float, resolution: float) -> EdgeChecker:
        """The checks of an arm in a world."""
        checker = checker_of(robot, world)
        return cls(checker, clearance, resolution, pose_of(checker.body.chain), checker._buffer())

    def contact_at(self, q: Float[ndarray, "J"]) -> Contact | None:
        """The first pair that is too near at joint angles `q` [rad]."""
        return self.checker.contact_at(q, self.clearance)

    def contact_along(self, motion: Motion) -> Contact | None:
        """The first pair that is too near on a timed motion."""
        return self.checker.contact_along(motion, self.clearance, self.resolution)

    def free(self, q: Float[ndarray, "J"]) -> bool:
        """Whether the arm keeps its clearance at `q` [rad]."""
        body = self.checker.body
        forward(body.chain, q, self.pose)
        _, count = nearest(body.hull, self.checker.obstacles, self.pose, self.clearance, self.near)
        return count == 0 or self._exact(count)[0]

    def edge_free(self, q_a: Float[ndarray, "J"], q_b: Float[ndarray, "J"]) -> bool:
        """Whether the arm keeps its clearance all along the straight move from `q_a` to `q_b` [rad]."""
        body = self.checker.body
        if not self._first_looks(q_a, q_b):
            return False
        s, room = 0.0, 0.0
        while True:
            s, least, count = advance_straight(
                body.chain,
                body.hull,
                self.checker.obstacles,
                q_a,
                q_b,
                self.pose,
                self.clearance,
                self.resolution,
                s,
                room,
                self.near,
            )
            if count > 0:
                free, exact = self._exact(count)
                if not free:
                    return False
                least = min(least, exact)
            if s >= 1.0:
                return True
            room = max(least - self.clearance - SLACK, self.resolution)

    def path_free(self, path: Float[ndarray, "N J"]) -> bool:
        """Whether every move of a polyline keeps its clearance."""
        return all(self.edge_free(a, b) for a, b in pairwise(path))

    def _first_looks(self, q_a: ndarray, q_b: ndarray) -> bool:
        if not np.abs(q_b - q_a).sum() > 0.3:
            return True
        for level in range(1, FIRST_LOOKS + 1):
            for k in range(1, 2**level, 2):
                if not self.free(q_a + (q_b - q_a) * (k / 2**level)):
                    return False
        return True

    def _exact(self, count: int) -> tuple[bool, float]:
        contact, least = self.checker._closest(self.near[:count], self.pose, self.clearance, 0.0)
        return contact is None, least


@njit(cache=True, nogil=True)
@no_type_check
def advance_straight(
    chain: Chain,
    hull: Hull,
    obstacles: Obstacles,
    q_a: ndarray,
    q_b: ndarray,
    pose: Pose,
    clearance: float,
    resolution: float,
    s: float,
    room: float,
    near: ndarray,
) -> tuple[float, float, int]:
    """From share `s` of a straight move on, with `room` [m] to go there, until capsules come near, or to the end.

    Returns the share, the least distance of the pairs that are farther, and how many pairs are in `near`. A `room` of 0 looks
    at `s` itself first.
    """
    travel = 0.0
    for j in range(len(q_a)):
        travel += hull.reach[j] * abs(q_b[j] - q_a[j])
    q = np.empty(len(q_a))
    while True:
        s = min(s + room / travel, 1.0) if travel > room else (1.0 if room > 0.0 or travel == 0.0 else s)
        for j in range(len(q_a)):
            q[j] = q_a[j] + s * (q_b[j] - q_a[j])
        forward(chain, q, pose)
        least, count = nearest(hull, obstacles, pose, clearance, near)
        if count > 0 or s >= 1.0:
            return s, least, count
        room = max(least - clearance - SLACK, resolution)
