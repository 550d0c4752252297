"""The progress reward: what it finds in demonstrations, and that the demonstrated way lowers its cost from anywhere."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from visual_irl.errors import LearningFailed, UnreadableFile
from visual_irl.reward.distance import sampled_starc_distance
from visual_irl.reward.places import WORLD
from visual_irl.reward.progress import Progress, ProgressReward
from visual_irl.reward.strategy import TERMS, anchor_name
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic import KINEMATIC_TASKS, kinematic_task
from visual_irl.tasks.kinematic_pouring import KinematicPouring
from visual_irl.tasks.kinematic_sorting import KinematicSorting
from visual_irl.tasks.situation import Situation


def learned(task: KinematicSorting, demos: int = 10, seed: int = 0, noise: float = 0.0) -> ProgressReward:
    seen, _, _ = roll_out(task.build(demos, seed), task.expert)
    generator = torch.Generator().manual_seed(seed)
    places = 3 + 3 * task.objects
    seen[..., :places] += noise * torch.randn(*seen.shape[:2], places, generator=generator)
    return Progress().reward_of([task.split(s) for s in seen])


def learned_pouring(task: KinematicPouring, demos: int = 10, seed: int = 0) -> ProgressReward:
    return Progress().reward_of([task.split(s) for s in roll_out(task.build(demos, seed), task.expert)[0]])


def wandered(task: KinematicSorting, seed: int, environments: int = 64) -> Tensor:
    """States (B D) from all over the workspace: some moves of a demonstrator that is pushed about."""
    generator = torch.Generator().manual_seed(seed)
    batch = task.build(environments, seed)
    seen = [roll_out(batch, lambda o, n=n: task.expert(o, n, generator))[0][:, ::7].flatten(0, 1) for n in (1.0, 2.0, 5.0)]
    return torch.cat(seen)


@pytest.mark.parametrize("name", [n for n in KINEMATIC_TASKS.names if n.startswith("onion_sorting") and "mujoco" not in n])
def test_bins_and_cost_are_found(name: str) -> None:
    task = kinematic_task(name)
    reward = learned(task, demos=20)
    assert reward.strategy.release.frames == (WORLD,) * task.attributes
    bins = np.array([task.bins[b] for b in task.rule])
    assert np.linalg.norm(reward.strategy.rest.table - bins, axis=1).max() < 0.04  # the demonstrator stops within 4 cm
    assert 15 < reward.cost[1] < 35  # it carries at 4 cm a step along the longest axis: 14 to 25 steps a metre
    assert reward.strategy.tolerance < task.placed_distance


@pytest.mark.parametrize("name", ["onion_sorting", "onion_sorting_three_bins", "onion_sorting_two_onions"])
def test_the_demonstrated_way_lowers_the_cost_from_anywhere(name: str) -> None:
    task = kinematic_task(name)
    reward = learned(task)
    states = wandered(task, seed=5)
    batch = task.build(len(states), seed=6)
    seen = [batch.restart_from(states)]
    for _ in range(task.horizon - 1):
        seen.append(batch.step(task.expert(seen[-1]))[-1])
    cost = reward.steps_left(task.split(torch.stack(seen)))
    ends = task.success(seen[-1])
    assert ends.float().mean() > 0.95
    assert (cost[-1][ends] < 3).float().mean() > 0.95  # nothing is left to do but a few steps' worth of precision
    ahead = 6  # long enough for a gripper that must open first
    before, after = cost[:-ahead], cost[ahead:]
    unfinished = (before > 6) & ~task.success(torch.stack(seen[:-ahead]))  # the demonstrator stops where that is enough
    assert (after[unfinished] < before[unfinished]).float().mean() > 0.97


@pytest.mark.parametrize("seed", range(3))
def test_it_is_near_the_true_reward(seed: int) -> None:
    task = KinematicSorting()
    reward = learned(task, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    seen, _, _ = roll_out(task.build(128, seed + 50), lambda o: task.expert(o, 2.0, generator))
    s, s_next = seen[:, :-1].flatten(0, 1), seen[:, 1:].flatten(0, 1)
    rewards = [r.double().numpy() for r in (reward(task.split(s), task.split(s_next)), task.true_reward(s_next))]
    assert sampled_starc_distance(rewards[0], rewards[1], s.double().numpy(), s_next.double().numpy(), 0.97) < 0.2


def test_noisy_keypoints_move_the_bins_little() -> None:
    task = KinematicSorting()
    bins = np.array([task.bins[b] for b in task.rule])
    reward = learned(task, noise=0.02)
    assert np.linalg.norm(reward.strategy.rest.table - bins, axis=1).max() < 0.05


def test_noise_of_two_centimetres_does_not_change_the_prices_much() -> None:
    task = KinematicSorting()
    for seed in range(3):
        clean, noisy = learned(task, seed=seed), learned(task, seed=seed, noise=0.02)
        assert noisy.steps == pytest.approx(clean.steps, rel=0.15)  # the end of a demonstration is found
        np.testing.assert_allclose(noisy.cost[:3], clean.cost[:3], rtol=0.5)  # reach, carry and retreat


def test_opening_over_the_place_is_progress_and_elsewhere_is_not() -> None:
    reward = learned(KinematicSorting())
    place = torch.tensor(reward.strategy.release.table[0], dtype=torch.float32)

    def left(at: Tensor, gripper: float, held: bool = True) -> float:
        kind = torch.zeros(1, 1, dtype=torch.long)
        now = Situation(at[None], at[None, None], torch.full((1, 1), held), kind, torch.tensor([gripper]))
        return float(reward.steps_left(now))

    away = place + torch.tensor([0.0, 0.0, 0.3])
    assert left(place, 0.5) < left(place, 1.0) - 0.2
    assert left(away, 0.5) == left(away, 1.0)
    short_of_it = left(place, reward.strategy.opening[1] + 1e-3) - left(place, reward.strategy.opening[1], held=False)
    assert short_of_it > 0.4 * reward.cost[TERMS.index("releases")]  # whoever stops there has not let go


def test_the_gradient_is_finite_where_hand_and_thing_meet() -> None:
    task = KinematicSorting()
    reward = learned(task)
    state = task.build(1, 0).reset()
    state[:, 0:3] = state[:, 3:6]
    now = task.split(state)
    hand = now.hand.clone().requires_grad_()
    reward(now, Situation(hand, now.things, now.held, now.attribute, now.gripper)).sum().backward()
    assert hand.grad is not None and bool(hand.grad.isfinite().all())


def test_a_file_gives_the_same_reward(tmp_path: Path) -> None:
    task = KinematicSorting()
    reward = learned(task)
    reward.save(tmp_path / "reward.safetensors")
    again = ProgressReward.load(tmp_path / "reward.safetensors")
    now = task.split(wandered(task, seed=1))
    assert torch.equal(again.steps_left(now), reward.steps_left(now))
    (tmp_path / "broken.safetensors").write_bytes(b"no reward")
    with pytest.raises(UnreadableFile, match="not a progress reward"):
        ProgressReward.load(tmp_path / "broken.safetensors")


@pytest.mark.parametrize(
    ("task", "shown", "missing"),
    [
        (kinematic_task("onion_sorting"), {1}, 0),
        (kinematic_task("onion_sorting_three_bins"), {0, 2}, 1),
        (KinematicSorting(rule=(0, 1, 0)), {0, 2}, 1),  # both that are shown go into one bin
    ],
)
def test_an_attribute_that_was_never_shown_is_not_passed_over_in_silence(
    task: KinematicSorting, shown: set[int], missing: int
) -> None:
    seen, _, _ = roll_out(task.build(30, 0), task.expert)
    demos = [task.split(s) for s in seen]
    reward = Progress().reward_of([d for d in demos if int(d.attribute[0]) in shown])
    strange = next(d for d in demos if int(d.attribute[0]) == missing)
    with pytest.warns(UserWarning, match=f"attribute {missing} belong"):
        reward.steps_left(strange)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reward.steps_left(next(d for d in demos if int(d.attribute[0]) in shown))


def test_what_nobody_touches_needs_no_demonstration() -> None:
    task = KinematicPouring()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learned_pouring(task).steps_left(task.split(task.build(4, 1).reset()))


def test_what_is_handed_to_somebody_who_walks_on_rests_with_them() -> None:
    demos = []
    for seed in range(8):
        generator = torch.Generator().manual_seed(seed)
        start, thing, met, end = torch.rand(4, 3, generator=generator)
        t = torch.arange(40.0)[:, None]
        walker = met + 0.02 * (t - 20) * torch.nn.functional.normalize(torch.randn(3, generator=generator), dim=0)
        reach, carry, leave = ((t[:n] / (n - 1)) for n in (9, 12, 19))
        hand = torch.cat([torch.lerp(start, thing, reach), torch.lerp(thing, met, carry), torch.lerp(met, end, leave)])
        held = (t[:, 0] >= 9) & (t[:, 0] < 21)
        handed = torch.where(t < 9, thing, torch.where(t < 21, hand, walker))
        both = torch.stack([handed, walker], dim=1)
        kind = torch.tensor([0, 1]).expand(40, 2)
        flags = torch.stack([held, torch.zeros_like(held)], dim=1)
        demos.append(Situation(hand, both, flags, kind, torch.where(held, 1.0, -1.0)))
    rest = Progress().reward_of(demos).strategy.rest
    assert rest.frames == (anchor_name(1),)
    assert rest.spread < 1e-6 and np.linalg.norm(rest.table[0]) < 1e-6  # in every demonstration just there


def test_demonstrations_that_are_cut_off_while_the_hand_leaves_are_learned_from() -> None:
    task = KinematicSorting()
    seen = roll_out(task.build(20, 0), task.expert)[0]
    whole, cut = [], []
    for one in map(task.split, seen):
        let_go = int(one.held[:, 0].nonzero().max()) + 1
        whole.append(one)
        cut.append(one[: let_go + 4])  # under way to its rest, by 4 cm a step
    bins, prices = zip(*((r.strategy.rest.table, r.cost) for r in map(Progress().reward_of, (whole, cut))), strict=True)
    np.testing.assert_allclose(bins[1], bins[0], atol=0.01)
    assert prices[1][1] == pytest.approx(prices[0][1], rel=0.2)


def test_demonstrations_that_say_nothing_are_refused() -> None:
    task = KinematicSorting()
    seen, _, _ = roll_out(task.build(2, 0), lambda o: torch.zeros(len(o), 4))
    with pytest.raises(LearningFailed, match="no demonstration"):
        Progress().reward_of([])
    with pytest.raises(LearningFailed, match="another task"):
        Progress().reward_of([task.split(s) for s in seen])
    seen[1, 5, 0] = torch.nan
    with pytest.raises(LearningFailed, match="demonstration 2 holds NaN"):
        Progress().reward_of([task.split(s) for s in seen])


@pytest.mark.parametrize("name", [n for n in KINEMATIC_TASKS.names if n.startswith("pouring")])
def test_pouring_is_found_between_pick_and_release(name: str) -> None:
    task = kinematic_task(name)
    reward = learned_pouring(task)
    strategy, pour = reward.strategy, reward.strategy.pour
    assert pour is not None and strategy.idle == (1,)
    assert pour.place.frames == (anchor_name(1),)  # it moves with the cup
    cup = torch.tensor([0.4, 0.1, task.cup_height / 2])
    over = task.pouring_place(cup).numpy() - cup.numpy()
    assert np.linalg.norm(pour.place.table[0] - over) < 0.03
    assert np.linalg.norm(strategy.rest.table[0, :2] - np.array(task.disposal)) < 0.02
    assert task.first_tilt < pour.tilt <= task.full_tilt and abs(pour.upright) < 0.05
    assert pour.goal > task.full and pour.kept == pytest.approx(task.content)


def test_the_pouring_demonstrator_lowers_the_cost_and_spilling_raises_it() -> None:
    task = KinematicPouring()
    reward = learned_pouring(task)
    seen, _, _ = roll_out(task.build(64, seed=77), task.expert)
    cost = reward.steps_left(task.split(seen))
    assert float(cost[:, -1].max()) < 2
    ahead = 8
    before, later = cost[:, :-ahead], cost[:, ahead:]
    assert (later[before > 8] < before[before > 8]).float().mean() > 0.97
    pouring = seen[:, 25].clone()
    pouring[:, 15] -= 0.2  # out of the bottle, and not into the cup
    assert bool((reward.steps_left(task.split(pouring)) > cost[:, 25] + 5).all())


def test_a_file_gives_the_same_pouring_reward(tmp_path: Path) -> None:
    task = KinematicPouring()
    reward = learned_pouring(task)
    reward.save(tmp_path / "reward.safetensors")
    again = ProgressReward.load(tmp_path / "reward.safetensors")
    now = task.split(roll_out(task.build(16, 3), task.expert)[0])
    assert torch.equal(again.steps_left(now), reward.steps_left(now))
    assert again.strategy.pour == replace(reward.strategy.pour, place=again.strategy.pour.place)  # type: ignore[type-var,union-attr]
