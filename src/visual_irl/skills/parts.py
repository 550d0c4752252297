"""What every skill is made of and with: its files, how it is learned, and the person's arm that follows its plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from visual_irl.errors import MissingFile
from visual_irl.io import artifacts
from visual_irl.io.evaluations import Evaluations
from visual_irl.mapping.feasibility import Outlook
from visual_irl.mapping.human_arm import imagined_arm
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion import MotionLibrary
from visual_irl.reward.model import LinearReward
from visual_irl.types import Demonstration, HandPlan, HumanArmTrajectory

REWARD_FILE, MOTION_FILE = "reward.safetensors", "motion.safetensors"
"""Files of a skill's folder."""

Progress = Callable[[int, float], None]
"""Is told the step and the loss of a learner."""

Way = tuple[HandPlan, HumanArmTrajectory]
"""What the hand does, and the demonstrator's arm that does it."""
Looks = Callable[[HumanArmTrajectory], Outlook]
"""Tells how a motion looks for the robot that is to follow it."""


def silent(step: int, loss: float) -> None:
    """Tells nobody."""


@dataclass(frozen=True)
class LearnConfig:
    """How a skill is learned."""

    learner: str = "max_ent"
    """Name of the reward learner."""


@runtime_checkable
class Skill(Protocol):
    """A learned skill of one task: a reward, how the person moves, and the policy that maximises the one like the other."""

    @property
    def task(self) -> str:
        """Name of the task."""
        ...

    @property
    def reward(self) -> LinearReward:
        """What is worth how much."""
        ...

    @property
    def motion(self) -> MotionLibrary:
        """How the person moves between places."""
        ...

    def save(self, folder: Path) -> None:
        """Write its files into a folder: all, or none of them."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Skill:
        """Read a folder; nothing in it is executed."""
        ...

    @classmethod
    def learn(
        cls,
        demos: Sequence[Demonstration],
        config: LearnConfig,
        progress: Progress = silent,
        evaluations: Evaluations | None = None,
    ) -> Skill:
        """The skill from demonstrations, of which states are seen and no action; `evaluations` keeps what was computed."""
        ...

    @property
    def steady(self) -> bool:
        """Whether what the hand holds is to be kept steady: the arm may not change its branch on the way."""
        ...

    def ways(self, demo: Demonstration, policy: PolicyConfig, outlook: Looks | None = None) -> Iterator[Way]:
        """What the policy would do where things stand as at a demonstration's start: the person's way first, or, of several and
        if an arm's `outlook` is told, those that look possible for it, the most human of a few first."""
        ...


def require_whole(folder: Path) -> None:
    """Refuse a skill's folder whose files are not those of one run of `visual-irl learn`.

    What is executed by `visual-irl run` is held against the very files that it was mapped with: see `run_plan.seal_of`.

    Raises:
        MissingFile: there is no such folder.
        UnreadableFile: a sidecar beside a file was written for another one.
    """
    if not Path(folder).is_dir():
        raise MissingFile(f"no skill at '{folder}'; `visual-irl learn` makes one")
    for name in (REWARD_FILE, MOTION_FILE):
        if (Path(folder) / name).is_file():
            artifacts.require_recorded(Path(folder) / name, "visual-irl learn")


def arm_for(motion: MotionLibrary, hand_plan: HandPlan) -> HumanArmTrajectory:
    """The demonstrator's arm as it would follow a hand plan."""
    left = np.array([0.0, 1.0, 0.0])
    axes = np.stack([[1.0, 0.0, 0.0], left if motion.side == "left" else -left, [0.0, 0.0, 1.0]])
    return imagined_arm(hand_plan, motion.side, axes, motion.shoulder, motion.upper_length, motion.fore_length)


def limb_lengths(arm: HumanArmTrajectory) -> tuple[float, float]:
    """Upper arm and forearm of a person, from the frames in which they were seen [m]."""
    upper, fore = (np.linalg.norm(b - a, axis=1)[arm.observed] for a, b in ((arm.shoulder, arm.elbow), (arm.elbow, arm.wrist)))
    return float(np.median(upper)), float(np.median(fore))
