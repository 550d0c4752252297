"""The offline mapper: branches of every frame, one best path through all of them, smoothed while the hand stays exact.

It sees the whole recording, so it is what the online mapper is measured against and what its prior learns from. Frames
that no joint angles reach, or only such in which the arm meets itself, are said to be unreachable and hold the nearest pose;
nothing is clipped in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.mapping.branch_path import BranchCosts, BranchPath, best_path, price, refined
from visual_irl.mapping.hand_first import Pull, Work, angle_of, hand_first, limb_direction, work_of
from visual_irl.mapping.smoothing import TOLERANCE, SmoothCosts, smoothed
from visual_irl.mapping.targets import ArmTargets, cut
from visual_irl.robots.chain import forward, tool_error
from visual_irl.robots.model import RobotModel
from visual_irl.robots.self_collision import OVERLAP, clearance
from visual_irl.robots.solutions import Solver, solutions, solver_of

EXACT_POSITION, EXACT_ROTATION = 1e-3, np.radians(1.0)
"""A hand closer than this to its target is there [m], [rad]."""
FINE_SPACING = np.radians(1.0)
"""Grid of the redundant joint on which a frame is searched again before it is called unreachable [rad]."""
NEAREST_STEPS = 80
"""Most steps towards the nearest pose of an unreachable frame."""


@dataclass(frozen=True)
class OfflineConfig:
    """How a recording is mapped."""

    margin: float = 0.002
    """Distance kept from every joint limit [rad]."""
    costs: BranchCosts = field(default_factory=BranchCosts)
    smooth: SmoothCosts = field(default_factory=SmoothCosts)
    beside: bool = True
    """Search beside the grid of a redundant joint, too."""
    continuous: float = 0.6
    """Joint step between two frames above which the arm has changed its branch [rad]."""

    def __post_init__(self) -> None:
        width = (1e-4, 3.0)
        require_within(self, 0.0, 10.0, margin=(0.0, 0.2), continuous=width)
        require_within(self.costs, 0.0, 1e6, zone=width, clear=(1e-4, 0.5), dexterous=(1e-4, 1.0), step=width)
        require_within(self.smooth, 0.0, 1e8, zone=width, step=width, iterations=(0, 1000), reach=(1e-4, 3.0))


@dataclass(frozen=True)
class MappedPath:
    """Joint angles for every frame of the targets, inside the limits, and what is left of the hand's errors."""

    q: Float[ndarray, "T J"]
    """[rad]"""
    position_error: Float[ndarray, "T"]
    """[m]"""
    rotation_error: Float[ndarray, "T"]
    """[rad]"""
    reachable: Bool[ndarray, "T"]
    """Whether any joint angles inside the limits, in which the arm does not meet itself, put the hand there."""
    joined: Bool[ndarray, "T"]
    """Whether the frame continues the one before it: false at the start of a segment and where the branch changes."""

    @property
    def exact(self) -> Bool[ndarray, "T"]:
        """Whether the hand is where it must be: within 1 mm and 1 degree."""
        return (self.position_error < EXACT_POSITION) & (self.rotation_error < EXACT_ROTATION)


def map_offline(
    robot: RobotModel,
    targets: ArmTargets,
    config: OfflineConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
    q_start: Float[ndarray, "J"] | None = None,
    table: Float[ndarray, "4"] | None = None,
    stands: Bool[ndarray, "T"] | None = None,
    pace: Float[ndarray, "2 J"] | None = None,
) -> MappedPath:
    """The best path of an arm for a whole motion; from `q_start` [rad], where the arm goes on from there.

    `stands` is true where the whole arm is at rest; `pace` are joint speeds [rad/s] and accelerations [rad/s^2] that its
    self-motion is to keep to.

    Its links keep above `table` where they can: unit normal in the base frame, and height along it [m].

    Raises:
        InvalidInput: the hand is not at the first target in `q_start`.
    """
    solver = solver_of(robot, config.margin, table=table)
    total = len(targets.t)
    if q_start is not None:
        _check_start(robot, targets, q_start)
    q, solved = best_path(solver, targets, config.costs, lambda done: progress(done // 2, total), q_start)
    if not solved.all():
        _search_again(robot, targets, config, q, solved, table)
        _nearest_poses(robot, targets, solver, q, solved)
    if config.beside:
        q = refined(solver, targets, config.costs, BranchPath(q, solved), 1 if q_start is not None else 0).q
    joined = ~targets.start & np.r_[False, np.abs(np.diff(q, axis=0)).max(axis=1, initial=0.0) <= config.continuous]
    whole = joined & solved & np.r_[False, solved[:-1]]
    for part in _runs(whole):
        fixed = 1 if part.start == 0 and q_start is not None else 0
        still, joins = None if stands is None else stands[part], np.r_[False, whole[part][1:]]
        q[part] = smoothed(solver, cut(targets, part), q[part], joins, config.smooth, fixed, still, pace)
        progress((total + part.stop) // 2, total)
    position, rotation = hand_errors(robot, targets, q)
    progress(total, total)
    return MappedPath(q, position, rotation, solved, joined)


def _check_start(robot: RobotModel, targets: ArmTargets, q_start: ndarray) -> None:
    position, rotation = hand_errors(robot, targets, np.asarray(q_start, float)[None])
    if not (position[0] < EXACT_POSITION and rotation[0] < EXACT_ROTATION):
        raise InvalidInput(
            f"the motion begins {1e3 * position[0]:.1f} mm and {np.degrees(rotation[0]):.1f} degrees from where '{robot.name}' "
            f"is, at most {1e3 * EXACT_POSITION:.0f} mm and {np.degrees(EXACT_ROTATION):.0f} degree: plan it from there"
        )


def hand_errors(
    robot: RobotModel, targets: ArmTargets, q: Float[ndarray, "T J"]
) -> tuple[Float[ndarray, "T"], Float[ndarray, "T"]]:
    """Distance [m] and angle [rad] of the hand to its target in every frame."""
    solver = solver_of(robot)
    work = work_of(solver.chain)
    position, rotation = np.empty(len(q)), np.empty(len(q))
    for t in range(len(q)):
        forward(solver.chain, q[t], work.pose)
        tool_error(work.pose, targets.R[t], targets.p[t], work.e)
        position[t], rotation[t] = np.linalg.norm(work.e[:3]), np.linalg.norm(work.e[3:])
    return position, rotation


def limb_errors(robot: RobotModel, targets: ArmTargets, q: Float[ndarray, "T J"]) -> Float[ndarray, "T 2"]:
    """Angles of the robot's upper arm and forearm to the human's [rad]; NaN where the human's is not known."""
    chain = solver_of(robot).chain
    work = work_of(chain)
    out = np.full((len(q), 2), np.nan)
    for t in range(len(q)):
        forward(chain, q[t], work.pose)
        for limb, target in ((0, targets.upper[t]), (1, targets.fore[t])):
            if target.any():
                limb_direction(chain, work, limb, work.d)
                out[t, limb] = angle_of(work.d, target)
    return out


def _search_again(
    robot: RobotModel, targets: ArmTargets, config: OfflineConfig, q: ndarray, solved: ndarray, table: ndarray | None
) -> None:
    """Frames without a solution are searched on a finer grid; the found one that costs least, and is near, is taken."""
    fine = solver_of(robot, config.margin, FINE_SPACING, table)
    work = work_of(fine.chain)
    for t in np.nonzero(~solved)[0]:
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = targets.R[t], targets.p[t]
        found = solutions(fine, T)
        if len(found):
            before = t - 1 if t and not targets.start[t] and solved[t - 1] else None
            costs = [
                price(fine, work, row, targets.upper[t], targets.fore[t], targets.posture[t], config.costs) for row in found
            ]
            if before is not None:
                costs = list(np.array(costs) + config.costs.motion * ((found - q[before]) ** 2).sum(axis=1))
            if min(costs) < np.inf:
                q[t], solved[t] = found[int(np.argmin(costs))], True


def _nearest_poses(robot: RobotModel, targets: ArmTargets, solver: Solver, q: ndarray, solved: ndarray) -> None:
    """Frames that have no solution get the pose nearest to the target, searched from their neighbour in time."""
    work = work_of(solver.chain)
    zero, pull = np.zeros(len(robot.home)), Pull(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    lower, upper = solver.chain.lower, solver.chain.upper
    for part in targets.segments():
        rows = np.nonzero(solved[part])[0] + part.start
        before = q[rows[0]] if len(rows) else np.clip(robot.home, lower, upper)
        for t in range(part.start, part.stop):
            if not solved[t]:
                q[t] = before
                R, p, u, f = targets.R[t], targets.p[t], targets.upper[t], targets.fore[t]
                error = hand_first(
                    solver.chain, work, q[t], R, p, u, f, zero, pull, lower, upper, 0, NEAREST_STEPS, TOLERANCE
                )  # fmt: skip
                free = _kept_apart(solver, work, before, q[t])
                solved[t] = error < TOLERANCE and free
            before = q[t]


def _kept_apart(solver: Solver, work: Work, before: ndarray, q: ndarray) -> bool:
    """Whether the arm at `q` does not meet itself; if it does, `q` is taken back towards `before` for as far as it must."""
    share, step, goal = 1.0, 0.5, q.copy()
    while step > 0.01:
        forward(solver.chain, q, work.pose)
        meets = clearance(solver.capsules, work.pose, 0.0) < -OVERLAP
        if share == 1.0 and not meets:
            return True
        share += -step if meets else step
        step *= 0.5
        q[:] = before + share * (goal - before)
    q[:] = before + max(share - 2.0 * step, 0.0) * (goal - before)
    return False


def _runs(whole: ndarray) -> list[slice]:
    """Maximal runs of frames in which `whole` is true from the second frame on."""
    edges = [*np.nonzero(~whole)[0].tolist(), len(whole)]
    return [slice(a, b) for a, b in pairwise(edges)]
