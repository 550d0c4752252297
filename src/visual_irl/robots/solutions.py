"""All joint solutions of a tool pose inside the limits, compiled: closed forms for Franka and UR arms, multi-start for others.

Poses are of the tool in the base frame. Which method an arm has is said in its file (`RobotModel.ik_family`). Joints that
can turn all the way around both ways are `periodic`: their solutions are given modulo a turn.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl.robots.chain import (
    INSIDE,
    LEAN,
    Chain,
    Pose,
    chain_of,
    forward,
    manipulability,
    pose_of,
    solve_hand,
    tool_error,
    tool_jacobian,
)
from visual_irl.robots.franka_ik import elbow_at_rest, franka_solutions
from visual_irl.robots.model import RobotModel
from visual_irl.robots.self_collision import Capsules, capsules_of
from visual_irl.robots.ur_ik import ur_solutions

FRANKA, UR, NUMERIC = 0, 1, 2
FAMILIES = {"franka": FRANKA, "ur": UR, "numeric": NUMERIC}
SPACING = np.radians(10.0)
"""Spacing of the Franka arms' redundant joint [rad]: the smoothing that follows moves freely between the values."""
STARTS = 48
"""Random starts of the numeric method."""
ITERATIONS = 40
"""Steps of the numeric method from each start."""
PATIENCE, GAINED = 6, 0.5
"""Steps after which the squared error must have fallen to that share, or the start is given up."""
CONVERGED = 1e-14
"""Squared error (m^2, rad^2) below which a numeric solution is one."""
POSTURES = 500
"""Random postures over which the median manipulability is taken."""
ALIKE = 0.05
"""Numeric solutions closer than this in every joint are the same one [rad]."""


class Solver(NamedTuple):
    """How an arm's poses are solved."""

    chain: Chain
    family: int
    values: ndarray
    """(N,) angles of the redundant joint that are tried (Franka), else empty [rad]."""
    rest: float
    """Angle at the elbow while joint 4 is at zero (Franka), else not a number [rad]."""
    starts: ndarray
    """(N, J) angles from which the numeric method starts, else empty [rad]."""
    periodic: ndarray
    """(J,) joints that can turn all the way around, so that their angles count modulo a turn."""
    pose: Pose
    """Buffers of the numeric method."""
    J: ndarray
    """(6, J) buffer of it."""
    S: ndarray
    """(6, 6) buffer of it."""
    e: ndarray
    """(6,) buffer of it."""
    dq: ndarray
    """(J,) buffer of it."""
    spare: ndarray
    """(10, 3) buffer of the closed forms."""
    dexterity: float
    """Manipulability that the arm has in the median over its postures; what is far below is singular."""
    capsules: Capsules
    """What tells how near the arm comes to itself."""


def solver_of(
    robot: RobotModel, margin: float = 0.0, spacing: float = SPACING, table: Float[ndarray, "4"] | None = None
) -> Solver:
    """The solver of an arm; `margin` [rad] is kept from the limits, `spacing` [rad] is that of a redundant joint's grid.

    `table` is the one that the arm stands on: its unit normal in the base frame and its height along it [m].
    """
    chain = chain_of(robot, margin)
    family = FAMILIES[robot.ik_family]
    values, rest, starts = np.zeros(0), np.nan, np.zeros((0, len(chain.lower)))
    if family == FRANKA:
        rest = elbow_at_rest(chain)
        values = np.linspace(chain.lower[6], chain.upper[6], int(np.ceil((chain.upper[6] - chain.lower[6]) / spacing)) + 1)
    if family == NUMERIC:
        lower, upper = np.maximum(chain.lower, robot.home - np.pi), np.minimum(chain.upper, robot.home + np.pi)
        starts = np.vstack([robot.home, np.random.default_rng(0).uniform(lower, upper, (STARTS, len(lower)))])
    periodic = (chain.upper - chain.lower > 4.0 * np.pi - 2.0 * margin - 1e-6) & (family == UR)
    n, capsules = len(chain.lower), capsules_of(robot)
    if table is not None:
        capsules = capsules._replace(table=np.array(table, float))
    return Solver(
        chain, family, values, rest, starts, periodic, pose_of(chain), np.zeros((6, n)), np.zeros((6, 6)), np.zeros(6),
        np.zeros(n), np.zeros((10, 3)), dexterity_of(robot), capsules,
    )  # fmt: skip


@lru_cache
def dexterity_of(robot: RobotModel) -> float:
    """Median manipulability over random postures inside the limits."""
    chain = chain_of(robot)
    pose, J, S = pose_of(chain), np.zeros((6, len(chain.lower))), np.zeros((6, 6))
    values = []
    for q in np.random.default_rng(0).uniform(chain.lower, chain.upper, (POSTURES, len(chain.lower))):
        forward(chain, q, pose)
        tool_jacobian(pose, J)
        values.append(manipulability(J, S))
    return float(np.median(values))


def capacity(solver: Solver) -> int:
    """Most solutions that `solutions_into` can find for a pose."""
    return max(8, 8 * len(solver.values), len(solver.starts))


def solutions(solver: Solver, T_base_tcp: Float[ndarray, "4 4"]) -> Float[ndarray, "N J"]:
    """All solutions of a tool pose [rad]; empty when out of reach."""
    out = np.empty((capacity(solver), len(solver.chain.lower)))
    R = np.ascontiguousarray(T_base_tcp[:3, :3], dtype=float)
    count = solutions_into(solver, R, np.array(T_base_tcp[:3, 3], dtype=float), out)
    return out[:count].copy()


@njit(**LEAN)
@no_type_check
def solutions_into(solver: Solver, R: ndarray, p: ndarray, out: ndarray) -> int:
    """Write all solutions for the tool pose (`R`, `p`) into the first rows of `out` (N, J); returns how many."""
    count = np.int64(0)  # a plain 0 would have numba compile what it is handed to twice
    for batch in range(batches(solver)):
        count = solutions_of(solver, R, p, batch, out, count)
    return count


@njit(**INSIDE)
@no_type_check
def batches(solver: Solver) -> int:
    """In how many parts the solutions of a pose are found: one for each angle of a redundant joint, else one."""
    return max(1, len(solver.values))


@njit(**INSIDE)
@no_type_check
def solutions_of(solver: Solver, R: ndarray, p: ndarray, batch: int, out: ndarray, count: int) -> int:
    """Write one part of the solutions for a tool pose into the rows of `out` (N, J) from `count` on; returns the new count."""
    if solver.family == FRANKA:
        count = franka_solutions(solver.chain, solver.rest, R, p, solver.values[batch], solver.spare, out, count)
    elif solver.family == UR:
        count = ur_solutions(solver.chain, R, p, solver.spare, out, count)
    else:
        for k in range(len(solver.starts)):
            for j in range(out.shape[1]):
                out[count, j] = solver.starts[k, j]
            if _converge(solver, R, p, out[count]) and _is_new(out, count):
                count += 1
    return count


@njit(**INSIDE)
@no_type_check
def _converge(solver: Solver, R: ndarray, p: ndarray, q: ndarray) -> bool:
    """Damped least squares inside the limits from `q`, in place (Nakamura and Hanafusa 1986); whether they end at a solution.

    A start that no longer gets nearer is given up: most of those that fail stand at a limit.
    """
    J, S, e = solver.J, solver.S, solver.e
    last = np.inf
    for i in range(ITERATIONS):
        forward(solver.chain, q, solver.pose)
        tool_error(solver.pose, R, p, e)
        size = 0.0
        for r in range(6):
            size += e[r] * e[r]
        if size < CONVERGED:
            return True
        if i % PATIENCE == 0:
            if size > GAINED * last:
                return False
            last = size
        tool_jacobian(solver.pose, J)
        damping = 1e-2 * min(size, 1.0)
        for r in range(6):
            for c in range(r + 1):
                s = damping if r == c else 0.0
                for j in range(len(q)):
                    s += J[r, j] * J[c, j]
                S[r, c] = s
        solve_hand(S, e)
        longest = 0.0
        for j in range(len(q)):
            s = 0.0
            for r in range(6):
                s += J[r, j] * e[r]
            solver.dq[j] = s
            longest = max(longest, abs(s))
        shrink = min(1.0, 0.5 / max(longest, 1e-12))
        for j in range(len(q)):
            q[j] = min(max(q[j] + shrink * solver.dq[j], solver.chain.lower[j]), solver.chain.upper[j])
    return False


@njit(**INSIDE)
@no_type_check
def _is_new(out: ndarray, count: int) -> bool:
    """Whether row `count` differs from every row before it."""
    for i in range(count):
        far = 0.0
        for j in range(out.shape[1]):
            far = max(far, abs(out[i, j] - out[count, j]))
        if far < ALIKE:
            return False
    return True
