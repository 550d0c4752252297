"""How near an arm comes to itself, told from capsules."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.chain import chain_of, forward, pose_of
from visual_irl.robots.self_collision import FAR, capsules_of, clearance, pair_distances

EVERY = pytest.mark.parametrize("name", ROBOTS.names)


def test_capsules_agree_with_coal_on_spheres_and_tell_folded_arms() -> None:
    robot = load_robot("panda")
    capsules, chain = capsules_of(robot), chain_of(robot)
    pose = pose_of(chain)
    forward(chain, robot.home, pose)
    assert clearance(capsules, pose) > 0.0
    folded = np.array([0.0, 1.7, 0.0, -3.0, 0.0, 0.3, 0.0])
    forward(chain, folded, pose)
    assert clearance(capsules, pose) < 0.0


@EVERY
def test_links_that_are_far_apart_are_passed_over_without_loss(name: str) -> None:
    """The clearance is the smallest of all pairs' distances; one that is enough has its sign."""
    robot = load_robot(name)
    capsules, chain = capsules_of(robot), chain_of(robot)
    pose, every = pose_of(chain), np.empty(len(capsules_of(robot).pairs))
    for q in np.random.default_rng(0).uniform(
        np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi), (200, len(robot.home))
    ):
        forward(chain, q, pose)
        pair_distances(capsules, pose, every)
        for far in (FAR, 0.02, -0.005):
            assert clearance(capsules, pose, far) == pytest.approx(min(far, every.min()), abs=1e-12)
        assert (clearance(capsules, pose, 0.0, 0.0) < 0.0) == (every.min() < 0.0)
