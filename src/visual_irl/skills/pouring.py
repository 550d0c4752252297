"""Pouring as a skill: what is taken, over what it is tipped and where it is left are told from the demonstrations' states."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from visual_irl.errors import LearningFailed
from visual_irl.io.evaluations import Evaluations
from visual_irl.io.tensors import save_together
from visual_irl.mapping.human_arm import observed_arm, swivel_of_arm, torso_axes
from visual_irl.policy import pour_path
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion import MotionLibrary, ObservedMotion, learn_motion
from visual_irl.policy.motion_file import load_motion, packed_motion
from visual_irl.policy.pour_loop import PourLoop, PourView
from visual_irl.policy.pour_motion import ObservedPouring, PourMotion, learn_pour_motion
from visual_irl.policy.pour_path import Standing
from visual_irl.reward import LEARNERS
from visual_irl.reward.model import LinearReward
from visual_irl.skills.parts import MOTION_FILE, REWARD_FILE, LearnConfig, Looks, Progress, Way, arm_for, limb_lengths, silent
from visual_irl.skills.pour_ways import possible_ways
from visual_irl.tasks import RELATIONS, part_of
from visual_irl.tasks.graph import Graph
from visual_irl.tasks.pour_episode import PourEpisode, cut_pouring
from visual_irl.tasks.pour_graph import PourRelations, build_graph
from visual_irl.types import Demonstration, HumanArmTrajectory


@dataclass(frozen=True)
class PouringSkill:
    """What was learned: the reward, how the person moves between places, and how a vessel is handled."""

    reward: LinearReward
    motion: MotionLibrary
    pour: PourMotion

    steady: ClassVar[bool] = True

    @property
    def task(self) -> str:
        """Name of the task."""
        return self.relations.task

    @property
    def relations(self) -> PourRelations:
        """What the reward is made of: it names the things."""
        relations = self.reward.relations
        assert isinstance(relations, PourRelations)
        return relations

    def save(self, folder: Path) -> None:
        """Write both files into a folder, or neither."""
        parts = {"library": self.motion.packed(), "vessel": self.pour.packed()}
        save_together({Path(folder) / REWARD_FILE: self.reward.packed(), Path(folder) / MOTION_FILE: packed_motion(parts)})

    @classmethod
    def load(cls, folder: Path) -> PouringSkill:
        """Read a skill folder; what is missing is named with the command that makes it."""
        reward = LinearReward.load(Path(folder) / REWARD_FILE)
        made = {"library": MotionLibrary.unpacked, "vessel": PourMotion.unpacked}
        return cls(reward, *load_motion(Path(folder) / MOTION_FILE, made))

    @classmethod
    def learn(
        cls,
        demos: Sequence[Demonstration],
        config: LearnConfig,
        progress: Progress = silent,
        evaluations: Evaluations | None = None,
    ) -> PouringSkill:
        """The skill from demonstrations, of which states are seen and no action.

        Raises:
            LearningFailed, NoPersonFound: the demonstrations carry no signal, or not the same one; with what to check.
        """
        arms, episodes = [observed_arm(d) for d in demos], [cut_pouring(d) for d in demos]
        roles = {(e.vessel, e.receiver, e.zone) for e in episodes}
        if len(roles) > 1:
            raise LearningFailed(f"the demonstrations do not handle the same things: {sorted(roles)}; learn one skill for each")
        relations: PourRelations = part_of(demos[0].task, RELATIONS)(*roles.pop(), demos[0].task)
        graph, sequences = demonstrated_states(demos, arms, episodes)
        reward = LEARNERS.load(config.learner)().build().learn(relations, graph, sequences, progress, evaluations)
        swivels = [swivel_of_arm(a, torso_axes(d)) for d, a in zip(demos, arms, strict=True)]
        motions = [
            ObservedMotion(d.t, a.Ts_world_hand[:, :3, 3], swivel, a.shoulder, *limb_lengths(a), d.side, _segments(d, e))
            for d, a, swivel, e in zip(demos, arms, swivels, episodes, strict=True)
        ]
        observed = [ObservedPouring(*row) for row in zip(demos, arms, swivels, episodes, strict=True)]
        return cls(reward, learn_motion(motions), learn_pour_motion(observed))

    def loop(self, policy: PolicyConfig) -> PourLoop:
        """The policy, one step at a time."""
        return PourLoop(self.reward, self.motion, self.pour, policy)

    def ways(self, demo: Demonstration, policy: PolicyConfig, outlook: Looks | None = None) -> Iterator[Way]:
        """What the learned policy does where things stand at the start of a demonstration: the person's way, then others; or
        those that look possible, see `possible_ways`.

        Raises:
            LearningFailed: a thing that the skill handles is not there, or the policy leaves all as it is, or does not pour.
        """
        view, loop = self.view(demo), self.loop(policy)
        acts = loop.acts(view)
        if not acts:
            raise LearningFailed(
                "the policy for the learned reward leaves the vessel where it stands; the demonstrations do not determine the "
                "task: show more of them"
            )
        if outlook is None:
            chosen = pour_path.ways()
        else:
            chosen = possible_ways(loop, view, acts, lambda plan, _: outlook(arm_for(self.motion, plan)), None, [])
        for way in chosen:
            hand_plan = loop.whole(view, way, acts)
            yield hand_plan, arm_for(self.motion, hand_plan)

    def view(self, demo: Demonstration) -> PourView:
        """Where things stand at the start of a demonstration.

        Raises:
            LearningFailed: a thing that the skill handles is not there.
        """
        r = self.relations
        missing = [n for n in (r.vessel, r.receiver) if n not in demo.objects or n not in demo.heights]
        missing += [r.zone] * (r.zone not in demo.fixtures)
        if missing:
            raise LearningFailed(f"the skill needs '{missing[0]}', there is: {', '.join((*demo.objects, *demo.fixtures))}")
        first = min(10, len(demo.t))
        vessel, receiver = (
            Standing(n, np.median(demo.objects[n][:first], axis=0), float(demo.heights[n]), float(demo.radii[n]))
            for n in (r.vessel, r.receiver)
        )
        return PourView(vessel, receiver, np.array(demo.fixtures[r.zone][:3, 3]))


def demonstrated_states(
    demos: Sequence[Demonstration], arms: Sequence[HumanArmTrajectory], episodes: Sequence[PourEpisode]
) -> tuple[Graph, list[list[int]]]:
    """The graph of all episodes, and the states that each demonstrated one went through."""
    contexts = []
    for demo, arm, e in zip(demos, arms, episodes, strict=True):
        hand = arm.Ts_world_hand[:, :3, 3]
        tilt = float(np.arccos(np.clip(demo.turns[e.vessel][e.full, 2, 2], -1.0, 1.0)))
        at = {"start": 0, "vessel": e.grasp, "receiver": e.full, "zone": e.release}
        contexts.append({place: hand[frame] for place, frame in at.items()} | {"tilt": tilt})
    graph = build_graph(contexts)
    route = [
        graph.state("start"),
        graph.state("vessel"),
        graph.state("vessel", True),
        graph.state("receiver", True),
        graph.state("receiver", True, True, True),
        graph.state("receiver", True, False, True),
        graph.state("zone", True, False, True),
        graph.state("zone", False, False, True, True),
    ]
    return graph, [route for _ in demos]


def _segments(demo: Demonstration, e: PourEpisode) -> list[tuple[str, int, int]]:
    """(phase, first frame, last frame) of every movement between two places."""
    last = len(demo.t) - 1
    return [("reach", 0, e.grasp), ("carry", e.grasp, e.tip), ("place", e.upright, e.release), ("return", e.release, last)]
