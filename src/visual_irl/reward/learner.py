"""What every learner of rewards from a batched task has in common: demonstrations in, a reward out, never an action seen.

A learner that plays against a policy is handed one (`Imitator`): how policies are trained is not its business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor

from visual_irl.errors import InvalidInput, LearningFailed
from visual_irl.reward import SITUATION_LEARNERS
from visual_irl.tasks.situation import Situation

SituationReward = Callable[[Situation, Situation], Tensor]
"""Rewards (B) of transitions between situations (B)."""
OPPONENTS = NOBODY, POLICY, PLANNER = "nobody", "policy", "planner"
"""What a learner plays against: it says so in `plays_against`."""
Keep = Callable[[SituationReward], None]
"""Told of every reward that is the best so far, so that nothing good is lost when learning fails later."""


@dataclass(frozen=True)
class Learned:
    """What a learner found."""

    reward: SituationReward
    policy: Any = None
    """The imitator's policy of the same moment; None from a learner that needs none."""
    env_steps: int = 0
    """Environment steps that it took."""


@runtime_checkable
class Imitator(Protocol):
    """A policy that learns in the task, begun from the same demonstrations."""

    def imitate(self, reward: SituationReward, after_round: Callable[[Any], None]) -> tuple[Any, int]:
        """A policy for a reward, and the environment steps that it took.

        `reward` is asked once a round, for all transitions of that round; then `after_round` is told the policy.
        """
        ...


@runtime_checkable
class SituationLearner(Protocol):
    """A learner of rewards from demonstrated situations (T) alone."""

    plays_against: ClassVar[str]
    """`NOBODY`, a `POLICY` that learns, or a `PLANNER`."""

    def learn(
        self,
        demonstrations: Sequence[Situation],
        imitator: Imitator | None = None,
        seed: int = 0,
        keep: Keep = lambda reward: None,
    ) -> Learned:
        """The reward of the demonstrations.

        Raises:
            LearningFailed: there is none, they are not of one task or hold NaN, or the learner diverged; `keep` was told of
                the last good reward.
        """
        ...


def situation_learner(name: str) -> SituationLearner:
    """The learner that is registered as `name`, by this package or by another one, with its defaults.

    Raises:
        UnknownName, MissingDependency: see `registry`.
        InvalidInput: what is registered is no learner.
    """
    config = SITUATION_LEARNERS.load(name)()
    learner = config.build() if hasattr(config, "build") else config
    if not isinstance(learner, SituationLearner) or learner.plays_against not in OPPONENTS:
        raise InvalidInput(
            f"'{name}' is registered as a situation learner, but a {type(learner).__name__} is none: it needs `learn`, and "
            f"`plays_against` as one of {', '.join(OPPONENTS)}; see visual_irl.reward.learner.SituationLearner"
        )
    return learner


def checked(demonstrations: Sequence[Situation]) -> Sequence[Situation]:
    """The demonstrations, if something can be learned from them.

    Raises:
        LearningFailed: there is none, one holds NaN, or they show different numbers of things.
    """
    if not demonstrations:
        raise LearningFailed("no demonstration was given; the task must be shown at least once")
    for i, demo in enumerate(demonstrations):
        if not (bool(demo.hand.isfinite().all()) and bool(demo.things.isfinite().all())):
            raise LearningFailed(f"demonstration {i + 1} holds NaN or infinity; extract it again, or leave it out")
        if len(demo.hand) < 2:
            raise LearningFailed(f"demonstration {i + 1} has {len(demo.hand)} states; at least 2 show a motion")
        if (demo.vessels is None) != (demonstrations[0].vessels is None):
            raise LearningFailed(f"demonstration {i + 1} is of another task than the first: only one has vessels to pour from")
    return demonstrations
