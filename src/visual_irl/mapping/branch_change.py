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
from visual_irl.mapping.commanded_arm import gap_of
from visual_irl.robots.chain import LEAN
from visual_irl.robots.solutions import batches, solutions_of


@njit(**LEAN)
@no_type_check
def change_branch(solver, work, state, costs):
    """Take the ideal arm to the best of the solutions in which it does not meet itself; returns whether there is one.

    Of a redundant joint's angles every other one is looked at, the rest only if none of those will do: from wherever the arm
    lands it goes on along its self-motion.
    """
    parts = batches(solver)
    skip = 2 if parts > 1 else 1
    for first in range(skip):
        count = 0
        for batch in range(first, parts, skip):
            count = solutions_of(solver, state.R, state.p, batch, state.found, count)
        _weigh(solver, work, state, costs, count)
        for _ in range(count):
            best = np.argmin(state.ways[:count])
            if gap_of(solver, work, state.found[best], 0.0) >= 0.0:
                land(solver, state, best)
                return True
            state.ways[best] = np.inf
    return False


@njit(**LEAN)
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
    limb_end(chain, q, 0, shoulder)
    limb_end(chain, q, 1, elbow)
    limb_end(chain, q, 2, wrist)
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
def limb_end(chain, q, which, out):
    """Fill `out` (3,) with the shoulder (0), elbow (1) or wrist (2) point [m] at angles `q`, from the point down to the base:
    `limb_point`, for which no frames are needed."""
    x, y, z = chain.offset[which, 0], chain.offset[which, 1], chain.offset[which, 2]
    for i in range(chain.carrier[which], -1, -1):
        a, b = x, y
        if x != 0.0 or y != 0.0:  # else it lies on the joint's axis
            c, s = np.cos(q[i]), np.sin(q[i])
            a, b = c * x - s * y, s * x + c * y
        R, p = chain.R[i], chain.p[i]
        x, y, z = (
            R[0, 0] * a + R[0, 1] * b + R[0, 2] * z + p[0],
            R[1, 0] * a + R[1, 1] * b + R[1, 2] * z + p[1],
            R[2, 0] * a + R[2, 1] * b + R[2, 2] * z + p[2],
        )
    out[0], out[1], out[2] = x, y, z


@njit(**LEAN)
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
