"""What is told of rewards and policies without optimising: on the tasks' own reward, its opposite, and known policies."""

from __future__ import annotations

import pytest
import torch

from visual_irl.errors import LearningFailed
from visual_irl.evaluation.benchmarks.reward_measures import behaviour_accuracy, reward_measures
from visual_irl.tasks.kinematic import kinematic_task


@pytest.mark.long
@pytest.mark.parametrize("name", ["onion_sorting", "pouring"])
def test_the_true_reward_agrees_with_itself_and_its_opposite_not_at_all(name: str) -> None:
    task = kinematic_task(name)
    same = reward_measures(task, lambda s, after: 5 * task.true_reward(after) - 1, seed=0)
    assert same["starc"] < 1e-3 and same["epic"] < 1e-3 and same["return_correlation"] == pytest.approx(1)
    opposite = reward_measures(task, lambda s, after: -task.true_reward(after), seed=0)
    assert (
        opposite["starc"] > 0.9 and opposite["epic"] == pytest.approx(1) and opposite["return_correlation"] == pytest.approx(-1)
    )
    assert same["lipschitz"] == pytest.approx(opposite["lipschitz"], rel=1e-4)
    with pytest.raises(LearningFailed, match="tells nothing apart"):
        reward_measures(task, lambda s, after: 0 * after[:, 0] + 2, seed=0)


@pytest.mark.parametrize("name", ["onion_sorting", "pouring"])
def test_only_who_does_what_the_demonstrator_does_is_like_the_demonstrator(name: str) -> None:
    task = kinematic_task(name)
    assert behaviour_accuracy(task, task.expert, seed=0) == 1
    assert behaviour_accuracy(task, lambda o: -task.expert(o), seed=0) < 0.1

    def timid(observations: torch.Tensor) -> torch.Tensor:
        action = task.expert(observations)
        return torch.cat([0.7 * action[:, :3], action[:, 3:]], dim=1)

    assert behaviour_accuracy(task, timid, seed=0) > 0.9  # slower by 12 to 21 mm a step, and else the same
