"""Planned motions touch nothing and are approved by the guard; impossible questions get one clear answer."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest

from rest_to_rest import rest_to_rest
from visual_irl import se3
from visual_irl.errors import InCollision, InvalidInput, NoPathFound, Unreachable
from visual_irl.evaluation.benchmarks.planning_bench import plan_scenes, random_question
from visual_irl.execution.guard import SIMULATED, GuardConfig, approve
from visual_irl.execution.state import RobotState
from visual_irl.planning import PLANNERS, edges
from visual_irl.planning.approach import approached
from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.ompl_planner import OmplPlanner
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.seen_objects import with_objects
from visual_irl.planning.timed_path import rounded
from visual_irl.robots import load_robot
from visual_irl.robots.interpolation import JERK, first_beyond, motion_through
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.types import JointTrajectory, ObjectEstimate


@pytest.fixture(params=("panda", "ur5e"))
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def turned(robot: RobotModel, angle: float) -> np.ndarray:
    """Home, turned about the base's upright axis [rad]."""
    q = robot.home.copy()
    q[0] += angle
    return q


def wall(robot: RobotModel) -> World:
    """A thin wall that the straight move from -0.6 to 0.6 rad about the base runs into."""
    p = robot.fk(robot.home)[:3, 3]
    return World((Obstacle.box("wall", se3.transform(np.eye(3), np.array([p[0], p[1], 0.1])), [0.02, 0.02, p[2] + 0.05]),))


def test_planned_motions_are_approved_on_random_scenes(robot: RobotModel) -> None:
    rng, crooked = np.random.default_rng(11), 0
    planner = OmplPlanner(robot, PlannerConfig(seed=3))
    for _ in range(4):
        question = random_question(robot, rng)
        trajectory = planner.plan(question.start, question.goal, question.world)
        crooked += not planner.checker(question.world).edge_free(question.start, question.goal)
        state = RobotState.at_rest(robot.joint_names, question.start)
        approve(trajectory, robot, state, question.world, SIMULATED, now_ns=state.stamp_ns)
        np.testing.assert_allclose(trajectory.q[[0, -1]], [question.start, question.goal], atol=1e-9)
    assert crooked >= 1, "the scenes ask for no detour"


def test_same_seed_same_motion_whatever_was_planned_before(robot: RobotModel) -> None:
    world, start, goal = wall(robot), turned(robot, -0.6), turned(robot, 0.6)
    assert not OmplPlanner(robot).checker(world).edge_free(start, goal)
    first = OmplPlanner(robot, PlannerConfig(seed=1)).path(start, goal, world)
    other = OmplPlanner(robot, PlannerConfig(seed=2)).path(start, goal, world)
    again = OmplPlanner(robot, PlannerConfig(seed=1)).path(start, goal, world)
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)


def test_a_pose_is_reached_by_a_free_posture(robot: RobotModel) -> None:
    base = se3.transform(se3.exp_so3(np.array([0.0, 0.0, 0.7])), np.array([0.3, -0.2, 0.1]))
    goal = base @ robot.fk(turned(robot, 0.5))
    trajectory = OmplPlanner(robot).plan(robot.home, goal, World(T_world_base=base))
    np.testing.assert_allclose(base @ robot.fk(trajectory.q[-1]), goal, atol=1e-6)  # closed forms, a millionth of a metre


def test_the_speed_of_points_beside_people_is_kept(robot: RobotModel) -> None:
    limit = GuardConfig()
    assert limit.collaboration is not None
    config = PlannerConfig(point_speed=limit.collaboration.speed_limit)
    trajectory = OmplPlanner(robot, config).plan(robot.home, turned(robot, 0.8), World())
    state = RobotState.at_rest(robot.joint_names, robot.home)
    approve(trajectory, robot, state, World(), limit, now_ns=state.stamp_ns)


def test_impossible_questions_say_why(robot: RobotModel) -> None:
    planner = OmplPlanner(robot)
    tool = robot.fk(robot.home)[:3, 3]
    blocked = World((Obstacle.sphere("ball", tool, 0.05),))
    with pytest.raises(InCollision, match=r"at the start link .* from 'ball'"):
        planner.plan(robot.home, turned(robot, 1.0), blocked)
    with pytest.raises(InCollision, match=r"at the goal link .* from 'ball'"):
        planner.plan(turned(robot, 1.0), robot.home, blocked)
    with pytest.raises(InCollision, match=r"postures of .* 'ball'"):
        planner.plan(turned(robot, 1.0), robot.fk(robot.home), blocked)
    with pytest.raises(InvalidInput, match=rf"joint '{robot.joint_names[0]}' at the goal"):
        planner.plan(robot.home, turned(robot, 20.0), World())
    with pytest.raises(InvalidInput, match="finite joint angles"):
        planner.plan(np.full_like(robot.home, np.nan), robot.home, World())
    with pytest.raises(Unreachable, match=r"2.000 m from the base"):
        planner.plan(robot.home, se3.transform(np.eye(3), np.array([2.0, 0.0, 0.0])), World())


def test_compiling_takes_nothing_of_the_time_to_search(monkeypatch: pytest.MonkeyPatch) -> None:
    robot, calls, advance = load_robot("ur5e"), [], edges.advance_straight
    start = turned(robot, -0.6)
    start.setflags(write=False)  # as a measured state is

    def compiled_first(*arguments: Any) -> Any:
        calls.append([q.flags.writeable for q in arguments[3:5]])
        time.sleep(1.0 if len(calls) == 1 else 0.0)
        return advance(*arguments)

    monkeypatch.setattr(edges, "advance_straight", compiled_first)
    OmplPlanner(robot, PlannerConfig(time_limit=0.9)).path(start, turned(robot, 0.6), wall(robot))
    assert len(calls) > 1, "it went around the wall"
    assert all(kinds == calls[0] for kinds in calls), "a second type of arguments would be compiled in the middle of the search"


def test_no_way_out_of_a_cage_is_said_after_so_much_time_or_so_many_moves(
    robot: RobotModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, goal = turned(robot, -1.2), turned(robot, 1.2)
    x = robot.fk(robot.home)[0, 3]
    window = 0.16 if robot.name == "panda" else 0.25  # what is left for the shoulder
    height = 3.0  # higher than the arm reaches
    front = Obstacle.box("front", se3.transform(np.eye(3), np.array([window + x, 0.0, 0.0])), [x, 0.01, height])
    back = Obstacle.box("back", se3.transform(np.eye(3), np.array([-1.0 - window, 0.0, 0.0])), [1.0, 0.01, height])
    above = Obstacle.box("above", se3.transform(np.eye(3), np.array([0.0, 0.0, 2.0])), [0.3, 0.01, 1.2])
    cage = World((front, back, above))
    with pytest.raises(NoPathFound, match=r"after .* s with a clearance of 0.008 m and seed 0"):
        OmplPlanner(robot, PlannerConfig(time_limit=0.3)).plan(start, goal, cage)
    asked, free = [], edges.EdgeChecker.edge_free
    monkeypatch.setattr(edges.EdgeChecker, "edge_free", lambda *a: asked.append(None) or free(*a))
    with pytest.raises(NoPathFound):
        OmplPlanner(robot, PlannerConfig(moves=200, time_limit=600.0)).plan(start, goal, cage)
    assert 200 <= len(asked) < 300  # one round of the search may ask several


def test_a_free_edge_keeps_its_clearance_at_every_dense_sample(robot: RobotModel) -> None:
    rng, refused, freed = np.random.default_rng(5), 0, 0
    for _ in range(6):
        question = random_question(robot, rng)
        checker = EdgeChecker.of(robot, question.world, 0.008, 0.004)
        for _ in range(10):
            a = rng.uniform(np.maximum(robot.lower, -2.0), np.minimum(robot.upper, 2.0))
            b = np.clip(a + rng.normal(0.0, 0.3, len(a)), robot.lower, robot.upper)
            free = checker.edge_free(a, b)
            freed, refused = freed + free, refused + (not free)
            if free:  # half a look's motion may be lost between two looks
                looks = [a + (b - a) * s for s in np.linspace(0.0, 1.0, 100)]
                assert all(checker.checker.contact_at(q, 0.008 - 0.002 - 1e-4) is None for q in looks)
    assert freed >= 3 and refused >= 3


def test_rounded_corners_stay_in_their_triangles() -> None:
    path = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    dense = rounded(path, 0.3, 0.02)
    np.testing.assert_allclose(dense[[0, -1]], path[[0, -1]])
    assert np.linalg.norm(np.diff(dense, axis=0), axis=1).max() <= 0.0201
    assert (dense[:, 0] <= 1.0 + 1e-12).all() and (dense[:, 1] >= -1e-12).all()
    # the curve's middle is a quarter of the way from the corner to where it would be cut straight: blend / (2 sqrt 2)
    assert np.isclose(np.linalg.norm(dense - path[1], axis=1).min(), 0.3 / (2.0 * np.sqrt(2.0)), rtol=0.01)


def test_seen_objects_become_obstacles_unless_touched() -> None:
    seen = [ObjectEstimate(n, "onion", np.array([0.4, 0.1 * i, 0.04]), 0.04, 0.9) for i, n in enumerate("ab")]
    world = with_objects(World(), seen, touched=("a",), margin=0.01)
    assert [(o.name, o.kind, o.size[0]) for o in world.obstacles] == [("b", "sphere", 0.05)]
    with pytest.raises(InvalidInput, match="'c' is to be touched but was not seen; seen: a, b"):
        with_objects(World(), seen, touched=("c",))
    with pytest.raises(InvalidInput, match="radius of 0"):
        with_objects(World(), [ObjectEstimate("a", "onion", np.zeros(3), 0.0, 0.9)])


def test_configuration_refuses_what_could_miss_a_touch() -> None:
    with pytest.raises(InvalidInput, match=r"clearance 0.001 m must be at least the resolution"):
        PlannerConfig(clearance=0.001)
    with pytest.raises(InvalidInput, match="seed is -1"):
        PlannerConfig(seed=-1)


def test_the_bench_solves_what_can_be_solved() -> None:
    result = plan_scenes("panda", 2, 4)
    assert result["success"] == 1.0 and result["timed_success"] == 1.0
    assert 0.0 < result["ms_median"] <= result["ms_p95"] and result["bare_ms_median"] > 0.0
    assert set(PLANNERS.names) == {"moveit", "ompl"}


def test_a_motion_is_approached_from_where_the_arm_stands() -> None:
    robot = load_robot("ur5e")
    t, far = np.linspace(0.0, 1.0, 11), robot.home - 0.5 * np.eye(6)[0]
    motion = JointTrajectory(robot.joint_names, t + 2.0, np.tile(far, (11, 1)), np.zeros((11, 6)), np.full(11, 0.03))
    planner = PLANNERS.load("ompl")(robot)
    whole = approached(motion, planner, robot.joint_names, robot.home, World())
    np.testing.assert_allclose(whole.q[[0, -1]], [robot.home, far], atol=1e-9)
    assert (np.diff(whole.t) > 0.0).all() and (whole.opening == 0.03).all()
    assert approached(motion, planner, robot.joint_names, far, World()) is motion
    with pytest.raises(InvalidInput, match="the arm has"):
        approached(motion, planner, robot.joint_names[::-1], robot.home, World())
    moving = JointTrajectory(robot.joint_names, t, motion.q, np.ones((11, 6)), motion.opening)
    with pytest.raises(InvalidInput, match="from rest"):
        approached(moving, planner, robot.joint_names, robot.home, World())


@pytest.mark.parametrize("seed", range(3))
def test_the_way_and_the_motion_keep_the_guard_s_jerk_where_they_meet(seed: int) -> None:
    """Their steps differ in length, so that the acceleration there is not estimated as at the end of the way alone."""
    robot = load_robot("ur5e")
    turn = 0.4 * np.eye(6)[0]
    motion = rest_to_rest(robot, robot.home - 2.0 * turn, robot.home - turn, 3.0)
    start = robot.home + np.random.default_rng(seed).normal(size=6) * 2e-3
    whole = approached(motion, PLANNERS.load("ompl")(robot), robot.joint_names, start, World())
    most = GuardConfig().jerk_share * robot.jerk
    assert first_beyond(motion_through(whole.t, whole.q, whole.qd), JERK, -most, most)[0] < 0
