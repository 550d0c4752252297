"""When a live arm without a redundant joint leaves its branch for a better one.

Its branch fixes all its joints, and the one that it was forced onto would be kept for good. So the offline mapper's forward
pass (Viterbi 1967) runs along: what the best path so far costs that ends in each of this frame's few solutions. The arm is
where that cost and the way there are least together (the work function algorithm for metrical task systems; Borodin, Linial
and Saks 1992, J. ACM 39): a branch must have been the better one for as long as it costs to go there.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from visual_irl.mapping.branch_change import land, tightness, unlikeness
from visual_irl.mapping.commanded_arm import CHANGED, meets_itself
from visual_irl.robots.chain import INSIDE
from visual_irl.robots.solutions import solutions_into

OPTIONS = 9
"""Solutions of a closed form, and where the arm is."""
LASTING = 10.0
"""Frames for which what a branch costs now is expected to last."""


@njit(**INSIDE)
@no_type_check
def watched(solver):
    """Whether an arm's solutions are few and quickly found."""
    return len(solver.values) == 0 and len(solver.starts) == 0


@njit(**INSIDE)
@no_type_check
def watch_branches(solver, work, state, costs, here, dt):
    """Bring the costs of all branches up to this frame; take the ideal arm, whose hand is where it must be if `here`, to
    another where that is better; returns whether it did."""
    joints, found, ways = len(state.q), state.found, state.ways
    count = solutions_into(solver, state.R, state.p, found[: OPTIONS - 1])
    if here:
        for j in range(joints):
            found[count, j] = state.ideal[j]
        count += 1
    motion = costs.motion / max(60.0 * dt, 0.25) ** 2
    least = np.inf
    for i in range(count):
        ways[i] = np.inf
        for k in range(OPTIONS):
            if state.totals[k] < ways[i]:
                way = state.totals[k] + _way(solver.periodic, state.options[k], found[i], motion, costs)
                ways[i] = min(ways[i], way)
        state.now[i] = unlikeness(solver.chain, work, found[i], state.upper, state.fore, costs)
        state.now[i] += tightness(solver, found[i], costs)
        ways[i] += state.now[i]
        least = min(least, ways[i])
    if not least < np.inf:
        return False
    for k in range(OPTIONS):
        state.totals[k] = np.inf
        if k < count:
            state.totals[k] = ways[k] - least
            for j in range(joints):
                state.options[k, j] = found[k, j]
            ways[k] += LASTING * state.now[k] + _way(solver.periodic, state.before, found[k], motion, costs)
    stay = ways[count - 1] if here else np.inf
    for _ in range(count):
        best = np.argmin(ways[:count])
        if not ways[best] < stay or (here and _apart(solver.periodic, state.ideal, found[best]) < CHANGED):
            return False
        if not meets_itself(solver, work, found[best]):
            land(solver, state, best)
            return True
        ways[best] = np.inf
        state.totals[best] = np.inf
    return False


@njit(**INSIDE)
@no_type_check
def _way(periodic, a, b, motion, costs):
    """Cost of the step between two postures, as `step_cost` has it, at the present frame rate."""
    total = 0.0
    for j in range(len(a)):
        d = abs(b[j] - a[j])
        if periodic[j]:
            d = abs(d - 2.0 * np.pi * np.round(d / (2.0 * np.pi)))
        total += motion * d * d
        if d > costs.step:
            total += costs.jump * (1.0 + d - costs.step)
    return total


@njit(**INSIDE)
@no_type_check
def _apart(periodic, a, b):
    """Largest difference of two postures in a joint, in which whole turns do not count [rad]."""
    far = 0.0
    for j in range(len(a)):
        d = abs(b[j] - a[j])
        if periodic[j]:
            d = abs(d - 2.0 * np.pi * np.round(d / (2.0 * np.pi)))
        far = max(far, d)
    return far
