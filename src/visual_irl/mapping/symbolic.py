"""The symbolic part: which joints of a robot stand for which angles of the human arm, as each robot's file declares it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.robots.model import RobotModel
from visual_irl.types import ARM_ANGLES

MIRRORED = ("shoulder_plane", "shoulder_rotation")
"""Angles whose joints turn the other way for a left arm: the correspondence is declared for a right one."""


def symbolic_posture(robot: RobotModel, side: str, q_human: Float[ndarray, "T 7"]) -> Float[ndarray, "T J"]:
    """The robot joints that the declared correspondence gives for the angles of a human arm, inside the limits [rad].

    Joints that no angle stands for rest at home.
    """
    q = np.tile(robot.home, (len(q_human), 1))
    for joint, angle, sign, offset in robot.correspondence:
        mirror = -1.0 if side == "left" and angle in MIRRORED else 1.0
        q[:, robot.joint_names.index(joint)] = mirror * (sign * q_human[:, ARM_ANGLES.index(angle)] + offset)
    return np.clip(q, robot.lower, robot.upper)
