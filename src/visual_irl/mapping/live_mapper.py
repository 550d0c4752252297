"""Keypoints in, joint angles out, from where the arm is measured: the online mapper as a live node or program uses it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.mapping.live_arm import LiveArm
from visual_irl.mapping.online import OnlineConfig, OnlineMapper
from visual_irl.mapping.prior import prior_of
from visual_irl.robots.model import RobotModel
from visual_irl.types import KeypointFrame

LONGEST_GAP = 0.5
"""A longer pause between two frames is a new beginning, from where the arm then is measured [s]."""


class LiveMapper:
    """Follows one arm. `status` says how, `seen` whether the last frame showed the arm."""

    def __init__(self, robot: RobotModel, arm: LiveArm, config: OnlineConfig | None = None) -> None:
        self._robot, self._arm, self._online = robot, arm, OnlineMapper(robot, config or OnlineConfig(), prior_of(robot))
        self._q: ndarray | None = None
        self._last_ns: int | None = None
        self.status, self.seen = "waiting for the arm", False
        self._compile()

    def _compile(self) -> None:
        """Have the steps compiled before the first frame comes, which would otherwise wait for seconds."""
        p = np.zeros(3)
        self._online.reset(np.clip(self._robot.home, self._robot.lower, self._robot.upper))
        self._online.step(np.eye(3), p, p, p, True, 0.02)

    def measured(self, joint_names: tuple[str, ...], q: Float[ndarray, "J"]) -> None:
        """Where the robot is now [rad]: where following begins.

        Raises:
            InvalidInput: of other joints.
        """
        if joint_names != self._robot.joint_names:
            raise InvalidInput(
                f"states of {', '.join(joint_names)}; '{self._robot.name}' has {', '.join(self._robot.joint_names)}"
            )
        self._q = np.clip(q, self._robot.lower, self._robot.upper)

    def step(self, frame: KeypointFrame) -> Float[ndarray, "J"] | None:
        """Joint angles for a frame [rad]; None while the arm is not seen, or the robot has not been measured."""
        if self._q is None:
            return None
        target = self._arm.target(frame)
        gap = None if self._last_ns is None else 1e-9 * (frame.stamp_ns - self._last_ns)
        self.seen = target is not None
        if target is None:
            self.status = "not seen"
            return None
        if gap is None or not 0.0 < gap <= LONGEST_GAP:
            self._online.reset(self._q)
            gap = 1.0 / 30.0
        self._last_ns = frame.stamp_ns
        self.status = self._online.step(*target, True, gap).name.lower()
        return np.array(self._online.q)
