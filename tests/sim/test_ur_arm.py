"""The UR driver: its receive path against a fake RTDE server in a process of its own, its stream against a recorder.

The upload of the control script and the robot's own limits of servoJ need a controller; they are not covered here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from told_process import ToldProcess, told_process
from visual_irl import se3
from visual_irl.errors import MotionStopped, RefusedTrajectory, RobotUnreachable
from visual_irl.execution.hardware import HardwareArm
from visual_irl.execution.state import Safety
from visual_irl.robots import load_robot
from visual_irl.verbs.run_stage import check_robot

pytest.importorskip("rtde_receive", reason='needs `pip install "visual-irl[ur]"`')

from visual_irl.execution.ur_arm import ServoStream, UrArm

ADDRESS = "127.0.30.4"


@pytest.fixture(scope="module")
def controller() -> Iterator[ToldProcess]:
    """The fake controller."""
    robot = load_robot("ur5e")
    T = se3.transform(se3.exp_so3(np.array([0.0, 0.0, np.pi])), np.zeros(3)) @ robot.fk(robot.home, "tool0")
    with told_process("rtde_server.py", ADDRESS, *(str(x) for x in (*T[:3, 3], *se3.log_so3(T[:3, :3])))) as made:
        yield made


@pytest.fixture(scope="module")
def arm(controller: ToldProcess) -> Iterator[UrArm]:
    made = UrArm.connect(load_robot("ur5e"), ADDRESS, False)
    yield made
    made.close()


def until(true: Callable[[], bool]) -> None:
    """Wait for something that takes a few packets; a loaded machine may take long."""
    deadline = time.monotonic() + 30.0
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_states_come_with_their_age_and_scaling(arm: UrArm, controller: ToldProcess) -> None:
    assert isinstance(arm, HardwareArm)
    robot = load_robot("ur5e")
    first = arm.read()
    until(lambda: arm.read().stamp_ns > first.stamp_ns)
    state = arm.read()
    np.testing.assert_allclose(state.q, robot.home, atol=1e-6)
    assert state.speed_scaling == pytest.approx(0.5) and state.safety is Safety.NORMAL
    with pytest.raises(RefusedTrajectory, match="looking only"):
        arm.command(state.q, state.qd, state.qd)


def test_a_stream_that_stands_still_grows_old(arm: UrArm, controller: ToldProcess) -> None:
    controller.tell("freeze")
    time.sleep(0.05)
    stamp = arm.read().stamp_ns
    time.sleep(0.05)
    assert arm.read().stamp_ns == stamp  # its age is what the executor stops for
    controller.tell("go")
    until(lambda: arm.read().stamp_ns > stamp)


@pytest.mark.parametrize(
    ("line", "back", "safety", "text"),
    [
        ("safety 3", "safety 1", Safety.PROTECTIVE_STOP, ""),
        ("safety 5", "safety 1", Safety.PROTECTIVE_STOP, "safeguard"),
        ("safety 7", "safety 1", Safety.EMERGENCY_STOP, "button"),
        ("safety 9", "safety 1", Safety.FAULT, "fault"),
        ("mode 5", "mode 7", Safety.FAULT, "release its brakes"),
    ],
)
def test_stops_of_the_robot(arm: UrArm, controller: ToldProcess, line: str, back: str, safety: Safety, text: str) -> None:
    controller.tell(line)
    until(lambda: arm.read().safety is safety)
    assert text in arm.read().message and not arm.read().safety.moving_allowed
    controller.tell(back)
    until(lambda: arm.read().safety is Safety.NORMAL)


def test_check_robot_moves_nothing_and_sees_a_stop(controller: ToldProcess, capsys: pytest.CaptureFixture[str]) -> None:
    check_robot("ur5e", "ur", ADDRESS)
    out = capsys.readouterr().out
    assert "nothing was moved" in out and "calibration" in out and "FAIL" not in out
    controller.tell("safety 7")
    with pytest.raises(MotionStopped, match="safety state"):
        check_robot("ur5e", "ur", ADDRESS)
    controller.tell("safety 1")


def test_another_arm_than_the_model_is_noticed(controller: ToldProcess, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MotionStopped, match="calibration of the ur10e"):
        check_robot("ur10e", "ur", ADDRESS)


def test_nothing_there_is_said_in_bounded_time() -> None:
    began = time.monotonic()
    with pytest.raises(RobotUnreachable, match="no RTDE server"):
        UrArm.connect(load_robot("ur5e"), "127.0.30.5", False)
    assert time.monotonic() - began < 20.0  # ur-rtde alone takes 24 s and more


class Recorder:
    """What a stream calls of ur-rtde's control interface."""

    def __init__(self) -> None:
        self.q: list[np.ndarray] = []
        self.kicks, self.stopped, self.refuse = 0, threading.Event(), False

    def servoJ(self, q: list[float], *rest: float) -> bool:
        self.q.append(np.array(q))
        return not self.refuse

    def kickWatchdog(self) -> None:
        self.kicks += 1

    def setWatchdog(self, rate: float) -> None:
        self.rate = rate

    def isProgramRunning(self) -> bool:
        return True

    def servoStop(self, deceleration: float) -> None:
        self.stopped.set()


def test_when_targets_cease_the_stream_brakes_within_limits_and_ends() -> None:
    robot, control = load_robot("ur5e"), Recorder()
    stream = ServoStream(robot, control, 0.002)
    speed = 0.5 * np.eye(6)[0]
    stream.put(robot.home, speed, 0.0 * speed)  # one target of an arm in motion, and then nothing
    assert control.stopped.wait(30.0)
    assert "no target came" in stream.broken and control.rate > 0.0 and control.kicks == len(control.q)
    acceleration = np.diff(np.array(control.q)[:, 0], 2) / 0.002**2
    assert np.abs(acceleration[1:]).max() <= robot.acceleration[0]
    assert np.ptp(np.array(control.q)[-3:], axis=0).max() < 1e-4  # [rad] it rests
    count = len(control.q)
    stream.put(robot.home, speed, speed)
    stream.end()
    assert len(control.q) == count


def test_a_controller_that_takes_no_target_breaks_the_stream() -> None:
    robot, control = load_robot("ur5e"), Recorder()
    control.refuse = True
    stream = ServoStream(robot, control, 0.002)
    stream.put(robot.home, 0.0 * robot.home, 0.0 * robot.home)
    assert control.stopped.wait(30.0)
    stream.end()
    assert "takes no targets" in stream.broken


def test_a_lost_connection_is_a_fault(controller: ToldProcess, arm: UrArm) -> None:
    """The last test: the controller is gone after it."""
    controller.tell("cut")
    until(lambda: arm.read().safety is Safety.FAULT or arm.now_ns() - arm.read().stamp_ns > 200_000_000)
    assert not arm.read().safety.moving_allowed or arm.now_ns() - arm.read().stamp_ns > 100_000_000
