"""What a robot's hand and limbs shall do at every frame, in its base frame: the one input of every mapper and of its rivals."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping.symbolic import symbolic_posture
from visual_irl.robots.model import RobotModel
from visual_irl.types import HumanArmTrajectory

SMALLEST_LIMB = 0.02
"""A limb shorter than this has no direction that could be followed [m]."""


@dataclass(frozen=True)
class ArmTargets:
    """T frames of a motion; arrays are contiguous and in the robot's base frame."""

    t: Float[ndarray, "T"]
    """Times [s], strictly increasing within a segment."""
    R: Float[ndarray, "T 3 3"]
    """Tool orientation."""
    p: Float[ndarray, "T 3"]
    """Tool position [m]."""
    upper: Float[ndarray, "T 3"]
    """Unit direction that the upper arm shall have; zero where the human's is not known."""
    fore: Float[ndarray, "T 3"]
    """The same of the forearm."""
    posture: Float[ndarray, "T J"]
    """Joint angles of the symbolic correspondence [rad]."""
    start: Bool[ndarray, "T"]
    """True where a new recording begins: nothing is continuous across it."""

    def __post_init__(self) -> None:
        n = len(self.t)
        for name in ("R", "p", "upper", "fore", "posture"):
            value = np.ascontiguousarray(getattr(self, name), dtype=float)
            bad = ~np.isfinite(value.reshape(n, -1)).all(axis=1)
            if bad.any():
                raise InvalidInput(
                    f"the motion is not finite in {int(bad.sum())} of {n} frames, first in frame {int(np.argmax(bad))} "
                    f"({name}); remove them or bridge them before mapping"
                )
            object.__setattr__(self, name, value)
        start = np.array(self.start, bool)
        start[:1] = True
        object.__setattr__(self, "start", start)
        late = np.flatnonzero(~(np.diff(self.t) > 0.0) & ~start[1:])
        if len(late):
            k = int(late[0])
            raise InvalidInput(
                f"times of a motion must increase strictly inside a recording: frame {k + 1} is at {self.t[k + 1]} s, the one "
                f"before at {self.t[k]} s"
            )

    def interval(self) -> float:
        """Median time between frames [s]; a sixtieth of a second when there is but one."""
        steps = np.diff(self.t)[~self.start[1:]]
        return float(np.median(steps)) if len(steps) else 1.0 / 60.0

    def segments(self) -> list[slice]:
        """The frames of each recording."""
        edges = [*np.nonzero(self.start)[0].tolist(), len(self.t)]
        return [slice(a, b) for a, b in pairwise(edges)]


def tool_rotation(R_world_hand: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B 3 3"]:
    """Tool axes for a hand: z (approach) along the fingers, y (closing) along the palm normal, x to the thumb side."""
    palm, thumb, fingers = (R_world_hand[..., k] for k in range(3))
    return np.stack([thumb, -palm, fingers], axis=-1)


def mirrored_upwards(upper: Float[ndarray, "T 3"]) -> Float[ndarray, "T 3"]:
    """Upper arms, none of which hangs below its shoulder any more; z is up."""
    return np.column_stack([upper[:, :2], np.abs(upper[:, 2])])


def targets_of(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    elbow_up: bool = False,
    start: Bool[ndarray, "T"] | None = None,
) -> ArmTargets:
    """The targets that an arm's hand poses and limbs set for a robot whose base stands at `T_world_base`.

    With `elbow_up` the upper arm's direction is mirrored upwards: an arm that stands on a table cannot let its elbow hang
    below it.
    """
    T_base_world = se3.inverse(T_world_base)
    Ts = T_base_world @ np.asarray(arm.Ts_world_hand)
    upper, fore = _directions(arm.elbow - arm.shoulder), _directions(arm.wrist - arm.elbow)
    if elbow_up:
        upper = mirrored_upwards(upper)
    starts = np.zeros(len(arm.t), bool) if start is None else start
    R = T_base_world[:3, :3]
    upper, fore, R_tool = upper @ R.T, fore @ R.T, tool_rotation(Ts[:, :3, :3])
    posture = symbolic_posture(robot, upper, fore, R_tool, starts)
    return ArmTargets(np.array(arm.t), R_tool, Ts[:, :3, 3], upper, fore, posture, starts)


def cut(targets: ArmTargets, part: slice | ndarray) -> ArmTargets:
    """Some of the frames."""
    return ArmTargets(*(getattr(targets, f.name)[part] for f in fields(ArmTargets)))


def _directions(v: ndarray) -> ndarray:
    length = np.linalg.norm(v, axis=1, keepdims=True)
    return np.where(length > SMALLEST_LIMB, v / np.maximum(length, SMALLEST_LIMB), 0.0)
