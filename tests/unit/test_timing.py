"""A timed path keeps every limit, goes through every sample, and is as slow as it must be and no slower."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import CubicSpline

from visual_irl.errors import InvalidInput
from visual_irl.robots import path_speed
from visual_irl.robots.timing import Timed, blend, time_parametrised

V, A, J = np.array([2.0, 1.0]), np.array([5.0, 4.0]), np.array([50.0, 80.0])
SHARE = 0.8
RATE = 1000.0


def timed(t: np.ndarray, q: np.ndarray, rate: float = RATE) -> Timed:
    return time_parametrised(t, q, V, A, J, SHARE, rate)


def waves(seconds: float, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    x = np.linspace(0.0, 1.0, n)
    return x * seconds, np.stack([0.7 * np.sin(5.0 * x), 0.4 * np.cos(7.0 * x) - 0.2 * x], axis=1)


def limits_hold(motion: Timed) -> None:
    """Finite differences at RATE of positions; a mean of a derivative over an interval cannot pass its largest value."""
    h = motion.t[1] - motion.t[0]
    # 1e-6 relative is what the check in the module allows; 1e-15 rad of rounding becomes 8e-15 / h^k in a difference
    for k, limit in ((1, V), (2, A), (3, J)):
        assert (np.abs(np.diff(motion.q, k, axis=0)) / h**k <= SHARE * limit * (1 + 1e-5) + 1e-14 / h**k).all()
    assert np.abs(motion.qd[[0, -1]]).max() < 1e-9
    # at rest at both ends: the first step of a motion that starts with at most the jerk limit is J h^3 / 6
    assert (np.abs(motion.q[1] - motion.q[0]) <= SHARE * J * h**3 / 6 * (1 + 1e-5) + 1e-12).all()
    assert (np.abs(motion.q[-1] - motion.q[-2]) <= SHARE * J * h**3 / 6 * (1 + 1e-5) + 1e-12).all()


def goes_through(motion: Timed, q: np.ndarray) -> None:
    # cubic interpolation of a grid of 1 ms: 5/384 h^4 times a fourth derivative that is at most 2 J / h
    assert np.abs(CubicSpline(motion.t, motion.q)(motion.times) - q).max() < 1e-7


@pytest.mark.parametrize("seconds", [0.3, 2.0, 20.0])
def test_limits_hold_and_every_sample_is_passed(seconds: float) -> None:
    t, q = waves(seconds)
    motion = timed(t, q)
    limits_hold(motion)
    goes_through(motion, q)
    assert motion.times[0] == 0.0 and motion.times[-1] == pytest.approx(motion.t[-1])
    assert (np.diff(motion.times) > 0.0).all()


def test_what_the_arm_can_do_keeps_its_timing() -> None:
    t, q = waves(20.0)
    motion = timed(t, q)
    inside = (t > 0.5) & (t < 19.5)
    # 0.3 % is the planning margin, 0.1 % the barrier
    assert np.allclose(np.diff(motion.times[inside]), np.diff(t[inside]), rtol=5e-3)
    assert motion.slowdown < 1.02  # the rests at both ends


def test_it_is_slower_only_where_it_must() -> None:
    t = np.linspace(0.0, 12.0, 601)
    q = np.stack([0.05 * t + 0.3 * np.tanh(10.0 * (t - 6.0)), 0.05 * t], axis=1)  # one stroke of 3 rad/s in the middle
    motion = timed(t, q)
    limits_hold(motion)
    slow = np.diff(motion.times) / np.diff(t)
    far = (np.abs(t[:-1] - 6.0) > 1.5) & (t[:-1] > 0.5) & (t[:-1] < 11.5)
    assert slow[far].max() < 1.005 and slow.max() > 1.5


def test_what_must_be_slower_becomes_so_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    t = np.linspace(0.0, 6.0, 301)
    q = np.stack(
        [0.3 * t + 0.02 * np.sin(10.0 * np.clip(t - 2.0, 0.0, 0.4 * np.pi)), 0.2 * t], axis=1
    )  # two ripples on the way

    def motion(even: float) -> tuple[float, float]:
        monkeypatch.setattr(path_speed, "EVEN", even)
        timed_path = timed(t, q)
        limits_hold(timed_path)
        b = (np.diff(t) / np.diff(timed_path.times))[20:-20] ** 2
        return timed_path.slowdown, float((np.diff(b) ** 2).sum())

    (slower, even), (shortest, hurried) = motion(path_speed.EVEN), motion(0.0)
    assert 1.0 < shortest < slower < 1.05 * shortest and even < 0.5 * hurried


def test_nearly_the_shortest_time_of_a_straight_move() -> None:
    """Against the closed form: constant jerk up to the acceleration, then to the speed, and mirrored."""
    v, a, j, way = 1.0, 4.0, 40.0, 3.0
    shortest = way / v + v / a + a / j
    q = np.array([[0.0, 0.0], [way, way]])
    motion = time_parametrised(np.array([0.0, 0.3]), q, *(np.full(2, x) for x in (v, a, j)), 1.0, RATE)
    assert shortest <= motion.t[-1] * (1 + 1e-9) and motion.t[-1] < 1.02 * shortest


def test_a_pause_stays_a_pause() -> None:
    t = np.arange(0.0, 7.0, 1 / 60)
    q = np.stack([0.2 * np.sin(np.clip(t, 0, 3)) + 0.2 * np.sin(np.clip(t - 4, 0, 3)), 0.0 * t], axis=1)
    motion = timed(t, q)
    limits_hold(motion)
    start, end = np.interp([3.0, 4.0], t, motion.times)
    assert 1.0 <= end - start < 1.3  # the arm stops and starts again in it
    still = (motion.t > start + 0.15) & (motion.t < end - 0.15)
    assert np.ptp(motion.q[still], axis=0).max() < 1e-3


def test_a_path_that_does_not_move() -> None:
    motion = timed(np.linspace(0.0, 2.0, 50), np.ones((50, 2)))
    assert np.array_equal(motion.q, np.ones_like(motion.q)) and not motion.qd.any()
    assert motion.slowdown == pytest.approx(1.0, abs=0.03)  # the bent ends


def test_samples_that_come_in_bursts() -> None:
    t = np.array([0.0, 1e-5, 0.5, 0.5 + 1e-6, 0.52, 3.0, 3.001])
    q = np.array([[0.0, 0.0], [0.01, 0.0], [0.2, 0.1], [0.21, 0.1], [0.2, 0.12], [0.3, 0.1], [0.32, 0.1]])
    motion = timed(t, q)
    limits_hold(motion)
    goes_through(motion, q)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(2, 150),
    period=st.sampled_from([0.01, 1 / 60, 0.1]),
    noise=st.sampled_from([0.0, 1e-4, 1e-2]),
    jitter=st.sampled_from([0.0, 0.45]),
)
def test_limits_hold_for_any_path(seed: int, n: int, period: float, noise: float, jitter: float) -> None:
    rng = np.random.default_rng(seed)
    t = (np.arange(n) + jitter * rng.uniform(-1.0, 1.0, n)) * period
    phase = t[:, None, None] * rng.uniform(0.2, 6.0, (1, 2, 3)) + rng.uniform(0.0, 6.0, (1, 2, 3))
    q = (0.15 * np.sin(phase)).sum(axis=2) + noise * rng.normal(size=(n, 2))
    motion = timed(t, q)
    limits_hold(motion)
    # the straight line between samples is left by less than a spline swings: a part of the largest step nearby
    steps = np.abs(np.diff(q, axis=0)).max(axis=1)
    nearby = np.maximum.reduce([np.roll(np.pad(steps, 4), k)[4:-4] for k in range(-4, 5)])
    line = np.column_stack([np.interp(motion.t, motion.times, column) for column in q.T])
    piece = np.clip(np.searchsorted(motion.times, motion.t, side="right") - 1, 0, n - 2)
    goes_through(motion, q)
    # time runs unevenly inside a step, so along the path the line is within one step; across it within a fraction
    assert (np.abs(motion.q - line).max(axis=1) <= 1.3 * nearby[piece] + 1e-9).all()


def test_the_straight_line_is_left_by_a_fraction_of_a_step() -> None:
    """A right angle in joint space, the sharpest corner that is not a reversal, and a step five times the others."""
    t = np.arange(41) * 0.1
    q = np.concatenate([np.outer(np.arange(20), [0.05, 0.0]), [0.95, 0.0] + np.outer(np.arange(21) + 4, [0.0, 0.05])])
    motion = timed(t, q)
    limits_hold(motion)
    distance = np.minimum(np.abs(motion.q[:, 1]), np.abs(motion.q[:, 0] - 0.95))
    assert distance.max() < 0.2 * 0.25


@pytest.mark.parametrize("step", [0.02, 0.1, 0.3])
def test_bounds_that_samples_keep_are_kept_between_them(step: float) -> None:
    """A joint that comes fast, stays 2 mrad from its bound for some samples or turns there at once, and leaves fast."""
    way, left = np.arange(12) * step, []
    for stay in (0, 1, 6):
        q = np.concatenate([way, np.full(stay, way[-1]), way[::-1]])
        q = np.stack([q, -0.5 * q], axis=1)
        t, bounds = np.arange(len(q)) / 30.0, (q.min(axis=0) - 2e-3, q.max(axis=0) + 2e-3)
        free, kept = (time_parametrised(t, q, V, A, J, SHARE, RATE, bounds=b) for b in (None, bounds))
        limits_hold(kept)
        goes_through(kept, q)
        assert (kept.q >= bounds[0]).all() and (kept.q <= bounds[1]).all()
        left.append((free.q > bounds[1]).any())
    assert any(left)  # without them it leaves


def test_cost_is_linear_in_samples() -> None:
    """Not timed: fifteen thousand samples, ten minutes of a clip, come out whole."""
    x = np.arange(15000) / 60.0
    motion = time_parametrised(x, np.stack([np.sin(x), 0.5 * np.cos(1.3 * x)], axis=1), V, A, J, SHARE, 100.0)
    assert motion.times.shape == (15000,) and 1.0 <= motion.slowdown < 1.5


def test_jump_is_refused_with_its_place_joint_and_way_out() -> None:
    t, q = waves(2.0)
    q = q.copy()
    q[60:, 1] += 3.0
    with pytest.raises(InvalidInput, match=r"jumps after sample 59 .* joint 1 moves .* rad .* insert a transition"):
        timed(t, q)


def test_a_path_with_a_blend_over_its_jump_is_timed() -> None:
    t, q = waves(2.0)
    b, between, _ = blend(q[99], q[100] + [2.5, -3.0], V, A, J, SHARE, 100.0)
    times = np.concatenate([t[:99], t[99] + b, t[99] + b[-1] + t[101:] - t[100]])
    path = np.concatenate([q[:99], between, q[101:] + [2.5, -3.0]])
    motion = timed(times, path)
    limits_hold(motion)
    goes_through(motion, path)


@pytest.mark.parametrize(
    ("t", "q", "message"),
    [
        ([0.0], [[0.0, 0.0]], "two or more samples"),
        ([0.0, 1.0, 1.0], [[0.0, 0.0]] * 3, "sample 1 is at 1.0 s and the next at 1.0 s"),
        ([0.0, 1.0, 2.0], [[0.0, 0.0], [np.nan, 0.0], [0.0, 0.0]], "sample 1 is not finite"),
    ],
)
def test_bad_paths_are_named(t: list[float], q: list[list[float]], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        timed(np.array(t), np.array(q))


@pytest.mark.parametrize("share", [0.0, 1.1, np.nan])
def test_bad_share_and_limits_are_named(share: float) -> None:
    t, q = waves(2.0)
    with pytest.raises(InvalidInput, match="share of the limits"):
        time_parametrised(t, q, V, A, J, share, 100.0)
    with pytest.raises(InvalidInput, match="jerk limits"):
        time_parametrised(t, q, V, A, np.array([1.0, np.nan]), 0.5, 100.0)


@pytest.mark.parametrize("way", [[0.001, 0.0], [0.3, -0.2], [6.0, 5.0]])
def test_blend_uses_one_limit_fully_and_passes_none(way: list[float]) -> None:
    t, q, qd = blend(np.array([0.1, -0.2]), np.array([0.1, -0.2]) + way, V, A, J, SHARE, RATE)
    h = t[1]
    assert np.allclose(q[[0, -1]], [[0.1, -0.2], np.add([0.1, -0.2], way)]) and not qd[[0, -1]].any()
    assert np.allclose(np.gradient(q, t, axis=0)[1:-1], qd[1:-1], atol=SHARE * J.max() * h**2)  # central difference
    most = [np.abs(np.diff(q, k, axis=0) / h**k / limit).max() / SHARE for k, limit in ((1, V), (2, A), (3, J))]
    assert max(most) < 1.0 + 1e-5 and max(most) > 0.9  # a difference is a mean over three of forty intervals


def test_blend_that_goes_nowhere_is_one_step_long() -> None:
    t, q, qd = blend(np.zeros(2), np.zeros(2), V, A, J, SHARE, 100.0)
    assert np.allclose(t, [0.0, 0.01]) and not q.any() and not qd.any()
