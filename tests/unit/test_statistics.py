"""Statistics over runs against their definitions and against coverage that is known."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    performance_profile,
    pooled_share,
    probability_of_improvement,
)


def test_interquartile_mean_leaves_out_both_ends() -> None:
    assert interquartile_mean(np.array([[-100.0, 1], [2, 3], [4, 5], [6, 900]])) == pytest.approx(3.5)


def test_profile_is_the_share_strictly_above() -> None:
    profile = performance_profile(np.array([[0.0, 1], [0.5, 1]]), np.array([-1, 0, 0.5, 1]))
    np.testing.assert_array_equal(profile, [1, 0.75, 0.5, 0])


def test_probability_of_improvement_counts_pairs_with_ties_half() -> None:
    a, b = np.array([[1.0, 0], [2, 0]]), np.array([[1.0, 5], [0, 5], [3, 5]])
    pairs = [(np.sign(x - y) + 1) / 2 for k in range(2) for x in a[:, k] for y in b[:, k]]
    assert probability_of_improvement(a, b) == pytest.approx(np.mean(pairs))
    assert probability_of_improvement(a, b) + probability_of_improvement(b, a) == pytest.approx(1)
    assert probability_of_improvement(a, a) == pytest.approx(0.5)


def test_the_bootstrap_draws_within_a_task() -> None:
    apart = np.array([[0.0, 100]] * 5)  # no spread within a task, much between them
    assert bootstrap_interval(np.mean, apart, rng=np.random.default_rng(0), resamples=50) == (50, 50)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(150):
        low, high = bootstrap_interval(np.mean, rng.normal(size=(20, 3)), rng=rng, resamples=200)
        hits += low <= 0 <= high
    assert 0.86 <= hits / 150 <= 0.99  # 0.95 nominal; binomial deviation 0.018, and percentile intervals are a little short


def test_failed_runs_may_not_be_left_out() -> None:
    with pytest.raises(InvalidInput, match="failed run"):
        interquartile_mean(np.array([[np.nan, 1.0]]))
    with pytest.raises(InvalidInput, match="runs, tasks"):
        interquartile_mean(np.zeros((0, 3)))
    with pytest.raises(InvalidInput, match="confidence"):
        bootstrap_interval(np.mean, np.zeros((2, 2)), rng=np.random.default_rng(0), confidence=95.0)


def test_runs_without_a_failure_promise_no_more_than_their_number() -> None:
    share, (low, high) = pooled_share(np.full(20, 6.0), np.full(20, 6.0))
    assert share == high == 1.0 and low**20 == pytest.approx(0.025)  # at the bound, 20 such runs are that improbable
    assert pooled_share(np.zeros(20), np.full(20, 6.0))[1] == pytest.approx([0.0, 1.0 - low])
    mixed = pooled_share(np.r_[np.full(19, 6.0), 3.0], np.full(20, 6.0))
    assert mixed[0] == pytest.approx(0.975) and low < mixed[1][0] < 0.975 < mixed[1][1] == 1.0  # as the runs are drawn anew
