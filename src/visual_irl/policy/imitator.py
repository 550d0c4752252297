"""A policy that adversarial learners play against: begun as a clone of demonstrated states, held near it, trained by PPO.

The clone's actions come from inverse dynamics (behaviour cloning from observation): no action is demonstrated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.policy.cloning import Cloning
from visual_irl.policy.network import PolicyNetwork
from visual_irl.policy.ppo import PPO
from visual_irl.tasks.batch import BatchTask
from visual_irl.tasks.situation import Situation


@dataclass(frozen=True)
class ClonedStart:
    """An imitator, as `reward.learner` wants one."""

    task: BatchTask
    shown: Float[Tensor, "N T D"]
    """Demonstrated observations."""
    ppo: PPO
    cloning: Cloning
    seed: int = 0
    spread: float = -1.2
    """Logarithm of the exploration's spread at first: a clone that explores widely is a clone no more."""
    anchor: float = 0.1
    """Weight of the squared difference to the cloned actions on demonstrated states."""
    samples: int = 256
    """Demonstrated states at which that is taken in a gradient step."""

    def imitate(
        self, reward: Callable[[Situation, Situation], Tensor], after_round: Callable[[PolicyNetwork], None]
    ) -> tuple[PolicyNetwork, int]:
        """A policy for a reward that may learn from what it is asked, once a round; and its environment steps."""
        task = self.task
        batch = task.build(self.ppo.environments, seed=20_000 + self.seed)
        start, actions, cloned = self.cloning.from_observations(batch, self.shown, self.seed)
        with torch.no_grad():
            start.log_std.fill_(self.spread)
        states = start.look(task.split(self.shown[:, :-1].flatten(0, 1)))

        def near_the_clone(network: PolicyNetwork) -> Tensor:
            rows = torch.randint(len(actions), (self.samples,))
            return self.anchor * (network(states[rows])[0] - actions[rows]).square().mean()

        policy, steps = self.ppo.optimise(
            batch,
            lambda s, s_next: reward(task.split(s), task.split(s_next)),
            self.seed,
            start,
            after_round,
            near_the_clone,
        )
        return policy, cloned + steps
