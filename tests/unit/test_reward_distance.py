"""Distances between rewards on worlds whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visual_irl.errors import InvalidInput
from visual_irl.reward.distance import (
    epic_distance,
    lipschitz_estimate,
    sampled_epic_distance,
    sampled_starc_distance,
    starc_distance,
    value_adjusted_levelling,
)

GAMMA = 0.9
ROUND = 1e-9  # float64 through one small linear solve


@pytest.fixture(params=range(3))
def world(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(request.param)
    return rng.dirichlet(np.ones(5), size=(5, 3)), rng.normal(size=(5, 3, 5)), rng


def shaping(potential: np.ndarray) -> np.ndarray:
    return GAMMA * potential[None, None, :] - potential[:, None, None]


def test_scale_and_shaping_do_not_count_and_the_opposite_is_farthest(world: tuple) -> None:
    transitions, reward, rng = world
    same = 7 * reward + shaping(rng.normal(size=5)) + 3
    assert starc_distance(reward, same, transitions, GAMMA) < ROUND
    assert epic_distance(reward, same, GAMMA) < ROUND
    assert starc_distance(reward, -same, transitions, GAMMA) == pytest.approx(1)
    assert epic_distance(reward, -same, GAMMA) == pytest.approx(1)


def test_starc_forgives_redistribution_over_next_states_and_epic_does_not(world: tuple) -> None:
    transitions, reward, rng = world
    noise = rng.normal(size=reward.shape)
    moved = reward + noise - (transitions * noise).sum(axis=2, keepdims=True)  # zero on average over s'
    assert starc_distance(reward, moved, transitions, GAMMA) < ROUND
    assert epic_distance(reward, moved, GAMMA) > 0.05


def test_levelling_gives_the_advantage_of_its_policy(world: tuple) -> None:
    transitions, reward, _ = world
    policy = np.full((5, 3), 1 / 3)
    advantage = value_adjusted_levelling(reward, transitions, GAMMA)
    np.testing.assert_allclose((policy * advantage).sum(axis=1), 0, atol=ROUND)
    value = np.zeros(5)
    for _ in range(400):  # 0.9^400 < 1e-18
        action_value = (transitions * (reward + GAMMA * value)).sum(axis=2)
        value = (policy * action_value).sum(axis=1)
    np.testing.assert_allclose(advantage, action_value - value[:, None], atol=ROUND)


def test_a_trivial_reward_is_half_way_from_any_other_and_at_no_distance_from_itself(world: tuple) -> None:
    transitions, reward, _ = world
    nothing = np.zeros_like(reward)
    assert starc_distance(nothing, reward, transitions, GAMMA) == pytest.approx(0.5)
    assert starc_distance(nothing, nothing, transitions, GAMMA) == 0
    with pytest.raises(InvalidInput, match="constant"):
        epic_distance(nothing, reward, GAMMA)


def test_one_state_two_actions_by_hand() -> None:
    transitions = np.ones((1, 3, 1))
    first, second = (np.array([r], dtype=float)[:, :, None] for r in ([1, 0, -1], [1, -2, 1]))
    # centred, these are orthogonal: |u - v| / 2 = sqrt(2) / 2, and rho = 0
    assert starc_distance(first, second, transitions, GAMMA) == pytest.approx(np.sqrt(0.5))
    assert epic_distance(first, second, GAMMA) == pytest.approx(np.sqrt(0.5))


def test_sampled_transitions_forgive_scale_and_quadratic_shaping() -> None:
    rng = np.random.default_rng(0)
    before = rng.normal(size=(4000, 3))
    after = before + 0.3 * rng.normal(size=before.shape)
    reward = -np.linalg.norm(after - 1, axis=1)

    def potential(s: np.ndarray) -> np.ndarray:
        return s[:, 0] ** 2 - 2 * s[:, 1] * s[:, 2] + s[:, 1] - 4

    same = 2 * reward + GAMMA * potential(after) - potential(before)
    other = -np.linalg.norm(after + 1, axis=1)
    assert sampled_starc_distance(reward, same, before, after, GAMMA, ridge=1e-12) < 1e-6  # what the ridge leaves
    assert sampled_starc_distance(reward, -same, before, after, GAMMA, ridge=1e-12) == pytest.approx(1, abs=1e-6)
    assert 0.3 < sampled_starc_distance(reward, other, before, after, GAMMA) < 1


def test_sampled_epic_is_the_exact_one_where_every_pair_was_sampled() -> None:
    """Rewards of (s, s') on five states, as tables of a world with one action; all pairs are the coverage."""
    rng = np.random.default_rng(1)
    tables = torch.from_numpy(rng.normal(size=(2, 5, 5)))
    one_hot = torch.eye(5, dtype=torch.double)
    before, after = (x.reshape(-1, 5) for x in torch.broadcast_tensors(one_hot[:, None], one_hot[None]))
    rewards = [lambda s, t, table=table: ((s @ table) * t).sum(-1) for table in tables]
    exact = epic_distance(*tables[:, :, None].numpy(), GAMMA)
    assert sampled_epic_distance(*rewards, before, after, one_hot, GAMMA) == pytest.approx(exact, abs=ROUND)
    assert 0.3 < exact < 1


def test_sampled_epic_forgives_scale_and_any_shaping() -> None:
    states = torch.randn(400, 3, generator=torch.Generator().manual_seed(0), dtype=torch.double)
    after, others = states + 0.3 * states.roll(1, 0), states[:50]

    def reward(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return -(t - 1).norm(dim=-1)

    def same(s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return 3 * reward(s, t) + GAMMA * t.sin().sum(-1) - s.sin().sum(-1)

    assert sampled_epic_distance(reward, same, states, after, others, GAMMA) < 1e-6
    opposite = sampled_epic_distance(reward, lambda s, t: -reward(s, t), states, after, others, GAMMA)
    assert opposite == pytest.approx(1)
    with pytest.raises(InvalidInput, match="constant"):
        sampled_epic_distance(reward, lambda s, t: t[:, 0] * 0, states, after, others, GAMMA)
    with pytest.raises(InvalidInput, match="others"):
        sampled_epic_distance(reward, same, states, after, others[:0], GAMMA)


def test_lipschitz_estimate_of_known_slopes() -> None:
    states = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
    assert lipschitz_estimate(lambda s: s @ torch.tensor([3.0, 4.0]), states) == pytest.approx(5)
    assert lipschitz_estimate(lambda s: s.square().sum(-1), states) == pytest.approx(2 * float(states.norm(dim=1).max()))


def test_bad_tables_are_refused(world: tuple) -> None:
    transitions, reward, _ = world
    for wrong in ((reward, transitions, 1.0), (reward + np.nan, transitions, GAMMA), (reward, 2 * transitions, GAMMA)):
        with pytest.raises(InvalidInput, match="STARC"):
            value_adjusted_levelling(*wrong)
    with pytest.raises(InvalidInput, match="sample more"):
        sampled_starc_distance(np.zeros(4), np.zeros(4), np.zeros((4, 3)), np.zeros((4, 3)), GAMMA)
