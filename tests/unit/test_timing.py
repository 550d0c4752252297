"""Retiming keeps the path, holds the limits, and leaves what was slow enough as it was."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from visual_irl.errors import InvalidInput
from visual_irl.mapping.timing import resample, retime

V, A = np.array([2.0, 1.0]), np.array([5.0, 4.0])


def swing(seconds: float, n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    s = np.linspace(0.0, 1.0, n)
    s5 = s**3 * (10 - 15 * s + 6 * s * s)
    return s * seconds, np.stack([1.5 * s5, -0.8 * s5 + 0.2 * np.sin(np.pi * s) ** 3], axis=1)


@pytest.mark.parametrize("seconds", [0.3, 0.8, 2.0])
def test_limits_hold_along_the_spline(seconds: float) -> None:
    t, q = swing(seconds)
    times = retime(t, q, V, A, 0.8)
    fine = np.linspace(times[0], times[-1], 5000)
    spline = CubicSpline(times, q, bc_type="clamped")
    # between its knots a cubic's speed can pass the knots' by a little; its acceleration is linear there and cannot
    assert (np.abs(spline(fine, 1)) <= 0.8 * V * 1.02).all()
    assert (np.abs(spline(fine, 2)) <= 0.8 * A * (1 + 1e-6)).all()
    assert (np.diff(times) >= np.diff(t) - 1e-12).all()


def test_slow_motion_keeps_its_timing() -> None:
    t, q = swing(6.0)
    assert np.allclose(retime(t, q, V, A, 0.8), t)


def test_jump_is_refused_with_its_place() -> None:
    t, q = swing(2.0)
    q = q.copy()
    q[60:] += 3000.0
    with pytest.raises(InvalidInput, match="jumps after sample 59"):
        retime(t, q, V, A, 0.8)


def test_resample_starts_and_ends_at_rest_on_the_path() -> None:
    t, q = swing(2.0)
    times, positions, velocities = resample(t, q, 100.0)
    assert np.allclose(velocities[[0, -1]], 0.0, atol=1e-9)
    assert np.allclose(positions[[0, -1]], q[[0, -1]]) and np.allclose(np.diff(times), 0.01)
