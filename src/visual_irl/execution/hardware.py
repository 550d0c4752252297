"""What every driver of a real arm or gripper offers beyond the protocols, and what can be checked without moving anything."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import RobotUnreachable
from visual_irl.execution.arm import Arm, Gripper
from visual_irl.execution.state import RobotState
from visual_irl.robots.model import RobotModel

PLACE, TURN = 0.002, 0.02
"""Distances between the flange that the robot and the model report that count as the same [m], [rad]."""


class Check(NamedTuple):
    """One thing that was looked at."""

    name: str
    passed: bool
    found: str
    """What was found, with values; and the way out where it failed."""


@runtime_checkable
class HardwareArm(Arm, Protocol):
    """A real arm. With `moving` false nothing that could move it is ever sent to it."""

    @classmethod
    def connect(cls, robot: RobotModel, address: str, moving: bool) -> HardwareArm:
        """Connect, in bounded time.

        Raises:
            RobotUnreachable: nothing, or not such a robot, answers at `address`.
        """
        ...

    def checks(self) -> Sequence[Check]:
        """What this maker's robot tells about itself: its model, its calibration, its tool."""
        ...

    def recover(self) -> None:
        """Ask the robot to clear its errors, because a person says so; nothing moves.

        Raises:
            RefusedTrajectory: it does not, or this has to be done at the robot.
        """
        ...

    def close(self) -> None:
        """Disconnect; the robot holds."""
        ...


class RealArm:
    """What real arms share: whose joints they move, how often, and by which clock their states are stamped."""

    def __init__(self, robot: RobotModel, period: float) -> None:
        self.robot, self.joint_names, self.period = robot, robot.joint_names, period

    def now_ns(self) -> int:
        """The monotonic clock of this machine [ns]."""
        return time.monotonic_ns()


@runtime_checkable
class HardwareGripper(Gripper, Protocol):
    """A real gripper."""

    @classmethod
    def connect(cls, robot: RobotModel, address: str) -> HardwareGripper:
        """Connect, in bounded time, and move nothing.

        Raises:
            RobotUnreachable: no such gripper answers at `address`.
        """
        ...

    def prepare(self) -> None:
        """Make it ready: a gripper that was just switched on moves its fingers once."""
        ...

    def wait(self, longest: float = 10.0) -> None:
        """Until the fingers stand, at most `longest` [s]."""
        ...

    def disconnect(self) -> None:
        """End the connection; the fingers stay as they are."""
        ...


def require_port(address: str, port: int, what: str, timeout: float) -> None:
    """That something listens, before a library waits for it much longer.

    Raises:
        RobotUnreachable: says what to check.
    """
    try:
        socket.create_connection((address, port), timeout).close()
    except OSError as error:
        raise RobotUnreachable(
            f"no {what} answers at {address}:{port} within {timeout:g} s ({error.strerror or error}); check the address, the "
            "cable, that the robot is switched on, and that its control is enabled"
        ) from error


def common_checks(arm: Arm, robot: RobotModel, settle: float = 0.2) -> list[Check]:
    """Stream, safety state and joints of any arm; takes `settle` [s] to see that states keep coming."""
    first = arm.read()
    time.sleep(settle)
    state = arm.read()
    age = 1e-9 * (arm.now_ns() - state.stamp_ns)
    newer = 1e-9 * (state.stamp_ns - first.stamp_ns)
    stream = Check(
        "state stream", newer > 0.0 and 0.0 <= age < 0.1, f"newest state {1e3 * age:.0f} ms old, {newer:.2f} s newer"
    )
    return [stream, _safety(state), *_joints(state, robot)]


def _safety(state: RobotState) -> Check:
    text = f"{state.safety.value}{': ' * bool(state.message)}{state.message}"
    way = "" if state.safety.moving_allowed else "; clear it on the robot"
    return Check("safety state", state.safety.moving_allowed, f"{text}, speed scaling {100.0 * state.speed_scaling:.0f} %{way}")


def _joints(state: RobotState, robot: RobotModel) -> list[Check]:
    if state.joint_names != robot.joint_names:
        return [Check("joints", False, f"{', '.join(state.joint_names)}; '{robot.name}' has {', '.join(robot.joint_names)}")]
    finite = bool(np.isfinite(state.q).all() and np.isfinite(state.qd).all())
    if not finite:
        return [Check("joints", False, "the state holds values that are no numbers; restart the robot's control")]
    room = np.minimum(state.q - robot.lower, robot.upper - state.q)
    j = int(np.argmin(room))
    where = f"'{robot.joint_names[j]}' is {room[j]:.3f} rad from its limit, the least of all"
    inside = Check("joint limits", bool(room[j] >= 0.0), where + ("" if room[j] >= 0.0 else "; drive it back by hand"))
    fastest = float(np.abs(state.qd).max())
    return [inside, Check("at rest", fastest < 0.02, f"fastest joint {fastest:.4f} rad/s")]


def flange_check(reported: Float[ndarray, "4 4"], modelled: Float[ndarray, "4 4"], what: str) -> Check:
    """Whether robot and model mean the same arm: poses of the flange in the base at the same joint angles."""
    off = float(np.linalg.norm(reported[:3, 3] - modelled[:3, 3]))
    cosine = 0.5 * (float(np.trace(reported[:3, :3].T @ modelled[:3, :3])) - 1.0)
    turn = float(np.arccos(np.clip(cosine, -1.0, 1.0)))
    fine = off <= PLACE and turn <= TURN
    way = "" if fine else "; this is another arm, another tool, or needs its own calibrated description"
    return Check("calibration", fine, f"{what}: {1e3 * off:.1f} mm and {1e3 * turn:.1f} mrad from the model's{way}")


def start_client(module: str, *arguments: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """A process that speaks with a robot, and this end of the wire to it; the file number of its end is its first argument."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with there:
        program = [sys.executable, "-m", module, str(there.fileno()), *arguments]
        return subprocess.Popen(program, pass_fds=(there.fileno(),)), here


def end_client(client: subprocess.Popen[bytes], wire: socket.socket, patience: float) -> None:
    """Let go of the process that speaks with a robot; it ends when nobody listens, or is killed after `patience` [s]."""
    wire.close()
    try:
        client.wait(patience)
    except subprocess.TimeoutExpired:
        client.kill()
        client.wait()
