"""Time of a joint path: the demonstrated timing where the arm can, slower only where its limits ask for it.

A path is q(s), with s the demonstrated time. What is sought is the speed along it: with b = (ds/dt)^2 and a = b'/2,

    qd = q' sqrt(b),   qdd = q'' b + q' a,   qddd = (q''' b + 3 q'' a + q' a') sqrt(b),

where ' is d/ds. The time, the integral of ds / sqrt(b), is convex in b; b <= 1 keeps the demonstrated timing, and limits
of speed and acceleration are linear in b (Verscheure et al., "Time-optimal path tracking for robots", IEEE TAC 54(10),
2009). The jerk is not, but a small b always satisfies it, so a barrier method that starts there and never leaves the
feasible set ends at a locally fastest b. With b a quadratic B-spline each constraint touches three neighbouring
coefficients: the Newton equations have five diagonals, and cost is linear in samples.

At rest b would have a singularity; the parameter is therefore changed at both ends, s = phi(u) with phi ~ u^3, after
which b is positive everywhere. The finished trajectory is a polynomial, and is checked on a fine grid before it is returned.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.interpolate import CubicSpline, PPoly

from visual_irl.errors import InvalidInput
from visual_irl.robots.path_speed import Grid, fastest

JUMP = 0.5
"""A joint step [rad] above this is a jump, if it also asks for `JUMP_SPEED`."""
JUMP_SPEED = 20.0
"""Multiple of the speed limit that no demonstrated motion asks for."""
GRADE = 4.0
"""Largest ratio of neighbouring intervals of the spline: a longer one is filled along the straight line."""
TIGHTER = 5
"""Most times that a spline is drawn towards its samples' straight lines; each time its swings there become about a third."""
RAMP = 0.4
"""Part of the path's parameter at each end that is bent for the rest there [s]."""
PIECE = 0.02
"""Longest interval on which the speed along the path is one quadratic [s]."""
MARGIN = 0.997
"""Speed that is planned with: between the points where limits are imposed they are passed by a little."""
ROUNDS = 4
"""Most times that b is found, with tighter limits where the finished trajectory passed them."""
SLACK = 1.05
"""Factor by which the whole motion may be slowed where those rounds left its limits passed by a little."""
FINE = 1000.0
"""Points a second at which the finished trajectory is checked [1/s]."""


class Timed(NamedTuple):
    """A timed trajectory on a regular grid, at rest at both ends, and where its samples went."""

    t: Float[ndarray, "S"]
    """Times of the grid, from 0 [s]."""
    q: Float[ndarray, "S J"]
    """Positions [rad]."""
    qd: Float[ndarray, "S J"]
    """Velocities [rad/s]."""
    times: Float[ndarray, "T"]
    """When each sample of the path is passed, on the clock of `t` [s]."""
    slowdown: float
    """Duration over the demonstrated one."""


def time_parametrised(
    t: Float[ndarray, "T"],
    q: Float[ndarray, "T J"],
    velocity: Float[ndarray, "J"],
    acceleration: Float[ndarray, "J"],
    jerk: Float[ndarray, "J"],
    share: float,
    rate: float,
    bounds: tuple[Float[ndarray, "J"], Float[ndarray, "J"]] | None = None,
) -> Timed:
    """The path as a motion within `share` of the limits, nowhere faster than demonstrated, at about `rate` [1/s].

    The path goes through every sample, on a cubic spline whose parameter is the demonstrated time, stretched where a step
    alone would pass the speed limit.

    Args:
        t: demonstrated times [s], strictly increasing.
        q: joint positions [rad]; equal neighbours are a pause, which keeps its length.
        velocity: speed limits [rad/s].
        acceleration: acceleration limits [rad/s^2].
        jerk: jerk limits [rad/s^3].
        share: share of the limits that is used, in (0, 1].
        rate: samples a second of the result.
        bounds: lowest and highest position [rad], which samples keep: the spline is drawn towards the straight line where it
            would swing out of them. Up to `TIGHTER` times; a corner right at a bound may still pass it by a hair.

    Raises:
        InvalidInput: shapes, times or limits are unusable, or the path jumps; says where and by how much.
    """
    limits = _limits(velocity, acceleration, jerk, share)
    _check(t, q, limits, rate)
    s = _stretched(t, q, limits[0])
    path = CubicSpline(*_graded(s, q), axis=0, bc_type="natural")
    for _ in range(TIGHTER if bounds else 0):
        swings = _swinging(path, *bounds)  # type: ignore[misc]
        if not len(swings):
            break
        path = _tightened(path, swings)
    grid = _grid(path)
    b = _within(grid, limits)
    motion = _motion(grid, b)
    need = _slower(motion, limits)
    if 1.0 < need.max() <= SLACK:
        motion = _motion(grid, b / (need.max() * (1.0 + 1e-9)) ** 2)
        need = _slower(motion, limits)
    if not need.max() <= 1.0 + 1e-6:
        raise InvalidInput(
            f"{motion.x[np.argmax(need)]:.2f} s after its start the timed path must be {need.max():.4f} times slower to keep "
            "its limits: the samples there are too irregular to follow, smooth them"
        )
    duration = float(motion.x[-1])
    regular = np.linspace(0.0, duration, max(2, round(duration * rate) + 1))
    times = motion.x[grid.at[np.searchsorted(path.x, s)]]
    return Timed(regular, motion(regular), motion(regular, 1), times, duration / float(t[-1] - t[0]))


def blend(
    q_a: Float[ndarray, "J"],
    q_b: Float[ndarray, "J"],
    velocity: Float[ndarray, "J"],
    acceleration: Float[ndarray, "J"],
    jerk: Float[ndarray, "J"],
    share: float,
    rate: float,
) -> tuple[Float[ndarray, "S"], Float[ndarray, "S J"], Float[ndarray, "S J"]]:
    """Times from 0, positions and velocities from `q_a` to `q_b`, rest to rest, straight in joint space.

    Minimum jerk (Flash and Hogan 1985): q_a + (q_b - q_a) (10 x^3 - 15 x^4 + 6 x^5), x = t / D. Its peaks are 15/8 of
    distance / D, 10 / sqrt(3) of distance / D^2 and 60 of distance / D^3; D is the shortest for which all limits hold.

    Raises:
        InvalidInput: lengths or limits are unusable.
    """
    v, a, j = _limits(velocity, acceleration, jerk, share)
    if not (q_a.shape == q_b.shape == v.shape and np.isfinite(q_a).all() and np.isfinite(q_b).all() and rate > 0.0):
        raise InvalidInput(f"a transition needs finite joints of shape {v.shape} and a rate > 0, got {q_a}, {q_b} and {rate}")
    way = np.abs(q_b - q_a)
    needs = (1.875 * way / v, np.sqrt(10.0 / np.sqrt(3.0) * way / a), np.cbrt(60.0 * way / j))
    duration = max(float(np.max(needs)), 1.0 / rate)
    t = np.linspace(0.0, duration, int(np.ceil(duration * rate)) + 1)
    x = (t / duration)[:, None]
    q = q_a + (q_b - q_a) * x**3 * (10.0 - 15.0 * x + 6.0 * x * x)
    return t, q, (q_b - q_a) * 30.0 * x**2 * (1.0 - x) ** 2 / duration


def _limits(velocity: ndarray, acceleration: ndarray, jerk: ndarray, share: float) -> tuple[ndarray, ndarray, ndarray]:
    if not 0.0 < share <= 1.0:
        raise InvalidInput(f"share of the limits is {share}, expected a number in (0, 1]")
    for what, limit in (("speed", velocity), ("acceleration", acceleration), ("jerk", jerk)):
        if not (limit.shape == velocity.shape and np.isfinite(limit).all() and (limit > 0.0).all()):
            raise InvalidInput(f"{what} limits are {limit}, expected {velocity.shape[0]} finite numbers > 0")
    return share * velocity, share * acceleration, share * jerk


def _check(t: ndarray, q: ndarray, limits: tuple[ndarray, ndarray, ndarray], rate: float) -> None:
    if len(t) < 2 or q.shape != (len(t), len(limits[0])):
        raise InvalidInput(
            f"a path needs two or more samples of {len(limits[0])} joints, got {len(t)} times and joints {q.shape}"
        )
    if not (np.isfinite(t).all() and np.isfinite(q).all()):
        bad = int(np.argmin(np.isfinite(t) & np.isfinite(q).all(axis=1)))
        raise InvalidInput(f"path sample {bad} is not finite: t = {t[bad]}, q = {q[bad]}")
    if not (np.diff(t) > 0.0).all():
        bad = int(np.argmin(np.diff(t)))
        raise InvalidInput(f"path times must increase, but sample {bad} is at {t[bad]} s and the next at {t[bad + 1]} s")
    if not 0.0 < rate < np.inf:
        raise InvalidInput(f"rate is {rate}, expected a number of samples a second > 0")


def _stretched(t: ndarray, q: ndarray, velocity: ndarray) -> ndarray:
    """Path parameter of the samples (T,): their times, moved apart where a step alone would pass the speed limit."""
    step, h = np.abs(np.diff(q, axis=0)), np.diff(t)
    jump = _haste(t, q, velocity)
    if not jump.max() <= JUMP_SPEED:
        k, joint = divmod(int(np.argmax(jump)), jump.shape[1])
        raise InvalidInput(
            f"the path jumps after sample {k} (t = {t[k]:.2f} s): joint {joint} moves {step[k, joint]:.2f} rad in "
            f"{1e3 * h[k]:.0f} ms, {jump[k, joint]:.0f} times its speed limit (at most {JUMP_SPEED:.0f} times is slowed down); "
            "insert a transition there (timing.blend), or keep the hand target within reach: move the mount with --mount or "
            "choose the other robot"
        )
    return np.concatenate([[0.0], np.cumsum(np.maximum(h, (step / velocity).max(axis=1)))])


def jumps(t: Float[ndarray, "T"], q: Float[ndarray, "T J"], velocity: Float[ndarray, "J"]) -> Bool[ndarray, "T-1"]:
    """Steps that `time_parametrised` refuses, with speed limits [rad/s] of which a share is used."""
    return np.asarray((_haste(t, q, velocity) > JUMP_SPEED).any(axis=1))


def _haste(t: ndarray, q: ndarray, velocity: ndarray) -> ndarray:
    """Speed that a step asks for over its limit (T-1, J); 0 for steps that are small."""
    step = np.abs(np.diff(q, axis=0))
    return np.where(step > JUMP, step / (velocity * np.diff(t)[:, None]), 0.0)


def _graded(s: ndarray, q: ndarray) -> tuple[ndarray, ndarray]:
    """Samples with points on the straight line between them wherever an interval is far longer than its neighbour.

    A cubic spline swings out on a long interval beside short ones, by its curvature there times the square of its length.
    """
    most = np.diff(s)
    for k in range(1, len(most)):
        most[k] = min(most[k], GRADE * most[k - 1])
    for k in range(len(most) - 2, -1, -1):
        most[k] = min(most[k], GRADE * most[k + 1])
    dense = [s]
    for wide in np.flatnonzero(np.diff(s) > 1.001 * most):
        left, right = (most[i] if 0 <= i < len(most) else np.inf for i in (wide - 1, wide + 1))
        dense.append(_graded_inside(s[wide], s[wide + 1], left, right))
    new = np.sort(np.concatenate(dense))
    return new, np.column_stack([np.interp(new, s, column) for column in q.T])


def _swinging(path: CubicSpline, lower: ndarray, upper: ndarray) -> ndarray:
    """Intervals of the spline (N,) inside of which a joint is beyond its bounds."""
    found = []
    for joint, turns in enumerate(path.derivative().roots(extrapolate=False)):
        turns = turns[np.isfinite(turns)]  # an interval at rest is a NaN
        q = path(turns)[:, joint]
        found.append(np.searchsorted(path.x, turns[(q < lower[joint]) | (q > upper[joint])], side="right") - 1)
    return np.unique(np.clip(np.concatenate(found), 0, len(path.x) - 2))


def _tightened(path: CubicSpline, intervals: ndarray) -> CubicSpline:
    """The spline with two more points on the straight line in these intervals and in their neighbours: tangents are shared."""
    wide = np.unique(np.clip(intervals[:, None] + np.arange(-1, 2), 0, len(path.x) - 2))
    x, h = path.x, np.diff(path.x)
    new = np.sort(np.concatenate([x, x[wide] + h[wide] / 3.0, x[wide] + 2.0 * h[wide] / 3.0]))
    q = np.column_stack([np.interp(new, x, column) for column in path(x).T])
    return CubicSpline(*_graded(new, q), axis=0, bc_type="natural")


def _graded_inside(start: float, end: float, left: float, right: float) -> ndarray:
    """Points between `start` and `end` whose distances grow by at most `GRADE` from neighbours `left` and `right` long."""
    low, high, inner = start, end, []
    while True:
        step, from_left = min((GRADE * left, True), (GRADE * right, False))
        if 2.0 * step >= high - low:
            break
        if from_left:
            low, left = low + step, step
            inner.append(low)
        else:
            high, right = high - step, step
            inner.append(high)
    return np.array(inner)


def _grid(path: CubicSpline) -> Grid:
    length = float(path.x[-1])
    ramp = min(RAMP, length)
    knots = _bent_inverse(path.x, length, ramp)
    parts = np.maximum(2, np.ceil(np.diff(knots) / (PIECE * ramp / RAMP))).astype(int)
    at = np.concatenate([[0], np.cumsum(parts)])
    u = np.interp(np.arange(at[-1] + 1), at, knots)
    middle = 0.5 * (u[:-1] + u[1:])
    s, p1, p2, _ = _bent(u, u, length, ramp)
    p3 = np.stack([_bent(x, middle, length, ramp)[3] for x in (u[:-1], u[1:])], axis=1)[..., None]
    q1, q2, q3 = path(s, 1), path(s, 2), path(_bent(middle, middle, length, ramp)[0], 3)

    def ends(x: ndarray) -> ndarray:
        return np.stack([x[:-1], x[1:]], axis=1)

    p1, p2 = p1[:, None], p2[:, None]
    d3 = q3[:, None] * ends(p1) ** 3 + 3.0 * ends(q2 * p1 * p2) + ends(q1) * p3
    return Grid(u, p1[:, 0], path(s), q1 * p1, q2 * p1**2 + q1 * p2, d3, at)


def _bent(u: ndarray, inside: ndarray, length: float, ramp: float) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """s = phi(u) and its derivatives, of the piece of phi that holds `inside`.

    With x = u / ramp, phi' = x^2 (3 - 2 x) at the start; it is 1 in between, and mirrored at the end.
    """
    total = length + ramp
    first = inside <= 0.5 * total
    near, sign = np.where(first, u, total - u), np.where(first, 1.0, -1.0)
    x = np.clip(near / ramp, 0.0, 1.0)
    bent = np.where(first, inside, total - inside) < ramp
    s = np.where(bent, ramp * x**3 * (1.0 - 0.5 * x), near - 0.5 * ramp)
    p2 = np.where(bent, sign * 6.0 * x * (1.0 - x) / ramp, 0.0)
    p3 = np.where(bent, (6.0 - 12.0 * x) / ramp**2, 0.0)
    return np.where(first, s, length - s), x * x * (3.0 - 2.0 * x), p2, p3


def _bent_inverse(s: ndarray, length: float, ramp: float) -> ndarray:
    """u with phi(u) = s, by bisection where phi is bent."""
    near = np.minimum(s, length - s)
    low, high = np.zeros_like(s), np.ones_like(s)
    for _ in range(60):
        x = 0.5 * (low + high)
        above = ramp * x**3 * (1.0 - 0.5 * x) > near
        low, high = np.where(above, low, x), np.where(above, x, high)
    u = np.where(near < 0.5 * ramp, np.where(near <= 0.0, 0.0, ramp * high), near + 0.5 * ramp)
    return np.where(s <= 0.5 * length, u, length + ramp - u)


def _within(grid: Grid, limits: tuple[ndarray, ndarray, ndarray]) -> ndarray:
    """Coefficients of b for which the finished trajectory, too, keeps its limits.

    They are imposed at grid points; where the trajectory passes them in between, they are tightened and b is found again.
    What is left after that, mostly below one per cent, is taken out by slowing the whole trajectory down.
    """
    tight, b = np.full(len(grid.u) - 1, MARGIN), None
    for _ in range(ROUNDS):
        b = fastest(grid, limits, tight, b)
        need = _slower(_motion(grid, b), limits)
        if need.max() <= 1.0:
            return b
        near = np.maximum.reduce([need, np.append(need[1:], 0.0), np.append(0.0, need[:-1])])
        tight = np.where(near > 1.0, tight / (1.002 * near), tight)
    assert b is not None
    return b / (1.001 * need.max()) ** 2


def _motion(grid: Grid, c: ndarray) -> PPoly:
    """The timed path: quintic pieces with the path's position, velocity and acceleration at every grid point."""
    h = np.diff(grid.u)
    w = np.concatenate([h[:1], h, h[-1:]])
    b = (c[:-1] * w[1:] + c[1:] * w[:-1]) / (w[:-1] + w[1:])
    a = np.diff(c) / (w[:-1] + w[1:])
    x, weight = np.polynomial.legendre.leggauss(5)
    x = 0.5 * h[:, None] * (x + 1.0)
    inside = b[:-1, None] + 2.0 * a[:-1, None] * x + (np.diff(a) / h)[:, None] * x * x
    clock = np.concatenate([[0.0], np.cumsum(0.5 * h * (inside**-0.5 @ weight))])
    v, acc = grid.d1 * np.sqrt(b)[:, None], grid.d2 * b[:, None] + grid.d1 * a[:, None]
    T = np.diff(clock)[:, None]
    q0, v0, a0 = grid.q[:-1], v[:-1], acc[:-1]
    dq = grid.q[1:] - q0 - v0 * T - 0.5 * a0 * T**2
    dv = (v[1:] - v0 - a0 * T) * T
    da = (acc[1:] - a0) * T**2
    c3, c4, c5 = 10.0 * dq - 4.0 * dv + 0.5 * da, -15.0 * dq + 7.0 * dv - da, 6.0 * dq - 3.0 * dv + 0.5 * da
    return PPoly(np.stack([c5 / T**5, c4 / T**4, c3 / T**3, 0.5 * a0, v0, q0]), clock)


def _slower(motion: PPoly, limits: tuple[ndarray, ndarray, ndarray]) -> ndarray:
    """How many times slower each piece (N,) must be to keep its limits; measured on a fine grid and at the pieces' ends.

    Slower by a factor divides the speed by it, the acceleration by its square, and the jerk by its cube.
    """
    clock = motion.x
    fine = np.linspace(0.0, clock[-1], int(np.ceil(clock[-1] * FINE)) + 1)
    points = np.concatenate([fine, clock[:-1], np.nextafter(clock[1:], 0.0)])
    ratios = [(np.abs(motion(points, k)) / limits[k - 1]).max(axis=1) ** (1.0 / k) for k in (1, 2, 3)]
    piece = np.clip(np.searchsorted(clock, points, side="right") - 1, 0, len(clock) - 2)
    need = np.zeros(len(clock) - 1)
    np.maximum.at(need, piece, np.maximum.reduce(ratios))
    return need
