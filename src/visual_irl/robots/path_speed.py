"""The speed along a path: a barrier method that makes b = (ds/dt)^2 as large as speed, acceleration and jerk limits let it.

The formulas are those of `visual_irl.robots.timing`. Constraints are imposed at the grid's points; each touches three
neighbouring coefficients of the quadratic B-spline b, so that the Newton equations (Boyd and Vandenberghe 2004, "Convex
optimization", chapter 11) have five diagonals and cost is linear in points.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray
from scipy.linalg import solveh_banded

from visual_irl.errors import InvalidInput

FASTEST = 100.0
"""Largest b at the bent ends, where the demonstrated timing bounds it no more."""
EVEN = 0.03
"""Weight of changes of the speed: its product with the integral of (db/ds)^2 ds is added to the time [s^2], but at bent ends.
A motion that is slowed down for a joint's sake is so over a longer way, without a jerk of the hand."""
MOVING = 0.1
"""Share of a speed limit from which that counts in full: a pause may be as long as it was, whatever comes before."""
BARRIER = (1.0, 6.0, 36.0, 216.0, 1300.0)
"""Weight of the time against the barrier, one after the other; the last one costs about 0.1 % of the time."""


class Grid(NamedTuple):
    """The path by its bent parameter u, at N + 1 points that hold every knot of its spline."""

    u: Float[ndarray, "N+1"]
    slope: Float[ndarray, "N+1"]
    """phi' = ds/du."""
    q: Float[ndarray, "N+1 J"]
    d1: Float[ndarray, "N+1 J"]
    """First derivative of the joints by u."""
    d2: Float[ndarray, "N+1 J"]
    """Second derivative by u."""
    d3: Float[ndarray, "N 2 J"]
    """Third derivative by u at both ends of each interval; it differs between neighbours."""
    at: ndarray
    """Index of each knot of the spline."""


def fastest(grid: Grid, limits: tuple[ndarray, ndarray, ndarray], tight: ndarray, start: ndarray | None) -> ndarray:
    """Coefficients (N + 2,) of the B-spline b: a locally shortest time, but for `EVEN`, with every constraint kept.

    `tight` (N,) scales limits; `start` are coefficients to begin from, if there are any.
    """
    h = np.diff(grid.u)
    h = np.concatenate([h[:1], h, h[-1:]])
    v, a, j = limits
    demonstrated = np.minimum(FASTEST, 1.0 / np.maximum(grid.slope, 1e-3) ** 2)
    fast = 1.0 / np.maximum((np.abs(grid.d1) / v).max(axis=1), 1e-9) ** 2
    most = np.minimum(_of_pieces(demonstrated), tight**2 * _of_pieces(fast))
    most = np.concatenate([most[:1], most, most[-1:]])
    knot = np.minimum(np.append(tight, 1.0), np.append(1.0, tight))[:, None]
    a = a * knot**2
    moving = np.minimum(1.0, (np.abs(grid.d1) / v).max(axis=1) / MOVING)
    even = EVEN * moving * (grid.slope > 1.0 - 1e-9) / (0.5 * (h[1:] + h[:-1]))
    rows = (h, even, grid.d1 / a, grid.d2 / a, grid.d1 / j, grid.d2 / j, grid.d3 / j, tight**3, most)
    b = 0.5 * most if start is None else start
    while not np.isfinite(_barrier(b, 0.0, *rows)):
        b = 0.7 * b if start is not None else np.full_like(b, 0.5 * b.min())
        if not b.min() > 1e-30:
            raise InvalidInput(
                "no speed along the path keeps its limits: its times lie too close together, give them in seconds"
            )
    mean = float(h.mean())
    for weight in BARRIER if start is None else BARRIER[-2:]:
        tau = weight / mean
        value = _barrier(b, tau, *rows)
        for _ in range(60):
            g, H = _newton(b, tau, *rows)
            step = -solveh_banded(H, g, lower=True)
            fall = -float(g @ step)
            alpha = min(1.0, 0.9 / float(max(np.max(-step / b), 1e-12)))
            while not (new := _barrier(b + alpha * step, tau, *rows)) < value - 1e-4 * alpha * fall and alpha > 1e-9:
                alpha *= 0.5
            if alpha <= 1e-9:
                break
            b, value = b + alpha * step, new
            if fall < 1e-3 * tau * float(h @ b**-0.5):
                break
    return b


def _of_pieces(x: ndarray) -> ndarray:
    """The smaller of the values at both ends of each interval (N,)."""
    least: ndarray = np.minimum(x[:-1], x[1:])
    return least


@njit(cache=True, nogil=True)
@no_type_check
def _barrier(c, tau, h, even, a1, a2, j1, j2, j3, tight, most):
    """Time and unevenness weighted by `tau`, minus the logarithms of all slacks; infinite outside."""
    total = 0.0
    for k in range(len(c)):
        if not 0.0 < c[k] < most[k]:
            return np.inf
        total += tau * h[k] / np.sqrt(c[k]) - np.log(1.0 - c[k] / most[k])
    for k in range(len(even)):
        total += tau * even[k] * (c[k + 1] - c[k]) ** 2
    n, joints = a1.shape
    b_next = a_next = 0.0
    for k in range(n):
        d = 1.0 / (h[k] + h[k + 1])
        b, a = (c[k] * h[k + 1] + c[k + 1] * h[k]) * d, (c[k + 1] - c[k]) * d
        slack = 1.0
        for i in range(joints):
            x = a2[k, i] * b + a1[k, i] * a
            if not -1.0 < x < 1.0:
                return np.inf
            slack *= 1.0 - x * x
        total -= np.log(slack)
        if k == n - 1:
            break
        d = 1.0 / (h[k + 1] + h[k + 2])
        b_next, a_next = (c[k + 1] * h[k + 2] + c[k + 2] * h[k + 1]) * d, (c[k + 2] - c[k + 1]) * d
        da = (a_next - a) / h[k + 1]
        for e in range(2):
            be, ae = (b, a) if e == 0 else (b_next, a_next)
            root, slack = np.sqrt(be) / tight[k], 1.0
            for i in range(joints):
                y = (j3[k, e, i] * be + 3.0 * j2[k + e, i] * ae + j1[k + e, i] * da) * root
                if not -1.0 < y < 1.0:
                    return np.inf
                slack *= 1.0 - y * y
            total -= np.log(slack)
    return total


@njit(cache=True, nogil=True)
@no_type_check
def _newton(c, tau, h, even, a1, a2, j1, j2, j3, tight, most):
    """Gradient (N + 2,) and lower bands (3, N + 2) of the barrier's curvature, without that of the jerk itself."""
    g, H = np.zeros(len(c)), np.zeros((3, len(c)))
    for k in range(len(c)):
        slack = most[k] - c[k]
        g[k] = -0.5 * tau * h[k] * c[k] ** -1.5 + 1.0 / slack
        H[0, k] = 0.75 * tau * h[k] * c[k] ** -2.5 + 1.0 / (slack * slack)
    for k in range(len(even)):
        pull = 2.0 * tau * even[k]
        g[k] -= pull * (c[k + 1] - c[k])
        g[k + 1] += pull * (c[k + 1] - c[k])
        H[0, k] += pull
        H[0, k + 1] += pull
        H[1, k] -= pull
    n, joints = a1.shape
    wb, wa, wd, row = np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(3), np.zeros(3)
    for k in range(n):
        last = k == n - 1
        wb[:] = 0.0
        wa[:] = 0.0
        for e in range(1 if last else 2):
            d = 1.0 / (h[k + e] + h[k + e + 1])
            wb[e, e], wb[e, e + 1] = h[k + e + 1] * d, h[k + e] * d
            wa[e, e], wa[e, e + 1] = -d, d
        for i in range(joints):
            x = 0.0
            for m in range(2):
                row[m] = a2[k, i] * wb[0, m] + a1[k, i] * wa[0, m]
                x += row[m] * c[k + m]
            _add(g, H, k, x, row, 2)
        if last:
            break
        for m in range(3):
            wd[m] = (wa[1, m] - wa[0, m]) / h[k + 1]
        for e in range(2):
            be = ae = da = 0.0
            for m in range(3):
                be += wb[e, m] * c[k + m]
                ae += wa[e, m] * c[k + m]
                da += wd[m] * c[k + m]
            root = np.sqrt(be) / tight[k]
            for i in range(joints):
                x = j3[k, e, i] * be + 3.0 * j2[k + e, i] * ae + j1[k + e, i] * da
                for m in range(3):
                    slope = j3[k, e, i] * wb[e, m] + 3.0 * j2[k + e, i] * wa[e, m] + j1[k + e, i] * wd[m]
                    row[m] = root * (slope + 0.5 * x / be * wb[e, m])
                _add(g, H, k, x * root, row, 3)
    return g, H


@njit(cache=True, nogil=True)
@no_type_check
def _add(g, H, k, x, row, width):
    """Add -log(1 - x^2), of gradient `row` by coefficients k to k + width - 1, to gradient and bands."""
    slack = 1.0 - x * x
    first, second = 2.0 * x / slack, 2.0 * (1.0 + x * x) / (slack * slack)
    for m in range(width):
        g[k + m] += first * row[m]
        for r in range(m + 1):
            H[m - r, k + r] += second * row[m] * row[r]
