"""Smoothing of a whole path while the hand stays exact: what the redundant arm may do freely is optimised over time.

At every frame the joint change splits into the part that the hand dictates and the one along the arm's self-motion. The
latter, one number a frame for a seven-joint arm, is found for all frames at once: Gauss-Newton on the limbs' directions,
the squared third difference of the joints (jerk) and the nearness to limits, which couple four neighbouring frames, so
that the normal equations are banded and cost is linear in frames. Then the hand is made exact again, and so on. Arms
without redundancy have nothing to smooth: their hand fixes every joint. An arm whose capsules overlap pays for that, and no
step folds it into itself.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float
from numba import njit
from numpy import ndarray

from visual_irl.mapping.hand_first import NO_STEPS, Pull, add_limb, hand_first, self_motion, work_of
from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots.chain import INSIDE, forward, tool_jacobian
from visual_irl.robots.self_collision import OVERLAP, clearance
from visual_irl.robots.solutions import Solver

BAND = 3
"""A third difference couples a frame with three others."""
TOLERANCE = 1e-7
"""Hand error at which a frame is exact [m]."""
FINISH = np.int64(8)
"""Most steps that make a frame's hand exact again."""
FIXED = 1e9
"""Curvature of a frame that must not move."""
DAMPING, STRAIN, STIFFEST = 1e-4, 30.0, 100.0
"""Least damping added to every frame's own curvature, by what it grows with a round that went too far, and where that ends."""
ASIDE = 1e-4
"""Self-motion by which it is told how the arm's overlap changes [rad]."""
ENOUGH = 1e-4
"""Relative gain of a round below which the path is smooth enough."""


class SmoothCosts(NamedTuple):
    """Weights of what makes a smooth path good."""

    upper: float = 1.0
    """Upper arm's direction against the human's, per unit of squared difference."""
    fore: float = 1.0
    """Forearm's direction, likewise."""
    jerk: float = 10.0
    """Squared third difference of the joints at 60 frames a second, per rad^2."""
    fast: float = 1000.0
    """Joint steps beyond `step`, per rad^2 beyond it."""
    step: float = 0.18
    """Joint step between two frames above which a path is hurried [rad]."""
    limit: float = 10.0
    """Nearness to a joint limit, per rad^2 inside the zone."""
    zone: float = 0.1
    """Distance from a joint limit below which it costs [rad]."""
    fold: float = 3000.0
    """Overlap of the arm's capsules, per m^2."""
    haste: float = 0.0
    """Joint speeds and accelerations beyond a pace, per squared relative excess."""
    iterations: int = 20
    """Gauss-Newton rounds."""
    reach: float = 0.15
    """Largest self-motion of a frame in a round [rad]."""


def smoothed(
    solver: Solver,
    targets: ArmTargets,
    q: Float[ndarray, "T J"],
    joined: Bool[ndarray, "T"],
    costs: SmoothCosts,
    fixed: int = 0,
    stands: Bool[ndarray, "T"] | None = None,
    pace: Float[ndarray, "2 J"] | None = None,
) -> Float[ndarray, "T J"]:
    """The path with its self-motion smoothed; `joined` is true where a frame continues the one before it, `stands` where the
    whole arm is at rest. `pace` are speeds [rad/s] and accelerations [rad/s^2] beyond which the arm is hasty.

    Every frame must be exact on entry, and is on return. The first `fixed` frames stay as they are, and the arm meets itself
    in no frame in which it did not before.
    """
    if len(solver.chain.p) != 7 or len(q) < 4:
        return q
    h = targets.interval()
    scaled = costs._replace(jerk=costs.jerk / (60.0 * h) ** 6)
    out, work, held = np.array(q), work_of(solver.chain), np.arange(len(q)) < fixed
    stands = np.zeros(len(q), bool) if stands is None else stands
    pace = np.full((2, q.shape[1]), np.inf) if pace is None else pace * np.array([[h], [h * h]])
    _smooth(solver, work, targets.R, targets.p, targets.upper, targets.fore, joined, stands, scaled, pace, held, out)
    return out


@njit(**INSIDE)
@no_type_check
def _overlap(solver, work, q):
    """By how much the arm's capsules overlap at `q` (J,) [m]; negative, and no less than -`OVERLAP`, where they do not."""
    forward(solver.chain, q, work.pose)
    return -clearance(solver.capsules, work.pose, OVERLAP, -np.inf)


@njit(cache=True, nogil=True)
@no_type_check
def _smooth(solver, work, R, p, upper, fore, joined, stands, costs, pace, held, q):
    """Gauss-Newton rounds on `q` (T, J) in place, but for the frames that are held; the best path met is kept. A round that
    went too far is repeated with more damping (Levenberg 1944)."""
    chain, (frames, joints) = solver.chain, q.shape
    overlap = np.array([_overlap(solver, work, row) for row in q])
    most, kept_overlap = np.maximum(overlap, OVERLAP), overlap.copy()
    free, along = np.zeros((frames, joints)), np.zeros((frames, joints))
    band, rhs = np.zeros((frames, BAND + 1)), np.zeros(frames)
    normal, slope = band.copy(), rhs.copy()
    best, kept, damping = np.inf, q.copy(), DAMPING
    pull = Pull(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    zero, third, steps = np.zeros(joints), np.zeros(joints), np.full((2, joints), np.inf)
    steps[0] = costs.step
    for _ in range(costs.iterations + 1):
        band[:] = 0.0
        rhs[:] = 0.0
        total = 0.0
        for t in range(frames):
            total += _frame_terms(
                solver, work, R[t], p[t], upper[t], fore[t], costs, q[t], overlap[t], free[max(t - 1, 0)], free[t], band, rhs, t
            )
        total += _difference_terms(joined, stands, costs, q, free, band, rhs, third)
        total += _haste_terms(joined, costs.fast * costs.step**2, steps, q, free, band, rhs)
        if costs.haste > 0.0:
            total += _haste_terms(joined, costs.haste, pace, q, free, band, rhs)
        if total < best:
            gained = best - total
            best = total
            kept[:], kept_overlap[:] = q, overlap
            normal[:], slope[:], along[:] = band, rhs, free
            damping = max(damping / STRAIN, DAMPING)
            if gained < ENOUGH * total:
                break
        else:
            damping *= STRAIN
            if damping > STIFFEST:
                break
        band[:], rhs[:] = normal, slope
        for t in range(frames):
            band[t, 0] += FIXED if held[t] else damping
        _solve_banded(band, rhs)
        for t in range(frames):
            if held[t]:
                q[t], overlap[t] = kept[t], kept_overlap[t]
                continue
            s = min(max(rhs[t], -costs.reach), costs.reach)
            for _ in range(5):
                for j in range(joints):
                    q[t, j] = min(max(kept[t, j] + s * along[t, j], chain.lower[j]), chain.upper[j])
                if (
                    hand_first(
                        chain,
                        work,
                        q[t],
                        R[t],
                        p[t],
                        upper[t],
                        fore[t],
                        zero,
                        pull,
                        chain.lower,
                        chain.upper,
                        NO_STEPS,
                        FINISH,
                        TOLERANCE,
                    )
                    < TOLERANCE
                ):
                    overlap[t] = _overlap(solver, work, q[t])
                    if overlap[t] <= most[t]:
                        break
                s *= 0.5
            else:
                q[t], overlap[t] = kept[t], kept_overlap[t]
    q[:] = kept


@njit(**INSIDE)
@no_type_check
def _frame_terms(solver, work, R, p, u, f, costs, q, overlap, before, free, band, rhs, t):
    """Cost of a frame by itself, with the arm's overlap at it [m]; fills its self-motion and adds to the normal equations."""
    chain, joints = solver.chain, len(q)
    forward(chain, q, work.pose)
    tool_jacobian(work.pose, work.J)
    self_motion(work, before, free)
    for j in range(joints):
        work.g[j] = 0.0
        for k in range(j + 1):
            work.H[j, k] = 0.0
    total = 0.0
    for limb, target, weight in ((0, u, costs.upper), (1, f, costs.fore)):
        if target[0] == 0.0 and target[1] == 0.0 and target[2] == 0.0:
            continue
        add_limb(chain, work, limb, target, weight)
        for r in range(3):
            total += weight * (work.d[r] - target[r]) ** 2
    for j in range(joints):
        low, high = q[j] - chain.lower[j] - costs.zone, chain.upper[j] - costs.zone - q[j]
        if low < 0.0 or high < 0.0:
            d = low if low < 0.0 else -high
            total += costs.limit * d * d
            work.g[j] += costs.limit * d
            work.H[j, j] += costs.limit
    curvature, slope = 0.0, 0.0
    for j in range(joints):
        slope += free[j] * work.g[j]
        for k in range(joints):
            curvature += free[j] * free[k] * (work.H[j, k] if k <= j else work.H[k, j])
    if overlap > 0.0:
        for j in range(joints):
            work.dq[j] = q[j] + ASIDE * free[j]
        grows = (_overlap(solver, work, work.dq) - overlap) / ASIDE
        total += costs.fold * overlap * overlap
        slope += costs.fold * overlap * grows
        curvature += costs.fold * grows * grows
    band[t, 0] += curvature
    rhs[t] -= slope
    return total


@njit(**INSIDE)
@no_type_check
def _difference_terms(joined, stands, costs, q, free, band, rhs, third):
    """Cost of third differences over frames that are joined; to those on either side of a frame in which the arm stands it has
    stood, and will stand, there for ever. Adds to the normal equations."""
    frames, joints = q.shape
    c = (-1.0, 3.0, -3.0, 1.0)
    total, a = 0.0, 0
    while a < frames - 1:
        b = a
        while b + 1 < frames and joined[b + 1] and (b == a or not stands[b]):
            b += 1
        for t in range(a - 2 if stands[a] else a, b if stands[b] else b - 2):
            for j in range(joints):
                third[j] = 0.0
                for i in range(4):
                    third[j] += c[i] * q[min(max(t + i, a), b), j]
                total += costs.jerk * third[j] * third[j]
            for i in range(4):
                m = min(max(t + i, a), b)
                for j in range(joints):
                    rhs[m] -= costs.jerk * c[i] * free[m, j] * third[j]
                for k in range(4):
                    n = min(max(t + k, a), b)
                    if n <= m:
                        for j in range(joints):
                            band[m, m - n] += costs.jerk * c[i] * c[k] * free[m, j] * free[n, j]
        a = b if b > a and b + 1 < frames and joined[b + 1] else b + 1
    return total


@njit(**INSIDE)
@no_type_check
def _haste_terms(joined, weight, pace, q, free, band, rhs):
    """Cost of first and second differences of joined frames beyond `pace` (2, J), `weight` times their squared relative
    excess; adds to the normal equations."""
    frames, joints = q.shape
    total = 0.0
    for t in range(1, frames):
        for order in range(1, 3):
            if t < order or not (joined[t] and (order == 1 or joined[t - 1])):
                continue
            c = (1.0, -1.0, 0.0) if order == 1 else (1.0, -2.0, 1.0)
            for j in range(joints):
                most, d = pace[order - 1, j], 0.0
                for i in range(order + 1):
                    d += c[i] * q[t - i, j]
                over = abs(d) / most - 1.0
                if not over > 0.0:
                    continue
                total += weight * over * over
                slope, curvature = weight * (over if d > 0.0 else -over) / most, weight / (most * most)
                for i in range(order + 1):
                    rhs[t - i] -= slope * c[i] * free[t - i, j]
                    for k in range(i, order + 1):
                        band[t - i, k - i] += curvature * c[i] * c[k] * free[t - i, j] * free[t - k, j]
    return total


@njit(**INSIDE)
@no_type_check
def _solve_banded(band, rhs):
    """Solve the symmetric positive definite system whose lower band is `band` (T, 4) in place; the solution is in `rhs`."""
    frames = len(rhs)
    for t in range(frames):
        for k in range(min(t, BAND), 0, -1):
            s = band[t, k]
            for m in range(k + 1, min(t, BAND) + 1):
                if m - k <= BAND:
                    s -= band[t, m] * band[t - k, m - k]
            band[t, k] = s / band[t - k, 0]
        s = band[t, 0]
        for m in range(1, min(t, BAND) + 1):
            s -= band[t, m] * band[t, m]
        band[t, 0] = np.sqrt(max(s, 1e-14))
    for t in range(frames):
        s = rhs[t]
        for m in range(1, min(t, BAND) + 1):
            s -= band[t, m] * rhs[t - m]
        rhs[t] = s / band[t, 0]
    for t in range(frames - 1, -1, -1):
        s = rhs[t]
        for m in range(1, min(frames - 1 - t, BAND) + 1):
            s -= band[t + m, m] * rhs[t + m]
        rhs[t] = s / band[t, 0]
