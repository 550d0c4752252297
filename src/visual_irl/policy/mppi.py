"""Model-predictive path integral control (Williams et al. 2017, "Information theoretic MPC for model-based reinforcement
learning") in a batched task whose dynamics are known: the task itself is the model.

From each state many disturbed action sequences are played to their end, and their mean, weighted by exp(return / temperature),
is what is done next; it is the start of the next search.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.tasks.batch import BatchTask
from visual_irl.tasks.situation import Situation


@dataclass(frozen=True)
class Mppi:
    """Configuration."""

    horizon: int = 12
    """Steps that are looked ahead."""
    candidates: int = 48
    """Action sequences for each state."""
    spread: float = 0.6
    """Standard deviation of the disturbance of each action."""
    keep: float = 0.7
    """A disturbance holds on from step to step by this share: opening a gripper takes several."""
    temperature: float = 0.1
    """Of the weights, as a share of the returns' spread among the candidates of a state."""
    discount: float = 0.97
    """Discount a step."""

    def plan(
        self,
        task: BatchTask,
        reward: Callable[[Situation, Situation], Tensor],
        observations: Float[Tensor, "B D"],
        nominal: Float[Tensor, "H B A"],
        generator: torch.Generator,
    ) -> Float[Tensor, "H B A"]:
        """Better actions than `nominal` for the next H steps from each state."""
        k, (count, _) = self.candidates, observations.shape
        model = task.build(k * count)
        seen = model.restart_from(observations.repeat(k, 1))
        noise = torch.zeros(k, count, task.action_size)
        total = torch.zeros(k, count)
        tried = []
        for t in range(min(self.horizon, task.horizon - 1)):
            fresh = torch.randn(noise.shape, generator=generator)
            noise = self.keep * noise + (1 - self.keep**2) ** 0.5 * fresh
            actions = nominal[t] + self.spread * noise
            actions[0] = nominal[t]  # what was planned before is never forgotten
            actions = actions.clamp(-1, 1)
            reached = model.step(actions.flatten(0, 1))[-1]
            total = total + self.discount**t * reward(task.split(seen), task.split(reached)).reshape(k, count)
            tried.append(actions)
            seen = reached
        scale = self.temperature * total.std(dim=0, keepdim=True) + 1e-8
        weight = torch.softmax((total - total.amax(dim=0, keepdim=True)) / scale, dim=0)
        return torch.einsum("kb,hkba->hba", weight, torch.stack(tried))


@dataclass(frozen=True)
class Planning:
    """An imitator (see `reward.learner`) that plans on the reward that there is, and learns nothing itself."""

    task: BatchTask
    mppi: Mppi
    environments: int = 16
    rounds: int = 12
    """Rounds of one episode in each environment."""
    seed: int = 0

    def imitate(
        self, reward: Callable[[Situation, Situation], Tensor], after_round: Callable[[PlannedPolicy], None]
    ) -> tuple[PlannedPolicy, int]:
        """A planner on the last reward, and the environment steps, those of the model not counted.

        A reward that learns from what it is asked does so once a round: within it, plans are made on its `current`.
        """
        batch, steps = self.task.build(self.environments, seed=20_000 + self.seed), 0
        policy = PlannedPolicy(self.task, self.mppi, getattr(reward, "current", reward), self.seed)
        for _ in range(self.rounds):
            seen = [batch.reset()]
            with torch.no_grad():
                for _ in range(self.task.horizon):
                    seen.append(batch.step(policy(seen[-1]))[-1])
            steps += self.task.horizon * self.environments
            now, then = torch.cat(seen[:-1]), torch.cat(seen[1:])
            reward(self.task.split(now), self.task.split(then))
            after_round(policy)
        return policy, steps


class PlannedPolicy:
    """Acts by planning; a batch of another size, or the first state of an episode, begins a new plan."""

    def __init__(self, task: BatchTask, mppi: Mppi, reward: Callable[[Situation, Situation], Tensor], seed: int = 0) -> None:
        self.task, self.mppi, self.reward, self.seed = task, mppi, reward, seed
        self.generator = torch.Generator().manual_seed(seed)
        self._plan: Tensor | None = None
        self._asked = 0

    def __deepcopy__(self, memo: dict[int, Any]) -> PlannedPolicy:
        return PlannedPolicy(self.task, self.mppi, copy.deepcopy(self.reward, memo), self.seed)

    def __call__(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B A"]:
        """The first actions of new plans."""
        h, size = min(self.mppi.horizon, self.task.horizon - 1), self.task.action_size
        if self._plan is None or self._plan.shape[1] != len(observations) or self._asked % self.task.horizon == 0:
            self._plan, self._asked = torch.zeros(h, len(observations), size), 0
        self._asked += 1
        with torch.no_grad():
            plan = self.mppi.plan(self.task, self.reward, observations, self._plan, self.generator)
        self._plan = torch.cat([plan[1:], torch.zeros_like(plan[:1])])
        return plan[0]
