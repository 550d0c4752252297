"""Another way of holding the arm behind a hand that stays exactly where it was."""

from __future__ import annotations

import dataclasses

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.planner import TURN, PlannerConfig
from visual_irl.robots.model import RobotModel
from visual_irl.robots.solutions import FRANKA, Solver, solutions, solver_of

SPACING = np.radians(2.0)
"""Spacing of a redundant joint's values [rad]."""
LAYER = 0.05
"""Time between two layers of the search [s]."""
STEP = 0.45
"""Most that a joint may turn between two layers beyond what it did [rad]."""
STAY = 0.05
"""Weight of the squared distance from the posture that was, against that of squared steps."""
LOOKS = 60
"""Most ways that are checked."""
ROOMY = 0.01
"""Clearance beyond the least one that is kept where the layers lie: smoothing uses it up [m]."""
SMOOTHING = 2.0
"""Standard deviation by which the redundant joint's path is smoothed [layers]."""


def same_hand(
    old: Float[ndarray, "T J"], t: Float[ndarray, "T"], robot: RobotModel, checker: EdgeChecker, config: PlannerConfig
) -> Float[ndarray, "T J"] | None:
    """Free postures [rad] with the tool's poses of `old`, from its first to its last posture; None when there is no such way.

    Only arms with a redundant joint can give way like this: any other would have to change its branch, which moves the hand.
    """
    solver = solver_of(robot, config.position_margin, SPACING)
    if solver.family != FRANKA:
        return None
    layers = np.unique(np.concatenate([np.searchsorted(t, np.arange(t[0], t[-1], LAYER)), [len(t) - 1]]))
    if len(layers) < 4:
        return None
    for roomy in (2.0 * ROOMY, ROOMY, 0.0):
        clear = dataclasses.replace(checker, clearance=checker.clearance + roomy)
        chosen = _way_through(old[layers], robot, solver, clear)
        if chosen is None:
            continue
        for smoothing in (SMOOTHING, 0.5 * SMOOTHING, 0.0):
            found = _followed(old, t, chosen, layers, smoothing, robot, solver)
            if found is not None and checker.path_free(found):
                return found
    return None


def _way_through(old: ndarray, robot: RobotModel, solver: Solver, checker: EdgeChecker) -> ndarray | None:
    """The cheapest postures (L, J) through all free solutions of the layers, from the first posture to the last (Viterbi).

    Only the moves of the cheapest way are checked; one that is not free is cut and the next cheapest way is sought (Bohlin and
    Kavraki 2000, "Path planning using lazy PRM").
    """
    options = [old[:1]]
    for q in old[1:-1]:
        found = solutions(solver, robot.fk(q))
        found = np.where(solver.periodic, found + TURN * np.round((q - found) / TURN), found)
        free = [row for row in found if np.abs(row - q).max() < 1.5 and checker.free(row)]
        if not free:
            return None
        options.append(np.array(free))
    options.append(old[-1:])
    steps = []
    for k in range(1, len(options)):
        step = np.abs(options[k][:, None] - options[k - 1][None] - (old[k] - old[k - 1]))
        steps.append(np.where(step.max(axis=2) > STEP, np.inf, (step**2).sum(axis=2)))
    stay = [STAY * ((o - q) ** 2).sum(axis=1) for o, q in zip(options, old, strict=True)]
    for _ in range(LOOKS):
        way = _cheapest(steps, stay)
        if way is None:
            return None
        chosen = np.array([o[i] for o, i in zip(options, way, strict=True)])
        bad = [k for k in range(len(steps)) if not checker.edge_free(chosen[k], chosen[k + 1])]
        if not bad:
            return chosen
        for k in bad:
            steps[k][way[k + 1], way[k]] = np.inf
    return None


def _cheapest(steps: list[ndarray], stay: list[ndarray]) -> list[int] | None:
    """Which option of every layer the cheapest way takes; none when all are cut."""
    costs, back = stay[0], []
    for k, step in enumerate(steps):
        total = step + costs[None]
        best = np.argmin(total, axis=1)
        costs = total[np.arange(len(best)), best] + stay[k + 1]
        back.append(best)
    if not np.isfinite(costs[0]):
        return None
    way = [0]
    for best in reversed(back):
        way.append(int(best[way[-1]]))
    return way[::-1]


def _followed(
    old: ndarray, t: ndarray, chosen: ndarray, layers: ndarray, smoothing: float, robot: RobotModel, solver: Solver
) -> ndarray | None:
    """Exact solutions (T, J) for every sample along the chosen way, its redundant joint smoothed between its ends."""
    joint = len(solver.chain.lower) - 1
    offset = chosen[:, joint] - old[layers, joint]
    if smoothing > 0.0:
        padded = np.concatenate([np.zeros(20), offset, np.zeros(20)])
        fade = np.sin(np.pi * np.linspace(0.0, 1.0, len(offset))) ** 0.5
        offset = gaussian_filter1d(padded, smoothing)[20:-20] * np.minimum(1.0, 3.0 * fade)
    values = old[:, joint] + np.interp(t, t[layers], offset)
    out = old.copy()
    for k in range(1, len(old) - 1):
        value = float(np.clip(values[k], solver.chain.lower[joint], solver.chain.upper[joint]))
        found = solutions(solver._replace(values=np.array([value])), robot.fk(old[k]))
        if len(found) == 0:
            return None
        guess = np.array([np.interp(t[k], t[layers], column) for column in chosen.T])
        out[k] = found[np.argmin(np.abs(found - guess).max(axis=1))]
    jump = np.abs(np.diff(out - old, axis=0)).max() if len(out) > 1 else 0.0
    return out if jump < 0.3 else None
