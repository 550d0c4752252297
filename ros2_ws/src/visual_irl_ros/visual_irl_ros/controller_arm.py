"""An arm behind ros2_control's joint_trajectory_controller, as the library's `Arm`. No ROS here: it has `send` and `hear`.

The controller follows trajectories and reports nothing while it does. So it is fed a little at a time: the next targets, and
behind them a stop within the joints' limits. When the targets cease (this node is killed, or its connection is cut) the
controller brakes by what it was given last, and holds. A stop of the executor arrives as targets like any other.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from visual_irl.execution.braking import Brake
from visual_irl.execution.cadence import Cadence
from visual_irl.execution.hardware import RealArm
from visual_irl.execution.state import RobotState, Safety
from visual_irl.robots.model import RobotModel

PERIOD = 0.02
"""Time between two targets [s]."""
LEAD = 3
"""Periods by which a target is sent before it is due: what a message may take."""
TAIL_STEP = 0.04
"""Time between two points of the stop behind the targets [s]."""


class Point(NamedTuple):
    """A point of a trajectory that is sent; arrays (J,) in [rad], [rad/s], [rad/s^2]."""

    after: float
    """[s] after it is received."""
    q: ndarray
    qd: ndarray
    qdd: ndarray


class ControllerArm(RealArm):
    """An arm that a controller moves; `batch` targets go out together: one on a topic, several in each goal of an action."""

    def __init__(self, robot: RobotModel, send: Callable[[list[Point]], None], batch: int = 1) -> None:
        super().__init__(robot, PERIOD)
        self._send, self._batch = send, batch
        self._lead = LEAD + batch - 1
        self._cadence = Cadence(PERIOD)
        self._lock = threading.Lock()
        nothing = np.full(len(robot.joint_names), np.nan)
        self._state = RobotState(
            robot.joint_names, 0, nothing, nothing, safety=Safety.FAULT, message="no joint_states were heard yet"
        )
        self._fault = ""
        self._began, self._given = 0.0, 0
        self._new: list[tuple[int, ndarray]] = []

    def hear(self, positions: Mapping[str, float], velocities: Mapping[str, float], age: float) -> None:
        """A measurement by joint names [rad], [rad/s], made `age` [s] ago; other joints are left out."""
        missing = [name for name in self.joint_names if name not in positions or name not in velocities]
        stamp = time.monotonic_ns() - round(1e9 * age)
        q, qd = (np.array([values.get(name, np.nan) for name in self.joint_names]) for values in (positions, velocities))
        message = f"joint_states say nothing of {', '.join(missing)}" if missing else ""
        with self._lock:
            self._state = RobotState(
                self.joint_names, stamp, q, qd, safety=Safety.FAULT if missing else Safety.NORMAL, message=message
            )

    def fail(self, reason: str) -> None:
        """The controller gave up: it is a fault until `recover`."""
        with self._lock:
            self._fault = self._fault or reason

    def recover(self) -> None:
        """The controller is asked again, because a person says so."""
        with self._lock:
            self._fault = ""

    def read(self) -> RobotState:
        """The newest measurement."""
        with self._lock:
            state, fault, given = self._state, self._fault, self._given
        followed = (1e-9 * state.stamp_ns - self._began) / PERIOD - self._lead
        age = PERIOD * max(given - 1 - max(followed, 0.0), 0.0) if given else 0.0
        safety, message = (Safety.FAULT, fault) if fault else (state.safety, state.message)
        return RobotState(
            state.joint_names, state.stamp_ns, state.q, state.qd, safety=safety, message=message, command_age=age
        )  # fmt: skip

    def command(self, q: ndarray, qd: ndarray, qdd: ndarray) -> None:
        """A target, which is due `LEAD` periods later."""
        if not self._given:
            self._began = time.monotonic()
        self._new.append((self._given, np.array([q, qd, qdd])))
        self._given += 1
        if len(self._new) >= self._batch or not np.any(self._new[-1][1][1:]):
            self._flush()

    def wait(self) -> None:
        """Until the next target is due."""
        self._cadence.wait()

    def halt(self) -> None:
        """No more targets: what was sent ends in a stop."""
        if self._new:
            self._flush()
        self._given = 0

    def _flush(self) -> None:
        """Send the new targets, and a stop behind them."""
        now = time.monotonic() - self._began
        points = []
        for k, row in self._new:
            after = (k + self._lead) * PERIOD - now
            if after > 0.0 or k == self._new[-1][0]:
                points.append(Point(max(after, 1e-3), *row))
        last = points[-1]
        if np.any(last.qd) or np.any(last.qdd):
            brake = Brake(self.robot, *last[1:])
            steps = max(1, int(np.ceil(brake.duration / TAIL_STEP)))
            for at in np.linspace(0.0, brake.duration, steps + 1)[1:]:
                points.append(Point(last.after + float(at), *brake.at(float(at))))
        self._new = []
        self._send(points)
