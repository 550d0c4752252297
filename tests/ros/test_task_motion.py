"""A task through the nodes: among the things that it was made for, under a guard that knows them, with fingers and a log."""

from __future__ import annotations

import dataclasses
import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rest_to_rest import rest_to_rest

rclpy = pytest.importorskip("rclpy", reason="ROS is not here; `make test-ros` builds it from wheels and runs these")
from rclpy.action import ActionClient
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import RobotMotion
from visual_irl_ros import convert, qos
from visual_irl_ros.cell import Cell
from visual_irl_ros.controller_arm import ControllerArm

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.errors import RefusedTrajectory, RobotUnreachable
from visual_irl.execution.guard import SIMULATED
from visual_irl.execution.journal import last_outcome, read_journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.robotiq import RobotiqGripper
from visual_irl.execution.streaming import StreamConfig
from visual_irl.io import artifacts
from visual_irl.robots import load_robot
from visual_irl.tasks.mapped_motion import MappedMotion, read_mapped_motion
from visual_irl.verbs import stages
from visual_irl.verbs.map_stage import map_arm
from visual_irl.verbs.run_plan import seal_of

UR5E = load_robot("ur5e")
FAKES, ADDRESS = Path(__file__).parents[1] / "fakes", "127.0.31.9"
TRUTH = asset_path("models/recordings/onion_sorting/truth.npz")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a skill and its trajectory for one onion."""
    folder = tmp_path_factory.mktemp("made")
    stages.learn((TRUTH,), folder / "skill", "max_ent")
    demo = artifacts.load_demonstration(TRUTH)
    first = {"onion_0": demo.objects["onion_0"]}
    held = tuple(name if name in first else "" for name in demo.held)
    artifacts.save_demonstration(folder / "one.npz", dataclasses.replace(demo, objects=first, held=held))
    map_arm("ur5e", folder / "sort.npz", demonstration=folder / "one.npz", skill=folder / "skill")
    return folder


@pytest.mark.timeout(300)
def test_an_onion_is_sorted_through_the_nodes_and_all_of_it_is_logged(
    watcher: Any, launched: Callable, made: Path, tmp_path: Path
) -> None:
    offers: list[RobotMotion] = []
    watcher.create_subscription(RobotMotion, "motion", offers.append, qos.OFFER)
    given = {"trajectory": str(made / "sort.npz"), "skill": str(made / "skill"), "planner": "ompl", "log": str(tmp_path)}
    launched("robot", **given)
    assert watcher.up("executor")
    assert watcher.wait(lambda: watcher.values["executor"]["motion of skill"] == "sort", 90.0)
    assert watcher.values["executor"]["gripper"] == "simulated"
    client = ActionClient(watcher, RunSkill, "executor/run_skill")
    assert client.wait_for_server(60.0)
    sent = client.send_goal_async(RunSkill.Goal(skill="sort"))
    assert watcher.wait(sent.done, 20.0) and sent.result().accepted
    told = sent.result().get_result_async()
    assert watcher.wait(told.done, 120.0)
    result = told.result().result
    assert result.error_code == RunSkill.Result.SUCCESS, result.error_text
    assert (result.succeeded, result.of) == (1, 1), "read from the physics"
    assert convert.said_of_result("sort", result).endswith("1 of 1 things as they should be, by the physics")
    log = Path(watcher.values["executor"]["log"])
    assert log.parent == tmp_path and last_outcome(log) == ("executed", "as approved")
    seal = seal_of(made / "skill", made / "sort.npz")
    (offer,) = [row for row in read_journal(log) if row.get("what") == "offer"]
    assert (offer["digest"], offer["task"]) == (seal.found, "onion_sorting")
    message, mapped = offers[-1], read_mapped_motion(made / "sort.npz")
    there = convert.motion_of_msg(message, UR5E)
    later = there.trajectory.t[-1] - mapped.trajectory.t[-1]
    assert later > 0.5 and abs(there.approach - later) < 1e-6, "a way to the start was put in front"
    for now, before in zip(there.held, mapped.held, strict=True):
        assert now.carried == before.carried
        np.testing.assert_allclose([now.begin, now.end], [before.begin + later, before.end + later], atol=1e-6)


def test_the_guard_knows_what_the_motion_was_made_for_and_the_fingers_hold_it(made: Path) -> None:
    motion = read_mapped_motion(made / "sort.npz")
    states: list[np.ndarray] = []
    arm = MujocoArm(UR5E, motion.trajectory.q[0])
    cell = Cell(arm, UR5E, StreamConfig(), lambda state: states.append(state.q), SIMULATED)
    try:
        bins = motion.fixtures
        onto = dict.fromkeys(bins, se3.transform(np.eye(3), motion.things["onion_0"].p_world + [0.0, 0.0, 0.1]))
        with pytest.raises(RefusedTrajectory, match="bin"):
            cell.run(dataclasses.replace(motion, fixtures=onto), lambda: False, lambda s: None)
        assert cell.arm is arm, "nothing was put around the arm for what was refused"
        q, onion = motion.trajectory.q, motion.things["onion_0"].p_world
        base = motion.T_world_base
        at_onion = min(q, key=lambda row: np.linalg.norm((base @ UR5E.fk(row))[:3, 3] - onion))
        into = rest_to_rest(UR5E, q[0], at_onion, 4.0, opening=0.08)
        cell.approve(dataclasses.replace(motion, trajectory=into, held=()))
        with pytest.raises(RefusedTrajectory, match="onion_0"):
            cell.approve(dataclasses.replace(motion, trajectory=into, held=(), approach=4.0))
        report = cell.run(motion, lambda: len(states) > 4000, lambda s: None)
        assert report.outcome == "cancelled" and "succeeded" not in report.details
        now = cell.arm
        assert isinstance(now, MujocoArm) and now is not arm and now.now_ns() > arm.now_ns()
        assert np.abs(np.diff(np.array(states), axis=0)).max() < 0.02, "the arm stays where it is when its world changes"
    finally:
        cell.close()


@pytest.fixture
def urcap() -> Iterator[subprocess.Popen[str]]:
    """A Robotiq's URCap, something between its fingers."""
    line = [sys.executable, str(FAKES / "robotiq_server.py"), ADDRESS]
    server = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert server.stdin and server.stdout and server.stdout.readline() == "ready\n"
    server.stdin.write("thing 120\n")
    server.stdin.flush()
    yield server
    server.kill()
    server.communicate()


def test_a_real_gripper_is_made_ready_after_the_guards_word_and_grasps(urcap: subprocess.Popen[str]) -> None:
    spec = importlib.util.spec_from_file_location("trajectory_controller", FAKES / "trajectory_controller.py")
    assert spec and spec.loader
    fake = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fake)
    controller, ended = fake.Controller(UR5E.home), threading.Event()
    arm = ControllerArm(UR5E, lambda points: controller.take([tuple(p) for p in points]))

    def broadcast() -> None:
        while not ended.wait(0.01):
            arm.hear(*(dict(zip(UR5E.joint_names, values, strict=True)) for values in controller.reference()), 0.0)

    threading.Thread(target=broadcast, daemon=True).start()
    gripper = RobotiqGripper.connect(UR5E, ADDRESS)
    patient = StreamConfig(state_age=0.3, cycle_gap=0.3, command_age=5.0, settle=0.5)
    cell = Cell(arm, UR5E, patient, lambda state: None, SIMULATED, gripper)
    way = rest_to_rest(UR5E, UR5E.home, UR5E.home + 0.1 * np.eye(6)[0], 2.0, opening=0.08)
    way = dataclasses.replace(way, opening=np.interp(way.t, [0.0, 0.5, 1.0], [0.08, 0.08, 0.0]))
    motion = MappedMotion(way, UR5E, UR5E.T_world_base)
    try:
        elsewhere = dataclasses.replace(way, q=way.q + 0.5)
        with pytest.raises(RefusedTrajectory):
            cell.run(dataclasses.replace(motion, trajectory=elsewhere), lambda: False, lambda s: None)
        assert gripper._ask("GET STA") == 0, "what is refused makes no finger move"
        report = cell.run(motion, lambda: False, lambda s: None)
        assert report.outcome == "executed" and report.details["grasps"] == [True]
        assert convert.report_to_msg(report).grasps == [True]
        urcap.kill()
        here = dataclasses.replace(way, q=way.q - way.q[0] + arm.read().q)
        with pytest.raises(RobotUnreachable):
            cell.run(dataclasses.replace(motion, trajectory=here), lambda: False, lambda s: None)
    finally:
        cell.close()
        ended.set()
