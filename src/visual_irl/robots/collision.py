"""Collision checks of an arm along a motion: compiled over capsules, exact where capsules cannot tell.

Along a motion, checks are as far apart as the room around the arm allows: if everything is at least d away, no point of the
arm may have moved d before the next check (conservative advancement, Mirtich 1996). A point moves at most the sum over joints
of speed times the joint's reach. Where less room is left than `resolution`, a check follows every `resolution` of such motion;
with a clearance of at least that much kept at every check, nothing can have been touched between two of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, no_type_check

import coal
import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl import se3
from visual_irl.robots.capsules import capsule_gap, place
from visual_irl.robots.chain import Chain, Pose, forward, pose_of
from visual_irl.robots.hull import Body, Hull, body_of, exact_distance
from visual_irl.robots.interpolation import Motion, evaluate, piece_at
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, Obstacles, World, coal_shape, obstacles_of, segment_distance

SLACK = 1e-5
"""Room by which the search for the nearest point may be wrong [m]."""
FAR = 0.5
"""Distances beyond this are not told apart [m]."""


class Contact(NamedTuple):
    """Two things that are nearer than allowed."""

    time: float
    """When, on the motion's clock [s]."""
    first: str
    """The link."""
    second: str
    """The other link, or the obstacle."""
    distance: float
    """Negative when they overlap [m]."""


@dataclass(frozen=True, eq=False)
class Checker:
    """The collision checks of one arm in one world."""

    body: Body
    obstacles: Obstacles
    world: World
    exact: tuple[tuple[coal.ShapeBase, coal.Transform3s], ...]
    """Shape and place in the base frame of every obstacle."""

    def contact_at(self, q: Float[ndarray, "J"], clearance: float) -> Contact | None:
        """The first pair that is nearer than `clearance` [m] at joint angles `q` [rad]; its time is 0."""
        pose = pose_of(self.body.chain)
        near = self._buffer()
        forward(self.body.chain, np.asarray(q, float), pose)
        _, count = nearest(self.body.hull, self.obstacles, pose, clearance, near)
        return self._closest(near[:count], pose, clearance, 0.0)[0]

    def contact_along(
        self, motion: Motion, clearance: float, resolution: float, begin: float = -np.inf, end: float = np.inf
    ) -> Contact | None:
        """The first pair nearer than `clearance` [m] along a motion; checks lie at most `resolution` [m] apart there.

        Nothing between the checks is missed while `clearance` is at least `resolution`. Only the part from `begin` to `end`
        [s] is looked at.
        """
        hull, pose = self.body.hull, pose_of(self.body.chain)
        near = self._buffer()
        time, room = max(float(motion.t[0]), begin), 0.0
        last = min(float(motion.t[-1]), end)
        while True:
            time, free, count = advance(
                self.body.chain, hull, self.obstacles, motion, pose, clearance, resolution, time, last, room, near
            )
            if count == 0:
                return None
            contact, room = self._closest(near[:count], pose, clearance, time)
            if contact is not None:
                return contact
            if time >= last:
                return None
            room = max(min(free, room) - clearance - SLACK, resolution)

    def _buffer(self) -> ndarray:
        return np.empty((len(self.body.hull.pairs) + len(self.body.hull.radius) * len(self.obstacles.kind), 2), np.int64)

    def _closest(self, pairs: ndarray, pose: Pose, clearance: float, time: float) -> tuple[Contact | None, float]:
        """Of pairs whose capsules are near, the first whose exact shapes are nearer than `clearance`, and their least distance.

        Obstacles count from -1 down.
        """
        shapes, least = self.body.shapes, FAR
        for i, k in pairs:
            if k >= 0:
                distance, other = self.body.distance(int(i), int(k), pose), shapes[k].link
            else:
                geometry, T = self.exact[-1 - k]
                distance = exact_distance(shapes[i].geometry, self.body.placed(int(i), pose), geometry, T)
                other = self.world.obstacles[-1 - k].name
            if not distance >= clearance:
                return Contact(time, shapes[i].link, other, distance), distance
            least = min(least, distance)
        return None, least


def checker_of(robot: RobotModel, world: World) -> Checker:
    """The collision checks of an arm in a world."""
    T_base_world = se3.inverse(world.T_world_base)
    exact = []
    for obstacle in world.obstacles:
        T = T_base_world @ obstacle.T_world
        exact.append((coal_shape(obstacle), coal.Transform3s(T[:3, :3], T[:3, 3])))
    return Checker(body_of(robot, world.carried), obstacles_of(world), world, tuple(exact))


def base_gap(robot: RobotModel, obstacle: Obstacle, T_world_base: Float[ndarray, "4 4"]) -> float:
    """Distance of an obstacle from what the base carries [m], negative when they overlap.

    The checks along a motion leave it out, as no motion could help.
    """
    T = se3.inverse(T_world_base) @ obstacle.T_world
    placed = coal_shape(obstacle), coal.Transform3s(T[:3, :3], T[:3, 3])
    still = [s for s in body_of(robot).shapes if s.carrier < 0]
    return min(exact_distance(s.geometry, coal.Transform3s(s.T[:3, :3], s.T[:3, 3]), *placed) for s in still)


@njit(cache=True, nogil=True)
@no_type_check
def nearest(hull: Hull, obstacles: Obstacles, pose: Pose, clearance: float, near: ndarray) -> tuple[float, int]:
    """The pairs of capsules nearer than `clearance` [m]: how many; and the least distance of all others, at most `FAR` [m].

    A row of `near` names a capsule and another one, or a capsule and -1 - m for obstacle m. What the base carries does not
    move and is not compared with the world.
    """
    place(hull, pose)
    least, count = FAR, 0
    for n in range(hull.pairs.shape[0]):
        i, k = hull.pairs[n, 0], hull.pairs[n, 1]
        reach = hull.bound[i] + hull.bound[k] + max(least, clearance + SLACK)
        square = 0.0  # between the segments' middles: most pairs need no closer look
        for r in range(3):
            apart = hull.world[i, 0, r] + hull.world[i, 1, r] - hull.world[k, 0, r] - hull.world[k, 1, r]
            square += 0.25 * apart * apart
        if not square >= reach * reach:
            gap = capsule_gap(hull, i, k)
            if gap >= clearance + SLACK:
                least = min(least, gap)
            else:
                near[count, 0], near[count, 1] = i, k
                count += 1
    middle = np.zeros(3)
    for i in range(len(hull.radius)):
        if hull.carrier[i] < 0:
            continue
        for r in range(3):
            middle[r] = 0.5 * (hull.world[i, 0, r] + hull.world[i, 1, r])
        for m in range(len(obstacles.kind)):
            reach = hull.bound[i] + obstacles.bound[m] + max(least, clearance + SLACK)
            square = 0.0
            for r in range(3):
                square += (middle[r] - obstacles.p[m, r]) ** 2
            if not square >= reach * reach:
                gap = segment_distance(obstacles, m, hull.world[i, 0], hull.world[i, 1]) - hull.radius[i]
                if gap >= clearance + SLACK:
                    least = min(least, gap)
                else:
                    near[count, 0], near[count, 1] = i, -1 - m
                    count += 1
    return least, count


@njit(cache=True, nogil=True)
@no_type_check
def advance(
    chain: Chain,
    hull: Hull,
    obstacles: Obstacles,
    motion: Motion,
    pose: Pose,
    clearance: float,
    resolution: float,
    time: float,
    end: float,
    room: float,
    near: ndarray,
) -> tuple[float, float, int]:
    """From `time` [s] on, with `room` [m] to move there, until capsules come nearer than `clearance`, or to the `end` [s].

    Returns that time, the least distance of the pairs that are farther, and how many pairs are in `near`; `pose` is that of the
    time. A `room` of 0 looks at `time` itself first.
    """
    row = np.zeros((3, motion.c.shape[1]))
    k = -1
    rate, budget = 0.0, room
    while True:
        while budget > 0.0:  # go on until that much motion is used up
            if k != piece_at(motion.t, time):
                k = piece_at(motion.t, time)
                rate = travel_rate(hull, motion, k)
            left = motion.t[k + 1] - time
            if not rate * left <= budget:
                time = max(time + budget / rate, np.nextafter(time, np.inf))
                break
            budget -= rate * left
            time = motion.t[k + 1]
            if time >= end:
                break
        time = min(time, end)
        evaluate(motion, time, row)
        forward(chain, row[0], pose)
        least, count = nearest(hull, obstacles, pose, clearance, near)
        if count > 0 or time >= end:
            return time, least, count
        budget = max(least - clearance - SLACK, resolution)


@njit(cache=True, nogil=True)
@no_type_check
def travel_rate(hull: Hull, motion: Motion, k: int) -> float:
    """Speed that no point of the arm exceeds on piece k [m/s]: from the Bernstein coefficients of the joints' speeds."""
    h = motion.t[k + 1] - motion.t[k]
    total = 0.0
    for j in range(motion.c.shape[1]):
        most = 0.0
        for i in range(5):  # b[i] = sum over m <= i of C(i, m) / C(4, m) (m + 1) c[m + 1] h^m
            b, ratio, power = 0.0, 1.0, 1.0
            for m in range(i + 1):
                b += ratio * (m + 1) * motion.c[k, j, m + 1] * power
                ratio *= (i - m) / (4 - m) if m < 4 else 0.0
                power *= h
            most = max(most, abs(b))
        total += hull.reach[j] * most
    return total
