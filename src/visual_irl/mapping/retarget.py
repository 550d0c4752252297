"""A human arm onto a robot: the hand exactly, the joints as the symbolic correspondence says, every limit kept.

Symbolic part: each robot declares which of its joints stand for which human angles. Inverse kinematics then adjusts that
posture as little as the hand allows. The first frame is solved from many starts (the arm's branches); every distinct
branch is followed through the whole motion, and the motion that is exact most often, then most human, wins. Frames that
cannot be reached are reported, with the nearest pose; nothing is clipped in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import Unreachable
from visual_irl.mapping.inverse_kinematics import HandFirstIk, IkConfig
from visual_irl.mapping.timing import resample, retime
from visual_irl.robots.model import RobotModel
from visual_irl.types import ARM_ANGLES, HumanArmTrajectory, JointTrajectory


@dataclass(frozen=True)
class RetargetConfig:
    """How a human arm becomes a robot's motion."""

    ik: IkConfig = field(default_factory=IkConfig)
    starts: int = 40
    """Random starts for the first frame, beside home and the symbolic posture."""
    branches: int = 4
    """Branches that are followed through the whole motion."""
    jump: float = 0.35
    """A joint step above this between two frames is a jump [rad]."""
    speed_share: float = 0.7
    """Share of the robot's speed and acceleration limits that is used."""
    rate: float = 100.0
    """Samples a second of the result [1/s]."""
    min_reachable: float = 0.5
    """Smallest share of reachable frames for which a trajectory is made."""
    seed: int = 0
    """Seed of the random starts."""


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
    robot_points: Float[ndarray, "T 4 3"]
    """Robot shoulder, elbow, wrist and tool point in the world [m]."""

    def summary(self) -> dict[str, float]:
        """Figures for people: millimetres and degrees."""
        ok = self.reachable
        return {
            "frames": len(ok),
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


def symbolic_posture(robot: RobotModel, q_human: Float[ndarray, "T 7"]) -> Float[ndarray, "T J"]:
    """The robot joints that the declared correspondence gives for human angles, inside the limits."""
    q = np.tile(robot.home, (len(q_human), 1))
    for joint, angle, sign, offset in robot.correspondence:
        q[:, robot.joint_names.index(joint)] = sign * q_human[:, ARM_ANGLES.index(angle)] + offset
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
    upper = _unit(arm.elbow - arm.shoulder) @ R_base_world.T
    posture = symbolic_posture(robot, arm.q)
    ik = HandFirstIk(robot, config.ik)
    starts = _branches(ik, Ts_base_tcp, upper, posture, config)
    runs = []
    for k, start in enumerate(starts):
        runs.append(_follow(ik, Ts_base_tcp, upper, posture, start,
                            lambda done, k=k: progress(k * len(arm.t) + done, len(starts) * len(arm.t))))
    progress(1, 1)
    reports = [_report(ik, arm, T_world_base, q, errors) for q, errors in runs]
    report = min(reports, key=lambda r: _cost(r, config))
    share = float(report.reachable.mean())
    if not share >= config.min_reachable:
        far = float(np.median(report.position_error[~report.reachable]))
        raise Unreachable(
            f"'{robot.name}' reaches {100 * share:.0f} % of the hand poses (at least {100 * config.min_reachable:.0f} % are "
            f"needed); the others are missed by {1e3 * far:.0f} mm in the median: move the base with --mount X Y Z or film closer"
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


def _branches(ik: HandFirstIk, Ts: ndarray, upper: ndarray, posture: ndarray, config: RetargetConfig) -> list[ndarray]:
    """Distinct solutions of the first frame, the most human and farthest from limits first."""
    rng = np.random.default_rng(config.seed)
    seeds = [posture[0], ik.robot.home, *rng.uniform(ik.lower, ik.upper, (config.starts, len(ik.lower)))]
    found: list[tuple[float, ndarray]] = []
    for seed in seeds:
        solution = ik.solve(Ts[0], seed, upper[0])
        if all(np.abs(solution.q - q).max() > 0.3 for _, q in found):
            shoulder, elbow, _ = ik.limb_points(solution.q)
            human = float(se3.angle_between(elbow - shoulder, upper[0]))
            margin = float(np.minimum(solution.q - ik.lower, ik.upper - solution.q).min())
            far = 10.0 * min(solution.position_error, 1.0) if not solution.exact else 0.0
            found.append((far + human + 2.0 * max(0.0, 0.3 - margin), solution.q))
    return [q for _, q in sorted(found, key=lambda item: item[0])[: config.branches]]


def _follow(
    ik: HandFirstIk, Ts: ndarray, upper: ndarray, posture: ndarray, start: ndarray, progress: Callable[[int], None]
) -> tuple[ndarray, ndarray]:
    """Joint path from a start through all frames, and the hand's errors (T, 2) [m], [rad]."""
    q, path, errors = start, [], []
    for k, T in enumerate(Ts):
        solution = ik.solve(T, q, upper[k], posture[k])
        q = solution.q
        path.append(q)
        errors.append((solution.position_error, solution.rotation_error))
        if k % 50 == 0:
            progress(k)
    return np.array(path), np.array(errors)


def _report(ik: HandFirstIk, arm: HumanArmTrajectory, T_world_base: ndarray, q: ndarray, errors: ndarray) -> MappingReport:
    points = np.array([[*ik.limb_points(row), ik.data.oMf[ik.tcp].translation.copy()] for row in q])
    points = se3.apply(T_world_base, points)
    upper = se3.angle_between(points[:, 1] - points[:, 0], arm.elbow - arm.shoulder)
    fore = se3.angle_between(points[:, 2] - points[:, 1], arm.wrist - arm.elbow)
    reachable = (errors[:, 0] < 1e-3) & (errors[:, 1] < np.radians(1.0))
    return MappingReport(arm.t, q, errors[:, 0], errors[:, 1], upper, fore, reachable, points)


def _cost(report: MappingReport, config: RetargetConfig) -> float:
    """What makes a branch worse: frames out of reach, jumps, and an arm unlike the human's."""
    jumps = int((np.abs(np.diff(report.q, axis=0)).max(axis=1) > config.jump).sum())
    limbs = float(report.upper_error.mean() + report.fore_error.mean())
    return 100.0 * float((~report.reachable).mean()) + 10.0 * jumps + limbs


def _unit(v: ndarray) -> ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
