"""What stands still around an arm in a task's cell, as obstacles: floor, table and boxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.tasks.scene import Fixture, Scene, Vessel

FLOOR = -0.74
"""Height of the floor under the table top [m]."""

TABLE = ((-0.03, 0.90), (-0.85, 0.65))
"""Extent of the table along x and y [m]."""

TABLE_THICKNESS = 0.04
"""[m]"""

WALL = 0.006
"""Thickness of a box's walls and floor [m]."""


def plates(fixture: Fixture) -> list[tuple[list[float], list[float]]]:
    """Centre and half sizes [m] of the floor and the four walls of an open box, in its own frame."""
    x, y, z, t = fixture.half_x, fixture.half_y, fixture.height / 2, WALL / 2
    return [
        ([0.0, 0.0, t / 2], [x, y, t / 2]),
        ([x + t, 0.0, z], [t, y + 2 * t, z]),
        ([-x - t, 0.0, z], [t, y + 2 * t, z]),
        ([0.0, y + t, z], [x, t, z]),
        ([0.0, -y - t, z], [x, t, z]),
    ]


def staves(vessel: Vessel) -> list[tuple[list[float], list[float], list[float]]]:
    """Centres [m], orientations (wxyz) and half sizes [m] of a vessel's flat walls, in its own frame."""
    middle = vessel.radius + vessel.wall / 2
    half = [vessel.wall / 2, (vessel.radius + vessel.wall) * float(np.tan(np.pi / vessel.sides)), vessel.height / 2]
    return [
        (
            [middle * float(np.cos(a)), middle * float(np.sin(a)), vessel.height / 2],
            [float(np.cos(a / 2)), 0.0, 0.0, float(np.sin(a / 2))],
            half,
        )
        for a in 2.0 * np.pi * np.arange(vessel.sides) / vessel.sides
    ]


def surroundings(scene: Scene, T_world_base: Float[ndarray, "4 4"]) -> World:
    """Floor, table, boxes and vessels of a scene. What is taken is left out: the hand is meant to touch it."""
    (x0, x1), (y0, y1) = TABLE
    centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2, -TABLE_THICKNESS / 2])
    half = [(x1 - x0) / 2, (y1 - y0) / 2, TABLE_THICKNESS / 2]
    obstacles = [
        Obstacle.plane("floor", np.array([0.0, 0.0, FLOOR]), np.array([0.0, 0.0, 1.0])),
        Obstacle.box("table", se3.transform(np.eye(3), centre), half),
    ]
    for fixture in scene.fixtures:
        for centre_, half_ in plates(fixture):
            T = fixture.T_world @ se3.transform(np.eye(3), np.array(centre_, float))
            obstacles.append(Obstacle.box(fixture.name, T, half_))
    for vessel in scene.vessels:
        if not vessel.taken:
            middle = vessel.T_world @ se3.transform(np.eye(3), np.array([0.0, 0.0, vessel.height / 2]))
            obstacles.append(Obstacle.cylinder(vessel.name, middle, vessel.outer_radius, vessel.height / 2))
    return World(tuple(obstacles), T_world_base)


def solids(scene: Scene) -> tuple[Obstacle, ...]:
    """Boxes and vessels as if they were full: nothing else can stand in them."""
    boxes = [
        Obstacle.box(
            f.name,
            f.T_world @ se3.transform(np.eye(3), np.array([0.0, 0.0, f.height / 2])),
            [f.half_x + WALL, f.half_y + WALL, f.height / 2],
        )
        for f in scene.fixtures
    ]
    cylinders = [
        Obstacle.cylinder(
            v.name, v.T_world @ se3.transform(np.eye(3), np.array([0.0, 0.0, v.height / 2])), v.outer_radius, v.height / 2
        )
        for v in scene.vessels
    ]
    return (*boxes, *cylinders)


def untouched_surroundings(scene: Scene, T_world_base: Float[ndarray, "4 4"]) -> World:
    """All that stands and lies there before anything is taken, movable things too."""
    vessels = tuple(replace(vessel, taken=False) for vessel in scene.vessels)
    balls = [Obstacle.sphere(o.name, o.p_world, o.radius) for o in scene.objects]
    return World((*surroundings(replace(scene, vessels=vessels), T_world_base).obstacles, *balls), T_world_base)
