"""A mapped motion with what it was made for: where the base stands, what the task handles, and what is in the hand when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.io.artifacts import load_trajectory
from visual_irl.robots import load_robot
from visual_irl.robots.carrying import Held, held_along
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Carried, World
from visual_irl.tasks import load_task
from visual_irl.tasks.scene import Outcome, Scene, SeenThing
from visual_irl.tasks.surroundings import surroundings, untouched_surroundings
from visual_irl.types import JointTrajectory


@dataclass(frozen=True, eq=False)
class MappedMotion:
    """What an arm shall do, and all that has to be known to judge it and to put the scene into a simulation."""

    trajectory: JointTrajectory
    robot: RobotModel
    T_world_base: Float[ndarray, "4 4"]
    task: str = ""
    """Name of the task that it does; empty for a bare motion, which handles nothing."""
    things: Mapping[str, SeenThing] = field(default_factory=dict)
    fixtures: Mapping[str, Float[ndarray, "4 4"]] = field(default_factory=dict)
    """Poses in the world of what the task has standing there."""
    held: tuple[Held, ...] = ()
    """What is in the hand, when on the trajectory's clock."""
    approach: float = 0.0
    """How long its first part takes, which leads to where the work begins and touches nothing [s]."""

    def __post_init__(self) -> None:
        for name, T in {"the base": self.T_world_base, **self.fixtures}.items():
            if np.shape(T) != (4, 4) or not se3.is_rigid(np.asarray(T, float)):
                raise InvalidInput(f"the pose of {name} is {np.round(T, 4).tolist()}, which is no rigid transform")
        if not 0.0 <= self.approach <= self.trajectory.t[-1] - self.trajectory.t[0] + 1e-6:
            raise InvalidInput(f"the way to where the work begins takes {self.approach} s, longer than the whole motion")

    @cached_property
    def scene(self) -> Scene:
        """What lies and stands there as it was seen.

        Raises:
            UnknownName: no such task is installed here.
            InvalidInput: the task has no such things.
        """
        scene: Scene = load_task(self.task).scene_of(self.things, self.fixtures) if self.things else Scene((), ())
        return scene

    @property
    def world(self) -> World:
        """What must not be touched; what is taken is left out."""
        return surroundings(self.scene, self.T_world_base)

    @property
    def world_before(self) -> World:
        """What must not be touched on the way to where the work begins: all that is there."""
        return untouched_surroundings(self.scene, self.T_world_base)

    @property
    def goals(self) -> str:
        """What its task calls what it is counted by."""
        goals: str = load_task(self.task).goals
        return goals

    def succeeded(self, outcome: Outcome) -> Mapping[str, bool]:
        """Which of the things ended as they should; none for a bare motion."""
        done: Mapping[str, bool] = load_task(self.task).succeeded(self.scene, outcome) if self.things else {}
        return done

    def after(self, whole: JointTrajectory) -> MappedMotion:
        """The same, at the end of a motion that leads to it."""
        later = float(whole.t[-1] - self.trajectory.t[-1])
        held = tuple(row._replace(begin=row.begin + later, end=row.end + later) for row in self.held)
        return replace(self, trajectory=whole, held=held, approach=self.approach + later)

    @property
    def way_there(self) -> JointTrajectory | None:
        """That first part; none where there is none."""
        way = self.trajectory
        last = int(np.searchsorted(way.t, way.t[0] + self.approach + 1e-9))
        if self.approach <= 0.0 or last < 2:
            return None
        return JointTrajectory(way.joint_names, way.t[:last], way.q[:last], way.qd[:last], way.opening[:last])


def read_mapped_motion(path: Path, robot: RobotModel | None = None) -> MappedMotion:
    """The motion of a trajectory file, for the robot that it names; a bare one is made from that robot's standard place.

    Raises:
        MissingFile, UnreadableFile, InvalidInput: it is none, or was mapped onto another robot than `robot`.
    """
    trajectory, header, _ = load_trajectory(path)
    if robot is not None and header["robot"] != robot.name:
        raise InvalidInput(f"'{path}' is mapped onto the {header['robot']}, not the {robot.name}: map it again")
    robot = robot or load_robot(header["robot"])
    if not header["task"]:
        return MappedMotion(trajectory, robot, robot.T_world_base)
    things = {name: SeenThing.read(name, row) for name, row in header["objects"].items()}
    fixtures = {name: np.array(T, float) for name, T in header["fixtures"].items()}
    taken = [(begin, end, Carried(name, things[name].radius)) for begin, end, name in header["held"] if name in things]
    T_world_base = np.array(header["T_world_base"], float)
    return MappedMotion(trajectory, robot, T_world_base, header["task"], things, fixtures, held_along(trajectory, robot, taken))
