"""A human arm onto a robot: the hand exactly, the joints as the symbolic correspondence says, every limit kept.

Symbolic part: each robot declares which of its joints stand for which human angles. Inverse kinematics then adjusts that
posture as little as the hand allows: all analytic solutions of every frame, the best path through them, smoothed, and
then adjusted until the hand is exact again. Frames that cannot be reached are reported, with the nearest pose; nothing is
clipped in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from visual_irl import se3
from visual_irl.errors import Unreachable
from visual_irl.mapping.branch_path import BranchCosts, best_path
from visual_irl.mapping.inverse_kinematics import HandFirstIk, IkConfig
from visual_irl.mapping.timing import resample, retime
from visual_irl.robots.analytic_ik import SOLVERS
from visual_irl.robots.model import RobotModel
from visual_irl.types import ARM_ANGLES, HumanArmTrajectory, JointTrajectory


@dataclass(frozen=True)
class RetargetConfig:
    """How a human arm becomes a robot's motion."""

    ik: IkConfig = field(default_factory=IkConfig)
    costs: BranchCosts = field(default_factory=BranchCosts)
    smooth_seconds: float = 0.12
    """Standard deviation of the window that smooths the posture before the hand is made exact [s]."""
    step: float = 0.4
    """Largest joint step between two frames of one branch [rad]; above it, the arm leaves the path to change branch."""
    speed_share: float = 0.7
    """Share of the robot's speed and acceleration limits that is used."""
    elbow_up: bool = True
    """Mirror the upper arm's direction upwards: an arm that stands on the table cannot let its elbow hang below it."""
    rate: float = 100.0
    """Samples a second of the result [1/s]."""
    min_reachable: float = 0.2
    """Smallest share of reachable frames for which a trajectory is made."""


@dataclass(frozen=True)
class MappingReport:
    """Per frame of the human motion: what the robot reaches, and how human it looks.

    Errors of the hand [m], [rad]; angle between the human's and the robot's upper arm and forearm [rad].
    """

    t: Float[ndarray, "T"]
    q: Float[ndarray, "T J"]
    position_error: Float[ndarray, "T"]
    rotation_error: Float[ndarray, "T"]
    upper_error: Float[ndarray, "T"]
    fore_error: Float[ndarray, "T"]
    reachable: Bool[ndarray, "T"]
    observed: Bool[ndarray, "T"]
    """Where the human arm was seen; elsewhere its path was bridged."""
    robot_points: Float[ndarray, "T 4 3"]
    """Robot shoulder, elbow, wrist and tool point in the world [m]."""

    def summary(self) -> dict[str, float]:
        """Figures for people: millimetres and degrees."""
        ok = self.reachable
        return {
            "frames": len(ok),
            "observed": float(self.observed.mean()),
            "reachable": float(ok.mean()),
            "position_mm_median": float(np.median(self.position_error[ok]) * 1e3) if ok.any() else float("nan"),
            "position_mm_max": float(self.position_error[ok].max() * 1e3) if ok.any() else float("nan"),
            "upper_deg_mean": float(np.degrees(self.upper_error.mean())),
            "fore_deg_mean": float(np.degrees(self.fore_error.mean())),
            "jumps": int((np.abs(np.diff(self.q, axis=0)).max(axis=1) > 0.2).sum()),
        }


def tool_rotation(R_world_hand: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B 3 3"]:
    """Tool axes for a hand: z (approach) along the fingers, y (closing) along the palm normal, x to the thumb side."""
    palm, thumb, fingers = (R_world_hand[..., k] for k in range(3))
    return np.stack([thumb, -palm, fingers], axis=-1)


def limb_reference(arm: HumanArmTrajectory, elbow_up: bool) -> Float[ndarray, "T 3"]:
    """Upper-arm directions in the world that the robot is pulled towards: the human's, or those mirrored upwards."""
    upper = _unit(arm.elbow - arm.shoulder)
    return np.column_stack([upper[:, :2], np.abs(upper[:, 2])]) if elbow_up else upper


MIRRORED = ("shoulder_plane", "shoulder_rotation")
"""Angles whose joints turn the other way for a left arm: the correspondence is declared for a right one."""


def symbolic_posture(robot: RobotModel, side: str, q_human: Float[ndarray, "T 7"]) -> Float[ndarray, "T J"]:
    """The robot joints that the declared correspondence gives for the angles of a human arm, inside the limits."""
    q = np.tile(robot.home, (len(q_human), 1))
    for joint, angle, sign, offset in robot.correspondence:
        mirror = -1.0 if side == "left" and angle in MIRRORED else 1.0
        q[:, robot.joint_names.index(joint)] = mirror * (sign * q_human[:, ARM_ANGLES.index(angle)] + offset)
    return np.clip(q, robot.lower, robot.upper)


def retarget(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    config: RetargetConfig,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[JointTrajectory, MappingReport]:
    """The robot's motion for a human arm's, and a report per frame of the human motion.

    Raises:
        Unreachable: fewer frames than `min_reachable` can be reached, with how far off they are.
    """
    Ts_base_tcp = np.tile(se3.inverse(T_world_base), (len(arm.t), 1, 1)) @ _tool_poses(arm)
    R_base_world = T_world_base[:3, :3].T
    upper = limb_reference(arm, config.elbow_up) @ R_base_world.T
    posture = symbolic_posture(robot, arm.side, arm.q)
    ik = HandFirstIk(robot, config.ik)
    steps = np.full((len(arm.t), len(robot.joint_names)), config.step)
    solver = SOLVERS[robot.name]
    total = 2 * len(arm.t)
    path = best_path(
        ik,
        lambda T: solver(robot, T),
        Ts_base_tcp,
        upper,
        posture,
        arm.t,
        steps,
        config.costs,
        lambda k: progress(k, total),
    ).q
    path = _smooth(path, arm.t, steps, config.smooth_seconds)
    q, errors = _exact(ik, Ts_base_tcp, path, steps, lambda k: progress(len(arm.t) + k, total))
    progress(total, total)
    report = _report(ik, arm, T_world_base, q, errors)
    share = float(report.reachable.mean())
    if not share >= config.min_reachable:
        far = float(np.median(report.position_error[~report.reachable]))
        raise Unreachable(
            f"'{robot.name}' reaches {100 * share:.0f} % of the hand poses (at least {100 * config.min_reachable:.0f} % are "
            f"needed); the others are missed by {1e3 * far:.0f} mm in the median: move the base with --mount"
        )
    times = retime(arm.t, report.q, robot.velocity, robot.acceleration, config.speed_share)
    t, q, qd = resample(times, report.q, config.rate)
    q = np.clip(q, robot.lower, robot.upper)  # a spline may overshoot its samples by less than the kept margin
    opening = np.interp(t, times, (1.0 - arm.grip) * robot.max_opening)
    return JointTrajectory(robot.joint_names, t - t[0], q, qd, opening), report


def _tool_poses(arm: HumanArmTrajectory) -> ndarray:
    Ts = np.array(arm.Ts_world_hand)
    Ts[:, :3, :3] = tool_rotation(arm.Ts_world_hand[:, :3, :3])
    return Ts


def _smooth(path: ndarray, t: ndarray, steps: ndarray, seconds: float) -> ndarray:
    """The path without the grid of the redundant joint; changes of branch, which no arm makes in a frame, stay sharp."""
    width = seconds / float(np.median(np.diff(t)))
    changes = np.nonzero((np.abs(np.diff(path, axis=0)) > steps[1:]).any(axis=1))[0] + 1
    parts = np.split(path, changes)
    return np.concatenate([gaussian_filter1d(part, width, axis=0, mode="nearest") for part in parts])


def _exact(
    ik: HandFirstIk, Ts: ndarray, path: ndarray, steps: ndarray, progress: Callable[[int], None]
) -> tuple[ndarray, ndarray]:
    """The joint path near `path` whose hand is exact, no step above `steps`; what is left of the hand's errors (T, 2).

    After a change of branch the arm moves to the new one as fast as it may; meanwhile the hand is off, and says so.
    """
    q, rows, errors = path[0], [], []
    for k, T in enumerate(Ts):
        within = steps[k] if k else np.full_like(q, np.inf)
        if (np.abs(path[k] - q) > 1.5 * within).any():
            q = q + np.clip(path[k] - q, -within, within)
            error = ik.hand_error(q, T)
        else:
            solution = ik.solve(T, q, q_posture=path[k], within=within)
            q, error = solution.q, (solution.position_error, solution.rotation_error)
        rows.append(q)
        errors.append(error)
        if k % 50 == 0:
            progress(k)
    return np.array(rows), np.array(errors)


def _report(ik: HandFirstIk, arm: HumanArmTrajectory, T_world_base: ndarray, q: ndarray, errors: ndarray) -> MappingReport:
    points = np.array([[*ik.limb_points(row), ik.data.oMf[ik.tcp].translation.copy()] for row in q])
    points = se3.apply(T_world_base, points)
    upper = se3.angle_between(points[:, 1] - points[:, 0], arm.elbow - arm.shoulder)
    fore = se3.angle_between(points[:, 2] - points[:, 1], arm.wrist - arm.elbow)
    reachable = (errors[:, 0] < 1e-3) & (errors[:, 1] < np.radians(1.0))
    return MappingReport(arm.t, q, errors[:, 0], errors[:, 1], upper, fore, reachable, arm.observed, points)


def _unit(v: ndarray) -> ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
