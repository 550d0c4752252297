"""Where to put a robot so that demonstrations are within its reach: base pose, turn of the tool in the hand, scale.

Two cases. A *free* motion (motion capture, a plain video) has no objects: the robot's shoulder goes to the person's, the
base may be turned any way, and the arm is scaled to the robot's: the wrist's path by the ratio of the arms' lengths, with
the robot's own hand length along the fingers beyond it. In a *workspace* the hand goes where the objects are, which is
never scaled: the base stands upright and is moved and turned instead.

Every candidate is judged on a few frames by its share of frames with a solution and by how near the best solution's limbs
come to the human's; the best ones then by the best path through longer stretches, with its jumps; the best of those by the
finished motion, with its jerk. The winner lies on a grid: it is turned and moved a little, as long as the finished motion gets
better by that in one way and worse in none (pattern search; Hooke and Jeeves 1961).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl import se3
from visual_irl.mapping.branch_path import BranchCosts, best_path, price
from visual_irl.mapping.hand_first import work_of
from visual_irl.mapping.offline import OfflineConfig, limb_errors, map_offline
from visual_irl.mapping.targets import ArmTargets, cut, targets_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.solutions import Solver, capacity, solutions_into, solver_of
from visual_irl.types import HumanArmTrajectory

REACH_SHARE = 0.95
"""Length of the scaled human arm as a share of the robot's."""
YAWS = np.radians(np.arange(0, 360, 45))
TOOL_YAWS = np.radians(np.arange(0, 360, 45))
BACK = (-0.55, -0.40, -0.25, -0.10, 0.05)
"""Where a workspace's base may stand before (negative: behind) the person's shoulder [m]."""
ASIDE = (-0.30, 0.0, 0.30)
"""The same to the left [m]."""
UP = (0.0, 0.25)
"""Height of the base above the lowest hand [m]."""
GLANCE = 40
"""Frames on which every candidate is judged."""
COARSE = np.radians(30.0)
"""Grid of a redundant joint in that first look [rad]."""
BEST, FINAL = 24, 6
"""How many candidates are judged as a path, and how many of those as the finished motion."""
COSTS = BranchCosts(posture=0.0)
"""Costs of a path when placements are compared: the posture that fits best depends on the placement itself."""
NUDGES = (1.0, 0.5, 0.25)
"""How far the winner is turned or moved in each round, as shares of half the grid's spacing, ..."""
MOVES = 3
"""... and how often at most in a round."""
WORTH = 0.95
"""A place off the grid is taken if the motion costs no more than this share of what it does on the grid: a live arm may fare
worse there as well as better."""
STRETCHES, STRETCH = 6, 250
"""How many stretches of how many frames they are judged on."""
UNREACHABLE_COST = 20.0
"""Cost of a frame without a solution, in rad^2 of limb error."""
JUMP_COST = 5.0
"""Cost of a jump, likewise."""
JERK_COST = 0.03
"""Cost of a mean squared jerk of 10,000 rad/s^3, in rad^2 of limb error a frame."""


@dataclass(frozen=True)
class Placement:
    """How demonstrations are laid before a robot."""

    T_world_base: Float[ndarray, "4 4"]
    """Base pose in the frame of the demonstration."""
    tool_yaw: float
    """Turn of the tool about the fingers' direction [rad]."""
    arm_scale: float | None
    """Scale of the wrist's path about the shoulder; nothing is scaled when None."""
    hand_length: float
    """Distance from the scaled wrist to the tool along the fingers [m]; used with `arm_scale`."""
    reachable: float
    """Share of the judged frames with a solution."""


def placed_arm(arm: HumanArmTrajectory, placement: Placement) -> HumanArmTrajectory:
    """The arm as the robot shall follow it: scaled if the placement scales, hand turned by the tool yaw."""
    Ts = np.array(arm.Ts_world_hand)
    Ts[:, :3, :3] = Ts[:, :3, :3] @ se3.exp_so3(np.array([0.0, 0.0, placement.tool_yaw]))
    if placement.arm_scale is None:
        return dataclasses.replace(arm, Ts_world_hand=Ts)
    elbow, wrist = (arm.shoulder + placement.arm_scale * (p - arm.shoulder) for p in (arm.elbow, arm.wrist))
    Ts[:, :3, 3] = wrist + placement.hand_length * Ts[:, :3, 2]
    return dataclasses.replace(arm, elbow=elbow, wrist=wrist, Ts_world_hand=Ts)


def placed_targets(
    arm: HumanArmTrajectory, robot: RobotModel, placement: Placement, elbow_up: bool = False, start: ndarray | None = None
) -> ArmTargets:
    """The targets of an arm laid before a robot."""
    return targets_of(placed_arm(arm, placement), robot, placement.T_world_base, elbow_up, start)


def calibrate_mount(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    free: bool,
    start: ndarray | None = None,
    turn_tool: bool = True,
    progress: Callable[[int, int], None] = lambda i, n: None,
) -> Placement:
    """The placement that reaches the most frames with the most human limbs; see the module for `free`.

    The tool keeps its turn in the hand unless `turn_tool`: a skill's gripper closes across what it grasps.
    """
    few = _few(arm)
    candidates = list(_free_candidates(arm, robot) if free else _workspace_candidates(arm, robot))
    candidates = [c for c in candidates if turn_tool or c.tool_yaw == 0.0]
    total = len(candidates) + 10 * (BEST + len(NUDGES))
    solver = solver_of(robot, 0.01, COARSE)
    work, found = work_of(solver.chain), np.empty((capacity(solver), len(robot.home)))
    judged = []
    for i, candidate in enumerate(candidates):
        g = placed_targets(few, robot, candidate)
        cost = _glance(solver, work, found, g.R, g.p, g.upper, g.fore, g.posture, COSTS, UNREACHABLE_COST)
        judged.append((cost, i))
        if i % 20 == 0:
            progress(i, total)
    judged = _distinct(sorted(judged), candidates)
    hopeful = []
    solver = solver_of(robot, 0.01)
    for k, (_, i) in enumerate(judged[:BEST]):
        targets = placed_targets(arm, robot, candidates[i], start=start)
        hopeful.append((np.mean([_path_cost(solver, cut(targets, part)) for part in _stretches(targets)]), i))
        progress(len(candidates) + 10 * (k + 1), total)
    places = [candidates[i] for _, i in sorted(hopeful)[:FINAL]]
    best = winner = min((_look(arm, robot, place, start) for place in places), key=lambda look: look.cost)
    ground = np.array([c.T_world_base[:3, 3] for c in candidates])
    for k, size in enumerate(NUDGES):
        for _ in range(MOVES):
            around = [c for c in _nudged(best.placement, robot, free, turn_tool, size) if free or _within(c, ground)]
            better = [look for c in around if (look := _look(arm, robot, c, start)).betters(best)]
            if not better:
                break
            best = min(better, key=lambda look: look.cost)
        progress(total - 10 * (len(NUDGES) - k - 1), total)
    if best is winner:
        return winner.placement
    unseen = [_look(arm, robot, look.placement, start, between=True) for look in (winner, best)]
    return best.placement if unseen[1].cost <= WORTH * unseen[0].cost else winner.placement


def varied_placements(
    arm: HumanArmTrajectory, robot: RobotModel, rng: np.random.Generator, count: int, tries: int = 160
) -> list[Placement]:
    """Different ways to lay a motion before a robot, none of them bad: what a network is taught by.

    Drawn from the best of `tries` random ones: *free*, with the base and the tool turned anyhow and the arm scaled to 0.85 to 1
    times the robot's; every other time the best one in a *workspace* is among them.
    """
    few = _few(arm)
    limbs, hand = robot.limb_lengths()
    length, shoulder, offset = _length(arm), np.median(arm.shoulder, axis=0), robot.fk(robot.home, robot.shoulder_frame)[:3, 3]
    solver = solver_of(robot, 0.01, COARSE)
    work, found = work_of(solver.chain), np.empty((capacity(solver), len(robot.home)))
    upright, candidates, judged = list(_workspace_candidates(arm, robot)), [], []
    for i in range(tries):
        turn, free = float(rng.uniform(-np.pi, np.pi)), i % 4 < 3
        if free:
            axis = rng.normal(size=3)
            R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), axis / np.linalg.norm(axis))
            R = R @ se3.exp_so3(np.array([0.0, 0.0, rng.uniform(-np.pi, np.pi)]))
            scale = float(rng.uniform(0.85, 1.0) * limbs / length)
            candidate = Placement(se3.transform(R, shoulder - R @ offset), turn, scale, hand, 0.0)
        else:
            candidate = dataclasses.replace(upright[rng.integers(len(upright))], tool_yaw=turn)
        g = placed_targets(few, robot, candidate, elbow_up=not free)
        judged.append(
            (not free, _glance(solver, work, found, g.R, g.p, g.upper, g.fore, g.posture, COSTS, UNREACHABLE_COST), i)
        )
        candidates.append(candidate)
    judged.sort()
    chosen = [candidates[judged[k][2]] for k in rng.permutation(2 * count)[:count]]
    if rng.uniform() < 0.5:
        chosen[-1] = candidates[next(i for aside, _, i in judged if aside)]
    return chosen


def _few(arm: HumanArmTrajectory) -> HumanArmTrajectory:
    """The frames that every candidate is judged on."""
    rows = np.unique(np.linspace(0, len(arm.t) - 1, GLANCE).astype(int))
    return HumanArmTrajectory(
        *(getattr(arm, f.name) if f.name == "side" else getattr(arm, f.name)[rows] for f in dataclasses.fields(arm))
    )


def _length(arm: HumanArmTrajectory) -> float:
    """Length of both limbs in the median [m]."""
    return float(np.median(np.linalg.norm(arm.elbow - arm.shoulder, axis=1) + np.linalg.norm(arm.wrist - arm.elbow, axis=1)))


def _distinct(judged: list[tuple[float, int]], candidates: list[Placement]) -> list[tuple[float, int]]:
    """Of candidates that differ in the base's turn about its own axis only, the best: the arm's first joint turns there too."""
    seen, kept = set(), []
    for cost, i in judged:
        c = candidates[i]
        key = (*c.T_world_base[:3, 2:].round(3).ravel().tolist(), round(c.tool_yaw, 3))
        if key not in seen:
            seen.add(key)
            kept.append((cost, i))
    return kept


def _path_cost(solver: Solver, targets: ArmTargets) -> float:
    """Mean cost of a frame on the best path, and of its jumps."""
    path = best_path(solver, targets, COSTS)
    work, rows = work_of(solver.chain), np.nonzero(path.solved)[0]
    prices = [price(solver, work, path.q[t], targets.upper[t], targets.fore[t], targets.posture[t], COSTS) for t in rows]
    jumps = _jumps(path.q, targets, path.solved)
    return float((sum(prices) + UNREACHABLE_COST * (len(path.q) - len(rows)) + JUMP_COST * jumps) / len(path.q))


class _Look(NamedTuple):
    """A placement with the share that it reaches, and of a frame of the finished motion: cost, limbs and jumps in the mean."""

    placement: Placement
    cost: float
    limbs: float
    jumps: float

    def betters(self, other: _Look) -> bool:
        """Whether it costs less, and reaches as much, with limbs as near and as few jumps."""
        worse = (self.placement.reachable < other.placement.reachable, self.limbs > other.limbs, self.jumps > other.jumps)
        return self.cost < other.cost and not any(worse)


def _look(
    arm: HumanArmTrajectory, robot: RobotModel, placement: Placement, start: ndarray | None, between: bool = False
) -> _Look:
    """The finished motion with a placement, on the stretches that all are judged on, or on those between them."""
    targets = placed_targets(arm, robot, placement, start=start)
    rows = [_finished(robot, cut(targets, part)) for part in _stretches(targets, between)]
    limbs, jumps, jerk, reached = np.mean(rows, axis=0).tolist()
    cost = limbs + UNREACHABLE_COST * (1.0 - reached) + JUMP_COST * jumps + JERK_COST * jerk / 1e8
    return _Look(dataclasses.replace(placement, reachable=reached), cost, limbs, jumps)


def _finished(robot: RobotModel, targets: ArmTargets) -> tuple[float, float, float, float]:
    """Squared angles of both limbs [rad^2], jumps, squared jerk [rad^2/s^6] and what is reached, a frame in the mean."""
    path = map_offline(robot, targets, OfflineConfig(beside=False))
    limbs = float(np.nanmean(limb_errors(robot, targets, path.q) ** 2, axis=0).sum())
    jumps = _jumps(path.q, targets, np.ones(len(path.q), bool)) / len(path.q)
    third = np.diff(path.q, 3, axis=0)[~(targets.start[1:-2] | targets.start[2:-1] | targets.start[3:])]
    jerk = float((third**2).mean()) / targets.interval() ** 6 if len(third) else 0.0
    return limbs, jumps, jerk, float(path.reachable.mean())


def _jumps(q: ndarray, targets: ArmTargets, solved: ndarray) -> int:
    """Steps between neighbouring solved frames of one recording that are too large to be continuous."""
    steps = np.abs(np.diff(q, axis=0)).max(axis=1) > COSTS.step
    return int((steps & ~targets.start[1:] & solved[1:] & solved[:-1]).sum())


def _free_candidates(arm: HumanArmTrajectory, robot: RobotModel) -> Iterator[Placement]:
    """Shoulder on shoulder, base turned any way by eighths of a turn; arms that turn endlessly need not be turned."""
    limbs, hand = robot.limb_lengths()
    scale = REACH_SHARE * limbs / _length(arm)
    shoulder = np.median(arm.shoulder, axis=0)
    offset, (base_endless, tool_endless) = robot.fk(robot.home, robot.shoulder_frame)[:3, 3], _endless(robot)
    for axis in product((-1.0, 0.0, 1.0), repeat=3):
        if not any(axis):
            continue
        R_axis = se3.rotation_between(np.array([0.0, 0.0, 1.0]), np.array(axis) / np.linalg.norm(axis))
        for yaw in YAWS[:1] if base_endless else YAWS:
            R = R_axis @ se3.exp_so3(np.array([0.0, 0.0, yaw]))
            for tool_yaw in TOOL_YAWS[:1] if tool_endless else TOOL_YAWS:
                yield Placement(se3.transform(R, shoulder - R @ offset), float(tool_yaw), scale, hand, 0.0)


def _workspace_candidates(arm: HumanArmTrajectory, robot: RobotModel) -> Iterator[Placement]:
    """An upright base on a grid around the person's shoulder."""
    shoulder, lowest = np.median(arm.shoulder, axis=0), float(arm.Ts_world_hand[:, 2, 3].min())
    base_endless, tool_endless = _endless(robot)
    for back, aside, up, yaw, tool_yaw in product(
        BACK, ASIDE, UP, YAWS[:1] if base_endless else YAWS, TOOL_YAWS[:1] if tool_endless else TOOL_YAWS
    ):
        base = np.array([shoulder[0] + back, shoulder[1] + aside, lowest + up])
        yield Placement(se3.transform(se3.exp_so3(np.array([0.0, 0.0, yaw])), base), float(tool_yaw), None, 0.0, 0.0)


def _nudged(placement: Placement, robot: RobotModel, free: bool, turn_tool: bool, size: float) -> Iterator[Placement]:
    """The placement turned or moved to either side, in one way at a time, by `size` times half the grid's spacing.

    *Free*: turned about the shoulder, by each axis of the base. In a *workspace*: moved level, and turned about the vertical.
    """
    T, (base, tool) = placement.T_world_base, _endless(robot)
    shoulder = robot.fk(robot.home, robot.shoulder_frame)[:3, 3] if free else np.zeros(3)
    turn, shift = size * YAWS[1] / 2, 0.0 if free else size * (BACK[1] - BACK[0]) / 2
    for sign in (-1.0, 1.0):
        for axis in np.eye(3)[0 if free else 2 : 2 if base else 3]:
            R = se3.exp_so3(sign * turn * axis)
            yield dataclasses.replace(placement, T_world_base=T @ se3.transform(R, shoulder - R @ shoulder))
        for step in sign * shift * np.eye(4)[:2, :3] if shift else ():
            yield dataclasses.replace(placement, T_world_base=se3.transform(T[:3, :3], T[:3, 3] + step))
        if turn_tool and not tool:
            yield dataclasses.replace(placement, tool_yaw=placement.tool_yaw + sign * turn)


def _within(placement: Placement, ground: Float[ndarray, "N 3"]) -> bool:
    """Whether the base stands in the box that holds the places in `ground`."""
    p = placement.T_world_base[:3, 3]
    return bool(((p >= ground.min(axis=0) - 1e-9) & (p <= ground.max(axis=0) + 1e-9)).all())


def _endless(robot: RobotModel) -> tuple[bool, bool]:
    """Whether the first and the last joint turn all the way round, so that base or tool need not be turned."""
    endless = robot.upper - robot.lower > 4.0 * np.pi - 1e-6
    return bool(endless[0]), bool(endless[-1])


def _stretches(targets: ArmTargets, between: bool = False) -> list[slice]:
    """Stretches of consecutive frames spread over a motion, or those half-way between them; all of it when it is short."""
    frames = len(targets.t)
    if frames <= STRETCHES * STRETCH:
        return [slice(0, frames)]
    begins = np.linspace(0, frames - STRETCH, STRETCHES)
    begins = (begins[:-1] + begins[1:]) / 2 if between else begins
    return [slice(a, a + STRETCH) for a in begins.astype(int).tolist()]


@njit(cache=True, nogil=True)
@no_type_check
def _glance(solver, work, found, R, p, upper, fore, posture, costs, unreachable):
    """Cost of a candidate: each frame's cheapest solution, or that of having none."""
    total = 0.0
    for t in range(len(p)):
        n = solutions_into(solver, R[t], p[t], found)
        best = unreachable
        for i in range(n):
            best = min(best, price(solver, work, found[i], upper[t], fore[t], posture[t], costs))
        total += best
    return total
