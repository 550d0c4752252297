"""Universal Robots UR5e with a generic parallel gripper of 85 mm stroke."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.robots.model import JointPair, RobotModel

JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
"""Every arm of the maker names its joints so."""

CORRESPONDENCE = (
    JointPair("shoulder_pan_joint", "shoulder_plane", 1.0, -np.pi / 2),
    JointPair("shoulder_lift_joint", "shoulder_elevation", 1.0, -np.pi / 2),
    JointPair("elbow_joint", "elbow_flexion", 1.0, 0.0),
    JointPair("wrist_1_joint", "wrist_flexion", -1.0, 0.0),
    JointPair("wrist_2_joint", "wrist_deviation", 1.0, np.pi / 2),
    JointPair("wrist_3_joint", "forearm_rotation", 1.0, -np.pi / 2),
)
"""No joint stands for the shoulder's axial rotation: the elbow bends in the upright plane of the upper arm."""


@lru_cache(maxsize=1)
def ur5e() -> RobotModel:
    """The UR5e; accelerations are those of the maker's MoveIt configuration (Universal_Robots_ROS2_Driver).

    The maker publishes no jerk limit; ours lets an acceleration build up in a tenth of a second.
    """
    return RobotModel(
        name="ur5e",
        urdf_path=asset_path("urdf/ur5e.urdf"),
        joint_names=JOINTS,
        finger_joints=("gripper_finger_joint1", "gripper_finger_joint2"),
        acceleration=np.full(6, 5.0),
        jerk=np.full(6, 50.0),
        home=np.array([-0.308, -1.743, 1.706, -1.535, -np.pi / 2, -1.879]),
        T_world_base=se3.transform(np.eye(3), np.array([-0.35, -0.12, 0.0])),
        shoulder_frame="upper_arm_link",
        elbow_frame="forearm_link",
        wrist_frame="wrist_1_link",
        grip_force=40.0,
        ik_family="ur",
        correspondence=CORRESPONDENCE,
    )
