"""Covariances keep what they say through turning, packing and measuring."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from visual_irl import covariance as cov
from visual_irl import se3

ROOT = np.random.default_rng(0).normal(0.0, 0.02, (20, 3, 3))
COVARIANCE = ROOT @ np.swapaxes(ROOT, 1, 2)


def test_packing_is_its_own_inverse_and_turning_is_that_of_turned_points() -> None:
    assert np.allclose(cov.unpacked(cov.packed(COVARIANCE)), COVARIANCE, atol=0.0, rtol=1e-15)
    R = se3.exp_so3(np.array([0.4, -1.1, 0.7]))
    draws = ROOT[0] @ np.random.default_rng(1).normal(size=(3, 100_000))
    assert np.allclose(np.cov(R @ draws), cov.turned(COVARIANCE, R)[0], atol=2e-5)  # 1 % of 1e-3


def test_a_ray_is_the_uncertain_direction() -> None:
    rays = np.array([[0.3, -0.2, 1.0], [0.0, 0.0, 2.0]])
    found = cov.about_rays(rays, np.array([0.01, 0.02]), np.array([0.05, 0.01]))
    assert np.allclose(np.linalg.eigvalsh(found[0]), [1e-4, 1e-4, 25e-4])
    assert np.allclose(found[1], np.diag([4e-4, 4e-4, 1e-4]))


def test_90_percent_lie_within_the_distance_that_chi_squared_gives() -> None:
    draws = np.random.default_rng(2).normal(size=(20_000, 3)) @ ROOT[3].T
    inside = cov.distance(draws, np.broadcast_to(COVARIANCE[3], (20_000, 3, 3))) < np.sqrt(chi2.ppf(0.9, 3))
    assert inside.mean() == pytest.approx(0.9, abs=0.01)  # 5 sigma of 20,000 draws
    known = cov.distance(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.1]]), np.array([np.zeros((3, 3)), np.diag([1.0, 1.0, 0.0])]))
    assert known.tolist() == [0.0, np.inf]  # what is known exactly
    assert np.isnan(cov.distance(np.ones(3), np.full((3, 3), np.nan)))


def test_what_is_no_covariance_is_told() -> None:
    upper = cov.packed(COVARIANCE)
    flat = np.outer([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])  # singular, and one all the same
    assert cov.possible(upper).all() and cov.possible(cov.packed(flat)) and cov.possible(np.zeros(6))
    for place, value in ((0, -1e-6), (1, 1.0), (4, -1.0), (5, np.nan)):
        broken = upper.copy()
        broken[:, place] = value
        assert not cov.possible(broken).any()
    tilted = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]])  # each pair is possible, all three are not
    assert not cov.possible(cov.packed(tilted))


def test_a_variance_that_vanishes_beside_its_covariances_is_possible() -> None:
    root = np.array([[6.0, 0.0, 0.0], [8e-163, 0.0, 0.0], [8e-163, 0.0, 0.0]])
    covariance = root @ root.T
    assert covariance[1, 1] == 0.0 < covariance[0, 1]  # its square is not zero, the product of the variances is
    assert cov.possible(cov.packed(covariance))
