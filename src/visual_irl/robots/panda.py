"""Franka Emika Panda with the Franka Hand."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.robots.model import JointPair, RobotModel


def correspondence(arm: str) -> tuple[JointPair, ...]:
    """What the seven joints of a Franka arm stand for; `arm` is the prefix of their names.

    Upright, the robot is an arm that hangs from its base. The elbow lies 82 mm beside the upper arm and the forearm, so
    that their directions miss the human's by 15 and 12 degrees. Joint 6 bends the hand at the end of the forearm, joint 7
    turns it about its own axis, which no human wrist does: it takes the deviation because nothing else is left for it.
    """
    return (
        JointPair(f"{arm}_joint1", "shoulder_plane", 1.0, -np.pi / 2),
        JointPair(f"{arm}_joint2", "shoulder_elevation", 1.0, 0.0),
        JointPair(f"{arm}_joint3", "shoulder_rotation", 1.0, 0.0),
        JointPair(f"{arm}_joint4", "elbow_flexion", -1.0, 0.0),
        JointPair(f"{arm}_joint5", "forearm_rotation", 1.0, np.pi / 2),
        JointPair(f"{arm}_joint6", "wrist_flexion", -1.0, np.pi),
        JointPair(f"{arm}_joint7", "wrist_deviation", 1.0, 0.75 * np.pi),
    )


@lru_cache(maxsize=1)
def panda() -> RobotModel:
    """The Panda; accelerations and jerks are from the Franka Control Interface, "Robot and interface specifications".

    Links 1 and 3 cannot touch (the maker's MoveIt configuration leaves them out); their capsules overlap when joint 2 is bent.
    """
    return RobotModel(
        name="panda",
        urdf_path=asset_path("urdf/panda.urdf"),
        joint_names=tuple(f"panda_joint{i}" for i in range(1, 8)),
        finger_joints=("panda_finger_joint1", "panda_finger_joint2"),
        acceleration=np.array([15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0]),
        jerk=np.array([7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0]),
        home=np.array([0.0, -0.334, 0.0, -2.395, 0.0, 2.061, np.pi / 4]),
        T_world_base=se3.transform(np.eye(3), np.array([-0.35, -0.12, 0.0])),
        shoulder_frame="panda_link2",
        elbow_frame="panda_link4",
        wrist_frame="panda_link6",
        grip_force=40.0,
        ik_family="franka",
        correspondence=correspondence("panda"),
        never_meet=(("panda_link1", "panda_link3"),),
    )
