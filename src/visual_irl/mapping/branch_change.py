"""What a live arm does when its branch ends: the joint solutions of this one frame, and the one that it goes on from."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from visual_irl.mapping.branch_path import price, step_cost
from visual_irl.mapping.commanded_arm import gap_of
from visual_irl.mapping.prior import energy
from visual_irl.robots.solutions import batches, solutions_of


@njit(cache=True, nogil=True)
@no_type_check
def change_branch(solver, work, state, prior, history, costs, weight, looks):
    """Take the ideal arm to the best of all solutions in which it does not meet itself; returns whether there is one.

    The nearest `looks` are looked at, fewer without a prior once none that is farther can be better (the prior's energy has
    no lower bound), more if all of them meet themselves. What lies farther than that is not even solved for: angles of a
    redundant joint are taken outward from where it is, and none of their solutions is nearer than it.
    """
    joints, before, ways = len(state.q), state.before, state.ways
    values, last = solver.values, joints - 1
    up = np.searchsorted(values, before[last])
    down, left, count = up - 1, batches(solver), 0
    best, choice, asked = np.inf, -1, 0
    while True:
        i = np.argmin(ways[:count]) if count else -1
        nearest = ways[i] if count else np.inf
        if left:
            above = values[up] - before[last] if up < len(values) else np.inf
            below = before[last] - values[down] if down >= 0 else np.inf
            batch, gap = (up, above) if above <= below else (down, below)
            if len(values) == 0:
                batch, gap = 0, 0.0
            if costs.motion * gap * gap <= min(nearest, best):
                up, down = (up + 1, down) if above <= below else (up, down - 1)
                first, left = count, left - 1
                count = solutions_of(solver, state.R, state.p, batch, state.found, count)
                for k in range(first, count):
                    ways[k] = step_cost(solver.periodic, before, state.found[k], costs, np.inf)
                continue
        if nearest == np.inf:
            break
        ways[i] = np.inf
        if (asked == looks and choice >= 0) or (not prior.on and nearest >= best):
            break
        if not prior.on:
            asked += 1
            cost = nearest + price(solver, work, state.found[i], state.upper, state.fore, state.posture, costs)
        elif asked < looks:
            cost = nearest + weight * energy(solver.chain, work, prior, history, state.found[i])
            asked += 1
        else:  # all that were asked for it meet themselves: the nearest that does not
            cost = nearest
        if cost < best and gap_of(solver, work, state.found[i], 0.0) >= 0.0:
            best, choice = cost, i
    if choice < 0:
        return False
    for j in range(joints):
        q = state.found[choice, j]
        if solver.periodic[j]:
            q += 2.0 * np.pi * np.round((before[j] - q) / (2.0 * np.pi))
            if q > solver.chain.upper[j]:
                q -= 2.0 * np.pi
            elif q < solver.chain.lower[j]:
                q += 2.0 * np.pi
        state.ideal[j] = q
        before[j] = q
    return True
