"""Sorting in MuJoCo, closed loop. Success is where the things lie in the end.

Where things are is seen by the cell's camera; what one is, too, when it is held at the inspection place, and not before.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import LearningFailed
from visual_irl.evaluation.episodes.closed_loop import DROPPED, NOT_DONE, PICTURES, Cell, ClosedLoopConfig, Worked
from visual_irl.evaluation.episodes.sight import Sight
from visual_irl.evaluation.statistics import pooled_share
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.policy.closed_loop import ClosedLoop
from visual_irl.policy.free_place import free_places
from visual_irl.policy.skill import Thing
from visual_irl.reward.model import LinearReward
from visual_irl.robots.model import RobotModel
from visual_irl.skills.sorting import SortingSkill, relations_at
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.tasks.scene import Scene

PLACES = 2
"""Best places in a bin that are tried, before the one that the person uses."""
LOOKS = 2
"""Times that a thing is looked at for every picture that is kept."""


@dataclass
class Sorted(Worked):
    """What came of an episode."""

    placed: dict[str, bool] = field(default_factory=dict)
    """Per thing, whether it lies in its bin: by the physics."""


@dataclass(frozen=True)
class SortingEpisodes:
    """Episodes of a task's things at random places, on the table of the hand that demonstrated."""

    task: PickPlace
    moved: float = 0.0
    """How far each bin stands from where it usually does, along x and y at most [m]."""

    def __post_init__(self) -> None:
        replace(self.task, moved=self.moved)  # refuses what is too far

    @property
    def doing(self) -> str:
        """What a robot does in an episode."""
        return f"sorting {self._things}"

    @property
    def _things(self) -> str:
        return f"{self.task.label}s"

    def run(
        self, skill: SortingSkill, robot: RobotModel, seed: int, on_frame: Callable[[MujocoExecutor], None] | None = None
    ) -> Sorted:
        """The episode of a seed."""
        task, rng = replace(self.task.for_side(skill.motion.side), moved=self.moved), np.random.default_rng([seed, 0])
        scene = task.sample_scene(rng, int(rng.integers(task.things[0], task.things[1] + 1)))
        return sort_things(skill, robot, task, scene, seed, on_frame=on_frame)

    def scores(self, results: Sequence[Sorted]) -> dict[str, Any]:
        """What is reported of episodes."""
        good, of = (np.array([f(r.placed.values()) for r in results], float) for f in (sum, len))
        share, interval = pooled_share(good, of)
        return {"success_rate": share, "success_ci": interval, self._things: int(of.sum())}

    def said(self, content: dict[str, Any]) -> str:
        """One line about the scores."""
        low, high = content["success_ci"]
        return (
            f"{100 * content['success_rate']:.1f} % of {content[self._things]} {self._things} in the right bin "
            f"(95 % interval {100 * low:.1f} to {100 * high:.1f}), by the physics"
        )


def sort_things(
    skill: SortingSkill,
    robot: RobotModel,
    task: PickPlace,
    scene: Scene,
    seed: int,
    config: ClosedLoopConfig | None = None,
    on_frame: Callable[[MujocoExecutor], None] | None = None,
) -> Sorted:
    """One episode: until everything that can be reached lies in a bin, or has been tried often enough.

    Raises:
        LearningFailed: the skill needs fixtures that are not there.
        MissingDependency: there is no OpenGL to see with.
    """
    config, rng = config or ClosedLoopConfig(), np.random.default_rng([seed, 1])
    relations = relations_at(skill.relations, {f.name: f.T_world for f in scene.fixtures})
    loop = ClosedLoop(LinearReward(relations, skill.reward.theta), relations, skill.motion, config.policy, scene.fixtures)
    executor = MujocoExecutor(scene, robot, seed=seed)
    show = None if on_frame is None else lambda t: on_frame(executor)
    result = Sorted()
    sight = Sight(executor, rng, task)
    tried: dict[str, int] = {}
    try:
        cell = Cell(executor, loop, config)
        while True:
            known = sight.things()
            things = [t for t in known if _to_do(t, scene) and tried.get(t.name, 0) < config.attempts]
            if not things:
                break
            thing = loop.choose(things)
            tried[thing.name] = tried.get(thing.name, 0) + 1
            try:
                _handle(cell, sight, thing, things, known, result, show)
            except (*NOT_DONE, LearningFailed) as error:
                result.refused.append(f"{thing.name}: {error}")
                if _holds(executor, thing):
                    if not _let_go(cell, result, show):
                        break
                    sight.moved(thing, None)
        positions = executor.object_positions()
    finally:
        executor.close()
    result.placed = task.success(scene, positions)
    return result


def _handle(
    cell: Cell[ClosedLoop],
    sight: Sight,
    thing: Thing,
    things: list[Thing],
    known: list[Thing],
    result: Sorted,
    show: Callable[[float], None] | None,
) -> None:
    """Take one of the `things` to do and bring it where it belongs, as long as it is held, beside what lies there already."""
    executor, loop = cell.executor, cell.loop
    others = [t for t in things if t is not thing]
    looks = loop.looks(thing)
    cell.carry_out(loop.take(thing, others, looks), result, show)
    if looks and _holds(executor, thing):
        thing = _inspected(cell, sight, thing, result, show)
    if not _holds(executor, thing):
        result.lost += 1
        cell.carry_out(loop.recover(), result, show)
        sight.moved(thing, None)
        return
    fixture = executor.scene.fixture(loop.goal(thing, looks))
    places = [*free_places(fixture, thing.radius, known)[:PLACES], None]
    for k, at in enumerate(places, start=1):
        try:
            cell.carry_out(loop.bring(thing, looks, others, at), result, show)
            break
        except NOT_DONE:
            if k == len(places):
                raise
    sight.moved(thing, np.array([*loop.hand.p_world[:2], thing.radius]))


def _inspected(
    cell: Cell[ClosedLoop], sight: Sight, thing: Thing, result: Sorted, show: Callable[[float], None] | None
) -> Thing:
    """What is held, with what was seen of it while it was turned before the camera."""
    step, calls = cell.loop.inspect(thing), itertools.count()
    attribute = thing.attribute

    def look(t: float) -> None:
        nonlocal attribute
        if show is not None and next(calls) % LOOKS == 0:
            show(t)
        if _holds(cell.executor, thing):
            attribute = sight.inspect(thing, step.end.p_world)

    cell.carry_out(step, result, look, pictures=LOOKS * PICTURES)
    return replace(thing, attribute=attribute)


def _let_go(cell: Cell[ClosedLoop], result: Sorted, show: Callable[[float], None] | None) -> bool:
    """Opens the hand after a step that could not be done; false where not even that is possible."""
    try:
        cell.carry_out(cell.loop.recover(), result, show)
    except NOT_DONE as error:
        result.refused.append(f"opening the hand: {error}")
        return False
    return True


def _holds(executor: MujocoExecutor, thing: Thing) -> bool:
    """Whether the closed fingers are kept apart by about the size of a thing: what a gripper says."""
    return executor.opening > 1.2 * thing.radius


def _to_do(thing: Thing, scene: Scene) -> bool:
    """Whether a thing is on the table and in no bin."""
    p: Float[ndarray, "3"] = thing.p_world
    return bool(p[2] > DROPPED) and not any(f.contains(p) for f in scene.fixtures)
