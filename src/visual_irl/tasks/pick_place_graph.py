"""The known kinematics of pick, inspect and place as a small graph, and relational features of its transitions.

A state is where the hand is, whether it holds the object, and whether the object has been inspected. Moves are: go to a
place, grasp, release, stop. The same features are defined on any pair of continuous states, so that a reward learned on
the graph can be evaluated on every frame of a recording, and differentiated there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

STATE = ("hand_x", "hand_y", "hand_z", "object_x", "object_y", "object_z", "held", "inspected", "attribute")
"""Columns of a continuous state: hand and object [m], flags in [0, 1], the attribute that may decide the goal."""

NEAR = 0.06
"""Length scale of nearness [m]."""


@dataclass(frozen=True)
class Relations:
    """Relational features of a transition (s, s'), for the given places.

    Each is an event or a difference, so that its sum over a motion does not depend on how finely time is cut: a reward
    learned on the graph's few moves means the same on thirty frames a second. Travel is in [m], the others in [-1, 1].
    """

    fixtures: tuple[tuple[str, tuple[float, float, float]], ...]
    """Name and position of the release place over each fixture [m]."""
    inspect: tuple[float, float, float] | None
    """Where objects are inspected [m]; None when the demonstrations never dwell."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in their order."""
        names = ["travel", "reach", "grasp", "inspect", "release_elsewhere"]
        for fixture, _ in self.fixtures:
            names += [f"release_{kind}_in_{fixture}" for kind in ("plain", "marked")]
        return (*names, "release_inspected")

    def __call__(self, s: Float[Tensor, "*B 9"], s_next: Float[Tensor, "*B 9"]) -> Float[Tensor, "*B F"]:
        """Features of transitions between continuous states (columns: `STATE`)."""
        hand, thing = s_next[..., 0:3], s_next[..., 3:6]
        held, inspected, attribute = (s_next[..., i] for i in (6, 7, 8))
        released = s[..., 6] * (1.0 - held)
        columns = [
            _length(hand - s[..., 0:3]),
            (_near(hand - thing) - _near(s[..., 0:3] - s[..., 3:6])) * (1.0 - held) * (1.0 - s[..., 6]),
            held * (1.0 - s[..., 6]),
            inspected * (1.0 - s[..., 7]) * self._at_inspection(hand),
        ]
        inside = [released * _near((thing - thing.new_tensor(p))[..., :2] / 2.0) for _, p in self.fixtures]
        total = torch.stack(inside).sum(0) if inside else torch.zeros_like(held)
        columns.append(released - total)
        for share in inside:
            columns += [share * (1.0 - attribute), share * attribute]
        columns.append(total * inspected)
        return torch.stack(columns, dim=-1)

    def _at_inspection(self, hand: Tensor) -> Tensor:
        if self.inspect is None:
            return torch.zeros_like(hand[..., 0])
        return _near(hand - hand.new_tensor(self.inspect))


def _length(v: Tensor) -> Tensor:
    """Norm with a finite gradient at zero."""
    return torch.sqrt((v * v).sum(-1) + 1e-12) - 1e-6


def _near(v: Tensor) -> Tensor:
    return torch.exp(-0.5 * (v * v).sum(-1) / NEAR**2)


@dataclass(frozen=True)
class Graph:
    """The graph with its geometry in E episodes: N states, M moves a state (padded with -1), L places.

    `places` names the places in order: start, object, inspect (when there is one), then the fixtures.
    """

    places: tuple[str, ...]
    states: tuple[tuple[str, bool, bool, bool], ...]
    """(place, held, inspected, ended)."""
    successors: Int[Tensor, "N M"]
    moves: tuple[tuple[str, ...], ...]
    before: Float[Tensor, "E N M 9"]
    after: Float[Tensor, "E N M 9"]
    """Continuous states that each move leads from and to; what pads a row is never used."""
    start: int

    def state(self, place: str, held: bool, inspected: bool, ended: bool = False) -> int:
        """Index of a state."""
        return self.states.index((place, held, inspected, ended))


def build_graph(relations: Relations, episodes: list[Mapping[str, ndarray | float]]) -> Graph:
    """The graph for episodes given as {"start": hand (3,), "object": (3,), "attribute": float}, positions in [m]."""
    inspect = ("inspect",) if relations.inspect is not None else ()
    places = ("start", "object", *inspect, *(name for name, _ in relations.fixtures))
    states = [(p, h, i, False) for p in places for h in (False, True) for i in (False, True)]
    states += [(p, False, i, True) for p in (*places, "nowhere") for i in (False, True)]
    moves, successors = [], []
    for state in states:
        options = _moves(state, places)
        moves.append(tuple(options))
        successors.append([states.index(s) for s in options.values()])
    width = max(len(row) for row in successors)
    table = torch.tensor([row + [-1] * (width - len(row)) for row in successors])
    geometry = torch.stack([_geometry(relations, states, episode) for episode in episodes])
    after = geometry[:, table.clamp(min=0)]
    before = geometry[:, :, None].expand_as(after)
    start = states.index(("start", False, False, False))
    return Graph(places, tuple(states), table, tuple(moves), before, after, start)


def _moves(state: tuple[str, bool, bool, bool], places: tuple[str, ...]) -> dict[str, tuple[str, bool, bool, bool]]:
    """Name of each move that is possible in a state -> the state it leads to; none once the episode has ended."""
    place, held, inspected, ended = state
    if ended:
        return {}
    options = {f"go_{p}": (p, held, inspected or (held and p == "inspect"), False) for p in places if p not in (place, "start")}
    if held:
        options["release"] = (place, False, inspected, True)
    else:
        options["stop"] = ("nowhere", False, inspected, True)
        if place == "object":
            options["grasp"] = ("object", True, inspected, False)
    return options


def _geometry(
    relations: Relations, states: list[tuple[str, bool, bool, bool]], episode: Mapping[str, ndarray | float]
) -> Float[Tensor, "N 9"]:
    """Continuous states that the graph's states stand for in one episode."""
    where = {name: np.asarray(p) for name, p in relations.fixtures} | {
        "start": np.asarray(episode["start"]),
        "object": np.asarray(episode["object"]),
    }
    where["nowhere"] = where["start"]
    if relations.inspect is not None:
        where["inspect"] = np.asarray(relations.inspect)
    rows = []
    for place, held, inspected, ended in states:
        thing = where[place] if held or (ended and place != "nowhere") else where["object"]
        rows.append([*where[place], *thing, float(held), float(inspected), float(np.asarray(episode["attribute"]))])
    return torch.tensor(np.array(rows, dtype=np.float64))
