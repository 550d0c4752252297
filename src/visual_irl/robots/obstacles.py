"""What stands around an arm, as simple shapes: what the guard and the planner must keep the arm away from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, no_type_check

import coal
import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput

SPHERE, BOX, CYLINDER, PLANE = 0, 1, 2, 3
KINDS = ("sphere", "box", "cylinder", "plane")
HALVINGS = 24
"""Halvings of a segment in the search for its nearest point: an error of 3 micrometres on the longest link."""


@dataclass(frozen=True)
class Obstacle:
    """A thing that must not be touched. Made by `sphere`, `box`, `cylinder` or `plane`."""

    name: str
    kind: str
    T_world: Float[ndarray, "4 4"]
    """Pose of its centre; a cylinder's axis and a plane's normal are z."""
    size: tuple[float, float, float]
    """Sphere: radius; box: half sizes; cylinder: radius and half length; plane: nothing [m]."""

    def __post_init__(self) -> None:
        T = np.array(self.T_world, float)
        if self.kind not in KINDS or T.shape != (4, 4) or not se3.is_rigid(T):
            raise InvalidInput(
                f"obstacle '{self.name}': kind '{self.kind}' at {np.round(T, 4).tolist()}; expected one of {', '.join(KINDS)} "
                "at a rigid 4x4 pose"
            )
        needed = {"sphere": 1, "box": 3, "cylinder": 2, "plane": 0}[self.kind]
        if not all(0.0 < s < np.inf for s in self.size[:needed]):
            raise InvalidInput(f"obstacle '{self.name}': sizes {self.size} of a {self.kind} must be above 0 m")
        T.setflags(write=False)
        object.__setattr__(self, "T_world", T)

    @classmethod
    def sphere(cls, name: str, p_world: Float[ndarray, "3"], radius: float) -> Obstacle:
        """A ball around a point [m]."""
        return cls(name, "sphere", se3.transform(np.eye(3), np.asarray(p_world, float)), (float(radius), 0.0, 0.0))

    @classmethod
    def box(cls, name: str, T_world: Float[ndarray, "4 4"], half: Sequence[float]) -> Obstacle:
        """A solid box by its half sizes [m]."""
        x, y, z = (float(h) for h in half)
        return cls(name, "box", T_world, (x, y, z))

    @classmethod
    def cylinder(cls, name: str, T_world: Float[ndarray, "4 4"], radius: float, half_length: float) -> Obstacle:
        """A solid cylinder along the z of its pose [m]."""
        return cls(name, "cylinder", T_world, (float(radius), float(half_length), 0.0))

    @classmethod
    def plane(cls, name: str, p_world: Float[ndarray, "3"], normal: Float[ndarray, "3"]) -> Obstacle:
        """Everything below a plane through a point [m]: a floor, a wall, a keep-out side."""
        n = np.asarray(normal, float)
        if not np.linalg.norm(n) > 0.0:
            raise InvalidInput(f"obstacle '{name}': the plane's normal is {n}, expected a direction")
        R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), n / np.linalg.norm(n))
        return cls(name, "plane", se3.transform(R, np.asarray(p_world, float)), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Carried:
    """A thing in the hand: a ball around the tool's centre that moves with the arm."""

    name: str
    radius: float
    """[m]"""

    def __post_init__(self) -> None:
        if not 0.0 < self.radius < np.inf:
            raise InvalidInput(f"'{self.name}' in the hand has a radius of {self.radius} m, expected a number above 0")


@dataclass(frozen=True)
class World:
    """What stands around an arm and where the arm's base stands. `World()` says: nothing, on purpose.

    Things that the hand is meant to touch (what it picks up) are left out.
    """

    obstacles: tuple[Obstacle, ...] = ()
    T_world_base: Float[ndarray, "4 4"] = field(default_factory=lambda: np.eye(4))
    carried: Carried | None = None
    """What the hand holds all the while: a part of the arm."""

    def __post_init__(self) -> None:
        T = np.array(self.T_world_base, float)
        if T.shape != (4, 4) or not np.isfinite(T).all():
            raise InvalidInput(f"the base's pose in the world is {T.tolist()}, expected a finite 4x4 transform")
        T.setflags(write=False)
        object.__setattr__(self, "T_world_base", T)
        object.__setattr__(self, "obstacles", tuple(self.obstacles))


class Obstacles(NamedTuple):
    """Obstacles as plain arrays in the frame of the arm's base, for compiled code."""

    kind: ndarray
    """(M,)"""
    R: ndarray
    """(M, 3, 3) columns are the obstacle's axes."""
    p: ndarray
    """(M, 3) [m]"""
    size: ndarray
    """(M, 3) [m]"""
    bound: ndarray
    """(M,) radius of the ball around each; infinite for a plane [m]."""


def obstacles_of(world: World) -> Obstacles:
    """The obstacles of a world in the frame of the arm's base."""
    n = len(world.obstacles)
    kind, R, p, size = np.zeros(n, np.int64), np.zeros((n, 3, 3)), np.zeros((n, 3)), np.zeros((n, 3))
    T_base_world = se3.inverse(world.T_world_base)
    for i, o in enumerate(world.obstacles):
        T = T_base_world @ o.T_world
        kind[i], R[i], p[i], size[i] = KINDS.index(o.kind), T[:3, :3], T[:3, 3], o.size
    bound = np.where(kind == PLANE, np.inf, np.linalg.norm(size, axis=1))
    return Obstacles(kind, R, p, size, bound)


def coal_shape(obstacle: Obstacle) -> coal.ShapeBase:
    """The shape as the exact check takes it."""
    a, b, c = obstacle.size
    if obstacle.kind == "sphere":
        return coal.Sphere(a)
    if obstacle.kind == "box":
        return coal.Box(2.0 * a, 2.0 * b, 2.0 * c)
    if obstacle.kind == "cylinder":
        return coal.Cylinder(a, 2.0 * b)
    return coal.Halfspace(np.array([0.0, 0.0, 1.0]), 0.0)


@njit(cache=True, nogil=True)
@no_type_check
def point_distance(kind: int, size: ndarray, x: float, y: float, z: float) -> float:
    """Distance of a point in an obstacle's own frame to it [m]; zero inside, below a plane negative."""
    if kind == SPHERE:
        return max(np.sqrt(x * x + y * y + z * z) - size[0], 0.0)
    if kind == PLANE:
        return z
    if kind == BOX:
        dx, dy, dz = max(abs(x) - size[0], 0.0), max(abs(y) - size[1], 0.0), max(abs(z) - size[2], 0.0)
        return np.sqrt(dx * dx + dy * dy + dz * dz)
    across, along = max(np.sqrt(x * x + y * y) - size[0], 0.0), max(abs(z) - size[1], 0.0)
    return np.sqrt(across * across + along * along)


@njit(cache=True, nogil=True)
@no_type_check
def segment_distance(obstacles: Obstacles, m: int, a: ndarray, b: ndarray) -> float:
    """Distance of the segment from `a` to `b` (3,) to obstacle `m` [m].

    The distance to a convex body is convex along a line, so that a golden-section search finds its minimum.
    """
    u, v = np.zeros(3), np.zeros(3)
    for r in range(3):
        for k in range(3):
            u[r] += obstacles.R[m, k, r] * (a[k] - obstacles.p[m, k])
            v[r] += obstacles.R[m, k, r] * (b[k] - obstacles.p[m, k])
    kind, size = obstacles.kind[m], obstacles.size[m]
    first, last = point_distance(kind, size, u[0], u[1], u[2]), point_distance(kind, size, v[0], v[1], v[2])
    if kind == PLANE or first == 0.0 or last == 0.0:
        return min(first, last)
    g = 0.6180339887498949
    low, high = 0.0, 1.0
    s, t = 1.0 - g, g
    ds = _along(kind, size, u, v, s)
    dt = _along(kind, size, u, v, t)
    for _ in range(HALVINGS):
        if ds < dt:
            high, t, dt = t, s, ds
            s = high - g * (high - low)
            ds = _along(kind, size, u, v, s)
        else:
            low, s, ds = s, t, dt
            t = low + g * (high - low)
            dt = _along(kind, size, u, v, t)
    return min(min(ds, dt), min(first, last))


@njit(cache=True, nogil=True)
@no_type_check
def _along(kind, size, u, v, s):
    return point_distance(kind, size, u[0] + s * (v[0] - u[0]), u[1] + s * (v[1] - u[1]), u[2] + s * (v[2] - u[2]))
