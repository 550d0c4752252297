"""Where in a bin things are let go."""

import itertools

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.policy.free_place import EDGE, free_places
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion import SAMPLES, MotionLibrary
from visual_irl.policy.open_loop import perform
from visual_irl.policy.optimal import GraphPlan
from visual_irl.policy.skill import Thing
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.pick_place_graph import Relations
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


def test_what_is_done_in_one_go_lies_beside_each_other_too() -> None:
    """Five onions of one bin and one of the other, of which one lies in the middle of its bin from the start."""
    straight = np.column_stack([np.linspace(0.0, 1.0, SAMPLES), np.zeros((SAMPLES, 2))])
    motion = MotionLibrary(
        {"reach": straight}, {"reach": np.zeros(SAMPLES)}, {"reach": (0.5, 0.0)}, 0.0, np.array([0.1, -0.1, 0.2]),
        np.array([-0.1, -0.2, 0.3]), 0.3, 0.26, "right",
    )  # fmt: skip
    bins = {f.name: f for f in OnionSorting().fixtures()}
    places = {name: np.array([*f.T_world[:2, 3], 0.12]) for name, f in bins.items()}
    relations = Relations(tuple((name, tuple(p.tolist())) for name, p in places.items()), None)
    goals = ["bin_blemished"] * 5 + ["bin_unblemished"]
    things = [Thing(f"onion_{k}", np.array([0.2, 0.1 * k - 0.3, 0.03]), 0.03, 0.0) for k in range(len(goals))]
    things[4] = Thing("onion_4", np.array([*places["bin_blemished"][:2], 0.03]), 0.03, 0.0)
    plans = [GraphPlan(("go_object", "grasp", f"go_{goal}", "release"), 1.0) for goal in goals]
    for known in (list(bins.values()), []):
        plan = perform(list(zip(things, plans, strict=True)), motion, relations, PolicyConfig(), known)
        opens = [k for k, held in enumerate(plan.held) if held and not plan.held[k + 1]]
        let_go = plan.Ts_world_hand[opens, :3, 3]
        assert all(bins[goal].contains(p * [1.0, 1.0, 0.0]) for goal, p in zip(goals, let_go, strict=True))
        apart = min(np.linalg.norm(a - b) for a, b in itertools.combinations(let_go[:5, :2], 2))
        if known:
            assert apart >= 0.06 - 1e-3  # two radii, but for the rounded corners of the path
            assert np.linalg.norm(let_go[0, :2] - places[goals[0]][:2]) >= 0.06 - 1e-3  # that is taken, for now
            assert np.allclose(let_go[5, :2], places[goals[5]][:2], atol=1e-3)
        else:  # of unknown size
            assert apart < 1e-3
