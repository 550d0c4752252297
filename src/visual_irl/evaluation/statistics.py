"""What a few runs of a learner say, with intervals. Agarwal et al. 2021, "Deep reinforcement learning at the edge of the
statistical precipice". Scores are (runs, tasks); higher is better."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.stats import mannwhitneyu, trim_mean

from visual_irl.errors import InvalidInput


def interquartile_mean(scores: Float[ndarray, "R K"]) -> float:
    """Mean of the middle half of all runs of all tasks."""
    return float(trim_mean(_checked(scores), 0.25, axis=None))


def bootstrap_interval(
    statistic: Callable[..., float],
    *scores: Float[ndarray, "R K"],
    rng: np.random.Generator,
    confidence: float = 0.95,
    resamples: int = 2000,
) -> tuple[float, float]:
    """Percentile interval of `statistic(*scores)`: runs are drawn anew within each task (stratified), and each learner."""
    if not 0 < confidence < 1 or resamples < 1:
        raise InvalidInput(f"bootstrap: confidence {confidence} must be in (0, 1) and resamples {resamples} at least 1")
    tables = [_checked(s) for s in scores]
    draws = []
    for _ in range(resamples):
        rows = [rng.integers(len(s), size=s.shape) for s in tables]
        draws.append(statistic(*(np.take_along_axis(s, r, axis=0) for s, r in zip(tables, rows, strict=True))))
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def performance_profile(scores: Float[ndarray, "R K"], thresholds: Float[ndarray, "P"]) -> Float[ndarray, "P"]:
    """Share of runs, over all tasks, that score above each threshold."""
    return (_checked(scores)[:, :, None] > np.asarray(thresholds)).mean(axis=(0, 1))


def probability_of_improvement(first: Float[ndarray, "R K"], second: Float[ndarray, "Q K"]) -> float:
    """Chance that a run of the first learner beats one of the second on a random task; a tie counts half."""
    a, b = _checked(first), _checked(second)
    if a.shape[1] != b.shape[1]:
        raise InvalidInput(f"probability of improvement: {a.shape[1]} tasks against {b.shape[1]}; score both on the same")
    wins = [mannwhitneyu(a[:, k], b[:, k], method="asymptotic").statistic for k in range(a.shape[1])]
    return float(np.mean(wins) / (len(a) * len(b)))


def _checked(scores: ndarray) -> ndarray:
    scores = np.asarray(scores, dtype=float)
    if scores.ndim != 2 or not scores.size:
        raise InvalidInput(f"scores have shape {scores.shape}; they must be (runs, tasks) with at least one of each")
    if not np.isfinite(scores).all():
        raise InvalidInput("scores hold NaN or infinity: a failed run scores what it reached, it is not left out")
    return scores


def pooled_share(good: Float[ndarray, "R"], of: Float[ndarray, "R"], resamples: int = 2000) -> tuple[float, list[float]]:
    """Share of what succeeded over all runs, and its 95 % interval: the percentiles when runs are drawn anew, or wider.

    Runs that were all alike, or nearly, would be drawn so again and again. But a kind of run that none of R was may still be
    1 - .025 ** (1 / R) of all (Clopper and Pearson 1934; 17 % after 20 runs), and all of it may fail, or succeed: the interval
    goes at least as far as that moves the share.
    """
    share = good.sum() / of.sum()
    draws = np.random.default_rng(0).integers(len(good), size=(resamples, len(good)))
    low, high = np.quantile(good[draws].sum(axis=1) / of[draws].sum(axis=1), [0.025, 0.975])
    unseen = 1.0 - 0.025 ** (1.0 / len(good))
    seen = (1.0 - unseen) * share
    return float(share), [float(min(low, seen)), float(max(high, seen + unseen))]
