"""Whether what stands on the table leaves room for a robot's base: motions are not checked for it, as none could help."""

from __future__ import annotations

from jaxtyping import Float
from numpy import ndarray

from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.collision import base_gap
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import solids


def in_the_base(scene: Scene, robot: RobotModel, T_world_base: Float[ndarray, "4 4"] | None = None) -> str:
    """What of a scene stands in the base of a robot, which is at its usual place if none is given, with where both are; empty
    if nothing does."""
    T = robot.T_world_base if T_world_base is None else T_world_base
    found = []
    for solid in solids(scene):
        gap = base_gap(robot, solid, T)
        if gap < 0.0:
            x, y = solid.T_world[:2, 3]
            found.append(f"'{solid.name}' at ({x:.2f}, {y:.2f}) m reaches {-1e3 * gap:.0f} mm into it")
    return f"the base of the {robot.name} at ({T[0, 3]:.2f}, {T[1, 3]:.2f}) m: {', '.join(found)}" if found else ""


def remark_of_usual_bases(scene: Scene) -> str:
    """What to do about robots that cannot stand at their usual places beside what is on the table; empty where all can."""
    blocked = [said for name in ROBOTS.names if (said := in_the_base(scene, load_robot(name)))]
    return f"note: no room for {'; '.join(blocked)}; move that in the task, or map with --mount elsewhere" if blocked else ""


def remark_of_base(scene: Scene, robot: RobotModel, T_world_base: Float[ndarray, "4 4"]) -> str:
    """The same for one robot where it is to stand."""
    said = in_the_base(scene, robot, T_world_base)
    return f"note: no room for {said}; move that, or the base with --mount" if said else ""
