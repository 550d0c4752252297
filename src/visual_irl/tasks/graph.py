"""A task's known kinematics as a small graph, and relational features of its transitions: what every task's graph shares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEAR = 0.06
"""Length scale of nearness [m]."""


@runtime_checkable
class Relations(Protocol):
    """Relational features of a transition (s, s') between continuous states of a task.

    Each is an event or a difference, so that its sum over a motion does not depend on how finely time is cut: a reward
    learned on the graph's few moves means the same on thirty frames a second.
    """

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in their order."""
        ...

    def __call__(self, s: Float[Tensor, "*B S"], s_next: Float[Tensor, "*B S"]) -> Float[Tensor, "*B F"]:
        """Features of transitions."""
        ...

    def stated(self) -> dict[str, Any]:
        """What it is made of, for a file."""
        ...

    @classmethod
    def of_stated(cls, stated: Mapping[str, Any], task: Any) -> Relations:
        """The relations that a file of a task states."""
        ...


@dataclass(frozen=True)
class Graph:
    """The graph with its geometry in E episodes: N states, M moves a state (padded with -1)."""

    places: tuple[str, ...]
    states: tuple[tuple[Any, ...], ...]
    """A place, the task's flags, and whether the episode has ended."""
    successors: Int[Tensor, "N M"]
    moves: tuple[tuple[str, ...], ...]
    before: Float[Tensor, "E N M S"]
    after: Float[Tensor, "E N M S"]
    """Continuous states that each move leads from and to; what pads a row is never used."""
    start: int

    def state(self, place: str, *flags: bool) -> int:
        """Index of a state; flags that are left out are false."""
        whole = (place, *flags) + (False,) * (len(self.states[0]) - 1 - len(flags))
        return self.states.index(whole)


def assembled(
    places: tuple[str, ...],
    states: Sequence[tuple[Any, ...]],
    options: Sequence[Mapping[str, tuple[Any, ...]]],
    geometry: Float[Tensor, "E N S"],
    start: tuple[Any, ...],
) -> Graph:
    """The graph of states, of the moves that each has (name -> state), and of what the states stand for in each episode."""
    index = {state: i for i, state in enumerate(states)}
    rows = [[index[successor] for successor in row.values()] for row in options]
    width = max(len(row) for row in rows)
    table = torch.tensor([row + [-1] * (width - len(row)) for row in rows])
    after = geometry[:, table.clamp(min=0)]
    before = geometry[:, :, None].expand_as(after)
    return Graph(places, tuple(states), table, tuple(tuple(row) for row in options), before, after, index[start])


def length(v: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B"]:
    """Norm with a finite gradient at zero."""
    return torch.sqrt((v * v).sum(-1) + 1e-12) - 1e-6


def near(v: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
    """1 where a difference is zero, falling with its length over `NEAR`."""
    return torch.exp(-0.5 * (v * v).sum(-1) / NEAR**2)
