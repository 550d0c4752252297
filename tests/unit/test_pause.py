"""When a hand that rested goes on."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.perception.objects.tracking import TrackingConfig, _end_of_pause

REST, BIN = np.array([0.0, -0.3, 0.10]), np.array([0.10, 0.22, 0.03])


@pytest.mark.parametrize("rate", [5.0, 15.0, 30.0])
def test_the_end_of_a_pause_is_a_time_and_no_number_of_frames(rate: float) -> None:
    ends = []
    for seed in range(10):
        t = np.arange(0.0, 3.0, 1.0 / rate)
        s = np.clip(t, 0.0, 1.0) - np.clip(t - 1.6, 0.0, 1.0)  # there in a second, rests until 1.6 s, and back
        hand = REST + (BIN - REST) * (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None]
        hand = hand + np.random.default_rng(seed).normal(0.0, 0.010, hand.shape)
        ends.append(t[_end_of_pause(int(0.4 * rate), t, hand, np.zeros((0, 3)), TrackingConfig())])
    # the hand is at a quarter of its highest speed 0.15 s after it starts
    assert np.abs(np.array(ends) - 1.75).max() < 0.1
