"""What is on the table, in the task's world frame (table top z = 0): objects, fixtures, vessels, zones, what is poured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput, UnknownName

Colour = tuple[float, float, float, float]
Skin = tuple[float, float, float]
"""Red, green and blue, each in [0, 1]."""


@dataclass(frozen=True)
class Appearance:
    """What cameras see of round things of a class, by their attributes."""

    skin: Skin | None = None
    """Colour of one that has none of the attributes below; an onion's when None."""
    skins: Mapping[str, Skin] = field(default_factory=dict)
    """Attribute -> colour of one that has it."""
    spots: str = ""
    """Attribute that shows as dark spots."""
    flattening: float = 1.0
    """Height over width."""
    stem: bool = False

    def skin_of(self, attributes: Mapping[str, float]) -> Skin | None:
        """The colour of a thing with these attributes; None for an onion's."""
        return next((skin for name, skin in self.skins.items() if attributes.get(name, 0.0) > 0.5), self.skin)

    def spotted(self, attributes: Mapping[str, float]) -> bool:
        """Whether a thing with these attributes has dark spots."""
        return attributes.get(self.spots, 0.0) > 0.5


@dataclass(frozen=True)
class SceneObject:
    """A movable round thing: centre [m], radius [m], class, attributes in [0, 1], and what is seen of it."""

    name: str
    label: str
    p_world: Float[ndarray, "3"]
    radius: float
    attributes: Mapping[str, float] = field(default_factory=dict)
    appearance: Appearance = field(default_factory=Appearance)


@dataclass(frozen=True)
class Fixture:
    """An open box that stands still: pose of the centre of its floor, inner half sizes along x and y and wall height [m]."""

    name: str
    T_world: Float[ndarray, "4 4"]
    half_x: float
    half_y: float
    height: float
    rgba: Colour

    def contains(self, p_world: Float[ndarray, "3"]) -> bool:
        """Whether a point lies between the walls and not above 1.5 times their height."""
        x, y, z = se3.apply(se3.inverse(self.T_world), np.asarray(p_world, float))
        return bool(abs(x) <= self.half_x and abs(y) <= self.half_y and 0.0 <= z <= 1.5 * self.height)

    def distance(self, xy_world: Float[ndarray, "2"]) -> float:
        """How far a place is outside of the inner sides of the walls, seen from above [m]; 0 between them."""
        x, y, _ = se3.apply(se3.inverse(self.T_world), np.array([*xy_world, self.T_world[2, 3]]))
        return float(np.hypot(max(abs(x) - self.half_x, 0.0), max(abs(y) - self.half_y, 0.0)))


@dataclass(frozen=True)
class Vessel:
    """A container that stands and is open at the top: flat walls around its axis, which is the z of its pose."""

    name: str
    label: str
    T_world: Float[ndarray, "4 4"]
    """Pose of the centre of its foot."""
    radius: float
    """From the axis to the inner side of its walls [m]."""
    height: float
    """From the foot to the rim [m]."""
    rgba: Colour
    sides: int = 12
    wall: float = 0.004
    """Thickness of walls and floor [m]."""
    density: float = 1100.0
    """Of what it is made of [kg/m^3]."""
    taken: bool = False
    """Whether the hand is meant to take it; one that is not is an obstacle."""

    @property
    def outer_radius(self) -> float:
        """From the axis to the outer edges of its walls [m]."""
        return (self.radius + self.wall) / float(np.cos(np.pi / self.sides))

    def contains(self, T_world: Float[ndarray, "4 4"], p_world: Float[ndarray, "N 3"]) -> Bool[ndarray, "N"]:
        """Which points lie in the vessel, or heaped on it by at most a sixth of its height, where it stands at `T_world`."""
        p = se3.apply(se3.inverse(T_world), np.asarray(p_world, float))
        inside = np.linalg.norm(p[:, :2], axis=1) <= self.radius + 0.5 * self.wall
        return inside & (p[:, 2] >= 0.0) & (p[:, 2] <= 7.0 / 6.0 * self.height)


@dataclass(frozen=True)
class Zone:
    """A round mark on the table."""

    name: str
    T_world: Float[ndarray, "4 4"]
    """Pose of its centre."""
    radius: float
    """[m]"""
    rgba: Colour

    def contains(self, p_world: Float[ndarray, "3"]) -> bool:
        """Whether a point is above it."""
        return bool(np.linalg.norm(np.asarray(p_world, float)[:2] - self.T_world[:2, 3]) <= self.radius)


@dataclass(frozen=True)
class Grains:
    """Balls that stand for a liquid."""

    vessel: str
    """Name of the vessel that they are in at the start."""
    count: int
    radius: float
    """[m]"""
    density: float = 1000.0
    """[kg/m^3]"""


@dataclass(frozen=True)
class SeenThing:
    """What was seen of a thing: its place [m] (of the foot, where it stands), its size and turn where they are known."""

    p_world: Float[ndarray, "3"]
    radius: float
    """[m]"""
    attributes: Mapping[str, float] = field(default_factory=dict)
    height: float | None = None
    """[m]"""
    R_world: Float[ndarray, "3 3"] | None = None

    def __post_init__(self) -> None:
        if self.p_world.shape != (3,) or not np.isfinite(self.p_world).all():
            raise InvalidInput(f"a thing stands at {self.p_world}, expected three finite numbers [m]")
        if not 0.0 < self.radius < np.inf or not (self.height is None or 0.0 < self.height < np.inf):
            raise InvalidInput(f"a thing has radius {self.radius} and height {self.height} m, must be above 0")
        if self.R_world is not None and not se3.is_rotation(self.R_world, 1e-3):
            raise InvalidInput(f"a thing is turned by {np.round(self.R_world, 4).tolist()}, which is no rotation")

    @classmethod
    def read(cls, name: str, row: Mapping[str, Any]) -> SeenThing:
        """The thing of this name that a file tells of in JSON's types.

        Raises:
            InvalidInput: it cannot be one.
        """
        try:
            R = row["R_world"]
            return cls(
                np.array(row["p_world"], float),
                float(row["radius"]),
                {str(name): float(value) for name, value in row["attributes"].items()},
                None if row["height"] is None else float(row["height"]),
                None if R is None else np.array(R, float),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"the file's '{name}' cannot be a thing ({error!r}); `visual-irl map` makes it again") from None
        except InvalidInput as error:
            raise InvalidInput(f"the file's '{name}' cannot be: {error}; `visual-irl map` makes it again") from None


@dataclass(frozen=True)
class Outcome:
    """How a scene ended, as it was measured: poses of the movable things by name, and places of the grains."""

    Ts_world: Mapping[str, Float[ndarray, "4 4"]]
    grains: Float[ndarray, "N 3"]
    """[m]"""


@dataclass(frozen=True)
class Scene:
    """What is there in one episode."""

    objects: tuple[SceneObject, ...]
    fixtures: tuple[Fixture, ...]
    vessels: tuple[Vessel, ...] = ()
    zones: tuple[Zone, ...] = ()
    grains: Grains | None = None

    def fixture(self, name: str) -> Fixture:
        """The fixture of that name."""
        return _named("fixture", name, self.fixtures)

    def vessel(self, name: str) -> Vessel:
        """The vessel of that name."""
        return _named("vessel", name, self.vessels)

    def zone(self, name: str) -> Zone:
        """The zone of that name."""
        return _named("zone", name, self.zones)


T = TypeVar("T", Fixture, Vessel, Zone)


def _named(kind: str, name: str, there: Sequence[T]) -> T:
    for thing in there:
        if thing.name == name:
            return thing
    raise UnknownName(f"unknown {kind} '{name}'; known: {', '.join(t.name for t in there)}")
