"""Where in a fixture a thing is let go: beside what lies there already. On a heap things roll, over its walls too."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.policy.skill import Thing
from visual_irl.tasks.scene import Fixture

EDGE = 0.015
"""Room that is left between a thing and the walls [m]."""
GRID = 5
"""Places along each side that are thought of."""


def free_places(fixture: Fixture, radius: float, lying: Sequence[Thing]) -> list[Float[ndarray, "2"]]:
    """Places over the floor [m] at which a thing of that radius may be let go, the best one first.

    That is the middle, where the person lets go, or the free place that is nearest to it; after all that are free those come
    that have the most room. `lying` is what is known of the things around.
    """
    inside = [t for t in lying if fixture.contains(t.p_world)]
    x, y = (max(half - radius - EDGE, 0.0) * np.linspace(-1.0, 1.0, GRID) for half in (fixture.half_x, fixture.half_y))
    away = np.array(np.meshgrid(x, y)).reshape(2, -1).T
    places = se3.apply(fixture.T_world, np.column_stack([away, np.zeros(len(away))]))[:, :2]
    room = np.zeros(len(places))  # which is below 0 where something is in the way
    for t in inside:
        room = np.minimum(room, np.linalg.norm(places - t.p_world[:2], axis=1) - t.radius - radius)
    order = np.lexsort([np.linalg.norm(away, axis=1), -room])
    return [places[k] for k in order]
