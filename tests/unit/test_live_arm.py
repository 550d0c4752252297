"""Live targets are those of the offline mapping where the arm is seen, and nothing where it is not."""

from __future__ import annotations

import dataclasses

import numpy as np

from visual_irl import se3
from visual_irl.mapping.equivalent_arm import equivalent_keypoints
from visual_irl.mapping.live_arm import LiveArm, LiveArmConfig
from visual_irl.mapping.prior_lessons import synthetic_arm
from visual_irl.mapping.targets import targets_of
from visual_irl.robots import load_robot
from visual_irl.types import KEYPOINTS, KeypointFrame, keypoint_index

BASE = se3.transform(se3.exp_so3(np.array([0.1, -0.2, 0.7])), np.array([-0.4, 0.1, 0.3]))


def frames() -> tuple[list[KeypointFrame], object]:
    arm = dataclasses.replace(synthetic_arm(3), side="right")
    p = equivalent_keypoints(arm)
    k = len(KEYPOINTS)
    nothing = np.zeros((k, 2))
    return [
        KeypointFrame(round(1e9 * t), p[i], np.tile(1e-4 * np.eye(3), (k, 1, 1)), np.ones(k), nothing)
        for i, t in enumerate(arm.t)
    ], arm


def test_live_targets_are_the_offline_ones() -> None:
    stream, arm = frames()
    live = LiveArm(LiveArmConfig(elbow_up=False), BASE)
    offline = targets_of(arm, load_robot("panda"), BASE)
    for i in range(0, len(stream), 7):
        target = live.target(stream[i])
        assert target is not None
        np.testing.assert_allclose(target.upper, offline.upper[i], atol=1e-9)
        np.testing.assert_allclose(target.fore, offline.fore[i], atol=1e-9)
        np.testing.assert_allclose(target.p, offline.p[i], atol=1e-6)  # the knuckles are rebuilt from the hand's frame
        np.testing.assert_allclose(target.R, offline.R[i], atol=1e-6)


def test_a_lost_joint_gives_no_target_and_a_hidden_palm_is_carried_for_a_while() -> None:
    stream, _ = frames()
    live = LiveArm(LiveArmConfig(), BASE)
    assert live.target(stream[0]) is not None

    def without(frame: KeypointFrame, name: str, stamp_ns: int) -> KeypointFrame:
        p = np.array(frame.p_world)
        p[keypoint_index(name)] = np.nan
        return dataclasses.replace(frame, p_world=p, stamp_ns=stamp_ns)

    begin = stream[0].stamp_ns
    for joint in ("right_shoulder", "right_elbow", "right_wrist"):
        assert live.target(without(stream[0], joint, begin + 1)) is None
    carried = live.target(without(stream[0], "right_hand_index_mcp", begin + 4 * 10**8))
    assert carried is not None
    np.testing.assert_allclose(carried.R, live.target(stream[0]).R, atol=1e-9)  # type: ignore[union-attr]
    assert live.target(without(stream[0], "right_hand_index_mcp", begin + 6 * 10**8)) is None


def test_an_arm_of_inhuman_size_is_no_arm() -> None:
    stream, _ = frames()
    live = LiveArm(LiveArmConfig(), BASE)
    assert live.target(dataclasses.replace(stream[0], p_world=3.0 * stream[0].p_world)) is None
