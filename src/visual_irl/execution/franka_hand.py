"""The Franka hand through libfranka, behind the `Gripper` protocol.

libfranka answers an order when the fingers have come to rest, and pylibfranka keeps Python's lock until then. So this module
is a program too, which speaks with the hand in a process of its own.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from typing import Any

import pylibfranka

from visual_irl.errors import InvalidInput, RobotUnreachable
from visual_irl.execution.hardware import end_client, require_port, start_client
from visual_irl.robots.model import RobotModel

PORT = 1338
"""Where a Franka controller takes the hand's connection."""
CONNECT, FIRST_STATE = 5.0, 30.0
"""Longest waits for the controller and for the first state [s]."""
LOOK = 0.05
"""Time between two looks at the hand [s]."""
SHORT = 0.003
"""Fingers that were told to close and are farther apart than this hold something [m]."""
SPEED = 0.1
"""Of the fingers against each other [m/s]."""


class FrankaHand:
    """A hand that was connected with `connect`."""

    follows = False

    def __init__(self, robot: RobotModel, client: subprocess.Popen[bytes], wire: socket.socket) -> None:
        self._robot, self._client, self._wire = robot, client, wire
        self._news = threading.Condition()
        self._state: dict[str, Any] = {}
        self._lost, self._given = "", 0
        threading.Thread(target=self._listen, daemon=True, name="franka hand").start()

    @classmethod
    def connect(cls, robot: RobotModel, address: str) -> FrankaHand:
        """Connect; moves nothing.

        Raises:
            RobotUnreachable: no hand answers there.
        """
        require_port(address, PORT, "Franka hand", CONNECT)
        client, wire = start_client("visual_irl.execution.franka_hand", address)
        hand = cls(robot, client, wire)
        with hand._news:
            hand._news.wait_for(lambda: bool(hand._state or hand._lost), FIRST_STATE)
        if not hand._state:
            hand.disconnect()
            raise RobotUnreachable(f"no Franka hand answers at {address}: {hand._lost or 'no state came'}")
        return hand

    def prepare(self) -> None:
        """Let it find its widest opening, if it does not know it yet: moves the fingers."""
        if self._newest()["widest"] < SHORT:
            self._order(order="home")
            self.wait()

    @property
    def opening(self) -> float:
        """Measured distance between the fingers [m]."""
        return float(self._newest()["width"])

    @property
    def busy(self) -> bool:
        """Whether an order is not carried out yet."""
        return int(self._newest()["done"]) < self._given

    @property
    def grasped(self) -> bool:
        """Whether the hand says that it grasped, and the fingers are not simply closed."""
        state = self._newest()
        return bool(state["grasped"] and state["width"] > SHORT)

    def move(self, opening: float) -> None:
        """Go to a distance between the fingers [m]; returns at once.

        Raises:
            InvalidInput: the hand has no such opening.
        """
        if not 0.0 <= opening <= self._robot.max_opening + 1e-9:
            raise InvalidInput(f"opening {opening} m: the hand opens from 0 to {self._robot.max_opening} m")
        self._order(order="move", width=opening)

    def close(self, force: float) -> None:
        """Close until the fingers press with `force` [N] or meet; returns at once.

        Raises:
            InvalidInput: the hand cannot press like that.
        """
        if not 0.0 < force <= self._robot.grip_force:
            raise InvalidInput(f"force {force} N: the hand presses with up to {self._robot.grip_force} N")
        self._order(order="grasp", force=force, width=self._robot.max_opening)

    def wait(self, longest: float = 10.0) -> None:
        """Until every order was carried out, at most `longest` [s]."""
        with self._news:
            self._news.wait_for(lambda: self._lost or self._state["done"] >= self._given, longest)

    def disconnect(self) -> None:
        """End the connection; the fingers stay as they are."""
        end_client(self._client, self._wire, CONNECT)

    def _newest(self) -> dict[str, Any]:
        with self._news:
            if self._lost:
                raise RobotUnreachable(f"the connection to the Franka hand is lost: {self._lost}")
            return self._state

    def _order(self, **order: Any) -> None:
        self._newest()
        self._given += 1
        self._wire.send(json.dumps(order).encode())

    def _listen(self) -> None:
        while True:
            try:
                message = self._wire.recv(4096)
            except OSError:
                message = b""
            with self._news:
                if message:
                    self._state = json.loads(message)
                    self._lost = self._state.get("lost", "")
                else:
                    self._lost = self._lost or "its process ended"
                self._news.notify_all()
            if not message:
                return


def _serve(wire: socket.socket, address: str) -> None:
    """Carry out orders one after the other, and say how the hand is in between."""
    hand, done, failed = pylibfranka.Gripper(address), 0, ""
    wire.settimeout(LOOK)
    while True:
        state = hand.read_once()
        wire.send(
            json.dumps(
                {"width": state.width, "widest": state.max_width, "grasped": state.is_grasped, "done": done, "failed": failed}
            ).encode()
        )
        try:
            message = wire.recv(4096)
        except TimeoutError:
            continue
        if not message:
            return
        order = json.loads(message)
        try:
            if order["order"] == "move":
                hand.move(order["width"], SPEED)
            elif order["order"] == "grasp":  # any width is a grasp: what is held is told by the fingers
                hand.grasp(0.0, SPEED, order["force"], order["width"], order["width"])
            else:
                hand.homing()
            failed = ""
        except pylibfranka.CommandException as error:
            failed = str(error)
        done += 1


def main() -> None:
    """Arguments: number of the socket, address."""
    wire = socket.socket(fileno=int(sys.argv[1]))
    try:
        _serve(wire, sys.argv[2])
    except Exception as error:  # whatever libfranka raises, and that nobody listens any more
        with contextlib.suppress(OSError):
            wire.send(json.dumps({"lost": str(error)}).encode())
        time.sleep(LOOK)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
