"""A live target is followed within every limit; without one, or with a bad one, the arm stands."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.following import FollowConfig, TargetFollower
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import World

PERIOD = 0.002
ROUNDING = 1e-6  # Ruckig's own tolerance on limits


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_a_target_is_reached_within_the_limits_and_silence_stops_the_arm(name: str) -> None:
    robot = load_robot(name)
    follower = TargetFollower(robot, robot.home, PERIOD, World())
    share = follower.config.speed_share
    goal = robot.home + 0.2
    rows = []
    for k in range(3000):
        now = round(1e9 * PERIOD * k)
        if k % 16 == 0 and k < 2000:
            follower.take(robot.joint_names, goal if k < 1200 else robot.home, now)
        rows.append(follower.cycle(now))
        if k == 1199:
            np.testing.assert_allclose(rows[-1][0], goal, atol=1e-6)  # the target itself
        if k == 2020:
            assert not follower.stopped
    q, qd, qdd = (np.array(column) for column in zip(*rows, strict=True))
    assert (np.abs(qd) <= share * robot.velocity + ROUNDING).all()
    assert (np.abs(qdd) <= share * robot.acceleration + ROUNDING).all()
    assert (np.abs(np.diff(qdd, axis=0)) <= share * robot.jerk * PERIOD + ROUNDING).all()
    assert np.abs(np.diff(q, axis=0)).max() > 1e-4, "it moved"
    assert follower.stopped
    assert np.abs(qd[-1]).max() < 1e-12  # rounding


def test_silence_in_the_middle_brings_the_arm_to_rest() -> None:
    robot = load_robot("ur5e")
    follower = TargetFollower(robot, robot.home, PERIOD, World())
    follower.take(robot.joint_names, robot.home + 0.5 * np.eye(6)[0], 0)
    for k in range(150):
        _, qd, _ = follower.cycle(round(1e9 * PERIOD * k) if k < 100 else 10**9)
    assert follower.stopped
    for _ in range(1000):
        q, qd, _ = follower.cycle(2 * 10**9)
    assert np.abs(qd).max() < 1e-9
    assert robot.home[0] < q[0] < robot.home[0] + 0.49, "it stopped on the way"


@pytest.mark.parametrize("what", ["nan", "far", "names", "short", "contact"])
def test_a_bad_target_is_refused_and_moves_nothing(what: str) -> None:
    robot = load_robot("panda")
    follower = TargetFollower(robot, robot.home, PERIOD, World(), FollowConfig(clearance=0.005))
    q, names = np.array(robot.home), robot.joint_names
    if what == "nan":
        q[2] = np.nan
    elif what == "far":
        q[0] = 1e9
    elif what == "names":
        names = names[::-1]
    elif what == "short":
        q = q[:3]
    else:
        q = np.array([0.0, 1.7, 0.0, -3.05, 0.0, 0.0, 0.0])  # folded onto itself
    with pytest.raises(RefusedTrajectory):
        follower.take(names, q, 0)
    for k in range(10):
        np.testing.assert_array_equal(follower.cycle(k)[0], robot.home)
