"""How different two rewards are, whatever their scale and potential shaping: STARC and EPIC; and how steep one is.

STARC: Skalse et al. 2024, "STARC: A general framework for quantifying differences between reward functions". A reward is
canonicalised (equal for rewards that differ by potential shaping and redistribution over next states), divided by its
norm, and the distance is a metric between the two. Here norm and metric are L2, halved, so that 0 is the same, 1 opposite.

EPIC: Gleave et al. 2021, "Quantifying differences in reward functions".

A small distance does not say that a reward can be optimised; only optimising it again does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from visual_irl.errors import InvalidInput

Reward = Callable[[Tensor, Tensor], Tensor]
"""Rewards (B) of steps from states (B D) to states (B D)."""


def starc_distance(
    first: Float[ndarray, "S A S"],
    second: Float[ndarray, "S A S"],
    transitions: Float[ndarray, "S A S"],
    discount: float,
    policy: Float[ndarray, "S A"] | None = None,
) -> float:
    """Exact STARC distance (0 to 1) on a tabular world, canonicalised by value-adjusted levelling."""
    return _normalised_distance(*(value_adjusted_levelling(r, transitions, discount, policy) for r in (first, second)))


def value_adjusted_levelling(
    reward: Float[ndarray, "S A S"],
    transitions: Float[ndarray, "S A S"],
    discount: float,
    policy: Float[ndarray, "S A"] | None = None,
) -> Float[ndarray, "S A"]:
    """`c(R)(s, a) = E_{s'}[R(s, a, s') - V(s) + gamma V(s')]` with the value `V` of `policy` (uniform if none) under `R`.

    It does not depend on s', so the table over s' that the paper writes repeats this one.
    """
    _check_discount(discount)
    shape = np.shape(transitions)
    if len(shape) != 3 or shape[0] != shape[2] or np.shape(reward) != shape:
        raise InvalidInput(f"STARC: reward {np.shape(reward)} and transitions {shape} must both be (states, actions, states)")
    if not np.isfinite(reward).all():
        raise InvalidInput("STARC: the reward holds NaN or infinity")
    if policy is None:
        policy = np.full(shape[:2], 1 / shape[1])
    for name, table in (("transitions", transitions), ("policy", policy)):
        if not (np.all(table >= 0) and np.allclose(table.sum(axis=-1), 1)):
            raise InvalidInput(f"STARC: {name} must be probabilities that sum to 1 along the last axis")
    expected = (transitions * reward).sum(axis=2)
    step = np.einsum("sa,sat->st", policy, transitions)
    value = np.linalg.solve(np.eye(shape[0]) - discount * step, (policy * expected).sum(axis=1))
    return expected - value[:, None] + discount * transitions @ value


def sampled_starc_distance(
    first: Float[ndarray, "M"],
    second: Float[ndarray, "M"],
    states: Float[ndarray, "M D"],
    next_states: Float[ndarray, "M D"],
    discount: float,
    ridge: float = 1e-6,
) -> float:
    """STARC distance (0 to 1) from rewards of M sampled transitions of a deterministic continuous world.

    Canonicalised minimally: of all potentials quadratic in the standardised state, the one that leaves the smallest norm.
    So it is invariant under quadratic potentials only, and tells of the sampled region only. `ridge` is per sample.
    """
    _check_discount(discount)
    count = len(states)
    if not (np.shape(states) == np.shape(next_states) and np.shape(first) == np.shape(second) == (count,)):
        raise InvalidInput("STARC: rewards (M), states (M D) and next states (M D) must belong to the same M transitions")
    if not all(np.isfinite(x).all() for x in (first, second, states, next_states)):
        raise InvalidInput("STARC: the sampled transitions hold NaN or infinity")
    mean, spread = states.mean(axis=0), states.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)  # a constant coordinate carries nothing
    shaping = discount * _quadratic((next_states - mean) / spread) - _quadratic((states - mean) / spread)
    if count <= shaping.shape[1]:
        raise InvalidInput(f"STARC: {count} transitions cannot tell {shaping.shape[1]} potentials apart; sample more")
    rewards = np.stack([first, second], axis=1).astype(float)
    gram = shaping.T @ shaping + ridge * count * np.eye(shaping.shape[1])
    rest = rewards - shaping @ np.linalg.solve(gram, shaping.T @ rewards)
    return _normalised_distance(rest[:, 0], rest[:, 1])


def epic_distance(
    first: Float[ndarray, "S A S"],
    second: Float[ndarray, "S A S"],
    discount: float,
    coverage: Float[ndarray, "S A S"] | None = None,
    state_weights: Float[ndarray, "S"] | None = None,
    action_weights: Float[ndarray, "A"] | None = None,
) -> float:
    """Exact EPIC distance `sqrt((1 - rho) / 2)` (0 to 1), with `rho` weighted by `coverage`; weights are uniform if none."""
    shape = np.shape(first)
    if len(shape) != 3 or shape[0] != shape[2] or np.shape(second) != shape:
        raise InvalidInput(f"EPIC: rewards {shape} and {np.shape(second)} must both be (states, actions, states)")
    of_state = np.full(shape[0], 1 / shape[0]) if state_weights is None else state_weights
    of_action = np.full(shape[1], 1 / shape[1]) if action_weights is None else action_weights
    weight = np.full(shape, 1 / np.prod(shape)) if coverage is None else coverage
    weight = weight / weight.sum()

    def shaped(reward: ndarray) -> ndarray:
        mean = np.einsum("a,t,sat->s", of_action, of_state, reward)  # E[R(s, A, S')]
        canonical = reward + discount * mean[None, None, :] - mean[:, None, None] - discount * of_state @ mean
        centred = canonical - (weight * canonical).sum()
        spread = np.sqrt((weight * centred**2).sum())
        if not spread > 1e-12 * max(1.0, float(np.abs(reward).max())):
            raise InvalidInput("EPIC: a reward is constant up to shaping, so its correlation is undefined")
        return centred / spread

    # (1 - rho) / 2 = E[(u - v)^2] / 4 of standardised u, v: exact near 0, where 1 - rho would cancel
    return float(np.sqrt((weight * (shaped(first) - shaped(second)) ** 2).sum()) / 2)


def sampled_epic_distance(
    first: Reward,
    second: Reward,
    states: Float[Tensor, "M D"],
    next_states: Float[Tensor, "M D"],
    others: Float[Tensor, "K D"],
    discount: float,
) -> float:
    """EPIC distance (0 to 1) of rewards of (s, s'): sampled transitions are the coverage, `others` the states S and S' of
    its canonical form (its section 5). Pairs of a state with any other need not be possible steps, as in the paper.
    """  # fmt: skip
    if not (len(states) == len(next_states) >= 2 and len(others)):
        raise InvalidInput(
            f"EPIC: {len(states)} states, {len(next_states)} next and {len(others)} others; give 2, 2 and 1 at least"
        )

    def shaped(reward: Reward) -> ndarray:
        with torch.no_grad():
            at, after, anywhere = (_mean_reward(reward, x, others) for x in (states, next_states, others))
            canonical = reward(states, next_states).double() + discount * after - at - discount * anywhere.mean()
        if not bool(canonical.isfinite().all()):
            raise InvalidInput("EPIC: a reward of the sampled transitions is NaN or infinite")
        centred = (canonical - canonical.mean()).numpy()
        spread = np.sqrt((centred**2).mean())
        if not spread > 1e-9 * max(1.0, float(canonical.abs().max())):
            raise InvalidInput("EPIC: a reward is constant up to shaping, so its correlation is undefined")
        return centred / spread

    return float(np.sqrt(((shaped(first) - shaped(second)) ** 2).mean()) / 2)


def lipschitz_estimate(reward: Callable[[Tensor], Tensor], states: Float[Tensor, "M D"]) -> float:
    """Largest gradient norm of a differentiable reward of states at the given states: a lower bound of its constant."""
    at = states.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(at).sum(), at)
    if not bool(gradient.isfinite().all()):
        raise InvalidInput("Lipschitz estimate: the reward's gradient holds NaN or infinity")
    return float(gradient.norm(dim=-1).max())


def _mean_reward(reward: Reward, states: Float[Tensor, "M D"], others: Float[Tensor, "K D"]) -> Float[Tensor, "M"]:
    """Expected reward of going from each state to any of the others."""
    total = torch.zeros(len(states), dtype=torch.double)
    for other in others:
        total += reward(states, other.expand_as(states)).double()
    return total / len(others)


def _normalised_distance(first: ndarray, second: ndarray) -> float:
    return float(np.linalg.norm(_normalised(first) - _normalised(second)) / 2)


def _normalised(canonical: ndarray) -> ndarray:
    """Divided by its norm; a trivial reward stays zero, as published."""
    norm = np.linalg.norm(canonical)
    return canonical / norm if norm > 1e-12 else np.zeros_like(canonical)


def _quadratic(x: Float[ndarray, "M D"]) -> ndarray:
    rows, columns = np.triu_indices(x.shape[1])
    return np.concatenate([np.ones((len(x), 1)), x, x[:, rows] * x[:, columns]], axis=1)


def _check_discount(discount: float) -> None:
    if not 0 <= discount < 1:
        raise InvalidInput(f"STARC: discount {discount} must be at least 0 and below 1")
