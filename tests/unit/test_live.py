"""The live filter: calmer than its input, honest about it, and without memory of what is lost."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import covariance as cov
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton import motion_model
from visual_irl.perception.skeleton.live import LiveFilter
from visual_irl.types import KEYPOINTS, KeypointFrame

K = len(KEYPOINTS)
SIGMA = 0.03


def frame(i: int, p: np.ndarray, found: bool = True) -> KeypointFrame:
    points = np.tile(p, (K, 1)) if found else np.full((K, 3), np.nan)
    covariance = np.tile((SIGMA**2 if found else np.nan) * np.eye(3), (K, 1, 1))
    return KeypointFrame(i * 66_000_000, points, covariance, np.full(K, float(found)), np.full((K, 2), np.nan))


def test_noise_of_a_still_joint_shrinks_and_the_interval_holds() -> None:
    rng, live = np.random.default_rng(0), LiveFilter()
    out = [live.step(frame(i, rng.normal(0.0, SIGMA, 3))) for i in range(200)]
    p = np.array([f.p_world[0] for f in out])[20:]
    covariance = np.array([f.covariance[0] for f in out])[20:]
    assert p.std() < 0.75 * SIGMA
    assert (cov.distance(p, covariance) < 2.5).mean() > 0.85  # 0.9 when all is known


def test_a_lost_frame_is_lost_and_the_motion_is_found_again() -> None:
    live = LiveFilter()
    path = np.array([[0.02 * i, 0.0, 0.3] for i in range(40)])
    for i, p in enumerate(path):
        out = live.step(frame(i, p, found=not 20 <= i < 30))
        assert out.person == (not 20 <= i < 30)
        assert np.isnan(out.p_world).all() == (20 <= i < 30)
    assert np.allclose(out.p_world[0], path[-1], atol=0.02)  # 0.3 m/s, from a new start


def test_an_outlier_is_dropped_and_a_real_jump_is_believed_soon() -> None:
    live = LiveFilter()
    for i in range(20):
        live.step(frame(i, np.zeros(3)))
    out = live.step(frame(20, np.array([0.5, 0.0, 0.0])))
    assert not out.person and live.rejected == K
    there = [live.step(frame(i, np.array([0.5, 0.0, 0.0]))).person for i in range(21, 30)]
    assert there[-1] and there.index(True) <= 5  # 0.25 s at 15 frames a second


def test_after_a_cut_a_jump_is_believed_at_once() -> None:
    live = LiveFilter()
    for i in range(20):
        live.step(frame(i, np.zeros(3)))
    live.forget()
    out = live.step(frame(20, np.array([0.5, 0.0, 0.0])))
    assert out.person and live.rejected == 0 and np.allclose(out.p_world, [0.5, 0.0, 0.0])


def test_time_must_rise() -> None:
    live = LiveFilter()
    live.step(frame(5, np.zeros(3)))
    with pytest.raises(InvalidInput, match="not newer"):
        live.step(frame(5, np.zeros(3)))


def test_the_compiled_filter_is_kalmans() -> None:
    """F x and F P F^T + Q, then the update with the gain P H^T (H P H^T + R)^-1, and Mahalanobis's distance."""
    rng, n, d, q = np.random.default_rng(1), 5, 0.04, 1.3
    x, p = rng.normal(size=(n, 6)), rng.normal(size=(n, 3))
    P, R = (0.1 * a @ np.swapaxes(a, 1, 2) + 1e-3 * np.eye(k) for k, a in ((k, rng.normal(size=(n, k, k))) for k in (6, 3)))
    F, Q = motion_model.motion(d, q)
    after, spread = motion_model.predicted(x, P, d, q)
    assert np.allclose(after, x @ F.T, atol=1e-12) and np.allclose(spread, F @ P @ F.T + Q, atol=1e-12)
    S = P[:, :3, :3] + R
    gain = P[:, :, :3] @ np.linalg.inv(S)
    after, spread = motion_model.updated(x, P, p, R)
    assert np.allclose(after, x + (gain @ (p - x[:, :3])[..., None])[..., 0], atol=1e-6)  # R is never below 0.01 mm
    assert np.allclose(spread, P - gain @ P[:, :3], atol=1e-6) and (spread == np.swapaxes(spread, 1, 2)).all()
    distance = [np.linalg.norm(motion_model.whitened(motion_model.root(A), off)) for A, off in zip(S, p, strict=True)]
    assert np.allclose(distance, cov.distance(p, S))
    assert np.isnan(motion_model.root(np.zeros((3, 3)))).any()  # what has no inverse is nobody's distance
