"""What a live arm does when its branch ends: the joint solutions of this one frame, and the one that it goes on from.

Once the arm must jump, where it lands decides how human it is until it must again, so that its limbs there count for more than
the way: the nearest solution had the forearm up to 15 degrees worse for a whole recording. The prior is not asked, which
knows the branch only on which the arm is.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from visual_irl.mapping.branch_path import step_cost
from visual_irl.mapping.commanded_arm import CHANGED, gap_of
from visual_irl.robots.chain import INSIDE, LEAN, forward
from visual_irl.robots.franka_ik import franka_solutions
from visual_irl.robots.self_collision import OVERLAP, clearance
from visual_irl.robots.solutions import batches, solutions_of

CLOSE, PARTS = 1.25 * OVERLAP, np.int64(8)
"""Overlap beside which one that may be is looked for [m], and in how many parts of the way to the next angle."""


@njit(**INSIDE)
@no_type_check
def change_branch(solver, work, state, costs, here):
    """Take the ideal arm to the best of the solutions in which it does not meet itself; returns whether there is one.

    Of a redundant joint's angles every other one is looked at, the rest only if none of those will do: from wherever the arm
    lands it goes on along its self-motion. Where none is clear and the hand is not where it must be (`here` says that it is),
    the best one is taken in which capsules overlap no more than they may on a branch that is kept, as offline; where they
    overlap more at every angle that is looked at, but by less than `CLOSE`, one between these angles.
    """
    parts, touching, close = batches(solver), np.inf, -CLOSE
    skip = 2 if parts > 1 else 1
    for first in range(skip):
        count = np.int64(0)  # as in `solutions_into`
        for batch in range(first, parts, skip):
            count = solutions_of(solver, state.R, state.p, batch, state.found, count)
        _weigh(solver, work, state, costs, count)
        for _ in range(count):
            best = np.argmin(state.ways[:count])
            forward(solver.chain, state.found[best], work.pose)
            gap = clearance(solver.capsules, work.pose, 0.0, 0.0 if here else -CLOSE)
            if gap >= 0.0:
                land(solver, state, best)
                return True
            if gap >= -OVERLAP and not here and state.ways[best] < touching:
                touching = state.ways[best]
                for j in range(len(state.q)):
                    state.ahead[j] = state.found[best, j]
            elif close < gap < -OVERLAP and not here and touching == np.inf:
                close = gap
                for j in range(len(state.q)):
                    state.ahead[j] = state.found[best, j]
            state.ways[best] = np.inf
    if touching == np.inf:
        return close > -CLOSE and len(solver.values) > 0 and _land_beside(solver, work, state)
    for j in range(len(state.q)):
        state.found[0, j] = state.ahead[j]
    land(solver, state, np.int64(0))
    return True


@njit(**INSIDE)
@no_type_check
def _land_beside(solver, work, state):
    """Land on the solution nearest to `state.ahead`, at angles of the redundant joint up to those that `change_branch` has
    looked at, in which capsules overlap no more than they may; returns whether there is one."""
    spacing, redundant = (solver.values[1] - solver.values[0]) / PARTS, len(state.q) - 1
    for part in range(1, PARTS):
        for side in range(2):
            angle = state.ahead[redundant] + (spacing * part if side else -spacing * part)
            if not solver.chain.lower[redundant] <= angle <= solver.chain.upper[redundant]:
                continue
            count = franka_solutions(
                solver.chain, solver.rest, state.R, state.p, angle, solver.spare, state.found, np.int64(0)
            )  # fmt: skip
            for i in range(count):
                far = 0.0
                for j in range(len(state.q)):
                    far = max(far, abs(state.found[i, j] - state.ahead[j]))
                if far < CHANGED and gap_of(solver, work, state.found[i]) >= -OVERLAP:
                    land(solver, state, i)
                    return True
    return False


@njit(**INSIDE)
@no_type_check
def _weigh(solver, work, state, costs, count):
    """Fill `state.ways` with what the solutions cost, and the way there."""
    found, limbs = state.found, 0.0
    for i in range(count):
        # the closed form of an arm with a redundant joint turns its shoulder over from one row to the next: same limbs
        over = i > 0 and len(solver.values) > 0
        for j in range(3, len(state.q)):
            over = over and found[i, j] == found[i - 1, j]
        if not over:
            limbs = unlikeness(solver.chain, work, found[i], state.upper, state.fore, costs)
        state.ways[i] = limbs + tightness(solver, found[i], costs)
        state.ways[i] += step_cost(solver.periodic, state.before, found[i], costs, np.inf)


@njit(**LEAN)
@no_type_check
def unlikeness(chain, work, q, upper, fore, costs):
    """What limbs cost at `q`: as `price`, but by the squared differences of directions, which the steps of a live arm lessen
    too, and without the frames of all joints. A limb whose direction is not known costs the same everywhere."""
    shoulder, elbow, wrist = work.a, work.b, work.d
    limb_ends(chain, q, (shoulder, elbow, wrist))
    first, second, along_upper, along_fore = 0.0, 0.0, 0.0, 0.0
    for r in range(3):
        a, b = elbow[r] - shoulder[r], wrist[r] - elbow[r]
        first, second = first + a * a, second + b * b
        along_upper, along_fore = along_upper + a * upper[r], along_fore + b * fore[r]
    cost = 2.0 * costs.upper * (1.0 - along_upper / np.sqrt(max(first, 1e-12)))
    return cost + 2.0 * costs.fore * (1.0 - along_fore / np.sqrt(max(second, 1e-12)))


@njit(**LEAN)
@no_type_check
def tightness(solver, q, costs):
    """What the nearness to joint limits costs at `q`, as `price` has it."""
    total = 0.0
    for j in range(len(q)):
        margin = min(q[j] - solver.chain.lower[j], solver.chain.upper[j] - q[j])
        if margin < costs.zone and not solver.periodic[j]:
            total += costs.limit * (1.0 - max(margin, 0.0) / costs.zone) ** 2
    return total


@njit(**LEAN)
@no_type_check
def limb_ends(chain, q, ends):
    """Fill the three of `ends`, each (3,), with shoulder, elbow and wrist point [m] at angles `q`, from these down to the base:
    `limb_point`, for which no frames are needed."""
    carrier = chain.carrier
    for which in range(3):
        for r in range(3):
            ends[which][r] = chain.offset[which, r]
    for i in range(max(carrier[0], carrier[1], carrier[2]), -1, -1):
        R, p, c, s, turned = chain.R[i], chain.p[i], 1.0, 0.0, False
        for which in range(3):
            if i > carrier[which]:
                continue
            out = ends[which]
            x, y, z = out[0], out[1], out[2]
            a, b = x, y
            if x != 0.0 or y != 0.0:  # else it lies on the joint's axis
                if not turned:
                    c, s, turned = np.cos(q[i]), np.sin(q[i]), True
                a, b = c * x - s * y, s * x + c * y
            out[0] = R[0, 0] * a + R[0, 1] * b + R[0, 2] * z + p[0]
            out[1] = R[1, 0] * a + R[1, 1] * b + R[1, 2] * z + p[1]
            out[2] = R[2, 0] * a + R[2, 1] * b + R[2, 2] * z + p[2]


@njit(**INSIDE)
@no_type_check
def land(solver, state, choice):
    """Put the ideal arm onto a solution, periodic joints by the shorter way inside their limits."""
    for j in range(len(state.q)):
        q = state.found[choice, j]
        if solver.periodic[j]:
            q += 2.0 * np.pi * np.round((state.before[j] - q) / (2.0 * np.pi))
            if q > solver.chain.upper[j]:
                q -= 2.0 * np.pi
            elif q < solver.chain.lower[j]:
                q += 2.0 * np.pi
        state.ideal[j] = q
        state.before[j] = q
