"""The simulated fingers behind the `Gripper` protocol: no faster than the gripper can, no harder than told."""

from __future__ import annotations

import numpy as np

from visual_irl.errors import InvalidInput
from visual_irl.execution.mjcf import GRIPPER
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots.model import RobotModel

STALLED = 0.005
"""Fingers slower than this stand [m/s]."""
SHORT = 0.003
"""Fingers that stand this far from where they were told to close to were stopped by something [m]."""


class MujocoGripper:
    """The parallel gripper of a simulated arm; `prefix` stands before its names in the model."""

    follows = True

    def __init__(self, robot: RobotModel, model: mujoco.MjModel, data: mujoco.MjData, prefix: str = "") -> None:
        self._model, self._data, self._robot = model, data, robot
        self._drive = model.actuator(prefix + GRIPPER).id
        joints = [model.joint(prefix + name) for name in robot.finger_joints]
        self._q, self._dof = [int(j.qposadr[0]) for j in joints], [int(j.dofadr[0]) for j in joints]
        self._goal = self._told = self.opening
        self._closing = False

    @property
    def opening(self) -> float:
        """Measured distance between the fingers [m]."""
        return float(self._data.qpos[self._q].sum())

    @property
    def force(self) -> float:
        """With which the drive presses each finger [N]."""
        return abs(float(self._data.actuator_force[self._drive]))

    @property
    def busy(self) -> bool:
        """Whether the fingers still go to where they were told."""
        return self._told != self._goal

    @property
    def grasped(self) -> bool:
        """Whether the fingers were stopped by something while closing."""
        speed = float(np.abs(self._data.qvel[self._dof]).max())
        stopped = speed < STALLED and self.opening > self._told + SHORT and self._told <= self._goal + 1e-9
        return bool(self._closing and stopped)

    def move(self, opening: float) -> None:
        """Go to a distance between the fingers [m] with the gripper's full force; returns at once.

        Raises:
            InvalidInput: the gripper has no such opening.
        """
        if not 0.0 <= opening <= self._robot.max_opening + 1e-9:
            raise InvalidInput(
                f"opening {opening} m: the gripper of '{self._robot.name}' opens from 0 to {self._robot.max_opening} m"
            )
        self._closing = opening < self._goal
        self._goal = opening
        self._limit(self._robot.grip_force)

    def close(self, force: float) -> None:
        """Close until the fingers press with `force` [N] or meet; returns at once.

        Raises:
            InvalidInput: the gripper cannot press like that.
        """
        if not 0.0 < force <= self._robot.grip_force:
            raise InvalidInput(
                f"force {force} N: the gripper of '{self._robot.name}' presses with up to {self._robot.grip_force} N"
            )
        self._closing, self._goal = True, 0.0
        self._limit(force)

    def step(self, period: float) -> None:
        """Called before every step of the physics."""
        most = self._robot.gripper_speed * period
        self._told += float(np.clip(self._goal - self._told, -most, most))
        self._data.ctrl[self._drive] = self._told

    def _limit(self, force: float) -> None:
        self._model.actuator_forcerange[self._drive] = -force, force
