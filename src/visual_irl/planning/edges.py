"""Whether a straight move between two postures touches anything: no fixed step, the room around the arm says how far to look.

A point of the arm moves at most the sum over joints of turn times reach; two links move against each other by the joints
between them alone. A pair that is d farther apart than the clearance needs no look before it can have moved by d (conservative
advancement, Mirtich 1996); where less is left, a look follows every `resolution` of such motion. The clearance is at least the
resolution, so that nothing can be touched in between.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl.robots.capsules import capsule_gap, place
from visual_irl.robots.chain import Chain, Pose, forward, pose_of
from visual_irl.robots.collision import SLACK, Checker, Contact, checker_of, nearest
from visual_irl.robots.hull import Body, Hull, exact_distance
from visual_irl.robots.interpolation import Motion
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacles, World, segment_distance

TINY = 1e-12
"""Motion that is none [m]."""
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
    reach: Float[ndarray, "N J"]
    """Farthest that a point of each capsule can be from each joint's axis [m]; 0 where the joint does not move it."""
    pose: Pose
    near: ndarray

    @classmethod
    def of(cls, robot: RobotModel, world: World, clearance: float, resolution: float) -> EdgeChecker:
        """The checks of an arm in a world."""
        checker = checker_of(robot, world)
        return cls(checker, clearance, resolution, reaches(checker.body), pose_of(checker.body.chain), checker._buffer())

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
        if not self._first_looks(q_a, q_b):
            return False
        body, turn = self.checker.body, np.abs(q_b - q_a)
        travel = self.reach @ turn
        between = pair_travel(body.hull, self.reach, turn)
        s, step = 0.0, 0.0
        while True:
            s, step, count = advance_straight(
                body.chain, body.hull, self.checker.obstacles, q_a, q_b, self.pose, self.clearance, self.resolution,
                travel, between, s, step, self.near,
            )  # fmt: skip
            for row in range(count):
                distance, moves = self._look(row, travel, between)
                if not distance >= self.clearance:
                    return False
                step = min(step, max(distance - self.clearance, self.resolution) / max(moves, TINY))
            if s >= 1.0:
                return True

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

    def _look(self, row: int, travel: ndarray, between: ndarray) -> tuple[float, float]:
        """Exact distance of a near pair [m], and most that it moves against each other on the whole move [m]."""
        i, k = (int(x) for x in self.near[row])
        body = self.checker.body
        if k >= 0:
            return body.distance(i, k, self.pose), float(between[i, k])
        geometry, T = self.checker.exact[-1 - k]
        return exact_distance(body.shapes[i].geometry, body.placed(i, self.pose), geometry, T), float(travel[i])

    def _exact(self, count: int) -> tuple[bool, float]:
        contact, least = self.checker._closest(self.near[:count], self.pose, self.clearance, 0.0)
        return contact is None, least


def reaches(body: Body) -> Float[ndarray, "N J"]:
    """Farthest that a point of each capsule can be from each joint's axis, whatever the posture [m]."""
    hull, steps = body.hull, np.linalg.norm(body.chain.p, axis=1)
    out = np.zeros((len(hull.radius), len(steps)))
    for n, c in enumerate(hull.carrier):
        at_end = float(np.linalg.norm(hull.ends[n], axis=1).max()) + hull.radius[n]
        for j in range(c + 1):
            across = float(np.linalg.norm(hull.ends[n][:, :2], axis=1).max()) + hull.radius[n]
            out[n, j] = across if j == c else steps[j + 1 : c + 1].sum() + at_end
    return out


@njit(cache=True, nogil=True)
@no_type_check
def pair_travel(hull: Hull, reach: ndarray, turn: ndarray) -> ndarray:
    """Most that any two capsules move against each other (N, N) [m], by the joints between those that carry them."""
    n = len(hull.radius)
    out = np.zeros((n, n))
    for m in range(hull.pairs.shape[0]):
        i, k = hull.pairs[m, 0], hull.pairs[m, 1]
        near, far = (i, k) if hull.carrier[i] <= hull.carrier[k] else (k, i)
        for j in range(hull.carrier[near] + 1, hull.carrier[far] + 1):
            out[i, k] += reach[far, j] * turn[j]
        out[k, i] = out[i, k]
    return out


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
    travel: ndarray,
    between: ndarray,
    s: float,
    step: float,
    near: ndarray,
) -> tuple[float, float, int]:
    """From share `s` of a straight move, `step` further and on, until capsules come near, or to the end.

    Returns that share, how much further all other pairs allow to go, and how many pairs are in `near`.
    """
    q = np.empty(len(q_a))
    while True:
        s = min(s + step, 1.0)
        for j in range(len(q_a)):
            q[j] = q_a[j] + s * (q_b[j] - q_a[j])
        forward(chain, q, pose)
        place(hull, pose)
        step, count = 1.0, 0
        for n in range(hull.pairs.shape[0]):
            i, k = hull.pairs[n, 0], hull.pairs[n, 1]
            far = hull.bound[i] + hull.bound[k] + clearance + SLACK + between[i, k] * step
            square = 0.0
            for r in range(3):
                apart = hull.world[i, 0, r] + hull.world[i, 1, r] - hull.world[k, 0, r] - hull.world[k, 1, r]
                square += 0.25 * apart * apart
            if not square >= far * far:
                room = capsule_gap(hull, i, k) - clearance - SLACK
                if room >= 0.0:
                    step = min(step, max(room, resolution) / max(between[i, k], TINY))
                else:
                    near[count, 0], near[count, 1] = i, k
                    count += 1
        for i in range(len(hull.radius)):
            if hull.carrier[i] < 0:
                continue
            for m in range(len(obstacles.kind)):
                far = hull.bound[i] + obstacles.bound[m] + clearance + SLACK + travel[i] * step
                square = 0.0
                for r in range(3):
                    square += (0.5 * (hull.world[i, 0, r] + hull.world[i, 1, r]) - obstacles.p[m, r]) ** 2
                if not square >= far * far:
                    room = segment_distance(obstacles, m, hull.world[i, 0], hull.world[i, 1]) - hull.radius[i]
                    room -= clearance + SLACK
                    if room >= 0.0:
                        step = min(step, max(room, resolution) / max(travel[i], TINY))
                    else:
                        near[count, 0], near[count, 1] = i, -1 - m
                        count += 1
        if count > 0 or s >= 1.0:
            return s, step, count
