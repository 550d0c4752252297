"""A learned skill: a reward, how the person moves, and the policy that maximises the one while moving like the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.policy.motion import MotionLibrary
from visual_irl.policy.optimal import GraphPlan, plan_episodes
from visual_irl.tasks.pick_place_graph import Relations, build_graph
from visual_irl.types import HandPlan

HORIZON = 8
"""Most moves for one object."""


@runtime_checkable
class Reward(Protocol):
    """What the policy needs of a reward: see `visual_irl.reward.model.RewardModel`."""

    def __call__(self, s: Float[Tensor, "*B S"], s_next: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
        """Reward of transitions."""
        ...


@dataclass(frozen=True)
class PolicyConfig:
    """How a plan becomes a hand path."""

    rate: float = 40.0
    """Samples a second of the hand path [1/s]."""
    approach: float = 0.10
    """Height above an object or a release from which the hand comes straight down [m]."""
    cone: float = 1.5
    """Slope of the cone above an object or a bin that the hand must stay in near it: rise over run."""
    grasp_seconds: float = 0.6
    """Time for the gripper to close or open [s]."""
    descend_speed: float = 0.15
    """Speed of the last straight part [m/s]."""
    look_seconds: float = 1.2
    """Shortest time to inspect [s]."""
    turn: float = 0.35
    """How far the object is turned to and fro while it is inspected [rad]."""
    smooth_seconds: float = 0.06
    """Standard deviation of the window that rounds the corners of the path [s]."""
    clearance: float = 0.02
    """Room between a carried object and a fixture's wall below it [m]."""


@dataclass(frozen=True)
class Thing:
    """An object as the policy sees it: centre [m], radius [m] and the attribute that may decide its goal."""

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
        graph = build_graph(relations, episodes)
        plans = plan_episodes(graph, reward(graph.before, graph.after), HORIZON)
        best = max(range(len(left)), key=lambda i: plans[i].value)
        thing = left.pop(best)
        decisions.append((thing, plans[best]))
        hand = _end_of(plans[best], relations, hand, thing)
    return decisions


def _end_of(plan: GraphPlan, relations: Relations, start: ndarray, thing: Thing) -> ndarray:
    """Where the hand is after a plan [m]."""
    places = dict(relations.fixtures) | {"object": tuple(thing.p_world), "inspect": relations.inspect or (0, 0, 0)}
    goes = [m.removeprefix("go_") for m in plan.moves if m.startswith("go_")]
    return np.asarray(places[goes[-1]]) if goes and goes[-1] in places else start


@dataclass(frozen=True)
class HandState:
    """Where a hand is between two plans: place [m], direction over the table and the arm's swivel [rad], and its grip."""

    p_world: Float[ndarray, "3"]
    yaw: float
    swivel: float
    closed: float = 0.0
    held: str = ""


class HandPath:
    """Builds a `HandPlan` sample by sample: moves like the person, comes straight down on things, holds still to grasp.

    It begins at rest, or in `start`, where the plan before it ended.
    """

    def __init__(
        self, motion: MotionLibrary, relations: Relations, config: PolicyConfig, start: HandState | None = None
    ) -> None:
        self.motion, self.config = motion, config
        self.places = {name: np.asarray(p) for name, p in relations.fixtures}
        self.inspect = None if relations.inspect is None else np.asarray(relations.inspect)
        start = start or HandState(motion.rest, self.heading(motion.rest), float(next(iter(motion.swivel.values()))[0]))
        self.at, self.yaw, self.swivel_now = start.p_world.copy(), start.yaw, start.swivel
        self.closed, self.held = start.closed, start.held
        self.rows: list[tuple[ndarray, float, float, float, str, str]] = []
        self._append(self.at[None], np.array([self.swivel_now]), "rest")

    @property
    def state(self) -> HandState:
        """Where the hand is now."""
        return HandState(self.at.copy(), self.yaw, self.swivel_now, self.closed, self.held)

    def heading(self, p: ndarray) -> float:
        """Direction of the arm over the table [rad]: the fingers close across it."""
        d = p[:2] - self.motion.shoulder[:2]
        return float(np.arctan2(d[1], d[0]))

    def _append(self, path: ndarray, swivel: ndarray, phase: str, yaw: ndarray | None = None) -> None:
        yaws = np.full(len(path), self.yaw) if yaw is None else yaw
        for p, s, a in zip(path, swivel, yaws, strict=True):
            self.rows.append((p, float(a), self.closed, float(s), phase, self.held))
        self.at, self.yaw, self.swivel_now = path[-1].copy(), float(yaws[-1]), float(swivel[-1])

    def travel(self, phase: str, goal: ndarray, yaw: float | None = None) -> None:
        """Move to `goal` like the person, inside the cones above both ends."""
        start, start_yaw = self.at.copy(), self.yaw
        path, swivel = self.motion.segment(phase, start, goal, self.config.rate)
        run = np.minimum(np.linalg.norm(path[:, :2] - start[:2], axis=1), np.linalg.norm(path[:, :2] - goal[:2], axis=1))
        floor = min(start[2], goal[2]) + np.minimum(self.config.approach, self.config.cone * run)
        s = np.linspace(0.0, 1.0, len(path) + 1)[1:]
        floor = np.maximum(floor, start[2] + s * (goal[2] - start[2]) - 0.05)
        path[:, 2] = np.maximum(path[:, 2], floor)
        path[-1] = goal
        turn = _wrapped((self.heading(goal) if yaw is None else yaw) - start_yaw)
        ease = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        blend = np.minimum(1.0, s / 0.3)
        self._append(path, (1 - blend) * self.swivel_now + blend * swivel, phase, start_yaw + turn * ease)

    def straight(self, goal: ndarray, phase: str) -> None:
        """Move on a straight line with a minimum-jerk profile (Flash and Hogan 1985)."""
        length = float(np.linalg.norm(goal - self.at))
        n = max(4, round(1.9 * length / self.config.descend_speed * self.config.rate))
        s = np.linspace(0.0, 1.0, n + 1)[1:]
        s = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        self._append(self.at + s[:, None] * (goal - self.at), np.full(n, self.swivel_now), phase)

    def hold(self, seconds: float, phase: str, turn: float = 0.0) -> None:
        """Stay; turn the hand to and fro by `turn` [rad]."""
        n = max(1, round(seconds * self.config.rate))
        s = np.linspace(0.0, 1.0, n + 1)[1:]
        yaw = self.yaw + turn * np.sin(2.0 * np.pi * s) * np.sin(np.pi * s)
        self._append(np.tile(self.at, (n, 1)), np.full(n, self.swivel_now), phase, yaw)

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

    def release(self, fixture: str, looked: bool) -> None:
        """Bring what is held over a fixture, let go, and rise."""
        goal = self.places[fixture]
        above = goal + [0.0, 0.0, self.config.clearance]
        self.travel("place" if looked else "carry", above)
        self.straight(goal, "lower")
        self.closed = 0.0
        self.hold(self.config.grasp_seconds, "release")
        self.held = ""
        self.straight(above, "leave")

    def settle(self, phase: str) -> None:
        """Stand still for as long as the window that rounds corners is wide: the path's ends are where they were put."""
        self.hold(4.5 * self.config.smooth_seconds, phase)

    def finish(self) -> HandPlan:
        """Return to rest; the whole plan."""
        self.travel("return", self.motion.rest.copy())
        return self.plan()

    def plan(self) -> HandPlan:
        """The path so far, its corners rounded."""
        Ts = np.tile(np.eye(4), (len(self.rows), 1, 1))
        width = self.config.smooth_seconds * self.config.rate
        yaw = gaussian_filter1d(np.array([r[1] for r in self.rows]), width, mode="nearest")
        heading = np.stack([np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)], axis=1)
        down = np.tile([0.0, 0.0, -1.0], (len(yaw), 1))
        Ts[:, :3, 0], Ts[:, :3, 1], Ts[:, :3, 2] = np.cross(heading, down), heading, down
        Ts[:, :3, 3] = gaussian_filter1d(np.array([r[0] for r in self.rows]), width, axis=0, mode="nearest")
        grip = np.array([r[2] for r in self.rows])
        swivel = gaussian_filter1d(np.array([r[3] for r in self.rows]), width, mode="nearest")
        t = np.arange(len(self.rows)) / self.config.rate
        return HandPlan(t, Ts, grip, swivel, tuple(r[4] for r in self.rows), tuple(r[5] for r in self.rows))


def perform(
    decisions: list[tuple[Thing, GraphPlan]], motion: MotionLibrary, relations: Relations, config: PolicyConfig
) -> HandPlan:
    """The hand's path for a list of decisions.

    Raises:
        LearningFailed: the policy does not bring an object into any fixture, with what it would do instead.
    """
    path = HandPath(motion, relations, config)
    left = [thing for thing, _ in decisions]
    for thing, plan in decisions:
        fixture = released_in(plan, relations)
        looks = inspects(plan)
        path.pick(thing, grasp_yaw(path.heading(thing.p_world), thing, left))
        if looks:
            path.look(motion.dwell)
        path.release(fixture, looks)
        left.remove(thing)
    return path.finish()


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


def grasp_yaw(heading: float, thing: Thing, others: list[Thing]) -> float:
    """Hand direction [rad] for a grasp: along the arm, turned as little as needed so that no finger lands on a neighbour."""
    neighbours = [o for o in others if o is not thing and np.linalg.norm(o.p_world - thing.p_world) < 0.16]
    for turn in np.radians([0, 20, -20, 40, -40, 60, -60, 80]):
        across = np.array([-np.sin(heading + turn), np.cos(heading + turn)])
        fingers = [thing.p_world[:2] + side * (thing.radius + 0.025) * across for side in (1.0, -1.0)]
        if all(np.linalg.norm(f - o.p_world[:2]) > o.radius + 0.022 for f in fingers for o in neighbours):
            return heading + float(turn)
    return heading


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2.0 * np.pi) - np.pi)
