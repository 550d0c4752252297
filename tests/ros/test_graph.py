"""The real nodes on loopback: a recording moves the arm, malformed input does not, and it stops when a node dies."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="ROS is not here; `make test-ros` builds it from wheels and runs these")
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.action import ActionClient
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import Keypoints
from visual_irl_ros import convert, qos

from visual_irl.assets import asset_path
from visual_irl.evaluation import up
from visual_irl.evaluation.launch_file import read_launch_file
from visual_irl.io.artifacts import save_trajectory
from visual_irl.robots import load_robot
from visual_irl.types import JointTrajectory

RECORDING = str(asset_path("models/recordings/onion_sorting"))
STILL = 1e-3
"""Movement of a standing arm under its drives [rad]."""


@pytest.fixture
def watcher() -> Iterator[Node]:
    rclpy.init()
    node = Node("watcher")
    node.q, node.stopped = [], []  # type: ignore[attr-defined]
    node.create_subscription(JointState, "joint_states", lambda m: node.q.append(np.array(m.position)), qos.NEWEST)
    yield node
    node.destroy_node()
    rclpy.try_shutdown()


def wait(node: Node, condition: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.05)
        if condition():
            return True
    return False


def moved(node: Node, seconds: float) -> float:
    """How far any joint moves in so long [rad]."""
    node.q.clear()
    wait(node, lambda: False, seconds)
    assert node.q, "joint states must go on coming"
    return float(np.ptp(np.array(node.q), axis=0).max())


def launched(name: str, **arguments: str) -> dict:
    launch = read_launch_file(asset_path(f"launch/{name}.launch.py"))
    return up.start(launch, launch.resolved(arguments), up.workspace())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", ["perception", "mapper"])
def test_a_recording_moves_the_arm_and_it_stops_when_a_node_is_killed(watcher: Node, victim: str) -> None:
    nodes = launched("sim", source=RECORDING, loop="true")
    try:
        assert wait(watcher, lambda: bool(watcher.q), 120.0), "the simulation comes up"
        home = watcher.q[0]
        assert wait(watcher, lambda: np.abs(watcher.q[-1] - home).max() > 0.2, 90.0), "the person moves the arm"
        nodes[victim].send_signal(signal.SIGKILL)
        wait(watcher, lambda: False, 2.5)  # the target's age, then braking, on a loaded machine
        assert moved(watcher, 1.5) < STILL
        assert nodes["sim"].poll() is None
    finally:
        begin = time.monotonic()
        up.stop(nodes)
    assert nodes["sim"].returncode == 0
    assert time.monotonic() - begin < up.GRACE, "no node had to be killed"


@pytest.mark.timeout(180)
def test_malformed_input_moves_nothing_and_ends_no_node(watcher: Node) -> None:
    nodes = launched("sim")
    try:
        targets = watcher.create_publisher(JointTrajectoryMsg, "mapper/joint_target", qos.COMMAND)
        keypoints = watcher.create_publisher(Keypoints, "perception/keypoints", qos.NEWEST)
        assert wait(watcher, lambda: bool(watcher.q) and keypoints.get_subscription_count() > 0, 120.0)
        robot, rng = load_robot("ur5e"), np.random.default_rng(0)
        bad = [np.full(6, np.nan), np.full(6, 1e300), np.full(6, np.inf), np.zeros(3), np.zeros(40)]
        watcher.q.clear()
        for k in range(60):
            q = bad[k % len(bad)]
            message = convert.target_to_msg(robot.joint_names, q, watcher.get_clock().now().nanoseconds)
            if k % 3 == 0:
                message.points = []
            if k % 7 == 0:  # sound but an hour old
                message = convert.target_to_msg(robot.joint_names, robot.home + 0.3, time.time_ns() - 3600 * 10**9)
            targets.publish(message)
            n = int(rng.integers(0, 60))
            junk = Keypoints(names=["x"] * n, positions=rng.normal(size=3 * n).tolist(), confidences=[np.nan] * n)
            junk.header = convert.header(time.time_ns(), "world" if k % 2 else "elsewhere")
            keypoints.publish(junk)
            wait(watcher, lambda: False, 0.02)
        assert float(np.ptp(np.array(watcher.q), axis=0).max()) < STILL
        assert all(process.poll() is None for process in nodes.values())
        wait(watcher, lambda: False, 0.2)
        for _ in range(30):  # the same door lets a sound target in
            targets.publish(convert.target_to_msg(robot.joint_names, robot.home + 0.1, time.time_ns()))
            wait(watcher, lambda: False, 0.05)
        assert np.abs(watcher.q[-1] - robot.home).max() > 0.05
    finally:
        up.stop(nodes)


def swing(path: Path, seconds: float) -> JointTrajectory:
    robot = load_robot("ur5e")
    t = np.linspace(0.0, seconds, round(50 * seconds) + 1)
    s = (t / seconds)[:, None]
    way = 0.4 * np.eye(6)[0]
    q = robot.home + (10 * s**3 - 15 * s**4 + 6 * s**5) * way
    qd = (30 * s**2 - 60 * s**3 + 30 * s**4) / seconds * way
    motion = JointTrajectory(robot.joint_names, t, q, qd, np.zeros(len(t)))
    save_trajectory(path, motion, {"robot": "ur5e", "task": ""})
    return motion


def run_skill(node: Node, client: ActionClient, skill: str) -> object:
    assert client.wait_for_server(60.0)
    sent = client.send_goal_async(RunSkill.Goal(skill=skill))
    assert wait(node, sent.done, 20.0)
    assert sent.result().accepted
    return sent.result()


def offered(node: Node) -> list[str]:
    """What the executor says about the motion it has."""
    found: list[str] = []

    def report(message: DiagnosticArray) -> None:
        for status in message.status:
            found.extend(value.value for value in status.values if value.key == "motion of skill")

    node.create_subscription(DiagnosticArray, "/diagnostics", report, qos.DIAGNOSTICS)
    return found


def result_of(node: Node, goal: object) -> RunSkill.Result:
    future = goal.get_result_async()  # type: ignore[attr-defined]
    assert wait(node, future.done, 60.0)
    return future.result().result


@pytest.mark.timeout(240)
def test_a_skill_runs_is_cancelled_and_is_refused(watcher: Node, tmp_path: Path) -> None:
    motion = swing(tmp_path / "swing.npz", 5.0)
    nodes = launched("robot", trajectory=str(tmp_path / "swing.npz"))
    client = ActionClient(watcher, RunSkill, "executor/run_skill")
    offers = offered(watcher)
    try:
        assert wait(watcher, lambda: "swing" in offers and bool(watcher.q), 120.0), "the executor has the motion"
        other = result_of(watcher, run_skill(watcher, client, "other"))
        assert other.error_code == RunSkill.Result.NO_MOTION
        assert "swing" in other.error_text
        goal = run_skill(watcher, client, "swing")
        assert wait(watcher, lambda: watcher.q[-1][0] - motion.q[0, 0] > 0.05, 30.0)
        nodes["skill"].send_signal(signal.SIGKILL)  # the motion was approved as a whole: the executor needs nobody
        cancelled = goal.cancel_goal_async()  # type: ignore[attr-defined]
        assert wait(watcher, cancelled.done, 10.0)
        result = result_of(watcher, goal)
        assert result.error_code == RunSkill.Result.CANCELLED
        assert 0.05 < result.positions[0] - motion.q[0, 0] < 0.39, "it stopped on the way"
        assert moved(watcher, 1.0) < STILL
        again = result_of(watcher, run_skill(watcher, client, "swing"))
        assert again.error_code == RunSkill.Result.REFUSED, "the arm is no longer where the motion begins"
    finally:
        up.stop(nodes)
    assert nodes["executor"].returncode == 0


@pytest.mark.timeout(240)
def test_a_skill_runs_to_its_end(watcher: Node, tmp_path: Path) -> None:
    motion = swing(tmp_path / "swing.npz", 3.0)
    nodes = launched("robot", trajectory=str(tmp_path / "swing.npz"))
    client = ActionClient(watcher, RunSkill, "executor/run_skill")
    offers = offered(watcher)
    try:
        assert wait(watcher, lambda: "swing" in offers and bool(watcher.q), 120.0), "the executor has the motion"
        result = result_of(watcher, run_skill(watcher, client, "swing"))
        assert result.error_code == RunSkill.Result.SUCCESS, result.error_text
        wait(watcher, lambda: False, 0.3)
        np.testing.assert_allclose(watcher.q[-1], motion.q[-1], atol=0.01)  # what the drives leave under gravity
    finally:
        up.stop(nodes)
