"""The batched kinematic task against its equations written out in NumPy, and its scripted demonstrator."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visual_irl.errors import InvalidInput
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic_sorting import KinematicSorting

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
BINS = np.array([[0.3, 0.35, 0.05], [0.3, -0.35, 0.05]])


def one_step(state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, float]:
    """One environment with one object: hand, object, held, attribute, gripper."""
    action = np.clip(action, -1, 1)
    hand = np.clip(state[:3] + 0.05 * action[:3], [0.1, -0.5, 0.03], [0.7, 0.5, 0.6])
    thing, held, attribute = state[3:6], state[6] > 0, int(state[7])
    gripper = np.clip(state[8] + 0.5 * action[3], -1, 1)
    held = gripper > 0 and (held or np.linalg.norm(hand - thing) < 0.06)
    thing = hand if held else np.array([thing[0], thing[1], max(thing[2] - 0.1, 0.05)])
    to_bin = np.linalg.norm(thing - BINS[attribute])
    reward = -(np.linalg.norm(hand - thing) if to_bin >= 0.08 else 0) - 2 * to_bin
    return np.concatenate([hand, thing, [held, attribute, gripper]]), reward


def one_expert(state: np.ndarray) -> np.ndarray:
    hand, thing, held, centre = state[:3], state[3:6], state[6] > 0, BINS[int(state[7])]
    placed, at_bin = np.linalg.norm(thing - centre) < 0.08, np.linalg.norm(hand - centre) < 0.04
    if placed and not held:
        goal, grip = centre + [0, 0, 0.15], -1
    elif held:
        goal, grip = centre, -1 if at_bin else 1
    else:
        goal, grip = thing, 1 if np.linalg.norm(hand - thing) < 0.1 else -1
    move = (goal - hand) / 0.05
    return np.append(0.8 * move / max(1, np.abs(move).max()), grip)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_every_step_follows_the_published_equations(device: str, noise: float) -> None:
    task = KinematicSorting()
    batch = task.build(32, seed=3, device=device)
    seen, actions, rewards = roll_out(batch, lambda o: task.expert(o, noise, batch.generator))
    seen, actions, rewards = (x.cpu().double().numpy() for x in (seen, actions, rewards))
    assert seen.shape == (32, 61, 9)
    assert seen[:, :, 6].max() == 1
    for b in range(32):
        for t in range(60):
            state, reward = one_step(seen[b, t], actions[b, t])
            np.testing.assert_allclose(seen[b, t + 1], state, atol=1e-6)  # float32 against float64
            assert rewards[b, t] == pytest.approx(reward, abs=2e-6)
            if not noise:
                np.testing.assert_allclose(actions[b, t], one_expert(seen[b, t]), atol=1e-5)  # divided by a 0.05 m step


def test_random_actions_also_follow_them_and_episodes_restart() -> None:
    batch = KinematicSorting().build(16, seed=1)
    state = batch.observe()
    generator = torch.Generator().manual_seed(0)
    for t in range(130):
        action = 3 * torch.rand(16, 4, generator=generator) - 1.5
        following, ended, reached = batch.step(action)
        want = np.stack([one_step(s, a)[0] for s, a in zip(state.double().numpy(), action.double().numpy(), strict=True)])
        np.testing.assert_allclose(reached.numpy(), want, atol=1e-6)
        assert ended == (t % 60 == 59)
        assert torch.equal(following, reached) != ended
        state = following


@pytest.mark.parametrize(
    "task",
    [
        KinematicSorting(),
        KinematicSorting(rule=(1, 0)),
        KinematicSorting(bins=((0.5, 0.3, 0.05), (0.25, -0.4, 0.05), (0.6, -0.35, 0.05)), rule=(2, 0, 1)),
        KinematicSorting(objects=4),
    ],
)
def test_the_demonstrator_sorts_and_chance_does_not(task: KinematicSorting) -> None:
    batch = task.build(200, seed=5)
    seen, _, reward = roll_out(batch, task.expert)
    idle, _, idle_reward = roll_out(batch, lambda o: 2 * torch.rand(200, 4, generator=batch.generator) - 1)
    assert task.success(seen[:, -1]).float().mean() >= 0.99
    assert not task.split(seen[:, -1]).held.any()  # let go, not carried to the end
    assert task.success(idle[:, -1]).float().mean() < 0.05
    assert reward.sum(1).mean() > idle_reward.sum(1).mean()


def test_only_one_of_two_near_objects_is_taken() -> None:
    batch = KinematicSorting(objects=2).build(1)
    start = torch.tensor([[0.4, 0, 0.05, 0.4, 0.02, 0.05, 0.4, -0.01, 0.05, 0, 0, 0, 1, 0.0]])
    batch.restart_from(start)
    _, _, reached = batch.step(torch.tensor([[0.0, 0, 0, 1]]))
    assert batch.task.split(reached).held.tolist() == [[False, True]]


def test_the_same_seed_gives_the_same_episodes_and_a_restart_the_same_state() -> None:
    task = KinematicSorting(objects=3)
    assert torch.equal(task.build(8, seed=2).observe(), task.build(8, seed=2).observe())
    assert not torch.equal(task.build(8, seed=2).observe(), task.build(8, seed=3).observe())
    state = roll_out(task.build(8, seed=2), task.expert)[0][:, 20]
    assert torch.equal(task.build(8, seed=9).restart_from(state), state)


@pytest.mark.parametrize("wrong", [{"objects": 0}, {"rule": (0, 2)}, {"rule": ()}, {"steps_per_object": 0}])
def test_an_impossible_task_is_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInput, match="kinematic sorting"):
        KinematicSorting(**wrong)


def test_states_of_another_task_are_refused() -> None:
    with pytest.raises(InvalidInput, match="9"):
        KinematicSorting().success(torch.zeros(2, 14))
    with pytest.raises(InvalidInput, match="NaN"):
        KinematicSorting().build(1).restart_from(torch.full((1, 9), torch.nan))
