"""Where in a bin things are let go."""

import itertools

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.policy.free_place import EDGE, free_places
from visual_irl.policy.skill import Thing
from visual_irl.tasks.scene import Fixture


@pytest.mark.parametrize("turn", [0.0, 0.5])
def test_things_lie_beside_each_other_and_off_the_walls(turn: float) -> None:
    T = se3.transform(se3.exp_so3(np.array([0.0, 0.0, turn])), np.array([0.1, -0.4, 0.0]))
    bin_, radius = Fixture("bin", T, 0.08, 0.10, 0.05, (0.0, 0.0, 0.0, 1.0)), 0.03
    around = [Thing("outside", np.array([0.3, 0.2, 0.03]), 0.03, 0.0)]
    for k in range(5):
        at = free_places(bin_, radius, around)[0]
        around.append(Thing(f"thing_{k}", np.array([*at, radius]), radius, 0.0))
    lying = np.array([t.p_world for t in around[1:]])
    assert np.allclose(lying[0, :2], T[:2, 3], atol=1e-9)  # where the person lets go, as long as nothing is there
    inside = np.abs(se3.apply(se3.inverse(T), lying)[:, :2]) + radius + EDGE
    assert (inside <= np.array([0.08, 0.10]) + 1e-9).all()
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lying, 2)) >= 2.0 * radius


def test_where_all_is_taken_the_place_with_most_room_comes_first() -> None:
    small = Fixture("bin", np.eye(4), 0.08, 0.08, 0.05, (0.0, 0.0, 0.0, 1.0))
    lying = [Thing("a", np.array([-0.03, 0.0, 0.03]), 0.03, 0.0), Thing("b", np.array([0.035, 0.0, 0.03]), 0.03, 0.0)]
    best, *others = free_places(small, 0.05, lying)
    room = [min(np.linalg.norm(at - t.p_world[:2]) for t in lying) for at in (best, *others)]
    assert room[0] == max(room) and room == sorted(room, reverse=True)
