"""Spheres through the skin that a camera sees of round things: several at once, robust, compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Bool, Float
from numba import njit
from numpy import ndarray

_ROUNDS, _SEED_ROUNDS = 12, 4
_COUNTED = 100.0  # neighbouring pixels share their noise: a sphere's points count as so many at most
_LONGEST_STEP = 0.02  # [m]
_MEAN_DEPTH = 0.67  # of a half sphere's skin before its centre, in radii


@dataclass(frozen=True)
class Sphere:
    """One sphere [m], and which of the points lie on its skin."""

    centre: Float[ndarray, "3"]
    radius: float
    inliers: Bool[ndarray, "N"]


def fit_spheres(
    points: Float[ndarray, "N 3"], eye: Float[ndarray, "3"], k: int, radius: float, radius_sigma: float, depth_sigma: float
) -> list[Sphere]:
    """`k` spheres through `points` by turns: each point joins the nearest skin, each sphere takes a robust step.

    One step is Gauss-Newton on Tukey-weighted distances to the skin with a normal prior on the radius.

    Args:
        points: on the skin [m].
        eye: where they are seen from [m].
        k: how many spheres.
        radius: expected [m] ...
        radius_sigma: ... and its standard deviation [m].
        depth_sigma: noise of the points [m].
    """
    points = np.ascontiguousarray(points, float)
    centres, radii, owner, close = _fit(points, np.asarray(eye, float), k, radius, radius_sigma, depth_sigma)
    return [Sphere(centre, float(r), close & (owner == i)) for i, (centre, r) in enumerate(zip(centres, radii, strict=True))]


@njit(cache=True, nogil=True)
@no_type_check
def _fit(points, eye, k, radius, radius_sigma, depth_sigma):
    """Centres (k, 3), radii (k,), and for each point its sphere and whether it lies on its skin."""
    n = len(points)
    centres, radii, owner, off = _seeds(points, k), np.full(k, radius), np.zeros(n, np.int64), np.zeros(n)
    for i in range(k):
        away = centres[i] - eye
        centres[i] += _MEAN_DEPTH * radius / np.sqrt((away**2).sum()) * away
    A, g, row = np.zeros((k, 4, 4)), np.zeros((k, 4)), np.full(4, -1.0)
    mine = np.zeros(k, np.int64)
    for step in range(_ROUNDS):
        _assign(points, centres, radii, owner, off)
        reach = max(4.0 - 0.3 * step, 2.0) * 2.0 * depth_sigma  # Tukey's bound [m], closing in
        A[:], g[:], mine[:] = 0.0, 0.0, 0
        for i in owner:
            mine[i] += 1
        for j in range(n):
            i = owner[j]
            if abs(off[j]) < reach:
                share = 1.0 - (off[j] / reach) ** 2
                weight = share**2 / depth_sigma**2 * min(1.0, _COUNTED / mine[i])
                distance = off[j] + radii[i] + 1e-12
                for a in range(3):
                    row[a] = (centres[i, a] - points[j, a]) / distance
                for a in range(4):
                    g[i, a] += weight * row[a] * off[j]
                    for b in range(4):
                        A[i, a, b] += weight * row[a] * row[b]
        for i in range(k):
            if mine[i] < 4:
                continue
            A[i, 3, 3] += 1.0 / radius_sigma**2
            g[i, 3] += (radii[i] - radius) / radius_sigma**2
            for a in range(3):
                A[i, a, a] += 1.0  # keeps a sphere without points where it is
            delta = -np.linalg.solve(A[i], g[i])
            delta *= min(1.0, _LONGEST_STEP / (np.sqrt((delta[:3] ** 2).sum()) + 1e-12))
            centres[i] += delta[:3]
            radii[i] += delta[3]
    _assign(points, centres, radii, owner, off)
    return centres, radii, owner, np.abs(off) < 2.5 * depth_sigma


@njit(cache=True, nogil=True)
@no_type_check
def _assign(points, centres, radii, owner, off):
    """For each point its sphere, the one with the nearest skin, and how far outside of it the point lies."""
    for j in range(len(points)):
        nearest = np.inf
        for i in range(len(centres)):
            d = 0.0
            for a in range(3):
                d += (points[j, a] - centres[i, a]) ** 2
            d = np.sqrt(d) - radii[i]
            if abs(d) < nearest:
                nearest = abs(d)
                owner[j], off[j] = i, d


@njit(cache=True, nogil=True)
@no_type_check
def _seeds(points, k):
    """Middles of `k` heaps: the points furthest from all seeds before, then a few rounds of k-means."""
    seeds = np.zeros((k, 3))
    for a in range(3):
        seeds[0, a] = points[:, a].mean()
    for i in range(1, k):
        seeds[i] = points[_farthest(points, seeds[:i])]
    if k == 1:
        return seeds
    seeds[0] = points[_farthest(points, seeds[1:2])]
    owner, off, nothing = np.zeros(len(points), np.int64), np.zeros(len(points)), np.zeros(k)
    for _ in range(_SEED_ROUNDS):
        _assign(points, seeds, nothing, owner, off)
        total, count = np.zeros((k, 3)), np.zeros(k)
        for j in range(len(points)):
            total[owner[j]] += points[j]
            count[owner[j]] += 1.0
        for i in range(k):
            if count[i] > 0.0:
                seeds[i] = total[i] / count[i]
    return seeds


@njit(cache=True, nogil=True)
@no_type_check
def _farthest(points, seeds):
    best, furthest = 0, -1.0
    for j in range(len(points)):
        gap = np.inf
        for i in range(len(seeds)):
            gap = min(gap, ((points[j] - seeds[i]) ** 2).sum())
        if gap > furthest:
            best, furthest = j, gap
    return best
