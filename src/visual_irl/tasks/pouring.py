"""Pouring (Asali and Doshi 2024): take the bottle, pour what is in it into the cup, put the bottle down in the disposal zone.

World frame: table top z = 0, the person sits behind x = 0 and looks along +x, +y is the person's left. The liquid is a number
of small balls: how many of them are in the cup at the end is counted, and so is whether the bottle stands where it belongs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.tasks.scene import Grains, Outcome, Scene, SeenThing, Vessel, Zone

BOTTLE, CUP, ZONE = "bottle", "cup", "disposal"
"""Names of what stands on the table."""

POURED = 0.95
"""Share of the grains that has to be in the cup."""
UPRIGHT = float(np.radians(10.0))
"""A bottle that leans less than this stands [rad]."""


@dataclass(frozen=True)
class Pouring:
    """Where things stand and how large they are [m]."""

    area_x: tuple[float, float] = (0.14, 0.32)
    """Range of all places along x [m]: within reach of a seated adult and of the robots."""
    area_y: tuple[float, float] = (-0.42, 0.14)
    """The same along y [m]."""
    clearance: float = 0.17
    """Smallest distance between the axes of bottle, cup and zone [m]: room for a hand on either side."""
    bottle_radius: float = 0.021
    bottle_height: float = 0.15
    cup_radius: float = 0.045
    cup_height: float = 0.09
    zone_radius: float = 0.07
    grains: int = 50
    grain_radius: float = 0.006

    name = "pouring"
    family = "pouring"
    detector = "vessels"
    goals = "goals reached (what was in the bottle is in the cup; the bottle stands in the zone)"
    """What `succeeded` counts."""

    def for_side(self, side: str) -> Pouring:
        """The table as it is set for a right hand, or its mirror image for a left one, which could not reach across."""
        low, high = self.area_y
        return self if side == "right" else replace(self, area_y=(-high, -low))

    def sample_scene(self, rng: np.random.Generator) -> Scene:
        """A random start: bottle, cup and zone apart from each other, the bottle turned by any angle about its axis.

        Raises:
            InvalidInput: three places do not fit.
        """
        low, high = np.array([self.area_x, self.area_y]).T
        for _ in range(1000):
            places = rng.uniform(low, high, (3, 2))
            gaps = [np.linalg.norm(places[i] - places[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
            if min(gaps) >= self.clearance:
                turn = se3.exp_so3(np.array([0.0, 0.0, rng.uniform(-np.pi, np.pi)]))
                bottle, cup, zone = (np.array([*xy, 0.0]) for xy in places)
                return self.scene(se3.transform(turn, bottle), se3.transform(np.eye(3), cup), se3.transform(np.eye(3), zone))
        raise InvalidInput(f"no three places {self.clearance} m apart in {self.area_x} x {self.area_y} m; widen the area")

    def scene(
        self,
        T_world_bottle: Float[ndarray, "4 4"],
        T_world_cup: Float[ndarray, "4 4"],
        T_world_zone: Float[ndarray, "4 4"],
    ) -> Scene:
        """Bottle, cup and zone at these poses; all that will be poured is in the bottle."""
        bottle = Vessel(
            BOTTLE,
            BOTTLE,
            T_world_bottle,
            self.bottle_radius,
            self.bottle_height,
            (0.40, 0.75, 0.50, 0.35),
            sides=8,
            taken=True,
        )
        cup = Vessel(CUP, CUP, T_world_cup, self.cup_radius, self.cup_height, (0.92, 0.92, 0.92, 0.45))
        zone = Zone(ZONE, T_world_zone, self.zone_radius, (0.80, 0.25, 0.20, 1.0))
        return Scene((), (), (bottle, cup), (zone,), Grains(BOTTLE, self.grains, self.grain_radius))

    def poured(self, scene: Scene, outcome: Outcome) -> float:
        """Share of the grains that are in the cup, by where it stands now."""
        inside = scene.vessel(CUP).contains(outcome.Ts_world[CUP], outcome.grains)
        return float(inside.mean()) if len(inside) else float("nan")

    def disposed(self, scene: Scene, outcome: Outcome) -> bool:
        """Whether the bottle stands upright in the zone."""
        T = outcome.Ts_world[BOTTLE]
        stands = bool(se3.angle_between(T[:3, 2], np.array([0.0, 0.0, 1.0])) < UPRIGHT and abs(T[2, 3]) < 0.01)
        return stands and scene.zone(ZONE).contains(T[:3, 3])

    def succeeded(self, scene: Scene, outcome: Outcome) -> dict[str, bool]:
        """Which of the task's two goals were reached."""
        return {"poured": self.poured(scene, outcome) >= POURED, "disposed_upright": self.disposed(scene, outcome)}

    def scene_of(self, things: Mapping[str, SeenThing], fixtures: Mapping[str, Float[ndarray, "4 4"]]) -> Scene:
        """The scene in which these things were seen; their sizes are the task's.

        Raises:
            InvalidInput: bottle, cup or zone was not seen.
        """
        missing = [name for name in (BOTTLE, CUP) if name not in things] + [ZONE] * (ZONE not in fixtures)
        if missing:
            raise InvalidInput(f"no '{missing[0]}' was seen; there is: {', '.join((*things, *fixtures)) or 'nothing'}")
        bottle, cup = (se3.transform(_upright(things[name].R_world), things[name].p_world) for name in (BOTTLE, CUP))
        return self.scene(bottle, cup, np.asarray(fixtures[ZONE], float))


def _upright(R: Float[ndarray, "3 3"] | None) -> Float[ndarray, "3 3"]:
    return np.eye(3) if R is None else np.asarray(R, float)
