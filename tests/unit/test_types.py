"""What the vocabulary refuses to hold."""

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.mapping.targets import ArmTargets
from visual_irl.types import HandPlan, HumanArmTrajectory, JointTrajectory


def joint_trajectory(t: list[float]) -> JointTrajectory:
    n = len(t)
    return JointTrajectory(("a", "b"), np.array(t), np.zeros((n, 2)), np.zeros((n, 2)), np.zeros(n))


def hand_plan(t: list[float]) -> HandPlan:
    n = len(t)
    return HandPlan(np.array(t), np.tile(np.eye(4), (n, 1, 1)), np.zeros(n), np.zeros(n), ("",) * n, ("",) * n)


def human_arm(t: list[float]) -> HumanArmTrajectory:
    n = len(t)
    places = np.zeros((n, 3))
    hands = np.tile(np.eye(4), (n, 1, 1))
    return HumanArmTrajectory(
        np.array(t), "left", np.zeros((n, 7)), places, places, places, hands, np.ones(n, dtype=bool), np.zeros(n)
    )


@pytest.mark.parametrize("make", [joint_trajectory, hand_plan, human_arm])
def test_time_only_goes_forward_and_the_sample_that_does_not_is_named(make) -> None:
    assert np.array_equal(make([0.0, 0.5, 1.0]).t, [0.0, 0.5, 1.0])
    with pytest.raises(InvalidInput, match=r"sample 2 is at 0\.5 s, the one before at 0\.5 s"):
        make([0.0, 0.5, 0.5, 1.0])
    with pytest.raises(InvalidInput, match="has 1 samples; at least 2"):
        make([0.0])
    with pytest.raises(InvalidInput, match=r"nan at index \(1,\)"):
        make([0.0, np.nan])


def test_the_clock_of_a_motion_may_go_back_only_where_a_recording_begins() -> None:
    limb, R, start = np.tile([0.0, 0.0, 1.0], (4, 1)), np.tile(np.eye(3), (4, 1, 1)), np.array([True, False, True, False])
    t = np.array([0.0, 0.5, 0.1, 0.2])
    assert ArmTargets(t, R, limb, limb, limb, np.zeros((4, 6)), start).segments() == [slice(0, 2), slice(2, 4)]
    with pytest.raises(InvalidInput, match=r"frame 2 is at 0\.1 s, the one before at 0\.5 s"):
        ArmTargets(t, R, limb, limb, limb, np.zeros((4, 6)), np.zeros(4, bool))
