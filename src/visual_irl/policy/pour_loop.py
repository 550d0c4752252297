"""Pouring step by step: the learned reward decides from what is seen what to do, and the world is seen again after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import LearningFailed
from visual_irl.policy.hand_path import HandState, PolicyConfig, Step
from visual_irl.policy.motion import MotionLibrary
from visual_irl.policy.optimal import plan_episodes
from visual_irl.policy.pour_motion import EVENTS, PourMotion
from visual_irl.policy.pour_path import PourPath, Standing, Way
from visual_irl.policy.skill import HORIZON, Reward
from visual_irl.tasks.pour_graph import build_graph
from visual_irl.types import HandPlan


@dataclass(frozen=True)
class PourView:
    """What is seen: where things stand, and what was done already."""

    vessel: Standing
    receiver: Standing
    zone: Float[ndarray, "3"]
    """Centre of where the vessel is to be left [m]."""
    held: bool = False
    emptied: bool = False
    """Whether there is nothing more to pour."""


class PourLoop:
    """Plans from `hand`, where the last step that was done ended; planning alone moves nothing."""

    def __init__(self, reward: Reward, motion: MotionLibrary, pour: PourMotion, config: PolicyConfig) -> None:
        self.reward, self.motion, self.pour, self.config = reward, motion, pour, config
        self.hand: HandState | None = None

    def acts(self, view: PourView) -> tuple[str, ...]:
        """What is still to be done, of `EVENTS`: the moves that are worth most under the learned reward.

        Raises:
            LearningFailed: they tip the vessel where nothing receives, or let it go where it does not belong.
        """
        hand = self.motion.rest if self.hand is None else self.hand.p_world
        lift = np.array([0.0, 0.0, self.pour.grip_height])
        episode = {
            "start": hand,
            "vessel": view.vessel.p_world + lift,
            "receiver": view.receiver.p_world + [0.0, 0.0, view.receiver.height] + lift,
            "zone": view.zone + lift,
            "tilt": self.pour.tilt_max,
        }
        graph = build_graph([episode])
        now = graph.state("receiver" if view.emptied else "vessel", True, False, view.emptied) if view.held else None
        if not view.held and view.emptied:
            now = graph.state("start", False, False, True)
        moves = plan_episodes(graph, self.reward(graph.before, graph.after), HORIZON, now)[0].moves
        return _acts(moves, "receiver" if view.emptied else "vessel")

    def step(self, view: PourView, way: Way, acts: Sequence[str]) -> Step:
        """The first of some acts, at the end of which the world is seen again; the others are looked ahead at."""
        path = PourPath(self.motion, self.pour, way, self.config, self.hand)
        path.settle("rest")
        self._add(path, view, acts[0])
        samples, end = path.done(path.phase)
        for act in acts[1:]:
            self._add(path, view, act)
            path.settle(path.phase)
        return Step(path.plan(), samples, end)

    def whole(self, view: PourView, way: Way, acts: Sequence[str]) -> HandPlan:
        """All of some acts."""
        return self.step(view, way, acts).plan

    def excerpt(self, view: PourView, way: Way, act: str) -> HandPlan:
        """What is special about an act and way, without how the hand comes to it: most ways already fail there."""
        path = PourPath(self.motion, self.pour, way, self.config, self.hand if act == "take" else None)
        if act == "take":
            path.settle("rest")
            path.take(view.vessel)
            return path.plan()
        path = PourPath(self.motion, self.pour, way, self.config, path.before(act, view.vessel, view.receiver, view.zone))
        path.settle(act)
        if act == "pour":
            path.tip(view.vessel, view.receiver, "pour")
        else:
            path.put_down(view.zone, view.vessel)
        return path.plan()

    def recover(self, way: Way) -> Step:
        """Open the hand where it is, and draw back along the fingers: what it should hold is not there."""
        path = PourPath(self.motion, self.pour, way, self.config, self.hand)
        path.settle("rest")
        path.closed, path.held = 0.0, ""
        path.hold(self.config.grasp_seconds, "open")
        path.draw_back(self.config.approach)
        samples, end = path.done("open")
        return Step(path.plan(), samples, end)

    def _add(self, path: PourPath, view: PourView, act: str) -> None:
        if act == "take":
            path.take(view.vessel)
        elif act == "pour":
            path.pour(view.vessel, view.receiver)
        else:
            path.dispose(view.zone, view.vessel)


def _acts(moves: Sequence[str], place: str) -> tuple[str, ...]:
    acts = []
    for move in moves:
        if move.startswith("go_"):
            place = move.removeprefix("go_")
        elif move == "grasp":
            acts.append(EVENTS[0])
        elif move == "tip" and place == "receiver":
            acts.append(EVENTS[1])
        elif move == "release" and place == "zone":
            acts.append(EVENTS[2])
        elif move not in ("stop", "upright"):
            raise LearningFailed(
                f"the policy for the learned reward does not pour: {' > '.join(moves)}; the demonstrations do not determine "
                "the task: show more of them"
            )
    return tuple(acts)
