"""The pace along an approved motion: slower, faster and to a stop without leaving the path and within the joints' limits.

With s the motion's own time and r = ds/dt the pace, a joint's motion q(s(t)) has

    qd = q' r,   qdd = q'' r^2 + q' r',   qddd = q''' r^3 + 3 q'' r r' + q' r''

(Verscheure et al. 2009). A change of pace is a cubic r(t) from the pace and its slope now to the new pace at slope 0; its
duration is the shortest of a geometric series for which every limit holds on all of it. On the path, what the guard checked
about collisions stays true while the arm stops.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.robots.interpolation import Motion, evaluate, piece_at

SHORTEST = 0.02
"""First duration that is tried [s]."""
GROWTH = 1.15
"""Ratio of durations that are tried one after the other."""
LONGEST = 60.0
"""Duration after which nothing longer is tried [s]."""
LOOKS = 64
"""Times at which limits are looked at during a change of pace."""


class Pace(NamedTuple):
    """A change of pace: begins at motion time `s`, pace `r` and slope `slope`, and ends `duration` later at pace `goal`."""

    s: float
    r: float
    slope: float
    goal: float
    duration: float


def steady(s: float, r: float) -> Pace:
    """The same pace `r` from motion time `s` [s] on."""
    return Pace(float(s), float(r), 0.0, float(r), 0.0)


def changed(
    motion: Motion, s: float, r: float, slope: float, goal: float, limits: tuple[ndarray, ndarray, ndarray]
) -> Pace | None:
    """The quickest change of pace to `goal` that keeps speed, acceleration and jerk limits; None when there is none."""
    duration = float(_shortest(motion, s, r, slope, goal, *limits))
    return Pace(s, r, slope, goal, duration) if duration > 0.0 else None


@njit(cache=True, nogil=True)
@no_type_check
def at(pace: Pace, x: float) -> tuple[float, float, float, float]:
    """Motion time s [s], pace r, r' [1/s] and r'' [1/s^2], `x` [s] after the change began."""
    T = pace.duration
    if x >= T:
        end = pace.s + T * (0.5 * pace.r + 0.5 * pace.goal + T * pace.slope / 12.0)
        return end + pace.goal * (x - T), pace.goal, 0.0, 0.0
    d = pace.goal - pace.r
    c2, c3 = (3.0 * d / T - 2.0 * pace.slope) / T, (pace.slope - 2.0 * d / T) / (T * T)
    r = pace.r + x * (pace.slope + x * (c2 + x * c3))
    s = pace.s + x * (pace.r + x * (pace.slope / 2.0 + x * (c2 / 3.0 + x * c3 / 4.0)))
    return s, r, pace.slope + x * (2.0 * c2 + 3.0 * c3 * x), 2.0 * c2 + 6.0 * c3 * x


@njit(cache=True, nogil=True)
@no_type_check
def reference(motion: Motion, pace: Pace, x: float, row: ndarray, out: ndarray) -> float:
    """Fill `out` (3, J) with what is commanded `x` [s] after the pace began; returns the motion's time s. `row` is a buffer."""
    s, r, a, _ = at(pace, x)
    evaluate(motion, s, row)
    for j in range(row.shape[1]):
        out[0, j], out[1, j] = row[0, j], row[1, j] * r
        out[2, j] = row[2, j] * r * r + row[1, j] * a
    return s


@njit(cache=True, nogil=True)
@no_type_check
def _shortest(motion: Motion, s, r, slope, goal, velocity, acceleration, jerk) -> float:
    T = SHORTEST
    row = np.zeros((3, motion.c.shape[1]))
    while T < LONGEST:
        if _keeps(motion, Pace(s, r, slope, goal, T), velocity, acceleration, jerk, row):
            return T
        T *= GROWTH
    return -1.0


@njit(cache=True, nogil=True)
@no_type_check
def _keeps(motion, pace, velocity, acceleration, jerk, row) -> bool:
    end = motion.t[-1]
    for i in range(LOOKS + 1):
        s, r, a, b = at(pace, pace.duration * min(i / LOOKS, 1.0 - 1e-12))
        if not r >= -1e-9:
            return False
        if s >= end:
            return True  # the motion itself comes to rest there
        evaluate(motion, s, row)
        k = piece_at(motion.t, s)
        x = s - motion.t[k]
        for j in range(row.shape[1]):
            third = 6.0 * motion.c[k, j, 3] + x * (24.0 * motion.c[k, j, 4] + x * 60.0 * motion.c[k, j, 5])
            v, w = row[1, j] * r, row[2, j] * r * r + row[1, j] * a
            u = third * r * r * r + 3.0 * row[2, j] * r * a + row[1, j] * b
            if not (abs(v) <= velocity[j] and abs(w) <= acceleration[j] and abs(u) <= jerk[j]):
                return False
    return True
