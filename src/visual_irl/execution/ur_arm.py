"""A Universal Robots arm through ur-rtde: states over RTDE, targets as a servoJ stream from a thread of its own.

The stream has two watchdogs. Here: when the executor's targets cease, the thread brakes each joint within its limits, ends the
servo motion and takes no target until a new connection. On the robot: the script that ur-rtde uploads stops when nothing was
heard of this program for 0.1 s. What the controller does between two targets (look-ahead, gain) is its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rtde_receive
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import RefusedTrajectory, RobotUnreachable
from visual_irl.execution.braking import Brake
from visual_irl.execution.cadence import Cadence
from visual_irl.execution.hardware import Check, RealArm, flange_check, require_port
from visual_irl.execution.state import RobotState, Safety
from visual_irl.robots.model import RobotModel

PORT = 30004
"""Where a controller serves RTDE."""
CONNECT = 5.0
"""Longest time that connecting may take [s]; ur-rtde by itself waits for 24 s where nothing answers."""
RATE = 500.0
"""Cycles a second of an e-Series controller [1/s]."""
PATIENCE = 3
"""Cycles without a new target after which the stream brakes."""
LOOK_AHEAD, GAIN = 0.03, 1000.0
"""servoJ's smoothing [s] and stiffness: the least smoothing it takes, so that the arm lags as little as it can."""
WATCHDOG_RATE = 10.0
"""The robot's script stops when it hears nothing for one period of this [1/s]."""
STOP = 4.0
"""Deceleration with which a servo motion is ended on the robot [rad/s^2]."""
VARIABLES = [
    "timestamp", "actual_q", "actual_qd", "target_q", "actual_TCP_pose", "speed_scaling", "target_speed_fraction",
    "robot_mode", "safety_mode", "robot_status_bits", "safety_status_bits", "runtime_state",
]  # fmt: skip
RUNNING = 7
"""Robot mode in which the arm moves."""
MODES = (
    "disconnected", "confirm safety", "booting", "power off", "power on", "idle", "backdrive", "running", "updating firmware",
)  # fmt: skip
SAFETY = {
    1: Safety.NORMAL, 2: Safety.REDUCED, 3: Safety.PROTECTIVE_STOP, 5: Safety.PROTECTIVE_STOP, 6: Safety.EMERGENCY_STOP,
    7: Safety.EMERGENCY_STOP,
}  # fmt: skip
SAFETY_TEXTS = {
    3: "",
    4: "recovery mode",
    5: "safeguard stop",
    6: "system",
    7: "button on the robot",
    8: "violation",
    9: "fault",
}


class UrArm(RealArm):
    """A UR that was connected with `connect`; its joints and its cycles are the controller's."""

    def __init__(self, robot: RobotModel, receive: Any, control: Any) -> None:
        super().__init__(robot, 1.0 / RATE)
        self._receive, self._control = receive, control
        self._stamp, self._last_stamp_ns = -1.0, 0
        self._cadence = Cadence(self.period)
        self._stream: ServoStream | None = None

    @classmethod
    def connect(cls, robot: RobotModel, address: str, moving: bool) -> UrArm:
        """Connect; with `moving` the control script is uploaded too, which needs remote control on e-Series.

        Raises:
            RobotUnreachable: nothing answers as an RTDE server within `CONNECT` seconds.
        """
        require_port(address, PORT, "RTDE server of a UR controller", CONNECT)
        receive = _bounded(lambda: rtde_receive.RTDEReceiveInterface(address, RATE, VARIABLES), address, "sends states")
        control = None
        if moving:
            import rtde_control

            control = _bounded(lambda: rtde_control.RTDEControlInterface(address, RATE), address, "runs the control script")
        return cls(robot, receive, control)

    def read(self) -> RobotState:
        """The newest state; its stamp is when a new one was first seen, so a stream that stands still grows old."""
        stamp = self._receive.getTimestamp()
        if stamp != self._stamp:
            self._stamp, self._last_stamp_ns = stamp, time.monotonic_ns()
        safety, message = self._safety()
        return RobotState(
            self.joint_names, self._last_stamp_ns, np.array(self._receive.getActualQ()), np.array(self._receive.getActualQd()),
            np.array(self._receive.getTargetQ()), float(self._receive.getSpeedScalingCombined()), safety, message,
        )  # fmt: skip

    def _safety(self) -> tuple[Safety, str]:
        mode, running = int(self._receive.getSafetyMode()), int(self._receive.getRobotMode())
        safety, text = SAFETY.get(mode, Safety.FAULT), SAFETY_TEXTS.get(mode, "" if mode in SAFETY else f"safety mode {mode}")
        if not self._receive.isConnected():
            return Safety.FAULT, "the connection to the controller is lost"
        if self._stream is not None and self._stream.broken:
            return Safety.FAULT, self._stream.broken
        if safety.moving_allowed and running != RUNNING:
            name = MODES[running] if 0 <= running < len(MODES) else f"mode {running}"
            return Safety.FAULT, f"the robot is not running but in '{name}'; switch it on and release its brakes"
        return safety, text

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        """Hand a target to the stream; the first one starts it.

        Raises:
            RefusedTrajectory: connected for looking only.
        """
        if self._control is None:
            raise RefusedTrajectory("this connection is for looking only: nothing is sent to the robot")
        if self._stream is None:
            self._stream = ServoStream(self.robot, self._control, self.period)
        self._stream.put(q, qd, qdd)

    def wait(self) -> None:
        """Until the next cycle."""
        self._cadence.wait()

    def halt(self) -> None:
        """End the stream; the controller holds the arm."""
        if self._stream is not None:
            self._stream.end()
            if not self._stream.broken:
                self._stream = None

    def recover(self) -> None:
        """A UR's stops are cleared on its pendant, where the arm is seen.

        Raises:
            RefusedTrajectory: it is stopped.
        """
        state = self.read()
        if not state.safety.moving_allowed:
            raise RefusedTrajectory(f"clear the {state.safety.value} on the robot's pendant, then run this again")

    def checks(self) -> Sequence[Check]:
        """The tool's pose by the controller against the model's flange or tool; both hold for an arm like the model."""
        x = np.array(self._receive.getActualTCPPose())
        reported = se3.transform(se3.exp_so3(x[3:]), x[:3])
        q = np.array(self._receive.getActualQ())
        turned = se3.transform(se3.exp_so3(np.array([0.0, 0.0, np.pi])), np.zeros(3))  # the maker's base is turned by pi
        found = [
            flange_check(reported, turned @ self.robot.fk(q, frame), f"tool pose against {what}")
            for frame, what in (("tool0", "the bare flange"), (self.robot.tcp_frame, "the tool"))
        ]
        return [next((check for check in found if check.passed), found[0])]

    def close(self) -> None:
        """End the stream and the connections."""
        self.halt()
        if self._control is not None:
            self._control.stopScript()
            self._control.disconnect()
        self._receive.disconnect()


class ServoStream:
    """servoJ once a cycle from its own thread; `control` is ur-rtde's control interface, or what answers like it."""

    def __init__(self, robot: RobotModel, control: Any, period: float) -> None:
        self._robot, self._control, self._period = robot, control, period
        self._fresh, self._ended = threading.Condition(), False
        self._target: ndarray | None = None
        self.broken = ""
        """Why the stream ended by itself; empty while it did not."""
        self._thread = threading.Thread(target=self._run, daemon=True, name="servoJ")
        self._thread.start()

    def put(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        """The target of this cycle; ignored once the stream ended."""
        with self._fresh:
            self._target = np.array([q, qd, qdd])
            self._fresh.notify()

    def end(self) -> None:
        """Brake if the last target moved, end the servo motion, and wait for that."""
        with self._fresh:
            self._ended = True
            self._fresh.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        last: ndarray | None = None
        try:
            while True:
                target = self._next(last is not None)
                if target is None:
                    break
                if last is None:
                    self._begin()
                last = target
                self._send(last[0])
            if last is not None:
                self._brake(last)
        except Exception as error:  # whatever the library raises: the robot's own watchdog stops the arm
            self.broken = f"the controller takes no targets ({type(error).__name__}: {error})"
        finally:
            self._stop()

    def _begin(self) -> None:
        """The robot's script runs, and its watchdog with it: it trips after every stream."""
        if not self._control.isProgramRunning() and not self._control.reuploadScript():
            raise RobotUnreachable("the control script does not start")
        self._control.setWatchdog(WATCHDOG_RATE)

    def _next(self, started: bool) -> ndarray | None:
        """The next target; None when the stream is to end or targets ceased."""
        with self._fresh:
            arrived = self._fresh.wait_for(
                lambda: self._target is not None or self._ended, PATIENCE * self._period if started else None
            )
            target, self._target = self._target, None
            if not arrived:
                self.broken = f"no target came for {1e3 * PATIENCE * self._period:.0f} ms: the stream braked"
            return target

    def _brake(self, last: ndarray) -> None:
        brake, cadence, elapsed = Brake(self._robot, *last), Cadence(self._period), 0.0
        while elapsed < brake.duration:
            elapsed += self._period
            self._send(brake.at(elapsed)[0])
            cadence.wait()

    def _send(self, q: ndarray) -> None:
        if not self._control.servoJ(q.tolist(), 0.0, 0.0, self._period, LOOK_AHEAD, GAIN):
            raise RobotUnreachable("servoJ was not taken")
        self._control.kickWatchdog()

    def _stop(self) -> None:
        try:
            self._control.servoStop(STOP)
        except Exception as error:
            self.broken = self.broken or f"the servo motion cannot be ended ({type(error).__name__}: {error})"


def _bounded(make: Callable[[], Any], address: str, what: str) -> Any:
    """What `make` returns, within `CONNECT` seconds; its own thread waits on where the library does not give up."""
    made: list[Any] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            made.append(make())
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(CONNECT)
    if made:
        return made[0]
    reason = str(failed[0]) if failed else f"no answer in {CONNECT:g} s"
    raise RobotUnreachable(
        f"the controller at {address} answers, but nothing there {what} ({reason}); check that it is a UR with RTDE enabled "
        "(and in remote control, to move), and that no other program controls it"
    )
