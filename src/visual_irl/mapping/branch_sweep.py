"""When a live arm with a redundant joint leaves its branch for a better one.

The rule is that of `branch_watch`, the work function algorithm for metrical task systems (Borodin, Linial and Saks 1992,
J. ACM 39): the arm goes elsewhere once staying has cost as much more than the best path to there as going costs. With two
places to be it is that of renting skis or buying them (Karlin, Manasse, Rudolph and Sleator 1988, Algorithmica 3). As a frame
has some hundred solutions, one angle of the redundant joint is looked at in every frame, all of them in a sweep of about half a
second; what they cost then holds until the next sweep. Solutions that are near each other in consecutive sweeps, at the same
angle or the next, are one branch, along which going is free.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.mapping.branch_change import land, tightness, unlikeness
from visual_irl.mapping.commanded_arm import CHANGED, meets_itself
from visual_irl.robots.chain import INSIDE
from visual_irl.robots.solutions import Solver, solutions_of

SHEETS = 4
"""Solutions of a Franka arm for an angle of its redundant joint, inside its limits."""
TRIES = 4
"""How many of the best solutions are tried when the arm is to leave its branch."""


class Sweep(NamedTuple):
    """What is known of an arm's branches; N solutions."""

    price: float
    """What going to another branch costs [rad^2 s]."""
    options: ndarray
    """(N, J) the solutions of the last sweep [rad]."""
    totals: ndarray
    """(N,) what the best path so far costs that ends there, above the least [rad^2 s]; infinite where there is none."""
    found: ndarray
    """(N, J) those of the sweep that runs."""
    sums: ndarray
    """(N,) what paths to there cost."""
    figures: ndarray
    """(5,) the same of the arm itself; the angle that is next; seconds of the sweep that runs, and of the last one; not zero
    where the arm was put elsewhere since."""


def sweep_of(solver: Solver, price: float) -> Sweep:
    """An arm of which nothing is known; without rows if it has no redundant joint with a closed form, or if the price
    [rad^2 s] is infinite."""
    rows, joints = SHEETS * len(solver.values) if price < np.inf else 0, len(solver.chain.lower)
    sweep = Sweep(price, np.zeros((rows, joints)), np.zeros(rows), np.zeros((rows, joints)), np.zeros(rows), np.zeros(5))
    forget(sweep)
    return sweep


def forget(sweep: Sweep) -> None:
    """Begin anew, as if the arm could have begun on any branch."""
    sweep.options[:], sweep.totals[:], sweep.figures[:] = np.inf, 0.0, 0.0
    sweep.figures[4] = 1.0


@njit(**INSIDE)
@no_type_check
def leave_branch(solver, work, state, sweep, costs, dt):
    """Look at one more angle of the redundant joint; after the last one, take the ideal arm, whose hand is where it must be, to
    another branch if that is better; returns whether it did."""
    figures, at = sweep.figures, int(sweep.figures[1])
    own = unlikeness(solver.chain, work, state.ideal, state.upper, state.fore, costs) + tightness(solver, state.ideal, costs)
    figures[0] += own * dt
    figures[2] += dt
    _look(solver, work, state, sweep, costs, at)
    figures[1] = (at + 1) % len(solver.values)
    if at + 1 < len(solver.values):
        return False
    near, least = np.inf, sweep.sums[np.argmin(sweep.sums)]
    figures[2], figures[3] = 0.0, figures[2]
    if least == np.inf:
        return False
    for k in range(len(sweep.sums)):
        sweep.totals[k] = sweep.sums[k] - least
        for j in range(len(state.q)):
            sweep.options[k, j] = sweep.found[k, j]
        if sweep.totals[k] < near and _apart(sweep.options[k], state.ideal) < CHANGED:
            near = sweep.totals[k]
    stayed = near if figures[4] != 0.0 else min(figures[0] - least, near)
    figures[0], figures[4] = min(stayed, sweep.price), 0.0
    for _ in range(TRIES if stayed >= sweep.price else 0):
        best = np.argmin(sweep.totals)
        if not sweep.totals[best] < sweep.price:
            break
        if _go(solver, work, state, sweep, costs, best, own):
            figures[0] = sweep.totals[best]
            return True
        sweep.totals[best] = sweep.price
    return False


@njit(**INSIDE)
@no_type_check
def _look(solver, work, state, sweep, costs, at):
    """Find the solutions at an angle of the redundant joint, and what the best paths there cost."""
    found, limbs = state.found, 0.0
    count = min(solutions_of(solver, state.R, state.p, at, found, np.int64(0)), SHEETS)
    for i in range(SHEETS):
        row = SHEETS * at + i
        sweep.sums[row] = np.inf
        if i >= count:
            continue
        over = i > 0  # the shoulder turned over: same limbs
        for j in range(3, len(state.q)):
            over = over and found[i, j] == found[i - 1, j]
        if not over:
            limbs = unlikeness(solver.chain, work, found[i], state.upper, state.fore, costs)
        for j in range(len(state.q)):
            sweep.found[row, j] = found[i, j]
        least = sweep.price
        for k in range(max(0, SHEETS * (at - 1)), min(len(sweep.totals), SHEETS * (at + 2))):
            if sweep.totals[k] < least and _apart(sweep.options[k], found[i]) < CHANGED:
                least = sweep.totals[k]
        if least < sweep.price and meets_itself(solver, work, found[i]):
            continue
        sweep.sums[row] = least + (limbs + tightness(solver, found[i], costs)) * sweep.figures[3]


@njit(**INSIDE)
@no_type_check
def _go(solver, work, state, sweep, costs, row, own):
    """Take the ideal arm to where solution `row` of the last sweep is by now, if it is less than `own` there [rad^2]; returns
    whether it went."""
    count, choice, way = solutions_of(solver, state.R, state.p, row // SHEETS, state.found, np.int64(0)), -1, CHANGED
    for i in range(count):
        apart = _apart(sweep.options[row], state.found[i])
        if apart < way:
            choice, way = i, apart
    if choice < 0:
        return False
    q = state.found[choice]
    cost = unlikeness(solver.chain, work, q, state.upper, state.fore, costs) + tightness(solver, q, costs)
    if not cost < own or _apart(q, state.ideal) < CHANGED or meets_itself(solver, work, q):
        return False
    land(solver, state, choice)
    return True


@njit(**INSIDE)
@no_type_check
def _apart(a, b):
    """Largest difference of two postures in a joint [rad]."""
    far = 0.0
    for j in range(len(a)):
        far = max(far, abs(a[j] - b[j]))
    return far
