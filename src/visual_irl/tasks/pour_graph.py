"""The known kinematics of pouring as a small graph, and relational features of its transitions.

A state is where the hand is, whether it holds the vessel, whether that is tipped, and whether it has been emptied into the
receiver. Moves are: go to a place, grasp, tip, come upright, release, stop. That a vessel is to be carried upright, over what
it is to be tipped, and where to leave it, is nowhere said: the weights of the features are learned for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from visual_irl.tasks.graph import Graph, assembled, length, near
from visual_irl.tasks.task import Task

STATE = (
    *(f"{thing}_{axis}" for thing in ("hand", "vessel", "receiver", "zone") for axis in "xyz"),
    "tilt", "held", "emptied",
)  # fmt: skip
"""Columns of a continuous state: where hand, vessel, receiver and zone are [m], the vessel's tilt [rad], flags in [0, 1]."""

ROLES = ("vessel", "receiver", "zone")
"""What things are to the task."""
PLACES = ("start", "vessel", "receiver", "zone")
RIGHT_ANGLE = 0.5 * np.pi
"""Unit of tipping [rad]."""

State = tuple[str, bool, bool, bool, bool]
"""(place, held, tipped, emptied, ended)."""


@dataclass(frozen=True)
class PourRelations:
    """Relational features of a transition (s, s'). Travel is in [m], tipping in right angles, the others in [-1, 1]."""

    vessel: str
    """Name of what is taken."""
    receiver: str
    """Name of what it is tipped over."""
    zone: str
    """Name of where it is left."""
    task: str = "pouring"
    """Name of the task."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features in their order."""
        return (
            "travel", "reach", "grasp", "carry_tipped", "tip_in_vain", "tip_elsewhere", "emptied_into_receiver",
            "release_in_zone", "release_elsewhere", "release_tipped", "release_emptied",
        )  # fmt: skip

    def __call__(self, s: Float[Tensor, "*B 15"], s_next: Float[Tensor, "*B 15"]) -> Float[Tensor, "*B 11"]:
        """Features of transitions between continuous states (columns: `STATE`)."""
        hand, vessel, receiver, zone = (s_next[..., 3 * k : 3 * k + 3] for k in range(4))
        tilt, held, emptied = (s_next[..., k] for k in (12, 13, 14))
        was_held = s[..., 13]
        released = was_held * (1.0 - held)
        over = near((hand - receiver)[..., :2] / 2.0)
        in_zone = near((vessel - zone)[..., :2])
        tipped = torch.relu(tilt - s[..., 12]) / RIGHT_ANGLE
        columns = [
            length(hand - s[..., 0:3]),
            (near(hand - vessel) - near(s[..., 0:3] - s[..., 3:6])) * (1.0 - held) * (1.0 - was_held),
            held * (1.0 - was_held),
            length(vessel - s[..., 3:6]) * torch.sin(torch.minimum(tilt, s[..., 12]).clamp(0.0, RIGHT_ANGLE)) * (1.0 - over),
            tipped * over * s[..., 14],
            tipped * (1.0 - over),
            emptied * (1.0 - s[..., 14]) * over,
            released * in_zone,
            released * (1.0 - in_zone),
            released * tilt / RIGHT_ANGLE,
            released * emptied,
        ]
        return torch.stack(columns, dim=-1)

    def stated(self) -> dict[str, Any]:
        """What it is made of, for a file."""
        return {name: getattr(self, name) for name in ROLES}

    @classmethod
    def of_stated(cls, stated: Mapping[str, Any], task: Task) -> PourRelations:
        """The relations that a file of a task states."""
        return cls(**{name: str(stated[name]) for name in ROLES}, task=task.name)


def build_graph(episodes: Sequence[Mapping[str, ndarray | float]]) -> Graph:
    """The graph for episodes given as {"start", "vessel", "receiver", "zone": places of the hand (3,) [m], "tilt": [rad]}."""
    states: list[State] = [
        (place, held, tipped, emptied, False)
        for place, held, tipped, emptied in product(PLACES, *((False, True),) * 3)
        if held or not tipped
    ]
    states += [(p, False, tipped, e, True) for p in (*PLACES, "nowhere") for tipped in (False, True) for e in (False, True)]
    geometry = torch.stack([_geometry(states, episode) for episode in episodes])
    return assembled(PLACES, states, [_moves(s) for s in states], geometry, ("start", False, False, False, False))


def _moves(state: State) -> dict[str, State]:
    """Name of each move that is possible in a state -> the state it leads to; none once the episode has ended."""
    place, held, tipped, emptied, ended = state
    if ended:
        return {}
    options = {f"go_{p}": (p, held, tipped, emptied, False) for p in PLACES if p not in (place, "start")}
    if not held:
        options["stop"] = ("nowhere", False, False, emptied, True)
        if place == "vessel":
            options["grasp"] = (place, True, False, emptied, False)
        return options
    options["release"] = (place, False, tipped, emptied, True)
    if tipped:
        options["upright"] = (place, True, False, emptied, False)
    else:
        options["tip"] = (place, True, True, emptied or place == "receiver", False)
    return options


def _geometry(states: Sequence[State], episode: Mapping[str, ndarray | float]) -> Float[Tensor, "N 15"]:
    """Continuous states that the graph's states stand for in one episode."""
    where = {name: np.asarray(episode[name], float) for name in PLACES}
    where["nowhere"] = where["start"]
    rows = []
    for place, held, tipped, emptied, ended in states:
        vessel = where[place] if held or (ended and place != "nowhere") else where["vessel"]
        tilt = float(tipped) * float(np.asarray(episode["tilt"]))
        rows.append([*where[place], *vessel, *where["receiver"], *where["zone"], tilt, float(held), float(emptied)])
    return torch.tensor(np.array(rows, dtype=np.float64))
