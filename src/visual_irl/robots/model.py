"""What the rest of the package knows about an arm: names, limits, frames, and kinematics on Pinocchio.

Positions, speeds and torques are bounded in the URDF and read from there, so that each number is stated once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import coal
import numpy as np
import pinocchio as pin
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, UnknownName, UnreadableFile
from visual_irl.types import ARM_ANGLES


class JointPair(NamedTuple):
    """A robot joint that stands for an angle of the human arm: `q = sign * angle + offset` [rad]."""

    joint: str
    angle: str
    sign: float
    offset: float


@dataclass(frozen=True, eq=False)
class RobotModel:
    """An arm with a parallel gripper. Joint arrays are ordered like `joint_names`.

    The tool frame `tcp_frame` lies between the fingertips, with z along the approach and y across the fingers.
    The correspondence is that of an arm that hangs upside down from the base (see `visual_irl.mapping.symbolic`).
    """

    name: str
    urdf_path: Path
    joint_names: tuple[str, ...]
    finger_joints: tuple[str, str]
    acceleration: Float[ndarray, "J"]
    """Acceleration limits [rad/s^2]."""
    jerk: Float[ndarray, "J"]
    """Jerk limits [rad/s^3]."""
    home: Float[ndarray, "J"]
    """A pose with the gripper pointing down over the table [rad]."""
    T_world_base: Float[ndarray, "4 4"]
    """Where the base stands unless a cell says otherwise."""
    shoulder_frame: str
    elbow_frame: str
    wrist_frame: str
    grip_force: float
    """Force with which each finger closes [N]."""
    correspondence: tuple[JointPair, ...]
    """Which joints stand for which human angles; a joint that is not named follows the hand alone."""
    ik_family: str = "numeric"
    """How its poses are solved: "franka" or "ur" in closed form, "numeric" for any other arm; see `robots.solutions`."""
    tcp_frame: str = "tcp"
    never_meet: tuple[tuple[str, str], ...] = ()
    """Pairs of links that cannot touch, though their simplified shapes can."""
    lower: Float[ndarray, "J"] = field(init=False)
    """Lower position limits [rad]."""
    upper: Float[ndarray, "J"] = field(init=False)
    """Upper position limits [rad]."""
    velocity: Float[ndarray, "J"] = field(init=False)
    """Speed limits [rad/s]."""
    effort: Float[ndarray, "J"] = field(init=False)
    """Torque limits [Nm]."""
    max_opening: float = field(init=False)
    """Distance between the open fingers [m]."""
    gripper_speed: float = field(init=False)
    """Rate at which the distance between the fingers can change [m/s]."""

    def __post_init__(self) -> None:
        full = self._full
        joints = [self._joint_id(name) for name in self.joint_names]
        fingers = [self._joint_id(name) for name in self.finger_joints]
        q, v = [full.idx_qs[j] for j in joints], [full.idx_vs[j] for j in joints]
        arrays = {
            "lower": full.lowerPositionLimit[q],
            "upper": full.upperPositionLimit[q],
            "velocity": full.upperVelocityLimit[v],
            "effort": full.upperEffortLimit[v],
            "acceleration": self.acceleration,
            "jerk": self.jerk,
            "home": self.home,
        }
        for what, value in arrays.items():
            array = np.array(value, float)
            if array.shape != (len(joints),) or not np.isfinite(array).all():
                raise InvalidInput(f"robot '{self.name}': {what} is {array}, expected {len(joints)} finite numbers")
            array.setflags(write=False)
            object.__setattr__(self, what, array)
        mount = np.array(self.T_world_base, float)
        mount.setflags(write=False)
        object.__setattr__(self, "T_world_base", mount)
        object.__setattr__(self, "max_opening", float(sum(full.upperPositionLimit[full.idx_qs[j]] for j in fingers)))
        object.__setattr__(self, "gripper_speed", float(sum(full.upperVelocityLimit[full.idx_vs[j]] for j in fingers)))
        for pair in self.correspondence:
            if pair.joint not in self.joint_names or pair.angle not in ARM_ANGLES:
                raise InvalidInput(
                    f"robot '{self.name}': pair {pair.joint} ~ {pair.angle} must join one of "
                    f"{', '.join(self.joint_names)} to one of {', '.join(ARM_ANGLES)}"
                )

    @cached_property
    def _full(self) -> pin.Model:
        """The arm with moving fingers."""
        try:
            return pin.buildModelFromUrdf(str(self.urdf_path))
        except (ValueError, RuntimeError) as error:
            raise UnreadableFile(f"{self.urdf_path} is not a robot description: {error}") from error

    def _joint_id(self, name: str) -> int:
        if not self._full.existJointName(name):
            raise UnknownName(f"{self.urdf_path} has no joint '{name}'; it has: {', '.join(self._full.names[1:])}")
        return int(self._full.getJointId(name))

    @cached_property
    def _arm(self) -> pin.Model:
        return pin.buildReducedModel(self._full, [self._joint_id(name) for name in self.finger_joints], pin.neutral(self._full))

    @cached_property
    def _data(self) -> pin.Data:
        return self._arm.createData()

    def pinocchio(self) -> pin.Model:
        """The arm's joints only, fingers locked closed; built once, so treat it as read-only."""
        return self._arm

    def frame_id(self, name: str) -> int:
        """Index in `pinocchio().frames` of a link's frame.

        Raises:
            UnknownName: lists the links.
        """
        if not self._arm.existFrame(name, pin.FrameType.BODY):
            links = ", ".join(f.name for f in self._arm.frames if f.type == pin.FrameType.BODY)
            raise UnknownName(f"robot '{self.name}' has no link '{name}'; it has: {links}")
        return int(self._arm.getFrameId(name, pin.FrameType.BODY))

    def fk(self, q: Float[ndarray, "J"], frame: str = "tcp") -> Float[ndarray, "4 4"]:
        """`T_base_frame` of a link at joint angles `q` [rad].

        Raises:
            InvalidInput: `q` has the wrong length.
            UnknownName: lists the links.
        """
        q = np.asarray(q, float)
        if q.shape != self.lower.shape:
            raise InvalidInput(f"robot '{self.name}' has {len(self.joint_names)} joints, got angles of shape {q.shape}")
        index = self.frame_id(frame)
        pin.framesForwardKinematics(self._arm, self._data, q)
        T: ndarray = self._data.oMf[index].homogeneous.copy()
        return T

    def limb_lengths(self) -> tuple[float, float]:
        """Length of upper arm and forearm together, between the limb points, and from the wrist point to the tool [m]."""
        shoulder, elbow, wrist, tool = (
            self.fk(self.home, name)[:3, 3]
            for name in (self.shoulder_frame, self.elbow_frame, self.wrist_frame, self.tcp_frame)
        )
        limbs = np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow)
        return float(limbs), float(np.linalg.norm(tool - wrist))

    def collision_shapes(self) -> list[tuple[int, Float[ndarray, "4 4"], coal.ShapeBase]]:
        """Collision shapes of the description, fingers closed: which joint carries each (-1: base), its pose there, itself."""
        full = pin.buildGeomFromUrdf(self._full, str(self.urdf_path), pin.GeometryType.COLLISION)
        fingers = [self._joint_id(name) for name in self.finger_joints]
        _, arm = pin.buildReducedModel(self._full, full, fingers, pin.neutral(self._full))
        return [(int(g.parentJoint) - 1, np.array(g.placement.homogeneous), g.geometry) for g in arm.geometryObjects]
