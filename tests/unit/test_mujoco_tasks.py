"""Sorting and pouring with physics: what is held is held by friction, and nothing else than in the kinematic tasks is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visual_irl.reward.progress import Progress
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic_pouring import BOTTLE, CUP
from visual_irl.tasks.mujoco_pouring import MujocoPouring
from visual_irl.tasks.mujoco_sorting import MujocoSorting

EPISODES = 16


@pytest.mark.parametrize("onions", [1, 2])
def test_the_demonstrator_sorts_by_friction(onions: int) -> None:
    task = MujocoSorting(objects=onions)
    seen = roll_out(task.build(EPISODES, seed=3), task.expert)[0]
    done = task.success(seen[:, -1])
    assert done.float().mean() > 0.9
    now = task.split(seen[done])
    assert not now.held[:, -1].any() and bool(now.held.any(dim=1).all())
    lifted = now.things[..., 2] > task.table_height + 0.03
    assert (now.held | ~lifted).float().mean() > 0.98  # nothing is in the air that is not held, but what has just been let go
    off = (now.hand.unsqueeze(-2) - now.things).norm(dim=-1)
    assert float(off[now.held].mean()) < 0.01


def test_an_onion_that_is_not_between_the_fingers_is_not_taken() -> None:
    task = MujocoSorting()
    batch = task.build(2)
    state = torch.tensor([[0.4, 0.0, 0.05, 0.4, 0.0, 0.05, 0, 0, -1.0], [0.4, 0.0, 0.05, 0.45, 0.0, 0.05, 0, 0, -1.0]])
    seen = batch.restart_from(state)
    for _ in range(6):  # closed, then up
        seen = batch.step(torch.tensor([[0.0, 0.0, 0.0, 1.0]]).expand(2, 4))[-1]
    for _ in range(4):
        seen = batch.step(torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(2, 4))[-1]
    now = task.split(seen)
    assert now.held[:, 0].tolist() == [True, False]  # a point hand takes what is 5 cm aside
    assert float(now.things[0, 0, 2]) > 0.15 and float(now.things[1, 0, 2]) == pytest.approx(0.05, abs=0.005)


def test_an_episode_that_begins_with_something_in_the_hand_goes_on_so() -> None:
    sorting, pouring = MujocoSorting(), MujocoPouring()
    for task in (sorting, pouring):
        seen = roll_out(task.build(8, seed=5), task.expert)[0].flatten(0, 1)
        now = task.split(seen)
        seen = seen[now.held[:, 0] & (now.gripper == 1)][3::20]
        batch = task.build(len(seen), seed=6)
        batch.restart_from(seen)
        still = torch.zeros(len(seen), task.action_size)
        still[:, 3] = 1.0
        for _ in range(3):
            now = task.split(batch.step(still)[-1])
        assert bool(now.held[:, 0].all())
        torch.testing.assert_close(now.things[:, 0], task.split(seen).things[:, 0], atol=0.02, rtol=0)


def test_threads_do_not_change_what_happens() -> None:
    one, two = (roll_out((t := MujocoSorting(threads=n)).build(8, seed=1), t.expert)[0] for n in (1, 2))
    assert torch.equal(one, two)


@pytest.mark.long
def test_the_demonstrator_pours_into_the_cup_and_a_bottle_tipped_elsewhere_is_spilled() -> None:
    task = MujocoPouring()
    seen = roll_out(task.build(EPISODES, seed=4), task.expert)[0]
    assert task.success(seen[:, -1]).float().mean() > 0.8
    now = task.split(seen[:, -1])
    assert now.vessels is not None
    assert float(now.vessels.level[:, CUP].mean()) > 1.2 and float(now.vessels.tilt[:, BOTTLE].median()) < 0.05

    held = task.split(seen).held[:, 22, BOTTLE]
    batch = task.build(EPISODES, seed=4)
    away = seen[:, 22].clone()
    away[:, 6] += 0.3  # the cup stands 30 cm farther
    batch.restart_from(away)
    tip = torch.zeros(EPISODES, task.action_size)
    tip[:, 3], tip[:, 4] = 1.0, 0.5
    for _ in range(25):
        reached = batch.step(tip)[-1]
    assert bool(held.all()) and float(task.spilled(task.split(reached)).min()) > 0.9
    assert not bool(task.success(reached).any())


def test_the_reward_finds_bins_behind_walls() -> None:
    task = MujocoSorting()
    seen = roll_out(task.build(20, seed=0), task.expert)[0]
    reward = Progress().reward_of([task.split(s) for s in seen])
    bins = np.array([task.bins[b] for b in task.rule])
    assert np.linalg.norm(reward.strategy.rest.table - bins, axis=1).max() < 0.04
    assert 25 < reward.cost[1] < 50  # it carries over the walls: more steps a metre than straight on
