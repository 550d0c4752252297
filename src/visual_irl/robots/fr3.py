"""Franka Research 3 with the Franka Hand."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.robots.model import RobotModel
from visual_irl.robots.panda import correspondence


@lru_cache(maxsize=1)
def fr3() -> RobotModel:
    """The Franka Research 3; accelerations and jerks are libfranka's (`kMaxJointAcceleration`, `kMaxJointJerk`).

    Its links are as long as the Panda's, so the correspondence is that of `visual_irl.robots.panda`. Joint 6 ends at 0.54 rad,
    where the Panda's reaches 0. The maker's speed limits fall towards the position limits; only their ceilings are known
    here. The maker publishes no damping.
    """
    return RobotModel(
        name="fr3",
        urdf_path=asset_path("urdf/fr3.urdf"),
        joint_names=tuple(f"fr3_joint{i}" for i in range(1, 8)),
        finger_joints=("fr3_finger_joint1", "fr3_finger_joint2"),
        acceleration=np.full(7, 10.0),
        jerk=np.full(7, 5000.0),
        home=np.array([0.0, -0.334, 0.0, -2.395, 0.0, 2.061, np.pi / 4]),
        T_world_base=se3.transform(np.eye(3), np.array([-0.35, -0.12, 0.0])),
        shoulder_frame="fr3_link2",
        elbow_frame="fr3_link4",
        wrist_frame="fr3_link6",
        grip_force=40.0,
        ik_family="franka",
        correspondence=correspondence("fr3"),
        never_meet=(("fr3_link1", "fr3_link3"),),
    )
