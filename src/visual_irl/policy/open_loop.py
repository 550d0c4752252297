"""The skill in one go: everything that the policy would do with what was seen once, as one path of the hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from visual_irl.policy.free_place import free_places
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion import MotionLibrary
from visual_irl.policy.optimal import GraphPlan
from visual_irl.policy.skill import SortingPath, Thing, grasp_yaw, inspects, released_in
from visual_irl.tasks.pick_place_graph import Relations
from visual_irl.tasks.scene import Fixture
from visual_irl.types import HandPlan


def perform(
    decisions: list[tuple[Thing, GraphPlan]],
    motion: MotionLibrary,
    relations: Relations,
    config: PolicyConfig,
    fixtures: Sequence[Fixture] = (),
) -> HandPlan:
    """The hand's path for a list of decisions.

    `fixtures` are those whose size is known: no finger is to land on their walls, and in them things are let go beside what
    lies there by then. Over others the hand opens where the person's does.

    Raises:
        LearningFailed: the policy does not bring an object into any fixture, with what it would do instead.
    """
    path, sized = SortingPath(motion, relations, config), {f.name: f for f in fixtures}
    left, placed = [thing for thing, _ in decisions], list[Thing]()
    for thing, plan in decisions:
        goal, looks = released_in(plan, relations), inspects(plan)
        path.pick(thing, grasp_yaw(path.heading(thing.p_world), thing, left, fixtures))
        left.remove(thing)
        if looks:
            path.look(motion.dwell)
        at = free_places(sized[goal], thing.radius, [*left, *placed])[0] if goal in sized else None
        path.release(goal, looks, at)
        placed.append(replace(thing, p_world=np.array([*path.at[:2], thing.radius])))
    return path.finish()
