"""The smoother recovers a known motion, bridges only short gaps and keeps limbs constant."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visual_irl import covariance as cov
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton.smoothing import (
    KeypointPaths,
    SmoothingConfig,
    bridged,
    outliers,
    rts_smooth,
    smooth_keypoints,
    with_constant_limbs,
)
from visual_irl.types import KEYPOINTS, KeypointFrame, keypoint_index

K = len(KEYPOINTS)
ARM = [keypoint_index(f"right_{joint}") for joint in ("shoulder", "elbow", "wrist")]
SIGMA = 0.02


def reaching_arm(t: np.ndarray) -> np.ndarray:
    """Shoulder, elbow, wrist (T, 3, 3) of an arm with limbs of 0.28 m and 0.26 m that swings at 0.25 Hz."""
    angle = 0.6 * np.sin(0.5 * np.pi * t)
    zero = np.zeros_like(t)
    elbow = 0.28 * np.stack([np.cos(angle), zero, np.sin(angle)], 1)
    wrist = elbow + 0.26 * np.stack([np.cos(2 * angle), zero, np.sin(2 * angle)], 1)
    return np.stack([np.zeros_like(elbow), elbow, wrist], axis=1)


def frames_of(t: np.ndarray, arm: np.ndarray, lost: np.ndarray | None = None) -> list[KeypointFrame]:
    p = np.full((len(t), K, 3), np.nan)
    p[:, ARM] = arm
    if lost is not None:
        p[lost] = np.nan
    found = np.isfinite(p).all(-1)
    covariance = np.where(found[..., None, None], SIGMA**2 * np.eye(3), np.nan)
    return [
        KeypointFrame(round(s * 1e9), p[i], covariance[i], found[i].astype(float), np.full((K, 2), np.nan))
        for i, s in enumerate(t)
    ]


def smoothed(seed: int, lost: np.ndarray | None = None) -> tuple[KeypointPaths, np.ndarray, np.ndarray]:
    t = np.arange(90) / 30.0
    truth = reaching_arm(t)
    noisy = truth + np.random.default_rng(seed).normal(0.0, SIGMA, truth.shape)
    return smooth_keypoints(t, frames_of(t, noisy, lost)), truth, noisy


@pytest.mark.parametrize("seed", range(3))
def test_smoothing_halves_the_noise_and_knows_its_error(seed: int) -> None:
    paths, truth, noisy = smoothed(seed)
    error = paths.p_world[:, ARM[2]] - truth[:, 2]
    assert np.sqrt((error**2).mean()) < 0.5 * np.sqrt(((noisy[:, 2] - truth[:, 2]) ** 2).mean())
    inside = cov.distance(error, paths.covariance[:, ARM[2]]) < 2.5
    assert inside.mean() > 0.75  # nominal 0.9; errors of neighbouring frames are correlated


def test_limbs_are_constant_and_the_wrist_is_not_moved() -> None:
    arm = reaching_arm(np.arange(60) / 30.0) + np.random.default_rng(0).normal(0.0, 0.03, (60, 3, 3))
    fixed = with_constant_limbs(arm)
    for a, b in ((0, 1), (1, 2)):
        lengths = np.linalg.norm(fixed[:, b] - fixed[:, a], axis=1)
        assert np.ptp(lengths) < 1e-5  # the clip of a straight arm leaves 1e-6 of its length
        assert np.median(np.linalg.norm(arm[:, b] - arm[:, a], axis=1)) == pytest.approx(lengths[0], abs=1e-5)
    assert np.array_equal(fixed[:, 2], arm[:, 2])


def test_a_correct_arm_is_not_changed() -> None:
    arm = reaching_arm(np.arange(20) / 10.0 + 0.05)  # never quite straight
    assert np.allclose(with_constant_limbs(arm), arm, atol=1e-9)


def test_a_short_gap_is_bridged_with_growing_sigma_and_a_long_one_is_not() -> None:
    t = np.arange(90) / 30.0
    arm = reaching_arm(t)
    frames = frames_of(t, arm)
    wrist = ARM[2]
    for i in [*range(20, 30), *range(45, 75)]:  # 0.33 s and 1 s
        p, covariance, confidence = (getattr(frames[i], n).copy() for n in ("p_world", "covariance", "confidence"))
        p[wrist], covariance[wrist], confidence[wrist] = np.nan, np.nan, 0.0
        frames[i] = KeypointFrame(frames[i].stamp_ns, p, covariance, confidence, frames[i].uv)
    paths = smooth_keypoints(t, frames)
    assert np.isfinite(paths.p_world[20:30, wrist]).all()
    assert not paths.observed[20:30, wrist].any()
    assert cov.deviations(paths.covariance[25, wrist])[0] > 1.5 * cov.deviations(paths.covariance[18, wrist])[0]
    assert np.isnan(paths.p_world[46:74, wrist]).all()
    assert np.isfinite(paths.p_world[45:75, ARM[0]]).all()  # what is still seen stays


def test_frames_without_a_person_stay_lost() -> None:
    lost = np.zeros(90, bool)
    lost[40:44] = True
    paths, _, _ = smoothed(0, lost)
    assert np.isnan(paths.p_world[lost]).all()
    assert not paths.seen[lost].any() and paths.seen[~lost].all()


def test_shots_are_smoothed_each_by_itself() -> None:
    t = np.arange(30) / 30.0
    arm = reaching_arm(t)
    arm[14:] = arm[14:] * 0.8 + [0.0, 0.6, 0.0]  # somebody smaller, elsewhere
    frames = frames_of(t, arm)
    p = frames[14].p_world.copy()
    p[ARM[2]] = np.nan
    frames[14] = replace(frames[14], p_world=p)
    whole = smooth_keypoints(t, frames, shots=[14])
    for rows in (slice(0, 14), slice(14, 30)):
        alone = smooth_keypoints(t[rows], frames[rows])
        for name in ("p_world", "covariance", "observed", "seen"):
            assert np.array_equal(getattr(whole, name)[rows], getattr(alone, name), equal_nan=name[0] in "pc"), name
    assert np.isnan(whole.p_world[14, ARM[2]]).all(), "bridged from one shot to the next"
    assert np.isfinite(smooth_keypoints(t, frames).p_world[14, ARM[2]]).all()
    assert np.isfinite(smooth_keypoints(t[:14], frames[:14], shots=[1]).p_world[0, ARM]).all(), "a shot of one frame"


def test_an_outlier_is_rejected_and_replaced() -> None:
    t = np.arange(60) / 30.0
    arm = reaching_arm(t)
    arm_bad = arm.copy()
    arm_bad[30, 2] += [0.0, 0.5, 0.0]
    paths = smooth_keypoints(t, frames_of(t, arm_bad))
    assert not paths.observed[30, ARM[2]]
    assert np.linalg.norm(paths.p_world[30, ARM[2]] - arm[30, 2]) < 0.01


def test_fast_motion_is_no_outlier() -> None:
    t = np.arange(60) / 30.0
    p = np.zeros((60, 1, 3))
    p[:, 0, 0] = 0.25 * np.sin(2 * np.pi * t)  # 1.6 m/s, faster than demonstrations are
    assert not outliers(t, p, SmoothingConfig()).any()


def test_gap_before_the_first_and_after_the_last_observation_stays() -> None:
    t = np.arange(10) / 10.0
    observed = np.zeros((10, 1), bool)
    observed[[3, 6]] = True
    assert bridged(t, observed, 0.35)[:, 0].tolist() == [False] * 3 + [True] * 4 + [False] * 3


def test_constant_velocity_without_noise_is_reproduced() -> None:
    t = np.cumsum(np.random.default_rng(1).uniform(0.02, 0.05, 50))
    p = (t[:, None] * np.array([0.3, -0.2, 0.1]))[:, None]
    smooth, _ = rts_smooth(t, p, np.tile(1e-6 * np.eye(3), (50, 1, 1, 1)), 1.0)
    assert np.allclose(smooth, p, atol=1e-5)  # the weak prior pulls by (0.001 m / 1 m)^2 of the path


def test_times_must_increase() -> None:
    t = np.array([0.0, 0.1, 0.1])
    with pytest.raises(InvalidInput, match="increasing"):
        smooth_keypoints(t, frames_of(np.arange(3.0), reaching_arm(np.arange(3.0))))
