"""The real nodes on loopback, and a node that watches them from outside."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

try:
    import rclpy
except ImportError:
    collect_ignore_glob = ["test_*.py"]  # ROS is not here; `make test-ros` builds it from wheels and runs these
else:
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # another graph on this machine is not heard
    from diagnostic_msgs.msg import DiagnosticArray
    from rclpy.node import Node
    from sensor_msgs.msg import JointState
    from visual_irl_ros import qos
    from visual_irl_ros.cell import Cell

    from visual_irl.assets import asset_path
    from visual_irl.execution.following import TargetFollower
    from visual_irl.execution.guard import SIMULATED
    from visual_irl.execution.mujoco_arm import MujocoArm
    from visual_irl.execution.streaming import StreamConfig
    from visual_irl.mapping.live_arm import LiveArm, LiveArmConfig
    from visual_irl.mapping.live_mapper import LiveMapper
    from visual_irl.robots import load_robot
    from visual_irl.tasks.scene import Scene
    from visual_irl.tasks.surroundings import surroundings
    from visual_irl.verbs import up
    from visual_irl.verbs.launch_file import read_launch_file

    class Watcher(Node):
        """Sees joint states and what every node says about itself."""

        def __init__(self) -> None:
            super().__init__("watcher")
            self.q: list[np.ndarray] = []
            self.said: dict[str, str] = {}
            self.values: dict[str, dict[str, str]] = {}
            self.create_subscription(JointState, "joint_states", lambda m: self.q.append(np.array(m.position)), qos.NEWEST)
            self.create_subscription(DiagnosticArray, "/diagnostics", self._report, qos.DIAGNOSTICS)

        def _report(self, message: DiagnosticArray) -> None:
            for status in message.status:
                name = status.name.removeprefix("/")
                self.said[name], self.values[name] = status.message, {v.key: v.value for v in status.values}

        def wait(self, condition: Callable[[], bool], seconds: float) -> bool:
            """Spin until a condition holds; whether it did."""
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                rclpy.spin_once(self, timeout_sec=0.05)
                if condition():
                    return True
            return False

        def rest(self, seconds: float) -> None:
            """Spin for so long."""
            self.wait(lambda: False, seconds)

        def up(self, *nodes: str) -> bool:
            """Whether nodes report, and, where one moves an arm, its states come; waits for it."""
            moves = bool({"sim", "executor"} & set(nodes))
            return self.wait(lambda: set(nodes) <= self.said.keys() and (bool(self.q) or not moves), 120.0)

        def moved(self, seconds: float) -> float:
            """How far any joint moves in so long [rad]."""
            self.q.clear()
            self.rest(seconds)
            assert self.q, "joint states must go on coming"
            return float(np.ptp(np.array(self.q), axis=0).max())

    def pytest_collection_finish(session: pytest.Session) -> None:
        """What the nodes compile is compiled once, here, and not in each of them while they wait for each other; no test's time
        runs yet, for after an installation it takes minutes."""
        if session.config.option.collectonly or not session.items:
            return
        robot = load_robot("ur5e")
        TargetFollower(robot, robot.home, 0.002, surroundings(Scene((), ()), robot.T_world_base))
        LiveMapper(robot, LiveArm(LiveArmConfig(), robot.T_world_base))
        Cell(MujocoArm(robot, robot.home), robot, StreamConfig(), lambda state: None, SIMULATED).close()

    @pytest.fixture
    def watcher() -> Iterator[Watcher]:
        rclpy.init()
        node = Watcher()
        yield node
        node.destroy_node()
        rclpy.try_shutdown()

    @pytest.fixture
    def launched() -> Iterator[Callable[..., dict[str, Any]]]:
        """Starts a launch file's nodes; those that still run are stopped after the test, and must not need force."""
        started: list[dict[str, Any]] = []

        def launch(name: str, **arguments: str) -> dict[str, Any]:
            file = read_launch_file(asset_path(f"launch/{name}.launch.py"))
            started.append(up.start(file, file.resolved(arguments), up.workspace()))
            return started[-1]

        yield launch
        for nodes in started:
            running = [name for name, process in nodes.items() if process.poll() is None]
            up.stop(nodes)
            assert {name: nodes[name].returncode for name in running} == dict.fromkeys(running, 0), "no node was killed"
