"""What is installed in a cell, by the parameters of its node: arm and gripper, where the base stands, where the log is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rclpy.logging import get_logging_directory

from visual_irl.errors import InvalidInput
from visual_irl.execution import GRIPPERS
from visual_irl.execution.arm import Arm
from visual_irl.execution.guard import SIMULATED, GuardConfig
from visual_irl.execution.hardware import HardwareGripper
from visual_irl.execution.journal import Journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.state import RobotState
from visual_irl.execution.streaming import StreamConfig
from visual_irl.robots import load_robot
from visual_irl_ros import parameters
from visual_irl_ros.cell import Cell
from visual_irl_ros.offered_motion import mount_of
from visual_irl_ros.ros2_control import ACTION, TOPIC, connect

SIMULATION, CONTROLLER = "mujoco", "ros2_control"


class Installation:
    """The arm of a node: MuJoCo's, or one that a controller of ros2_control moves, by its topic or its action; its gripper."""

    def __init__(self, node: Any) -> None:
        self._node = node
        self.robot = load_robot(parameters.fixed(node, "robot", "ur5e", "fr3, panda, ur10e or ur5e"))
        kind = parameters.fixed(node, "arm", "mujoco", "mujoco, or ros2_control: then a real arm moves")
        self._controller = parameters.fixed(node, "controller", "joint_trajectory_controller", "Name of its controller")
        self._by = parameters.fixed(node, "controller_by", "topic", "How the controller is told: by its topic or its action")
        self._gripper = parameters.fixed(node, "gripper", "", "A real arm's: franka, ur (Robotiq); empty: not driven")
        self._address = parameters.fixed(node, "gripper_address", "", "Where that gripper answers, e.g. 192.168.1.10")
        xyz = parameters.fixed(node, "mount_xyz", "", "Of the base in the world, x y z [m]; standard place if empty")
        rpy = parameters.fixed(node, "mount_rpy", "", "Its turn there, r p y as in URDF [rad]")
        folder = parameters.fixed(node, "log", "", "Folder of the log of all motions; ROS's own if empty")
        if kind not in (SIMULATION, CONTROLLER) or self._by not in (TOPIC, ACTION):
            raise InvalidInput(f"arm '{kind}' by '{self._by}': expected {SIMULATION}, or {CONTROLLER} by {TOPIC} or {ACTION}")
        self.simulated = kind == SIMULATION
        if self.simulated and self._gripper:
            raise InvalidInput(f"gripper '{self._gripper}': a simulated arm has its own; leave the parameter empty")
        if bool(self._gripper) != bool(self._address) or self._gripper not in ("", *GRIPPERS.names):
            raise InvalidInput(
                f"gripper '{self._gripper}' at gripper_address '{self._address}': expected one of {', '.join(GRIPPERS.names)} "
                "with its address, or neither"
            )
        self.T_world_base = mount_of(xyz, rpy, self.robot)
        name = f"executor_{time.strftime('%Y%m%dT%H%M%S')}_{os.getpid()}.log"
        self.journal = Journal(Path(folder or get_logging_directory()) / name)
        self.guard = SIMULATED if self.simulated else GuardConfig()
        """With people around a real arm, and without them around a simulated one."""

    @property
    def fingers(self) -> str:
        """What moves the fingers, for diagnostics."""
        if self.simulated:
            return "simulated"
        return f"{self._gripper} at {self._address}" if self._gripper else "not driven"

    def cell(self, config: StreamConfig, tell: Callable[[RobotState], None]) -> Cell:
        """The arm and its gripper, connected; an arm behind ros2_control has no state before the first joint_states came.

        Raises:
            RobotUnreachable: the gripper does not answer.
            MissingDependency: the types of the controller's action, or the gripper's library, are not installed.
        """
        gripper: HardwareGripper | None = None
        if self._gripper:
            gripper = GRIPPERS.load(self._gripper).connect(self.robot, self._address)
        arm: Arm = (
            MujocoArm(self.robot, self.robot.home)
            if self.simulated
            else connect(self._node, self.robot, self._controller, self._by)
        )
        return Cell(arm, self.robot, config, tell, self.guard, gripper, self.journal)
