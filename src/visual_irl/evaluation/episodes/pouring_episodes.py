"""Pouring in MuJoCo, closed loop. Success is where the grains are in the end, and how the bottle stands.

Bottle and cup are seen by the cell's camera between steps. A whole path is looked for before anything moves: a hand that has
the bottle cannot take it in another way. It is the most human of the first few ways that the arm can go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from visual_irl import se3
from visual_irl.errors import NotSeen
from visual_irl.evaluation.episodes.closed_loop import NOT_DONE, Cell, ClosedLoopConfig, Worked
from visual_irl.evaluation.episodes.vessel_sight import VesselSight
from visual_irl.evaluation.statistics import pooled_share
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.mapping.feasibility import Outlook, look
from visual_irl.mapping.retarget import STEADY
from visual_irl.policy.pour_loop import PourLoop, PourView
from visual_irl.policy.pour_path import UP, Standing, Way
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.skills.parts import arm_for
from visual_irl.skills.pour_ways import possible_ways
from visual_irl.skills.pouring import PouringSkill
from visual_irl.tasks.pouring import Pouring
from visual_irl.tasks.scene import Scene
from visual_irl.types import HandPlan


@dataclass
class Poured(Worked):
    """What came of an episode."""

    share: float = 0.0
    """Of the grains, in the cup: by the physics."""
    disposed: bool = False
    """Whether the bottle stands upright in the zone."""
    way: Way | None = None
    """How the arm did it."""


@dataclass(frozen=True)
class PouringEpisodes:
    """Episodes with bottle, cup and zone at random places, on the table of the hand that demonstrated."""

    task: Pouring

    doing: ClassVar[str] = "pouring"

    def run(
        self, skill: PouringSkill, robot: RobotModel, seed: int, on_frame: Callable[[MujocoExecutor], None] | None = None
    ) -> Poured:
        """The episode of a seed."""
        task = self.task.for_side(skill.motion.side)
        return pour(skill, robot, task, task.sample_scene(np.random.default_rng([seed, 0])), seed, on_frame=on_frame)

    def scores(self, results: Sequence[Poured]) -> dict[str, Any]:
        """What is reported of episodes."""
        share, interval = pooled_share(np.array([r.share for r in results]), np.ones(len(results)))
        return {
            "success_rate": share,
            "success_ci": interval,
            "disposed_upright": float(np.mean([r.disposed for r in results])),
            "in_cup": [r.share for r in results],
            "way_strangeness": [r.way.strangeness if r.way is not None else None for r in results],
        }

    def said(self, content: dict[str, Any]) -> str:
        """One line about the scores."""
        low, high = content["success_ci"]
        return (
            f"{100 * content['success_rate']:.1f} % of the grains in the cup "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}), the bottle disposed of upright in "
            f"{100 * content['disposed_upright']:.0f} % of the episodes, by the physics"
        )


def pour(
    skill: PouringSkill,
    robot: RobotModel,
    task: Pouring,
    scene: Scene,
    seed: int,
    config: ClosedLoopConfig | None = None,
    on_frame: Callable[[MujocoExecutor], None] | None = None,
) -> Poured:
    """One episode: until the bottle is put down empty, or cannot be taken any more.

    Raises:
        LearningFailed: the learned policy would tip or leave the bottle where it does not belong.
        MissingDependency: there is no OpenGL to see with.
    """
    config, rng = config or ClosedLoopConfig(retarget=STEADY), np.random.default_rng([seed, 1])
    executor = MujocoExecutor(scene, robot, seed=seed)
    loop, result = skill.loop(config.policy), Poured()
    cell = Cell(executor, loop, config)
    sight = VesselSight(executor, (skill.relations.vessel, skill.relations.receiver), rng)
    show = None if on_frame is None else lambda t: on_frame(executor)
    view: PourView | None = None
    tried, poured = 0, False
    try:
        while tried < config.attempts:
            view = _seen(skill, cell, sight, view, poured)
            acts = loop.acts(view)
            if not (acts and _do(cell, loop, view, acts, result, show)) or acts[0] == "dispose":
                break
            tried += acts[0] == "take"
            if _holds(cell, view.vessel):
                poured |= acts[0] == "pour"
            else:
                result.lost += 1
                cell.carry_out(loop.recover(result.way or Way()), result, show, steady=True)
    except (*NOT_DONE, NotSeen) as error:
        result.refused.append(str(error))
    finally:
        executor.close()
    outcome = executor.outcome()
    result.share, result.disposed = task.poured(scene, outcome), task.disposed(scene, outcome)
    return result


def _do(
    cell: Cell[PourLoop],
    loop: PourLoop,
    view: PourView,
    acts: Sequence[str],
    result: Poured,
    show: Callable[[float], None] | None,
) -> bool:
    """The first of some acts, in the way that was chosen or, where that cannot be gone any more, in another; false if none."""
    reasons: list[str] = []

    def outlook(plan: HandPlan, from_here: bool) -> Outlook:
        q_start = cell.commanded if from_here else None
        arm = arm_for(loop.motion, plan)
        return look(arm, cell.executor.robot, cell.T_world_base, cell.world, cell.config.retarget, q_start)

    for way in possible_ways(loop, view, acts, outlook, result.way, reasons):
        try:
            cell.carry_out(loop.step(view, way, acts), result, show, steady=True, foreseen=True)  # what is taken must be poured
        except NOT_DONE as error:
            reasons.append(str(error))
            continue
        result.way = way
        return True
    result.refused.append(f"{acts[0]}: none of {len(reasons)} ways can be gone, the first because: {reasons[0]}")
    return False


def _seen(skill: PouringSkill, cell: Cell[PourLoop], sight: VesselSight, before: PourView | None, poured: bool) -> PourView:
    """Where things are seen to stand now. What is in the hand is where the hand is; once it was tipped, nothing is left in it.

    Raises:
        NotSeen: something does not stand where the camera sees it.
    """
    sight.look()
    r, held = skill.relations, before is not None and _holds(cell, before.vessel)
    receiver, zone = sight.standing(r.receiver), cell.executor.scene.zone(r.zone).T_world[:3, 3]
    middle = se3.transform(np.eye(3), receiver.p_world + 0.5 * receiver.height * UP)
    cup = Obstacle.cylinder(r.receiver, middle, receiver.radius, 0.5 * receiver.height)
    cell.world = World((*cell.fixed.obstacles, cup), cell.T_world_base)
    if before is None or not held:
        return PourView(sight.standing(r.vessel), receiver, zone, False, poured)
    assert cell.loop.hand is not None
    foot = cell.loop.hand.p_world - cell.loop.pour.grip_height * UP
    return PourView(replace(before.vessel, p_world=foot), receiver, zone, True, poured)


def _holds(cell: Cell[PourLoop], vessel: Standing) -> bool:
    """Whether the fingers, which were closed, are kept apart by about the size of the vessel: what a gripper says."""
    hand = cell.loop.hand
    return hand is not None and hand.closed > 0.5 and cell.executor.opening > 1.2 * vessel.radius
