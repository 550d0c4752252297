"""The planner protocol over MoveIt's action `move_action`: a running move_group is asked for a path, and plans it only.

What it answers is timed and checked by the library, as with every planner. It needs moveit_msgs, which comes with ROS and not
from PyPI.
"""

from __future__ import annotations

from typing import Any

import rclpy
from numpy import ndarray
from rclpy.action import ActionClient
from rclpy.node import Node

from visual_irl.errors import MissingDependency, VisualIrlError
from visual_irl.planning.moveit import MoveItQuestion, moveit_module
from visual_irl.planning.planner import PlannerConfig
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl_ros import qos

ACTION = "move_action"
ANSWER = 10.0
"""How much longer than its time for planning move_group may take to answer [s]."""


class MoveGroupPlanner(MoveItQuestion):
    """Asks the move_group that runs in the same namespace; see `MoveItQuestion` for the arguments."""

    def __init__(
        self, robot: RobotModel, config: PlannerConfig | None = None, group: str | None = None, base: str | None = None
    ) -> None:
        super().__init__(robot, config, group, base)
        self._node = Node("visual_irl_planner")
        self._action = moveit_module("moveit_msgs.action").MoveGroup
        self._client = ActionClient(self._node, self._action, ACTION, **qos.ACTION)
        if not self._client.wait_for_server(ANSWER):
            raise MissingDependency(
                f"no move_group offers '{self._client._action_name}': start the MoveIt configuration of '{robot.name}', "
                "or use the planner 'ompl'"
            )

    def search(self, q_start: ndarray, q_goal: ndarray, world: World) -> tuple[ndarray | None, str]:
        """See `MoveItQuestion.search`; the obstacles hold for this question alone."""
        goal, m = self._action.Goal(), self.messages
        ask = goal.request
        ask.group_name, ask.num_planning_attempts, ask.allowed_planning_time = self.group, 1, self.config.time_limit
        ask.start_state.joint_state.name, ask.start_state.is_diff = list(self.robot.joint_names), True
        ask.start_state.joint_state.position = q_start.tolist()
        at = [
            m.JointConstraint(joint_name=name, position=float(q), tolerance_above=1e-4, tolerance_below=1e-4, weight=1.0)
            for name, q in zip(self.robot.joint_names, q_goal, strict=True)
        ]
        ask.goal_constraints = [m.Constraints(joint_constraints=at)]
        goal.planning_options.plan_only = True
        scene = goal.planning_options.planning_scene_diff
        scene.is_diff, scene.robot_state.is_diff, scene.world.collision_objects = True, True, self.obstacles(world)
        handle = self._wait(self._client.send_goal_async(goal))
        if not handle.accepted:
            return None, "move_group rejected the goal"
        result = self._wait(handle.get_result_async()).result
        if result.error_code.val != m.MoveItErrorCodes.SUCCESS:
            return None, f"error code {result.error_code.val}"
        return self.ordered(result.planned_trajectory.joint_trajectory), ""

    def _wait(self, future: Any) -> Any:
        limit = self.config.time_limit + ANSWER
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=limit)
        if not future.done():
            raise VisualIrlError(f"move_group did not answer within {limit:.0f} s: see to it, or use the planner 'ompl'")
        return future.result()
