"""Pick, inspect and place, whatever is sorted: each thing goes into the box for its kind.

World frame: table top z = 0, the person sits behind x = 0 and looks along +x, +y is the person's left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.tasks.scene import Appearance, Colour, Fixture, Outcome, Scene, SceneObject, SeenThing
from visual_irl.types import require_side

MOST_MOVED = 0.10
"""A box that is moved farther may stand where a person or an arm does not reach it [m]."""
MOST_THINGS = 8
"""So many find room on the table."""
STATED = {
    "name": 'the name that it is registered as: `name = "apples"`',
    "label": 'what its detector calls one of its things: `label = "apple"`',
    "attributes": 'what decides where a thing goes, as its detector names it: `attributes = ("ripe",)`; `()` if nothing does',
}
"""What a task says in its class, and how."""

T = TypeVar("T", bound="PickPlace")


@dataclass(frozen=True)
class PickPlace:
    """Where things stand and how large they are [m], for a right hand; mirrored for a left one.

    A task of this kind is a subclass that states `name`, `label` and `attributes`, and its boxes in `fixtures`.
    """

    area_x: tuple[float, float] = (0.14, 0.30)
    """Range of the things' start along x [m]: within reach of a seated adult and of the robots."""
    area_y: tuple[float, float] = (-0.30, 0.04)
    """Range of the things' start along y [m]."""
    radius: tuple[float, float] = (0.026, 0.033)
    """Range of radii [m]; a gripper with an 80 mm stroke closes on all of them."""
    clearance: float = 0.10
    """Smallest distance between centres at the start [m]: room for two fingers."""
    crowded_clearance: float = 0.085
    """The same with more than six things."""
    bin_half_size: tuple[float, float] = (0.08, 0.10)
    bin_height: float = 0.05
    moved: float = 0.0
    """Along x and y each box of a random scene stands up to so far from its standard place [m], at most `MOST_MOVED`."""
    side: str = "right"
    """The hand for which the table is set."""

    family: ClassVar[str] = "sorting"
    name: ClassVar[str]
    label: ClassVar[str]
    """What one of its things is called."""
    attributes: ClassVar[tuple[str, ...]]
    """What decides where a thing goes: a thing has one of these, or none. Each is in [0, 1], and had above a half."""
    appearance: ClassVar[Appearance] = Appearance()
    """What cameras see of its things, in films and in the cell."""
    detector: ClassVar[str] = ""
    """Name of the object detector that tells `label` and `attributes`; '' where the configuration is to name one."""
    cell_detector: ClassVar[str] = ""
    """The one that looks at a thing between a gripper's pads; `detector` when empty."""
    things: ClassVar[tuple[int, int]] = (4, 8)
    """Fewest and most things of an episode in simulation."""
    goals: ClassVar[str] = "objects in the right bin"

    def __post_init__(self) -> None:
        missing = [part for part in STATED if not hasattr(self, part)]
        if missing:
            raise InvalidInput(f"the task {type(self).__name__} lacks `{missing[0]}`, {STATED[missing[0]]}")
        if not 0.0 <= self.moved <= MOST_MOVED:
            raise InvalidInput(
                f"bins moved by {self.moved} m: must lie between 0 and {MOST_MOVED} m, or they may be out of reach"
            )
        require_side(self.side)
        _require_words(self)
        fixtures = tuple(self.fixtures())
        boxes = [f.name for f in fixtures]
        if len(boxes) < len(self.kinds) and type(self).goal is PickPlace.goal:
            raise InvalidInput(
                f"task '{self.name}' has {len(self.kinds)} kinds of things ({', '.join(self.kinds)}) and {len(boxes)} fixtures "
                f"({', '.join(boxes)}): return one for each kind, in that order, or say in `goal` where each belongs"
            )
        _require_apart(self.name, fixtures)
        for kind in range(len(self.kinds)):
            has = {name: float(kind == k) for k, name in enumerate(self.attributes, start=1)}
            if self.goal(has) not in boxes:
                raise InvalidInput(
                    f"task '{self.name}': `goal` says '{self.goal(has)}' for a thing with {has}, which is none of its fixtures "
                    f"({', '.join(boxes)})"
                )

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of what a thing may be: plain, or with one of the attributes."""
        return ("plain", *self.attributes)

    def kind_of(self, attributes: Mapping[str, float]) -> int:
        """Which of `kinds` a thing is: the attribute that it has most, or none above a half; one that is not told is not had.

        Raises:
            InvalidInput: nothing is told of any.
        """
        if self.attributes and not any(name in attributes for name in self.attributes):
            raise InvalidInput(
                f"objects have no attribute {' or '.join(repr(n) for n in self.attributes)} (they have: "
                f"{', '.join(attributes) or 'none'}); what detects the task's objects must tell it"
            )
        had = [attributes.get(name, 0.0) for name in self.attributes]
        most = int(np.argmax([0.5, *had]))  # the first of equal ones: a half is not had
        return most

    def fixtures(self) -> tuple[Fixture, ...]:
        """The boxes at their standard places, in the order of `kinds`: each kind's own."""
        raise InvalidInput(
            f"the task {type(self).__name__} lacks `fixtures`, its boxes in the order of its kinds ({', '.join(self.kinds)}): "
            '`def fixtures(self): return self.box("crate", (0.10, 0.22), (0.2, 0.5, 0.3, 1.0)), ...`'
        )

    def box(self, name: str, xy: tuple[float, float], rgba: Colour) -> Fixture:
        """An open box at a place for the right hand [m], mirrored for the left one."""
        x, y = xy
        T = se3.transform(np.eye(3), np.array([x, y if self.side == "right" else -y, 0.0]))
        return Fixture(name, T, *self.bin_half_size, self.bin_height, rgba)

    def for_side(self: T, side: str) -> T:
        """The table for a hand: the other one could not reach across."""
        return replace(self, side=side)

    def _moved(self, rng: np.random.Generator) -> tuple[Fixture, ...]:
        """The boxes, each beside its standard place."""
        standard = self.fixtures()
        away = rng.uniform(-self.moved, self.moved, (len(standard), 2))
        return tuple(
            replace(f, T_world=se3.transform(np.eye(3), np.array([*xy, 0.0])) @ f.T_world)
            for f, xy in zip(standard, away, strict=True)
        )

    def fixtures_at(self, poses: Mapping[str, Float[ndarray, "4 4"]]) -> tuple[Fixture, ...]:
        """The boxes where a recording says they stand.

        Raises:
            InvalidInput: one is missing; names it and those that are there.
        """
        fixtures = []
        for standard in self.fixtures():
            if standard.name not in poses:
                raise InvalidInput(
                    f"the recording has no static transform from 'world' to '{standard.name}' (it has: "
                    f"{', '.join(sorted(poses)) or 'none'}); publish one for each bin while recording"
                )
            fixtures.append(replace(standard, T_world=np.asarray(poses[standard.name], float)))
        return tuple(fixtures)

    def sample_scene(self, rng: np.random.Generator, things: int) -> Scene:
        """A random start: so many things apart from each other and from the boxes, at least one of each kind where there are
        enough.

        Raises:
            InvalidInput: so many do not fit.
        """
        if not 1 <= things <= MOST_THINGS:
            raise InvalidInput(f"{things} {self.label}s do not fit on the table; choose 1 to {MOST_THINGS}")
        fixtures = self._moved(rng) if self.moved > 0.0 else self.fixtures()
        centres = self._spread(rng, things, fixtures)
        kinds = self._kinds(rng, things)
        objects = []
        for i, xy in enumerate(centres):
            radius = float(rng.uniform(*self.radius))
            attributes = {name: float(kinds[i] == k) for k, name in enumerate(self.attributes, start=1)}
            objects.append(self._thing(f"{self.label}_{i}", np.array([*xy, radius]), radius, attributes))
        return Scene(tuple(objects), fixtures)

    def _kinds(self, rng: np.random.Generator, things: int) -> ndarray:
        """A random kind for each thing, each kind as often as another."""
        of = len(self.kinds)
        kinds = of - 1 - (of * rng.random(things)).astype(int)
        missing = [k for k in range(of) if things >= of and k not in kinds]
        for kind in missing:
            others = [i for i in range(things) if np.count_nonzero(kinds == kinds[i]) > 1]
            kinds[others[int(rng.integers(len(others)))]] = kind
        return kinds

    def _spread(self, rng: np.random.Generator, things: int, fixtures: Sequence[Fixture]) -> list[ndarray]:
        """Places [m] on the table, `clearance` apart, and half of that from any box; a crowded draw starts over."""
        near, far = self.area_y if self.side == "right" else (-self.area_y[1], -self.area_y[0])
        low, high = np.array([self.area_x, (near, far)]).T
        clearance = self.clearance if things <= 6 else self.crowded_clearance
        for _ in range(1000):
            centres: list[ndarray] = []
            for _ in range(100):
                xy = rng.uniform(low, high)
                beside = all(f.distance(xy) >= 0.5 * clearance for f in fixtures)
                if beside and all(np.linalg.norm(xy - other) >= clearance for other in centres):
                    centres.append(xy)
                    if len(centres) == things:
                        return centres
        raise InvalidInput(f"no free places for {things} {self.label}s {clearance} m apart; try fewer")

    def _thing(self, name: str, p_world: Float[ndarray, "3"], radius: float, attributes: Mapping[str, float]) -> SceneObject:
        return SceneObject(name, self.label, p_world, radius, attributes, self.appearance)

    def goal(self, attributes: Mapping[str, float]) -> str:
        """The box in which a thing with these attributes belongs."""
        return self.fixtures()[self.kind_of(attributes)].name

    def success(self, scene: Scene, p_world: Mapping[str, Float[ndarray, "3"]]) -> dict[str, bool]:
        """Per object of `scene`, whether it lies in its box at the end; positions [m] are measured, not planned."""
        return {o.name: scene.fixture(self.goal(o.attributes)).contains(p_world[o.name]) for o in scene.objects}

    def succeeded(self, scene: Scene, outcome: Outcome) -> dict[str, bool]:
        """The same for an outcome."""
        return self.success(scene, {name: T[:3, 3] for name, T in outcome.Ts_world.items()})

    def scene_of(self, things: Mapping[str, SeenThing], fixtures: Mapping[str, Float[ndarray, "4 4"]]) -> Scene:
        """The scene in which these things were seen."""
        items = [self._thing(name, t.p_world, t.radius, t.attributes) for name, t in things.items()]
        return Scene(tuple(items), self.fixtures_at(fixtures))


def _require_words(task: PickPlace) -> None:
    """What a class states by name and number fits together."""
    if isinstance(task.attributes, str):
        raise InvalidInput(f'task \'{task.name}\': attributes is the text "{task.attributes}"; write ("{task.attributes}",)')
    look, attributes = task.appearance, ", ".join(task.attributes) or "none"
    shown = {*look.skins, *([look.spots] if look.spots else [])}
    for name in sorted(shown - set(task.attributes)):
        raise InvalidInput(f"task '{task.name}': its appearance shows '{name}', which is none of its attributes ({attributes})")
    for name in task.attributes:
        if shown and name not in shown:
            raise InvalidInput(
                f"task '{task.name}': its appearance shows {', '.join(sorted(shown))} and not '{name}': nobody could tell; "
                "give it a colour in `skins`"
            )
    fewest, most = task.things
    if not 1 <= fewest <= most <= MOST_THINGS:
        raise InvalidInput(
            f"task '{task.name}': things is ({fewest}, {most}): the fewest and the most of an episode, must lie between 1 and "
            f"{MOST_THINGS}"
        )


def _require_apart(task: str, fixtures: Sequence[Fixture]) -> None:
    """No two boxes are called alike, or stand in each other."""
    sides = np.linspace(-1.0, 1.0, 5)
    for i, one in enumerate(fixtures):
        half = np.array([one.half_x, one.half_y])
        floor = [se3.apply(one.T_world, np.array([*(half * (u, v)), 0.0]))[:2] for u in sides for v in sides]
        for other in fixtures[:i]:
            if one.name == other.name:
                raise InvalidInput(
                    f"task '{task}' has two fixtures called '{one.name}': each is found by its name, give another"
                )
            if any(other.distance(xy) == 0.0 for xy in floor):
                raise InvalidInput(
                    f"task '{task}': '{one.name}' at {one.T_world[:2, 3]} m stands in '{other.name}' at "
                    f"{other.T_world[:2, 3]} m; one is {2e3 * one.half_x:.0f} x {2e3 * one.half_y:.0f} mm large inside: move it"
                )
