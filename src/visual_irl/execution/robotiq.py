"""A Robotiq gripper on a UR's tool flange, through the text protocol that Robotiq's URCap serves on the controller.

`SET POS 255 SPE 255 FOR 100 GTO 1` moves, `GET OBJ` tells whether something stopped the fingers (Robotiq, "2F-85 & 2F-140 for
e-Series: instruction manual", registers of the gripper). Orders go from a thread of its own, which asks for the state in
between.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import NamedTuple

from visual_irl.errors import InvalidInput, RobotUnreachable
from visual_irl.execution.hardware import require_port
from visual_irl.robots.model import RobotModel

PORT = 63352
"""Where the URCap listens."""
CONNECT, ANSWER = 5.0, 1.0
"""Longest waits for a connection and for an answer [s]."""
ACTIVATION = 10.0
"""Longest time that an activation may take; the fingers close and open once [s]."""
LOOK = 0.05
"""Time between two looks at the gripper [s]."""
OPEN, CLOSED = 3, 230
"""Position register of fingers that are open and closed, as delivered (0 to 255 with the pads off)."""
WEAKEST, STRONGEST = 20.0, 235.0
"""Forces of the force register's ends, of a 2F-85 [N]."""
LOST = "the connection to the Robotiq gripper is lost"
ACTIVE, STOPPED_CLOSING = 3, 2
"""Values of STA and OBJ."""


class _State(NamedTuple):
    position: int
    object: int
    fault: int


class RobotiqGripper:
    """A gripper that was connected with `connect`."""

    follows = False

    def __init__(self, robot: RobotModel, line: socket.socket) -> None:
        self._robot, self._line = robot, line
        self._news, self._turn = threading.Condition(), threading.Lock()
        self._orders: list[tuple[int, int]] = []
        self._lost, self._ended, self._closing = "", False, False
        self._state = self._look()
        self._thread = threading.Thread(target=self._run, daemon=True, name="robotiq")
        self._thread.start()

    @classmethod
    def connect(cls, robot: RobotModel, address: str) -> RobotiqGripper:
        """Connect; moves nothing.

        Raises:
            RobotUnreachable: no URCap of a Robotiq gripper answers there.
        """
        require_port(address, PORT, "Robotiq URCap", CONNECT)
        line = socket.create_connection((address, PORT), CONNECT)
        line.settimeout(ANSWER)
        try:
            return cls(robot, line)
        except BaseException:
            line.close()
            raise

    def prepare(self) -> None:
        """Activate it, if it is not: its fingers close and open once.

        Raises:
            RobotUnreachable: it does not answer, or does not become active.
        """
        deadline = time.monotonic() + ACTIVATION
        if self._ask("GET STA") != ACTIVE:
            self._ask("SET ACT 1")
        while (status := self._ask("GET STA")) != ACTIVE:
            if time.monotonic() > deadline:
                raise RobotUnreachable(f"the gripper does not become active (STA {status}, fault {self._ask('GET FLT')})")
            time.sleep(LOOK)

    @property
    def opening(self) -> float:
        """Measured distance between the fingers [m]."""
        share = (CLOSED - self._newest().position) / (CLOSED - OPEN)
        return self._robot.max_opening * min(max(share, 0.0), 1.0)

    @property
    def busy(self) -> bool:
        """Whether the fingers still move."""
        return self._newest().object == 0

    @property
    def grasped(self) -> bool:
        """Whether the gripper says that its fingers were stopped by something while closing."""
        return self._closing and self._newest().object == STOPPED_CLOSING

    def move(self, opening: float) -> None:
        """Go to a distance between the fingers [m]; returns at once.

        Raises:
            InvalidInput: the gripper has no such opening.
        """
        if not 0.0 <= opening <= self._robot.max_opening + 1e-9:
            raise InvalidInput(f"opening {opening} m: the gripper opens from 0 to {self._robot.max_opening} m")
        position = round(CLOSED - (CLOSED - OPEN) * opening / self._robot.max_opening)
        self._closing = position > self._newest().position
        self._order(position, 255)

    def close(self, force: float) -> None:
        """Close until the fingers press with `force` [N], or as little as they can, or meet; returns at once.

        Raises:
            InvalidInput: the gripper cannot press like that.
        """
        if not 0.0 < force <= STRONGEST:
            raise InvalidInput(f"force {force} N: the gripper presses with up to {STRONGEST} N")
        self._newest()
        self._closing = True
        level = round(255 * max(force - WEAKEST, 0.0) / (STRONGEST - WEAKEST))
        self._order(255, level)

    def wait(self, longest: float = 10.0) -> None:
        """Until the fingers stand, at most `longest` [s]."""
        with self._news:
            self._news.wait_for(lambda: self._lost or (self._state.object != 0), longest)

    def disconnect(self) -> None:
        """End the connection; the fingers stay as they are."""
        self._ended = True
        self._thread.join(2.0 * ANSWER)
        self._line.close()

    def _newest(self) -> _State:
        if self._lost:
            raise RobotUnreachable(self._lost)
        return self._state

    def _order(self, position: int, force: int) -> None:
        with self._news:
            self._orders = [(position, force)]  # what was not begun yet is not wanted any more
            self._state = self._state._replace(object=0)  # it moves, until it says otherwise
            self._news.notify_all()

    def _run(self) -> None:
        while not self._ended:
            try:
                with self._news:
                    order = self._orders.pop() if self._orders else None
                if order is not None:
                    self._ask(f"SET POS {order[0]} SPE 255 FOR {order[1]} GTO 1")
                    deadline = time.monotonic() + ANSWER
                    while self._ask("GET PRE") != order[0] and time.monotonic() < deadline:
                        time.sleep(0.2 * LOOK)  # until then OBJ is about the order before
                state = self._look()
                with self._news:
                    if not self._orders:
                        self._state = state
                        self._news.notify_all()
                        self._news.wait(LOOK)
            except RobotUnreachable as error:
                with self._news:
                    self._lost = str(error)
                    self._news.notify_all()
                return

    def _look(self) -> _State:
        return _State(self._ask("GET POS"), self._ask("GET OBJ"), self._ask("GET FLT"))

    def _ask(self, question: str) -> int:
        """The number of an answer like `POS 3`; 0 of an `ack`. Answers come one for one, with or without an end of line.

        Raises:
            RobotUnreachable: nothing, or something else, answers.
        """
        with self._turn:
            try:
                self._line.sendall(f"{question}\n".encode())
                heard = self._line.recv(256)
            except OSError as error:
                raise RobotUnreachable(f"{LOST}: {error}") from error
        if not heard:
            raise RobotUnreachable(f"{LOST}: the controller closed it")
        answer = heard.decode(errors="replace").split()
        if question.startswith("SET") and answer == ["ack"]:
            return 0
        if len(answer) != 2 or answer[0] != question.split()[1] or not answer[1].isdigit():
            raise RobotUnreachable(f"what answers on port {PORT} is no Robotiq URCap: '{question}' was answered with {answer}")
        return int(answer[1])
