"""The arm behind the node `executor`: it executes one approved motion at a time, and stands otherwise while its time goes on.

No ROS here: what the node hands in are the library's types and functions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.arm import Arm
from visual_irl.execution.guard import ApprovedTrajectory, GuardConfig, approve
from visual_irl.execution.state import RobotState
from visual_irl.execution.streaming import Cycle, Phase, StreamConfig, StreamingExecutor
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import ExecutionReport, JointTrajectory
from visual_irl_ros.controller_arm import ControllerArm
from visual_irl_ros.pacer import Pacer
from visual_irl_ros.priority import prompt

TOLD_PERIOD = 0.1
"""How often the time on a motion is told [s]."""
STANDING_PERIOD = 0.01
"""How often the state of a standing arm is told [s]."""


class Cell:
    """One arm with its executor; `tell` gets every state. `taken` is held by whoever has a motion to execute."""

    def __init__(
        self, arm: Arm, robot: RobotModel, config: StreamConfig, tell: Callable[[RobotState], None], guard: GuardConfig
    ) -> None:
        self.arm, self.robot, self.guard, self.taken = arm, robot, guard, threading.Lock()
        self._executor = StreamingExecutor(arm, robot, config=config)
        self._tell, self._busy, self._ended = tell, threading.Lock(), threading.Event()
        self._rehearse()
        self._thread = threading.Thread(target=self._stand, daemon=True)
        self._thread.start()

    def _rehearse(self) -> None:
        """Have the guard's checks compiled before the first motion comes."""
        t, q = np.linspace(0.0, 0.5, 3), self.arm.read().q
        if not np.isfinite(q).all():  # a real arm that has not been heard yet
            return
        still = JointTrajectory(self.robot.joint_names, t, np.tile(q, (3, 1)), np.zeros((3, len(q))), np.zeros(3))
        with suppress(RefusedTrajectory):  # where the arm may not stand; the first motion will be refused with that reason
            self.approve(still)

    @property
    def phase(self) -> Phase:
        """What the executor is doing."""
        return self._executor.phase

    @property
    def reason(self) -> str:
        """Why it is in FAULT."""
        return self._executor.reason

    def approve(self, motion: JointTrajectory) -> ApprovedTrajectory:
        """The guard's judgement from where the arm is.

        Raises:
            RefusedTrajectory: it may not be executed; says why.
        """
        with self._busy:
            state, now = self.arm.read(), self.arm.now_ns()
        world = surroundings(Scene((), ()), self.robot.T_world_base)
        return approve(motion, self.robot, state, world, self.guard, now_ns=now)

    def execute(
        self, approved: ApprovedTrajectory, stop: Callable[[], bool], progress: Callable[[float], object]
    ) -> ExecutionReport:
        """Move; the arm comes to rest on its path as soon as `stop` says so. `progress` gets the time on the motion [s]."""
        pacer, told = Pacer(self.arm.period), [0.0]

        def cycle(done: Cycle) -> None:
            if stop():
                self._executor.cancel()
            self._tell(done.state)
            if done.time >= told[0]:
                progress(float(done.s))
                told[0] = done.time + TOLD_PERIOD
            pacer.wait()

        with self._busy, prompt():  # time goes on in the execution, not in `_stand`
            return self._executor.execute(approved, cycle)

    def reconfigure(self, config: StreamConfig) -> None:
        """Watch by these bounds from the next motion on.

        Raises:
            RefusedTrajectory: a motion is being executed.
        """
        if not self.taken.acquire(blocking=False):
            raise RefusedTrajectory("a motion is being executed: change this while the arm stands")
        self._executor.config = config
        self.taken.release()

    def reset(self) -> str:
        """Leave FAULT, after a person has looked; why that is not possible, or nothing."""
        try:
            with self._busy:
                if isinstance(self.arm, ControllerArm):
                    self.arm.recover()
                self._executor.reset()
        except RefusedTrajectory as error:
            return str(error)
        return ""

    def _stand(self) -> None:
        pacer, steps = Pacer(STANDING_PERIOD), max(1, round(STANDING_PERIOD / self.arm.period))
        with prompt():
            while not self._ended.is_set():
                with self._busy:
                    for _ in range(steps):
                        self.arm.wait()
                    self._tell(self.arm.read())
                pacer.wait()

    def close(self) -> None:
        """Stop the arm."""
        self._executor.cancel()
        self._ended.set()
        self._thread.join(0.5)
