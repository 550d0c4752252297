"""Which fingertips the benchmark counts as visible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.evaluation.benchmarks.perception_scenes import TIP_LENGTH, fingertip_skin
from visual_irl.evaluation.benchmarks.perception_score import TIP_ROWS, holding_figures, visible_tips
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.types import KEYPOINTS, HandState, Intrinsics, KeypointFrame


def test_a_fingertip_counts_when_its_own_skin_is_seen() -> None:
    camera = Intrinsics.from_fov(64, 48, 1.0)
    T_world_camera = se3.look_at(np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.1, 0.0]))  # looks down at a desk (z = 0)
    spread = np.array([[x, 0.1 + y, 0.02] for x in (-0.005, 0.0, 0.005) for y in (-0.005, 0.0, 0.005)])
    skin = np.tile(spread, (len(TIP_ROWS), 1, 1))
    in_the_desk, in_a_bottle, outside, few = range(4)
    skin[in_the_desk, :, 2] = -0.005
    skin[in_a_bottle, :, 2] = 0.009
    skin[outside, :, 0] += 5.0
    skin[few, 2:] = np.nan
    depth = np.full((48, 64), se3.apply(se3.inverse(T_world_camera), np.array([0.0, 0.1, 0.02]))[2], np.float32)
    seen = visible_tips(skin, T_world_camera, depth, camera)
    assert seen.tolist() == [False, False, False] + [True] * 7
    assert not visible_tips(skin, T_world_camera, depth - 0.03, camera).any()  # a finger before it
    assert not visible_tips(skin, T_world_camera, depth + 0.06, camera).any()  # what is behind it is seen
    assert not visible_tips(skin, T_world_camera, np.full_like(depth, np.nan), camera).any()


def test_the_skin_of_fingertips_goes_with_the_fingers() -> None:
    performance = SyntheticCamera(task="pouring", seed=3, rate=5.0).performance
    rows = np.array([0, len(performance.Ts_world_bone) // 2])
    skin = fingertip_skin(performance, rows)
    tips = performance.demonstration.p_world[rows][:, TIP_ROWS]
    away = np.linalg.norm(skin - tips[:, :, None], axis=3)
    assert np.nanmax(away) < TIP_LENGTH + 0.003  # other bones' weights bend the skin a little
    assert (np.nanmin(away, axis=2) < 0.003).all()  # a tip is where its finger ends
    assert (np.isfinite(away).sum(2) >= 10).all()


def test_holding_is_counted_by_frames_and_by_hands() -> None:
    truth = SyntheticCamera(seed=3, rate=2.0).truth
    held = np.array([name != "" for name in truth.held])
    k = len(KEYPOINTS)
    bare = KeypointFrame(0, np.full((k, 3), np.nan), np.full((k, 3, 3), np.nan), np.zeros(k), np.full((k, 2), np.nan))

    def told(says: np.ndarray, side: str) -> dict[str, float | None]:
        hands = [{s: HandState(0.05, "holding" if x and s == side else "open") for s in ("left", "right")} for x in says]
        return holding_figures([[replace(bare, hands=h) for h in hands]], [truth])

    assert held.any() and not held.all()
    right = told(held, truth.side)
    assert right == {"holding_told": 1.0, "holding_claimed": 0.0, "holding_other_hand": 0.0}
    assert told(~held, truth.side) | {"holding_other_hand": 0.0} == right | {"holding_told": 0.0, "holding_claimed": 1.0}
    assert told(held, "left" if truth.side == "right" else "right")["holding_other_hand"] == pytest.approx(held.mean())
