"""The ideal arm of the online mapper: where the arm would be without inertia.

It takes the hand exactly by a few hand-first steps from where it was, drawn to what its pulls say; where these draw it off the
hand, or into itself, its step is taken again for the hand alone. Where its branch ends it lands on the best of all solutions.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from visual_irl.mapping.branch_change import change_branch
from visual_irl.mapping.branch_sweep import leave_branch
from visual_irl.mapping.branch_watch import watch_branches, watched
from visual_irl.mapping.commanded_arm import CHANGED, NEARLY, gap_at, gap_of
from visual_irl.mapping.hand_first import NO_STEPS, hand_first, self_motion
from visual_irl.mapping.prior import JOINTS
from visual_irl.robots.chain import INSIDE, tool_jacobian
from visual_irl.robots.self_collision import OVERLAP

ATTEMPTS, AGAIN = 5, np.int64(4)
"""How often a branch is tried again, and with how many steps."""
PROGRESS = 0.3
"""Share of the hand's error, in the frame before if that missed its target, that may be left for another time."""
SLIDES, FARTHEST = 2, 0.15
"""How often an arm that meets itself is moved along its self-motion, and how far at most each time [rad]."""
ASIDE, FLAT, ROOM = 0.01, 1e-3, 0.002
"""The turn by which it is told how that changes its distance to itself [rad], the least change that is believed [m/rad], and
how much more than it must it shall then have [m]."""


@njit(**INSIDE)
@no_type_check
def follow_ideal(solver, work, state, sweep, pull, costs, steadiness, pulling, finishing, tolerance, dt):
    """Take the ideal arm to the target, changing its branch where that ends; returns whether the hand is there, and the arm's
    distance to itself [m]."""
    joints = len(state.q)
    chain, before = solver.chain, state.before
    for j in range(joints):
        before[j] = state.ideal[j]
        state.low[j] = max(chain.lower[j], before[j] - steadiness.stride)
        state.high[j] = min(chain.upper[j], before[j] + steadiness.stride)
    error = hand_first(
        chain, work, state.ideal, state.R, state.p, state.upper, state.fore, state.posture, pull, state.low, state.high,
        pulling, finishing, tolerance,
    )  # fmt: skip
    gap = gap_at(solver, work, state.ideal, error, tolerance)
    if joints == JOINTS and (error > tolerance or gap < -OVERLAP):  # what it is drawn to may have taken it there
        error, gap = _without_pulls(solver, work, state, pull, finishing, tolerance)
    last = state.figures[1] if state.figures[1] > NEARLY * tolerance else np.inf
    for _ in range(ATTEMPTS):  # farther and longer before the branch is given up, as long as that leads somewhere
        if error <= tolerance or error > PROGRESS * last:
            break
        last = error
        error = hand_first(
            chain, work, state.ideal, state.R, state.p, state.upper, state.fore, state.posture, pull, chain.lower,
            chain.upper, NO_STEPS, AGAIN, tolerance,
        )  # fmt: skip
        gap = gap_at(solver, work, state.ideal, error, tolerance)
    here = error <= NEARLY * tolerance and gap >= -OVERLAP
    if watched(solver) and watch_branches(solver, work, state, costs, here, dt):
        error, gap = 0.0, gap_of(solver, work, state.ideal)
    elif not here or _left(solver, state):
        if not watched(solver) and change_branch(solver, work, state, costs, here):
            error, gap, sweep.figures[4] = 0.0, gap_of(solver, work, state.ideal), 1.0
        elif error > tolerance:
            error = _approach(solver, work, state, pull, steadiness.approach if not here else np.inf, tolerance)
            gap = gap_of(solver, work, state.ideal)
    elif len(sweep.totals) and leave_branch(solver, work, state, sweep, costs, dt):
        error, gap = 0.0, gap_of(solver, work, state.ideal)
    state.figures[1] = error
    return error <= NEARLY * tolerance, gap


@njit(**INSIDE)
@no_type_check
def _without_pulls(solver, work, state, pull, finishing, tolerance):
    """Take the ideal arm to the target from where it was by steps for the hand alone; where it then meets itself, along its
    self-motion and out again (Newton on its distance to itself). Returns what is left of the hand's error, and that distance
    [m]."""
    chain, q = solver.chain, state.ideal
    for j in range(len(q)):
        q[j] = state.before[j]
    for turn in range(1 + SLIDES):
        error = hand_first(
            chain, work, q, state.R, state.p, state.upper, state.fore, state.posture, pull, state.low, state.high, NO_STEPS,
            finishing, tolerance,
        )  # fmt: skip
        gap = gap_at(solver, work, q, error, tolerance)
        if gap >= -OVERLAP or error > tolerance or turn == SLIDES:
            break
        tool_jacobian(work.pose, work.J)
        self_motion(work, state.free, state.free)
        for j in range(len(q)):
            state.ahead[j] = q[j] + ASIDE * state.free[j]
        slope = (min(gap_of(solver, work, state.ahead), 0.0) - gap) / ASIDE
        way = (ROOM - OVERLAP - gap) / max(abs(slope), FLAT)
        for j in range(len(q)):
            q[j] += np.sign(slope) * min(way, FARTHEST) * state.free[j]
    return error, gap


@njit(**INSIDE)
@no_type_check
def _approach(solver, work, state, pull, stride, tolerance):
    """Take the ideal arm as near to the target as it gets, over several frames, no farther than `stride` from where it was: a
    jump would not bring the hand there. Returns what is left of the hand's error [m]."""
    chain, low, high = solver.chain, state.low, state.high
    for j in range(len(state.q)):
        if stride < np.inf:
            state.ideal[j] = state.before[j]
        low[j], high[j] = max(chain.lower[j], state.before[j] - stride), min(chain.upper[j], state.before[j] + stride)
    return hand_first(
        chain, work, state.ideal, state.R, state.p, state.upper, state.fore, state.posture, pull, low, high, NO_STEPS, AGAIN,
        tolerance,
    )  # fmt: skip


@njit(**INSIDE)
@no_type_check
def _left(solver, state):
    """Whether the steps for the hand alone have taken an arm with a redundant joint so far that it is on another branch,
    whichever came first."""
    far = 0.0
    for j in range(len(state.q)):
        far = max(far, abs(state.ideal[j] - state.before[j]))
    return far > CHANGED and not watched(solver)
