"""Whatever goes wrong while an arm moves in MuJoCo, it stops on its path within its limits, in FAULT, and the log says why."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numba
import numpy as np
import pytest

from rest_to_rest import rest_to_rest
from visual_irl.errors import RefusedTrajectory
from visual_irl.execution import pace, streaming
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.journal import Journal, read_journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.state import RobotState, Safety
from visual_irl.execution.streaming import Cycle, Phase, StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

pytestmark = pytest.mark.long


def motion(robot: RobotModel, q: np.ndarray) -> JointTrajectory:
    """0.3 rad of the first joint, rest to rest in 2 s."""
    return rest_to_rest(robot, q, q + 0.3 * np.eye(len(q))[0], 2.0)


class Faulty(MujocoArm):
    """A simulated arm on which `fault` happens at `at` [s]."""

    def __init__(self, robot: RobotModel, fault: str, at: float) -> None:
        self.fault, self.at = fault, at
        super().__init__(robot, robot.home)
        self.last = super().read()
        self.commands: list[np.ndarray] = []

    @property
    def struck(self) -> bool:
        return self.data.time >= self.at

    def now_ns(self) -> int:
        jump = {"clock forward": 10**9, "clock back": -(10**9)}.get(self.fault, 0)
        return super().now_ns() + (jump if self.struck else 0)

    def read(self) -> RobotState:
        if self.struck and self.fault == "frozen":
            return self.last
        if self.struck and self.fault == "protective stop":
            self.safety, self.message = Safety.PROTECTIVE_STOP, "C153A0"
        if self.fault == "push":
            self.push(np.where(np.arange(len(self.target)) == 0, -1e4 * self.struck, 0.0))
        state = dataclasses.replace(super().read(), stamp_ns=round(1e9 * self.data.time))
        if self.struck and self.fault == "delayed":
            state = dataclasses.replace(state, stamp_ns=state.stamp_ns - 10**8)
        if self.struck and self.fault == "out of order":
            state = dataclasses.replace(state, stamp_ns=state.stamp_ns - 10**7)
        if self.struck and self.fault == "nan":
            state = dataclasses.replace(state, q=np.full(len(state.q), np.nan))
        self.last = state
        return state

    def command(self, q: np.ndarray, qd: np.ndarray, qdd: np.ndarray) -> None:
        self.commands.append(np.array([q, qd, qdd]))
        super().command(q, qd, qdd)


def approved(arm: MujocoArm) -> ApprovedTrajectory:
    state = arm.read()
    return approve(motion(arm.robot, state.q_target), arm.robot, state, World(), SIMULATED, now_ns=state.stamp_ns)


FAULTS = {
    "frozen": "state is", "delayed": "state is", "out of order": "out of order", "nan": "no numbers",
    "push": "from its command",
    "clock forward": "the clock went", "clock back": "the clock went", "protective stop": "protective stop: C153A0",
}  # fmt: skip


@pytest.mark.parametrize("name", ["panda", "ur5e"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_stops_the_arm_and_nothing_moves_before_a_reset(fault: str, name: str, tmp_path: Path) -> None:
    robot = load_robot(name)
    arm = Faulty(robot, fault, float(np.random.default_rng(len(fault)).uniform(0.4, 1.6)))
    journal = Journal(tmp_path / "log")
    executor = StreamingExecutor(arm, robot, journal)
    again = approved(arm)
    report = executor.execute(again)
    assert report.outcome == "fault" and FAULTS[fault] in report.message and executor.phase is Phase.FAULT
    commands = np.array(arm.commands)
    if fault != "protective stop":  # where the robot stops by itself nothing more is commanded
        np.testing.assert_allclose(commands[-1, 1:], 0.0, atol=1e-6)
    assert (np.abs(commands[:, 2]) <= robot.acceleration).all()
    assert (np.abs(np.diff(commands[:, 2], axis=0)) / arm.period <= 1.05 * robot.jerk).all()  # 5 %: rounding of differences
    assert report.details["stop_time"] < 1.0
    count = len(arm.commands)
    with pytest.raises(RefusedTrajectory, match="in FAULT"):
        executor.execute(again)
    assert len(arm.commands) == count
    journal.close()
    decisions = [r for r in read_journal(journal.path) if r["kind"] == "decision"]
    assert FAULTS[fault] in next(r["reason"] for r in decisions if r["what"] == "FAULT")


def test_a_motion_is_executed_and_a_cancel_rests_on_the_path(tmp_path: Path) -> None:
    robot = load_robot("ur5e")
    arm = Faulty(robot, "none", 0.0)
    executor = StreamingExecutor(arm, robot)
    plan = approved(arm)
    report = executor.execute(plan)
    assert report.outcome == "executed"
    np.testing.assert_allclose(arm.read().q, plan.trajectory.q[-1], atol=2e-3)  # [rad] drives at rest
    back = approved(arm)

    def cancel(cycle: Cycle) -> None:
        if cycle.time > 0.9:
            executor.cancel()

    report = executor.execute(back, cancel)
    assert report.outcome == "cancelled" and executor.phase is Phase.IDLE
    assert 0.0 < arm.commands[-1][0][0] - back.trajectory.q[0, 0] < 0.29  # [rad] it came to rest under way
    assert executor.execute(approved(arm)).outcome == "executed"


def test_after_a_reset_older_approvals_are_void() -> None:
    robot = load_robot("panda")
    arm = Faulty(robot, "delayed", 0.5)
    executor = StreamingExecutor(arm, robot)
    old = approved(arm)
    executor.execute(old)
    with pytest.raises(RefusedTrajectory, match="mend the connection"):
        executor.reset()
    arm.fault = "none"
    executor.reset()
    with pytest.raises(RefusedTrajectory, match="before the last reset"):
        executor.execute(old)
    assert executor.execute(approved(arm)).outcome == "executed"


def test_a_full_disk_stops_the_arm_and_the_reason_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_robot("panda")
    arm, journal = Faulty(robot, "none", 0.0), Journal(tmp_path / "log")
    executor = StreamingExecutor(arm, robot, journal)

    def full(kind: str, **values: object) -> None:
        raise OSError(28, "No space left on device")

    def fill(cycle: Cycle) -> None:
        if cycle.time > 0.7:
            monkeypatch.setattr(journal, "write", full)

    report = executor.execute(approved(arm), fill)
    assert report.outcome == "fault" and "No space left" in report.message
    journal.close()
    assert "No space left" in list(read_journal(journal.path))[-1]["reason"]


def test_nothing_is_compiled_in_the_middle_of_a_motion(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_robot("panda")
    arm = Faulty(robot, "none", np.inf)
    approved = approve(motion(robot, robot.home), robot, arm.read(), World(), SIMULATED, now_ns=arm.now_ns())
    seen: dict[str, list[tuple[numba.types.Type, ...]]] = {"before": [], "while": []}
    when, compiled = ["before"], pace._shortest

    def shortest(*arguments: object) -> float:
        seen[when[0]].append(tuple(numba.typeof(a) for a in arguments))
        return float(compiled(*arguments))

    monkeypatch.setattr(pace, "_shortest", shortest)
    executor = streaming.StreamingExecutor(arm, robot)

    def stop(cycle: Cycle) -> None:
        when[0] = "while"
        if cycle.s > 0.5:
            executor.cancel()

    assert executor.execute(approved, stop).outcome == "cancelled"
    assert seen["while"] and set(seen["while"]) <= set(seen["before"]), "other types would be compiled while the arm moves"
