"""The arm behind the node `executor`: it executes one approved motion at a time, and stands otherwise while its time goes on.

No ROS here: what the node hands in are the library's types and functions.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy import ndarray

from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.arm import Arm
from visual_irl.execution.guard import ApprovedTrajectory, GuardConfig, approve
from visual_irl.execution.hardware import HardwareGripper
from visual_irl.execution.journal import Journal
from visual_irl.execution.mujoco_arm import REST, MujocoArm
from visual_irl.execution.state import RobotState
from visual_irl.execution.streaming import Cycle, Phase, StreamConfig, StreamingExecutor
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.types import ExecutionReport, JointTrajectory
from visual_irl_ros.controller_arm import ControllerArm
from visual_irl_ros.pacer import Pacer
from visual_irl_ros.priority import prompt

TOLD_PERIOD = 0.1
"""How often the time on a motion is told [s]."""
STANDING_PERIOD = 0.01
"""How often the state of a standing arm is told [s]."""


def still_at(robot: RobotModel, q: ndarray) -> JointTrajectory:
    """A motion that stays where it is, at `q` (J,) [rad]."""
    none = np.zeros((3, len(q)))
    return JointTrajectory(robot.joint_names, np.linspace(0.0, 0.5, 3), none + q, none, np.zeros(3))


class Cell:
    """One arm with its executor; `tell` gets every state. `taken` is held by whoever has a motion to execute."""

    def __init__(
        self,
        arm: Arm,
        robot: RobotModel,
        config: StreamConfig,
        tell: Callable[[RobotState], None],
        guard: GuardConfig,
        gripper: HardwareGripper | None = None,
        journal: Journal | None = None,
    ) -> None:
        self.arm, self.robot, self.guard, self.taken = arm, robot, guard, threading.Lock()
        fingers = arm.gripper if isinstance(arm, MujocoArm) else gripper
        self._executor = StreamingExecutor(arm, robot, journal, config, fingers)
        self._gripper, self._among = gripper, MappedMotion(still_at(robot, robot.home), robot, robot.T_world_base)
        self._tell, self._busy, self._ended = tell, threading.Lock(), threading.Event()
        self._rehearse()
        self._thread = threading.Thread(target=self._stand, daemon=True)
        self._thread.start()

    def _rehearse(self) -> None:
        """Have the guard's checks compiled before the first motion comes."""
        q = self.arm.read().q
        if not np.isfinite(q).all():  # a real arm that has not been heard yet
            return
        with suppress(RefusedTrajectory):  # where the arm may not stand; the first motion will be refused with that reason
            self.approve(MappedMotion(still_at(self.robot, q), self.robot, self.robot.T_world_base))

    @property
    def phase(self) -> Phase:
        """What the executor is doing."""
        return self._executor.phase

    @property
    def reason(self) -> str:
        """Why it is in FAULT."""
        return self._executor.reason

    def approve(self, motion: MappedMotion) -> ApprovedTrajectory:
        """The guard's judgement from where the arm is, among what the motion was made for.

        Raises:
            RefusedTrajectory: it may not be executed; says why.
            VisualIrlError: its task is not installed here, or has no such things.
        """
        with self._busy:
            state, now = self.arm.read(), self.arm.now_ns()
        if motion.way_there is not None:  # what is taken later is not to be touched yet
            approve(motion.way_there, self.robot, state, motion.world_before, self.guard, now)
        return approve(motion.trajectory, self.robot, state, motion.world, self.guard, now, held=motion.held)

    def run(self, motion: MappedMotion, stop: Callable[[], bool], progress: Callable[[float], object]) -> ExecutionReport:
        """Execute a motion after the guard approved it; a simulated arm stands among its things then.

        The arm comes to rest on its path as soon as `stop` says so. `progress` gets the time on the motion [s]. Of a simulated
        task the report's detail `succeeded` says of each thing whether it ended as it should.

        Raises:
            RefusedTrajectory: it may not be executed; nothing moved, but for fingers that were just switched on.
            VisualIrlError: its task is not installed here, has no such things, or the gripper does not answer.
        """
        approved = self.approve(motion)
        if self._gripper is not None:
            self._gripper.prepare()
            approved = self.approve(motion)
        elif isinstance(self.arm, MujocoArm):
            self._stand_among(motion, self.arm)
        report = self._execute(approved, stop, progress)
        if isinstance(self.arm, MujocoArm) and motion.things and report.outcome == "executed":
            until = self.arm.now_ns() + round(1e9 * REST)
            while self.arm.now_ns() < until and not self._ended.wait(STANDING_PERIOD):
                pass  # time goes on in `_stand`
            with self._busy:
                outcome = self.arm.outcome()
            report.details["succeeded"] = motion.succeeded(outcome)
        return report

    def _stand_among(self, motion: MappedMotion, arm: MujocoArm) -> None:
        """Put the things of a motion around the simulated arm, which stays where it is, as they were seen."""
        if motion is self._among or not (motion.task or self._among.task) or self.phase is Phase.FAULT:
            return
        with self._busy:
            scene = motion.scene if motion.task else None
            new = MujocoArm(self.robot, arm.target, scene, motion.T_world_base, arm.gripper.opening)
            new.data.time = arm.data.time  # states go on
            self.arm = self._executor.arm = new
            self._executor.gripper, self._among = new.gripper, motion

    def _execute(
        self, approved: ApprovedTrajectory, stop: Callable[[], bool], progress: Callable[[float], object]
    ) -> ExecutionReport:
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
        pacer = Pacer(STANDING_PERIOD)
        with prompt():
            while not self._ended.is_set():
                with self._busy:
                    for _ in range(max(1, round(STANDING_PERIOD / self.arm.period))):
                        self.arm.wait()
                    self._tell(self.arm.read())
                pacer.wait()

    def close(self) -> bool:
        """Stop the arm, for good; whether nothing is executed any more."""
        self._executor.cancel()
        self._ended.set()
        self._thread.join(0.5)
        if self._gripper is not None:
            self._gripper.disconnect()
        return self.taken.acquire(timeout=0.3)
