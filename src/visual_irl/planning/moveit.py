"""The same question asked of MoveIt 2, where ROS has it: here through moveit_py, in the package visual_irl_ros of move_group.

MoveIt searches with the planning group, pipeline and collision matrix of its own configuration; obstacles go there as collision
objects. Of what it finds the joint positions are kept, timed and checked here like any other path, so that the same promises
hold. MoveIt is not seeded from here: two answers to one question may differ. Nothing of ROS is imported before one is made.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import MissingDependency, NoPathFound, UnknownName
from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.planner import PlannerConfig, check_posture, goal_postures
from visual_irl.planning.timed_path import timed
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.types import JointTrajectory

GROUPS = {"panda": "panda_arm", "fr3": "fr3_arm", "ur5e": "ur_manipulator", "ur10e": "ur_manipulator"}
"""Planning groups as the makers' MoveIt configurations name them."""
BASES = {"panda": "panda_link0", "fr3": "fr3_link0", "ur5e": "base_link", "ur10e": "base_link"}
"""Links in whose frame obstacles are told."""
GOALS = 4
"""Most postures of a goal pose that are tried, nearest to the start first."""


class MoveItQuestion(ABC):
    """What is the same however MoveIt is reached: the question's checks, its obstacles, and what is made of an answer.

    Args:
        robot: the arm.
        config: as for every planner; `seed` and `moves` have no effect here.
        group: planning group; that of the maker's configuration when not given.
        base: link in whose frame obstacles are told; likewise.

    Raises:
        UnknownName: no group or base link is known for the arm.
        MissingDependency: MoveIt's messages are not installed.
    """

    def __init__(self, robot: RobotModel, config: PlannerConfig | None, group: str | None, base: str | None) -> None:
        self.robot, self.config = robot, config or PlannerConfig()
        for what, given, known in (("planning group", group, GROUPS), ("base link", base, BASES)):
            if given is None and robot.name not in known:
                raise UnknownName(f"no {what} is known for '{robot.name}', only for: {', '.join(sorted(known))}; name it")
        self.group, self.base = group or GROUPS[robot.name], base or BASES[robot.name]
        self.messages, self._shapes = (moveit_module(name) for name in ("moveit_msgs.msg", "shape_msgs.msg"))

    @abstractmethod
    def search(self, q_start: ndarray, q_goal: ndarray, world: World) -> tuple[ndarray | None, str]:
        """The path (N, J) between two postures [rad], or none and MoveIt's reason."""

    def plan(
        self,
        q_start: Float[ndarray, "J"],
        goal: Float[ndarray, "J"] | Float[ndarray, "4 4"],
        world: World,
        opening: float = 0.0,
    ) -> JointTrajectory:
        """See `visual_irl.planning.planner.Planner.plan`."""
        checker = EdgeChecker.of(self.robot, world, self.config.clearance, self.config.resolution)
        q_start = np.asarray(q_start, float)
        check_posture(q_start, "start", self.robot, checker, self.config)
        goals = goal_postures(q_start, goal, self.robot, world, checker, self.config)[:GOALS]
        reason = ""
        for q in goals:
            path, reason = self.search(q_start, q, world)
            if path is not None:
                return timed(path, self.robot, checker, self.config, opening)
        raise NoPathFound(
            f"MoveIt found no path for '{self.group}' to {len(goals)} posture(s) of the goal within {self.config.time_limit} s "
            f"each ({reason}): allow more time (time_limit), use the planner 'ompl', or make room"
        )

    def ordered(self, found: Any) -> ndarray:
        """Positions (N, J) [rad] of a joint trajectory's message, in the arm's order of joints."""
        order = [list(found.joint_names).index(name) for name in self.robot.joint_names]
        return np.array([np.array(point.positions, float)[order] for point in found.points])

    def obstacles(self, world: World) -> list[Any]:
        """The world as MoveIt's collision objects, in the base link's frame."""
        T_base_world = se3.inverse(world.T_world_base)
        return [
            self._message(f"{k} {obstacle.name}", obstacle, T_base_world @ obstacle.T_world)
            for k, obstacle in enumerate(world.obstacles)
        ]

    def _message(self, name: str, obstacle: Obstacle, T_base: ndarray) -> Any:
        message = self.messages.CollisionObject()
        message.id, message.header.frame_id, message.operation = name, self.base, self.messages.CollisionObject.ADD
        pose = type(message.pose)()
        pose.position.x, pose.position.y, pose.position.z = (float(x) for x in T_base[:3, 3])
        w, x, y, z = (float(v) for v in se3.quaternion_wxyz(T_base[:3, :3]))
        pose.orientation.w, pose.orientation.x, pose.orientation.y, pose.orientation.z = w, x, y, z
        a, b, c = obstacle.size
        if obstacle.kind == "plane":
            message.planes, message.plane_poses = [self._shapes.Plane(coef=[0.0, 0.0, 1.0, 0.0])], [pose]
            return message
        primitive = self._shapes.SolidPrimitive
        kind, size = {
            "sphere": (primitive.SPHERE, [a]),
            "box": (primitive.BOX, [2.0 * a, 2.0 * b, 2.0 * c]),
            "cylinder": (primitive.CYLINDER, [2.0 * b, a]),  # height, radius
        }[obstacle.kind]
        message.primitives, message.primitive_poses = [primitive(type=kind, dimensions=size)], [pose]
        return message


class MoveItPlanner(MoveItQuestion):
    """Plans with MoveIt in this process; made once a process, as it starts a ROS node.

    Args:
        robot: the arm.
        config: as for every planner; `seed` and `moves` have no effect here.
        group: planning group; that of the maker's configuration when not given.
        base: link in whose frame obstacles are told; likewise.
        node_name: of the node that MoveIt starts.
        config_dict: MoveIt's own configuration (`MoveItConfigsBuilder(...).to_moveit_configs().to_dict()`); from the node's
            parameters when not given.

    Raises:
        MissingDependency: moveit_py is not installed.
        UnknownName: no group or base link is known for the arm.
    """

    def __init__(
        self,
        robot: RobotModel,
        config: PlannerConfig | None = None,
        group: str | None = None,
        base: str | None = None,
        node_name: str = "visual_irl_planner",
        config_dict: Mapping[str, Any] | None = None,
    ) -> None:
        self._planning, self._states = (moveit_module(name) for name in ("moveit.planning", "moveit.core.robot_state"))
        super().__init__(robot, config, group, base)
        extra = {} if config_dict is None else {"config_dict": dict(config_dict)}
        self._moveit = self._planning.MoveItPy(node_name=node_name, **extra)
        self._component = self._moveit.get_planning_component(self.group)

    def search(self, q_start: ndarray, q_goal: ndarray, world: World) -> tuple[ndarray | None, str]:
        """See `MoveItQuestion.search`."""
        self._tell(world)
        component, model = self._component, self._moveit.get_robot_model()
        for q, tell in ((q_start, component.set_start_state), (q_goal, component.set_goal_state)):
            state = self._states.RobotState(model)
            state.set_joint_group_positions(self.group, np.array(q, float))
            state.update()
            tell(robot_state=state)
        parameters = self._planning.PlanRequestParameters(self._moveit, "")
        parameters.planning_time = self.config.time_limit
        parameters.planning_attempts = 1
        result = component.plan(single_plan_parameters=parameters)
        if not result:
            return None, f"error code {getattr(result.error_code, 'val', result.error_code)}"
        return self.ordered(result.trajectory.get_robot_trajectory_msg().joint_trajectory), ""

    def _tell(self, world: World) -> None:
        """Replace the obstacles that MoveIt knows."""
        with self._moveit.get_planning_scene_monitor().read_write() as scene:
            scene.remove_all_collision_objects()
            for message in self.obstacles(world):
                scene.apply_collision_object(message)
            scene.current_state.update()


def moveit_module(name: str) -> Any:
    """A module of MoveIt's.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(
            f"the planner 'moveit' needs MoveIt's Python package ({name}), which comes with ROS 2 and not from PyPI: install "
            "`ros-$ROS_DISTRO-moveit-py`, source that ROS, and start Python there; or use the planner 'ompl'"
        ) from error
