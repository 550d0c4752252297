"""Smoothness of movements against what is known of the measure."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.evaluation.metrics import spectral_arc_length

RATE = 100.0


def minimum_jerk_speed(seconds: float) -> np.ndarray:
    s = np.linspace(0.0, 1.0, round(seconds * RATE))
    return 30.0 * s**2 * (1.0 - s) ** 2


def test_a_minimum_jerk_movement_is_as_smooth_as_published() -> None:
    # Balasubramanian et al. 2015 give about -1.4 for one minimum-jerk submovement, whatever its size and duration
    assert spectral_arc_length(minimum_jerk_speed(1.0), RATE) == pytest.approx(-1.41, abs=0.02)
    assert spectral_arc_length(3.0 * minimum_jerk_speed(2.0), RATE) == pytest.approx(-1.41, abs=0.02)


def test_pieces_and_tremor_are_less_smooth() -> None:
    one = minimum_jerk_speed(2.0)
    pieces = np.concatenate([minimum_jerk_speed(1.0), np.zeros(50), minimum_jerk_speed(1.0)])
    tremor = one + 0.3 * np.sin(2.0 * np.pi * 4.0 * np.arange(len(one)) / RATE)
    assert spectral_arc_length(pieces, RATE) < spectral_arc_length(one, RATE) - 0.5
    assert spectral_arc_length(tremor, RATE) < spectral_arc_length(one, RATE) - 0.2
    assert np.isnan(spectral_arc_length(np.zeros(50), RATE))
