"""Hands in 3D: distance, fingers, their order, and thumbs that are not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfect_person import (
    CAMERA,
    CONFIG,
    HAND,
    HAND_ROWS,
    LANDMARKS,
    LENGTHS,
    depth_of,
    person_of,
    truth,
)
from visual_irl import se3
from visual_irl.perception.skeleton.hand_lifting import guessed_thumb, hand_skin, place_hand, seen_from
from visual_irl.perception.skeleton.hand_order import MOST_TWIST, forearm_twist, reversed_order
from visual_irl.perception.skeleton.lifting import lift_keypoints
from visual_irl.types import keypoint_index


def ends_of(hand: np.ndarray) -> np.ndarray:
    """The joints, with tips where fingers end: landmarks are set before that."""
    along = hand[4::4] - hand[2::4]
    out = hand.copy()
    out[4::4] += np.array(CONFIG.tip_further)[:, None] * along / np.linalg.norm(along, axis=1, keepdims=True)
    return out


def test_the_hand_gets_its_depth_from_skin_and_its_size_from_pixels() -> None:
    lifted = lift_keypoints(person_of(LANDMARKS, HAND), depth_of(LANDMARKS, HAND), CAMERA, CONFIG)
    assert lifted is not None
    error = np.linalg.norm(lifted.p_camera[HAND_ROWS] - ends_of(HAND), axis=1)
    assert error[1:].max() < 0.008  # neighbouring skin patches overlap, and differ by 2 mm noise of the shape
    assert error[0] < 0.012  # the skin before the wrist is the one that the body's inset puts there
    assert lifted.measured[HAND_ROWS].all()


def test_fingers_in_reverse_order_are_put_right_by_the_arm() -> None:
    person = person_of(LANDMARKS, HAND)
    wrong = replace(person, hands={"right": reversed_order(person.hands["right"])})
    lifted = lift_keypoints(wrong, depth_of(LANDMARKS, HAND), CAMERA, CONFIG)
    assert lifted is not None
    error = np.linalg.norm(lifted.p_camera[HAND_ROWS] - ends_of(HAND), axis=1)
    assert error[5:].max() < 0.008
    assert (lifted.sigma_lateral[HAND_ROWS][1:5] == CONFIG.sigma_guessed).all()  # a thumb was drawn on the wrong side
    assert (lifted.sigma_lateral[HAND_ROWS][5:] < CONFIG.sigma_guessed).all()


def test_what_a_hand_holds_before_a_finger_is_not_the_finger() -> None:
    depth = depth_of(LANDMARKS, HAND)
    covered = [7, 8]  # end of the index finger
    for joint in covered:
        u, v = np.round(CAMERA.project(HAND[joint])).astype(int)
        depth[v - 8 : v + 8, u - 6 : u + 6] = HAND[joint, 2] - 0.07
    lifted = lift_keypoints(person_of(LANDMARKS, HAND), depth, CAMERA, CONFIG)
    assert lifted is not None
    hand, sigma = lifted.p_camera[HAND_ROWS], lifted.sigma_depth[HAND_ROWS]
    assert np.linalg.norm(hand - ends_of(HAND), axis=1)[5:].max() < 0.010
    assert not lifted.measured[HAND_ROWS][covered].any()
    assert sigma[8] > sigma[7] > 2.0 * sigma[6]  # less is known of a finger the further it is hidden


def test_a_fingertip_that_touches_something_may_go_on() -> None:
    depth = depth_of(LANDMARKS, HAND)
    u, v = np.round(CAMERA.project(HAND[12])).astype(int)
    depth[v + 5 : v + 40, u - 8 : u + 8] = HAND[12, 2]
    lifted = lift_keypoints(person_of(LANDMARKS, HAND), depth, CAMERA, CONFIG)
    assert lifted is not None
    across = lifted.sigma_lateral[HAND_ROWS]
    assert across[12] == CONFIG.lateral_touching and across[[8, 16, 20]].max() == CONFIG.lateral_hand


def test_a_thumb_that_may_go_around_something_is_less_sure() -> None:
    depth = depth_of(LANDMARKS, HAND)
    u, v = np.round(CAMERA.project(HAND[4])).astype(int)
    free = lift_keypoints(person_of(LANDMARKS, HAND), depth, CAMERA, CONFIG)
    depth[v + 5 : v + 40, u - 8 : u + 8] = HAND[4, 2] - 0.02  # a bottle bulges beyond it
    held = lift_keypoints(person_of(LANDMARKS, HAND), depth, CAMERA, CONFIG)
    assert free is not None and held is not None
    assert (held.sigma_lateral[HAND_ROWS][3:5] == CONFIG.sigma_thumb_touching).all()
    assert (free.sigma_lateral[HAND_ROWS][3:5] < CONFIG.sigma_thumb_touching).all()


def test_a_hand_at_another_depth_than_the_wrist_is_not_this_arms() -> None:
    near = HAND - [0.0, 0.0, 0.35]
    person = person_of(LANDMARKS, HAND)
    depth = depth_of(LANDMARKS)
    for p, (u, v) in zip(near, np.round(CAMERA.project(HAND)).astype(int), strict=True):
        depth[v - 5 : v + 5, u - 5 : u + 5] = np.minimum(depth[v - 5 : v + 5, u - 5 : u + 5], p[2])
    u, v = np.round(CAMERA.project(truth("right_wrist"))).astype(int)
    depth[v - 12 : v + 12, u - 12 : u + 12] = depth_of(LANDMARKS)[v, u]
    lifted = lift_keypoints(person, depth, CAMERA, CONFIG, LENGTHS)
    assert lifted is not None
    assert (lifted.confidence[HAND_ROWS] == 0.0).all()
    assert np.linalg.norm(lifted.p_camera[keypoint_index("right_wrist")] - truth("right_wrist")) < 0.02


def test_a_thumb_drawn_over_the_palm_but_not_before_it_is_guessed() -> None:
    shape = np.zeros((21, 3))
    shape[1:5] = [[-0.03, -0.02, 0.0], [-0.05, -0.04, 0.0], [-0.06, -0.06, 0.0], [-0.07, -0.08, 0.0]]
    for finger, x in enumerate((-0.03, -0.01, 0.01, 0.03)):
        for joint, y in enumerate((-0.09, -0.12, -0.14, -0.16)):
            shape[5 + 4 * finger + joint] = [x, y, 0.0]
    spread = shape[:, :2] * 1000.0 + 300.0
    assert not guessed_thumb(spread, shape).any()
    tucked = shape.copy()
    tucked[3:5] = [[-0.01, -0.07, 0.02], [0.0, -0.09, 0.02]]  # under the palm, seen from above
    assert guessed_thumb(tucked[:, :2] * 1000.0 + 300.0, tucked)[[3, 4]].all()
    before = tucked * [1.0, 1.0, -1.0]  # the same thumb in front of the palm is seen
    assert not guessed_thumb(before[:, :2] * 1000.0 + 300.0, before).any()


def test_a_hidden_thumb_is_placed_under_the_palm_wherever_it_is_drawn() -> None:
    for side, turned in (("right", 1.0), ("left", -1.0)):  # the back of either hand, seen from above it
        hand = HAND.mean(0) + (HAND - HAND.mean(0)) * [turned, 1.0, 1.0]
        drawn = hand.copy()
        drawn[3:5] = 0.5 * (hand[[9, 10]] + hand[[13, 14]]) + [0.0, 0.0, 0.02]  # over the palm, yet behind it
        seen = person_of(LANDMARKS, drawn).hands["right"]
        skin = hand_skin(seen, depth_of(LANDMARKS, drawn), CAMERA, CONFIG)
        placed = place_hand(seen, skin, side, float(hand[0, 2]), CAMERA, CONFIG)
        assert placed is not None
        palm = float(np.linalg.norm(hand[9] - hand[0]))
        tip = placed.p[4] - placed.p[0]
        assert tip[2] == pytest.approx(0.53 * palm, abs=0.1 * palm)  # under the palm, which looks at +z
        assert tip @ (hand[5] - hand[17]) > 0.0  # on the index finger's side
        assert placed.guessed[1:5].all() and not placed.guessed[5:].any()


def test_a_forearm_turns_by_less_than_a_right_angle_either_way() -> None:
    arm = np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.3, -0.25]])  # the upper arm hangs, the forearm points forward
    for degrees in (-90, 0, 60, 90):
        aside = 0.04 * np.array([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees)), 0.0])
        index, little = arm[2] + aside, arm[2] - aside
        assert forearm_twist(arm, index, little) == pytest.approx(np.radians(abs(degrees)))
        assert forearm_twist(arm, little, index) == pytest.approx(np.pi - np.radians(abs(degrees)))
        assert (forearm_twist(arm, little, index) > MOST_TWIST) == (abs(degrees) < 65)
    straight = arm[[0, 1, 1]] + [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.25, 0.01]]
    assert np.isnan(forearm_twist(straight, index, little))  # the elbow does not tell where the middle is
    assert np.isnan(forearm_twist(arm, arm[2] - [0.0, 0.0, 0.03], arm[2] + [0.0, 0.0, 0.03]))
    assert np.isnan(forearm_twist(arm, index, np.full(3, np.nan)))


def test_a_shape_is_turned_to_its_ray_by_the_shortest_rotation() -> None:
    uv = np.array([500.0, 90.0])
    R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), CAMERA.back_project(uv, np.array(1.0)))
    assert np.allclose(seen_from(uv, CAMERA, HAND), HAND @ R.T, atol=1e-12)
