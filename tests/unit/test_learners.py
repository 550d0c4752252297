"""What holds for every learner from situations, and how each of them fails: clearly, and with what was good kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.policy.cloning import Cloning
from visual_irl.policy.imitator import ClonedStart
from visual_irl.policy.mppi import Mppi, PlannedPolicy, Planning
from visual_irl.policy.ppo import PPO
from visual_irl.reward import SITUATION_LEARNERS
from visual_irl.reward.airl import Airl, energy_distance
from visual_irl.reward.learner import PLANNER, Imitator, SituationLearner
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic_pouring import KinematicPouring
from visual_irl.tasks.kinematic_sorting import KinematicSorting
from visual_irl.tasks.situation import Situation

TASK = KinematicSorting()
SHOWN = roll_out(TASK.build(6, 0), TASK.expert)[0]
DEMOS = [TASK.split(s) for s in SHOWN]
SMALL = PPO(iterations=8, environments=32)


WELL, BARELY = Cloning(updates=150), Cloning(updates=1)
"""How a policy begins; barely where it does not matter."""


def imitator(cloning: Cloning = WELL) -> ClonedStart:
    return ClonedStart(TASK, SHOWN, SMALL, cloning)


def opponent(learner: SituationLearner) -> Imitator:
    """What a learner plays against, small."""
    return Planning(TASK, Mppi(candidates=8), environments=8, rounds=2) if learner.plays_against == PLANNER else imitator()


@pytest.mark.long
@pytest.mark.parametrize("name", SITUATION_LEARNERS.names)
def test_every_learner_prefers_what_was_demonstrated(name: str) -> None:
    learner = SITUATION_LEARNERS.load(name)().build()
    assert isinstance(learner, SituationLearner)
    kept = []
    learned = learner.learn(DEMOS, opponent(learner), seed=1, keep=kept.append)
    idle = roll_out(TASK.build(64, 9), lambda o: 2 * torch.rand(len(o), 4) - 1)[0]
    held_out = roll_out(TASK.build(64, 8), TASK.expert)[0]

    def mean(seen: Tensor) -> float:
        now, then = TASK.split(seen[:, :-1]), TASK.split(seen[:, 1:])
        with torch.no_grad():
            return float(learned.reward(now, then).mean())

    assert mean(held_out) > mean(idle)
    assert kept and kept[-1] is learned.reward
    now = TASK.split(held_out[:, 5])
    hand = now.hand.clone().requires_grad_()
    learned.reward(now, replace(now, hand=hand)).sum().backward()
    assert hand.grad is not None and bool(hand.grad.isfinite().all()) and float(hand.grad.abs().max()) > 0


@pytest.mark.parametrize("name", SITUATION_LEARNERS.names)
def test_no_learner_learns_from_nothing_or_from_nan(name: str) -> None:
    learner = SITUATION_LEARNERS.load(name)().build()
    with pytest.raises(LearningFailed, match="no demonstration"):
        learner.learn([], imitator())
    hand = DEMOS[1].hand.clone()
    hand[3, 0] = torch.nan
    with pytest.raises(LearningFailed, match="demonstration 2 holds NaN"):
        learner.learn([DEMOS[0], replace(DEMOS[1], hand=hand)], imitator())
    with pytest.raises(LearningFailed, match="demonstration 2 has 1 states"):
        learner.learn([DEMOS[0], DEMOS[1][:1]], imitator())
    pouring = KinematicPouring()
    poured = pouring.split(roll_out(pouring.build(1, 0), pouring.expert)[0][0])
    with pytest.raises(LearningFailed, match="demonstration 2 is of another task"):
        learner.learn([DEMOS[0], poured], imitator())


@pytest.mark.long
def test_demonstrations_of_another_task_than_the_policys_are_refused() -> None:
    pouring = KinematicPouring()
    poured = [pouring.split(s) for s in roll_out(pouring.build(2, 0), pouring.expert)[0]]
    with pytest.raises(LearningFailed, match="another task than the policy's"):
        Airl().learn(poured, imitator(BARELY))


@pytest.mark.long
def test_a_learner_that_diverges_stops_and_has_kept_its_last_good_reward() -> None:
    class Poisoned(ClonedStart):
        """A policy that reaches infinity in its fourth round."""

        def imitate(self, reward, after_round):  # type: ignore[no-untyped-def]
            rounds = 0

            def asked(now: Situation, then: Situation) -> Tensor:
                nonlocal rounds
                rounds += 1
                return reward(now, replace(then, hand=then.hand * torch.inf) if rounds == 4 else then)

            return super().imitate(asked, after_round)

    kept = []
    with pytest.raises(LearningFailed, match=r"discriminator's loss became nan; .* was kept"):
        Airl().learn(DEMOS, Poisoned(TASK, SHOWN, SMALL, BARELY), keep=kept.append)
    now = DEMOS[0]
    assert kept and bool(kept[-1](now[:-1], now[1:]).isfinite().all())


def test_an_adversary_without_a_policy_says_what_is_missing() -> None:
    with pytest.raises(LearningFailed, match="imitator"):
        Airl().learn(DEMOS)


def test_energy_distance_is_zero_for_the_same_and_grows_with_the_difference() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(400, 3, generator=generator) for _ in range(2))
    same, near, far = energy_distance(a, b), energy_distance(a, b + 0.5), energy_distance(a, b + 2)
    assert abs(same) < 0.05 < near < far
    assert energy_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_a_planner_reaches_what_the_reward_is_for() -> None:
    goal = torch.tensor([0.4, 0.3, 0.2])
    policy = PlannedPolicy(TASK, Mppi(horizon=6), lambda now, then: -(then.hand - goal).norm(dim=-1))
    seen, _, _ = roll_out(TASK.build(4, 3), policy)
    distance = (TASK.split(seen).hand - goal).norm(dim=-1)
    assert float(distance[:, 0].min()) > 0.1 and float(distance[:, 20:].max()) < 0.05
