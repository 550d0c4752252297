"""What a learner asks of a batch of environments, whatever the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.tasks.situation import Situation

Policy = Callable[[Tensor], Tensor]
"""Actions (B A) for observations (B D)."""


@runtime_checkable
class BatchTask(Protocol):
    """A task whose copies run in step with each other."""

    @property
    def horizon(self) -> int:
        """Length of an episode [steps]."""
        ...

    @property
    def observation_size(self) -> int:
        """Numbers in an observation."""
        ...

    @property
    def positions(self) -> int:
        """How many of them, the first ones, are coordinates of hand and things [m]."""
        ...

    @property
    def attributes(self) -> int:
        """Number of classes that a thing's attribute tells apart."""
        ...

    @property
    def action_size(self) -> int:
        """Numbers in an action, each from -1 to 1."""
        ...

    def build(self, environments: int, seed: int = 0) -> Batch:
        """Copies of the task, at the start of an episode each."""
        ...

    def split(self, observations: Float[Tensor, "*B D"]) -> Situation:
        """The situations that observations describe."""
        ...

    def success(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B"]:
        """Whether an episode that ends like this has succeeded."""
        ...

    def true_reward(self, observations: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """The reward that the task's author meant: learners never see it, scores do."""
        ...

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B A"]:
        """The scripted demonstrator."""
        ...


@runtime_checkable
class Batch(Protocol):
    """Copies of a task in step with each other: all episodes have the same length, so they all end together."""

    environments: int

    @property
    def task(self) -> BatchTask:
        """The task of which these are copies."""
        ...

    def reset(self) -> Float[Tensor, "B D"]:
        """New random episodes; their first observations."""
        ...

    def restart_from(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Whole new episodes that begin in these states."""
        ...

    def step(self, actions: Float[Tensor, "B A"]) -> tuple[Tensor, bool, Tensor]:
        """Next observations, whether the episodes ended, and the observations that the step led to; no reward is told."""
        ...


def roll_out(batch: Batch, policy: Policy) -> tuple[Tensor, Tensor, Tensor]:
    """One whole new episode in each environment: observations (B T+1 D), actions (B T A) and true rewards (B T)."""
    observations, actions = [batch.reset()], []
    with torch.no_grad():
        for _ in range(batch.task.horizon):
            actions.append(policy(observations[-1]))
            observations.append(batch.step(actions[-1])[-1])
    seen = torch.stack(observations, 1)
    return seen, torch.stack(actions, 1), batch.task.true_reward(seen[:, 1:])
