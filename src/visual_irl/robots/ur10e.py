"""Universal Robots UR10e with a generic parallel gripper of 85 mm stroke."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.robots.model import RobotModel
from visual_irl.robots.ur5e import CORRESPONDENCE, JOINTS


@lru_cache(maxsize=1)
def ur10e() -> RobotModel:
    """The UR10e; accelerations are those of the maker's MoveIt configuration (Universal_Robots_ROS2_Driver).

    The maker publishes no acceleration limit of the arm itself, no jerk limit and no damping; our jerk limit lets an
    acceleration build up in a tenth of a second, as for the UR5e.
    """
    return RobotModel(
        name="ur10e",
        urdf_path=asset_path("urdf/ur10e.urdf"),
        joint_names=JOINTS,
        finger_joints=("gripper_finger_joint1", "gripper_finger_joint2"),
        acceleration=np.full(6, 5.0),
        jerk=np.full(6, 50.0),
        home=np.array([-0.276, -1.648, 1.967, -1.890, -np.pi / 2, -1.847]),
        T_world_base=se3.transform(np.eye(3), np.array([-0.55, -0.12, 0.0])),
        shoulder_frame="upper_arm_link",
        elbow_frame="forearm_link",
        wrist_frame="wrist_1_link",
        grip_force=40.0,
        ik_family="ur",
        correspondence=CORRESPONDENCE,
    )
