"""What a learned reward wants done with things, and the hand of a person who sorts: both loops of the policy use them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.policy.hand_path import HandPath, HandState, PolicyConfig
from visual_irl.policy.motion import MotionLibrary
from visual_irl.policy.optimal import GraphPlan, plan_episodes
from visual_irl.tasks.pick_place_graph import Graph, Relations, build_graph
from visual_irl.tasks.scene import Fixture

HORIZON = 8
"""Most moves for one object."""
FINGER = 0.022
"""Room around the middle of an open finger that is kept free [m]."""
WALL = 0.008
"""By how much more room is left to the inner side of a wall: for the wall, and for what the guard keeps from it [m]."""
GRASP_TURNS = tuple(np.radians([0, 20, -20, 40, -40, 60, -60, 80, -80]).tolist())
"""Turns of the hand about the vertical that are thought of for a grasp, the first that does best is taken [rad]."""


@runtime_checkable
class Reward(Protocol):
    """What the policy needs of a reward: `visual_irl.reward.model.LinearReward` is one."""

    def __call__(self, s: Float[Tensor, "*B S"], s_next: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
        """Reward of transitions."""
        ...


@dataclass(frozen=True)
class Thing:
    """An object as the policy sees it: centre [m], radius [m] and the class, from 0, that may decide its goal."""

    name: str
    p_world: Float[ndarray, "3"]
    radius: float
    attribute: float


def decide(
    reward: Reward, relations: Relations, start: Float[ndarray, "3"], things: list[Thing]
) -> list[tuple[Thing, GraphPlan]]:
    """What to do with each object, the best first: at every turn the object whose plan is worth most from where the hand is."""
    left, hand, decisions = list(things), np.asarray(start, float), []
    while left:
        episodes: list[Mapping[str, ndarray | float]] = [
            {"start": hand, "object": thing.p_world, "attribute": thing.attribute} for thing in left
        ]
        plans = plans_into_fixtures(reward, relations, build_graph(relations, episodes))
        best = max(range(len(left)), key=lambda i: plans[i].value)
        thing = left.pop(best)
        decisions.append((thing, plans[best]))
        hand = _end_of(plans[best], relations, hand, thing)
    return decisions


def plans_into_fixtures(reward: Reward, relations: Relations, graph: Graph, now: int | None = None) -> list[GraphPlan]:
    """The best moves of each episode that end as demonstrations do, with the thing in a fixture; from the state `now`, or the
    graph's start.

    What else there is was never seen to be good, and a thing that lies farther away than any demonstrated one is not to be left
    for that.
    """
    worth = reward(graph.before, graph.after)
    fixtures = {name for name, _ in relations.fixtures}
    for s, (place, *_) in enumerate(graph.states):
        for m, move in enumerate(graph.moves[s]):
            if move == "stop" or (move == "release" and place not in fixtures):
                worth[:, s, m] = -torch.inf
    return plan_episodes(graph, worth, HORIZON, now)


def _end_of(plan: GraphPlan, relations: Relations, start: ndarray, thing: Thing) -> ndarray:
    """Where the hand is after a plan [m]."""
    places = dict(relations.fixtures) | {"object": tuple(thing.p_world), "inspect": relations.inspect or (0, 0, 0)}
    goes = [m.removeprefix("go_") for m in plan.moves if m.startswith("go_")]
    return np.asarray(places[goes[-1]]) if goes and goes[-1] in places else start


class SortingPath(HandPath):
    """The hand of a person who sorts: it comes down on things with the fingers across the arm's direction, palm down.

    It begins at rest, or in `start`, where the plan before it ended.
    """

    def __init__(
        self, motion: MotionLibrary, relations: Relations, config: PolicyConfig, start: HandState | None = None
    ) -> None:
        self.places = {name: np.asarray(p) for name, p in relations.fixtures}
        self.inspect = None if relations.inspect is None else np.asarray(relations.inspect)
        self.motion = motion
        swivel = float(next(iter(motion.swivel.values()))[0])
        super().__init__(motion, config, motion.rest, start or HandState(motion.rest, self.heading(motion.rest), swivel))

    def frames(
        self, yaw: Float[ndarray, "T"], tilt: Float[ndarray, "T"], pitch: Float[ndarray, "T"]
    ) -> Float[ndarray, "T 3 3"]:
        """Fingers down, thumb side along the direction over the table."""
        heading = np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=1)
        down = np.tile([0.0, 0.0, -1.0], (len(yaw), 1))
        return np.stack([np.cross(heading, down), heading, down], axis=-1)

    def heading(self, p: Float[ndarray, "3"]) -> float:
        """Direction of the arm over the table [rad]: the fingers close across it."""
        d = p[:2] - self.motion.shoulder[:2]
        return float(np.arctan2(d[1], d[0]))

    def pick(self, thing: Thing, yaw: float) -> None:
        """Reach above a thing, come down, close the hand and lift."""
        above = thing.p_world + [0.0, 0.0, self.config.approach]
        self.closed = 0.0
        self.travel("reach", above, yaw)
        self.straight(thing.p_world, "descend")
        self.closed = 1.0
        self.hold(self.config.grasp_seconds, "grasp")
        self.held = thing.name
        self.straight(above, "lift")

    def look(self, seconds: float) -> None:
        """Bring what is held to the inspection place and turn it."""
        assert self.inspect is not None
        self.travel("inspect", self.inspect)
        self.hold(max(self.config.look_seconds, seconds), "look", self.config.turn)

    def release(self, fixture: str, looked: bool, at: Float[ndarray, "2"] | None = None) -> None:
        """Bring what is held over a fixture, or over a place `at` of its floor [m], let go, and rise."""
        goal = self.places[fixture]
        goal = goal if at is None else np.array([*at, goal[2]])
        above = goal + [0.0, 0.0, self.config.clearance]
        self.travel("place" if looked else "carry", above)
        self.straight(goal, "lower")
        self.closed = 0.0
        self.hold(self.config.grasp_seconds, "release")
        self.held = ""
        self.straight(above, "leave")


def inspects(plan: GraphPlan) -> bool:
    """Whether a plan takes the object to the inspection place."""
    return "grasp" in plan.moves and "go_inspect" in plan.moves[plan.moves.index("grasp") :]


def released_in(plan: GraphPlan, relations: Relations) -> str:
    """The fixture over which a plan lets go."""
    known = {name for name, _ in relations.fixtures}
    if plan.moves and plan.moves[-1] == "release":
        goes = [m.removeprefix("go_") for m in plan.moves if m.startswith("go_")]
        if goes and goes[-1] in known:
            return goes[-1]
    raise LearningFailed(
        f"the policy for the learned reward does not sort the object: {' > '.join(plan.moves)}; the demonstrations do not "
        "determine the task: show more of them, of both kinds of object"
    )


def grasp_yaw(heading: float, thing: Thing, others: list[Thing], fixtures: Sequence[Fixture] = ()) -> float:
    """Hand direction [rad] for a grasp: along the arm, turned as little as needed so that no finger lands on a neighbour or on
    a wall; where one must, as far from it as can be."""
    neighbours = [o for o in others if o is not thing and np.linalg.norm(o.p_world - thing.p_world) < 0.16]

    def room(turn: float) -> float:
        across = np.array([-np.sin(heading + turn), np.cos(heading + turn)])
        fingers = [thing.p_world[:2] + side * (thing.radius + 0.025) * across for side in (1.0, -1.0)]
        beside = [float(np.linalg.norm(f - o.p_world[:2])) - o.radius for f in fingers for o in neighbours]
        return min([FINGER, *beside, *(fixture.distance(f) - WALL for f in fingers for fixture in fixtures)])

    return heading + max(GRASP_TURNS, key=room)
