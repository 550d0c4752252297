"""What the hand carries is a part of the arm: in single postures, for the guard, and for repairs."""

from __future__ import annotations

import numpy as np
import pytest

from rest_to_rest import rest_to_rest
from visual_irl.errors import InvalidInput, WouldCollide
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import RobotState
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.repair import repair
from visual_irl.robots import load_robot
from visual_irl.robots.carrying import LIFT, Held, held_along, parts
from visual_irl.robots.chain import forward, pose_of
from visual_irl.robots.collision import checker_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Carried, Obstacle, World
from visual_irl.types import JointTrajectory

ONION = Carried("onion", 0.04)


def turning(robot: RobotModel) -> JointTrajectory:
    """0.8 rad of the first joint, rest to rest."""
    return rest_to_rest(robot, robot.home, robot.home + 0.8 * np.eye(len(robot.home))[0], 4.0)


def below_the_hand(robot: RobotModel, q: np.ndarray, depth: float) -> Obstacle:
    """A small ball whose top is `depth` [m] below the tool's centre."""
    p = robot.T_world_base @ robot.fk(q)
    return Obstacle.sphere("post", p[:3, 3] - [0.0, 0.0, depth + 0.01], 0.01)


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_a_ball_in_the_hand_touches_what_the_bare_hand_does_not(name: str) -> None:
    robot = load_robot(name)
    post = below_the_hand(robot, robot.home, 0.03)
    bare, loaded = (checker_of(robot, World((post,), robot.T_world_base, carried)) for carried in (None, ONION))
    assert bare.contact_at(robot.home, 0.005) is None
    contact = loaded.contact_at(robot.home, 0.005)
    assert contact is not None and (contact.first, contact.second) == ("onion", "post")
    assert contact.distance == pytest.approx(0.03 - 0.04, abs=1e-6)
    rng = np.random.default_rng(0)
    for q in rng.uniform(np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi), (20, len(robot.home))):
        pose = pose_of(loaded.body.chain)
        forward(loaded.body.chain, q, pose)
        placed = loaded.body.placed(len(loaded.body.shapes) - 1, pose)
        np.testing.assert_allclose(placed.getTranslation(), robot.fk(q)[:3, 3], atol=1e-9)  # it follows the hand


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_the_guard_and_repairs_know_what_is_held_and_when(name: str) -> None:
    robot = load_robot(name)
    motion = turning(robot)
    post = below_the_hand(robot, motion.q[100], 0.035)
    world = World((post,), robot.T_world_base)
    state = RobotState.at_rest(robot.joint_names, motion.q[0])
    now = state.stamp_ns
    approve(motion, robot, state, world, SIMULATED, now)  # an empty hand passes over it
    held = (Held(1.0, 3.0, ONION),)
    with pytest.raises(WouldCollide, match=r"link 'onion' at sample \d+ .*'post'"):
        approve(motion, robot, state, world, SIMULATED, now, held=held)
    approve(motion, robot, state, world, SIMULATED, now, held=(Held(0.2, 0.8, ONION), Held(3.2, 3.8, ONION)))
    repaired = repair(motion, robot, world, PlannerConfig(seed=1), held)
    assert repaired.stretches and repaired.hand_moved.max() > 0.01
    approve(repaired.trajectory, robot, state, world, SIMULATED, now, held=repaired.held)
    assert repaired.held[0].end - repaired.held[0].begin >= 1.9  # [s] the new motion is not faster
    unchanged = repair(motion, robot, world, PlannerConfig(seed=1))
    assert unchanged.trajectory is motion and unchanged.held == ()


def test_a_thing_counts_from_where_it_was_lifted() -> None:
    robot = load_robot("panda")
    motion = turning(robot)
    (held,) = held_along(motion, robot, [(0.5, 3.5, ONION)])
    p = [robot.fk(row)[:3, 3] for row in motion.q]
    first, last = (int(np.searchsorted(motion.t, t)) for t in (held.begin, held.end))
    taken, put = (int(np.searchsorted(motion.t, t)) for t in (0.5, 3.5))
    assert np.linalg.norm(p[first] - p[taken]) >= LIFT > np.linalg.norm(p[first - 1] - p[taken])
    assert np.linalg.norm(p[last] - p[put]) >= LIFT > np.linalg.norm(p[last + 1] - p[put])
    assert held_along(motion, robot, [(1.0, 1.1, ONION)]) == ()
    with pytest.raises(InvalidInput, match="is held from"):
        held_along(motion, robot, [(2.0, 1.0, ONION)])


def test_parts_cut_the_time_without_gaps() -> None:
    held = (Held(1.0, 2.0, ONION), Held(2.0, 3.0, ONION), Held(4.0, 99.0, ONION))
    rows = parts(0.5, 5.0, held)
    assert [row[:2] for row in rows] == [(0.5, 1.0), (1.0, 2.0), (2.0, 3.0), (3.0, 4.0), (4.0, 5.0)]
    assert [row[2] for row in rows] == [None, ONION, ONION, None, ONION]
    assert parts(0.0, 1.0, ()) == [(0.0, 1.0, None)]
    with pytest.raises(InvalidInput, match="another thing"):
        parts(0.0, 9.0, (Held(1.0, 3.0, ONION), Held(2.0, 4.0, ONION)))
    with pytest.raises(InvalidInput, match="radius"):
        Carried("nothing", 0.0)
