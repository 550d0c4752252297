"""A skill at work in MuJoCo: each step is planned from what the physics shows, mapped, approved, executed, and looked at.

Success is where the onions lie in the end. What an onion is becomes known when it is held at the inspection place, not before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import LearningFailed, RefusedTrajectory, Unreachable
from visual_irl.evaluation.likeness import Likeness, likeness_of, likeness_of_hand_only
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.execution.state import RobotState
from visual_irl.mapping.branch_path import BranchCosts
from visual_irl.mapping.offline import OfflineConfig
from visual_irl.mapping.retarget import RetargetConfig, retarget
from visual_irl.pipeline import Skill, arm_for, relations_at
from visual_irl.policy.closed_loop import UNKNOWN, ClosedLoop
from visual_irl.policy.hand_path import PolicyConfig, Step
from visual_irl.policy.skill import Thing
from visual_irl.reward.model import LinearReward
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.onion_sorting import BLEMISHED, OnionSorting
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings

PICTURES = 2.0
"""Pictures a second of simulated time, where they are wanted [1/s]."""
DROPPED = -0.1
"""What lies lower than this has fallen off the table [m]."""


@dataclass(frozen=True)
class ClosedLoopConfig:
    """How an episode is run."""

    position_noise: float = 0.003
    """Standard deviation of where things are seen, per axis [m]."""
    attempts: int = 3
    """Times that one thing is tried."""
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    retarget: RetargetConfig = field(default_factory=lambda: RetargetConfig(OfflineConfig(costs=BranchCosts(jump=1000.0))))
    """An arm at work changes its branch only where there is no other way."""


@dataclass
class Sorted:
    """What came of an episode."""

    placed: dict[str, bool]
    """Per onion, whether it lies in its bin: by the physics."""
    lost: int = 0
    """Grasps that failed or were lost, and were seen to be."""
    branch_changes: int = 0
    """Times that the arm left the demonstrated motion to change its branch."""
    refused: list[str] = field(default_factory=list)
    """Steps that no mapping was found for, or that the guard refused."""
    collisions: set[tuple[str, str]] = field(default_factory=set)
    """What the robot touched and should not have."""
    ours: list[Likeness] = field(default_factory=list)
    hand_only: list[Likeness] = field(default_factory=list)


class _Cell:
    """One robot in one scene: carries out steps, one from where the last ended."""

    def __init__(
        self, executor: MujocoExecutor, loop: ClosedLoop, scene: Scene, config: ClosedLoopConfig, T_world_base: ndarray
    ) -> None:
        self.executor, self.loop, self.config, self.T_world_base = executor, loop, config, T_world_base
        self.world = surroundings(scene, T_world_base)
        self.commanded: ndarray | None = None

    def carry_out(self, step: Step, result: Sorted, on_frame: Callable[[float], None] | None) -> None:
        """Map, approve and execute a step. Where its arm cannot follow without changing its branch it does so at rest.

        Raises:
            Unreachable, RefusedTrajectory: it was not executed.
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
        result.branch_changes += int((~report.joined[1:]).sum())
        q_now = trajectory.q[0] if self.commanded is None else self.executor.q
        stood = RobotState.at_rest(robot.joint_names, q_now)
        state = RobotState(robot.joint_names, stood.stamp_ns, q_now, stood.qd, q_target=self.commanded)
        done = self.executor.execute(approve(trajectory, robot, state, self.world, SIMULATED), on_frame, PICTURES)
        self.commanded, self.loop.hand = np.array(trajectory.q[-1]), step.end
        result.collisions |= set(done.details["collisions"])
        result.ours.append(likeness_of(robot, self.T_world_base, arm, report, done.t, done.q_measured))
        start = result.hand_only[-1].q_end if result.hand_only else np.array(robot.home)
        result.hand_only.append(likeness_of_hand_only(robot, self.T_world_base, arm, start, self.config.retarget))


def sort_onions(
    skill: Skill,
    robot: RobotModel,
    task: OnionSorting,
    scene: Scene,
    seed: int,
    config: ClosedLoopConfig = ClosedLoopConfig(),
    on_frame: Callable[[MujocoExecutor], None] | None = None,
) -> Sorted:
    """One episode: until every onion that can be reached lies in a bin, or has been tried often enough.

    Raises:
        LearningFailed: the skill needs fixtures that are not there.
    """
    rng = np.random.default_rng([seed, 1])
    relations = relations_at(skill.reward.relations, {f.name: f.T_world for f in scene.fixtures})
    loop = ClosedLoop(LinearReward(relations, skill.reward.theta), relations, skill.motion, config.policy)
    executor = MujocoExecutor(scene, robot, seed=seed)
    show = None if on_frame is None else lambda t: on_frame(executor)
    result = Sorted({})
    known: dict[str, float] = {}
    tried: dict[str, int] = dict.fromkeys((o.name for o in scene.objects), 0)
    try:
        cell = _Cell(executor, loop, scene, config, np.array(robot.T_world_base))
        while things := [
            t for t in _seen(executor, known, rng, config) if _to_do(t, scene) and tried[t.name] < config.attempts
        ]:
            thing = loop.choose(things)
            tried[thing.name] += 1
            try:
                _handle(cell, thing, things, known, result, show)
            except (Unreachable, RefusedTrajectory, LearningFailed) as error:
                result.refused.append(f"{thing.name}: {error}")
                if _holds(executor, thing) and not _let_go(cell, result, show):
                    break
        positions = executor.object_positions()
    finally:
        executor.close()
    result.placed = task.success(scene, positions)
    return result


def _handle(
    cell: _Cell,
    thing: Thing,
    things: list[Thing],
    known: dict[str, float],
    result: Sorted,
    show: Callable[[float], None] | None,
) -> None:
    """Take one thing and bring it where it belongs, as long as it is held."""
    executor, loop = cell.executor, cell.loop
    looks = loop.looks(thing)
    cell.carry_out(loop.take(thing, things, looks), result, show)
    if looks and _holds(executor, thing):
        cell.carry_out(loop.inspect(thing), result, show)
        if _holds(executor, thing):
            truth = {o.name: float(o.attributes[BLEMISHED]) for o in executor.scene.objects}
            known[thing.name] = truth[thing.name]  # it is held before the eyes now
    if not _holds(executor, thing):
        result.lost += 1
        cell.carry_out(loop.recover(), result, show)
        return
    decided = Thing(thing.name, thing.p_world, thing.radius, known.get(thing.name, UNKNOWN))
    cell.carry_out(loop.bring(decided, looks, [t for t in things if t is not thing]), result, show)


def _let_go(cell: _Cell, result: Sorted, show: Callable[[float], None] | None) -> bool:
    """Opens the hand after a step that could not be done; false where not even that is possible."""
    try:
        cell.carry_out(cell.loop.recover(), result, show)
    except (Unreachable, RefusedTrajectory) as error:
        result.refused.append(f"opening the hand: {error}")
        return False
    return True


def _holds(executor: MujocoExecutor, thing: Thing) -> bool:
    """Whether the closed fingers are kept apart by about the size of a thing: what a gripper says."""
    return executor.opening > 1.2 * thing.radius


def _seen(
    executor: MujocoExecutor, known: Mapping[str, float], rng: np.random.Generator, config: ClosedLoopConfig
) -> list[Thing]:
    """The onions where they are seen now."""
    positions = executor.object_positions()
    return [
        Thing(o.name, positions[o.name] + rng.normal(0.0, config.position_noise, 3), o.radius, known.get(o.name, UNKNOWN))
        for o in executor.scene.objects
    ]


def _to_do(thing: Thing, scene: Scene) -> bool:
    """Whether a thing is on the table and in no bin."""
    p: Float[ndarray, "3"] = thing.p_world
    return bool(p[2] > DROPPED) and not any(f.contains(p) for f in scene.fixtures)
