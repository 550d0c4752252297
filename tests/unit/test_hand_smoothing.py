"""Smoothing of the hand's path: what it must leave alone, what it must remove, and what the timing gains from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping.hand_smoothing import smoothed_hand
from visual_irl.mapping.retarget import RetargetConfig, retarget
from visual_irl.robots import load_robot
from visual_irl.types import HumanArmTrajectory
from visual_irl.verbs.map_stage import remark_of_slowness

RATE = 60.0


def arm_along(p: np.ndarray, R: np.ndarray, t: np.ndarray | None = None) -> HumanArmTrajectory:
    """An arm whose hand takes these poses; the limbs do not matter here."""
    n = len(p)
    Ts = np.tile(np.eye(4), (n, 1, 1))
    Ts[:, :3, :3], Ts[:, :3, 3] = R, p
    elbow, wrist = np.tile([0.0, 0.0, -0.3], (n, 1)), np.tile([0.25, 0.0, -0.3], (n, 1))
    times = np.arange(n) / RATE if t is None else t
    return HumanArmTrajectory(
        times, "right", np.zeros((n, 7)), np.zeros((n, 3)), elbow, wrist, Ts, np.ones(n, bool), np.zeros(n)
    )


def turning(n: int, rate: float = 1.0) -> np.ndarray:
    axis = np.array([1.0, 2.0, -1.0]) / np.sqrt(6.0)
    return np.array([se3.exp_so3(rate * k / RATE * axis) for k in range(n)])


def test_no_width_changes_nothing_at_all() -> None:
    rng = np.random.default_rng(0)
    arm = arm_along(rng.normal(size=(30, 3)), turning(30))
    hand = smoothed_hand(arm, 0.0)
    np.testing.assert_array_equal(hand.arm.Ts_world_hand, arm.Ts_world_hand)
    assert not hand.moved.any()
    assert hand.turned.max() < 1e-7  # logarithm of a product of a rotation and its transpose


def test_straight_and_steady_motion_stays() -> None:
    """A symmetric kernel keeps a line in space and a turn at constant speed, up to both ends."""
    n = 80
    p = np.arange(n)[:, None] / RATE * [0.3, -0.2, 0.1]
    hand = smoothed_hand(arm_along(p, turning(n)), 0.05)
    assert hand.moved.max() < 1e-12  # rounding
    assert hand.turned.max() < 1e-7


def test_noise_goes_and_what_moved_is_reported() -> None:
    n, width, noise = 400, 0.06, 0.004
    rng = np.random.default_rng(1)
    p = np.stack([0.2 * np.sin(np.arange(n) / RATE), np.zeros(n), np.zeros(n)], axis=1)
    noisy = arm_along(p + rng.normal(0.0, noise, (n, 3)), np.tile(np.eye(3), (n, 1, 1)))
    hand = smoothed_hand(noisy, width)
    inner = slice(20, -20)
    left = np.std((hand.arm.Ts_world_hand[:, :3, 3] - p)[inner])
    # white noise under a Gaussian of w samples keeps 1 / sqrt(2 sqrt(pi) w) of its deviation: 0.28 for 3.6 samples
    assert left == pytest.approx(noise / np.sqrt(2.0 * np.sqrt(np.pi) * width * RATE), rel=0.2)  # 360 correlated samples
    shift = np.linalg.norm(hand.arm.Ts_world_hand[:, :3, 3] - noisy.Ts_world_hand[:, :3, 3], axis=1)
    np.testing.assert_allclose(hand.moved, shift)
    R = hand.arm.Ts_world_hand[:, :3, :3]
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.tile(np.eye(3), (n, 1, 1)), atol=1e-12)


def test_recordings_are_smoothed_by_themselves_and_keep_their_ends() -> None:
    rng = np.random.default_rng(2)
    n = 60
    p = rng.normal(0.0, 0.01, (n, 3))
    p[n // 2 :] += 5.0
    start = np.arange(n) == n // 2
    hand = smoothed_hand(arm_along(p, turning(n)), 0.1, start)
    np.testing.assert_allclose(hand.moved[[0, n // 2 - 1, n // 2, n - 1]], 0.0, atol=1e-12)
    assert 0.0 < hand.moved.max() < 0.1, "nothing leaks over five metres"


def test_uneven_samples_weigh_by_their_time() -> None:
    """A constant sampled densely in one half does not pull more than its share of a step."""
    t = np.concatenate([np.arange(0.0, 1.0, 0.002), np.arange(1.0, 2.0, 0.02)])
    p = np.stack([(t >= 1.0).astype(float), 0.0 * t, 0.0 * t], axis=1)
    hand = smoothed_hand(arm_along(p, np.tile(np.eye(3), (len(t), 1, 1)), t), 0.1)
    k = int(np.searchsorted(t, 1.0))
    assert hand.arm.Ts_world_hand[k, 0, 3] == pytest.approx(0.5, abs=0.05)  # half a sample of 0.02 s of 0.1 s


@pytest.mark.parametrize("width", [-0.01, 0.6, np.nan])
def test_unusable_widths_are_refused(width: float) -> None:
    arm = arm_along(np.zeros((5, 3)), turning(5))
    with pytest.raises(InvalidInput, match="expected 0"):
        smoothed_hand(arm, width)


def test_a_noisy_hand_is_slowed_less_and_the_report_says_what_it_cost() -> None:
    """Two seconds of a slow hand with a camera's jitter on a UR5e."""
    robot, n = load_robot("ur5e"), 120
    rng = np.random.default_rng(3)
    home = robot.fk(robot.home)
    away = np.stack([0.05 * np.sin(np.arange(n) / 40.0), 0.05 * np.arange(n) / n, np.zeros(n)], axis=1)
    p = home[:3, 3] + away + rng.normal(0.0, 0.002, (n, 3))
    thumb, palm, fingers = home[:3, 0], -home[:3, 1], home[:3, 2]
    R = np.tile(np.stack([palm, thumb, fingers], axis=1), (n, 1, 1))
    arm = arm_along(p, R)
    exact, smooth = (retarget(arm, robot, np.eye(4), replace(RetargetConfig(), smooth_hand=width))[1] for width in (0.0, 0.06))
    assert not exact.smoothed_position.any() and exact.summary()["smoothed_mm_max"] == 0.0
    assert "--smooth-hand-ms" in remark_of_slowness(exact, 0.0) and not remark_of_slowness(smooth, 0.06)
    assert exact.slowdown > 2.0 and smooth.slowdown < 0.6 * exact.slowdown
    assert 0.5 < smooth.summary()["smoothed_mm_mean"] < 4.0  # of the order of the jitter, 2 mm an axis
    assert smooth.reachable.all() and smooth.position_error.max() < 1e-3
