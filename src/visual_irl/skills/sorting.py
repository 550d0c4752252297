"""Sorting as a skill: objects go where their attribute says, after an inspection if that is what was shown."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, LearningFailed
from visual_irl.io.evaluations import Evaluations
from visual_irl.io.tensors import save_together
from visual_irl.mapping.human_arm import observed_arm, swivel_of_arm, torso_axes
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion import MotionLibrary, ObservedMotion, learn_motion
from visual_irl.policy.motion_file import load_motion, packed_motion
from visual_irl.policy.open_loop import perform
from visual_irl.policy.skill import Thing, decide
from visual_irl.reward import LEARNERS
from visual_irl.reward.model import LinearReward
from visual_irl.skills.parts import MOTION_FILE, REWARD_FILE, LearnConfig, Looks, Progress, Way, arm_for, limb_lengths, silent
from visual_irl.tasks import RELATIONS, load_task, part_of
from visual_irl.tasks.episodes import Episode, cut_episodes, inspection_place
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.tasks.pick_place_graph import STATE, Graph, Relations, build_graph
from visual_irl.types import Demonstration


@dataclass(frozen=True)
class SortingSkill:
    """What was learned: the reward, and how the person moves."""

    reward: LinearReward
    motion: MotionLibrary

    steady: ClassVar[bool] = False

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.relations.task

    @property
    def relations(self) -> Relations:
        """What the reward is made of: it knows the places."""
        relations = self.reward.relations
        assert isinstance(relations, Relations)
        return relations

    def save(self, folder: Path) -> None:
        """Write both files into a folder, or neither."""
        parts = {"library": self.motion.packed()}
        save_together({Path(folder) / REWARD_FILE: self.reward.packed(), Path(folder) / MOTION_FILE: packed_motion(parts)})

    @classmethod
    def load(cls, folder: Path) -> SortingSkill:
        """Read a skill folder; what is missing is named with the command that makes it."""
        reward = LinearReward.load(Path(folder) / REWARD_FILE)
        return cls(reward, *load_motion(Path(folder) / MOTION_FILE, {"library": MotionLibrary.unpacked}))

    @classmethod
    def learn(
        cls,
        demos: Sequence[Demonstration],
        config: LearnConfig,
        progress: Progress = silent,
        evaluations: Evaluations | None = None,
    ) -> SortingSkill:
        """The skill from demonstrations, of which states are seen and no action.

        Raises:
            LearningFailed, NoPersonFound: the demonstrations carry no signal, with what to check.
        """
        arms = [observed_arm(d) for d in demos]
        hands = [a.Ts_world_hand[:, :3, 3] for a in arms]
        episodes = [cut_episodes(d, hand) for d, hand in zip(demos, hands, strict=True)]
        task = _task(demos[0].task)
        relations = learn_relations(task, demos, hands, episodes)
        graph, sequences = demonstrated_states(relations, hands, episodes)
        handled = {task.kind_of(e.attributes) for cut in episodes for e in cut}
        if len(handled) < len(task.kinds):
            shown, others = ([name for k, name in enumerate(task.kinds) if (k in handled) is there] for there in (True, False))
            warnings.warn(
                f"all objects that are handled are {' or '.join(shown)} (by {', '.join(task.attributes)}): where those belong "
                f"that are {' or '.join(others)} is not shown, and the skill will guess; learn from demonstrations "
                "with every kind",
                stacklevel=2,
            )
        reward = LEARNERS.load(config.learner)().build().learn(relations, graph, sequences, progress, evaluations)
        motions = [
            ObservedMotion(
                d.t, hand, swivel_of_arm(a, torso_axes(d)), a.shoulder, *limb_lengths(a), d.side, _segments(d, cut),
                [float(d.t[e.dwell[1] - 1] - d.t[e.dwell[0]]) for e in cut if e.dwell is not None],
            )
            for d, a, hand, cut in zip(demos, arms, hands, episodes, strict=True)
        ]  # fmt: skip
        return cls(reward, learn_motion(motions))

    def ways(self, demo: Demonstration, policy: PolicyConfig, outlook: Looks | None = None) -> Iterator[Way]:
        """What the learned policy does with the objects of a demonstration's start: one way."""
        relations = relations_at(self.relations, demo.fixtures)
        reward = LinearReward(relations, self.reward.theta)
        decisions = decide(reward, relations, self.motion.rest, things_of(demo))
        fixtures = _task(self.task).fixtures()
        standing = [replace(f, T_world=demo.fixtures[f.name]) for f in fixtures if f.name in demo.fixtures]
        hand_plan = perform(decisions, self.motion, relations, policy, standing)
        yield hand_plan, arm_for(self.motion, hand_plan)


def _segments(d: Demonstration, episodes: Sequence[Episode]) -> list[tuple[str, int, int]]:
    """(phase, first frame, last frame) of every movement, from the first stir of the hand to its arrival."""
    rows = []
    for e in episodes:
        rows.append(("reach", e.start, e.grasp))
        if e.dwell is None:
            rows.append(("carry", e.grasp, e.release))
        else:
            rows += [("inspect", e.grasp, e.dwell[0]), ("place", e.dwell[1] - 1, e.release)]
    rows.append(("return", episodes[-1].release, len(d.t) - 1))
    return rows


def _task(name: str) -> PickPlace:
    task = load_task(name)
    if not isinstance(task, PickPlace):
        raise InvalidInput(
            f"task '{name}' is of the family '{task.family}', but {type(task).__name__} is none of its tasks: derive it "
            "from visual_irl.tasks.pick_place.PickPlace"
        )
    return task


def learn_relations(
    task: PickPlace, demos: Sequence[Demonstration], hands: Sequence[ndarray], episodes: Sequence[Sequence[Episode]]
) -> Relations:
    """The places of the task: where things are released over each fixture, and where they are inspected."""
    flat = [e for cut in episodes for e in cut]
    heights = []
    for demo, cut in zip(demos, episodes, strict=True):
        for e in cut:
            if e.goal:
                heights.append(demo.objects[e.name][e.release - 1][2] - demo.fixtures[e.goal][2, 3])
    if not heights:
        raise LearningFailed("no object was ever released in a fixture; check that the bins' static transforms are right")
    height = float(np.clip(np.median(heights), 0.09, 0.20))
    fixtures = tuple(
        (name, tuple(float(x) for x in np.mean([d.fixtures[name][:3, 3] for d in demos], axis=0) + [0.0, 0.0, height]))
        for name in sorted(set.intersection(*(set(d.fixtures) for d in demos)))
    )
    place = inspection_place(flat)
    kind: type[Relations] = part_of(task.name, RELATIONS)
    looked_at = None if place is None else tuple(float(x) for x in place)
    return kind(fixtures, looked_at, task.name, task.kinds)  # type: ignore[arg-type]


def demonstrated_states(
    relations: Relations, hands: Sequence[ndarray], episodes: Sequence[Sequence[Episode]]
) -> tuple[Graph, list[list[int]]]:
    """The graph of all episodes, and the states that each demonstrated episode went through."""
    task, contexts = _task(relations.task), list[Mapping[str, Any]]()
    routes: list[list[tuple[str, bool, bool, bool]]] = []
    for hand, cut in zip(hands, episodes, strict=True):
        for e in cut:
            contexts.append({"start": hand[e.start], "object": e.p_object, "attribute": float(task.kind_of(e.attributes))})
            looked = e.dwell is not None and relations.inspect is not None
            route = [("start", False, False, False), ("object", False, False, False), ("object", True, False, False)]
            if looked:
                route.append(("inspect", True, True, False))
            if e.goal:
                route.append((e.goal, True, looked, False))
            route.append((route[-1][0], False, looked, True))
            routes.append(route)
    graph = build_graph(relations, contexts)
    return graph, [[graph.state(*state) for state in route] for route in routes]


def things_of(demo: Demonstration) -> list[Thing]:
    """The objects as they lie at the start of a demonstration."""
    task, first = _task(demo.task), min(10, len(demo.t))
    return [
        Thing(name, np.median(path[:first], axis=0), float(demo.radii[name]), float(task.kind_of(demo.attributes[name])))
        for name, path in demo.objects.items()
    ]


def relations_at(learned: Relations, poses: Mapping[str, Float[ndarray, "4 4"]]) -> Relations:
    """The learned places with each fixture moved to where it stands now: the hand goes where things are.

    Raises:
        LearningFailed: a fixture that the skill needs is not there.
    """
    fixtures = []
    for name, p in learned.fixtures:
        if name not in poses:
            raise LearningFailed(f"the skill needs the fixture '{name}', there is: {', '.join(poses) or 'none'}")
        x, y, _ = poses[name][:3, 3]
        fixtures.append((name, (float(x), float(y), float(p[2]))))
    return replace(learned, fixtures=tuple(fixtures))


def reward_over_time(reward: LinearReward, demo: Demonstration) -> tuple[ndarray, ndarray]:
    """The learned reward of every step of a demonstration (T-1,), and its features (T-1, F), each for the object at hand."""
    hand = observed_arm(demo).Ts_world_hand[:, :3, 3]
    features = np.zeros((len(demo.t) - 1, len(reward.feature_names)))
    task, episodes = _task(demo.task), cut_episodes(demo, hand)
    for i, e in enumerate(episodes):
        end = min(e.release if i + 1 < len(episodes) else len(demo.t) - 1, len(demo.t) - 1)
        index = np.arange(e.start, end + 1)
        states = np.zeros((len(index), len(STATE)))
        states[:, 0:3], states[:, 3:6] = hand[index], demo.objects[e.name][index]
        states[:, 6] = (index >= e.grasp) & (index < e.release)
        states[:, 7] = index >= (sum(e.dwell) // 2 if e.dwell is not None else len(demo.t))
        states[:, 8] = task.kind_of(e.attributes)
        s = torch.from_numpy(states)
        features[e.start : end] = reward.relations(s[:-1], s[1:]).numpy()
    return features @ reward.theta.numpy(), features
