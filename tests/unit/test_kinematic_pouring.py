"""The batched pouring task: what runs out, where it goes, and its scripted demonstrator."""

from __future__ import annotations

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
