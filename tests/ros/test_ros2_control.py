"""The executor node on a controller of ros2_control: a node that behaves as joint_trajectory_controller's documentation has it.

The real controller is not among the wheels. The action's types are not either: its goals are tested with stand-ins for them.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rest_to_rest import rest_to_rest

rclpy = pytest.importorskip("rclpy", reason="ROS is not here; `make test-ros` builds it from wheels and runs these")
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg
from visual_irl_ros import qos, ros2_control
from visual_irl_ros.controller_arm import Point
from visual_irl_ros.installation import Installation

from visual_irl.errors import MissingDependency
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import Safety
from visual_irl.execution.streaming import Cycle, StreamConfig, StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import World

ROBOT = load_robot("ur5e")
PATIENT = StreamConfig(state_age=0.5, cycle_gap=0.5, command_age=5.0, settle=0.5)


def fake() -> ModuleType:
    path = Path(__file__).parents[1] / "fakes" / "trajectory_controller.py"
    spec = importlib.util.spec_from_file_location("trajectory_controller", path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


class Controller(Node):
    """Takes trajectories on its topic, has tolerances that are off, and broadcasts joint_states."""

    def __init__(self) -> None:
        super().__init__("joint_trajectory_controller")
        self.inner = fake().Controller(ROBOT.home)
        for name in ("goal_time", *(f"{j}.{what}" for j in ROBOT.joint_names for what in ("trajectory", "goal"))):
            self.declare_parameter(f"constraints.{name}", 0.0)
        self.create_subscription(JointTrajectoryMsg, "~/joint_trajectory", self._take, qos.COMMAND)
        self._states = self.create_publisher(JointState, "joint_states", qos.NEWEST)
        self.create_timer(0.01, self._broadcast)

    def _take(self, message: Any) -> None:
        assert list(message.joint_names) == list(ROBOT.joint_names)
        self.inner.take(
            [
                (p.time_from_start.sec + 1e-9 * p.time_from_start.nanosec, p.positions, p.velocities, p.accelerations)
                for p in message.points
            ]
        )

    def _broadcast(self) -> None:
        q, qd = self.inner.reference()
        message = JointState(name=[*ROBOT.joint_names[::-1], "finger"], position=[*q[::-1], 0.0], velocity=[*qd[::-1], 0.0])
        message.header.stamp = self.get_clock().now().to_msg()
        self._states.publish(message)


@pytest.fixture
def cell() -> Iterator[tuple[Controller, Any, Node]]:
    rclpy.init()
    controller, node = Controller(), Node("executor")
    arm = ros2_control.connect(node, ROBOT, "joint_trajectory_controller", ros2_control.TOPIC)
    spinning = [SingleThreadedExecutor(), SingleThreadedExecutor()]
    for executor, member in zip(spinning, (controller, node), strict=True):
        executor.add_node(member)
        threading.Thread(target=executor.spin, daemon=True).start()
    yield controller, arm, node
    for executor in spinning:
        executor.shutdown()
    rclpy.try_shutdown()


def until(condition: Any) -> None:
    waited = threading.Event()
    for _ in range(600):
        if condition():
            return
        waited.wait(0.05)
    raise AssertionError("it did not come")


def test_a_motion_and_a_cancel_through_the_topic(cell: tuple[Controller, Any, Node]) -> None:
    controller, arm, _ = cell
    until(lambda: arm.read().safety is Safety.NORMAL)
    until(lambda: controller.get_parameter("constraints.goal_time").value == ros2_control.END_TIME)
    limits = [controller.get_parameter(f"constraints.{j}.trajectory").value for j in ROBOT.joint_names]
    assert limits == [ros2_control.ON_THE_WAY] * 6, "its tolerances are set"
    motion = rest_to_rest(ROBOT, ROBOT.home, ROBOT.home + 0.4 * np.eye(6)[0], 1.5)
    executor = StreamingExecutor(arm, ROBOT, config=PATIENT)
    approved = approve(motion, ROBOT, arm.read(), World(), SIMULATED, now_ns=arm.now_ns())
    report = executor.execute(approved)
    assert report.outcome == "executed" and report.tracking_rms < 0.03
    np.testing.assert_allclose(controller.inner.reference()[0], motion.q[-1], atol=1e-3)

    back = rest_to_rest(ROBOT, motion.q[-1], ROBOT.home, 1.5)

    def stop(cycle: Cycle) -> None:
        if cycle.s > 0.6:
            executor.cancel()

    report = executor.execute(approve(back, ROBOT, arm.read(), World(), SIMULATED, now_ns=arm.now_ns()), stop)
    q, qd = controller.inner.reference()
    assert report.outcome == "cancelled" and np.abs(qd).max() < 1e-3 and 0.01 < q[0] - ROBOT.home[0] < 0.39


def test_the_action_says_what_it_needs_and_sets_every_tolerance(
    cell: tuple[Controller, Any, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, arm, node = cell
    if importlib.util.find_spec("control_msgs") is None:
        with pytest.raises(MissingDependency, match="control-msgs"):
            ros2_control.connect(node, ROBOT, "joint_trajectory_controller", ros2_control.ACTION)

    def goal(**fields: Any) -> SimpleNamespace:
        return SimpleNamespace(path_tolerance=[], goal_tolerance=[], goal_time_tolerance=None, **fields)

    action = SimpleNamespace(Goal=goal, Result=SimpleNamespace(SUCCESSFUL=0))
    monkeypatch.setitem(sys.modules, "control_msgs", ModuleType("control_msgs"))
    monkeypatch.setitem(sys.modules, "control_msgs.action", SimpleNamespace(FollowJointTrajectory=action))
    monkeypatch.setitem(sys.modules, "control_msgs.msg", SimpleNamespace(JointTolerance=SimpleNamespace))
    monkeypatch.setattr(ros2_control, "ActionClient", lambda *args, **more: None)
    sender = ros2_control.GoalSender(node, ROBOT, "joint_trajectory_controller", None)
    sender.arm = arm
    made = sender.goal_of([Point(0.06, ROBOT.home, 0 * ROBOT.home, 0 * ROBOT.home)])
    assert [row.name for row in made.path_tolerance] == list(ROBOT.joint_names)
    assert all(0.0 < row.position <= 0.1 for row in (*made.path_tolerance, *made.goal_tolerance))
    assert made.goal_time_tolerance.sec >= 1 and len(made.trajectory.points) == 1
    until(lambda: arm.read().safety is Safety.NORMAL)
    sender._newest = 2
    sender._ended(1, SimpleNamespace(error_code=-4, error_string="replaced"))
    assert arm.read().safety is Safety.NORMAL
    sender._ended(2, SimpleNamespace(error_code=-4, error_string="path tolerance violated"))
    assert "gave up (-4): path tolerance violated" in arm.read().message


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"arm": "kuka"}, "expected mujoco"),
        ({"controller_by": "post"}, "expected mujoco"),
        ({"gripper": "ur", "gripper_address": "192.0.2.1"}, "has its own"),
        ({"arm": "ros2_control", "gripper": "ur"}, "with its address, or neither"),
        ({"arm": "ros2_control", "gripper": "claw", "gripper_address": "192.0.2.1"}, "expected one of franka, ur"),
        ({"mount_xyz": "0 0"}, "expected three numbers"),
    ],
)
def test_parameters_of_the_node_are_refused_when_they_mean_nothing(given: dict[str, str], why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why):
        installed(given | {"log": str(tmp_path)})


def test_a_cell_is_what_its_parameters_say(tmp_path: Path) -> None:
    made = installed({"log": str(tmp_path), "mount_xyz": "0 0 1", "robot": "panda"})
    assert made.simulated and made.fingers == "simulated" and made.robot.name == "panda"
    assert made.T_world_base[2, 3] == 1.0 and made.journal.path.parent == tmp_path
    real = installed({"log": str(tmp_path), "arm": "ros2_control"})
    assert not real.simulated and real.fingers == "not driven" and real.guard.collaboration is not None


def installed(given: dict[str, str]) -> Installation:
    rclpy.init()
    node = Node("executor", parameter_overrides=[Parameter(name, value=value) for name, value in given.items()])
    try:
        return Installation(node)
    finally:
        node.destroy_node()
        rclpy.shutdown()
