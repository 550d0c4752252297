"""The batched pouring task: what runs out, where it goes, and its scripted demonstrator."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic import kinematic_task
from visual_irl.tasks.kinematic_pouring import KinematicPouring

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
TASK = KinematicPouring()
CUP = torch.tensor([0.5, 0.1, 0.045])


def holding(bottle: Tensor, tilt: float, content: float = 1.3, filled: float = 0.0, gripper: float = 1.0) -> Tensor:
    """One state (1 D) in which the hand holds the bottle."""
    flags = torch.tensor([1.0, 0, 0, 1, tilt, 0, content, filled, tilt, gripper])
    return torch.cat([bottle, bottle, CUP, flags])[None]


def after(state: Tensor, actions: list[list[float]]) -> Tensor:
    batch = TASK.build(1)
    reached = batch.restart_from(state)
    for action in actions:
        reached = batch.step(torch.tensor([action]))[-1]
    return reached


def one_step(s: np.ndarray, action: np.ndarray, task: KinematicPouring) -> np.ndarray:
    """One environment, by the equations: hand, bottle, cup, held, tilt, levels, hand's tilt and gripper after an action."""
    hand, bottle, cup, held, tilt, level = s[:3], s[3:6], s[6:9], s[9] > 0, s[13], s[15:17].copy()
    action = np.clip(action, -1, 1)
    hand = np.clip(hand + 0.05 * action[:3], *np.array(task.workspace))
    gripper = np.clip(s[18] + 0.5 * action[3], -1, 1)
    hand_tilt = np.clip(s[17] + task.tilt_step * action[4], 0, task.most_tilt)
    held = gripper > 0 and (held or np.linalg.norm(hand - bottle) < task.grasp_distance)
    toppled = not held and tilt > task.topples
    tilt = hand_tilt if held else np.pi / 2 if toppled else 0.0
    if held:  # the table bears it
        lowest = task.standing * abs(np.cos(tilt)) + task.standing / 3 * abs(np.sin(tilt))
        hand = bottle = np.array([*hand[:2], max(hand[2], lowest)])
    else:
        bottle = np.array([*bottle[:2], max(bottle[2] - task.fall_step, task.standing / (3 if toppled else 1))])
    share = np.clip((tilt - task.first_tilt) / (task.full_tilt - task.first_tilt), 0, 1)
    out = level[0] if toppled else min(task.flow * share, level[0])
    way = bottle + task.neck * np.array([0.0, np.sin(tilt), np.cos(tilt)]) - cup
    if np.linalg.norm(way[:2]) < task.cup_radius and task.cup_height / 2 < way[2] < 0.3 and not toppled:
        level[1] += min(out, 1 - level[1])
    level[0] -= out
    return np.concatenate([hand, bottle, cup, [held, 0, 0, 1, tilt, 0], level, [hand_tilt, gripper]])


@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_every_step_follows_the_equations(noise: float) -> None:
    batch = TASK.build(32, seed=3)
    seen, actions, _ = roll_out(batch, lambda o: TASK.expert(o, noise, batch.generator))
    assert seen[..., 16].max() > 0.3 and (seen[..., 9] > 0).any()
    for state, action, after_it in zip(
        *(x.flatten(0, 1).double().numpy() for x in (seen[:, :-1], actions, seen[:, 1:])), strict=True
    ):
        np.testing.assert_allclose(after_it, one_step(state, action, TASK), atol=1e-5)  # float32 against float64


@pytest.mark.parametrize("name", ["pouring", "pouring_moved_places", "pouring_other_cup"])
@pytest.mark.parametrize("device", DEVICES)
def test_the_demonstrator_pours_and_chance_does_not(name: str, device: str) -> None:
    task = kinematic_task(name)
    batch = task.build(200, seed=5, device=device)
    seen, _, reward = roll_out(batch, task.expert)
    idle, _, idle_reward = roll_out(batch, lambda o: 2 * torch.rand(200, 5, generator=batch.generator, device=device) - 1)
    assert task.success(seen[:, -1]).float().mean() >= 0.99
    assert task.success(idle[:, -1]).float().mean() < 0.01
    assert reward.sum(1).mean() > idle_reward.sum(1).mean()
    levels = task.split(seen).vessels.level  # type: ignore[union-attr]
    assert bool((levels >= 0).all()) and bool((levels[..., 1] <= 1 + 1e-6).all())
    assert bool((levels.sum(-1).diff(dim=1) < 1e-5).all())  # nothing comes from nowhere


def test_a_tilted_bottle_fills_the_cup_that_is_below_and_the_table_elsewhere() -> None:
    over = TASK.pouring_place(CUP)
    still = [0.0, 0, 0, 1, 0]
    poured = TASK.split(after(holding(over, 2.0), [still] * 3))
    assert poured.vessels is not None
    assert poured.vessels.level[0].tolist() == pytest.approx([1.0, 0.3], abs=1e-5)  # three steps of 0.1
    beside = TASK.split(after(holding(over + torch.tensor([0.0, 0.1, 0.0]), 2.0), [still] * 3))
    assert beside.vessels is not None
    assert beside.vessels.level[0].tolist() == pytest.approx([1.0, 0.0], abs=1e-5)
    assert float(TASK.spilled(beside)) == pytest.approx(0.3, abs=1e-5)
    upright = TASK.split(after(holding(over, 0.9), [still] * 3))
    assert upright.vessels is not None and upright.vessels.level[0, 0] == pytest.approx(1.3)


def test_what_no_longer_fits_is_spilled() -> None:
    over = TASK.pouring_place(CUP)
    state = after(holding(over, 2.0, content=0.5, filled=0.8), [[0.0, 0, 0, 1, 0]] * 4)
    vessels = TASK.split(state).vessels
    assert vessels is not None and vessels.level[0].tolist() == pytest.approx([0.1, 1.0], abs=1e-5)
    assert bool(vessels.full[0, 1]) and not bool(vessels.full[0, 0])


def test_a_bottle_let_go_aslant_falls_over_and_one_let_go_upright_stands() -> None:
    place = torch.tensor([0.25, 0.4, 0.1])
    opening = [[0.0, 0, 0, -1, 0]] * 3
    stands = after(holding(place, 0.1, content=0.3, filled=0.98, gripper=0.5), opening)
    assert bool(TASK.success(stands))  # 0.02 are gone
    lies = after(holding(place, 0.8, content=0.3, filled=0.98, gripper=0.5), opening)
    vessels = TASK.split(lies).vessels
    assert vessels is not None and vessels.level[0, 0] == 0 and not bool(TASK.success(lies))


def test_the_table_bears_a_held_bottle() -> None:
    down = [[0.0, 0, -1, 1, 0]] * 4
    for tilt, height in ((0.0, TASK.standing), (torch.pi / 2, TASK.standing / 3)):
        pressed = TASK.split(after(holding(torch.tensor([0.25, 0.4, 0.1]), tilt), down))
        lowest = max(height, TASK.workspace[0][2])
        assert float(pressed.things[0, 0, 2]) == pytest.approx(lowest, abs=1e-5)
        assert torch.equal(pressed.hand, pressed.things[:, 0])


def test_no_success_while_it_is_held_or_spilled_or_not_full() -> None:
    place = torch.tensor([0.25, 0.4, 0.075])
    good = after(holding(place, 0.0, content=0.3, filled=0.98, gripper=0.5), [[0.0, 0, 0, -1, 0]] * 2)
    assert bool(TASK.success(good))
    assert not bool(TASK.success(holding(place, 0.0, content=0.3, filled=0.98)))
    for level in ([0.2, 0.98], [0.4, 0.9]):
        bad = good.clone()
        bad[:, 15:17] = torch.tensor(level)
        assert not bool(TASK.success(bad))


def test_the_same_seed_gives_the_same_episodes_and_a_restart_the_same_state() -> None:
    assert torch.equal(TASK.build(8, seed=2).observe(), TASK.build(8, seed=2).observe())
    assert not torch.equal(TASK.build(8, seed=2).observe(), TASK.build(8, seed=3).observe())
    state = roll_out(TASK.build(8, seed=2), TASK.expert)[0][:, 25]
    assert torch.equal(TASK.build(8, seed=9).restart_from(state), state)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"content": 0.5}, {"first_tilt": 2.1}])
def test_an_impossible_task_is_refused(wrong: dict) -> None:
    with pytest.raises(InvalidInput, match="kinematic pouring"):
        KinematicPouring(**wrong)


def test_states_of_another_task_are_refused() -> None:
    with pytest.raises(InvalidInput, match="19"):
        TASK.success(torch.zeros(2, 9))
    with pytest.raises(InvalidInput, match="NaN"):
        TASK.build(1).restart_from(torch.full((1, 19), torch.nan))
