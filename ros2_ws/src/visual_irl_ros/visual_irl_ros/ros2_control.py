"""Between `ControllerArm` and a joint_trajectory_controller: its topic, or its action where control_msgs is there, and states.

The controller's tolerances are off unless somebody sets them: they are set here, on the controller for the topic and in every
goal of the action.
"""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Duration
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.action import ActionClient
from rclpy.callback_groups import ReentrantCallbackGroup
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from visual_irl.errors import MissingDependency
from visual_irl.robots.model import RobotModel
from visual_irl_ros import qos
from visual_irl_ros.controller_arm import ControllerArm, Point

TOPIC, ACTION = "topic", "action"
ON_THE_WAY, AT_THE_END = 0.1, 0.02
"""Distances of a joint from its trajectory and from its end that the controller tolerates [rad]."""
END_TIME = 1.0
"""How much later than planned the end may be reached [s]."""
GOAL = 6
"""Targets in one goal of the action."""


def connect(node: Any, robot: RobotModel, controller: str, by: str) -> ControllerArm:
    """The arm that `controller` moves, by its "topic" or its "action".

    Raises:
        MissingDependency: the action's types are not installed.
    """
    group = ReentrantCallbackGroup()
    if by == ACTION:
        sender: Any = GoalSender(node, robot, controller, group)
        arm = ControllerArm(robot, sender, GOAL)
        sender.arm = arm
    else:
        arm = ControllerArm(robot, TopicSender(node, robot, controller, group))
    clock = node.get_clock()

    def heard(message: JointState) -> None:
        stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        age = 1e-9 * (clock.now().nanoseconds - stamp)
        speeds = message.velocity if len(message.velocity) == len(message.name) else [float("nan")] * len(message.name)
        arm.hear(dict(zip(message.name, message.position, strict=False)), dict(zip(message.name, speeds, strict=False)), age)

    node.create_subscription(JointState, "joint_states", heard, qos.NEWEST, callback_group=group)
    return arm


def trajectory_of(robot: RobotModel, points: list[Point]) -> JointTrajectory:
    """A message that begins when it is received."""
    message = JointTrajectory(joint_names=list(robot.joint_names))
    for point in points:
        message.points.append(
            JointTrajectoryPoint(
                positions=point.q.tolist(), velocities=point.qd.tolist(), accelerations=point.qdd.tolist(),
                time_from_start=duration_of(point.after),
            )
        )  # fmt: skip
    return message


def duration_of(seconds: float) -> Duration:
    """A time [s] as a message."""
    sec, nanosec = divmod(round(1e9 * seconds), 10**9)
    return Duration(sec=sec, nanosec=nanosec)


class TopicSender:
    """Publishes to the controller; its tolerances are set as parameters before the first trajectory."""

    def __init__(self, node: Any, robot: RobotModel, controller: str, group: Any) -> None:
        self._robot, self._node = robot, node
        self._publisher = node.create_publisher(JointTrajectory, f"{controller}/joint_trajectory", qos.COMMAND)
        name = f"{controller}/set_parameters"
        self._client = node.create_client(SetParameters, name, qos_profile=qos.SERVICE, callback_group=group)
        self.tolerant = False
        """Whether the controller has taken its tolerances."""
        self._timer = node.create_timer(0.5, self._set_tolerances, callback_group=group)

    def __call__(self, points: list[Point]) -> None:
        self._publisher.publish(trajectory_of(self._robot, points))

    def _set_tolerances(self) -> None:
        """Ask until the controller is there, once."""
        if self.tolerant or not self._client.service_is_ready():
            return
        request = SetParameters.Request(parameters=[_number("constraints.goal_time", END_TIME)])
        for joint in self._robot.joint_names:
            request.parameters.append(_number(f"constraints.{joint}.trajectory", ON_THE_WAY))
            request.parameters.append(_number(f"constraints.{joint}.goal", AT_THE_END))
        self._client.call_async(request).add_done_callback(self._answered)

    def _answered(self, future: Any) -> None:
        bad = [result.reason for result in future.result().results if not result.successful]
        if bad:
            self._node.get_logger().error(f"the controller takes no tolerances ({bad[0]}): set its constraints yourself")
        self.tolerant = True
        self._timer.cancel()


class GoalSender:
    """Sends goals of FollowJointTrajectory; a goal that the controller gives up is a fault of the arm."""

    def __init__(self, node: Any, robot: RobotModel, controller: str, group: Any) -> None:
        try:
            from control_msgs.action import FollowJointTrajectory
            from control_msgs.msg import JointTolerance
        except ImportError as error:
            raise MissingDependency(
                "the controller's action needs control_msgs: install ros-$ROS_DISTRO-control-msgs, or use its topic"
            ) from error
        self._robot, self._action, self._tolerance = robot, FollowJointTrajectory, JointTolerance
        name = f"{controller}/follow_joint_trajectory"
        self._client = ActionClient(node, FollowJointTrajectory, name, callback_group=group, **qos.ACTION_CLIENT)
        self._newest = 0
        self.arm: ControllerArm | None = None

    def __call__(self, points: list[Point]) -> None:
        self._newest += 1
        number = self._newest
        future = self._client.send_goal_async(self.goal_of(points))
        future.add_done_callback(lambda done: self._accepted(number, done.result()))

    def goal_of(self, points: list[Point]) -> Any:
        """A goal with the trajectory and every tolerance."""
        goal = self._action.Goal(trajectory=trajectory_of(self._robot, points))
        for name in self._robot.joint_names:
            goal.path_tolerance.append(self._tolerance(name=name, position=ON_THE_WAY))
            goal.goal_tolerance.append(self._tolerance(name=name, position=AT_THE_END))
        goal.goal_time_tolerance = duration_of(END_TIME)
        return goal

    def _accepted(self, number: int, handle: Any) -> None:
        if not handle.accepted:
            self._fail("the controller rejects the goal: is it active?")
            return
        handle.get_result_async().add_done_callback(lambda done: self._ended(number, done.result().result))

    def _ended(self, number: int, result: Any) -> None:
        """A goal that was replaced by a newer one ends too; only what the controller says of the newest counts."""
        if number == self._newest and result.error_code != self._action.Result.SUCCESSFUL:
            self._fail(f"the controller gave up ({result.error_code}): {result.error_string}")

    def _fail(self, reason: str) -> None:
        if self.arm is not None:
            self.arm.fail(reason)


def _number(name: str, value: float) -> Parameter:
    return Parameter(name=name, value=ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=value))
