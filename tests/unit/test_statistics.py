"""Statistics over runs against their definitions and against coverage that is known."""

from __future__ import annotations

import itertools

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


def test_one_failure_more_never_promises_more() -> None:
    of = np.full(20, 1000.0)
    lows = [pooled_share(np.r_[np.full(19, 1000.0), last], of)[1][0] for last in (1000.0, 999.0, 990.0, 900.0, 500.0, 0.0)]
    assert all(a > b for a, b in itertools.pairwise(lows)), "the worse the runs, the lower the bound"
    assert lows[0] - lows[1] < 1e-4, "one of 20,000 grains moves it by as little"
    highs = [pooled_share(np.r_[np.zeros(19), last], of)[1][1] for last in (0.0, 1.0, 10.0, 100.0, 500.0, 1000.0)]
    np.testing.assert_allclose(highs, 1.0 - np.array(lows), atol=1e-12)  # failures and successes are told alike


def test_runs_that_differ_much_are_drawn_anew_and_no_more() -> None:
    share, (low, high) = pooled_share(np.r_[np.zeros(20), np.ones(20)], np.ones(40))
    assert (
        share == 0.5
        and low == pytest.approx(0.5 - 1.96 * 0.5 / 40**0.5, abs=0.02)
        and high == pytest.approx(1.0 - low, abs=0.02)
    )


def test_a_seldom_kind_of_run_is_in_the_interval() -> None:
    """Six things a run of which 98 % succeed, but nothing in one run of twenty: what 20 runs often do not show."""
    rng, hits, truth = np.random.default_rng(0), 0, 0.95 * 0.98
    for _ in range(150):
        good = np.where(rng.random(20) < 0.95, rng.binomial(6, 0.98, 20), 0).astype(float)
        low, high = pooled_share(good, np.full(20, 6.0), resamples=200)[1]
        hits += low <= truth <= high
    assert hits / 150 >= 0.93  # 0.95 nominal, binomial deviation 0.018; what is drawn anew alone holds it in 0.72
