"""What is streamed between the samples of a joint trajectory, and its exact extremes.

A trajectory states positions and velocities at its samples. Between them the arm follows quintic polynomials that take the
accelerations at the samples from the trajectory itself, so that position, velocity and acceleration are continuous and the
jerk is bounded, also where the motion begins and ends: the arm rests before and after, its acceleration there is zero. A
controller that is given these accelerations interpolates alike (ros2_control's joint_trajectory_controller does).

The acceleration at a sample is that of the quintic through position and velocity of the sample and both its neighbours; on
a regular grid of step h it is 2 (q[k+1] - 2 q[k] + q[k-1]) / h^2 - (qd[k+1] - qd[k-1]) / (2 h), right to h^4 (the compact
difference of Collatz 1966, "The numerical treatment of differential equations").
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray
from numpy.polynomial import polynomial

POSITION, VELOCITY, ACCELERATION, JERK = 0, 1, 2, 3
"""Orders of derivative."""
DEPTH = 40
"""Most halvings of a piece before an extreme that is still not told from its bound counts as beyond it."""


class Motion(NamedTuple):
    """A joint motion: on piece k, with x = time - t[k], q = sum over i of c[k, :, i] x^i."""

    t: ndarray
    """(N + 1,) [s]"""
    c: ndarray
    """(N, J, 6) [rad/s^i]"""


def accelerations(t: Float[ndarray, "T"], q: Float[ndarray, "T J"], qd: Float[ndarray, "T J"]) -> Float[ndarray, "T J"]:
    """Accelerations at the samples [rad/s^2]; zero at both ends, where the arm rests."""
    h = np.diff(t)[:, None]
    out = np.zeros_like(q)
    d = np.diff(q, axis=0)
    x, y = 1.0 / h[1:], 1.0 / h[:-1]
    right, left = (d[1:] - qd[1:-1] * h[1:]) * x**2, (qd[1:-1] * h[:-1] - d[:-1]) * y**2
    e_right, e_left = (qd[2:] - qd[1:-1]) * x, (qd[1:-1] - qd[:-2]) * y
    first = ((4.0 * right - e_right) * x**3 + (4.0 * left - e_left) * y**3) / (x + y)
    second = ((5.0 * right - e_right) * x**2 - (5.0 * left - e_left) * y**2) / (x + y)
    out[1:-1] = 4.0 * (first - 0.5 * (x - y) * second) / (x + y) ** 2
    return out


def motion_through(t: Float[ndarray, "T"], q: Float[ndarray, "T J"], qd: Float[ndarray, "T J"]) -> Motion:
    """The motion that passes the samples; times [s] strictly increase, positions [rad], velocities [rad/s]."""
    a = accelerations(t, q, qd)
    h = np.diff(t)[:, None]
    dq = np.diff(q, axis=0) - qd[:-1] * h - 0.5 * a[:-1] * h**2
    dv = (np.diff(qd, axis=0) - a[:-1] * h) * h
    da = np.diff(a, axis=0) * h**2
    c3, c4, c5 = 10.0 * dq - 4.0 * dv + 0.5 * da, -15.0 * dq + 7.0 * dv - da, 6.0 * dq - 3.0 * dv + 0.5 * da
    c = np.stack([q[:-1], qd[:-1], 0.5 * a[:-1], c3 / h**3, c4 / h**4, c5 / h**5], axis=2)
    return Motion(np.array(t, float), np.ascontiguousarray(c))


def joined(first: Motion, second: Motion) -> Motion:
    """One motion after the other; the second starts where and as the first ends."""
    t = np.concatenate([first.t, first.t[-1] + (second.t[1:] - second.t[0])])
    return Motion(t, np.concatenate([first.c, second.c]))


def sampled(motion: Motion, times: Float[ndarray, "S"]) -> Float[ndarray, "3 S J"]:
    """Positions, velocities and accelerations at `times` [s]; the arm rests before and after the motion."""
    out = np.empty((3, len(times), motion.c.shape[1]))
    row = np.empty((3, motion.c.shape[1]))
    for i, time in enumerate(times):
        evaluate(motion, float(time), row)
        out[:, i] = row
    return out


@njit(cache=True, nogil=True)
@no_type_check
def piece_at(t: ndarray, time: float) -> int:
    """Index of the piece that holds `time`."""
    return min(max(np.searchsorted(t, time, side="right") - 1, 0), len(t) - 2)


@njit(cache=True, nogil=True)
@no_type_check
def evaluate(motion: Motion, time: float, out: ndarray) -> None:
    """Fill `out` (3, J) with position, velocity and acceleration at `time` [s]; at rest before and after the motion."""
    clipped = min(max(time, motion.t[0]), motion.t[-1])
    k = piece_at(motion.t, clipped)
    x = clipped - motion.t[k]
    moving = 1.0 if clipped == time else 0.0
    for j in range(motion.c.shape[1]):
        c0, c1, c2 = motion.c[k, j, 0], motion.c[k, j, 1], motion.c[k, j, 2]
        c3, c4, c5 = motion.c[k, j, 3], motion.c[k, j, 4], motion.c[k, j, 5]
        out[0, j] = c0 + x * (c1 + x * (c2 + x * (c3 + x * (c4 + x * c5))))
        out[1, j] = moving * (c1 + x * (2.0 * c2 + x * (3.0 * c3 + x * (4.0 * c4 + x * 5.0 * c5))))
        out[2, j] = moving * (2.0 * c2 + x * (6.0 * c3 + x * (12.0 * c4 + x * 20.0 * c5)))


@njit(cache=True, nogil=True)
@no_type_check
def _bernstein(c: ndarray, order: int, h: float, b: ndarray) -> int:
    """Fill `b` with the Bernstein coefficients on [0, h] of the derivative of this order; returns its degree.

    b[i] = sum over k <= i of C(i, k) / C(n, k) a[k], with a the coefficients in x / h (Farouki 2012, "The Bernstein polynomial
    basis", Computer Aided Geometric Design 29). The polynomial lies between the smallest and the largest of them.
    """
    n, scale = 5 - order, 1.0
    a = np.zeros(6)
    for k in range(n + 1):
        factor = 1.0
        for m in range(order):
            factor *= k + order - m
        a[k] = c[k + order] * factor * scale
        scale *= h
    for i in range(n + 1):
        b[i], ratio = 0.0, 1.0
        for k in range(i + 1):
            b[i] += ratio * a[k]
            ratio *= (i - k) / (n - k) if k < n else 0.0
    return n


@njit(cache=True, nogil=True)
@no_type_check
def _within(b: ndarray, n: int, lower: float, upper: float, stack: ndarray) -> bool:
    """Whether a polynomial in Bernstein form keeps within its bounds; halves it until that is decided."""
    stack[0, : n + 1] = b[: n + 1]
    depth = 1
    while depth > 0:
        depth -= 1
        low, high = np.inf, -np.inf
        for i in range(n + 1):
            x = stack[depth, i]
            if not (x > -np.inf and x < np.inf):
                return False
            low, high = min(low, x), max(high, x)
        if low >= lower and high <= upper:
            continue
        for end in (0, n):  # the polynomial takes these two values
            if not lower <= stack[depth, end] <= upper:
                return False
        if depth + 2 > DEPTH:
            return False
        for level in range(n + 1):  # de Casteljau: the left half into the next row, the right half stays here
            stack[depth + 1, level] = stack[depth, 0]
            for i in range(n - level):
                stack[depth, i] = 0.5 * (stack[depth, i] + stack[depth, i + 1])
        depth += 2
    return True


@njit(cache=True, nogil=True)
@no_type_check
def first_beyond(motion: Motion, order: int, lower: ndarray, upper: ndarray) -> tuple[int, int]:
    """The first piece and joint whose derivative of this order leaves [`lower`, `upper`] (J,) anywhere; (-1, -1) for none."""
    b, stack = np.zeros(6), np.zeros((DEPTH + 2, 6))
    for k in range(motion.c.shape[0]):
        h = motion.t[k + 1] - motion.t[k]
        for j in range(motion.c.shape[1]):
            n = _bernstein(motion.c[k, j], order, h, b)
            if not _within(b, n, lower[j], upper[j], stack):
                return k, j
    return -1, -1


def extreme(motion: Motion, piece: int, joint: int, order: int, middle: float) -> float:
    """The value farthest from `middle` that a derivative takes on a piece; not a number where the piece is none."""
    coefficients = motion.c[piece, joint]
    if not np.isfinite(coefficients).all():
        return float("nan")
    p = polynomial.polyder(coefficients, order)
    slope = polynomial.polyder(p)
    h = float(motion.t[piece + 1] - motion.t[piece])
    roots = np.asarray(polynomial.polyroots(np.trim_zeros(slope, "b")), complex) if slope.any() else np.zeros(0, complex)
    inner = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0.0) & (roots.real < h)]
    values = np.asarray(polynomial.polyval(np.concatenate([[0.0, h], inner]), p), float)
    return float(values[np.argmax(np.abs(values - middle))])
