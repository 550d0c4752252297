"""The whole chain, as a reader would draw it: demonstrations -> reward and skill -> hand plan -> arm -> robot -> replay.

Perception is `visual_irl.perception.extraction`; it ends in a `Demonstration`, with which everything here begins. What differs
between tasks is in `visual_irl.skills`, one file a family of tasks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from visual_irl.errors import LearningFailed
from visual_irl.io.evaluations import Evaluations
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.reward.model import LinearReward
from visual_irl.skills import SKILLS
from visual_irl.skills.parts import MOTION_FILE, REWARD_FILE, LearnConfig, Looks, Progress, Skill, Way, require_whole, silent
from visual_irl.tasks import part_of
from visual_irl.types import Demonstration

__all__ = ["MOTION_FILE", "REWARD_FILE", "LearnConfig", "Skill", "Way", "learn", "load_skill", "plan", "ways"]


def learn(
    demos: Sequence[Demonstration],
    config: LearnConfig,
    progress: Progress = silent,
    evaluations: Evaluations | None = None,
) -> Skill:
    """A skill from demonstrations of one task: states only, no action is seen; `evaluations` keeps what was computed.

    Raises:
        LearningFailed, NoPersonFound: the demonstrations carry no signal, or are of several tasks; with what to check.
        UnknownName: no skill is known for their task.
    """
    if not demos:
        raise LearningFailed("no demonstration was given; name at least one made by `visual-irl extract`")
    tasks = sorted({d.task for d in demos})
    if len(tasks) > 1:
        raise LearningFailed(f"the demonstrations are of {' and '.join(tasks)}: learn one skill from those of one task")
    plain = [i for i, d in enumerate(demos) if d.frame != "world" or not d.fixtures or not d.objects]
    if plain and demos[plain[0]].frame == "world" and demos[plain[0]].fixtures:
        raise LearningFailed(
            f"demonstration {plain[0] + 1}: no object of task '{tasks[0]}' was seen, so there is nothing to learn; if it shows "
            "another task, extract it again with that --task"
        )
    if plain:
        raise LearningFailed(
            f"demonstration {plain[0] + 1} has no objects or fixtures in a calibrated world (a plain video?): a task is "
            "learned from RGB-D recordings; a video can still be mapped with `visual-irl map`"
        )
    skill: Skill = part_of(tasks[0], SKILLS).learn(demos, config, progress, evaluations)
    return skill


def load_skill(folder: Path) -> Skill:
    """Read a skill folder: its reward says for which task it is.

    Raises:
        MissingFile, UnreadableFile: with the way out.
    """
    require_whole(folder)
    task = LinearReward.load(Path(folder) / REWARD_FILE).relations.task
    skill: Skill = part_of(task, SKILLS).load(folder)
    return skill


def ways(skill: Skill, demo: Demonstration, policy: PolicyConfig, outlook: Looks | None = None) -> Iterator[Way]:
    """What the learned policy does where things stand as at a demonstration's start: the person's way first, or those that look
    possible, see `Skill.ways`.

    Raises:
        LearningFailed: the demonstration is of another task.
    """
    if demo.task != skill.task:
        raise LearningFailed(f"the skill is for {skill.task}, the demonstration is of {demo.task}: choose one of the same task")
    return skill.ways(demo, policy, outlook)


def plan(skill: Skill, demo: Demonstration, policy: PolicyConfig) -> Way:
    """The first of those ways."""
    return next(ways(skill, demo, policy))
