"""Each reason to refuse a trajectory has the case that must be refused, and a good one passes unchanged."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from rest_to_rest import rest_to_rest
from visual_irl import se3
from visual_irl.errors import InvalidInput, RefusedTrajectory
from visual_irl.execution.collaboration import Collaboration
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, GuardConfig, SkillSeal, approve
from visual_irl.execution.state import RobotState, Safety
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.interpolation import sampled
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.types import JointTrajectory


@pytest.fixture(params=ROBOTS.names)
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def motion(robot: RobotModel, **changes: np.ndarray) -> JointTrajectory:
    """A slow move of 0.2 rad from home, that starts and ends at rest."""
    return dataclasses.replace(rest_to_rest(robot, robot.home, robot.home + 0.2, 2.0, 20.0, opening=0.04), **changes)


def edited(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    copy = np.array(array)
    copy[index] = value
    return copy


def at(robot: RobotModel, q: np.ndarray | None = None, **changes: object) -> RobotState:
    return dataclasses.replace(RobotState.at_rest(robot.joint_names, robot.home if q is None else q), **changes)


def refused(trajectory: JointTrajectory, robot: RobotModel, *parts: str, **how: object) -> None:
    arguments = {"state": at(robot), "world": World(), "config": SIMULATED} | how
    with pytest.raises(RefusedTrajectory, match=".*".join(re.escape(part) for part in parts)):
        approve(trajectory, robot, **arguments)


def test_a_good_motion_passes_unchanged(robot: RobotModel) -> None:
    trajectory = motion(robot)
    approved = approve(trajectory, robot, at(robot), World(), SIMULATED)
    assert approved.trajectory is trajectory and approved.robot is robot and approved.approach == 0.0
    q, qd, _ = sampled(approved.motion, trajectory.t)
    np.testing.assert_allclose(q, trajectory.q, atol=1e-12)
    np.testing.assert_allclose(qd, trajectory.qd, atol=1e-12)


def test_standing_exactly_at_the_margin_passes_and_behind_it_does_not(robot: RobotModel) -> None:
    base, config = motion(robot), dataclasses.replace(SIMULATED, position_margin=0.01)
    for inside in (True, False):
        q = np.tile(robot.home, (len(base.t), 1))
        q[:, 0] = robot.upper[0] - 0.01 + (0.0 if inside else 1e-6)
        still = motion(robot, q=q, qd=np.zeros_like(q), opening=np.full(len(q), robot.max_opening))
        if inside:
            approve(still, robot, at(robot, q[0]), World(), config)
        else:
            refused(still, robot, f"joint '{robot.joint_names[0]}' at sample 0: position", state=at(robot, q[0]), config=config)


def test_approval_cannot_be_forged(robot: RobotModel) -> None:
    trajectory = motion(robot)
    approved = approve(trajectory, robot, at(robot), World(), SIMULATED)
    rest = (robot, approved.motion, 0.0, World(), SIMULATED, 0)
    with pytest.raises(RefusedTrajectory, match=r"only from visual_irl.execution.guard.approve"):
        ApprovedTrajectory(trajectory, *rest)
    with pytest.raises(RefusedTrajectory):
        ApprovedTrajectory(trajectory, *rest, token=object())
    with pytest.raises((RefusedTrajectory, ValueError)):
        dataclasses.replace(approved, trajectory=trajectory)
    with pytest.raises(dataclasses.FrozenInstanceError):
        approved.trajectory = trajectory
    with pytest.raises(ValueError, match="read-only"):
        approved.motion.c[0] = 0.0


def test_wrong_joint_names(robot: RobotModel) -> None:
    good = motion(robot)
    turned = JointTrajectory(good.joint_names[::-1], good.t, good.q, good.qd, good.opening)
    refused(turned, robot, robot.joint_names[-1], "map the demonstration onto this robot")


def test_positions_above_and_below_the_limits(robot: RobotModel) -> None:
    base = motion(robot)
    name = robot.joint_names[3]
    above = motion(robot, q=edited(base.q, (17, 3), robot.upper[3] + 1e-3))
    refused(above, robot, f"joint '{name}' at sample 16: position", "is above", "rad; move the demonstration closer")
    below = motion(robot, q=edited(base.q, (18, 3), robot.lower[3] - 1e-3))
    refused(below, robot, f"joint '{name}' at sample 17: position", "is below", "rad; move the demonstration closer")


def test_a_limit_passed_only_between_samples_is_found() -> None:
    robot = load_robot("panda")
    t, speed = np.array([0.0, 1.0, 2.0, 3.0]), 0.3
    top = robot.upper[0] - 0.001 - 0.02
    q = np.tile(robot.home, (4, 1))
    q[:, 0] = [top - 0.3, top, top, top - 0.3]  # between the middle samples the arm swings out
    qd = np.zeros_like(q)
    qd[1:3, 0] = [speed, -speed]
    swing = JointTrajectory(robot.joint_names, t, q, qd, np.zeros(4))
    refused(swing, robot, "joint 'panda_joint1' at sample 1: position", "is above", state=at(robot, q[0]))
    lower = q - np.eye(7)[0] * 0.3
    approve(JointTrajectory(robot.joint_names, t, lower, qd, np.zeros(4)), robot, at(robot, lower[0]), World(), SIMULATED)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_stated_speed_above_the_limit(robot: RobotModel, sign: float) -> None:
    base = motion(robot)
    fast = motion(robot, qd=edited(base.qd, (9, 1), sign * (robot.velocity[1] + 1e-3)))
    refused(fast, robot, f"joint '{robot.joint_names[1]}' at sample 8: speed", "rad/s is", "slow the motion down")


def test_a_jump_that_the_stated_speeds_hide(robot: RobotModel) -> None:
    base = motion(robot)
    jump = motion(robot, q=edited(base.q, (20, 2), base.q[20, 2] - 0.3))
    refused(jump, robot, f"joint '{robot.joint_names[2]}' at sample 19: speed", "slow the motion down")


def test_accelerations_and_jerks_are_bounded(robot: RobotModel) -> None:
    base = motion(robot)
    peak = 10.0 / np.sqrt(3.0)  # of acceleration of a minimum-jerk move over distance / time^2
    for factor, what in ((0.97, None), (0.99, "acceleration")):
        way = factor * robot.acceleration[0] / peak * 0.1**2 * np.eye(len(robot.home))[0]
        quick = rest_to_rest(robot, robot.home, robot.home + way, 0.1, 1000.0)
        config = dataclasses.replace(SIMULATED, jerk_share=1.0)
        free = dataclasses.replace(robot, jerk=1e6 * np.ones_like(robot.jerk))
        if what is None:
            approve(quick, free, at(robot), World(), config)
        else:
            refused(quick, free, f"joint '{robot.joint_names[0]}' at sample", what, "rad/s^2", config=config)
    step = motion(robot, qd=edited(base.qd, (20, 0), base.qd[20, 0] + 0.3))
    rough = dataclasses.replace(robot, acceleration=1e6 * np.ones_like(robot.acceleration), jerk=np.full_like(robot.jerk, 50.0))
    refused(step, rough, f"joint '{robot.joint_names[0]}' at sample", "jerk", "rad/s^3", "smooth it")


@pytest.mark.parametrize(("value", "bound"), [(0.2, "above"), (-0.001, "below")])
def test_an_opening_that_the_gripper_does_not_have(robot: RobotModel, value: float, bound: str) -> None:
    base = motion(robot)
    refused(
        motion(robot, opening=edited(base.opening, (5,), value)),
        robot,
        f"'gripper' at sample 5: opening {value} m is {bound}",
    )


def test_a_start_away_from_the_robot_is_bridged_slowly_or_refused(robot: RobotModel) -> None:
    trajectory = motion(robot)
    approved = approve(trajectory, robot, at(robot, robot.home + 0.049), World(), SIMULATED)
    assert approved.approach > 0.0
    q, qd, _ = sampled(approved.motion, np.linspace(0.0, approved.approach, 50))
    np.testing.assert_allclose(q[0], robot.home + 0.049, atol=1e-12)
    np.testing.assert_allclose(q[-1], robot.home, atol=1e-9)
    assert (np.abs(qd) <= 0.1 * robot.velocity + 1e-9).all()  # approach_share
    refused(
        trajectory,
        robot,
        "at sample 0: distance from the robot's position 0.051 rad is above 0.05",
        state=at(robot, robot.home + 0.051),
    )
    refused(trajectory, robot, "nan", state=at(robot, edited(robot.home, (0,), np.nan)))
    with pytest.raises((InvalidInput, TypeError)):
        at(robot, robot.home[:3])


def test_the_motion_begins_where_the_controller_holds_the_arm() -> None:
    robot = load_robot("ur5e")
    held = robot.home + 0.01
    approved = approve(motion(robot), robot, at(robot, q_target=held), World(), SIMULATED)
    np.testing.assert_allclose(sampled(approved.motion, np.zeros(1))[0, 0], held, atol=1e-12)


def test_a_robot_that_moves_is_old_or_is_stopped_is_not_started(robot: RobotModel) -> None:
    trajectory, state = motion(robot), at(robot)
    refused(trajectory, robot, "the robot's speed 0.03", "wait", state=at(robot, qd=np.full(len(robot.home), 0.03)))
    late = state.stamp_ns + int(0.11e9)
    refused(trajectory, robot, "state is 0.11 s old", "at most 0.1 s", state=state, now_ns=late)
    refused(trajectory, robot, "none from the future", state=state, now_ns=state.stamp_ns - int(0.01e9))
    stopped = at(robot, safety=Safety.PROTECTIVE_STOP, message="C153A0")
    refused(trajectory, robot, "protective stop: C153A0; clear it there", state=stopped)
    other = dataclasses.replace(state, joint_names=robot.joint_names[::-1])
    refused(trajectory, robot, "the state is of", state=other)


def test_a_motion_that_does_not_come_to_rest(robot: RobotModel) -> None:
    base = motion(robot)
    moving = motion(robot, qd=edited(base.qd, (40, 0), -0.06))
    refused(moving, robot, f"joint '{robot.joint_names[0]}' at sample 40: speed at the end 0.06 rad/s", "come to rest")


@pytest.mark.parametrize("array", ["q", "qd", "opening"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused_even_where_the_type_let_it_through(robot: RobotModel, array: str, value: float) -> None:
    trajectory = motion(robot)
    bad = np.array(getattr(trajectory, array))
    bad[7] = value
    object.__setattr__(trajectory, array, bad)
    refused(trajectory, robot, "at sample 7", str(value))


@pytest.mark.parametrize("times", [(0.5, 0.5), (0.5, 0.4), (0.5, np.nan)])
def test_time_that_does_not_increase(robot: RobotModel, times: tuple[float, float]) -> None:
    trajectory = motion(robot)
    t = np.array(trajectory.t)
    t[9:11] = times
    object.__setattr__(trajectory, "t", t)
    refused(trajectory, robot, "time at sample 10", "drop duplicates")


def test_another_skill_than_the_one_that_made_the_trajectory(robot: RobotModel) -> None:
    seal = SkillSeal("sorting", "a" * 64, "b" * 64)
    refused(motion(robot), robot, "skill 'sorting' aaaaaaaaaaaa", "bbbbbbbbbbbb", skill=seal)
    approve(motion(robot), robot, at(robot), World(), SIMULATED, skill=SkillSeal("sorting", "a" * 64, "a" * 64))


def test_points_are_not_faster_than_beside_people_they_may_be(robot: RobotModel) -> None:
    near = GuardConfig(collaboration=Collaboration(separation=0.4))
    refused(motion(robot), robot, "speed of its fastest point", "m/s is above", "keep people farther away", config=near)
    approve(motion(robot), robot, at(robot), World(), GuardConfig())


def test_things_in_the_way_are_named(robot: RobotModel) -> None:
    end = robot.fk(robot.home + 0.2)[:3, 3]
    ahead = end - robot.fk(robot.home)[:3, 3]
    for thing in (
        Obstacle.sphere("ball", end, 0.03),
        Obstacle.box("crate", se3.transform(np.eye(3), end), (0.02, 0.03, 0.04)),
        Obstacle.cylinder("pipe", se3.transform(np.eye(3), end), 0.02, 0.1),
        Obstacle.plane("wall", end, -ahead),
    ):
        world = World((thing,))
        refused(motion(robot), robot, "link '", "at sample", f"distance to '{thing.name}'", "plan around it", world=world)
    aside = World((Obstacle.sphere("ball", end + [0.0, 0.0, 0.9], 0.03),))
    approve(motion(robot), robot, at(robot), aside, SIMULATED)


def test_the_world_is_seen_from_where_the_base_stands() -> None:
    robot = load_robot("ur5e")
    mount = se3.transform(np.eye(3), np.array([1.0, 2.0, 3.0]))
    end = robot.fk(robot.home + 0.2)[:3, 3] + [1.0, 2.0, 3.0]
    refused(motion(robot), robot, "distance to 'ball'", world=World((Obstacle.sphere("ball", end, 0.03),), mount))
    approve(motion(robot), robot, at(robot), World((Obstacle.sphere("ball", end, 0.03),)), SIMULATED)


def test_configurations_and_obstacles_that_protect_nothing_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"clearance 0\.001 m must be at least the resolution"):
        GuardConfig(clearance=0.001)
    with pytest.raises(InvalidInput, match="speed_share is nan"):
        GuardConfig(speed_share=float("nan"))
    with pytest.raises(InvalidInput, match="must be above 0 m"):
        Obstacle.sphere("ball", np.zeros(3), 0.0)
    with pytest.raises(InvalidInput, match="rigid 4x4 pose"):
        Obstacle.box("box", 2.0 * np.eye(4), (1.0, 1.0, 1.0))


@pytest.mark.parametrize("separation", [0.5, 0.8, 1.2, 1.5])
def test_the_speed_beside_people_needs_exactly_their_separation(separation: float) -> None:
    people = Collaboration(separation=separation, most=10.0)
    assert people.separation_for(people.speed_limit) == pytest.approx(separation, abs=1e-12)
    assert Collaboration(separation=0.3).speed_limit == 0.0
