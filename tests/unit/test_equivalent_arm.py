"""The human arm that a robot's configuration stands for: mapping and its inverse undo each other, and the elbow is the
robot's way."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping import equivalent_arm as inverse
from visual_irl.mapping.anatomy import SINGULAR, arm_of_angles, hand_orientation, torso_frame
from visual_irl.mapping.human_arm import GRASP_REACH
from visual_irl.mapping.offline import OfflineConfig, map_offline
from visual_irl.mapping.placement import Placement, placed_targets
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.solutions import solutions, solver_of
from visual_irl.types import KEYPOINTS, SIDES, HumanArmTrajectory

UPPER, FORE = 0.29, 0.26
ROBOTS = ("panda", "ur5e")
SCALES = (None, 1.0, 1.4)
QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def placed(robot: RobotModel, seed: int, scale: float | None) -> Placement:
    """A base anywhere, turned any way, with the tool turned in the hand."""
    rng = np.random.default_rng(seed)
    T = se3.transform(Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3))
    return Placement(T, float(rng.uniform(-np.pi, np.pi)), scale, robot.limb_lengths()[1] if scale else 0.0, 1.0)


def joints(robot: RobotModel, seed: int, frames: int = 8) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi), (frames, len(robot.home)))


def equivalent(robot: RobotModel, placement: Placement, q: np.ndarray, side: str, **options) -> HumanArmTrajectory:
    return inverse.equivalent_arm(robot, placement, q, np.arange(len(q)) / 30.0, side, UPPER, FORE, **options)


@pytest.mark.parametrize("name", ROBOTS)
@QUICK
@given(seed=st.integers(0, 2**31), side=st.sampled_from(SIDES), scale=st.sampled_from(SCALES))
def test_inverse_then_forward_is_the_same_tool_pose(name: str, seed: int, side: str, scale: float | None) -> None:
    robot = load_robot(name)
    placement, q = placed(robot, seed, scale), joints(robot, seed)
    shoulder = np.random.default_rng(seed).normal(size=3) if seed % 2 else None
    targets = placed_targets(equivalent(robot, placement, q, side, shoulder=shoulder), robot, placement)
    for k, row in enumerate(q):
        T = robot.fk(row)  # Pinocchio's, the inverse has the compiled chain's
        assert np.allclose(targets.R[k], T[:3, :3], atol=1e-9) and np.allclose(targets.p[k], T[:3, 3], atol=1e-9)


@pytest.mark.parametrize("name", ROBOTS)
@QUICK
@given(seed=st.integers(0, 2**31), side=st.sampled_from(SIDES), scale=st.sampled_from(SCALES))
def test_forward_then_inverse_is_the_same_hand(name: str, seed: int, side: str, scale: float | None) -> None:
    """Whatever solution the robot takes, the person's wrist and hand come back, and so does the shoulder."""
    robot = load_robot(name)
    rng = np.random.default_rng(seed)
    n = 4
    shoulder = np.tile(rng.normal(size=3), (n, 1))
    q_human = rng.uniform([-0.5, 0.3, -1.0, 0.3, -1.2, -0.8, -0.3], [1.5, 1.8, 1.0, 2.0, 1.2, 0.8, 0.5], (n, 7))
    elbow, wrist, R = arm_of_angles(q_human, torso_frame(side), shoulder, UPPER, FORE)
    Ts = np.tile(np.eye(4), (n, 1, 1))
    Ts[:, :3, :3], Ts[:, :3, 3] = R, wrist + GRASP_REACH * R[:, :, 2]
    arm = HumanArmTrajectory(np.arange(n) / 30.0, side, q_human, shoulder, elbow, wrist, Ts, np.ones(n, bool), np.zeros(n))
    base = shoulder[0] - robot.fk(robot.home, robot.shoulder_frame)[:3, 3]
    placement = Placement(
        se3.transform(np.eye(3), base), float(rng.uniform(-3.0, 3.0)), scale, robot.limb_lengths()[1] if scale else 0.0, 1.0
    )
    targets = placed_targets(arm, robot, placement)
    solver = solver_of(robot, 0.002)
    for k in range(n):
        for q in solutions(solver, se3.transform(targets.R[k], targets.p[k]))[:3]:
            back = equivalent(robot, placement, np.stack([q, q]), side)
            # 1e-6: what the closed forms of the inverse kinematics leave near their own singularities
            assert np.allclose(back.Ts_world_hand[0], Ts[k], atol=1e-6) and np.allclose(back.wrist[0], wrist[k], atol=1e-6)
            assert np.allclose(back.shoulder[0], shoulder[0], atol=1e-12) and back.observed.all()


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", ROBOTS)
def test_the_equivalent_arm_maps_to_the_same_hand(name: str, side: str) -> None:
    """Through the whole offline mapper, from a motion of the robot about its home."""
    robot = load_robot(name)
    placement = Placement(robot.T_world_base, 0.4, 1.4, robot.limb_lengths()[1], 1.0)
    s = np.linspace(0.0, 2.0 * np.pi, 25)[:, None]
    q = robot.home + 0.25 * np.sin(s + np.arange(len(robot.home)))
    arm = equivalent(robot, placement, q, side)
    mapped = map_offline(robot, placed_targets(arm, robot, placement), OfflineConfig())
    assert mapped.reachable.all() and mapped.exact.all()
    again = equivalent(robot, placement, mapped.q, side)
    assert np.linalg.norm(again.wrist - arm.wrist, axis=1).max() < 1e-4  # a tenth of what counts as exact
    assert np.abs(again.Ts_world_hand - arm.Ts_world_hand).max() < 1e-3


@pytest.mark.parametrize("name", ROBOTS)
@pytest.mark.parametrize("elbow_up", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_the_elbow_is_the_most_like_the_robots(name: str, elbow_up: bool, side: str) -> None:
    """No other elbow on its circle has limbs that are more nearly parallel to the robot's; lengths are the person's."""
    robot = load_robot(name)
    placement = placed(robot, 5, 1.4)
    q = np.concatenate([joints(robot, seed) for seed in range(6)])
    arm = equivalent(robot, placement, q, side, elbow_up=elbow_up)
    assert np.allclose(np.linalg.norm(arm.elbow - arm.shoulder, axis=1), UPPER)
    inside = arm.observed
    assert inside.sum() > 20
    assert np.allclose(np.linalg.norm(arm.wrist - arm.elbow, axis=1)[inside], FORE, atol=1e-6)
    assert (inside == (inverse.beyond_reach(arm, UPPER, FORE) == 0.0)).all()
    for k in np.nonzero(inside)[0]:
        points = [
            se3.apply(placement.T_world_base, robot.fk(q[k], f)[:3, 3])
            for f in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)
        ]
        u, f = ((b - a) / np.linalg.norm(b - a) for a, b in pairwise(points))
        if elbow_up:
            u = u * [1.0, 1.0, 0.0] - [0.0, 0.0, abs(u[2])]
        line = (arm.wrist[k] - arm.shoulder[k]) / np.linalg.norm(arm.wrist[k] - arm.shoulder[k])
        if np.linalg.norm(np.cross(u - UPPER / FORE * f, line)) < SINGULAR:
            continue  # such an arm does not determine the elbow: an earlier one holds
        turns = Rotation.from_rotvec(np.linspace(-np.pi, np.pi, 73)[:, None] * line)
        elbows = arm.shoulder[k] + turns.apply(arm.elbow[k] - arm.shoulder[k])
        likeness = (elbows - arm.shoulder[k]) @ u / UPPER + (arm.wrist[k] - elbows) @ f / FORE
        best = (arm.elbow[k] - arm.shoulder[k]) @ u / UPPER + (arm.wrist[k] - arm.elbow[k]) @ f / FORE
        assert (likeness <= best + 1e-9).all()


def test_a_robot_that_is_an_arm_gives_its_own_elbow_back() -> None:
    """The swivel is the robot's where its shoulder, elbow and wrist have the proportions of the person's."""
    points = np.random.default_rng(0).normal(size=(5, 3, 3))
    upper, fore = (points[:, k + 1] - points[:, k] for k in range(2))
    upper *= (UPPER / np.linalg.norm(upper, axis=1))[:, None]
    fore *= (FORE / np.linalg.norm(fore, axis=1))[:, None]
    line = upper + fore
    along = line / np.linalg.norm(line, axis=1, keepdims=True)
    exact = np.stack([np.zeros_like(upper), upper, line], axis=1)
    bend = inverse._bend(along, exact, UPPER / FORE, torso_frame("right"), False)
    normal = upper - np.sum(upper * along, axis=1, keepdims=True) * along
    assert np.allclose(bend, normal / np.linalg.norm(normal, axis=1, keepdims=True), atol=1e-9)


def test_a_straight_robot_arm_keeps_the_last_elbow() -> None:
    along = np.tile([1.0, 0.0, 0.0], (4, 1))
    points = np.zeros((4, 3, 3))
    points[:, 1], points[:, 2] = [0.3, 0.0, 0.0], [0.6, 0.0, 0.0]
    points[1, 1] = [0.3, 0.1, 0.0]
    axes = torso_frame("right")
    assert np.allclose(inverse._bend(along, points, 1.0, axes, False), [0.0, 1.0, 0.0])
    assert np.allclose(inverse._bend(along[:1], points[:1], 1.0, axes, False), [0.0, 0.0, -1.0])  # never seen: it hangs


def test_out_of_reach_the_hand_stays_and_it_is_said() -> None:
    robot = load_robot("ur5e")
    placement = Placement(robot.T_world_base, 0.0, None, 0.0, 1.0)
    q = np.tile(robot.home, (3, 1))
    arm = equivalent(robot, placement, q, "right", shoulder=np.array([-1.0, 0.0, 0.3]))
    assert not arm.observed.any() and (inverse.beyond_reach(arm, UPPER, FORE) > 0.1).all()
    T = robot.T_world_base @ robot.fk(robot.home)
    assert np.allclose(arm.Ts_world_hand[:, :3, 3], T[:3, 3], atol=1e-9)  # nothing is scaled: the hand is the tool
    line, upper = arm.wrist[0] - arm.shoulder[0], arm.elbow[0] - arm.shoulder[0]
    assert np.allclose(np.cross(line, upper), 0.0, atol=1e-6) and line @ upper > 0.0


@pytest.mark.parametrize("side", SIDES)
def test_keypoints_tell_the_hands_pose(side: str) -> None:
    robot = load_robot("panda")
    arm = equivalent(robot, placed(robot, 1, 1.4), joints(robot, 1), side)
    p = dict(zip(KEYPOINTS, np.moveaxis(inverse.equivalent_keypoints(arm), 1, 0), strict=True))
    assert np.allclose(p[f"{side}_elbow"], arm.elbow) and np.allclose(p[f"{side}_wrist"], arm.wrist)
    across = p[f"{side}_hand_index_mcp"] - p[f"{side}_hand_pinky_mcp"]
    R = hand_orientation(p[f"{side}_hand_middle_mcp"] - p[f"{side}_wrist"], across)
    assert np.allclose(R, arm.Ts_world_hand[:, :3, :3], atol=1e-9)
    assert sum(np.isfinite(x).all() for x in p.values()) == 7


def test_bad_input_is_one_clear_error() -> None:
    robot = load_robot("panda")
    placement = Placement(robot.T_world_base, 0.0, None, 0.0, 1.0)
    q = np.tile(robot.home, (3, 1))
    with pytest.raises(InvalidInput, match="7 joints, got angles of shape"):
        equivalent(robot, placement, q[:, :6], "right")
    with pytest.raises(InvalidInput, match="state 1 are not finite"):
        equivalent(robot, placement, np.where(np.arange(3)[:, None] == 1, np.nan, q), "right")
    with pytest.raises(InvalidInput, match="known: left, right"):
        equivalent(robot, placement, q, "both")
    with pytest.raises(InvalidInput, match="must be positive"):
        inverse.equivalent_arm(robot, placement, q, np.arange(3.0), "right", np.nan, FORE)
