"""The best path through the branches of a motion: one analytic solution a frame, chosen for all frames at once.

Dynamic programming (Viterbi 1967) over every frame's solutions. A solution costs its limbs' angles to the human's, its
distance from the symbolic posture and its nearness to joint limits and to the arm itself; a step costs its squared joint
motion, and one beyond what the arm may turn in a frame costs so much that it is taken only where no continuous path exists.
Frames without a solution, or with such only in which the arm meets itself, are left out. Cost is linear in frames. Joints
that turn all the way around count modulo a turn and are wound afterwards, so that the eight solutions of a UR arm stand for
all their windings.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Bool, Float
from numba import njit
from numpy import ndarray

from visual_irl.mapping.hand_first import NO_STEPS, Pull, Work, angle_of, hand_first, limb_direction, work_of
from visual_irl.mapping.smoothing import FINISH, TOLERANCE
from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots.chain import INSIDE, LEAN, forward, manipulability, tool_jacobian
from visual_irl.robots.self_collision import OVERLAP, clearance, height
from visual_irl.robots.solutions import Solver, capacity, solutions_into

KEEP = 160
"""Solutions kept a frame, the cheapest first."""
TURN = 2.0 * np.pi


class BranchCosts(NamedTuple):
    """Weights of what makes a path good."""

    upper: float = 1.0
    """Upper arm against the human's, per rad^2 a frame."""
    fore: float = 1.0
    """Forearm against the human's, per rad^2 a frame."""
    posture: float = 0.02
    """Joints against the symbolic posture, per rad^2 a frame and joint."""
    limit: float = 1.0
    """Nearness to a joint limit, per (share of the zone)^2."""
    zone: float = 0.2
    """Distance from a joint limit below which a solution costs [rad]."""
    collision: float = 0.3
    """Nearness of the arm to itself, per (share of `clear`)^2."""
    overlap: float = 20.0
    """Its capsules touch, by less than `OVERLAP`, from which on it is no solution."""
    clear: float = 0.02
    """Distance between links below which a solution costs [m]."""
    singular: float = 0.3
    """Nearness to a singular posture, per (share of `dexterous`)^2."""
    dexterous: float = 0.2
    """Share of the arm's median manipulability below which a solution costs."""
    motion: float = 20.0
    """Joint motion, per rad^2 a frame at 60 frames a second (that is, per (60 rad/s)^2)."""
    jump: float = 10.0
    """A joint step beyond `step`, plus the same per radian beyond it."""
    step: float = 0.2
    """Largest joint step between two frames that counts as continuous [rad]."""


class BranchPath(NamedTuple):
    """Joint path [rad] and which frames have a solution; the others are zero until they are bridged."""

    q: Float[ndarray, "T J"]
    solved: Bool[ndarray, "T"]


def best_path(
    solver: Solver,
    targets: ArmTargets,
    costs: BranchCosts,
    progress: Callable[[int], None] = lambda done: None,
    q_start: Float[ndarray, "J"] | None = None,
) -> BranchPath:
    """The best path through the solutions of all frames, wound into the joint limits.

    With `q_start` [rad] the first frame is taken as it stands: where an arm goes on from.
    """
    first = np.zeros(0) if q_start is None else np.asarray(q_start, float)
    q, solved = np.zeros((len(targets.t), len(solver.chain.lower))), np.zeros(len(targets.t), bool)
    work = work_of(solver.chain)
    costs = at_rate(costs, targets)
    for part in targets.segments():
        q[part], solved[part] = _viterbi(
            solver, work, targets.R[part], targets.p[part], targets.upper[part], targets.fore[part], targets.posture[part],
            costs, capacity(solver), first if part.start == 0 else first[:0],
        )  # fmt: skip
        rows = np.nonzero(solved[part])[0] + part.start
        if len(rows):
            near = targets.posture[rows] if part.start > 0 or q_start is None else None
            q[rows] = wound(q[rows], solver.periodic, solver.chain.lower, solver.chain.upper, near)
        progress(part.stop)
    return BranchPath(q, solved)


FINER = np.radians(3.3)
"""Spacing at which the redundant joint of a path is searched again beside where it is [rad]."""
BESIDE = 2
"""How many angles on either side are tried."""
SAME = 0.6
"""Joint step between neighbouring angles above which a solution is on another branch [rad]."""


def refined(solver: Solver, targets: ArmTargets, costs: BranchCosts, path: BranchPath, fixed: int = 0) -> BranchPath:
    """The path with its redundant joint off the grid: the best one through solutions beside it.

    What a path costs on the grid is several times what it must, where the arm passes near a singularity of its shoulder. No
    cost grows, as the path itself is among the solutions. Arms without a redundant joint keep theirs, and the first `fixed`
    frames stay.
    """
    if not len(solver.values):
        return path
    single = solver._replace(values=np.zeros(1))
    work, q, costs = work_of(solver.chain), path.q.copy(), at_rate(costs, targets)
    for part in targets.segments():
        _beside(
            single, work, targets.R[part], targets.p[part], targets.upper[part], targets.fore[part], targets.posture[part],
            costs, FINER, fixed if part.start == 0 else 0, path.solved[part], q[part],
        )  # fmt: skip
    return BranchPath(q, path.solved)


@njit(cache=True, nogil=True)
@no_type_check
def _beside(single, work, R, p, upper, fore, posture, costs, spacing, fixed, solved, q):
    """`refined` on one segment, in place; `single` has room for one angle of the redundant joint."""
    frames, joints = q.shape
    width, last = 2 * BESIDE + 1, joints - 1
    options, found = np.empty((frames, width, joints)), np.empty((8, joints))
    back, total, through = np.zeros((frames, width), np.int8), np.full(width, np.inf), np.empty(width)
    before = -1
    for t in range(frames):
        if not solved[t]:
            continue
        for i in range(width):
            through[i] = np.inf
            options[t, i] = q[t]
            if i != BESIDE:
                single.values[0] = q[t, last] + (i - BESIDE) * spacing
                if t < fixed or not single.chain.lower[last] <= single.values[0] <= single.chain.upper[last]:
                    continue
                nearest = SAME
                for k in range(solutions_into(single, R[t], p[t], found)):
                    way = np.abs(found[k] - q[t]).max()
                    if way < nearest:
                        nearest = way
                        options[t, i] = found[k]
                if nearest == SAME:
                    continue
            cost = price(single, work, options[t, i], upper[t], fore[t], posture[t], costs)
            if i == BESIDE:
                cost = min(cost, 2.0 * costs.overlap)
            if before < 0:
                through[i] = cost
                continue
            for k in range(width):
                if total[k] + cost < through[i]:
                    rest = through[i] - total[k] - cost
                    step = step_cost(single.periodic, options[before, k], options[t, i], costs, rest)
                    if step < rest:
                        through[i] = total[k] + cost + step
                        back[t, i] = k
        total[:] = through
        before = t
    choice = -1
    for t in range(frames - 1, -1, -1):
        if solved[t]:
            if choice < 0:
                choice = np.argmin(total)
            q[t] = options[t, choice]
            choice = back[t, choice]


def at_rate(costs: BranchCosts, targets: ArmTargets) -> BranchCosts:
    """The costs for the motion's own frame rate: what counts is speed, not the step from frame to frame."""
    return costs._replace(motion=costs.motion / (60.0 * targets.interval()) ** 2)


def wound(
    q: Float[ndarray, "T J"],
    periodic: Bool[ndarray, "J"],
    lower: Float[ndarray, "J"],
    upper: Float[ndarray, "J"],
    posture: Float[ndarray, "T J"] | None,
) -> Float[ndarray, "T J"]:
    """The path with periodic joints made continuous and shifted by whole turns into their limits, nearest to the posture.

    Without a posture the first frame keeps its turns.

    A joint that would have to wind farther than its limits is rewound by a turn where it meets one: a jump that no
    continuous path avoids.
    """
    q = q.copy()
    for j in np.nonzero(periodic)[0]:
        path = np.unwrap(q[:, j])
        turns = range(-3, 4) if posture is not None else range(1)
        inside = [o for o in (path + TURN * k for k in turns) if o.min() >= lower[j] and o.max() <= upper[j]]
        if inside:
            wanted = 0.0 if posture is None else float(posture[:, j].mean())
            q[:, j] = inside[int(np.argmin([abs(o.mean() - wanted) for o in inside]))]
            continue
        turn = 0.0
        for k in range(len(path)):
            while path[k] + turn > upper[j]:
                turn -= TURN
            while path[k] + turn < lower[j]:
                turn += TURN
            q[k, j] = path[k] + turn
    return q


@njit(**LEAN)
@no_type_check
def price(solver: Solver, work: Work, q: ndarray, u: ndarray, f: ndarray, posture: ndarray, costs: BranchCosts) -> float:
    """Cost of a solution by itself."""
    forward(solver.chain, q, work.pose)
    total = 0.0
    if u[0] != 0.0 or u[1] != 0.0 or u[2] != 0.0:
        limb_direction(solver.chain, work, 0, work.d)
        angle = angle_of(work.d, u)
        total += costs.upper * angle * angle
    if f[0] != 0.0 or f[1] != 0.0 or f[2] != 0.0:
        limb_direction(solver.chain, work, 1, work.d)
        angle = angle_of(work.d, f)
        total += costs.fore * angle * angle
    for j in range(q.shape[0]):
        d = q[j] - posture[j]
        if solver.periodic[j]:
            d -= TURN * np.round(d / TURN)
        else:
            margin = min(q[j] - solver.chain.lower[j], solver.chain.upper[j] - q[j])
            if margin < costs.zone:
                near = 1.0 - max(margin, 0.0) / costs.zone
                total += costs.limit * near * near
        total += costs.posture * d * d
    if costs.singular > 0.0:
        tool_jacobian(work.pose, work.J)
        free = manipulability(work.J, work.S) / (costs.dexterous * solver.dexterity)
        if free < 1.0:
            total += costs.singular * (1.0 - free) ** 2
    return total + collision_cost(solver, work, costs)


@njit(**INSIDE)
@no_type_check
def collision_cost(solver: Solver, work: Work, costs: BranchCosts) -> float:
    """Cost of the arm's nearness to itself and to its table, infinite where it meets itself; `work.pose` holds its pose.

    In the table it costs the more the deeper, but is a solution: the hand may ask for that, and the guard tells exactly.
    """
    if costs.collision == 0.0:
        return 0.0
    low = (costs.clear - height(solver.capsules, work.pose, costs.clear)) / costs.clear
    lying = costs.collision * low * low + (costs.overlap * low if low > 1.0 else 0.0) if low > 0.0 else 0.0
    gap = costs.clear - clearance(solver.capsules, work.pose, costs.clear, -np.inf)
    if gap > costs.clear + OVERLAP:
        return np.inf
    near = lying + (costs.collision * (gap / costs.clear) ** 2 if gap > 0.0 else 0.0)
    return near + costs.overlap if gap > costs.clear else near


@njit(**LEAN)
@no_type_check
def step_cost(periodic: ndarray, a: ndarray, b: ndarray, costs: BranchCosts, bound: float) -> float:
    """Cost of the step from `a` to `b`; gives up, returning something larger, once above `bound`."""
    total = 0.0
    for j in range(a.shape[0]):
        d = abs(b[j] - a[j])
        if periodic[j]:
            d = abs(d - TURN * np.round(d / TURN))
        total += costs.motion * d * d
        if d > costs.step:
            total += costs.jump * (1.0 + d - costs.step)
        if total >= bound:
            return total
    return total


@njit(**INSIDE)
@no_type_check
def _priced(solver, work, u, f, posture, costs, here, found, prices):
    """Fill `prices` with what solutions cost and bring those to the front in which the arm does not meet itself; returns how
    many. The one of row `here` is where the arm is."""
    kept = 0
    for i in range(len(found)):
        cost = price(solver, work, found[i], u, f, posture, costs)
        if i == here:
            cost = min(cost, 2.0 * costs.overlap)  # where the arm is, it is
        if cost < np.inf:
            prices[kept] = cost
            for j in range(found.shape[1]):
                found[kept, j] = found[i, j]
            kept += 1
    return kept


@njit(**INSIDE)
@no_type_check
def _extended(solver, options, total, ranks, rows, costs, through, back, columns, ways):
    """Add to `through`, for each of a frame's solutions, the cheapest way to it from those of the frame before, whose paths
    cost `total` and come, the cheapest first, as `ranks` has them; `back` is where from.

    `step_cost` from all of them at once: joint by joint, so that the processor takes several in one instruction.
    """
    count, joints = len(ranks), rows.shape[1]
    for k in range(count):
        for j in range(joints):
            columns[j, k] = options[ranks[k], j]
    for i in range(len(rows)):
        for k in range(count):
            ways[k] = total[ranks[k]]
        for j in range(joints):
            _add_steps(solver.periodic[j], columns[j], rows[i, j], costs.motion, costs.jump, costs.step, ways[:count])
        best = 0
        for k in range(count):
            if ways[k] < ways[best]:
                best = k
        through[i] += ways[best]
        back[i] = ranks[best]


@njit(**INSIDE)
@no_type_check
def _add_steps(periodic, a, b, motion, jump, step, ways):
    """Add what `step_cost` has for one joint that goes from each of `a` to `b`."""
    for k in range(len(ways)):
        d = abs(b - a[k])
        if periodic:
            d = abs(d - TURN * np.round(d / TURN))
        ways[k] += motion * d * d + (jump * (1.0 + d - step) if d > step else 0.0)


@njit(cache=True, nogil=True)
@no_type_check
def _viterbi(solver, work, R, p, upper, fore, posture, costs, most, first):
    """Best path through one segment, periodic joints modulo a turn; and which frames have a solution. `first`, if not
    empty, is the only solution of the first frame; every later one then has one more, the nearest to that of before."""
    frames, joints = posture.shape
    found, prices = np.empty((most + 1, joints)), np.empty(most + 1)
    followed, following = first.copy(), len(first) > 0
    pull = Pull(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    options = np.empty((frames, KEEP, joints))
    back, counts = np.zeros((frames, KEEP), np.int16), np.zeros(frames, np.int64)
    total, through, ranks = np.empty(KEEP), np.empty(KEEP), np.empty(KEEP, np.int64)
    columns, ways = np.empty((joints, KEEP)), np.empty(KEEP)
    before = -1
    for t in range(frames):
        if t == 0 and len(first):
            found[0], n = first, 1
        else:
            n = solutions_into(solver, R[t], p[t], found[:most])
            if following:
                error = hand_first(
                    solver.chain, work, followed, R[t], p[t], upper[t], fore[t], posture[t], pull, solver.chain.lower,
                    solver.chain.upper, NO_STEPS, FINISH, TOLERANCE,
                )  # fmt: skip
                following = error < TOLERANCE
                if following:
                    found[n] = followed
                    n += 1
        n = _priced(solver, work, upper[t], fore[t], posture[t], costs, n - 1 if following else -1, found[:n], prices)
        order = np.argsort(prices[:n])
        if following and n > KEEP and prices[n - 1] > prices[order[KEEP - 1]]:
            order[KEEP - 1] = n - 1  # whatever it costs, what continues from the start stays
        order = order[:KEEP]
        counts[t] = len(order)
        for i, row in enumerate(order):
            options[t, i], through[i] = found[row], prices[row]
        if before >= 0:
            _extended(
                solver, options[before], total, ranks[: counts[before]], options[t, : counts[t]], costs, through, back[t],
                columns, ways,
            )  # fmt: skip
        if counts[t]:
            total[: counts[t]] = through[: counts[t]]
            ranks[: counts[t]] = np.argsort(total[: counts[t]])
            before = t
    q, solved = np.zeros((frames, joints)), counts > 0
    choice = -1
    for t in range(frames - 1, -1, -1):
        if counts[t]:
            if choice < 0:
                choice = np.argmin(total[: counts[t]])
            q[t] = options[t, choice]
            choice = back[t, choice]
    return q, solved
