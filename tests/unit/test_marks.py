"""What sightings of a mark add up to."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.perception.objects.marks import MarkConfig, mark_probability


def after(shown: list[float], clear: list[float]) -> float:
    return mark_probability(np.array(shown), np.array(clear))


def test_one_sighting_is_bayes_rule() -> None:
    """In half of the sightings a mark is in view; what is seen is 9 times likelier then."""
    assert after([0.9], [1.0]) == pytest.approx(5.0 / 6.0)  # (0.5 * 9 + 0.5) / (that + 1)
    assert after([0.5], [1.0]) == pytest.approx(0.5)
    assert after([0.9], [0.0]) == pytest.approx(0.5)
    assert after([0.0], [1.0]) == pytest.approx(1.0 / 3.0, abs=0.01)


def test_a_mark_that_is_clearly_seen_now_and_then_counts_and_doubtful_ones_do_not() -> None:
    assert after([0.999] * 4 + [0.01] * 16, [0.9] * 20) > 0.7
    assert after([0.6] * 4 + [0.01] * 16, [0.9] * 20) < 0.3


def test_sightings_recover_what_drew_them() -> None:
    """Scores of unit variance about +3 where a mark is in view, and -3 where none is: their log odds are six times them."""
    rng, right = np.random.default_rng(0), []
    for marked in (True, False) * 100:
        view = (rng.random(12) < 0.5) & marked
        odds = 6.0 * rng.normal(np.where(view, 3.0, -3.0))
        right.append((mark_probability(1.0 / (1.0 + np.exp(-odds)), np.ones(12), MarkConfig()) > 0.5) == marked)
    assert np.mean(right) > 0.97
