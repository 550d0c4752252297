"""Faults on a Franka arm: the real libfranka client in its process against franky-sim in another one, with faults between them.

What strikes the robot or the network is done by the controller's process (`evaluation.faults.franka_controller`), what
strikes this program here. The physics is that of the controller, in its own time. There is no real-time scheduling, so
the executor is `PATIENT` with the age of states.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import RefusedTrajectory, VisualIrlError
from visual_irl.evaluation.faults.faulty_arm import DRIVER_KILLED, KILLED, fill, turn_nan
from visual_irl.evaluation.faults.trial import AFTER, Course, Trial, approved_by
from visual_irl.execution.franka_arm import FrankaArm
from visual_irl.execution.franka_client import PERIOD
from visual_irl.execution.journal import Journal
from visual_irl.execution.streaming import Phase, StreamConfig, StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

PATIENT = StreamConfig(state_age=0.2, cycle_gap=0.2, command_age=5.0)
"""A busy machine without real-time scheduling stops no motion by itself."""
REST = (0.01, 0.5, 10.0)
"""An arm that was slower than this [rad/s] for so long [s] stands; it is not waited longer for that [s]."""
PATIENCE = 120.0
"""Longest wait for a process on a busy machine [s]."""
OURS = ("cancel", "motion turns NaN", "clock jumps forward", "clock jumps back", "disk full", DRIVER_KILLED)
"""What strikes in this process or by its hand."""


class Controller:
    """The controller's process: an arm that stands at `q` [rad] and answers at `address`."""

    def __init__(self, robot: RobotModel, address: str, q: Float[ndarray, "7"]) -> None:
        command = [sys.executable, "-m", "visual_irl.evaluation.faults.franka_controller", robot.name, address, *map(str, q)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer("ready")

    def tell(self, line: str) -> str:
        """Give it a line of its language; its answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise VisualIrlError(f"franky-sim ended before '{line}': its output says why") from error
        return self._answer(line)

    @property
    def time(self) -> float:
        """Seconds since the last motion began, by the physics."""
        return self._look()[0]

    def _look(self) -> tuple[float, float]:
        now, fastest = self.tell("time").split()
        return float(now), float(fastest)

    def rest(self, slow: float, settle: float, longest: float) -> float:
        """Wait until no joint was faster than `slow` [rad/s] for `settle` [s], at most `longest` [s]; the time then."""
        began = since = self.time
        while True:
            now, fastest = self._look()
            since = since if fastest <= slow else now
            if now - since >= settle or now - began >= longest:
                return now
            time.sleep(0.005)

    def go_on(self, duration: float) -> None:
        """Wait until its physics has gone on for so long [s]."""
        end, deadline = self.time + duration, time.monotonic() + PATIENCE
        while self.time < end:
            if time.monotonic() > deadline:
                raise VisualIrlError(f"franky-sim did not simulate {duration} s in {PATIENCE} s")
            time.sleep(0.01)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()

    def _answer(self, to: str) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if not line:
            raise VisualIrlError(f"franky-sim ended before it answered '{to}': its output says why")
        return line


class FaultyFranka(FrankaArm):
    """An arm on which something of `OURS` happens at `at` [s]."""

    kind, at, healed = "", np.inf, False
    executor: StreamingExecutor

    @property
    def struck(self) -> bool:
        """Whether the fault is there now."""
        return self._given * PERIOD >= self.at and not self.healed

    def now_ns(self) -> int:
        jump = {"clock jumps forward": 10**9, "clock jumps back": -(10**9)}.get(self.kind, 0)
        return super().now_ns() + (jump if self.struck else 0)

    def wait(self) -> None:
        if self.struck and self.kind == "cancel":
            self.executor.cancel()
        elif self.struck and self.kind == "disk full" and self.executor.journal is not None:
            fill(self.executor.journal)
        elif self.struck and self.kind == DRIVER_KILLED:
            self._client.kill()
        super().wait()


def run_faulty(kind: str, trial: Trial, log: Path, address: str) -> Course:
    """One motion with one fault, then three attempts to go on, of which the last two after the fault went away."""
    struck = trial.at
    controller = Controller(trial.robot, address, trial.trajectory.q[0])
    try:
        if kind == KILLED:
            struck = _killed(controller, trial, log, address)
            still, refused = controller.rest(*REST), True
            controller.go_on(AFTER)
        else:
            still, refused = _faulty(controller, kind, trial, log, address)
        file = log.with_name("physics.npz")
        controller.tell(f"save {file}")
    finally:
        controller.close()
    with np.load(file) as physics:
        history, targets = physics["history"], physics["commands"]
    return Course(history, _derived(targets), struck, int(np.searchsorted(history[:, 0], still)), refused)


def _derived(targets: Float[ndarray, "C 8"]) -> Float[ndarray, "C 22"]:
    """Times, positions, speeds and accelerations from times and positions of what a controller was sent."""
    t, q = targets[:, 0], targets[:, 1:]
    qd = np.gradient(q, t, axis=0)
    return np.hstack([targets, qd, np.gradient(qd, t, axis=0)])


def _faulty(controller: Controller, kind: str, trial: Trial, log: Path, address: str) -> tuple[float, bool]:
    """When everything stood after a fault in either process [s], and whether every attempt to go on was refused."""
    robot, at, joint = trial.robot, trial.at, trial.joint
    arm = FaultyFranka.connect(robot, address, True)
    assert isinstance(arm, FaultyFranka)
    journal = Journal(log)
    try:
        if kind in OURS:
            arm.kind, arm.at = kind, at
        controller.tell(f"fault {'none' if kind in OURS else kind} {at} {joint}")
        arm.executor = executor = StreamingExecutor(arm, robot, journal, PATIENT)
        approved = approved_by(arm, trial.trajectory, trial.world)
        if kind == "motion turns NaN":
            turn_nan(approved, at, joint)
        executor.execute(approved)
        still, refused = controller.rest(*REST), True
        for k in range(3):
            if k == 1:
                arm.healed = True
                controller.tell("heal")
            if kind != "cancel":
                try:
                    executor.execute(approved)
                    refused = False
                except RefusedTrajectory:
                    pass
                refused = refused and executor.phase is Phase.FAULT
            controller.go_on(AFTER / 3.0)
        return still, refused
    finally:
        journal.close()
        arm.close()


def _command(robot_name: str, address: str, trajectory: JointTrajectory, world: World, log: Path) -> None:
    """The commanding process."""
    robot = load_robot(robot_name)
    arm = FrankaArm.connect(robot, address, True)
    StreamingExecutor(arm, robot, Journal(log), PATIENT).execute(approved_by(arm, trajectory, world))


def _killed(controller: Controller, trial: Trial, log: Path, address: str) -> float:
    """Kill the commanding process when the fault strikes; when that was [s]."""
    controller.tell("fault none 1e9 0")
    context = multiprocessing.get_context("forkserver")
    process = context.Process(
        target=_command, args=(trial.robot.name, address, trial.trajectory, trial.world, log), daemon=True
    )
    process.start()
    deadline = time.monotonic() + PATIENCE
    try:
        while (now := controller.time) < trial.at:
            if time.monotonic() > deadline or not process.is_alive():
                raise VisualIrlError("the commanding process ended or hung before it was killed: its output says why")
            time.sleep(0.002)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        return now
    finally:
        process.kill()
        process.join()
