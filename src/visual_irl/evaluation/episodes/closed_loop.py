"""One robot at work in MuJoCo: every step is planned from what the physics shows, mapped, approved, executed, and looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy import ndarray

from visual_irl.errors import InCollision, NoPathFound, RefusedTrajectory, Unreachable
from visual_irl.evaluation.episodes.likeness import Likeness, hand_only, likeness_of
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.execution.state import RobotState
from visual_irl.mapping.retarget import AT_WORK, ON_TABLE, MappingReport, RetargetConfig, follow
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.repair import repair
from visual_irl.policy.hand_path import PolicyConfig, Step
from visual_irl.policy.motion import MotionLibrary
from visual_irl.robots.model import RobotModel
from visual_irl.skills.parts import arm_for
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import HumanArmTrajectory, JointTrajectory

PICTURES = 2.0
"""Pictures a second of simulated time, where they are wanted [1/s]."""
NOT_DONE = (Unreachable, RefusedTrajectory, InCollision, NoPathFound)
"""Why a step is not executed: the arm does not reach, the guard refuses, or there is no way around what is in the way."""
PLANNER = PlannerConfig(time_limit=600.0)
"""An episode waits for the answer: that a machine is slow, or has other work, does not change what comes of it."""
DROPPED = -0.1
"""What lies lower than this has fallen off the table [m]."""


@dataclass(frozen=True)
class ClosedLoopConfig:
    """How an episode is run."""

    attempts: int = 3
    """Times that one thing is tried."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    retarget: RetargetConfig = AT_WORK
    otherwise: RetargetConfig = ON_TABLE
    """How a motion is mapped that cannot be done so."""


@dataclass
class Worked:
    """What came of an episode, whatever the task."""

    lost: int = 0
    """Grasps that failed or were lost, and were seen to be."""
    repaired: int = 0
    """Steps whose motion would have collided, and was changed."""
    branch_changes: int = 0
    """Times that the arm left the demonstrated motion to change its branch."""
    refused: list[str] = field(default_factory=list)
    """Steps that no mapping was found for, or that the guard refused."""
    collisions: set[tuple[str, str]] = field(default_factory=set)
    """What the robot touched and should not have."""
    ours: list[Likeness] = field(default_factory=list)
    """Of what was executed, as measured."""
    planned: list[Likeness] = field(default_factory=list)
    """Of the same before it was executed."""
    hand_only: list[Likeness] = field(default_factory=list)
    """Of what a solver for the hand alone plans for it."""
    hand_only_executed: list[Likeness] = field(default_factory=list)
    """Of what of that could be executed, as measured."""


@runtime_checkable
class Episodes(Protocol):
    """How skills of a task are tried: a dataclass whose first field is the task, and the others what may be varied."""

    @property
    def doing(self) -> str:
        """What a robot does in an episode."""
        ...

    def run(self, skill: Any, robot: RobotModel, seed: int, on_frame: Callable[[MujocoExecutor], None] | None = None) -> Worked:
        """The episode of a seed."""
        ...

    def scores(self, results: Sequence[Any]) -> dict[str, Any]:
        """What is reported of episodes, with `success_rate` and `success_ci`."""
        ...

    def said(self, content: dict[str, Any]) -> str:
        """One line about the scores."""
        ...


@runtime_checkable
class Loop(Protocol):
    """A policy that plans from where its hand is; planning alone moves nothing."""

    motion: MotionLibrary
    hand: Any
    """A `HandState`; None where it has none yet."""


L = TypeVar("L", bound=Loop)


class Cell(Generic[L]):
    """One robot in one scene: carries out steps, one from where the last ended."""

    def __init__(self, executor: MujocoExecutor, loop: L, config: ClosedLoopConfig) -> None:
        self.executor, self.loop, self.config = executor, loop, config
        self.T_world_base = np.array(executor.robot.T_world_base)
        self.fixed = surroundings(replace(executor.scene, vessels=()), self.T_world_base)
        self.world = self.fixed
        """What is not to be touched: what stands fixed, and what was seen."""
        self.commanded: ndarray | None = None

    def carry_out(
        self,
        step: Step,
        result: Worked,
        on_frame: Callable[[float], None] | None,
        steady: bool = False,
        foreseen: bool = False,
        pictures: float = PICTURES,
    ) -> None:
        """Map, approve and execute a step; `on_frame` is called `pictures` times a second of simulated time.

        Where its arm cannot follow without changing its branch it does so at rest. A motion that cannot be done is mapped
        another way, then repaired; but where what the hand holds is to be kept `steady`, nothing of all this is done. Where it
        is to be `foreseen` all that is planned to follow has to be approved with it, as one motion, before anything moves.

        Raises:
            `NOT_DONE`: it was not executed.
        """
        whole, usual, otherwise = arm_for(self.loop.motion, step.plan), self.config.retarget, self.config.otherwise
        ways = [(usual, False)] if steady else [(usual, False), (otherwise, False), (usual, True), (otherwise, True)]
        for k, (config, repairs) in enumerate(ways, start=1):
            try:
                approved, report = self._approved(step, whole, config, steady, repairs, foreseen)
                break
            except NOT_DONE:
                if k == len(ways):
                    raise
        done = self.executor.execute(approved, on_frame, pictures)
        result.repaired += repairs
        result.branch_changes += int((~report.joined[1:]).sum())
        self.commanded, self.loop.hand = np.array(approved.trajectory.q[-1]), step.end
        result.collisions |= set(done.details["collisions"])
        robot, arm = self.executor.robot, whole.cut(slice(0, step.samples))
        base, plan, times = self.T_world_base, approved.trajectory, report.trajectory_t
        result.ours.append(likeness_of(robot, base, arm, times, done.t, done.q_measured))
        result.planned.append(likeness_of(robot, base, arm, times, plan.t, plan.q))
        start = result.hand_only[-1].q_end if result.hand_only else np.array(robot.home)
        rival = hand_only(robot, base, arm, start, self.config.retarget, self.world, self.executor.scene)
        result.hand_only.append(rival.planned)
        if rival.executed is not None:
            result.hand_only_executed.append(rival.executed)

    def _approved(
        self, step: Step, whole: HumanArmTrajectory, config: RetargetConfig, steady: bool, repairs: bool, foreseen: bool
    ) -> tuple[ApprovedTrajectory, MappingReport]:
        """The part of an arm's motion that is done now, mapped, repaired if it may be, and approved; after all of it was, where
        it is to be `foreseen`."""
        stands = (0, step.samples - 1)
        followed = follow(whole, self.executor.robot, self.T_world_base, config, q_start=self.commanded, stands=stands)
        if foreseen:
            self._checked(followed.timed(), step, steady, repairs)
        return self._checked(followed.timed(step.samples), step, steady, repairs)

    def _checked(
        self, mapped: tuple[JointTrajectory, MappingReport], step: Step, steady: bool, repairs: bool
    ) -> tuple[ApprovedTrajectory, MappingReport]:
        """A motion that was mapped, repaired if it may be, and approved."""
        robot, (trajectory, report) = self.executor.robot, mapped
        if not report.reachable.all():
            worst = int(np.argmax(report.position_error))
            missing = 1e3 * report.position_error[worst]
            raise Unreachable(f"'{robot.name}' does not reach {step.plan.phase[worst]}: {missing:.0f} mm are missing")
        changes = int((~report.joined[1:]).sum())
        if steady and changes:
            raise Unreachable(f"'{robot.name}' would change its branch {changes} times, with what it holds in the hand")
        q_now = trajectory.q[0] if self.commanded is None else self.executor.q
        if repairs:
            repaired = repair(trajectory, robot, self.world, PLANNER)
            trajectory, report = repaired.trajectory, replace(report, trajectory_t=repaired.slowdown * report.trajectory_t)
        stood = RobotState.at_rest(robot.joint_names, q_now)
        state = RobotState(robot.joint_names, stood.stamp_ns, q_now, stood.qd, q_target=self.commanded)
        return approve(trajectory, robot, state, self.world, SIMULATED), report
