"""Hand-first inverse kinematics, compiled: the hand as a constraint, the arm's likeness to the human's as the objective.

A step minimises a quadratic model of the limb, posture and rest costs (Gauss-Newton) subject to the linearised hand
(null-space method through the Schur complement of the KKT system; Nocedal and Wright 2006, section 16.2). Joints that
would leave their box are fixed at its wall and the step is solved again for the others, so the box holds in every
iterate. The hand's equations are damped (Levenberg 1944), which keeps steps finite at singularities and out of reach.
Nothing is allocated: all buffers live in `Work`.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.robots.chain import (
    INNERMOST,
    INSIDE,
    LEAN,
    Chain,
    Pose,
    forward,
    limb_jacobian,
    limb_point,
    pose_of,
    solve_hand,
    tool_error,
    tool_jacobian,
)

DAMPING = 1e-8
"""Damping of the hand's equations where they can be met, in units of the joints' metric."""
STEP = 0.35
"""Largest joint change of one step [rad]."""
ANGLE_LENGTH = 0.3
"""Length that makes a hand's turn comparable to its way [m/rad]."""


class Pull(NamedTuple):
    """Weights of what the arm is drawn to besides the hand."""

    upper: float
    """Upper arm along the human's, per unit of squared difference of directions."""
    fore: float
    """Forearm along the human's."""
    posture: float
    """Joints towards a posture, per rad^2."""
    limit: float
    """Joints out of the zone at their limits, per rad^2 inside it."""
    zone: float
    """Width of that zone [rad]."""
    turn: float
    """The joint that turns the upper arm about itself, if there is one, out of the outer parts of its range, per rad^2 inside
    them: at its end an arm cannot swing its elbow on, and does not get away from there while the hand moves."""
    turn_zone: float
    """Width of these parts [rad]."""
    rest: float
    """Joints towards where the step began, per rad^2: the metric in which a step is smallest."""


class Work(NamedTuple):
    """Buffers of one solver; one a thread."""

    pose: Pose
    J: ndarray
    """(6, J) hand Jacobian."""
    Jl: ndarray
    """(3, J) Jacobian of one limb point."""
    Jm: ndarray
    """(3, J) Jacobian of the other limb point."""
    e: ndarray
    """(6,) hand error."""
    H: ndarray
    """(J, J) Gauss-Newton matrix, in its lower half."""
    g: ndarray
    """(J,) gradient."""
    S: ndarray
    """(6, 6) Schur complement, then its Cholesky factor."""
    L: ndarray
    """(J, J) Cholesky factor of H."""
    scale: ndarray
    """(J,) one over its diagonal."""
    Y: ndarray
    """(J, 7) L^-1 J^T and L^-1 g."""
    dq: ndarray
    """(J,) step."""
    fixed: ndarray
    """(J,) joints held at a wall."""
    a: ndarray
    """(3,) point."""
    b: ndarray
    """(3,) point."""
    m: ndarray
    """(6,) multipliers of the hand's equations."""
    kept: ndarray
    """(J,) best angles so far."""
    d: ndarray
    """(3,) direction."""


def work_of(chain: Chain) -> Work:
    """Buffers for an arm."""
    n = len(chain.p)
    return Work(
        pose_of(chain), np.zeros((6, n)), np.zeros((3, n)), np.zeros((3, n)), np.zeros(6), np.zeros((n, n)), np.zeros(n),
        np.zeros((6, 6)), np.zeros((n, n)), np.zeros(n), np.zeros((n, 7)), np.zeros(n), np.zeros(n, np.bool_), np.zeros(3),
        np.zeros(3), np.zeros(6), np.zeros(n), np.zeros(3),
    )  # fmt: skip


@njit(**LEAN)
@no_type_check
def limb_direction(chain: Chain, work: Work, limb: int, out: ndarray) -> float:
    """Fill `out` (3,) with the unit direction of the upper arm (0) or forearm (1); returns its length [m].

    `work.pose` must hold the arm's pose. `work.a` and `work.b` are left at the limb's ends.
    """
    limb_point(chain, work.pose, limb, work.a)
    limb_point(chain, work.pose, limb + 1, work.b)
    length = 0.0
    for r in range(3):
        out[r] = work.b[r] - work.a[r]
        length += out[r] * out[r]
    length = max(np.sqrt(length), 1e-12)
    for r in range(3):
        out[r] /= length
    return length


@njit(**LEAN)
@no_type_check
def angle_of(u: ndarray, v: ndarray) -> float:
    """Angle between two unit vectors [rad]."""
    c0, c1, c2 = u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]
    return np.arctan2(np.sqrt(c0 * c0 + c1 * c1 + c2 * c2), u[0] * v[0] + u[1] * v[1] + u[2] * v[2])


@njit(**LEAN)
@no_type_check
def add_limb(chain: Chain, work: Work, limb: int, target: ndarray, weight: float) -> None:
    """Add the Gauss-Newton terms of a limb's direction to `work.H` and `work.g`."""
    n = work.g.shape[0]
    d = work.d
    length = limb_direction(chain, work, limb, d)
    limb_jacobian(chain, work.pose, limb, work.a, work.Jl)
    limb_jacobian(chain, work.pose, limb + 1, work.b, work.Jm)
    for j in range(n):
        v0, v1, v2 = work.Jm[0, j] - work.Jl[0, j], work.Jm[1, j] - work.Jl[1, j], work.Jm[2, j] - work.Jl[2, j]
        along = v0 * d[0] + v1 * d[1] + v2 * d[2]
        work.Jl[0, j] = (v0 - along * d[0]) / length
        work.Jl[1, j] = (v1 - along * d[1]) / length
        work.Jl[2, j] = (v2 - along * d[2]) / length
    for j in range(n):
        for r in range(3):
            work.g[j] += weight * work.Jl[r, j] * (d[r] - target[r])
        for k in range(j + 1):
            dot = work.Jl[0, j] * work.Jl[0, k] + work.Jl[1, j] * work.Jl[1, k] + work.Jl[2, j] * work.Jl[2, k]
            work.H[j, k] += weight * dot


@njit(**INSIDE)
@no_type_check
def _add_limits(chain, work, q, j, weight, zone):
    """Add the terms of joint `j` in the zone at its limits to `work.H` and `work.g`."""
    low, high = q[j] - chain.lower[j] - zone, chain.upper[j] - zone - q[j]
    if low < 0.0:
        work.H[j, j] += weight
        work.g[j] += weight * low
    elif high < 0.0:
        work.H[j, j] += weight
        work.g[j] -= weight * high


@njit(**INNERMOST)
@no_type_check
def constrained_step(work: Work, q: ndarray, lower: ndarray, upper: ndarray, damping: float, rest: float) -> None:
    """Fill `work.dq` from `work.H` (lower half), `work.g`, `work.J` and `work.e`; the box [lower, upper] holds for q + dq.

    A positive `rest` says that H is that multiple of the identity and g zero: the hand alone is stepped to.

    With L the Cholesky factor of H and Y = L^-1 [J^T, g], the Schur complement is Y^T Y, and one back substitution gives the
    step. A joint at its wall has no row in either, so that nothing has to be asked in the loops.
    """
    n = q.shape[0]
    L, Y, S, m = work.L, work.Y, work.S, work.m
    for j in range(n):
        work.fixed[j] = False
        work.dq[j] = 0.0
    for _ in range(min(n, 3)):
        _whiten(work, rest)
        for r in range(6):
            s = work.e[r]
            for j in range(n):
                s += Y[j, r] * Y[j, 6]
                if work.fixed[j]:
                    s -= work.J[r, j] * work.dq[j]
            m[r] = s
            for c in range(r + 1):
                s = damping if r == c else 0.0
                for j in range(n):
                    s += Y[j, r] * Y[j, c]
                S[r, c] = s
        solve_hand(S, m)
        longest = 0.0
        for j in range(n - 1, -1, -1):
            if work.fixed[j]:
                continue
            s = -Y[j, 6]
            for r in range(6):
                s += Y[j, r] * m[r]
            if rest <= 0.0:
                for k in range(j + 1, n):
                    if not work.fixed[k]:
                        s -= L[k, j] * work.dq[k]
            s *= work.scale[j]
            work.dq[j] = s
            longest = max(longest, abs(s))
        shrink = min(1.0, STEP / max(longest, 1e-12))
        crossed, free = False, False
        for j in range(n):
            if work.fixed[j]:
                continue
            work.dq[j] *= shrink
            if q[j] + work.dq[j] > upper[j] + 1e-12:
                work.dq[j] = upper[j] - q[j]
                work.fixed[j] = True
                crossed = True
            elif q[j] + work.dq[j] < lower[j] - 1e-12:
                work.dq[j] = lower[j] - q[j]
                work.fixed[j] = True
                crossed = True
            else:
                free = True
        if not crossed or not free:
            return


@njit(**INNERMOST)
@no_type_check
def _whiten(work, rest):
    """Fill `work.L`, one over its diagonal, and `work.Y`; rows of fixed joints are zero."""
    n = len(work.g)
    L, Y, scale = work.L, work.Y, work.scale
    for j in range(n):
        if work.fixed[j]:
            scale[j] = 0.0
            for c in range(7):
                Y[j, c] = 0.0
            for k in range(j):
                L[j, k] = 0.0
            continue
        for c in range(6):
            Y[j, c] = work.J[c, j]
        Y[j, 6] = work.g[j]
        if rest > 0.0:
            scale[j] = 1.0 / np.sqrt(rest)
        else:
            s = work.H[j, j]
            for k in range(j):
                d = work.H[j, k]
                for i in range(k):
                    d -= L[j, i] * L[k, i]
                d *= scale[k]
                L[j, k] = d
                s -= d * d
                for c in range(7):
                    Y[j, c] -= d * Y[k, c]
            scale[j] = 1.0 / np.sqrt(max(s, 1e-14))
        for c in range(7):
            Y[j, c] *= scale[j]


NO_STEPS = np.int64(0)
"""No steps of a kind, for `hand_first`. numba would compile it anew for each plain number that compiled code calls it with."""


@njit(**LEAN)
@no_type_check
def hand_first(
    chain: Chain,
    work: Work,
    q: ndarray,
    R: ndarray,
    p: ndarray,
    u: ndarray,
    f: ndarray,
    posture: ndarray,
    pull: Pull,
    lower: ndarray,
    upper: ndarray,
    pulling: int,
    finishing: int,
    tolerance: float,
) -> float:
    """Move `q` (J,) in place to the hand pose (`R`, `p`): `pulling` steps with the pulls, then `finishing` for the hand alone.

    Returns the hand's error: metres plus `ANGLE_LENGTH` times radians. Stops finishing below `tolerance`. The box
    [lower, upper] holds throughout. When the hand cannot be met, the damping grows and `q` ends at the nearest pose found.
    """
    n = q.shape[0]
    damping = DAMPING
    best = np.inf
    keep = work.kept
    for j in range(n):
        q[j] = min(max(q[j], lower[j]), upper[j])
    for i in range(pulling + finishing):
        forward(chain, q, work.pose)
        tool_error(work.pose, R, p, work.e)
        error = np.sqrt(work.e[0] ** 2 + work.e[1] ** 2 + work.e[2] ** 2)
        error += ANGLE_LENGTH * np.sqrt(work.e[3] ** 2 + work.e[4] ** 2 + work.e[5] ** 2)
        if i >= pulling:
            if error < best:
                gained = error < 0.7 * best
                best = error
                for j in range(n):
                    keep[j] = q[j]
                damping = damping * 0.1 if gained else damping * 3.0
                damping = min(max(damping, DAMPING), 1e-1)
            else:
                damping = min(damping * 30.0, 1e-1)
                if damping >= 1e-1 and i > pulling + 6:
                    break
            if best < tolerance or i == pulling + finishing - 1:  # where another step led would not be looked at
                break
        tool_jacobian(work.pose, work.J)
        if i < pulling:
            for j in range(n):
                work.g[j] = 0.0
                for k in range(j):
                    work.H[j, k] = 0.0
                work.H[j, j] = pull.rest
            add_limb(chain, work, 0, u, pull.upper)
            add_limb(chain, work, 1, f, pull.fore)
            for j in range(n):
                work.H[j, j] += pull.posture
                work.g[j] += pull.posture * (q[j] - posture[j])
                _add_limits(chain, work, q, j, pull.limit, pull.zone)
            for j in range(chain.carrier[0] + 1, chain.carrier[1]):  # between shoulder and elbow
                _add_limits(chain, work, q, j, pull.turn, pull.turn_zone)
            constrained_step(work, q, lower, upper, damping, 0.0)
        else:
            for j in range(n):
                work.g[j] = 0.0
            constrained_step(work, q, lower, upper, damping, pull.rest)
        for j in range(n):
            q[j] = min(max(q[j] + work.dq[j], lower[j]), upper[j])
    if finishing > 0:
        for j in range(n):
            q[j] = keep[j]
    return best


@njit(**LEAN)
@no_type_check
def self_motion(work: Work, before: ndarray, free: ndarray) -> None:
    """Fill `free` (J,) with the unit joint change that keeps the hand where it is: the null vector of `work.J` nearest to
    `before`, for an arm with one joint more than its hand needs."""
    joints = len(free)
    for r in range(6):
        for c in range(r + 1):
            s = 1e-10 if r == c else 0.0
            for j in range(joints):
                s += work.J[r, j] * work.J[c, j]
            for m in range(c):
                s -= work.S[r, m] * work.S[c, m]
            work.S[r, c] = s / work.S[c, c] if c < r else np.sqrt(max(s, 1e-14))
    for attempt in range(joints + 1):
        for j in range(joints):
            work.dq[j] = before[j] if attempt == 0 else (1.0 if j == attempt - 1 else 0.0)
        for r in range(6):
            s = 0.0
            for j in range(joints):
                s += work.J[r, j] * work.dq[j]
            for m in range(r):
                s -= work.S[r, m] * work.m[m]
            work.m[r] = s / work.S[r, r]
        for r in range(5, -1, -1):
            s = work.m[r]
            for m in range(r + 1, 6):
                s -= work.S[m, r] * work.m[m]
            work.m[r] = s / work.S[r, r]
        norm = 0.0
        for j in range(joints):
            s = work.dq[j]
            for r in range(6):
                s -= work.J[r, j] * work.m[r]
            free[j] = s
            norm += s * s
        norm = np.sqrt(norm)
        if norm > 0.2:
            break
    for j in range(joints):
        free[j] /= max(norm, 1e-12)
