"""Cylinders through the skin that a camera sees of vessels: standing ones of unknown size, held ones of a known size.

A vessel may be open: then its inner side is seen, too, which lies within a wall's thickness of the same cylinder. What is seen
inside of it (its floor, what is in it) says nothing and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

UP = np.array([0.0, 0.0, 1.0])
_ROUNDS = 10
_COUNTED = 60.0  # neighbouring pixels share their noise: all points together count as so many at most
_LONGEST_SHIFT, _LARGEST_TURN = 0.03, 0.3  # of one step [m], [rad]


@dataclass(frozen=True)
class Cylinder:
    """Centre [m], unit axis from foot to mouth, radius and height [m]."""

    centre: Float[ndarray, "3"]
    axis: Float[ndarray, "3"]
    radius: float
    height: float

    @property
    def foot(self) -> Float[ndarray, "3"]:
        """Middle of the foot [m]."""
        foot: ndarray = self.centre - 0.5 * self.height * self.axis
        return foot

    def off(self, points: Float[ndarray, "N 3"]) -> tuple[Float[ndarray, "N"], Float[ndarray, "N"]]:
        """How far points are outside of the side (negative: inside), and where along the axis from the centre [m]."""
        off, along = _off(points, self.centre, self.axis, self.radius)
        return off, along


@njit(cache=True, nogil=True)
@no_type_check
def _off(points, centre, axis, radius):
    off, along = np.empty(len(points)), np.empty(len(points))
    for j in range(len(points)):
        x, y, z = points[j, 0] - centre[0], points[j, 1] - centre[1], points[j, 2] - centre[2]
        t = x * axis[0] + y * axis[1] + z * axis[2]
        x, y, z = x - t * axis[0], y - t * axis[1], z - t * axis[2]
        off[j], along[j] = np.sqrt(x * x + y * y + z * z) - radius, t
    return off, along


def fit_standing(
    points: Float[ndarray, "N 3"], eye: Float[ndarray, "3"], sigma: float, radius_sigma: float, unseen: float = 0.0
) -> Cylinder:
    """The upright cylinder whose side passes through `points`, from the table (z = 0) to the highest of them.

    Gauss-Newton on Tukey-weighted distances to a circle seen from above, with a weak prior on the radius.

    Args:
        points: on a vessel [m, world].
        eye: where they are seen from [m].
        sigma: noise of the points [m].
        radius_sigma: standard deviation of the radius about half the width [m].
        unseen: what is missing of the width on either side: depth is lost at edges [m].
    """
    x, y, radius, height = _standing(np.ascontiguousarray(points, float), np.asarray(eye, float), sigma, radius_sigma, unseen)
    return Cylinder(np.array([x, y, 0.5 * height]), UP, radius, height)


@njit(cache=True, nogil=True)
@no_type_check
def _standing(points, eye, sigma, radius_sigma, unseen):
    """Place x and y, radius and height of `fit_standing`."""
    n = len(points)
    ax, ay = np.median(points[:, 0]) - eye[0], np.median(points[:, 1]) - eye[1]
    far = max(np.hypot(ax, ay), 1e-9)
    ax, ay = ax / far, ay / far
    across, away = points[:, 1] * ax - points[:, 0] * ay, points[:, 0] * ax + points[:, 1] * ay
    low, high = np.percentile(across, 1.0), np.percentile(across, 99.0)
    expected = max(0.5 * (high - low) + unseen, 1e-3)
    ahead, aside = np.percentile(away, 5.0) + expected, 0.5 * (low + high)
    x, row = np.array([ahead * ax - aside * ay, ahead * ay + aside * ax, expected]), np.full(3, -1.0)
    share = min(1.0, _COUNTED / max(n, 1)) / sigma**2
    for step in range(_ROUNDS):
        A, g = np.diag(np.array([1.0, 1.0, radius_sigma**-2])), np.array([0.0, 0.0, (x[2] - expected) / radius_sigma**2])
        reach = max(6.0 - 0.5 * step, 3.0) * sigma  # Tukey's bound [m]
        for j in range(n):
            dx, dy = points[j, 0] - x[0], points[j, 1] - x[1]
            distance = np.sqrt(dx * dx + dy * dy) + 1e-12
            e = distance - x[2]
            if abs(e) >= reach or not dx * ax + dy * ay < 0.3 * x[2]:  # behind, the inner side is seen
                continue
            weight = (1.0 - (e / reach) ** 2) ** 2 * share
            row[0], row[1] = -dx / distance, -dy / distance
            for a in range(3):
                g[a] += weight * e * row[a]
                for b in range(3):
                    A[a, b] += weight * row[a] * row[b]
        delta = np.linalg.solve(A, g)
        for a in range(3):
            x[a] -= min(max(delta[a], -0.02), 0.02)
    return x[0], x[1], x[2], np.percentile(points[:, 2], 98.5)


def straightness(cylinder: Cylinder, points: Float[ndarray, "N 3"], eye: Float[ndarray, "3"], tolerance: float) -> float:
    """Share of the points on the front that lie on the cylinder's side, within `tolerance` [m]; of a ball it is smaller."""
    towards = (eye - cylinder.centre) / np.linalg.norm(eye - cylinder.centre)
    front = (points - cylinder.centre) @ towards > 0.3 * cylinder.radius
    off, _ = cylinder.off(points[front])
    return float(np.mean(np.abs(off) < tolerance)) if len(off) else 0.0


def fit_held(points: Float[ndarray, "N 3"], guess: Cylinder, sigma: float, shift_sigma: float, turn_sigma: float) -> Cylinder:
    """The cylinder of the guess's size whose side passes through `points`; none of them may lie beyond its ends.

    Gauss-Newton on Tukey-weighted distances with a normal prior about the guess. A turn about its own axis cannot be seen.

    Args:
        points: on a vessel, and some outliers [m, world].
        guess: where it is expected.
        sigma: noise of the points [m].
        shift_sigma: standard deviation of the guess's place [m] ...
        turn_sigma: ... and of its axis [rad].
    """
    start, axis = np.asarray(guess.centre, float), np.asarray(guess.axis, float)
    points = np.ascontiguousarray(points, float)
    centre, axis = _held(points, start, axis, guess.radius, guess.height, sigma, shift_sigma, turn_sigma)
    return Cylinder(centre, axis, guess.radius, guess.height)


@njit(cache=True, nogil=True)
@no_type_check
def _held(points, start, start_axis, radius, height, sigma, shift_sigma, turn_sigma):
    """Centre and axis; the unknowns of a step are a shift (3) and a turn of the axis towards two directions across it (2)."""
    c, a = start.copy(), start_axis.copy()
    share = min(1.0, _COUNTED / max(len(points), 1)) / sigma**2
    b, d, u = np.empty((2, 3)), np.empty(3), np.empty(3)
    side, end = np.empty(5), np.empty(5)
    for step in range(_ROUNDS):
        flat = np.array([1.0, 0.0, 0.0]) if abs(a[0]) < 0.7 else np.array([0.0, 1.0, 0.0])
        b[0] = np.cross(a, flat)
        b[0] /= np.sqrt((b[0] ** 2).sum())
        b[1] = np.cross(a, b[0])
        A, g = np.zeros((5, 5)), np.zeros(5)
        for k in range(3):
            A[k, k] = shift_sigma**-2
            g[k] = A[k, k] * (c[k] - start[k])
        for k in range(2):
            A[3 + k, 3 + k] = turn_sigma**-2
            g[3 + k] = A[3 + k, 3 + k] * (b[k] * (a - start_axis)).sum()
        reach = max(8.0 - 0.7 * step, 3.0) * sigma
        for j in range(len(points)):
            along = 0.0
            for k in range(3):
                d[k] = points[j, k] - c[k]
                along += d[k] * a[k]
            distance = 1e-9
            for k in range(3):
                u[k] = d[k] - along * a[k]
                distance += u[k] ** 2
            distance = np.sqrt(distance)
            e, beyond = distance - radius, abs(along) - 0.5 * height
            if abs(e) >= reach or beyond >= 3.0 * reach:
                continue
            weight = (1.0 - (e / reach) ** 2) ** 2 * share
            sign = 1.0 if along > 0.0 else -1.0
            for k in range(3):
                u[k] /= distance
                side[k], end[k] = -u[k], -sign * a[k]
            for k in range(2):
                side[3 + k] = -along * (u[0] * b[k, 0] + u[1] * b[k, 1] + u[2] * b[k, 2])
                end[3 + k] = sign * (d[0] * b[k, 0] + d[1] * b[k, 1] + d[2] * b[k, 2])
            on_side, at_end = beyond < reach, beyond > 0.0
            for k in range(5):
                g[k] += weight * (e * side[k] * on_side + beyond * end[k] * at_end)
                for i in range(5):
                    A[k, i] += weight * (side[k] * side[i] * on_side + end[k] * end[i] * at_end)
        delta = -np.linalg.solve(A, g)
        for k in range(3):
            c[k] += min(max(delta[k], -_LONGEST_SHIFT), _LONGEST_SHIFT)
        for k in range(2):
            a += min(max(delta[3 + k], -_LARGEST_TURN), _LARGEST_TURN) * b[k]
        a /= np.sqrt((a**2).sum())
    return c, a
