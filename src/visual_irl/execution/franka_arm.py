"""A Franka arm through libfranka (pylibfranka), in a process of its own: `visual_irl.execution.franka_client` says why.

Watchdogs: that process brakes within the limits when the executor's targets cease or its process dies; the robot itself stops
when libfranka's commands cease. A reflex or a user stop ends the stream. Nothing recovers by itself: `recover` asks the robot
to clear its errors, when a person says so.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput, RefusedTrajectory, RobotUnreachable
from visual_irl.execution.franka_client import (
    BROKEN,
    DEPTH,
    END,
    HEAD,
    LOOK_ONLY,
    NUMBERS,
    PERIOD,
    RECOVER,
    TARGET,
    realtime_kernel,
)
from visual_irl.execution.hardware import Check, RealArm, end_client, flange_check, require_port, start_client
from visual_irl.execution.state import RobotState, Safety
from visual_irl.robots.model import RobotModel

PORT = 1337
"""Where a Franka controller takes libfranka's connection."""
CONNECT = 5.0
"""Longest wait for the controller [s]."""
FIRST_STATE = 30.0
"""Longest wait for the client's process and its first state [s]."""
STALL = 0.010
"""Longest time that a cycle waits for a state: a stream that stands still must not stop the executor [s]."""
LONGEST = 0.03
"""Longest time that a cycle waits for a robot that sends states and follows slowly, or begins to [s]."""
ENDING = 0.5
"""Longest wait for the robot to end a motion that rests [s]."""
RECOVERY = 5.0
"""Longest wait for the robot to clear its errors [s]."""
IDLE, MOVING = 1, 2
MODES = {
    0: (Safety.FAULT, "the robot is not ready: unlock its joints and activate FCI in Desk"),
    1: (Safety.NORMAL, ""),
    2: (Safety.NORMAL, ""),
    3: (Safety.PROTECTIVE_STOP, "it is guided by hand"),
    4: (Safety.PROTECTIVE_STOP, "reflex"),
    5: (Safety.EMERGENCY_STOP, "user stop: release the external activation device"),
    6: (Safety.PROTECTIVE_STOP, "error recovery"),
}
"""libfranka's robot modes."""


class _Heard(NamedTuple):
    stamp_ns: int
    mode: int
    followed: float
    broken: bool
    numbers: ndarray
    text: str


class FrankaArm(RealArm):
    """An arm that was connected with `connect`; its period is the executor's, the robot gets a target every millisecond."""

    def __init__(self, robot: RobotModel, client: subprocess.Popen[bytes], wire: socket.socket, moving: bool) -> None:
        super().__init__(robot, PERIOD)
        self._client, self._wire, self._moving = client, wire, moving
        self._news = threading.Condition()
        self._heard: _Heard | None = None
        self._lost = ""
        self._given = 0
        self._thread = threading.Thread(target=self._listen, daemon=True, name="franka states")
        self._thread.start()

    @classmethod
    def connect(cls, robot: RobotModel, address: str, moving: bool) -> FrankaArm:
        """Connect; without `moving` the client's process takes no target.

        Raises:
            InvalidInput: the robot is no Franka arm.
            RobotUnreachable: nothing answers there, or not as a controller with the Franka Control Interface.
        """
        if robot.ik_family != "franka":
            raise InvalidInput(f"--executor franka drives Franka arms (fr3, panda), not the {robot.name}")
        require_port(address, PORT, "Franka controller", CONNECT)
        may = "move" if moving else LOOK_ONLY.decode()
        client, wire = start_client("visual_irl.execution.franka_client", address, robot.name, may)
        arm = cls(robot, client, wire, moving)
        with arm._news:
            arm._news.wait_for(lambda: arm._heard is not None or bool(arm._lost), FIRST_STATE)
        if arm._heard is None:
            reason = arm._lost or f"no state came in {FIRST_STATE:g} s"
            arm.close()
            raise RobotUnreachable(
                f"the controller at {address} answers, but libfranka gets no state from it ({reason}); activate FCI in Desk, "
                "end other programs that control it, and check that its system version goes with this libfranka (FR3, 5.x)"
            )
        return arm

    def read(self) -> RobotState:
        """The newest state; its stamp is when the client's process had it from the robot."""
        with self._news:
            heard, lost, given = self._heard, self._lost, self._given
        assert heard is not None
        q, qd, q_d = heard.numbers[:7], heard.numbers[7:14], heard.numbers[14:21]
        safety, message = MODES.get(heard.mode, (Safety.FAULT, f"robot mode {heard.mode}"))
        if lost:
            safety, message = Safety.FAULT, lost
        elif not safety.moving_allowed:
            message += f" ({heard.text})" if heard.text else ""
        elif heard.broken:
            safety, message = Safety.FAULT, heard.text
        behind = PERIOD * max(given - 1 - heard.followed, 0.0) if given else 0.0
        return RobotState(
            self.joint_names, heard.stamp_ns, q, qd, q_d, command_age=behind, safety=safety, message=message
        )  # fmt: skip

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        """Put a target into the queue.

        Raises:
            RefusedTrajectory: connected for looking only.
        """
        if not self._moving:
            raise RefusedTrajectory("this connection is for looking only: nothing is sent to the robot")
        self._given += 1
        self._send(TARGET + np.array([q, qd, qdd], float).tobytes())

    def wait(self) -> None:
        """Until the queue has room; not longer than `STALL` without a state, nor when the robot has stopped."""
        now = began = time.monotonic()
        with self._news:
            while (heard := self._following()) and self._given - heard.followed > DEPTH + 1 and now - began < LONGEST:
                left = max(1e-9 * heard.stamp_ns, began) + STALL - now
                if left <= 0.0:
                    return
                self._news.wait(left)
                now = time.monotonic()

    def halt(self) -> None:
        """No more targets: what is queued is played, and an arm that then still moves brakes."""
        self._send(END)
        self._given = 0
        with self._news:  # a target that comes before the last stream has ended would belong to it
            self._news.wait_for(lambda: self._lost or self._heard is None or self._heard.mode != MOVING, ENDING)

    def recover(self) -> None:
        """Ask the robot to clear its errors; nothing moves.

        Raises:
            RefusedTrajectory: it does not, with the reason; a user stop is released by hand.
        """
        self._send(RECOVER)
        deadline = time.monotonic() + RECOVERY
        while not (state := self.read()).safety.moving_allowed:
            if time.monotonic() > deadline or self._lost:
                raise RefusedTrajectory(f"the robot does not recover from {state.safety.value}: {state.message}")
            time.sleep(0.02)

    def checks(self) -> Sequence[Check]:
        """The flange's pose by the controller against the model's, and whether this machine is a real-time one."""
        assert self._heard is not None
        x = self._heard.numbers[21:53]
        O_T_EE, F_T_EE = x[:16].reshape(4, 4).T, x[16:].reshape(4, 4).T  # column-major
        flange = O_T_EE @ se3.inverse(F_T_EE)
        link = self.robot.joint_names[-1].replace("joint7", "link8")
        calibration = flange_check(flange, self.robot.fk(self.read().q, link), "flange's pose")
        kernel = "real-time kernel" if realtime_kernel() else "no real-time kernel: the robot will stop by itself when late"
        return [calibration, Check("this machine", True, kernel)]

    def close(self) -> None:
        """End the client; the robot holds."""
        end_client(self._client, self._wire, CONNECT)

    def _following(self) -> _Heard | None:
        """The newest state of a robot that takes targets."""
        heard = self._heard
        return heard if heard and not self._lost and not heard.broken and heard.mode in (IDLE, MOVING) else None

    def _send(self, message: bytes) -> None:
        try:
            self._wire.send(message)
        except OSError as error:
            self._lost = self._lost or f"the process that speaks with the robot is gone ({error.strerror or error})"

    def _listen(self) -> None:
        """Keep the newest of what the client says."""
        while True:
            try:
                message = self._wire.recv(4096)
            except OSError:
                message = b""
            with self._news:
                if not message or message[:1] == BROKEN:
                    self._lost = self._lost or f"the connection is lost: {message[1:].decode() or 'libfranka ended'}"
                    self._news.notify_all()
                    return
                stamp, mode, followed, broken = HEAD.unpack_from(message, 1)
                split = 1 + HEAD.size + 8 * NUMBERS
                numbers = np.frombuffer(message[1 + HEAD.size : split])
                self._heard = _Heard(stamp, mode, followed, broken, numbers, message[split:].decode())
                self._news.notify_all()
