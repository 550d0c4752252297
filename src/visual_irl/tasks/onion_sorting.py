"""Onion sorting (Asali and Doshi 2024): pick each onion, inspect it, place it in the bin for its kind."""

from __future__ import annotations

from dataclasses import dataclass

from visual_irl.tasks.pick_place import PickPlace
from visual_irl.tasks.scene import Appearance, Fixture

BLEMISHED = "blemished"
"""The attribute that decides where an onion belongs."""
ONION = Appearance(spots=BLEMISHED, flattening=0.9, stem=True)
"""Orange, a little flat, and dark in places where it is blemished."""


@dataclass(frozen=True)
class OnionSorting(PickPlace):
    """Unblemished onions go to the left, blemished ones to the right, of a right hand."""

    bin_unblemished: tuple[float, float] = (0.10, 0.22)
    bin_blemished: tuple[float, float] = (0.08, -0.48)

    name = "onion_sorting"
    label = "onion"
    attributes = (BLEMISHED,)
    appearance = ONION
    detector = "onions"
    cell_detector = "gripped_onions"

    @property
    def kinds(self) -> tuple[str, ...]:
        """As the features of rewards are called."""
        return ("plain", "marked")

    def fixtures(self) -> tuple[Fixture, ...]:
        """Both bins at their standard places."""
        return (
            self.box("bin_unblemished", self.bin_unblemished, (0.20, 0.55, 0.28, 1.0)),
            self.box("bin_blemished", self.bin_blemished, (0.20, 0.30, 0.75, 1.0)),
        )
