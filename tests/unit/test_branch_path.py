"""The best path through the branches of all frames: as cheap as any, wound inside the limits, then off the grid."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from reached_targets import targets_along
from visual_irl.mapping.branch_path import BranchCosts, best_path, price, refined, step_cost, wound
from visual_irl.mapping.hand_first import work_of
from visual_irl.mapping.targets import cut
from visual_irl.robots import load_robot
from visual_irl.robots.solutions import solutions, solver_of


@pytest.mark.parametrize(("name", "frames"), [("ur5e", 4), ("panda", 2)])
def test_viterbi_finds_the_cheapest_path(name: str, frames: int) -> None:
    """Against all paths through a few frames."""
    robot, costs = load_robot(name), BranchCosts()
    solver = solver_of(robot)
    targets = cut(targets_along(name), slice(0, frames))
    work = work_of(solver.chain)
    options = [solutions(solver, np.block([[R, p[:, None]], [0, 0, 0, 1]])) for R, p in zip(targets.R, targets.p, strict=True)]

    def cost(path: list[np.ndarray]) -> float:
        parts = zip(path, targets.upper, targets.fore, targets.posture, strict=True)
        total = sum(price(solver, work, q, u, f, posture, costs) for q, u, f, posture in parts)
        return total + sum(step_cost(solver.periodic, a, b, costs, np.inf) for a, b in pairwise(path))

    def grown(paths: list[list[np.ndarray]], k: int) -> list[list[np.ndarray]]:
        return paths if k == len(options) else grown([[*path, q] for path in paths for q in options[k]], k + 1)

    cheapest = min(cost(path) for path in grown([[]], 0))
    found = best_path(solver, targets, costs)
    assert found.solved.all()
    assert cost(list(found.q)) == pytest.approx(cheapest)


def test_winding_is_continuous_and_inside_the_limits() -> None:
    path = np.linspace(-2.0, 6.0, 100)[:, None]
    folded = (path + np.pi) % (2 * np.pi) - np.pi
    limits = np.array([-2 * np.pi]), np.array([2 * np.pi])
    out = wound(folded, np.array([True]), *limits, np.zeros((100, 1)))
    assert np.abs(np.diff(out[:, 0])).max() < 0.1 and (np.abs(out) <= 2 * np.pi).all()
    far = np.linspace(-6.2, 7.0, 200)[:, None]  # more than the joint can wind: rewound once, still inside
    out = wound((far + np.pi) % (2 * np.pi) - np.pi, np.array([True]), *limits, np.zeros((200, 1)))
    assert (np.abs(out) <= 2 * np.pi).all()
    assert 1 <= (np.abs(np.diff(out[:, 0])) > 1.0).sum() <= 2
    np.testing.assert_allclose(np.cos(out), np.cos(far), atol=1e-9)


def test_a_path_off_the_grid_costs_less_and_stays_exact() -> None:
    robot, targets, costs = load_robot("panda"), targets_along("panda", 120, seed=3), BranchCosts()
    solver = solver_of(robot)
    work, grid = work_of(solver.chain), best_path(solver, targets, costs)

    def cost(q: np.ndarray) -> float:
        rows = zip(q, targets.upper, targets.fore, targets.posture, strict=True)
        steps = sum(step_cost(solver.periodic, a, b, costs, np.inf) for a, b in pairwise(q))
        return steps + sum(price(solver, work, row, u, f, posture, costs) for row, u, f, posture in rows)

    finer = refined(solver, targets, costs, grid, fixed=1)
    assert cost(finer.q) < cost(grid.q) - 1.0
    np.testing.assert_array_equal(finer.q[0], grid.q[0])
    for q, R, p in zip(finer.q, targets.R, targets.p, strict=True):
        np.testing.assert_allclose(robot.fk(q)[:3], np.column_stack([R, p]), atol=1e-9)
