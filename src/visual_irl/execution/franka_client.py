"""The process that speaks with a Franka arm through libfranka; `visual_irl.execution.franka_arm` starts and uses it.

pylibfranka keeps Python's lock while it waits for the robot: a state stream that stands still for a second would stop the
executor, its watchdogs and its log for that second. So libfranka lives in a process of its own, which plays the executor's
targets in the robot's own time, one every millisecond, and brakes within the limits when they cease: also when the executor's
process is killed. What the robot says goes back over a socket, every `PERIOD`.
"""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pylibfranka as franka

from visual_irl.execution.playback import Playback
from visual_irl.robots import load_robot

PERIOD = 0.004
"""Time between two targets of the executor [s]."""
DEPTH = 4
"""Targets in the queue: an executor may be late by so many periods."""
TARGET, END, RECOVER, LOOK_ONLY = b"T", b"E", b"R", b"look"
STATE, BROKEN = b"S", b"X"
HEAD = struct.Struct("<qid?")
"""Stamp on this machine's monotonic clock [ns], robot mode, target that is followed, and whether the stream is broken."""
NUMBERS = 3 * 7 + 2 * 16 + 1
"""q, dq, q_d, O_T_EE, F_T_EE, control_command_success_rate: float64 each."""
PRIORITY = 80
"""Of the real-time scheduler, where it is allowed."""
REALTIME_KERNEL = Path("/sys/kernel/realtime")


def realtime_kernel() -> bool:
    """Whether this machine's kernel is one that libfranka calls real-time."""
    return REALTIME_KERNEL.is_file() and REALTIME_KERNEL.read_text().strip() == "1"


class Client:
    """One connection."""

    def __init__(self, address: str, robot_name: str, moving: bool, wire: socket.socket) -> None:
        self._wire, self._moving = wire, moving
        self._play = Playback(load_robot(robot_name), PERIOD, DEPTH)
        config = franka.RealtimeConfig.kEnforce if realtime_kernel() else franka.RealtimeConfig.kIgnore
        self._robot = franka.Robot(address, config)
        self._told, self._text = 0.0, ""
        self._left = False

    def run(self) -> None:
        """Until the other side is gone and the arm rests."""
        while not self._left:
            self._tell(self._robot.read_once())
            self._take()
            if self._moving and self._play.waiting and not self._text:
                self._stream()

    def _stream(self) -> None:
        """Play what is in the queue until it is done or the robot stops."""
        try:
            control = self._robot.start_joint_position_control(franka.ControllerMode.JointImpedance)
            while True:
                state, elapsed = control.readOnce()
                self._take()
                command = franka.JointPositions(self._play.next(elapsed.to_sec()).tolist())
                command.motion_finished = self._play.done
                control.writeOnce(command)
                self._text = self._play.broken
                self._tell(state)
                if command.motion_finished:
                    break
        except (franka.ControlException, franka.CommandException) as error:
            self._text = str(error).removeprefix("libfranka: ")
        self._play.clear()

    def _take(self) -> None:
        """What the executor sent since the last time; an executor that is gone ends what is played."""
        with contextlib.suppress(BlockingIOError):
            while not self._left:
                try:
                    order = self._wire.recv(4096)
                except ConnectionResetError:  # it died with messages unread
                    order = b""
                if not order:
                    self._left = True
                    self._play.end()
                elif order[:1] == TARGET and not self._text:
                    self._play.put(np.frombuffer(order, offset=1).reshape(3, 7))
                elif order[:1] == END:
                    self._play.end()
                elif order[:1] == RECOVER:
                    self._recover()

    def _recover(self) -> None:
        try:
            self._robot.automatic_error_recovery()
            self._play.clear()
            self._text = ""
        except (franka.CommandException, franka.NetworkException) as error:
            self._text = str(error).removeprefix("libfranka: ")

    def _tell(self, state: Any) -> None:
        now = time.monotonic()
        if now < self._told + 0.9 * PERIOD:
            return
        self._told = now
        numbers = np.array([*state.q, *state.dq, *state.q_d, *state.O_T_EE, *state.F_T_EE, state.control_command_success_rate])
        mode = int(state.robot_mode)
        head = HEAD.pack(time.monotonic_ns(), mode, self._play.position, bool(self._text))
        text = self._text or (str(state.current_errors) if state.current_errors else "")
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self._wire.send(STATE + head + numbers.tobytes() + text.encode())


def main() -> None:
    """Arguments: number of the socket, address, robot, and `look` when nothing may move."""
    wire = socket.socket(fileno=int(sys.argv[1]))
    wire.setblocking(False)
    gc.disable()  # a collection in the middle of a motion costs several of the robot's milliseconds
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    try:
        Client(sys.argv[2], sys.argv[3], sys.argv[4] != LOOK_ONLY.decode(), wire).run()
    except Exception as error:  # whatever libfranka raises: the other side says it, the robot stops by itself
        with contextlib.suppress(OSError):
            wire.send(BROKEN + f"{str(error).removeprefix('libfranka: ')}".encode())
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
