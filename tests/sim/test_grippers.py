"""Grippers: a Robotiq against a fake URCap in its own process, and what an executor tells a gripper that only takes goals."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest

from told_process import ToldProcess, told_process
from visual_irl.errors import InvalidInput, RobotUnreachable
from visual_irl.execution.arm import Gripper
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.hardware import HardwareGripper
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.robotiq import RobotiqGripper
from visual_irl.execution.streaming import Cycle, StreamingExecutor, movements
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

ADDRESS = "127.0.31.4"


@pytest.fixture(scope="module")
def server() -> Iterator[ToldProcess]:
    """The fake URCap."""
    with told_process("robotiq_server.py", ADDRESS) as made:
        yield made


@pytest.fixture
def gripper(server: ToldProcess) -> Iterator[RobotiqGripper]:
    made = RobotiqGripper.connect(load_robot("ur5e"), ADDRESS)
    made.prepare()
    yield made
    made.disconnect()


def test_a_robotiq_opens_closes_with_force_and_tells_a_grasp(server: ToldProcess, gripper: RobotiqGripper) -> None:
    assert isinstance(gripper, HardwareGripper)
    widest = load_robot("ur5e").max_opening
    gripper.move(widest)
    gripper.wait()
    assert gripper.opening == pytest.approx(widest) and not gripper.grasped and not gripper.busy
    gripper.close(60.0)
    assert gripper.busy
    gripper.wait()
    assert gripper.opening == pytest.approx(0.0, abs=1e-6) and not gripper.grasped  # closed around nothing
    assert "FOR 47" in server.tell("asked")  # (60 - 20) / (235 - 20) of 255
    gripper.move(0.06)
    gripper.wait()
    assert gripper.opening == pytest.approx(0.06, abs=5e-4) and not gripper.grasped
    server.tell("thing 120")
    gripper.close(60.0)
    gripper.wait()
    assert gripper.grasped and gripper.opening == pytest.approx(widest * 110 / 227, abs=1e-3)
    server.tell("free")
    with pytest.raises(InvalidInput, match="opens from 0"):
        gripper.move(0.3)
    with pytest.raises(InvalidInput, match="presses with up to"):
        gripper.close(1e4)


def test_movements_of_a_trajectory() -> None:
    t = np.linspace(0.0, 4.0, 401)
    opening = np.interp(t, [0, 1, 1.3, 2.5, 2.7, 4], [0.08, 0.08, 0.0, 0.0, 0.05, 0.05])
    robot = load_robot("panda")
    q = np.tile(robot.home, (401, 1))
    rows = movements(JointTrajectory(robot.joint_names, t, q, 0 * q, opening))
    assert [(row.opening, row.closes) for row in rows] == [(0.08, False), (0.0, True), (0.05, False)]
    np.testing.assert_allclose([row.begin for row in rows], [0.0, 1.0, 2.5], atol=0.011)
    np.testing.assert_allclose([row.end for row in rows], [0.0, 1.3, 2.7], atol=0.011)


class Slow:
    """A gripper that needs `needs` cycles for everything, and is lost when told."""

    follows = False

    def __init__(self, needs: int) -> None:
        self.needs, self.left, self.orders, self.lost = needs, 0, list[str](), False
        self.opening = 0.04

    @property
    def busy(self) -> bool:
        if self.lost:
            raise RobotUnreachable("the line is cut")
        self.left = max(self.left - 1, 0)
        return self.left > 0

    @property
    def grasped(self) -> bool:
        return True

    def move(self, opening: float) -> None:
        self.orders.append(f"move {opening:.2f}")
        self.left = self.needs

    def close(self, force: float) -> None:
        if self.lost:
            raise RobotUnreachable("the line is cut")
        self.orders.append(f"close {force:.0f}")
        self.left = self.needs


def moved(gripper: Slow, observe: object = None) -> tuple[str, str, dict[str, object], np.ndarray]:
    """The first joint moves before the hand closes, stands, and moves on; outcome, reason, details and its commands."""
    robot = load_robot("panda")
    arm = MujocoArm(robot, robot.home)
    assert isinstance(gripper, Gripper)
    t = np.linspace(0.0, 3.0, 301)
    s = np.clip(np.stack([t / 1.0, (t - 2.0) / 1.0]), 0.0, 1.0)
    q = np.tile(robot.home, (301, 1))
    q[:, 0] += 0.1 * (10 * s**3 - 15 * s**4 + 6 * s**5).sum(axis=0)
    trajectory = JointTrajectory(robot.joint_names, t, q, np.gradient(q, t, axis=0), np.interp(t, [1.2, 1.5], [0.08, 0.0]))
    qd = np.array(trajectory.qd)
    qd[[0, -1]] = 0.0
    trajectory = JointTrajectory(robot.joint_names, t, q, qd, trajectory.opening)
    state = arm.read()
    commands: list[float] = []

    def see(cycle: Cycle) -> None:
        commands.append(float(cycle.command[0, 0]))
        if callable(observe):
            observe(cycle)

    approved = approve(trajectory, robot, state, World(), SIMULATED, now_ns=state.stamp_ns)
    report = StreamingExecutor(arm, robot, gripper=gripper).execute(approved, see)
    return report.outcome, report.message, dict(report.details), np.array(commands)


def test_the_arm_waits_for_fingers_that_are_later_than_planned() -> None:
    quick, slow = Slow(50), Slow(800)  # cycles of 2 ms: 0.1 and 1.6 s where 0.3 s are planned
    outcome, _, details, commands = moved(quick)
    assert outcome == "executed" and details["grasps"] == [True] and quick.orders == ["move 0.08", "close 40"]
    late_outcome, _, _, late = moved(slow)
    assert late_outcome == "executed" and 0.3 < 0.002 * (len(late) - len(commands)) < 3.0  # [s]
    closed_at = 600 + 800  # about when the slow fingers are done: nothing moved on before
    assert late[:closed_at].max() <= late[0] + 0.1 + 1e-6


def test_a_gripper_that_is_lost_stops_the_arm() -> None:
    gripper = Slow(100)

    def cut(cycle: Cycle) -> None:
        gripper.lost = cycle.s > 0.5

    outcome, reason, details, _ = moved(gripper, cut)
    assert outcome == "fault" and "the line is cut" in reason and 1.1 < details["s"] < 1.6  # type: ignore[operator]


def test_a_lost_robotiq_says_so(server: ToldProcess, gripper: RobotiqGripper) -> None:
    """The last test: the URCap is gone after it."""
    server.tell("cut")
    done = threading.Event()
    for _ in range(200):
        try:
            gripper.move(0.01)
        except RobotUnreachable as error:
            assert "lost" in str(error)
            done.set()
            break
        threading.Event().wait(0.02)
    assert done.is_set()
    with pytest.raises(RobotUnreachable, match="no Robotiq URCap"):
        RobotiqGripper.connect(load_robot("ur5e"), "127.0.31.5")
