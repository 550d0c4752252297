"""Planned paths go around what is in the way, the guard lets them through, and what cannot be planned is said."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput, PlanningFailed
from visual_irl.evaluation.planning_bench import plan_scenes, random_scene
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import RobotState
from visual_irl.planning import PLANNERS
from visual_irl.planning.ompl_planner import OmplPlanner
from visual_irl.planning.planner import Planner, planned_motion
from visual_irl.robots import load_robot
from visual_irl.robots.collision import checker_of
from visual_irl.robots.obstacles import Obstacle, World

ARMS = pytest.mark.parametrize("name", ["panda", "ur5e"])


@ARMS
def test_the_guard_approves_what_was_planned(name: str) -> None:
    robot, planner = load_robot(name), OmplPlanner()
    assert isinstance(planner, Planner) and PLANNERS.load("ompl") is OmplPlanner
    for seed in range(3):
        world, start, goal = random_scene(robot, planner, np.random.default_rng([7, seed]))
        motion = planned_motion(planner, robot, world, start, goal[None], robot.max_opening, seed=seed)
        approve(motion, robot, RobotState.at_rest(robot.joint_names, start), world, SIMULATED)
        np.testing.assert_allclose(motion.q[0], start, atol=1e-9)
        np.testing.assert_allclose(motion.q[-1], goal, atol=1e-9)


def test_it_goes_around_what_stands_between_and_takes_a_goal_that_is_free() -> None:
    robot = load_robot("panda")
    start, goal = np.array(robot.home), np.array(robot.home)
    start[0], goal[0] = -0.8, 0.8
    hand = robot.fk(np.array(robot.home))
    wall = Obstacle.box("wall", se3.transform(np.eye(3), np.array([hand[0, 3], 0.0, hand[2, 3]])), [0.1, 0.02, 0.15])
    world = World((wall,), np.eye(4))
    half_way = np.array(robot.home)
    assert checker_of(robot, world).contact_at(half_way, 0.005) is not None
    corners = OmplPlanner().plan(robot, world, start, np.stack([half_way, goal]))
    np.testing.assert_allclose(corners[-1], goal, atol=1e-9)
    assert len(corners) > 2
    np.testing.assert_array_equal(corners, OmplPlanner().plan(robot, world, start, np.stack([half_way, goal])))


def test_what_cannot_be_planned_is_said() -> None:
    robot = load_robot("ur5e")
    home = np.array(robot.home)
    hand = robot.fk(home)[:3, 3]
    inside = World((Obstacle.sphere("ball", hand, 0.1),), np.eye(4))
    with pytest.raises(PlanningFailed, match=r"the start: .*'ball'"):
        OmplPlanner().plan(robot, inside, home, home[None])
    with pytest.raises(PlanningFailed, match=r"goal 1: 'shoulder_pan_joint' at 9\.000 rad"):
        OmplPlanner().plan(robot, World(), home, np.r_[9.0, home[1:]][None])
    with pytest.raises(PlanningFailed, match="no goal"):
        OmplPlanner().plan(robot, World(), home, np.empty((0, 6)))
    with pytest.raises(InvalidInput, match="kept"):
        OmplPlanner(kept=0.1)


def test_bench_counts_and_times_both() -> None:
    result = plan_scenes(load_robot("panda"), 3, 1)
    assert result["success"] == 1.0 and result["bare_success"] == 1.0
    assert 0.0 < result["ms_median"] <= result["ms_p95"]
