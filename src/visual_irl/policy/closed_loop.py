"""The skill one step at a time: take a thing, look at it, bring it where it belongs; the world is seen again between steps.

What to do is decided by the learned reward on the graph of the task, with what is known at that moment: the attribute of a
thing is unknown until it has been inspected, where things are is what was seen last, and a thing that was lost is taken again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import LearningFailed
from visual_irl.policy.hand_path import HandState, PolicyConfig, Step
from visual_irl.policy.motion import MotionLibrary
from visual_irl.policy.optimal import GraphPlan
from visual_irl.policy.skill import Reward, SortingPath, Thing, grasp_yaw, inspects, plans_into_fixtures, released_in
from visual_irl.tasks.pick_place_graph import Relations, build_graph
from visual_irl.tasks.scene import Fixture

UNKNOWN = float("nan")
"""Attribute of a thing that has not been inspected."""


class ClosedLoop:
    """Plans the next step from `hand`, where the last step that was done ended; planning alone moves nothing."""

    def __init__(
        self,
        reward: Reward,
        relations: Relations,
        motion: MotionLibrary,
        config: PolicyConfig,
        fixtures: Sequence[Fixture] = (),
    ) -> None:
        """`fixtures` are those on whose walls no finger is to land."""
        self.reward, self.relations, self.motion, self.config = reward, relations, motion, config
        self.fixtures = fixtures
        self.hand: HandState = SortingPath(motion, relations, config).state

    def choose(self, things: Sequence[Thing], hand: HandState | None = None) -> Thing:
        """The thing whose plan is worth most from `hand`, or from where it is; an unknown one is worth all kinds' mean."""
        return max(things, key=lambda t: float(np.mean([self._plan(kind, hand=hand).value for kind in self._kinds(t)])))

    def looks(self, thing: Thing) -> bool:
        """Whether the thing is inspected: whatever its attribute, where that is unknown.

        Raises:
            LearningFailed: what is done depends on an attribute that the skill does not look at.
        """
        if not np.isnan(thing.attribute):
            return inspects(self._plan(thing))
        plans = [self._plan(kind) for kind in self._kinds(thing)]
        if any(inspects(p) for p in plans):
            return True
        if len({released_in(p, self.relations) for p in plans}) > 1:
            raise LearningFailed(
                f"where '{thing.name}' belongs depends on an attribute that is unknown, and the skill never inspects: tell the "
                "attribute, or demonstrate with an inspection"
            )
        return False

    def take(self, thing: Thing, others: Sequence[Thing], look: bool) -> Step:
        """Reach for a thing, grasp and lift it; then it will be inspected, or not."""
        path = self._path()
        path.pick(thing, self._grasp_yaw(path, thing, others))
        samples, end = path.done("lift")
        if look:
            path.look(self.motion.dwell)
        path.release(self.goal(thing, look), look)
        return Step(path.plan(), samples, end)

    def inspect(self, thing: Thing) -> Step:
        """Bring what is held to the inspection place and turn it."""
        path = self._path()
        path.look(self.motion.dwell)
        samples, end = path.done("look")
        path.release(self.goal(thing, True), True)
        return Step(path.plan(), samples, end)

    def goal(self, thing: Thing, looked: bool) -> str:
        """The fixture where what is held belongs, as far as is known.

        Raises:
            LearningFailed: the policy does not bring it into any.
        """
        return released_in(self._plan(thing, held=True, looked=looked), self.relations)

    def bring(self, thing: Thing, looked: bool, others: Sequence[Thing], at: Float[ndarray, "2"] | None = None) -> Step:
        """Bring what is held where it belongs, over a place `at` of its floor [m] if that is given, and let go; one of the
        others comes next.

        Raises:
            LearningFailed: the policy does not bring it into any fixture.
        """
        path = self._path()
        path.release(self.goal(thing, looked), looked, at)
        samples, end = path.done("leave")
        if others:
            following = self.choose(others, end)
            path.pick(following, self._grasp_yaw(path, following, others))
        else:
            path.travel("return", self.motion.rest.copy())
        return Step(path.plan(), samples, end)

    def recover(self) -> Step:
        """Open the hand where it is: what it should hold is not there."""
        path = self._path()
        path.closed, path.held = 0.0, ""
        path.hold(self.config.grasp_seconds, "open")
        samples, end = path.done("open")
        path.travel("return", self.motion.rest.copy())
        return Step(path.plan(), samples, end)

    def _grasp_yaw(self, path: SortingPath, thing: Thing, others: Sequence[Thing]) -> float:
        return grasp_yaw(path.heading(thing.p_world), thing, list(others), self.fixtures)

    def _kinds(self, thing: Thing) -> list[Thing]:
        """The thing as it may be: as it is known, or of any kind."""
        kinds = range(len(self.relations.kinds))
        return [replace(thing, attribute=float(k)) for k in kinds] if np.isnan(thing.attribute) else [thing]

    def _plan(self, thing: Thing, held: bool = False, looked: bool = False, hand: HandState | None = None) -> GraphPlan:
        attribute = self._kinds(thing)[0].attribute
        start = (hand or self.hand).p_world
        graph = build_graph(self.relations, [{"start": start, "object": thing.p_world, "attribute": attribute}])
        now = graph.state("inspect" if looked else "object", True, looked) if held else None
        return plans_into_fixtures(self.reward, self.relations, graph, now)[0]

    def _path(self) -> SortingPath:
        path = SortingPath(self.motion, self.relations, self.config, self.hand)
        path.settle("rest")
        return path
