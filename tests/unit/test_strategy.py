"""What a strategy makes of tasks beyond sorting and pouring: an order, nothing to do, and what it cannot tell."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from visual_irl.reward.order import fixed_order
from visual_irl.reward.progress import Progress, ProgressReward
from visual_irl.tasks.situation import Situation

STRIDE = 0.04
HOME = torch.tensor([0.3, 0.0, 0.4])
BOX = torch.tensor([0.35, 0.45, 0.03])
HEIGHT = torch.tensor([0.0, 0.0, 0.06])


def shown(things: Tensor, kinds: Sequence[int], plan: Sequence[tuple[int, Tensor]], via: Tensor | None = None) -> Situation:
    """A hand that takes things (N 3) one after the other to their places, each by way of `via`, and then goes home."""
    now, hand, states = things.clone(), HOME - torch.tensor([0.0, 0.2, 0.1]), []

    def go(goal: Tensor, carried: int | None) -> None:
        nonlocal hand
        way = goal - hand
        for share in torch.linspace(0, 1, int(way.norm() / STRIDE) + 2)[1:]:
            place = hand + share * way
            if carried is not None:
                now[carried] = place
            held = torch.zeros(len(now), dtype=torch.bool)
            if carried is not None:
                held[carried] = True
            states.append((place, now.clone(), held))
        hand = goal

    for thing, goal in plan:
        go(now[thing].clone(), None)
        if via is not None:
            go(via, thing)
        go(goal, thing)
        states.append((hand, now.clone(), torch.zeros(len(now), dtype=torch.bool)))
    go(HOME, None)
    states += 5 * states[-1:]
    hands, places, held = (torch.stack(each) for each in zip(*states, strict=True))
    kind = torch.tensor(kinds).expand(len(hands), -1)
    return Situation(hands, places, held, kind, torch.where(held.any(dim=-1), 1.0, -1.0))


def scattered(seed: int, count: int = 3) -> Tensor:
    places = torch.rand(count, 3, generator=torch.Generator().manual_seed(seed)) * torch.tensor([0.35, 0.5, 0.0])
    return places + torch.tensor([0.25, -0.35, 0.03])


def stacked(seed: int) -> Situation:
    """Block 1 goes onto block 0, and 2 onto 1, wherever they lie."""
    blocks = scattered(seed)
    return shown(blocks, (0, 1, 2), [(1, blocks[0] + HEIGHT), (2, blocks[0] + 2 * HEIGHT)])


@pytest.fixture(scope="module")
def stack() -> ProgressReward:
    return Progress().reward_of([stacked(seed) for seed in range(10)])


def test_an_order_that_the_nearest_first_does_not_explain_is_found() -> None:
    assert fixed_order([stacked(seed) for seed in range(10)], STRIDE) == ((1, 2),)


def test_nearest_first_is_no_order() -> None:
    demos = []
    for seed in range(10):
        things = scattered(seed, 2)
        first = int((things - HOME).norm(dim=-1).argmin())
        demos.append(shown(things, (0, 1), [(first, BOX), (1 - first, BOX)]))
    assert fixed_order(demos, STRIDE) == ()
    assert fixed_order(demos[:1], STRIDE) == ()


def test_what_is_held_before_its_turn_is_to_be_put_down(stack: ProgressReward) -> None:
    demo = stacked(77)
    left = stack.steps_left(demo)
    assert float(left[-1]) < 1 and bool((left[:-6].diff() < 0.5).all())
    start = demo[:1]
    in_hand = torch.eye(3, dtype=torch.bool)

    def holding(thing: int) -> float:
        now = Situation(start.things[:, thing], start.things, in_hand[thing : thing + 1], start.attribute, torch.ones(1))
        return float(stack.steps_left(now))

    def beside(thing: int) -> float:
        none = torch.zeros_like(start.held)
        return float(stack.steps_left(Situation(start.things[:, thing], start.things, none, start.attribute, torch.ones(1))))

    assert holding(1) < beside(1) - 1  # it is taken
    assert holding(2) > beside(2) + 1  # it is in the way


def test_a_stack_in_the_wrong_order_is_not_done(stack: ProgressReward) -> None:
    demo = stacked(77)
    early = demo[:1].things.clone()
    early[:, 2] = early[:, 0] + HEIGHT  # on block 0, where 1 belongs: a height from its own place
    none = torch.zeros_like(demo[:1].held)
    events = stack.strategy.remaining(Situation(demo[:1].hand, early, none, demo[:1].attribute, -torch.ones(1)))[0, 3:5]
    assert events.tolist() == [2, 2]  # both are still to be taken and let go


def test_a_file_keeps_the_order(stack: ProgressReward, tmp_path: Path) -> None:
    stack.save(tmp_path / "reward.safetensors")
    assert ProgressReward.load(tmp_path / "reward.safetensors").strategy.order == ((1, 2),)


def test_demonstrations_in_which_nothing_is_to_do_belong_to_the_task() -> None:
    """Things of one kind are cleared away, the others stay; in some demonstrations there is none of that kind."""
    demos = []
    for seed in range(8):
        things, kinds = scattered(seed), (seed % 2, int(seed > 5), 0)
        demos.append(shown(things, kinds, [(n, BOX) for n, kind in enumerate(kinds) if kind]))
    assert not all(bool(d.held.any()) for d in demos)
    reward = Progress().reward_of(demos)
    assert reward.strategy.handled == (1,) and reward.strategy.idle == (0,)
    for demo in demos:
        left = reward.steps_left(demo)
        assert bool(left.isfinite().all()) and float(left[-1]) < 1
    idle = next(d for d in demos if not bool(d.held.any()))
    moved = Situation(idle.hand, idle.things, idle.held, idle.attribute + 1, idle.gripper)
    assert float(reward.steps_left(idle[:1])) < float(reward.steps_left(moved[:1])) - 20


def test_what_is_done_on_the_way_and_not_told_is_warned_of() -> None:
    """A tool is taken, touched to a place, and put back where it stood."""
    starts = [scattered(seed, 1) for seed in range(6)]
    touched = [shown(start, (0,), [(0, start[0])], via=torch.tensor([0.5, 0.3, 0.2])) for start in starts]
    with pytest.warns(UserWarning, match=r"the reward tells 0\.\d\d of the demonstrations' time .* besides taking, pouring"):
        Progress().reward_of(touched)
    with pytest.warns(UserWarning, match="an attribute changes") as heard:
        Progress().reward_of([replace(d, attribute=(d.held.cumsum(0) > 4).long()) for d in touched])
    assert len(heard) == 1  # what a thing becomes is none of the kinds that were not shown
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Progress().reward_of([shown(start, (0,), [(0, BOX)]) for start in starts])
