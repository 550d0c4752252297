"""Each reason to refuse a trajectory has the case that must be refused, and a good one passes unchanged."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.guard import ApprovedTrajectory, approve
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.types import JointTrajectory


@pytest.fixture(params=ROBOTS.names)
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def motion(robot: RobotModel, **changes: np.ndarray) -> JointTrajectory:
    """A slow move of 0.2 rad from home, that starts and ends at rest."""
    t = np.linspace(0.0, 2.0, 41)
    s = t / 2.0
    q = robot.home + 0.2 * (3 * s**2 - 2 * s**3)[:, None] * np.ones(len(robot.home))
    qd = 0.2 * (6 * s - 6 * s**2)[:, None] / 2.0 * np.ones(len(robot.home))
    values = {"t": t, "q": q, "qd": qd, "opening": np.full(len(t), 0.04)} | changes
    return JointTrajectory(robot.joint_names, **values)


def edited(array: np.ndarray, index: tuple[int, ...], value: float) -> np.ndarray:
    copy = np.array(array)
    copy[index] = value
    return copy


def refused(trajectory: JointTrajectory, robot: RobotModel, *parts: str) -> None:
    with pytest.raises(RefusedTrajectory, match=".*".join(re.escape(part) for part in parts)):
        approve(trajectory, robot, robot.home)


def test_a_good_motion_passes_unchanged(robot: RobotModel) -> None:
    trajectory = motion(robot)
    approved = approve(trajectory, robot, robot.home)
    assert approved.trajectory is trajectory and approved.robot is robot


def test_a_motion_exactly_at_the_limits_passes(robot: RobotModel) -> None:
    base = motion(robot)
    q = np.tile(robot.upper, (len(base.t), 1))
    still = motion(robot, q=q, qd=np.zeros_like(q), opening=np.full(len(q), robot.max_opening))
    approve(still, robot, robot.upper)


def test_approval_cannot_be_forged(robot: RobotModel) -> None:
    trajectory = motion(robot)
    with pytest.raises(RefusedTrajectory, match=r"only from visual_irl.execution.guard.approve"):
        ApprovedTrajectory(trajectory, robot)
    with pytest.raises(RefusedTrajectory):
        ApprovedTrajectory(trajectory, robot, token=object())
    approved = approve(trajectory, robot, robot.home)
    with pytest.raises((RefusedTrajectory, ValueError)):
        dataclasses.replace(approved, trajectory=trajectory)
    with pytest.raises(dataclasses.FrozenInstanceError):
        approved.trajectory = trajectory


def test_wrong_joint_names(robot: RobotModel) -> None:
    good = motion(robot)
    turned = JointTrajectory(good.joint_names[::-1], good.t, good.q, good.qd, good.opening)
    refused(turned, robot, robot.joint_names[-1], "map the demonstration onto this robot")


def test_positions_above_and_below_the_limits(robot: RobotModel) -> None:
    base = motion(robot)
    name = robot.joint_names[3]
    above = motion(robot, q=edited(base.q, (17, 3), robot.upper[3] + 1e-3))
    refused(above, robot, f"joint '{name}' at sample 17: position", "is above", "rad; move the demonstration closer")
    below = motion(robot, q=edited(base.q, (18, 3), robot.lower[3] - 1e-3))
    refused(below, robot, f"joint '{name}' at sample 18: position", "is below", "rad; move the demonstration closer")


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_stated_speed_above_the_limit(robot: RobotModel, sign: float) -> None:
    base = motion(robot)
    fast = motion(robot, qd=edited(base.qd, (9, 1), sign * (robot.velocity[1] + 1e-3)))
    refused(fast, robot, f"joint '{robot.joint_names[1]}' at sample 9: speed", "rad/s is above", "slow the motion down")


def test_a_jump_that_the_stated_speeds_hide(robot: RobotModel) -> None:
    base = motion(robot)
    jump = motion(robot, q=edited(base.q, (20, 2), base.q[20, 2] - 0.3))
    refused(jump, robot, f"joint '{robot.joint_names[2]}' at sample 19", "to the next", "slow the motion down")


@pytest.mark.parametrize(("value", "bound"), [(0.2, "above"), (-0.001, "below")])
def test_an_opening_that_the_gripper_does_not_have(robot: RobotModel, value: float, bound: str) -> None:
    base = motion(robot)
    refused(
        motion(robot, opening=edited(base.opening, (5,), value)),
        robot,
        f"'gripper' at sample 5: opening {value} m is {bound}",
    )


def test_a_start_away_from_the_robot(robot: RobotModel) -> None:
    trajectory = motion(robot)
    approve(trajectory, robot, robot.home + 0.049)
    with pytest.raises(RefusedTrajectory, match=r"at sample 0: distance from the robot's position 0\.051 rad is above 0\.05"):
        approve(trajectory, robot, robot.home + 0.051)
    with pytest.raises(RefusedTrajectory, match="expected"):
        approve(trajectory, robot, robot.home[:3])
    with pytest.raises(RefusedTrajectory, match="nan"):
        approve(trajectory, robot, edited(robot.home, (0,), np.nan))


def test_a_motion_that_does_not_come_to_rest(robot: RobotModel) -> None:
    base = motion(robot)
    moving = motion(robot, qd=edited(base.qd, (40, 0), -0.06))
    refused(moving, robot, f"joint '{robot.joint_names[0]}' at sample 40: speed at the end 0.06 rad/s", "come to rest")


@pytest.mark.parametrize("array", ["q", "qd", "opening"])
def test_nan_is_refused_even_where_the_type_let_it_through(robot: RobotModel, array: str) -> None:
    trajectory = motion(robot)
    bad = np.array(getattr(trajectory, array))
    bad[7] = np.nan
    object.__setattr__(trajectory, array, bad)
    refused(trajectory, robot, "at sample 7", "nan")
