"""What every task says of itself. How it is learned, played and filmed is its family's: see `visual_irl.tasks.part_of`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray

from visual_irl.tasks.scene import Outcome, Scene, SeenThing


@runtime_checkable
class Task(Protocol):
    """A task, made without arguments: a frozen dataclass whose fields are where things stand and how large they are."""

    @property
    def name(self) -> str:
        """The name that it is registered as."""
        ...

    @property
    def family(self) -> str:
        """Tasks of one family have the same moves: `sorting` (pick, inspect, place), `pouring`, or another package's."""
        ...

    @property
    def goals(self) -> str:
        """What `succeeded` counts."""
        ...

    @property
    def detector(self) -> str:
        """Name of the object detector that sees its things; '' where the configuration is to name one."""
        ...

    def for_side(self, side: str) -> Any:
        """The table for a hand: the other one could not reach across."""
        ...

    def succeeded(self, scene: Scene, outcome: Outcome) -> dict[str, bool]:
        """Which of its goals were reached."""
        ...

    def scene_of(self, things: Mapping[str, SeenThing], fixtures: Mapping[str, Float[ndarray, "4 4"]]) -> Scene:
        """The scene in which these things were seen."""
        ...
