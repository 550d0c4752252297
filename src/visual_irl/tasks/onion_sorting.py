"""Onion sorting (Asali and Doshi 2024): pick each onion, inspect it, place it in the bin for its kind.

World frame: table top z = 0, the person sits behind x = 0 and looks along +x, +y is the person's left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.tasks.scene import Fixture, Outcome, Scene, SceneObject, SeenThing

BLEMISHED = "blemished"
"""The attribute that decides where an onion belongs."""


MOST_MOVED = 0.10
"""A bin that is moved farther may stand where a person or an arm does not reach it [m]."""


@dataclass(frozen=True)
class OnionSorting:
    """Where things stand and how large they are [m]. The bins' order: unblemished on the left, blemished on the right."""

    onions_x: tuple[float, float] = (0.14, 0.30)
    """Range of the onions' start along x [m]: within reach of a seated adult and of both robots."""
    onions_y: tuple[float, float] = (-0.30, 0.04)
    """Range of the onions' start along y [m]."""
    radius: tuple[float, float] = (0.026, 0.033)
    """Range of onion radii [m]; a gripper with an 80 mm stroke closes on all of them."""
    clearance: float = 0.10
    """Smallest distance between onion centres at the start [m]: room for two fingers."""
    crowded_clearance: float = 0.085
    """The same with more than six onions."""
    bin_unblemished: tuple[float, float] = (0.10, 0.22)
    bin_blemished: tuple[float, float] = (0.08, -0.48)
    bin_half_size: tuple[float, float] = (0.08, 0.10)
    bin_height: float = 0.05
    moved: float = 0.0
    """Along x and y each bin of a random scene stands up to so far from its standard place [m], at most `MOST_MOVED`."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.moved <= MOST_MOVED:
            raise InvalidInput(
                f"bins moved by {self.moved} m: must lie between 0 and {MOST_MOVED} m, or they may be out of reach"
            )

    name = "onion_sorting"
    label = "onion"
    goals = "objects in the right bin"
    """What `succeeded` counts."""

    def fixtures(self) -> tuple[Fixture, ...]:
        """Both bins at their standard places."""
        return (
            self._bin("bin_unblemished", self.bin_unblemished, (0.20, 0.55, 0.28, 1.0)),
            self._bin("bin_blemished", self.bin_blemished, (0.20, 0.30, 0.75, 1.0)),
        )

    def _bin(self, name: str, xy: tuple[float, float], rgba: tuple[float, float, float, float]) -> Fixture:
        T = se3.transform(np.eye(3), np.array([*xy, 0.0]))
        return Fixture(name, T, *self.bin_half_size, self.bin_height, rgba)

    def _moved(self, rng: np.random.Generator) -> tuple[Fixture, ...]:
        """Both bins, each beside its standard place."""
        away = rng.uniform(-self.moved, self.moved, (2, 2))
        return tuple(
            replace(f, T_world=se3.transform(np.eye(3), np.array([*xy, 0.0])) @ f.T_world)
            for f, xy in zip(self.fixtures(), away, strict=True)
        )

    def fixtures_at(self, poses: Mapping[str, Float[ndarray, "4 4"]]) -> tuple[Fixture, ...]:
        """The bins where a recording says they stand.

        Raises:
            InvalidInput: a bin is missing; names it and those that are there.
        """
        fixtures = []
        for standard in self.fixtures():
            if standard.name not in poses:
                raise InvalidInput(
                    f"the recording has no static transform from 'world' to '{standard.name}' (it has: "
                    f"{', '.join(sorted(poses)) or 'none'}); publish one for each bin while recording"
                )
            fixtures.append(
                Fixture(
                    standard.name,
                    np.asarray(poses[standard.name], float),
                    standard.half_x,
                    standard.half_y,
                    standard.height,
                    standard.rgba,
                )
            )
        return tuple(fixtures)

    def sample_scene(self, rng: np.random.Generator, onions: int) -> Scene:
        """A random start: `onions` onions apart from each other and from the bins, at least one of each kind when there are two
        or more.

        Raises:
            InvalidInput: so many onions do not fit.
        """
        if not 1 <= onions <= 8:
            raise InvalidInput(f"{onions} onions do not fit on the table; choose 1 to 8")
        fixtures = self._moved(rng) if self.moved > 0.0 else self.fixtures()
        centres = self._spread(rng, onions, fixtures)
        blemished = rng.random(onions) < 0.5
        if onions > 1 and blemished.all() == blemished.any():
            blemished[rng.integers(onions)] ^= True
        objects = []
        for i, xy in enumerate(centres):
            radius = float(rng.uniform(*self.radius))
            attributes = {BLEMISHED: float(blemished[i])}
            objects.append(SceneObject(f"onion_{i}", self.label, np.array([*xy, radius]), radius, attributes))
        return Scene(tuple(objects), fixtures)

    def _spread(self, rng: np.random.Generator, onions: int, fixtures: Sequence[Fixture]) -> list[ndarray]:
        """Places [m] on the table, `clearance` apart, and half of that from any bin; a crowded draw starts over."""
        low, high = np.array([self.onions_x, self.onions_y]).T
        clearance = self.clearance if onions <= 6 else self.crowded_clearance
        for _ in range(1000):
            centres: list[ndarray] = []
            for _ in range(100):
                xy = rng.uniform(low, high)
                beside = all(f.distance(xy) >= 0.5 * clearance for f in fixtures)
                if beside and all(np.linalg.norm(xy - other) >= clearance for other in centres):
                    centres.append(xy)
                    if len(centres) == onions:
                        return centres
        raise InvalidInput(f"no free places for {onions} onions {clearance} m apart; try fewer")

    def goal(self, attributes: Mapping[str, float]) -> str:
        """The bin in which an object with these attributes belongs."""
        return "bin_blemished" if attributes[BLEMISHED] > 0.5 else "bin_unblemished"

    def success(self, scene: Scene, p_world: Mapping[str, Float[ndarray, "3"]]) -> dict[str, bool]:
        """Per object of `scene`, whether it lies in its bin at the end; positions [m] are measured, not planned."""
        return {o.name: scene.fixture(self.goal(o.attributes)).contains(p_world[o.name]) for o in scene.objects}

    def succeeded(self, scene: Scene, outcome: Outcome) -> dict[str, bool]:
        """The same for an outcome."""
        return self.success(scene, {name: T[:3, 3] for name, T in outcome.Ts_world.items()})

    def scene_of(self, things: Mapping[str, SeenThing], fixtures: Mapping[str, Float[ndarray, "4 4"]]) -> Scene:
        """The scene in which these things were seen."""
        items = [SceneObject(name, self.label, t.p_world, t.radius, t.attributes) for name, t in things.items()]
        return Scene(tuple(items), self.fixtures_at(fixtures))
