"""The policy that learns in a task: a network over any number of things, and how it draws actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from visual_irl.policy.layers import Layers, Logistic, logistic, through
from visual_irl.tasks.batch import BatchTask
from visual_irl.tasks.features import relational_features
from visual_irl.tasks.situation import Situation

LOG_STD = (-2.5, 0.0)
"""Bounds of the logarithm of the exploration's spread."""


@dataclass(frozen=True)
class Sight:
    """What a policy sees of states, taken once for all passes over them."""

    things: Float[Tensor, "*B N F"]
    """Each thing as the hand sees it."""
    phase: Float[Tensor, "*B P"]
    """1 in the column of the present phase, 0 in others. There is one, or two where something is filled: before it is full and
    after; what is right before is wrong then, so a policy has outputs of its own for each."""

    def __getitem__(self, index: Tensor | slice) -> Sight:
        """Some of the states, along the first axis."""
        return Sight(self.things[index], self.phase[index])

    @classmethod
    def of(cls, sights: Sequence[Sight]) -> Sight:
        """Several, one after the other."""
        return cls(torch.cat([s.things for s in sights]), torch.cat([s.phase for s in sights]))


class PolicyNetwork(nn.Module):
    """A policy and a value over any number of things, in any order.

    For each thing, seen with the mean of all, the network proposes an action and how much it attends to that thing; the
    policy is the proposals' mean by attention. With one thing it is a plain network of two hidden layers.
    """

    def __init__(self, task: BatchTask, width: int = 64) -> None:
        super().__init__()
        self.attributes, self.action_size = task.attributes, task.action_size
        start = self.look(task.split(torch.zeros(1, task.observation_size)))
        phases = start.phase.shape[-1]
        self.encode = nn.Linear(start.things.shape[-1], width)
        self.propose, self.judge = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.action, self.attention, self.value = (nn.Linear(width, phases * n) for n in (self.action_size, 1, 1))
        self.log_std = nn.Parameter(torch.full((phases, self.action_size), -0.3))
        with torch.no_grad():
            self.action.weight.mul_(0.01)

    def look(self, now: Situation) -> Sight:
        """What the policy sees."""
        full = torch.zeros_like(now.held[..., 0]) if now.vessels is None else now.vessels.full.any(dim=-1)
        phase = torch.stack([~full] if now.vessels is None else [~full, full], dim=-1).to(now.hand.dtype)
        return Sight(relational_features(now, self.attributes), phase)

    def forward(self, seen: Sight, ready: Logistic | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Mean action (B A), logarithm of the spread (B A) and value (B); quicker with what `ready` gave."""
        mean, value = through(self._layers(), seen.things, seen.phase, ready)
        return mean, seen.phase @ self.log_std, value

    def ready(self) -> Logistic:
        """The weights prepared for many calls without gradients, as long as they stay what they are."""
        return logistic(self._layers())

    def _layers(self) -> Layers:
        return (self.encode, self.propose, self.judge, self.action, self.attention, self.value)

    def act(self, now: Situation) -> Float[Tensor, "B A"]:
        """Mean action, cut to [-1, 1]."""
        return self(self.look(now))[0].clamp(-1, 1)

    def bound_spread(self) -> None:
        """Bring the parameter itself back: clamped on use, its gradient beyond a bound would be 0 for good."""
        with torch.no_grad():
            self.log_std.clamp_(*LOG_STD)


def draw(mean: Float[Tensor, "B A"], log_std: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
    """Actions about their mean."""
    return mean + log_std.exp() * torch.randn_like(mean)


def log_probability(
    action: Float[Tensor, "B A"], mean: Float[Tensor, "B A"], log_std: Float[Tensor, "B A"]
) -> Float[Tensor, "B"]:
    """Of actions, but for a constant."""
    return (-0.5 * ((action - mean) * torch.exp(-log_std)).square() - log_std).sum(dim=-1)
