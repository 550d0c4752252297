"""One robot at work in MuJoCo: every step is planned from what the physics shows, mapped, approved, executed, and looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy import ndarray

from visual_irl.errors import InCollision, NoPathFound, RefusedTrajectory, Unreachable, WouldCollide
from visual_irl.evaluation.likeness import Likeness, likeness_of, likeness_of_hand_only
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.execution.state import RobotState
from visual_irl.mapping.branch_path import BranchCosts
from visual_irl.mapping.offline import OfflineConfig
from visual_irl.mapping.retarget import RetargetConfig, retarget
from visual_irl.planning.repair import repair
from visual_irl.policy.hand_path import PolicyConfig, Step
from visual_irl.policy.motion import MotionLibrary
from visual_irl.skills.parts import arm_for
from visual_irl.tasks.surroundings import surroundings

PICTURES = 2.0
"""Pictures a second of simulated time, where they are wanted [1/s]."""
NOT_DONE = (Unreachable, RefusedTrajectory, InCollision, NoPathFound)
"""Why a step is not executed: the arm does not reach, the guard refuses, or there is no way around what is in the way."""
DROPPED = -0.1
"""What lies lower than this has fallen off the table [m]."""


@dataclass(frozen=True)
class ClosedLoopConfig:
    """How an episode is run."""

    position_noise: float = 0.003
    """Standard deviation of where vessels are said to be, per axis [m]."""
    attempts: int = 3
    """Times that one thing is tried."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    retarget: RetargetConfig = field(default_factory=lambda: RetargetConfig(OfflineConfig(costs=BranchCosts(jump=1000.0))))
    """An arm at work changes its branch only where there is no other way."""


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
    hand_only: list[Likeness] = field(default_factory=list)


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
        self.world = surroundings(executor.scene, self.T_world_base)
        self.commanded: ndarray | None = None

    def carry_out(
        self,
        step: Step,
        result: Worked,
        on_frame: Callable[[float], None] | None,
        steady: bool = False,
        pictures: float = PICTURES,
    ) -> None:
        """Map, approve and execute a step. Where its arm cannot follow without changing its branch it does so at rest, or, if
        what it holds is to be kept `steady`, not at all. `on_frame` is called `pictures` times a second of simulated time.

        A motion that would collide is repaired, unless what is held is to be kept steady.

        Raises:
            `NOT_DONE`: it was not executed.
        """
        robot, plan = self.executor.robot, step.plan
        whole = arm_for(self.loop.motion, plan)
        trajectory, report = retarget(
            whole, robot, self.T_world_base, self.config.retarget, q_start=self.commanded, frames=step.samples
        )
        arm = whole.cut(slice(0, step.samples))
        if not report.reachable.all():
            worst = int(np.argmax(report.position_error))
            raise Unreachable(
                f"'{robot.name}' does not reach {plan.phase[worst]}: {1e3 * report.position_error[worst]:.0f} mm are missing"
            )
        changes = int((~report.joined[1:]).sum())
        if steady and changes:
            raise Unreachable(f"'{robot.name}' would change its branch {changes} times, with what it holds in the hand")
        result.branch_changes += changes
        q_now = trajectory.q[0] if self.commanded is None else self.executor.q
        stood = RobotState.at_rest(robot.joint_names, q_now)
        state = RobotState(robot.joint_names, stood.stamp_ns, q_now, stood.qd, q_target=self.commanded)
        try:
            approved = approve(trajectory, robot, state, self.world, SIMULATED)
        except WouldCollide:
            if steady:
                raise
            repaired = repair(trajectory, robot, self.world)
            approved = approve(repaired.trajectory, robot, state, self.world, SIMULATED)
            report = replace(report, trajectory_t=repaired.slowdown * report.trajectory_t)
            result.repaired += 1
        done = self.executor.execute(approved, on_frame, pictures)
        self.commanded, self.loop.hand = np.array(trajectory.q[-1]), step.end
        result.collisions |= set(done.details["collisions"])
        result.ours.append(likeness_of(robot, self.T_world_base, arm, report, done.t, done.q_measured))
        start = result.hand_only[-1].q_end if result.hand_only else np.array(robot.home)
        result.hand_only.append(likeness_of_hand_only(robot, self.T_world_base, arm, start, self.config.retarget))
