"""The known kinematics of pick, inspect and place as a small graph, and relational features of its transitions.

A state is where the hand is, whether it holds the object, and whether the object has been inspected. Moves are: go to a
place, grasp, release, stop. The same features are defined on any pair of continuous states, so that a reward learned on
the graph can be evaluated on every frame of a recording, and differentiated there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from visual_irl.tasks.graph import Graph, assembled, length, near
from visual_irl.tasks.pick_place import PickPlace

STATE = ("hand_x", "hand_y", "hand_z", "object_x", "object_y", "object_z", "held", "inspected", "attribute")
"""Columns of a continuous state: hand and object [m], flags in [0, 1], the object's class, from 0, that may decide the
goal."""

State = tuple[str, bool, bool, bool]
"""(place, held, inspected, ended)."""


@dataclass(frozen=True)
class Relations:
    """Relational features of a transition (s, s'), for the given places. Travel is in [m], the others in [-1, 1]."""

    fixtures: tuple[tuple[str, tuple[float, float, float]], ...]
    """Name and position of the release place over each fixture [m]."""
    inspect: tuple[float, float, float] | None
    """Where objects are inspected [m]; None when the demonstrations never dwell."""
    task: str = "onion_sorting"
    """Name of the task ..."""
    kinds: tuple[str, ...] = ("plain", "marked")
    """... and of the kinds of its objects, in the order of the attribute's values."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in their order."""
        names = ["travel", "reach", "grasp", "inspect", "release_elsewhere"]
        for fixture, _ in self.fixtures:
            names += [f"release_{kind}_in_{fixture}" for kind in self.kinds]
        return (*names, "release_inspected")

    def __call__(self, s: Float[Tensor, "*B 9"], s_next: Float[Tensor, "*B 9"]) -> Float[Tensor, "*B F"]:
        """Features of transitions between continuous states (columns: `STATE`)."""
        hand, thing = s_next[..., 0:3], s_next[..., 3:6]
        held, inspected, attribute = (s_next[..., i] for i in (6, 7, 8))
        released = s[..., 6] * (1.0 - held)
        columns = [
            length(hand - s[..., 0:3]),
            (near(hand - thing) - near(s[..., 0:3] - s[..., 3:6])) * (1.0 - held) * (1.0 - s[..., 6]),
            held * (1.0 - s[..., 6]),
            inspected * (1.0 - s[..., 7]) * self._at_inspection(hand),
        ]
        inside = [released * near((thing - thing.new_tensor(p))[..., :2] / 2.0) for _, p in self.fixtures]
        total = torch.stack(inside).sum(0) if inside else torch.zeros_like(held)
        columns.append(released - total)
        for share in inside:
            columns += [share * of_kind for of_kind in self._memberships(attribute)]
        columns.append(total * inspected)
        return torch.stack(columns, dim=-1)

    def stated(self) -> dict[str, Any]:
        """What it is made of, for a file."""
        return {"fixtures": self.fixtures, "inspect": self.inspect}

    @classmethod
    def of_stated(cls, stated: Mapping[str, Any], task: PickPlace) -> Relations:
        """The relations that a file of a task states."""
        place = stated["inspect"]
        fixtures = tuple((str(name), _point(p)) for name, p in stated["fixtures"])
        return cls(fixtures, None if place is None else _point(place), task.name, task.kinds)

    def _memberships(self, attribute: Float[Tensor, "*B"]) -> list[Float[Tensor, "*B"]]:
        """How much an object is of each kind: wholly of the k-th where its attribute is k, and shared between neighbours."""
        columns, last = [], len(self.kinds) - 1
        for k in range(last + 1):
            below = [attribute - (k - 1.0)] if k > 0 else []
            above = [(k + 1.0) - attribute] if k < last else []
            sides = [*below, *above] or [torch.ones_like(attribute)]
            columns.append(reduce(torch.minimum, sides).clamp(min=0.0))
        return columns

    def _at_inspection(self, hand: Tensor) -> Tensor:
        if self.inspect is None:
            return torch.zeros_like(hand[..., 0])
        return near(hand - hand.new_tensor(self.inspect))


def build_graph(relations: Relations, episodes: list[Mapping[str, ndarray | float]]) -> Graph:
    """The graph for episodes given as {"start": hand (3,), "object": (3,), "attribute": float}, positions in [m]."""
    inspect = ("inspect",) if relations.inspect is not None else ()
    places = ("start", "object", *inspect, *(name for name, _ in relations.fixtures))
    states: list[State] = [(p, h, i, False) for p in places for h in (False, True) for i in (False, True)]
    states += [(p, False, i, True) for p in (*places, "nowhere") for i in (False, True)]
    geometry = torch.stack([_geometry(relations, states, episode) for episode in episodes])
    return assembled(places, states, [_moves(s, places) for s in states], geometry, ("start", False, False, False))


def _moves(state: State, places: tuple[str, ...]) -> dict[str, State]:
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


def _geometry(relations: Relations, states: list[State], episode: Mapping[str, ndarray | float]) -> Float[Tensor, "N 9"]:
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


def _point(p: Sequence[float]) -> tuple[float, float, float]:
    x, y, z = (float(v) for v in p)
    return x, y, z
