"""The policy that learns in a task: a network over any number of things, and how it draws actions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

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
    phase: Float[Tensor, "*B P"] | None
    """Where something is filled: 1, 0 before it is full, and 0, 1 after, where anything can be: what is right before is wrong
    then, so a policy has outputs of its own for each."""

    def __getitem__(self, index: Tensor | slice) -> Sight:
        """Some of the states, along the first axis."""
        return Sight(self.things[index], None if self.phase is None else self.phase[index])

    @classmethod
    def of(cls, sights: Sequence[Sight]) -> Sight:
        """Several, one after the other."""
        phases = [s.phase for s in sights if s.phase is not None]
        return cls(torch.cat([s.things for s in sights]), torch.cat(phases) if phases else None)


class PolicyNetwork(nn.Module):
    """A policy and a value over any number of things, in any order.

    For each thing, seen with the mean of all, the network proposes an action and how much it attends to that thing; the
    policy is the proposals' mean by attention. With one thing it is a plain network of two hidden layers.
    """

    def __init__(self, task: BatchTask, width: int = 64) -> None:
        super().__init__()
        self.attributes, self.action_size = task.attributes, task.action_size
        start = self.look(task.split(torch.zeros(1, task.observation_size)))
        phases = 1 if start.phase is None else 2
        self.encode = nn.Linear(start.things.shape[-1], width)
        self.propose, self.judge = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.action, self.attention, self.value = (nn.Linear(width, phases * n) for n in (self.action_size, 1, 1))
        self.log_std = nn.Parameter(torch.full((phases, self.action_size), -0.3))
        with torch.no_grad():
            self.action.weight.mul_(0.01)

    def look(self, now: Situation) -> Sight:
        """What the policy sees."""
        phase = None
        if now.vessels is not None:
            full = now.vessels.full.any(dim=-1).to(now.hand.dtype)
            phase = torch.stack([1 - full, full], dim=-1)
        return Sight(relational_features(now, self.attributes), phase)

    def forward(self, seen: Sight) -> tuple[Tensor, Tensor, Tensor]:
        """Mean action (B A), logarithm of the spread (B A) and value (B)."""
        each = torch.tanh(self.encode(seen.things))
        value = self.value(torch.tanh(_among_all(self.judge, each)).mean(dim=-2))
        mean = self._mean(each, seen.phase)
        return mean, self._spread(mean, seen.phase), _in_phase(value, seen.phase, 1).squeeze(-1)

    def choice(self, seen: Sight) -> tuple[Tensor, Tensor]:
        """The same without the value."""
        mean = self._mean(torch.tanh(self.encode(seen.things)), seen.phase)
        return mean, self._spread(mean, seen.phase)

    def act(self, now: Situation) -> Float[Tensor, "B A"]:
        """Mean action, cut to [-1, 1]."""
        return self.choice(self.look(now))[0].clamp(-1, 1)

    def bound_spread(self) -> None:
        """Bring the parameter itself back: clamped on use, its gradient beyond a bound would be 0 for good."""
        with torch.no_grad():
            self.log_std.clamp_(*LOG_STD)

    def _mean(self, each: Tensor, phase: Tensor | None) -> Tensor:
        proposal = torch.tanh(_among_all(self.propose, each))
        attention = torch.softmax(self.attention(proposal), dim=-2)
        if phase is None:
            return (attention * self.action(proposal)).sum(dim=-2)
        actions = self.action(proposal).unflatten(-1, (-1, self.action_size))
        return _in_phase((attention[..., None] * actions).sum(dim=-3).flatten(-2), phase, self.action_size)

    def _spread(self, mean: Tensor, phase: Tensor | None) -> Tensor:
        return self.log_std.expand_as(mean) if phase is None else phase @ self.log_std


def draw(mean: Float[Tensor, "B A"], log_std: Float[Tensor, "B A"]) -> Float[Tensor, "B A"]:
    """Actions about their mean."""
    return mean + log_std.exp() * torch.randn_like(mean)


def log_probability(
    action: Float[Tensor, "B A"], mean: Float[Tensor, "B A"], log_std: Float[Tensor, "B A"]
) -> Float[Tensor, "B"]:
    """Of actions, but for a constant."""
    return (-0.5 * ((action - mean) * torch.exp(-log_std)).square() - log_std).sum(dim=-1)


def _among_all(layer: nn.Linear, each: Float[Tensor, "*B N W"]) -> Float[Tensor, "*B N K"]:
    """`layer` of each thing beside the mean of all, which for one thing is itself: the mean is multiplied once, not N times."""
    own, common = layer.weight.chunk(2, dim=1)
    if each.shape[-2] == 1:
        return nn.functional.linear(each, own + common, layer.bias)
    return nn.functional.linear(each, own, layer.bias) + nn.functional.linear(each.mean(dim=-2, keepdim=True), common)


def _in_phase(each: Float[Tensor, "*B M"], phase: Tensor | None, size: int) -> Float[Tensor, "*B K"]:
    """Of `size` numbers for each phase those of the present one."""
    return each if phase is None else (each.unflatten(-1, (-1, size)) * phase[..., None]).sum(dim=-2)
