"""The policy that maximises a reward on the graph of a task: finite-horizon Bellman recursion (Bellman 1957)."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from visual_irl.tasks.graph import Graph


@dataclass(frozen=True)
class GraphPlan:
    """Best moves from the start of one episode, and their value (the reward's own unit)."""

    moves: tuple[str, ...]
    value: float


def plan_episodes(graph: Graph, rewards: torch.Tensor, horizon: int, start: int | None = None) -> list[GraphPlan]:
    """The best moves for each episode of a graph under `rewards` (E, N, M), which end the episode within `horizon` moves.

    They begin in the state of index `start`, the graph's own start where it is not given.
    """
    start = graph.start if start is None else start
    exists = graph.successors >= 0
    ended = ~exists.any(dim=1)
    episodes = torch.arange(rewards.shape[0])
    value = torch.full((rewards.shape[0], len(graph.states)), -torch.inf, dtype=rewards.dtype).masked_fill(ended, 0.0)
    choices = []
    for _ in range(horizon):
        q = (rewards + value[:, graph.successors.clamp(min=0)]).masked_fill(~exists, -torch.inf)
        best, choice = q.max(dim=-1)
        value = best.masked_fill(ended, 0.0)
        choices.append(choice)
    at = torch.full((rewards.shape[0],), start)
    moves: list[list[str]] = [[] for _ in episodes]
    for choice in choices[::-1]:
        move = choice[episodes, at]
        for e in episodes.tolist():
            if not ended[at[e]]:
                moves[e].append(graph.moves[int(at[e])][int(move[e])])
        at = torch.where(ended[at], at, graph.successors[at, move])
    return [GraphPlan(tuple(m), float(v)) for m, v in zip(moves, value[:, start], strict=True)]
