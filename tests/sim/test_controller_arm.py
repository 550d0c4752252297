"""An arm behind a joint_trajectory_controller: fed a little at a time, stopped on its path, and by itself without targets."""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rest_to_rest import rest_to_rest
from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.arm import Arm
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.state import Safety
from visual_irl.execution.streaming import Cycle, Phase, StreamConfig, StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import World

ROOT = Path(__file__).parents[2]
PATIENT = StreamConfig(state_age=0.3, cycle_gap=0.3, command_age=5.0, settle=0.5)
"""The machine that tests run on may be busy."""


def module(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


ARM = module("controller_arm", ROOT / "ros2_ws/src/visual_irl_ros/visual_irl_ros/controller_arm.py")
FAKE = module("trajectory_controller", ROOT / "tests/fakes/trajectory_controller.py")


class Cell:
    """The fake controller, a hundred states a second from it, and what its reference was."""

    def __init__(self, batch: int) -> None:
        self.robot = load_robot("ur5e")
        self.controller = FAKE.Controller(self.robot.home)
        self.arm = ARM.ControllerArm(self.robot, lambda points: self.controller.take([tuple(p) for p in points]), batch)
        self.frozen, self.ended = False, False
        self.seen: list[np.ndarray] = []
        self._thread = threading.Thread(target=self._broadcast, daemon=True)
        self._thread.start()
        while self.arm.read().safety is not Safety.NORMAL:
            time.sleep(0.01)

    def _broadcast(self) -> None:
        while not self.ended:
            now, q, qd = self.controller.stamped()
            self.seen.append(np.array([now, *q, *qd]))
            names = self.robot.joint_names
            if not self.frozen:
                self.arm.hear(dict(zip(names, q, strict=True)), dict(zip(names, qd, strict=True)), 0.0)
            time.sleep(0.01)

    def approved(self) -> ApprovedTrajectory:
        """0.4 rad of the first joint in 1.5 s."""
        motion = rest_to_rest(self.robot, self.robot.home, self.robot.home + 0.4 * np.eye(6)[0], 1.5)
        return approve(motion, self.robot, self.arm.read(), World(), SIMULATED, now_ns=self.arm.now_ns())

    def speeds(self) -> tuple[np.ndarray, np.ndarray]:
        rows = np.array(self.seen)
        return rows[:, 0], rows[:, 7]


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> Iterator[Cell]:
    made = Cell(getattr(request, "param", 1))
    yield made
    made.ended = True


both = pytest.mark.parametrize("cell", [1, 6], ids=["topic", "action"], indirect=True)


def hardest(cell: Cell) -> float:
    """Peak acceleration of the first joint over its limit, over 50 ms."""
    t, qd = cell.speeds()
    a = np.abs(qd[5:] - qd[:-5]) / (t[5:] - t[:-5])
    return float(a.max() / cell.robot.acceleration[0])


@both
def test_a_motion_is_executed_through_the_controller(cell: Cell) -> None:
    assert isinstance(cell.arm, Arm)
    approved = cell.approved()
    report = StreamingExecutor(cell.arm, cell.robot, config=PATIENT).execute(approved)
    assert report.outcome == "executed" and report.tracking_rms < 0.01  # [rad]
    np.testing.assert_allclose(cell.controller.reference()[0], approved.trajectory.q[-1], atol=1e-6)
    assert hardest(cell) < 1.1


def test_a_cancel_decelerates_and_then_holds(cell: Cell) -> None:
    executor = StreamingExecutor(cell.arm, cell.robot, config=PATIENT)

    def stop(cycle: Cycle) -> None:
        if cycle.s > 0.6:
            executor.cancel()

    report = executor.execute(cell.approved(), stop)
    assert report.outcome == "cancelled" and 0.6 < report.details["s"] < 1.3
    rest, speed = cell.controller.reference()
    assert np.abs(speed).max() < 1e-3 and 0.05 < rest[0] - cell.robot.home[0] < 0.39
    assert hardest(cell) < 1.1


@both
def test_when_the_executor_dies_the_controller_brakes_by_what_it_has(cell: Cell) -> None:
    class Killed(BaseException):
        pass

    def die(cycle: Cycle) -> None:
        if cycle.s > 0.7:
            raise Killed

    approved = cell.approved()
    halt, cell.arm.halt = cell.arm.halt, lambda: None  # a process that is killed says nothing any more
    with pytest.raises(Killed):
        StreamingExecutor(cell.arm, cell.robot, config=PATIENT).execute(approved, die)
    time.sleep(1.0)
    rest, speed = cell.controller.reference()
    assert np.abs(speed).max() < 1e-3 and 0.05 < rest[0] - cell.robot.home[0] < 0.39 and hardest(cell) < 1.1
    cell.arm.halt = halt


def test_frozen_states_and_a_controller_that_gives_up_are_faults(cell: Cell) -> None:
    executor = StreamingExecutor(cell.arm, cell.robot, config=PATIENT)

    def freeze(cycle: Cycle) -> None:
        cell.frozen = cycle.s > 0.5

    report = executor.execute(cell.approved(), freeze)
    assert report.outcome == "fault" and "state is" in report.message and executor.phase is Phase.FAULT
    assert np.abs(cell.controller.reference()[1]).max() < 1e-3
    frozen_ns = cell.arm.read().stamp_ns
    cell.frozen = False
    while cell.arm.read().stamp_ns == frozen_ns:  # the reset wants a new state
        time.sleep(0.01)
    cell.arm.fail("the controller gave up (-4): path tolerance")
    with pytest.raises(RefusedTrajectory, match="robot fault"):
        executor.reset()
    cell.arm.recover()
    executor.reset()
    assert executor.phase is Phase.IDLE


def test_states_of_other_joints_are_no_state() -> None:
    robot = load_robot("ur5e")
    sent: list[Any] = []
    arm = ARM.ControllerArm(robot, sent.append)
    assert "no joint_states" in arm.read().message and not arm.read().safety.moving_allowed
    arm.hear({"elbow_joint": 0.0}, {"elbow_joint": 0.0}, 0.0)
    assert "say nothing of shoulder_pan_joint" in arm.read().message and not sent
    names = robot.joint_names
    arm.hear(dict.fromkeys(names, 0.1), dict.fromkeys(names, 0.0), 0.4)
    state = arm.read()
    assert state.safety is Safety.NORMAL and 0.39 < 1e-9 * (arm.now_ns() - state.stamp_ns) < 1.0  # it is as old as it says
