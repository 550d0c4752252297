"""A live arm with a redundant joint leaves a branch that has cost more than another by the price of going there."""

from __future__ import annotations

import numpy as np
import pytest
from numpy import ndarray

from visual_irl.mapping.branch_change import limb_ends, tightness, unlikeness
from visual_irl.mapping.commanded_arm import gap_of
from visual_irl.mapping.hand_first import work_of
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status
from visual_irl.robots import load_robot
from visual_irl.robots.solutions import solutions, solver_of

DT = 1.0 / 60.0


class Wrong:
    """A Franka arm over a hand that rests, on a branch on which it stays unlike a person whose limbs are those of another."""

    def __init__(self, name: str) -> None:
        self.robot = load_robot(name)
        self.solver = solver_of(self.robot, OnlineConfig().margin)
        self.work = work_of(self.solver.chain)
        rng, chain = np.random.default_rng(0), self.solver.chain
        while True:
            right = rng.uniform(chain.lower + 0.3, chain.upper - 0.3)
            self.T, self.limbs = self.robot.fk(right), self.limbs_of(right)
            if gap_of(self.solver, self.work, right) < 0.02:
                continue
            found = np.array([q for q in solutions(self.solver, self.T) if gap_of(self.solver, self.work, q) > 0.02])
            if not len(found):
                continue
            costs = np.array([self.cost(q, self.limbs) for q in found])
            self.q = self.followed(found[costs.argmax()], 2.0, np.inf)[-1]
            if self.cost(self.q, self.limbs) > 0.5 and costs[joined(found, self.q)].min(initial=np.inf) > 0.5:
                break

    def limbs_of(self, q: ndarray) -> ndarray:
        ends = np.empty((3, 3))
        limb_ends(self.solver.chain, q, ends)
        d = np.diff(ends, axis=0)
        return np.asarray(d / np.linalg.norm(d, axis=1)[:, None])

    def cost(self, q: ndarray, limbs: ndarray) -> float:
        costs = OnlineConfig().costs
        cost = unlikeness(self.solver.chain, self.work, q, *limbs, costs) + tightness(self.solver, q, costs)
        return float(cost)

    def followed(self, q: ndarray, seconds: float, leave: float, other: ndarray | None = None, every: int = 1) -> ndarray:
        """Joints [rad] of a live arm from `q` on; the limbs are now the person's, now the `other` ones, for `every` frames."""
        mapper, path = OnlineMapper(self.robot, OnlineConfig(speed_share=np.inf, leave=leave)), [q]
        mapper.reset(q)
        for k in range(round(seconds / DT)):
            limbs = self.limbs if other is None or k // every % 2 == 0 else other
            assert mapper.step(self.T[:3, :3], self.T[:3, 3], *limbs, True, DT) == Status.TRACKING
            path.append(mapper.q.copy())
        return np.array(path)


def joined(found: ndarray, q: ndarray) -> ndarray:
    """Which of a pose's solutions can be reached from `q` by steps of less than 0.8 rad: its branch, and a little more."""
    inside = np.abs(found - q).max(axis=1) < 0.8
    while True:
        near = np.abs(found[:, None] - found[inside]).max(axis=2).min(axis=1, initial=np.inf) < 0.8
        if not (near & ~inside).any():
            return inside
        inside |= near


def changes(path: ndarray) -> ndarray:
    """Frames before which the arm jumps."""
    return np.flatnonzero(np.abs(np.diff(path, axis=0)).max(axis=1) > 0.6)


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_it_leaves_once_staying_has_cost_the_price_and_does_not_come_back(name: str) -> None:
    wrong = Wrong(name)
    excess = wrong.cost(wrong.q, wrong.limbs)  # elsewhere the limbs can be the person's: it costs nothing
    for price in (0.6, 1.5):
        path = wrong.followed(wrong.q, price / excess + 4.0, price)
        jumps = changes(path)
        assert len(jumps) == 1
        sweep = len(wrong.solver.values) * DT
        assert price / excess - sweep < jumps[0] * DT < price / excess + 3.0 * sweep
        assert wrong.cost(path[-1], wrong.limbs) < 0.5 * excess
    assert not len(changes(wrong.followed(wrong.q, 8.0, np.inf)))


def test_it_does_not_go_to_and_fro_where_now_this_branch_and_now_that_one_is_better() -> None:
    """What half a second costs elsewhere never comes to the price, however often it does; one between both may be better."""
    wrong = Wrong("panda")
    path = wrong.followed(wrong.q, 20.0, 1.5, wrong.limbs_of(wrong.q), every=30)
    assert wrong.cost(wrong.q, wrong.limbs) * 0.5 < 1.5 < wrong.cost(wrong.q, wrong.limbs) * 10.0
    assert len(changes(path)) <= 1
