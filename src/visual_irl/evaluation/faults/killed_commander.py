"""The process that commands an arm is killed: the physics goes on in another one, and the log is what the dead one left."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import VisualIrlError
from visual_irl.evaluation.faults.trial import Trial, approved_by
from visual_irl.execution.journal import Journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.state import RobotState
from visual_irl.execution.streaming import StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

PATIENCE = 120.0
"""How long the commander may take for a cycle, its start included [s]."""


class DistantArm:
    """An arm at the other end of a pipe: a target goes there every cycle, the state after it comes back."""

    def __init__(self, robot: RobotModel, pipe: Connection, period: float) -> None:
        self.robot, self.joint_names, self.period = robot, robot.joint_names, period
        self._pipe = pipe
        self._target: tuple[ndarray, ndarray, ndarray] | None = None
        self._state: RobotState = pipe.recv()

    def now_ns(self) -> int:
        return self._state.stamp_ns

    def read(self) -> RobotState:
        return self._state

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        self._target = (q.copy(), qd.copy(), qdd.copy())

    def wait(self) -> None:
        self._pipe.send(self._target)
        self._target = None
        self._state = self._pipe.recv()

    def halt(self) -> None:
        self._pipe.send(None)
        self._state = self._pipe.recv()


def _command(pipe: Connection, robot_name: str, trajectory: JointTrajectory, world: World, log: Path, period: float) -> None:
    """The commanding process."""
    robot = load_robot(robot_name)
    arm = DistantArm(robot, pipe, period)
    StreamingExecutor(arm, robot, Journal(log)).execute(approved_by(arm, trajectory, world))


def run_until_killed(arm: MujocoArm, trial: Trial, log: Path, delay: float, step: Callable[[], None]) -> None:
    """Let another process move `arm` as in the trial, and kill it `delay` [s] after the cycle began in which the fault strikes.

    Raises:
        VisualIrlError: the process ended or hung before it was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    here, there = context.Pipe()
    told = (there, arm.robot.name, trial.trajectory, trial.world, log, arm.period)
    process = context.Process(target=_command, args=told, daemon=True)
    process.start()
    there.close()
    try:
        here.send(arm.read())
        while True:
            target = _received(here)
            if target is not None:
                arm.command(*target)
            step()
            if arm.data.time >= trial.at:
                break
            here.send(arm.read())
        here.send(arm.read())  # it goes on with its next cycle, and dies somewhere in it
        time.sleep(delay)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join(PATIENCE)
        while here.poll():
            try:
                target = here.recv()
            except (EOFError, OSError):
                break
            if target is not None:
                arm.command(*target)
                step()
    finally:
        process.kill()
        process.join()
        here.close()


def _received(pipe: Connection) -> tuple[ndarray, ndarray, ndarray] | None:
    try:
        if pipe.poll(PATIENCE):
            target: tuple[ndarray, ndarray, ndarray] | None = pipe.recv()
            return target
    except EOFError:
        pass
    raise VisualIrlError("the commanding process ended before it was killed: its output says why")
