"""A mapped motion that would collide is repaired before it is executed, and what was changed is said."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from visual_irl.errors import WouldCollide
from visual_irl.execution.guard import GuardConfig, SkillSeal, approve
from visual_irl.execution.state import RobotState
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.repair import Repaired, repair
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.types import JointTrajectory
from visual_irl.verbs.console import say


def free_of_collisions(
    motion: MappedMotion, config: GuardConfig, planner: PlannerConfig, seal: SkillSeal | None = None
) -> tuple[MappedMotion, list[dict[str, Any]]]:
    """The motion from its own start, repaired where it would collide, and what was changed, if anything.

    Args:
        motion: what was mapped.
        config: the guard's bounds.
        planner: how detours are planned.
        seal: the skill that the motion was made with and the one that is there, where that is to be checked.

    Raises:
        RefusedTrajectory: the guard has another reason.
        InCollision, NoPathFound: the motion begins or ends in touch with something, or there is no way around.
    """
    way, robot = motion.trajectory, motion.robot
    start = RobotState.at_rest(robot.joint_names, way.q[0])
    try:
        approve(way, robot, start, motion.world, config, skill=seal, held=motion.held)
        return motion, []
    except WouldCollide as refusal:
        say(f"as it was mapped, the motion would collide: {refusal}")
    repaired = repair(way, robot, motion.world, planner, motion.held)
    changes = _changes(way, repaired)
    say(f"  repaired, {repaired.slowdown:.2f} times as long")
    return replace(motion, trajectory=repaired.trajectory, held=repaired.held), changes


def _changes(given: JointTrajectory, repaired: Repaired) -> list[dict[str, Any]]:
    """Where the motion was changed, how, and by how much at most; said and returned."""
    rows: list[dict[str, Any]] = []
    for stretch in repaired.stretches:
        inside = (given.t >= stretch.start) & (given.t <= stretch.end)
        moved, turned, limbs = (
            float(a[inside].max(initial=0.0)) for a in (repaired.hand_moved, repaired.hand_turned, repaired.limbs_turned)
        )
        hand = f"the hand moves by up to {1e3 * moved:.0f} mm and turns by {np.degrees(turned):.0f} deg"
        arm = f"upper arm or forearm by {np.degrees(limbs):.0f} deg"
        say(f"  {stretch.start:.1f} to {stretch.end:.1f} s, {stretch.how}: {hand}, {arm}")
        row = {"start_s": stretch.start, "end_s": stretch.end, "how": stretch.how}
        rows.append({**row, "hand_moved_m": moved, "hand_turned_rad": turned, "limbs_turned_rad": limbs})
    return rows
