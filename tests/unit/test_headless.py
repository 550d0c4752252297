"""A body without a head: which way it faces, and what is no body."""

from __future__ import annotations

import numpy as np

from visual_irl.perception.body_network import Region
from visual_irl.perception.detection import POSE_INDEX, HandDetection, PersonDetection, mirrored
from visual_irl.perception.headless import LabelVotes, agreement, distinct, facing, fits


def hand_at(x: float, label: str, size: float = 40.0, score: float = 0.9) -> HandDetection:
    shape = np.zeros((21, 3))
    shape[1:, 1] = np.linspace(0.03, 0.18, 20)
    uv = np.array([x, 100.0]) + shape[:, :2] * size / 0.09
    return HandDetection(uv, shape, score, label)


def person_with(hands: dict[str, HandDetection], scale: float = 300.0) -> PersonDetection:
    shape = np.random.default_rng(0).normal(0.0, 0.2, (33, 3))
    return PersonDetection(320.0 + scale * shape[:, :2], np.linspace(0.5, 0.9, 33), shape, hands)


def test_mirroring_twice_changes_nothing_and_once_swaps_sides() -> None:
    person = person_with({"left": hand_at(0.0, "right")})
    once = mirrored(person)
    left, right = POSE_INDEX["left_wrist"], POSE_INDEX["right_wrist"]
    assert np.array_equal(once.uv[right], person.uv[left]) and once.shape[right, 2] == -person.shape[left, 2]
    assert set(once.hands) == {"right"}
    twice = mirrored(once)
    assert np.array_equal(twice.uv, person.uv) and np.array_equal(twice.shape, person.shape)


def test_the_hands_decide_which_way_a_body_faces() -> None:
    turned = facing(person_with({"left": hand_at(0.0, "right")}))
    assert turned is not None and set(turned.hands) == {"right"}
    kept = facing(person_with({"left": hand_at(0.0, "left"), "right": hand_at(200.0, "right")}))
    assert kept is not None and kept.hands["left"].label == "left"
    assert facing(person_with({"left": hand_at(0.0, "left"), "right": hand_at(200.0, "left")})) is None


def test_a_followed_hand_keeps_its_majority_label() -> None:
    votes = LabelVotes()
    labels = ["right", "right", "left", "right"]
    seen = [votes.relabelled([hand_at(10.0 * i, label)])[0].label for i, label in enumerate(labels)]
    assert seen == ["right"] * 4
    assert votes.relabelled([hand_at(600.0, "left")])[0].label == "left"  # another hand, elsewhere


def test_a_hand_that_is_found_twice_counts_once() -> None:
    hands = distinct([hand_at(0.0, "left", score=0.6), hand_at(5.0, "right", score=0.9), hand_at(300.0, "left")])
    assert len(hands) == 2 and hands[0].score == 0.9


def test_a_giant_hand_is_no_part_of_a_body() -> None:
    person = person_with({})
    assert fits(person, hand_at(0.0, "left", size=0.09 * 300.0 * 2.0))
    assert not fits(person, hand_at(0.0, "left", size=0.09 * 300.0 * 10.0))


def test_pixels_that_contradict_the_shape_are_noticed() -> None:
    person = person_with({})
    assert agreement(person) > 0.9999
    shuffled = PersonDetection(person.uv[::-1], person.visibility, person.shape, {})
    assert agreement(shuffled) < 0.9


def test_a_region_maps_its_centre_and_its_up() -> None:
    M = Region(100.0, 50.0, 512.0, np.pi / 2).to_crop()  # its up points right in the picture
    assert np.allclose(M @ [100.0, 50.0, 1.0], [128.0, 128.0])
    assert np.allclose(M @ [200.0, 50.0, 1.0], [128.0, 78.0])  # 100 px up, at half the size
