"""The symbolic correspondence against forward kinematics: the robot's limbs lie as the human's do, wherever the base stands."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.mapping.anatomy import arm_of_angles
from visual_irl.mapping.symbolic import BASE_AXES, symbolic_posture
from visual_irl.mapping.targets import tool_rotation
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel

ELBOW_OFFSETS = {"panda": (0.26, 0.22), "fr3": (0.26, 0.22), "ur5e": (1e-6, 1e-6), "ur10e": (1e-6, 1e-6)}
"""Angles between a robot's limbs and the lines between its joints [rad]: atan(82.5 / 316) and atan(82.5 / 384) mm at the
Franka arms' elbow, and nothing at the UR's."""


@pytest.fixture(params=sorted(ELBOW_OFFSETS))
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def arms(rotation: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper arm, forearm (N, 3) and tool orientation (N, 3, 3) of random arms before a robot's base."""
    low = np.array([0.2, 0.5, rotation[0], 0.4, -1.2, -0.4, -0.3])
    high = np.array([2.8, 1.6, rotation[1], 2.2, 1.2, 0.4, 0.3])
    q = np.random.default_rng(1).uniform(low, high, (60, 7))
    elbow, wrist, R_hand = arm_of_angles(q, BASE_AXES, np.zeros((60, 3)), 1.0, 1.0)
    return elbow, wrist - elbow, tool_rotation(R_hand)


def limbs(robot: RobotModel, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper arm and forearm of the robot."""
    p = [robot.fk(q, frame)[:3, 3] for frame in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)]
    return p[1] - p[0], p[2] - p[1]


@pytest.mark.parametrize("around", [0.0, np.pi])
def test_limbs_lie_as_the_humans(robot: RobotModel, around: float) -> None:
    """At a half turn of axial rotation too, where an arm without a joint for it must reach over its shoulder."""
    turns = any(pair.angle == "shoulder_rotation" for pair in robot.correspondence)
    spread = 0.6 if turns else 0.0
    if turns and around:
        pytest.skip("the joint that turns the upper arm meets its limit before a half turn")
    upper, fore, R = arms((around - spread, around + spread))
    q = symbolic_posture(robot, upper, fore, R)
    most = ELBOW_OFFSETS[robot.name]
    level = 0.0 if turns else 0.34  # the UR's forearm lies beside its upper arm: 133 mm on 392 mm
    for row, u, f in zip(q, upper, fore, strict=True):
        mine = limbs(robot, row)
        assert se3.angle_between(mine[0][None], u[None])[0] <= most[0] + level + 1e-3
        assert se3.angle_between(mine[1][None], f[None])[0] <= most[1] + level + 1e-3


def test_a_straight_hand_turns_the_tool(robot: RobotModel) -> None:
    """With the wrist straight and in the elbow's plane the tool is where the hand is, up to the elbow's offset."""
    q = np.array([[1.2, 0.9, 0.0, 1.3, 0.4, 0.0, 0.0]])
    elbow, wrist, R_hand = arm_of_angles(q, BASE_AXES, np.zeros((1, 3)), 1.0, 1.0)
    R = tool_rotation(R_hand)
    got = robot.fk(symbolic_posture(robot, elbow, wrist - elbow, R)[0])[:3, :3]
    assert se3.angle_between(got[None, :, 2], R[:, :, 2])[0] < 0.5
    assert se3.angle_between(got[None, :, 0], R[:, :, 0])[0] < 0.5


def test_the_correspondence_turns_with_the_base(robot: RobotModel) -> None:
    upper, fore, R = arms((-0.3, 0.3))
    turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    one, other = symbolic_posture(robot, upper, fore, R), symbolic_posture(robot, upper @ turn.T, fore @ turn.T, turn @ R)
    change = np.mod(other - one + np.pi, 2.0 * np.pi) - np.pi
    inside = np.maximum(np.abs(one[:, 0]), np.abs(other[:, 0])) < robot.upper[0] - 1e-9
    assert inside.sum() > 10
    np.testing.assert_allclose(change[inside, 0], np.pi / 2, atol=1e-9)
    np.testing.assert_allclose(change[inside, 1:], 0.0, atol=1e-9)


def test_unknown_limbs_rest_at_home_and_limits_hold(robot: RobotModel) -> None:
    upper, fore, R = arms((-3.0, 3.0))
    fore[7] = 0.0
    q = symbolic_posture(robot, upper, fore, R)
    np.testing.assert_array_equal(q[7], robot.home)
    assert (q >= robot.lower).all() and (q <= robot.upper).all()
    np.testing.assert_array_equal(symbolic_posture(robot, 0.0 * upper, fore, R), np.tile(robot.home, (60, 1)))
