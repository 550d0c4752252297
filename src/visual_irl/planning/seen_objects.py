"""Objects that perception found, as obstacles."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np

from visual_irl.errors import InvalidInput
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.types import ObjectEstimate


def with_objects(world: World, objects: Iterable[ObjectEstimate], touched: Collection[str] = (), margin: float = 0.01) -> World:
    """The world with a ball around every object, but for those that the hand is meant to touch.

    Args:
        world: what stands there anyway.
        objects: what was seen, in the world frame.
        touched: names of objects to leave out.
        margin: by which the balls are larger than the objects seem: what their size and place may be wrong [m].

    Raises:
        InvalidInput: an object has no usable radius, `margin` is negative, or a name in `touched` was not seen.
    """
    objects = list(objects)
    unknown = sorted(set(touched) - {o.name for o in objects})
    if unknown:
        raise InvalidInput(
            f"object '{unknown[0]}' is to be touched but was not seen; seen: {', '.join(o.name for o in objects)}"
        )
    if not 0.0 <= margin < np.inf:
        raise InvalidInput(f"the margin around objects is {margin} m, expected a number from 0")
    balls = []
    for o in objects:
        if not 0.0 < o.radius < np.inf:
            raise InvalidInput(
                f"object '{o.name}' has a radius of {o.radius} m, expected above 0: see it again, or leave it out"
            )
        if o.name not in touched:
            balls.append(Obstacle.sphere(o.name, o.p_world, o.radius + margin))
    return World((*world.obstacles, *balls), world.T_world_base)
