"""Where to put a robot so that a free motion (no objects) is within its reach: base yaw and offset, tool yaw, scale.

Objects on a table fix where the hand must be, and are never scaled; this is for plain videos, where only the arm is seen.
The robot's shoulder goes to the person's shoulder; whether the hand's path is scaled by the ratio of the arms' reaches, and
the remaining choices, are scanned for the largest share of frames with a solution and the fewest changes of branch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.mapping.branch_path import BranchCosts, best_path
from visual_irl.mapping.inverse_kinematics import HandFirstIk, IkConfig
from visual_irl.mapping.retarget import limb_reference, symbolic_posture, tool_rotation
from visual_irl.robots.analytic_ik import SOLVERS
from visual_irl.robots.model import RobotModel
from visual_irl.types import HumanArmTrajectory

YAWS = np.radians([0, 45, -45, 90, -90, 135, -135, 180])
OFFSETS = (0.0, -0.15, -0.30)
"""How far the base stands behind the person's shoulder [m]."""
TOOL_YAWS = np.radians([0, 90, 180, -90])
REACH_SHARE = 0.95
"""Share of the robot's reach that the person's longest reach is scaled to."""
GLANCE = 8
"""Frames on which every candidate is judged."""
LOOK = 120
"""Frames on which the best candidates are judged, as a path."""
STEP = 0.8
"""Joint step between two of those frames above which the branch changes [rad]."""
BEST = 12
"""How many candidates are judged as a path."""
CHANGE_COST = 0.05
"""What a change of branch costs, as a share of reached frames: the arm leaves the path while it makes it."""


@dataclass(frozen=True)
class Placement:
    """A base pose, the tool's turn about its own axis [rad], the scale of the hand's path, and the share it reaches."""

    T_world_base: Float[ndarray, "4 4"]
    tool_yaw: float
    scale: float
    reachable: float


def find_placement(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    may_scale: bool,
    progress: Callable[[int, int], None] = lambda i, n: None,
) -> Placement:
    """The placement that reaches the most frames of an arm's motion; the path is scaled only if it may be."""
    scales = sorted({1.0, _scale(arm, robot)} if may_scale else {1.0})
    shoulder = np.median(arm.shoulder, axis=0)
    height = robot.fk(robot.home, robot.shoulder_frame)[2, 3]
    candidates = []
    for scale, yaw, back, tool_yaw in product(scales, YAWS, OFFSETS, TOOL_YAWS):
        base = shoulder + [back, 0.0, -height]
        candidates.append(Placement(se3.transform(se3.exp_so3(np.array([0, 0, yaw])), base), float(tool_yaw), scale, 0.0))
    few = []
    for i, candidate in enumerate(candidates):
        few.append((_glance(candidate, arm, robot), -i, candidate))
        progress(i, len(candidates) + BEST)
    few.sort(reverse=True)
    judged = []
    for i, (_, order, candidate) in enumerate(few[:BEST]):
        share, changes = _look(candidate, arm, robot)
        judged.append((share - CHANGE_COST * changes, order, dataclasses.replace(candidate, reachable=share)))
        progress(len(candidates) + i + 1, len(candidates) + BEST)
    return max(judged)[2]


def placed_arm(arm: HumanArmTrajectory, placement: Placement) -> HumanArmTrajectory:
    """The arm with its joints scaled about the shoulder and its hand turned by the tool yaw, as the robot shall follow it."""

    def scaled(p: ndarray) -> ndarray:
        return arm.shoulder + placement.scale * (p - arm.shoulder)

    Ts = np.array(arm.Ts_world_hand)
    Ts[:, :3, 3] = scaled(arm.Ts_world_hand[:, :3, 3])
    Ts[:, :3, :3] = Ts[:, :3, :3] @ se3.exp_so3(np.array([0.0, 0.0, placement.tool_yaw]))
    return dataclasses.replace(arm, elbow=scaled(arm.elbow), wrist=scaled(arm.wrist), Ts_world_hand=Ts)


def _scale(arm: HumanArmTrajectory, robot: RobotModel) -> float:
    """Robot reach over the person's longest reach: makes the robot's arm as stretched as the person's."""
    q = np.clip(np.zeros_like(robot.home), robot.lower, robot.upper)
    shoulder = robot.fk(q, robot.shoulder_frame)[:3, 3]
    reach = max(
        float(np.linalg.norm(robot.fk(p, robot.tcp_frame)[:3, 3] - shoulder))
        for p in np.random.default_rng(0).uniform(robot.lower, robot.upper, (2000, len(q)))
    )
    person = float(np.percentile(np.linalg.norm(arm.Ts_world_hand[:, :3, 3] - arm.shoulder, axis=1), 99))
    return float(np.clip(REACH_SHARE * reach / max(person, 0.1), 0.7, 1.5))


def _targets(placement: Placement, arm: HumanArmTrajectory, frames: int) -> tuple[HumanArmTrajectory, ndarray, ndarray]:
    """The placed arm, some of its frames, and the tool poses there in the base frame."""
    placed = placed_arm(arm, placement)
    rows = np.unique(np.linspace(0, len(arm.t) - 1, frames).astype(int))
    Ts = placed.Ts_world_hand[rows].copy()
    Ts[:, :3, :3] = tool_rotation(Ts[:, :3, :3])
    return placed, rows, se3.inverse(placement.T_world_base) @ Ts


def _glance(placement: Placement, arm: HumanArmTrajectory, robot: RobotModel) -> float:
    """Share of a few frames with any solution."""
    _, _, Ts = _targets(placement, arm, GLANCE)
    return float(np.mean([len(SOLVERS[robot.name](robot, T)) > 0 for T in Ts]))


def _look(placement: Placement, arm: HumanArmTrajectory, robot: RobotModel) -> tuple[float, int]:
    """Share of more frames with a solution, and how often the best path through them changes branch."""
    placed, rows, Ts = _targets(placement, arm, LOOK)
    upper = limb_reference(placed, elbow_up=False)[rows] @ placement.T_world_base[:3, :3]
    posture = symbolic_posture(robot, placed.side, placed.q[rows])
    steps = np.full((len(rows), len(robot.joint_names)), STEP)
    solver = SOLVERS[robot.name]
    path = best_path(
        HandFirstIk(robot, IkConfig()), lambda T: solver(robot, T), Ts, upper, posture, arm.t[rows], steps, BranchCosts(),
        lambda k: None,
    )  # fmt: skip
    return float(path.solved.mean()), path.changes
