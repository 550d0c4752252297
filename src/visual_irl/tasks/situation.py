"""What a person or a robot has before it, by names: the hand, and the things that it may handle."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Vessels:
    """What matters of hand and things where something is poured."""

    hand_tilt: Float[Tensor, "*B"]
    """The hand about the pouring axis, from upright [rad]."""
    tilt: Float[Tensor, "*B N"]
    """Each thing about that axis [rad]: the hand's while it is held."""
    level: Float[Tensor, "*B N"]
    """What is in each thing, in fills of the vessel that is filled."""
    full: Bool[Tensor, "*B N"]
    """Which things are filled as far as they shall be."""

    def __getitem__(self, index: slice | int | Tensor) -> Vessels:
        """Some of the states, along the first axis."""
        return Vessels(self.hand_tilt[index], self.tilt[index], self.level[index], self.full[index])


@dataclass(frozen=True)
class Limbs:
    """The arm behind a hand: a person's, or a robot's as a person's."""

    upper: Float[Tensor, "*B 3"]
    """Unit direction of the upper arm."""
    fore: Float[Tensor, "*B 3"]
    """Unit direction of the forearm."""
    fingers: Float[Tensor, "*B 3"]
    """Unit direction from the wrist to the fingers."""
    lowest: Float[Tensor, "*B"]
    """Height of the lowest of elbow, wrist and hand [m]."""

    def __getitem__(self, index: slice | int | Tensor) -> Limbs:
        """Some of the states, along the first axis."""
        return Limbs(self.upper[index], self.fore[index], self.fingers[index], self.lowest[index])


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
    vessels: Vessels | None = None
    """Of a task in which something is poured."""
    limbs: Limbs | None = None
    """Where the arm is seen, and not a hand alone."""

    def __getitem__(self, index: slice | int | Tensor) -> Situation:
        """Some of the states, along the first axis."""
        vessels = None if self.vessels is None else self.vessels[index]
        limbs = None if self.limbs is None else self.limbs[index]
        return Situation(
            self.hand[index], self.things[index], self.held[index], self.attribute[index], self.gripper[index], vessels, limbs
        )
