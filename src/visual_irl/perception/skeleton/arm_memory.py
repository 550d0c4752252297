"""Where the elbows of a stream were a moment ago, when their own skin was seen: evidence for `arm_depth`.

What hides an elbow is never remembered as the elbow: only its own skin is. So an error is not carried on, and an elbow that
stays hidden is soon unknown.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.skeleton.arm_depth import ArmBefore
from visual_irl.perception.skeleton.lifting import Lifted
from visual_irl.types import SIDES, keypoint_index

LONGEST = 1.0
"""How long an elbow is remembered [s]."""
_ROWS = {side: [keypoint_index(f"{side}_{joint}") for joint in ("elbow", "wrist")] for side in SIDES}


class ArmMemory:
    """Feed it what was lifted frame by frame; `before` tells what the next frame's arms are compared with."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, ndarray]] = {}

    def before(self, stamp_ns: int, T_world_camera: Float[ndarray, "4 4"] | None) -> dict[str, ArmBefore]:
        """The arms that are remembered, by side, in the camera's coordinates of now."""
        T = np.eye(4) if T_world_camera is None else se3.inverse(T_world_camera)
        arms = {}
        for side, (then_ns, p_world) in self._seen.items():
            age = 1e-9 * (stamp_ns - then_ns)
            if 0.0 <= age <= LONGEST:
                elbow, wrist = se3.apply(T, p_world)
                arms[side] = ArmBefore(elbow, wrist, age)
        return arms

    def remember(self, lifted: Lifted | None, stamp_ns: int, T_world_camera: Float[ndarray, "4 4"] | None) -> None:
        """One frame more: arms whose elbow's own skin is seen in it."""
        if lifted is None:
            return
        T = np.eye(4) if T_world_camera is None else T_world_camera
        for side, rows in _ROWS.items():
            if lifted.measured[rows[0]] and np.isfinite(lifted.p_camera[rows]).all():
                self._seen[side] = stamp_ns, se3.apply(T, lifted.p_camera[rows])
