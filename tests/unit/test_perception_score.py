"""Which fingertips the benchmark counts as visible."""

from __future__ import annotations

import numpy as np

from visual_irl import se3
from visual_irl.evaluation.perception_score import TIP_ROWS, visible_tips
from visual_irl.types import KEYPOINTS, Intrinsics


def test_a_fingertip_counts_when_nothing_is_before_it() -> None:
    camera = Intrinsics.from_fov(64, 48, 1.0)
    T_world_camera = se3.look_at(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.1, 0.0]))  # looks down at a desk (z = 0)
    p = np.zeros((len(KEYPOINTS), 3))
    p[TIP_ROWS] = [0.0, 0.1, 0.02]
    under, covered, outside = TIP_ROWS[:3]
    p[under, 2] = -0.005
    p[covered, 2] = 0.005
    p[outside] = [5.0, 0.1, 0.02]
    depth = np.full((48, 64), se3.apply(se3.inverse(T_world_camera), np.array([0.0, 0.1, 0.012]))[2], np.float32)
    seen = visible_tips(p, T_world_camera, depth, camera)
    # what is 7 mm nearer may be the finger's own skin; what lies in the desk is hidden however near the desk's top is
    assert seen.tolist() == [False, True, False] + [True] * 7
    depth -= 0.05
    assert not visible_tips(p, T_world_camera, depth, camera).any()
    assert not visible_tips(p, T_world_camera, np.full_like(depth, np.nan), camera).any()
