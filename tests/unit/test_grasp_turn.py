"""How the hand is turned about the vertical for a grasp between other things and walls."""

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.policy.skill import FINGER, WALL, Thing, grasp_yaw
from visual_irl.tasks.scene import Fixture

ONION = Thing("onion", np.array([0.3, 0.1, 0.03]), 0.03, 0.0)


def across(yaw: float) -> np.ndarray:
    return np.array([-np.sin(yaw), np.cos(yaw)])


def bin_beside(gap: float, direction: float) -> Fixture:
    """A bin whose wall's inner side is `gap` [m] from the onion's middle."""
    turn = se3.exp_so3(np.array([0.0, 0.0, direction]))
    away = (gap + 0.08) * turn[:, 0]
    return Fixture("bin", se3.transform(turn, ONION.p_world * [1.0, 1.0, 0.0] + away), 0.08, 0.10, 0.05, (0.0, 0.0, 0.0, 1.0))


@pytest.mark.parametrize("direction", np.linspace(-np.pi, np.pi, 8, endpoint=False))
def test_fingers_open_along_a_near_wall(direction: float) -> None:
    """A wall 5 cm beside an onion, where a finger would land on it (measured: there the grasp was repaired, and missed)."""
    wall = bin_beside(0.05, direction)
    for heading in (0.3, 1.2):
        yaw = grasp_yaw(heading, ONION, [ONION], [wall])
        room = [wall.distance(ONION.p_world[:2] + side * 0.055 * across(yaw)) for side in (1.0, -1.0)]
        assert min(room) >= FINGER + WALL
    at_it = direction - 0.5 * np.pi  # the heading across which the wall is
    assert wall.distance(ONION.p_world[:2] + 0.055 * across(at_it)) < 0.001
    assert grasp_yaw(at_it, ONION, [ONION], [wall]) != at_it


def test_the_hand_is_turned_no_more_than_needed() -> None:
    assert grasp_yaw(0.3, ONION, [ONION], [bin_beside(0.12, 1.0)]) == 0.3
    beside = Thing("other", ONION.p_world + [0.0, 0.07, 0.0], 0.03, 0.0)
    assert grasp_yaw(0.0, ONION, [ONION, beside]) == pytest.approx(np.radians(60.0))  # at 40 a finger is 15 mm from the other
