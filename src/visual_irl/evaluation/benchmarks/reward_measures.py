"""What is told of a learned reward without optimising it, beside the reward that the task's author meant; and how like the
demonstrator a policy acts. None of these says that a reward can be optimised: what fresh policies make of it does."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.policy.ppo import RewardOfStates as Reward
from visual_irl.reward.distance import lipschitz_estimate, sampled_epic_distance, sampled_starc_distance
from visual_irl.tasks.batch import BatchTask, Policy, roll_out
from visual_irl.tasks.situation import Situation

DISCOUNT = 0.97
"""Of STARC and EPIC."""
DISTURBED = (0.3, 1.0, 2.0, 5.0)
"""Noise on the actions of the demonstrator whose steps are looked at: from little to wholly."""
ALIKE_M = 0.02
"""Hands that end a step nearer than this did alike [m]: less than half of a full action."""
ALIKE_RAD = 0.2
"""The same of what they tilt [rad]."""


def reward_measures(task: BatchTask, reward: Reward, seed: int) -> dict[str, float]:
    """Distances and correlation between a reward and the true one, and how steep it is.

    Returns:
        starc: Sampled STARC distance, 0 to 1.
        epic: Sampled EPIC distance, 0 to 1.
        return_correlation: Pearson's correlation of the two returns, over whole episodes.
        lipschitz: Largest gradient of the reward at the states that steps lead to, in its own standard deviations [1/m, 1/rad].

    Raises:
        LearningFailed: the reward is the same everywhere, so that nothing of this is defined.
    """
    generator = torch.Generator().manual_seed(70_000 + seed)
    batch = task.build(64, seed=70_000 + seed)

    def episodes(noise: float) -> Tensor:
        return roll_out(batch, lambda o: task.expert(o, noise, generator))[0]

    seen = torch.cat([episodes(noise) for noise in DISTURBED])

    def true(s: Tensor, s_next: Tensor) -> Tensor:
        return task.true_reward(s_next)

    s, s_next = seen[:, :-1].flatten(0, 1), seen[:, 1:].flatten(0, 1)
    with torch.no_grad():
        rewards = [r(s, s_next).double().numpy() for r in (reward, true)]
    if not rewards[0].std() > 1e-9 * abs(rewards[0]).max():
        raise LearningFailed(
            f"a reward is {rewards[0][0]:.3g} on all of {len(s)} steps: it tells nothing apart; learn it again"
        )
    some, others = (torch.randperm(len(s), generator=generator)[:n] for n in (2048, 128))
    returns = [r.reshape(len(seen), -1).sum(axis=1) for r in rewards]
    return {
        "starc": sampled_starc_distance(rewards[0], rewards[1], s.double().numpy(), s_next.double().numpy(), DISCOUNT),
        "epic": sampled_epic_distance(reward, true, s[some], s_next[some], s_next[others], DISCOUNT),
        "return_correlation": float(np.corrcoef(returns)[0, 1]),
        "lipschitz": lipschitz_estimate(lambda after: reward(s, after), s_next) / float(rewards[0].std()),
    }


def behaviour_accuracy(task: BatchTask, act: Policy, seed: int, states: int = 1024) -> float:
    """Share of states of unseen episodes in which a policy does what the demonstrator does, where that one does something.

    The continuous form of learned-behaviour accuracy (the share of states with the same action; Bogert and Doshi 2014,
    "Multi-robot inverse reinforcement learning under occlusion with interactions"): both act for one step from the same
    state, and did alike when the hands end within 20 mm, hold the same and have tilted what they hold within 0.2 rad. A
    state counts when the demonstrator's step is not alike to none: who rests at the end of an episode would look right.
    """
    generator = torch.Generator().manual_seed(80_000 + seed)
    seen = roll_out(task.build(64, seed=80_000 + seed), task.expert)[0][:, :-1].flatten(0, 1)
    start = seen[torch.randperm(len(seen), generator=generator)[:states]]
    batch = task.build(len(start), seed=seed)

    def after(policy: Policy) -> Situation:
        batch.restart_from(start)
        with torch.no_grad():
            return task.split(batch.step(policy(start))[-1])

    shown = after(task.expert)
    return float(_alike(after(act), shown)[~_alike(task.split(start), shown)].float().mean())


def _alike(a: Situation, b: Situation) -> Bool[Tensor, "B"]:
    same = ((a.hand - b.hand).norm(dim=-1) < ALIKE_M) & (a.held == b.held).all(dim=-1)
    if a.vessels is not None and b.vessels is not None:
        same &= (a.vessels.hand_tilt - b.vessels.hand_tilt).abs() < ALIKE_RAD
    return same
