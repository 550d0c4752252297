"""What stands on the table: movable objects and fixtures, in the task's world frame (table top z = 0)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import UnknownName


@dataclass(frozen=True)
class SceneObject:
    """A movable thing: centre [m], radius [m], class and attributes in [0, 1]."""

    name: str
    label: str
    p_world: Float[ndarray, "3"]
    radius: float
    attributes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Fixture:
    """An open box that stands still: pose of the centre of its floor, inner half sizes along x and y and wall height [m]."""

    name: str
    T_world: Float[ndarray, "4 4"]
    half_x: float
    half_y: float
    height: float
    rgba: tuple[float, float, float, float]

    def contains(self, p_world: Float[ndarray, "3"]) -> bool:
        """Whether a point lies between the walls and not above 1.5 times their height."""
        x, y, z = se3.apply(se3.inverse(self.T_world), np.asarray(p_world, float))
        return bool(abs(x) <= self.half_x and abs(y) <= self.half_y and 0.0 <= z <= 1.5 * self.height)


@dataclass(frozen=True)
class Scene:
    """The objects and fixtures of one episode."""

    objects: tuple[SceneObject, ...]
    fixtures: tuple[Fixture, ...]

    def fixture(self, name: str) -> Fixture:
        """The fixture of that name."""
        for fixture in self.fixtures:
            if fixture.name == name:
                return fixture
        raise UnknownName(f"unknown fixture '{name}'; known: {', '.join(f.name for f in self.fixtures)}")
