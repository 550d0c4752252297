"""The real nodes on loopback: a recording moves the arm, skills run, and the arm stops when any node dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterValue
from rcl_interfaces.srv import DescribeParameters, SetParameters
from rclpy.action import ActionClient
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg
from visual_irl_msgs.action import RunSkill
from visual_irl_ros import convert, qos
from visual_irl_ros.priority import prompt

from rest_to_rest import rest_to_rest
from visual_irl.assets import asset_path
from visual_irl.io.artifacts import save_trajectory
from visual_irl.robots import load_robot
from visual_irl.types import JointTrajectory
from visual_irl.verbs import up

RECORDING = str(asset_path("models/recordings/onion_sorting"))
STILL = 1e-3
"""Movement of a standing arm under its drives [rad]."""
CHANGE = "executor/change_state"
NODES = {"sim": ("perception", "mapper", "sim"), "robot": ("skill", "executor"), "record": ("recorder",)}


def prompt_threads(process: Any) -> set[str]:
    """Names of a node's threads that run before ordinary ones."""
    tasks = Path(f"/proc/{process.pid}/task").iterdir()
    return {(t / "comm").read_text().strip() for t in tasks if os.sched_getscheduler(int(t.name)) == os.SCHED_RR}


def shares_memory(process: Any) -> bool:
    """Whether Fast DDS's thread for shared memory runs in a node."""
    names = [(task / "comm").read_text() for task in Path(f"/proc/{process.pid}/task").iterdir()]
    assert any(name.startswith("dds.udp") for name in names), names
    return any(name.startswith("dds.shm") for name in names)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("victim", NODES["sim"])
def test_a_recording_moves_the_arm_and_it_stops_when_a_node_is_killed(watcher: Any, launched: Callable, victim: str) -> None:
    nodes = launched("sim", source=RECORDING, loop="true")
    targets: list[Any] = []
    watcher.create_subscription(JointTrajectoryMsg, "mapper/joint_target", targets.append, qos.COMMAND)
    assert watcher.up("sim"), "the simulation comes up"
    assert not shares_memory(nodes["mapper"]) and not shares_memory(nodes["sim"]), "what a killed process could leave locked"
    home = watcher.q[0]
    assert watcher.wait(lambda: np.abs(watcher.q[-1] - home).max() > 0.2, 120.0), "the person moves the arm"
    with prompt() as granted:
        for name in ("mapper", "sim"):
            of_middleware = {n.startswith("dds.") for n in prompt_threads(nodes[name])}
            assert not granted or of_middleware == {True, False}, "the middleware's threads, and who waits for them"
    nodes[victim].send_signal(signal.SIGKILL)
    watcher.rest(2.0)  # the target's age, then braking, on a loaded machine
    if victim == "sim":  # the arm was in it
        assert watcher.wait(lambda: watcher.said["mapper"].startswith("no joint states"), 10.0)
        targets.clear()
        watcher.rest(1.0)
        assert not targets, "nothing is asked of an arm that is not heard"
        return
    assert watcher.moved(1.5) < STILL
    assert watcher.wait(lambda: watcher.said["sim"] == "no live target: the arm stands", 10.0)
    if victim == "perception":
        assert watcher.wait(lambda: watcher.said["mapper"].startswith("no keypoints"), 10.0)


@pytest.mark.timeout(300)
def test_the_whole_graph_keeps_the_simulations_time(watcher: Any, launched: Callable) -> None:
    nodes = launched("sim", source=RECORDING, loop="true", use_sim_time="true")
    clock, targets, states = [], [], []
    watcher.create_subscription(Clock, "/clock", lambda m: clock.append(convert.stamp_of_msg(m.clock)), qos.CLOCK)
    for kind, topic, stamps in ((JointTrajectoryMsg, "mapper/joint_target", targets), (JointState, "joint_states", states)):
        take = partial(lambda into, m: into.append(convert.stamp_of_msg(m.header.stamp)), stamps)
        watcher.create_subscription(kind, topic, take, qos.COMMAND if stamps is targets else qos.NEWEST)
    assert watcher.up("sim")
    home = watcher.q[0]
    assert watcher.wait(lambda: np.abs(watcher.q[-1] - home).max() > 0.2, 120.0), "the person moves the arm"
    assert clock == sorted(clock) and 0 < clock[-1] < 10**12, "time began with the simulation"
    assert targets == sorted(set(targets))
    assert 0 < max(targets) < 10**12 and 0 < max(states) < 10**12, "stamps are of that time"
    nodes["sim"].send_signal(signal.SIGKILL)
    watcher.rest(1.0)
    targets.clear()
    watcher.rest(1.0)
    assert not targets, "time stands: no picture is newer than the last"


@pytest.mark.timeout(180)
def test_pictures_that_cease_are_told_and_the_arm_stands(watcher: Any, launched: Callable) -> None:
    launched("sim", source=RECORDING)
    assert watcher.up("sim", "perception", "mapper")
    assert watcher.wait(lambda: watcher.said["perception"] == "no pictures come", 120.0), "the recording ends"
    assert watcher.wait(lambda: watcher.said["mapper"].startswith("no keypoints"), 20.0)
    assert watcher.moved(1.0) < STILL
    counts = watcher.values["perception"]
    assert int(counts["received"]) == int(counts["skipped"]) + int(counts["published"]), "every picture is accounted for"


def swing(path: Path, seconds: float, away: float = 0.0) -> JointTrajectory:
    """A motion that begins at home, or with the first joint so far from there [rad]."""
    robot = load_robot("ur5e")
    start = robot.home + away * np.eye(6)[0]
    motion = rest_to_rest(robot, start, start + 0.4 * np.eye(6)[0], seconds)
    save_trajectory(path, motion, {"robot": "ur5e", "task": ""})
    return motion


def run_skill(node: Any, client: ActionClient, skill: str) -> Any:
    assert client.wait_for_server(60.0)
    sent = client.send_goal_async(RunSkill.Goal(skill=skill))
    assert node.wait(sent.done, 20.0)
    assert sent.result().accepted
    return sent.result()


def result_of(node: Any, goal: Any) -> RunSkill.Result:
    future = goal.get_result_async()
    assert node.wait(future.done, 60.0)
    return future.result().result


def has_motion(node: Any) -> bool:
    return node.up("executor") and node.wait(lambda: node.values["executor"]["motion of skill"] == "swing", 60.0)


@pytest.mark.timeout(240)
def test_a_skill_runs_is_cancelled_and_is_refused(watcher: Any, launched: Callable, tmp_path: Path) -> None:
    motion = swing(tmp_path / "swing.npz", 5.0)
    launched("robot", trajectory=str(tmp_path / "swing.npz"))
    client = ActionClient(watcher, RunSkill, "executor/run_skill")
    assert has_motion(watcher)
    other = result_of(watcher, run_skill(watcher, client, "other"))
    assert other.error_code == RunSkill.Result.NO_MOTION
    assert "swing" in other.error_text
    goal = run_skill(watcher, client, "swing")
    assert watcher.wait(lambda: watcher.q[-1][0] - motion.q[0, 0] > 0.05, 30.0)
    second = client.send_goal_async(RunSkill.Goal(skill="swing"))
    assert watcher.wait(second.done, 10.0)
    assert not second.result().accepted, "one motion at a time"
    assert watcher.wait(goal.cancel_goal_async().done, 10.0)
    result = result_of(watcher, goal)
    assert result.error_code == RunSkill.Result.CANCELLED
    assert 0.05 < result.positions[0] - motion.q[0, 0] < 0.39, "it stopped on the way"
    assert watcher.moved(1.0) < STILL
    again = result_of(watcher, run_skill(watcher, client, "swing"))
    assert again.error_code == RunSkill.Result.REFUSED, "the arm is no longer where the motion begins"


@pytest.mark.timeout(240)
def test_goals_and_cancels_at_any_time_and_a_node_that_is_taken_down_in_mid_motion(
    watcher: Any, launched: Callable, tmp_path: Path
) -> None:
    swing(tmp_path / "swing.npz", 2.0)
    nodes = launched("robot", trajectory=str(tmp_path / "swing.npz"))
    client, lifecycle = ActionClient(watcher, RunSkill, "executor/run_skill"), watcher.create_client(ChangeState, CHANGE)
    assert has_motion(watcher) and lifecycle.wait_for_service(20.0)

    def asked(*transitions: int) -> None:
        for transition in transitions:
            done = lifecycle.call_async(ChangeState.Request(transition=Transition(id=transition)))
            assert watcher.wait(done.done, 20.0) and done.result().success

    for pause in (0.0, 0.001, 0.02, 0.1, 0.3):
        sent = [client.send_goal_async(RunSkill.Goal(skill="swing")) for _ in range(3)]
        assert watcher.wait(lambda sent=sent: all(s.done() for s in sent), 30.0)
        goals = [s.result() for s in sent if s.result().accepted]
        assert len(goals) == 1, "one motion at a time"
        watcher.rest(pause)
        goals[0].cancel_goal_async()
        assert result_of(watcher, goals[0]).error_code == RunSkill.Result.CANCELLED
    for _ in range(2):
        goal = run_skill(watcher, client, "swing")
        watcher.rest(0.1)
        asked(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
        assert result_of(watcher, goal).error_code == RunSkill.Result.CANCELLED
        rejected = client.send_goal_async(RunSkill.Goal(skill="swing"))
        assert watcher.wait(rejected.done, 20.0) and not rejected.result().accepted
        asked(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    second = launched("robot", trajectory=str(tmp_path / "swing.npz"))["executor"]
    told = "other nodes of this name"
    assert watcher.wait(lambda: told in watcher.values["executor"], 60.0), "two of a name are told"
    second.send_signal(signal.SIGTERM)
    assert second.wait(10.0) == 0 and nodes["executor"].poll() is None
    result = result_of(watcher, run_skill(watcher, client, "swing"))
    assert result.error_code == RunSkill.Result.SUCCESS, result.error_text


@pytest.mark.timeout(240)
def test_a_skill_runs_to_its_end_and_not_without_the_node_that_offers_it(
    watcher: Any, launched: Callable, tmp_path: Path
) -> None:
    motion = swing(tmp_path / "swing.npz", 4.0)
    nodes = launched("robot", trajectory=str(tmp_path / "swing.npz"))
    client = ActionClient(watcher, RunSkill, "executor/run_skill")
    assert has_motion(watcher)
    result = result_of(watcher, run_skill(watcher, client, "swing"))
    assert result.error_code == RunSkill.Result.SUCCESS, result.error_text
    watcher.rest(0.3)
    np.testing.assert_allclose(watcher.q[-1], motion.q[-1], atol=0.01)  # what the drives leave under gravity
    assert np.isfinite(result.tracking_rms)
    nodes["skill"].send_signal(signal.SIGKILL)
    assert watcher.wait(lambda: watcher.values["executor"]["motion of skill"] == "none", 20.0)
    gone = result_of(watcher, run_skill(watcher, client, "swing"))
    assert gone.error_code == RunSkill.Result.NO_MOTION


@pytest.mark.timeout(240)
def test_a_skill_that_begins_elsewhere_is_approached_by_a_planned_way(watcher: Any, launched: Callable, tmp_path: Path) -> None:
    motion = swing(tmp_path / "swing.npz", 3.0, away=-0.8)
    launched("robot", trajectory=str(tmp_path / "swing.npz"), planner="ompl")
    assert has_motion(watcher)
    result = result_of(watcher, run_skill(watcher, ActionClient(watcher, RunSkill, "executor/run_skill"), "swing"))
    assert result.error_code == RunSkill.Result.SUCCESS, result.error_text
    np.testing.assert_allclose(result.positions, motion.q[-1], atol=0.01)  # what the drives leave under gravity


@pytest.mark.timeout(240)
@pytest.mark.parametrize("victim", NODES["robot"])
def test_a_skill_stops_when_a_node_is_killed(watcher: Any, launched: Callable, tmp_path: Path, victim: str) -> None:
    motion = swing(tmp_path / "swing.npz", 12.0)
    nodes = launched("robot", trajectory=str(tmp_path / "swing.npz"))
    assert has_motion(watcher)
    assert not any(map(shares_memory, nodes.values()))
    goal = run_skill(watcher, ActionClient(watcher, RunSkill, "executor/run_skill"), "swing")
    assert watcher.wait(lambda: watcher.q[-1][0] - motion.q[0, 0] > 0.02, 30.0)
    nodes[victim].send_signal(signal.SIGKILL)
    if victim == "executor":  # the arm was in it
        watcher.rest(0.5)
        watcher.q.clear()
        watcher.rest(0.5)
        assert not watcher.q
        return
    result = result_of(watcher, goal)
    assert result.error_code == RunSkill.Result.CANCELLED
    assert "gone" in result.error_text
    assert result.positions[0] - motion.q[0, 0] < 0.39, "it stopped on the way"
    assert watcher.moved(1.0) < STILL


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP])
def test_up_leaves_no_node_behind_when_it_is_ended(watcher: Any, how: signal.Signals) -> None:
    process = subprocess.Popen([sys.executable, "-m", "visual_irl", "up", "record"])
    assert watcher.up("recorder")
    nodes = [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
    process.send_signal(how)
    process.wait(20.0)
    assert len(nodes) == 1 and not Path(f"/proc/{nodes[0]}").exists()


@pytest.mark.timeout(120)
def test_up_runs_a_motion_and_stops_everything_together(watcher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    motion = swing(tmp_path / "swing.npz", 4.0)
    started: dict[str, Any] = {}

    def start(*arguments: Any) -> dict[str, Any]:
        started.update(begin(*arguments))
        return started

    begin, codes = up.start, []
    monkeypatch.setattr(up, "start", start)
    given = (f"trajectory:={tmp_path / 'swing.npz'}", "run:=true")
    thread = threading.Thread(target=lambda: codes.append(up.up("robot", given)))
    thread.start()
    assert watcher.up("skill", "executor")
    assert watcher.wait(lambda: np.abs(watcher.q[-1] - motion.q[-1]).max() < 0.01, 30.0)
    started["skill"].send_signal(signal.SIGKILL)
    thread.join(30.0)
    assert codes == [-signal.SIGKILL]
    assert started["executor"].returncode == 0


@pytest.mark.timeout(120)
def test_a_node_lives_where_it_is_put(watcher: Any) -> None:
    ros = up.workspace()
    given = ["-r", "__ns:=/left", "-r", "joint_target:=/right/target"]
    line = [str(up.program(ros, "visual_irl_ros", "sim")), "--ros-args", *given]
    process = subprocess.Popen(line, env=up.environment(ros), start_new_session=True)
    try:
        assert watcher.wait(lambda: "left/sim" in watcher.said, 90.0)
        told = {name for name, _ in watcher.get_publisher_names_and_types_by_node("sim", "/left")}
        heard = {name for name, _ in watcher.get_subscriber_names_and_types_by_node("sim", "/left")}
        assert "/left/joint_states" in told and "/joint_states" not in told
        assert "/right/target" in heard
    finally:
        process.terminate()
        assert process.wait(up.GRACE) == 0


@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", NODES)
def test_every_node_ends_by_itself_when_told(watcher: Any, launched: Callable, tmp_path: Path, name: str) -> None:
    swing(tmp_path / "swing.npz", 4.0)
    given = {"sim": {"source": RECORDING, "loop": "true"}, "robot": {"trajectory": str(tmp_path / "swing.npz")}, "record": {}}
    for told in (signal.SIGINT, signal.SIGTERM):
        nodes = launched(name, **given[name])
        watcher.said.clear()
        watcher.q.clear()
        assert watcher.up(*NODES[name])
        for process in nodes.values():
            process.send_signal(told)
        end = time.monotonic() + up.GRACE
        codes = {node: process.wait(max(0.1, end - time.monotonic())) for node, process in nodes.items()}
        assert set(codes.values()) == {0}, codes


@pytest.mark.timeout(120)
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_node_that_compiles_ends_when_told(tmp_path: Path, told: signal.Signals) -> None:
    ros = up.workspace()
    new = {**up.environment(ros), "NUMBA_CACHE_DIR": str(tmp_path / "new")}
    line = [str(up.program(ros, "visual_irl_ros", "mapper"))]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(line, env=new, stdout=said, stderr=said, start_new_session=True)
    end = time.monotonic() + 90.0
    while time.monotonic() < end and not list((tmp_path / "new").rglob("*.nbi")):
        time.sleep(0.05)
    process.send_signal(told)  # the first function is compiled, some hundred are not
    assert process.wait(up.GRACE) == 0
    text = (tmp_path / "said").read_text()
    assert "loading" in text and "Traceback" not in text


@pytest.mark.timeout(60)
def test_a_parameter_of_another_type_is_named() -> None:
    ros = up.workspace()
    line = [str(up.program(ros, "visual_irl_ros", "mapper")), "--ros-args", "-p", "input_timeout:=often"]
    done = subprocess.run(line, env=up.environment(ros), capture_output=True, text=True, timeout=50)
    assert done.returncode == 1 and "error:" in done.stderr and "input_timeout" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(120)
def test_parameters_are_described_and_changed_only_where_that_is_safe(watcher: Any, launched: Callable) -> None:
    launched("sim")
    assert watcher.up("sim", "perception")

    def described(node: str, *names: str) -> list[Any]:
        client = watcher.create_client(DescribeParameters, f"{node}/describe_parameters")
        assert client.wait_for_service(20.0)
        asked = client.call_async(DescribeParameters.Request(names=names))
        assert watcher.wait(asked.done, 10.0)
        return list(asked.result().descriptors)

    def changed(node: str, name: str, value: float | str) -> Any:
        client = watcher.create_client(SetParameters, f"{node}/set_parameters")
        assert client.wait_for_service(20.0)
        text = isinstance(value, str)
        told = ParameterValue(type=4, string_value=value) if text else ParameterValue(type=3, double_value=value)
        done = client.call_async(SetParameters.Request(parameters=[Parameter(name=name, value=told)]))
        assert watcher.wait(done.done, 10.0)
        return done.result().results[0]

    age, robot = described("sim", "target_age", "robot")
    assert "[s]" in age.description
    assert age.floating_point_range[0].to_value == pytest.approx(2.0)
    assert robot.read_only
    patience, reach = described("perception", "smoothing.patience", "hands.reach")
    assert "[s]" in patience.description and patience.floating_point_range[0].to_value == pytest.approx(10.0)
    assert "grasp centre" in reach.description
    assert changed("perception", "smoothing.patience", 0.5).successful
    assert changed("perception", "hands.reach", 0.1).successful
    assert "gate" in changed("perception", "smoothing.gate", -1.0).reason
    assert "restart" in changed("perception", "keypoints.detector", "torch").reason
    refused = changed("sim", "speed_share", 2.0)
    assert not refused.successful and refused.reason
    assert not changed("sim", "speed_share", float("nan")).successful
    assert changed("sim", "speed_share", 0.2).successful, "the arm stands"
    out = watcher.create_publisher(JointTrajectoryMsg, "mapper/joint_target", qos.COMMAND)
    assert watcher.wait(lambda: out.get_subscription_count() > 0, 20.0)
    ur5e = load_robot("ur5e")
    for _ in range(20):
        out.publish(convert.target_to_msg(ur5e.joint_names, ur5e.home + 0.3, time.time_ns()))
        watcher.rest(0.05)
    moving = changed("sim", "speed_share", 1.0)
    assert not moving.successful and "stands" in moving.reason
