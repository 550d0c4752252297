"""From a planned motion to a measured one: the guard approves, an executor moves."""

from __future__ import annotations

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

ARMS = Registry(
    "arms",
    {
        "franka": ("visual_irl.execution.franka_arm:FrankaArm", pip_install("franka")),
        "ur": ("visual_irl.execution.ur_arm:UrArm", pip_install("ur")),
    },
)
"""Name -> class of real arms, made by `connect(robot, address, moving)`; `visual_irl.execution.hardware` has the protocol."""

GRIPPERS = Registry(
    "grippers",
    {
        "franka": ("visual_irl.execution.franka_hand:FrankaHand", pip_install("franka")),
        "ur": ("visual_irl.execution.robotiq:RobotiqGripper", pip_install()),
    },
)
"""Name of an arm's class -> class of the gripper on it, made by `connect(robot, address)`."""
