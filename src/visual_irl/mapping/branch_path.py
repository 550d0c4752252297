"""The best path through the branches of a motion: one analytic solution a frame, chosen for all frames at once.

Dynamic programming (Viterbi 1967) over every frame's solutions: a solution costs its limbs' angle to the human's and its
nearness to joint limits, a step costs its squared joint motion, and a step faster than the arm is not allowed unless there
is no other. Frames without a solution are left out and bridged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.mapping.inverse_kinematics import HandFirstIk

KEEP = 160
"""Solutions kept a frame, the cheapest first."""
LIMIT_ZONE = 0.35
"""Distance from a joint limit below which a solution costs [rad]."""
JUMP_COST = 1e3
"""Cost of a step that the arm cannot make, per radian beyond what it can."""


@dataclass(frozen=True)
class BranchCosts:
    """Weights of what makes a path good."""

    limb: float = 1.0
    """Upper arm against the human's, per rad^2 a frame."""
    posture: float = 0.02
    """Joints against the symbolic posture, per rad^2 a frame and joint."""
    limit: float = 4.0
    """Nearness to limits, per (share of the zone)^2."""
    motion: float = 60.0
    """Joint motion, per rad^2 a step at 30 frames a second."""


@dataclass(frozen=True)
class BranchPath:
    """Joint path [rad], which frames have a solution (the others are bridged), and how often it must change branch."""

    q: Float[ndarray, "T J"]
    solved: Bool[ndarray, "T"]
    changes: int


def best_path(
    ik: HandFirstIk,
    solutions: Callable[[ndarray], ndarray],
    Ts_base_tcp: Float[ndarray, "T 4 4"],
    upper: Float[ndarray, "T 3"],
    posture: Float[ndarray, "T J"],
    t: Float[ndarray, "T"],
    steps: Float[ndarray, "T J"],
    costs: BranchCosts,
    progress: Callable[[int], None],
) -> BranchPath:
    """The best path through the frames; `steps` (T, J) is the largest joint step into each frame [rad]."""
    options, prices, rows = [], [], []
    for k, T in enumerate(Ts_base_tcp):
        q = solutions(T)
        if len(q):
            cost = _prices(ik, q, upper[k], posture[k], costs)
            keep = np.argsort(cost)[:KEEP]
            options.append(q[keep])
            prices.append(cost[keep])
            rows.append(k)
        if k % 20 == 0:
            progress(k)
    solved = np.zeros(len(t), bool)
    if not rows:
        return BranchPath(np.tile(ik.robot.home, (len(t), 1)), solved, 0)
    total, back = prices[0], []
    for i in range(1, len(rows)):
        gap = float(t[rows[i]] - t[rows[i - 1]])
        allowed = steps[rows[i - 1] + 1 : rows[i] + 1].sum(axis=0)
        delta = np.abs(options[i][None, :, :] - options[i - 1][:, None, :])
        step = costs.motion * (delta**2).sum(axis=2) / (30.0 * gap) + JUMP_COST * (delta - allowed).clip(0.0).sum(axis=2)
        through = total[:, None] + step
        back.append(through.argmin(axis=0))
        total = through.min(axis=0) + prices[i]
    choice = [int(total.argmin())]
    for previous in back[::-1]:
        choice.append(int(previous[choice[-1]]))
    path = np.array([options[i][c] for i, c in enumerate(choice[::-1])])
    solved[rows] = True
    bridged = np.stack([np.interp(t, t[rows], path[:, j]) for j in range(path.shape[1])], axis=1)
    changes = (np.abs(np.diff(bridged, axis=0)) > steps[1:]).any(axis=1)
    return BranchPath(bridged, solved, int(changes.sum()))


def _prices(ik: HandFirstIk, q: ndarray, upper: ndarray, posture: ndarray, costs: BranchCosts) -> ndarray:
    """Cost of each solution by itself."""
    directions = np.empty((len(q), 3))
    for i, row in enumerate(q):
        shoulder, elbow, _ = ik.limb_points(row)
        directions[i] = elbow - shoulder
    angle = se3.angle_between(directions, np.broadcast_to(upper, directions.shape))
    margin = np.minimum(q - ik.robot.lower, ik.robot.upper - q)
    near = ((1.0 - margin / LIMIT_ZONE).clip(0.0) ** 2).sum(axis=1)
    return costs.limb * angle**2 + costs.posture * ((q - posture) ** 2).sum(axis=1) + costs.limit * near
