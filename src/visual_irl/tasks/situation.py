"""What a person or a robot has before it, by names: the hand, and the things that it may handle."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Situation:
    """Any number of states `*B` with `N` things each; positions in metres in one frame."""

    hand: Float[Tensor, "*B 3"]
    things: Float[Tensor, "*B N 3"]
    held: Bool[Tensor, "*B N"]
    """Which things the hand holds."""
    attribute: Int[Tensor, "*B N"]
    """A class of each thing that may decide what is done with it, from 0."""
    gripper: Float[Tensor, "*B"]
    """From -1 (open) to 1 (closed)."""

    def __getitem__(self, index: slice | int | Tensor) -> Situation:
        """Some of the states, along the first axis."""
        return Situation(self.hand[index], self.things[index], self.held[index], self.attribute[index], self.gripper[index])
