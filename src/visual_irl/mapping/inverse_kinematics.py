"""Hand-first inverse kinematics: the hand pose exactly, the rest of the arm as close to the human's as the hand allows.

Damped least squares on the hand (Nakamura and Hanafusa 1986) with the gradient of the posture cost projected into the
hand's null space (Liegeois 1977). A joint that would leave its limits is held there and the step is solved again for the
others, so limits hold in every iterate. Written on Pinocchio.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pinocchio as pin
from jaxtyping import Float
from numpy import ndarray

from visual_irl.robots.model import RobotModel


@dataclass(frozen=True)
class IkConfig:
    """How the hand is solved for."""

    position_tolerance: float = 1e-5
    """A hand closer than this is exact [m]."""
    rotation_tolerance: float = 1e-4
    """A hand turned by less than this is exact [rad]."""
    iterations: int = 60
    """Most steps a frame."""
    posture_iterations: int = 4
    """Steps in which the posture is pulled on; the later ones only finish the hand."""
    damping: float = 1e-4
    """Damping of the hand's least squares, relative to unit Jacobian columns."""
    step: float = 0.3
    """Largest joint step [rad]."""
    posture_gain: float = 0.3
    """Null-space pull towards the symbolic posture, per step."""
    margin: float = 0.02
    """Distance kept from every joint limit [rad]."""


@dataclass(frozen=True)
class Solution:
    """Joint angles [rad] that always respect the limits, and what is left of the hand's error [m], [rad]."""

    q: Float[ndarray, "J"]
    position_error: float
    rotation_error: float
    exact: bool


class HandFirstIk:
    """Inverse kinematics of one robot; holds the Pinocchio buffers."""

    def __init__(self, robot: RobotModel, config: IkConfig) -> None:
        self.robot, self.config = robot, config
        self.model = robot.pinocchio()
        self.data = self.model.createData()
        self.tcp = robot.frame_id(robot.tcp_frame)
        self.shoulder = robot.frame_id(robot.shoulder_frame)
        self.elbow = robot.frame_id(robot.elbow_frame)
        self.wrist = robot.frame_id(robot.wrist_frame)
        self.lower = robot.lower + config.margin
        self.upper = robot.upper - config.margin

    def limb_points(self, q: Float[ndarray, "J"]) -> tuple[ndarray, ndarray, ndarray]:
        """Shoulder, elbow and wrist points [m] of the robot in its base frame."""
        pin.framesForwardKinematics(self.model, self.data, q)
        points = (self.data.oMf[f].translation.copy() for f in (self.shoulder, self.elbow, self.wrist))
        shoulder, elbow, wrist = points
        return shoulder, elbow, wrist

    def hand_error(self, q: Float[ndarray, "J"], T_base_tcp: Float[ndarray, "4 4"]) -> tuple[float, float]:
        """Distance [m] and angle [rad] of the hand to a pose."""
        T = self.robot.fk(q, self.robot.tcp_frame)
        angle = np.linalg.norm(pin.log3(np.ascontiguousarray(T[:3, :3].T @ T_base_tcp[:3, :3])))
        return float(np.linalg.norm(T[:3, 3] - T_base_tcp[:3, 3])), float(angle)

    def solve(
        self,
        T_base_tcp: Float[ndarray, "4 4"],
        q_start: Float[ndarray, "J"],
        q_posture: Float[ndarray, "J"] | None = None,
        within: Float[ndarray, "J"] | None = None,
    ) -> Solution:
        """Joint angles for a hand pose, from a start, pulled towards a posture as far as the hand allows.

        No joint moves farther from the start than `within` [rad], when given. Returns the best angles found also when
        the pose is not reached; `exact` tells.
        """
        c = self.config
        lower, upper = self.lower, self.upper
        if within is not None:
            lower, upper = np.maximum(lower, q_start - within), np.minimum(upper, q_start + within)
        target = pin.SE3(np.ascontiguousarray(T_base_tcp))
        q = np.clip(q_start, lower, upper)
        best = (np.inf, q, np.inf, np.inf)
        stalled = 0
        for iteration in range(c.iterations):
            pin.computeJointJacobians(self.model, self.data, q)
            pin.updateFramePlacements(self.model, self.data)
            error = pin.log6(self.data.oMf[self.tcp].actInv(target)).vector
            position = float(np.linalg.norm(self.data.oMf[self.tcp].translation - target.translation))
            rotation = float(np.linalg.norm(error[3:]))
            score = position + 0.1 * rotation
            pulling = q_posture is not None and iteration < c.posture_iterations
            if not pulling:
                stalled = 0 if score < 0.9 * best[0] else stalled + 1
                if score < best[0]:
                    best = (score, q, position, rotation)
                if (position < c.position_tolerance and rotation < c.rotation_tolerance) or stalled > 12:
                    break
            J = pin.getFrameJacobian(self.model, self.data, self.tcp, pin.LOCAL)
            pull = c.posture_gain * (q_posture - q) if pulling else np.zeros_like(q)
            q = self._limited_step(q, J, error, pull, lower, upper)
        _, q, position, rotation = best
        return Solution(q, position, rotation, position < c.position_tolerance and rotation < c.rotation_tolerance)

    def _limited_step(self, q: ndarray, J: ndarray, error: ndarray, pull: ndarray, lower: ndarray, upper: ndarray) -> ndarray:
        """One damped step with null-space pull; joints that would cross a limit are held and the rest solved again."""
        free = np.ones(len(q), bool)
        dq = np.zeros_like(q)
        for _ in range(len(q)):
            Jf = J[:, free]
            pinv = Jf.T @ np.linalg.inv(Jf @ Jf.T + self.config.damping * np.eye(6))
            dq[:] = 0.0
            dq[free] = pinv @ error + pull[free] - pinv @ (Jf @ pull[free])
            dq *= min(1.0, self.config.step / max(float(np.abs(dq).max()), 1e-12))
            crossing = free & (
                (q + dq > upper) & (dq > 0) & (q >= upper - 1e-9) | (q + dq < lower) & (dq < 0) & (q <= lower + 1e-9)
            )
            if not crossing.any():
                break
            free &= ~crossing
            if free.sum() == 0:
                return q
        return np.clip(q + dq, lower, upper)
