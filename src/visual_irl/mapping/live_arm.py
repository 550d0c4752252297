"""One frame of keypoints as what a robot's hand and limbs shall do now: the live counterpart of `targets`.

Nothing is bridged and nothing guessed: a frame in which the arm is not whole gives no target. The hand's orientation comes
from its knuckles; while those are hidden, the last palm that was seen is turned with the forearm, for a limited time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.mapping.anatomy import hand_orientation
from visual_irl.mapping.human_arm import GRASP_REACH
from visual_irl.mapping.targets import tool_rotation
from visual_irl.types import KeypointFrame, keypoint_index, require_side


@dataclass(frozen=True)
class LiveArmConfig:
    """What counts as an arm."""

    side: str = "right"
    """The arm that is followed: right or left."""
    elbow_up: bool = True
    """Mirror the upper arm's direction upwards, for a robot that stands on the table."""
    palm_age: float = 0.5
    """Longest time for which a hidden palm is carried along with the forearm [s]."""
    shortest: float = 0.12
    """Shortest believable upper arm or forearm [m]."""
    longest: float = 0.5
    """Longest believable upper arm or forearm [m]."""

    def __post_init__(self) -> None:
        require_side(self.side)
        require_within(self, 0.02, 1.0, palm_age=(0.0, 5.0))
        if not self.shortest < self.longest:
            raise InvalidInput(f"limbs from {self.shortest} to {self.longest} m, expected the shorter bound first")


class LiveTarget(NamedTuple):
    """In the robot's base frame: tool orientation and place [m], unit directions of upper arm and forearm."""

    R: Float[ndarray, "3 3"]
    p: Float[ndarray, "3"]
    upper: Float[ndarray, "3"]
    fore: Float[ndarray, "3"]


class LiveArm:
    """Targets of one arm, frame by frame, for a robot whose base stands at `T_world_base`."""

    def __init__(self, config: LiveArmConfig, T_world_base: Float[ndarray, "4 4"]) -> None:
        self.config = config
        self._T_base_world = se3.inverse(np.asarray(T_world_base, float))
        rows = ("shoulder", "elbow", "wrist", "hand_index_mcp", "hand_pinky_mcp", "hand_middle_mcp")
        self._rows = [keypoint_index(f"{config.side}_{row}") for row in rows]
        self._palm: tuple[int, ndarray, ndarray] | None = None  # stamp, forearm's direction, hand's orientation

    def target(self, frame: KeypointFrame) -> LiveTarget | None:
        """The target of a frame; None where the arm is not whole, not of human size, or its hand not known."""
        shoulder, elbow, wrist, index, pinky, middle = frame.p_world[self._rows]
        limbs = np.stack([elbow - shoulder, wrist - elbow])
        lengths = np.linalg.norm(limbs, axis=1)
        if not ((lengths >= self.config.shortest) & (lengths <= self.config.longest)).all():  # NaN fails it
            return None
        upper, fore = limbs / lengths[:, None]
        R_hand = self._hand(frame.stamp_ns, fore, middle - wrist, index - pinky)
        if R_hand is None:
            return None
        if self.config.elbow_up:
            upper = np.array([upper[0], upper[1], abs(upper[2])])
        R = self._T_base_world[:3, :3]
        p = se3.apply(self._T_base_world, wrist + GRASP_REACH * R_hand[:, 2])
        return LiveTarget(R @ tool_rotation(R_hand), p, R @ upper, R @ fore)

    def _hand(self, stamp_ns: int, fore: ndarray, along: ndarray, across: ndarray) -> ndarray | None:
        try:
            R = hand_orientation(along[None], across[None])[0]
        except InvalidInput:  # hidden or degenerate knuckles
            return self._carried(stamp_ns, fore)
        if not np.isfinite(R).all():
            return self._carried(stamp_ns, fore)
        self._palm = (stamp_ns, fore, R)
        return R

    def _carried(self, stamp_ns: int, fore: ndarray) -> ndarray | None:
        if self._palm is None or not 0 <= stamp_ns - self._palm[0] <= 1e9 * self.config.palm_age:
            return None
        return np.asarray(se3.rotation_between(self._palm[1], fore) @ self._palm[2])
