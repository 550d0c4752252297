"""Distance of an arm to itself, compiled: capsules around its links, and the pairs of them that can meet.

Each collision shape of the description becomes a capsule (a segment with a radius). Pairs that are joined, that always
touch, or that never come near are left out, as MoveIt's setup assistant does (Coleman et al. 2014); which ones those are is
found by sampling, once an arm. Rounded ends make a cylinder's rim up to 0.4 of its radius too small: this keeps branches
apart that fold the arm into itself; the exact check is the guard's.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, no_type_check

import coal
import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.robots.capsules import capsule_gap, place
from visual_irl.robots.chain import INSIDE, LEAN, Pose, chain_of, forward, pose_of
from visual_irl.robots.model import RobotModel

SAMPLES = 3000
"""Random postures by which pairs are told apart."""
FAR = 0.3
"""Distances beyond this are not told apart [m]."""
NEAR = 0.05
"""A pair that never comes nearer than this is left out [m]."""
OVERLAP = 0.01
"""Overlap of the capsules from which an arm counts as meeting itself: they are thicker than the links [m]."""
OFTEN = 0.6
"""A pair that overlaps in more than this share of postures is built that way and left out."""


class Capsules(NamedTuple):
    """Capsules of an arm and the pairs that are checked."""

    carrier: ndarray
    """(N,) joint that carries each; -1 for the base."""
    ends: ndarray
    """(N, 2, 3) ends of its segment in the carrier's frame [m]."""
    radius: ndarray
    """(N,) [m]"""
    bound: ndarray
    """(N,) radius plus half the segment: that of the sphere around each [m]."""
    pairs: ndarray
    """(P, 2), those of two links together."""
    links: ndarray
    """(L,) joint that carries each link; -1 for the base."""
    middle: ndarray
    """(L, 3) centre of a sphere around a link's capsules, in its own frame [m]."""
    around: ndarray
    """(L,) radius of that sphere [m]."""
    meets: ndarray
    """(M, 4) two links that can meet, the first of their pairs and the one after the last."""
    length: float
    """Farthest that any point of the arm can be from any of its axes [m]."""
    world: ndarray
    """(N, 2, 3) buffer for the ends in the base frame."""
    centre: ndarray
    """(L, 3) buffer for the spheres' centres there."""
    lifted: ndarray
    """(K,) capsules that keep above a table: those between the first joint and the last, for the hand is meant to reach it."""
    table: ndarray
    """(4,) unit normal of that table in the base frame and its height along it [m]; zeros: there is none."""


@lru_cache
def capsules_of(robot: RobotModel) -> Capsules:
    """The capsules of an arm."""
    shapes, chain = robot.collision_shapes(), chain_of(robot)
    carrier, ends, radius = [], [], []
    for joint, T, shape in shapes:
        a, r = _segment(shape)
        carrier.append(joint)
        ends.append([T[:3, :3] @ a + T[:3, 3], T[:3, :3] @ -a + T[:3, 3]])
        radius.append(r)
    n, links = len(carrier), sorted(set(carrier))
    segments, middle, around = np.array(ends).reshape(n, 2, 3), np.zeros((len(links), 3)), np.zeros(len(links))
    for i, link in enumerate(links):
        own = np.array(carrier) == link
        middle[i] = 0.5 * (segments[own].min(axis=(0, 1)) + segments[own].max(axis=(0, 1)))
        around[i] = (np.linalg.norm(segments[own] - middle[i], axis=2).max(axis=1) + np.array(radius)[own]).max()
    everything = Capsules(
        np.array(carrier, np.int64), segments, np.array(radius),
        np.array(radius) + 0.5 * np.linalg.norm(np.diff(segments, axis=1)[:, 0], axis=1),
        np.array([(i, k) for i in range(n) for k in range(i) if abs(carrier[i] - carrier[k]) > 1], np.int64).reshape(-1, 2),
        np.array(links, np.int64), middle, around, np.zeros((0, 4), np.int64),
        float(np.linalg.norm(chain.p[1:], axis=1).sum() + max(np.linalg.norm(ends, axis=2).max(axis=1) + radius, default=0.0)),
        np.zeros((n, 2, 3)), np.zeros_like(middle),
        np.array([i for i in range(n) if 0 < carrier[i] < len(chain.lower) - 1], np.int64), np.zeros(4),
    )  # fmt: skip
    rng, pose = np.random.default_rng(0), pose_of(chain)
    touching, nearest = np.zeros(len(everything.pairs)), np.full(len(everything.pairs), np.inf)
    distances = np.empty(len(everything.pairs))
    lower, upper = np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi)
    for q in [robot.home, *rng.uniform(lower, upper, (SAMPLES, len(robot.home)))]:
        forward(chain, q, pose)
        pair_distances(everything, pose, distances)
        touching += distances < 0.0
        nearest = np.minimum(nearest, distances)
        if q is robot.home:
            touching[distances < 0.0] = np.inf
    return _by_links(everything, everything.pairs[(touching <= OFTEN * SAMPLES) & (nearest < NEAR)])


def _by_links(capsules: Capsules, pairs: ndarray) -> Capsules:
    """The capsules with these pairs, those of two links together."""
    of = np.searchsorted(capsules.links, capsules.carrier[pairs])
    order = np.lexsort((of[:, 1], of[:, 0]))
    two, first = np.unique(of[order], axis=0, return_index=True)
    meets = np.column_stack([two, first, np.append(first, len(pairs))[1:]]).astype(np.int64)
    return capsules._replace(pairs=np.ascontiguousarray(pairs[order]), meets=meets)


def _segment(shape: coal.ShapeBase) -> tuple[ndarray, float]:
    """Half the segment and the radius of the capsule for a shape [m]."""
    if isinstance(shape, coal.Sphere):
        return np.zeros(3), float(shape.radius)
    if isinstance(shape, (coal.Cylinder, coal.Capsule)):
        shorten = shape.radius if isinstance(shape, coal.Cylinder) else 0.0
        return np.array([0.0, 0.0, max(float(shape.halfLength) - shorten, 0.0)]), float(shape.radius)
    half = np.array(shape.halfSide if isinstance(shape, coal.Box) else 0.5 * (shape.aabb_local.max_ - shape.aabb_local.min_))
    longest = int(np.argmax(half))
    radius = float(np.max(np.delete(half, longest)))
    along = np.zeros(3)
    along[longest] = max(half[longest] - radius, 0.0)
    return along, radius


@njit(**LEAN)
@no_type_check
def clearance(capsules: Capsules, pose: Pose, far: float = FAR, enough: float = -np.inf) -> float:
    """Smallest distance between links that can meet, at most `far` [m]; negative when they overlap. `pose` holds the pose.

    No more is looked for once one is below `enough`.
    """
    for i in range(len(capsules.links)):
        j = capsules.links[i]
        for r in range(3):
            x = capsules.middle[i, r]
            if j >= 0:
                x = pose.p[j, r]
                for c in range(3):
                    x += pose.R[j, r, c] * capsules.middle[i, c]
            capsules.centre[i, r] = x
    least, placed = far, False
    for m in range(len(capsules.meets)):
        i, k = capsules.meets[m, 0], capsules.meets[m, 1]
        square = 0.0
        for r in range(3):
            square += (capsules.centre[i, r] - capsules.centre[k, r]) ** 2
        reach = capsules.around[i] + capsules.around[k] + least
        if reach > 0.0 and square < reach * reach:  # most links are too far apart for a look at their capsules
            if not placed:
                place(capsules, pose)
                placed = True
            least = _nearest(capsules, capsules.meets[m, 2], capsules.meets[m, 3], least)
            if least < enough:
                break
    return least


@njit(**INSIDE)
@no_type_check
def _nearest(capsules, first, last, least):
    """Smallest distance in the pairs from `first` up to `last`, at most `least` [m]; the capsules must have been placed."""
    for n in range(first, last):
        i, k = capsules.pairs[n, 0], capsules.pairs[n, 1]
        square = 0.0  # between the segments' middles: most pairs need no closer look
        for r in range(3):
            apart = capsules.world[i, 0, r] + capsules.world[i, 1, r] - capsules.world[k, 0, r] - capsules.world[k, 1, r]
            square += 0.25 * apart * apart
        reach = capsules.bound[i] + capsules.bound[k] + least
        if reach > 0.0 and square < reach * reach:
            least = min(least, capsule_gap(capsules, i, k))
    return least


@njit(**INSIDE)
@no_type_check
def height(capsules: Capsules, pose: Pose, far: float = FAR) -> float:
    """Least height of the `lifted` capsules over the table, at most `far` [m]; negative in it. `pose` holds the pose."""
    least, n = far, capsules.table
    if n[0] == 0.0 and n[1] == 0.0 and n[2] == 0.0:
        return least
    for i in capsules.lifted:
        j = capsules.carrier[i]
        for end in range(2):
            h = -n[3] - capsules.radius[i]
            for r in range(3):
                x = pose.p[j, r]
                for c in range(3):
                    x += pose.R[j, r, c] * capsules.ends[i, end, c]
                h += n[r] * x
            least = min(least, h)
    return least


@njit(**LEAN)
@no_type_check
def pair_distances(capsules, pose: Pose, out: ndarray) -> None:
    """Fill `out` (P,) with the distance of every pair of `Capsules`, or of a `Hull` [m]."""
    place(capsules, pose)
    for i in range(capsules.pairs.shape[0]):
        out[i] = capsule_gap(capsules, capsules.pairs[i, 0], capsules.pairs[i, 1])
