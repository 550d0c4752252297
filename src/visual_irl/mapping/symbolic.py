"""The symbolic part: which joints of a robot stand for which angles of the human arm, as each robot's file declares it.

A robot that stands on its base is an arm that hangs from it, upside down: its first two joints carry the upper arm like a
shoulder, whose torso has its up along the base's down. The human arm's directions, and those of the hand, are laid before the
robot as they are in space; the seven anatomical angles that they have in *this* torso are what the declared joints take. So
the correspondence holds however the base is mounted, and for left and right arms alike.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.mapping.anatomy import angles_of_arm
from visual_irl.robots.model import RobotModel
from visual_irl.types import ARM_ANGLES

BASE_AXES = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
"""Rows: forward, lateral and up of the torso that a robot's base stands for, in the base frame."""


def symbolic_posture(
    robot: RobotModel,
    upper: Float[ndarray, "T 3"],
    fore: Float[ndarray, "T 3"],
    R_tool: Float[ndarray, "T 3 3"],
    start: Bool[ndarray, "T"] | None = None,
) -> Float[ndarray, "T J"]:
    """The robot joints that the declared correspondence gives for an arm, inside the limits [rad].

    Joints that no angle stands for rest at home; so does the whole robot where a limb's direction is not known.

    Args:
        robot: whose correspondence.
        upper: unit directions of the human upper arm in the robot's base frame; zero where not known.
        fore: the same of the forearm.
        R_tool: orientations of the tool there: x to the thumb side, z along the fingers.
        start: true where another recording begins.
    """
    q = np.tile(robot.home, (len(upper), 1))
    known = upper.any(axis=1) & fore.any(axis=1)
    if not known.any():
        return q
    begins = np.zeros(len(upper), bool) if start is None else start
    R_hand = np.stack([-R_tool[:, :, 1], R_tool[:, :, 0], R_tool[:, :, 2]], axis=-1)
    angles = angles_of_arm(
        BASE_AXES, np.zeros_like(upper[known]), upper[known], (upper + fore)[known], R_hand[known], begins[known]
    )
    if all(pair.angle != "shoulder_rotation" for pair in robot.correspondence):
        angles = _elbow_upright(angles)
    middle = 0.5 * (robot.lower + robot.upper)
    for joint, angle, sign, offset in robot.correspondence:
        j = robot.joint_names.index(joint)
        value = sign * angles[:, ARM_ANGLES.index(angle)] + offset
        value -= 2.0 * np.pi * np.round((value - middle[j]) / (2.0 * np.pi))
        q[known, j] = np.clip(value, robot.lower[j], robot.upper[j])
    return q


def _elbow_upright(angles: Float[ndarray, "T 7"]) -> Float[ndarray, "T 7"]:
    """The same arms with the axial rotation within a right angle of zero: a shoulder that rises by as much the other way,
    half a turn further round, points alike."""
    plane, elevation, rotation = (
        angles[:, ARM_ANGLES.index(f"shoulder_{name}")] for name in ("plane", "elevation", "rotation")
    )
    over = np.cos(rotation) < 0.0
    turned = np.column_stack([plane + np.pi, -elevation, rotation + np.pi, angles[:, 3:]])
    return np.where(over[:, None], turned, angles)
