"""Whatever the arm does, the mapped motion keeps the joint limits; what cannot be reached is said, never clipped in silence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visual_irl import se3
from visual_irl.errors import Unreachable, VisualIrlError
from visual_irl.mapping.human_arm import imagined_arm
from visual_irl.mapping.inverse_kinematics import HandFirstIk, IkConfig
from visual_irl.mapping.retarget import RetargetConfig, retarget, symbolic_posture, tool_rotation
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.analytic_ik import SOLVERS
from visual_irl.types import HandPlan, HumanArmTrajectory

AXES = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]])
SHOULDER = np.array([-0.15, -0.18, 0.33])
DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
ROBOT_NAMES = ROBOTS.names


def arm_along(hand: np.ndarray, turn: np.ndarray | None = None, rate: float = 30.0) -> HumanArmTrajectory:
    n = len(hand)
    Ts = np.tile(np.eye(4), (n, 1, 1))
    Ts[:, :3, :3] = DOWN if turn is None else turn
    Ts[:, :3, 3] = hand
    plan = HandPlan(np.arange(n) / rate, Ts, np.zeros(n), np.full(n, 0.4), ("move",) * n, ("",) * n)
    return imagined_arm(plan, "right", AXES, SHOULDER, 0.28, 0.26)


def reach(n: int = 60) -> np.ndarray:
    s = np.linspace(0.0, 1.0, n)[:, None]
    s = s**3 * (10 - 15 * s + 6 * s * s)
    return np.array([0.12, -0.35, 0.10]) + s * np.array([0.13, 0.45, 0.10])


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_hand_is_exact_and_the_path_has_no_jump(name: str) -> None:
    robot = load_robot(name)
    arm = arm_along(reach())
    trajectory, report = retarget(arm, robot, robot.T_world_base, RetargetConfig())
    assert report.reachable.all()
    for q, T in zip(report.q, arm.Ts_world_hand, strict=True):
        T_world_tcp = robot.T_world_base @ robot.fk(q)
        assert np.linalg.norm(T_world_tcp[:3, 3] - T[:3, 3]) < 1e-4
        assert np.linalg.norm(se3.log_so3(T_world_tcp[:3, :3].T @ tool_rotation(T[:3, :3]))) < 1e-3
    assert np.abs(np.diff(report.q, axis=0)).max() < 0.2
    assert (np.abs(trajectory.qd) <= robot.velocity).all()


@pytest.mark.parametrize("name", ROBOT_NAMES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_limits_hold_for_any_motion(name: str, data: st.DataObject) -> None:
    robot = load_robot(name)
    seed = data.draw(st.integers(0, 2**31))
    spread = data.draw(st.sampled_from([0.05, 0.3, 1.0]))
    rng = np.random.default_rng(seed)
    knots = rng.normal([0.2, -0.1, 0.2], spread, (4, 3))
    hand = np.stack([np.interp(np.linspace(0, 3, 40), np.arange(4), knots[:, k]) for k in range(3)], axis=1)
    turn = se3.exp_so3(rng.normal(size=3)) if data.draw(st.booleans()) else None
    try:
        trajectory, report = retarget(arm_along(hand, turn), robot, robot.T_world_base, RetargetConfig(min_reachable=0.0))
    except VisualIrlError as error:
        assert str(error)
        return
    for q in (trajectory.q, report.q):
        assert np.isfinite(q).all() and (q >= robot.lower).all() and (q <= robot.upper).all()
    assert (np.abs(trajectory.qd) <= robot.velocity).all()
    exact = report.position_error < 1e-3
    assert (report.reachable <= exact).all(), "a frame is called reachable only where the hand is there"


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_out_of_reach_is_said_with_the_distance(name: str) -> None:
    robot = load_robot(name)
    with pytest.raises(Unreachable, match=r"reaches 0 % of the hand poses .* mm in the median"):
        retarget(arm_along(reach() + [2.0, 0.0, 0.0]), robot, robot.T_world_base, RetargetConfig())


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_analytic_solutions_reach_the_pose_inside_the_limits(name: str) -> None:
    robot = load_robot(name)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(20):
        q = rng.uniform(0.6 * robot.lower.clip(-2.5), 0.6 * robot.upper.clip(max=2.5))
        q = np.clip(q, robot.lower + 0.05, robot.upper - 0.05)
        T = robot.fk(q)
        for solution in SOLVERS[name](robot, T):
            found += 1
            assert np.allclose(robot.fk(solution), T, atol=1e-5)
            assert (solution > robot.lower).all() and (solution < robot.upper).all()
    assert found > 100


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_every_robot_has_an_analytic_solver(name: str) -> None:
    assert name in SOLVERS


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_inverse_kinematics_finds_what_forward_kinematics_made(name: str) -> None:
    robot = load_robot(name)
    ik = HandFirstIk(robot, IkConfig())
    rng = np.random.default_rng(1)
    exact = 0
    for _ in range(30):
        q = np.clip(robot.home + rng.normal(0, 0.4, len(robot.home)), ik.lower, ik.upper)
        solution = ik.solve(robot.fk(q), np.clip(q + rng.normal(0, 0.1, len(q)), ik.lower, ik.upper))
        exact += solution.exact
        assert (solution.q >= ik.lower).all() and (solution.q <= ik.upper).all()
        if solution.exact:
            assert ik.hand_error(solution.q, robot.fk(q))[0] < 1e-5
    assert exact >= 29


def test_left_and_right_postures_mirror_each_other_in_the_first_joint() -> None:
    robot = load_robot("panda")
    q = np.array([[0.4, 0.9, 0.2, 1.0, 0.0, 0.0, 0.0]])
    right, left = symbolic_posture(robot, "right", q), symbolic_posture(robot, "left", q)
    assert np.isclose(right[0, 0], -left[0, 0]) and np.isclose(right[0, 1], left[0, 1])
