"""In which frame examples agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from visual_irl.reward.places import WORLD, fit_place

RNG = np.random.default_rng(0)


def near(points: np.ndarray) -> np.ndarray:
    return points + RNG.normal(0, 0.005, points.shape)


@pytest.mark.parametrize("count", [4, 10, 50])
def test_bins_are_told_apart_by_attribute(count: int) -> None:
    attribute = np.arange(count) % 2
    bins = np.array([[0.3, 0.35, 0.05], [0.3, -0.35, 0.05]])
    place = fit_place(near(bins[attribute]), attribute, {"cup": RNG.uniform(0, 1, (count, 3))})
    assert place.frames == (WORLD, WORLD)
    found = place.at(torch.tensor([1, 0]), {"cup": torch.zeros(2, 3)}).numpy()
    assert np.abs(found - bins[[1, 0]]).max() < 0.015  # three standard deviations of one example
    assert place.spread < 0.02


def test_one_place_for_all_needs_no_attribute() -> None:
    place = fit_place(near(np.tile([0.4, 0.0, 0.3], (30, 1))), np.arange(30) % 2, {})
    assert place.frames == (WORLD,) or np.ptp(place.table, axis=0).max() < 0.01


def test_a_place_over_a_cup_moves_with_it() -> None:
    cups = RNG.uniform(-0.5, 0.5, (8, 3))
    place = fit_place(near(cups + [0.0, 0.05, 0.2]), np.zeros(8, int), {"cup": cups, "lamp": RNG.uniform(-1, 1, (8, 3))})
    assert place.frames == ("cup",)
    moved = place.at(torch.zeros(1, dtype=torch.long), {"cup": torch.tensor([[2.0, 0.0, 0.0]]), "lamp": torch.zeros(1, 3)})
    assert np.allclose(moved.numpy(), [[2.0, 0.05, 0.2]], atol=0.015)


@pytest.mark.parametrize("count", [9, 15, 60])
def test_each_attribute_may_move_with_a_thing_of_its_own_or_with_none(count: int) -> None:
    attribute = np.arange(count) % 3
    anchors = {name: RNG.uniform(-0.5, 0.5, (count, 3)) for name in ("lamp", "red shelf", "blue shelf")}
    base = np.stack([anchors["blue shelf"], anchors["red shelf"], np.zeros((count, 3))])[attribute, np.arange(count)]
    over = np.array([[0.0, 0.0, 0.06], [0.0, 0.0, 0.06], [0.4, 0.1, 0.05]])
    place = fit_place(near(base + over[attribute]), attribute, anchors)
    assert place.frames == ("blue shelf", "red shelf", WORLD) and place.spread < 0.02
    stand = {name: torch.full((1, 1, 3), value) for name, value in (("lamp", 9.0), ("red shelf", 1.0), ("blue shelf", -1.0))}
    found = place.at(torch.tensor([[0, 1, 2]]), stand).numpy()
    assert np.allclose(found, [[[-1, -1, -0.94], [1, 1, 1.06], [0.4, 0.1, 0.05]]], atol=0.015)


@pytest.mark.parametrize("others", [4, 9])
def test_one_example_of_an_attribute_is_seen_beside_what_it_lies_beside_as_others_lie_beside_theirs(others: int) -> None:
    attribute = np.array([1, *[0] * others])
    for _ in range(20):
        anchors = {name: RNG.uniform(-0.5, 0.5, (others + 1, 3)) for name in ("lamp", "red shelf", "blue shelf")}
        base = np.where(attribute[:, None] == 0, anchors["blue shelf"], anchors["red shelf"])
        place = fit_place(near(base + [0.0, 0.0, 0.06]), attribute, anchors)
        assert place.frames == ("blue shelf", "red shelf") and place.spread < 0.02
        box = fit_place(near(anchors["lamp"]), attribute, anchors)
        assert {*box.frames} == {"lamp"} and np.abs(box.table).max() < 0.03  # both lie in it


def test_one_example_among_others_that_stand_in_the_world_stands_there_too() -> None:
    attribute = np.array([1, *[0] * 9])
    bins = np.array([[0.3, 0.35, 0.05], [0.3, -0.35, 0.05]])
    place = fit_place(near(bins[attribute]), attribute, {"cup": RNG.uniform(0, 1, (10, 3))})
    assert place.frames == (WORLD, WORLD) and np.abs(place.table - bins).max() < 0.02


@pytest.mark.parametrize("attribute", [[1, 1, 2, 1, 1, 2, 3, 2, 2, 0], [0, 0, 0, 0, 0, 1]])
def test_one_example_far_from_where_others_lie_has_a_place_of_its_own(attribute: list[int]) -> None:
    bins, kinds = np.array([[0.3, 0.35, 0.05], [0.3, -0.35, 0.05], [0.3, -0.35, 0.05], [0.3, 0.35, 0.05]]), np.array(attribute)
    for _ in range(20):
        place = fit_place(near(bins[kinds]), kinds, {})
        assert place.by_attribute and place.spread < 0.02  # one place for all, at any rate, would be .3 m from some
