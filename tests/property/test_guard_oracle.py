"""The judge of the guard agrees with it on random trajectories, and would see a guard that lets something through."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BPoly

from visual_irl.evaluation.faults import guard_oracle
from visual_irl.evaluation.faults.guard_oracle import judge_guard, on_grid, polynomials, random_case
from visual_irl.execution import guard
from visual_irl.robots import load_robot
from visual_irl.robots.interpolation import accelerations


def test_guard_and_judge_agree() -> None:
    found = judge_guard(250, 5, lambda done, total: None)
    assert found["approved_violations"] == found["refused_without_reason"] == 0, found["examples"]
    assert found["approved"] > 50 and found["refused"] > 50 and found["undecided"] < 25


@pytest.mark.parametrize("check", ["_check_limits", "_check_ends", "_check_state"])
def test_the_judge_sees_what_a_broken_guard_lets_through(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, check, lambda *args: None)
    assert judge_guard(120, 6, lambda done, total: None)["approved_violations"] > 0


def test_the_judge_sees_a_guard_that_refuses_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_oracle, "_asked", lambda *args: "joint 'x' looks at me in a funny way")
    assert judge_guard(100, 7, lambda done, total: None)["refused_without_reason"] > 0


def test_the_judges_polynomials_are_the_quintics_that_are_streamed() -> None:
    case = random_case(load_robot("panda"), np.random.default_rng(1)).trajectory
    a = accelerations(case.t, case.q, case.qd)
    path = BPoly.from_derivatives(case.t, np.stack([case.q, case.qd, a], axis=1))
    c = polynomials(case.t, case.q, case.qd)
    x = case.t[:-1, None] + np.diff(case.t)[:, None] * np.linspace(0.0, 1.0, guard_oracle.GRID)
    for order in range(3):
        expected = path.derivative(order)(x) if order else path(x)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(on_grid(case.t, c, order), expected, atol=1e-8 * scale)  # two ways of solving
