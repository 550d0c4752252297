"""Whatever the arm does, the mapped motion keeps the limits; what cannot be reached is said, never clipped in silence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visual_irl import se3
from visual_irl.errors import InvalidInput, Unreachable, VisualIrlError
from visual_irl.execution.guard import SIMULATED, GuardConfig, approve
from visual_irl.execution.state import RobotState
from visual_irl.mapping.feasibility import ROOM, look
from visual_irl.mapping.human_arm import imagined_arm
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status
from visual_irl.mapping.retarget import RetargetConfig, follow, retarget
from visual_irl.mapping.targets import tool_rotation
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.collision import checker_of
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.types import HandPlan, HumanArmTrajectory

AXES = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]])
SHOULDER = np.array([-0.15, -0.18, 0.33])
DOWN = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
ROBOT_NAMES = ROBOTS.names
Z = np.array([0.0, 0.0, 1.0])


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
    assert report.reachable.all() and report.joined[1:].all()
    for q, T in zip(report.q, arm.Ts_world_hand, strict=True):
        T_world_tcp = robot.T_world_base @ robot.fk(q)
        assert np.linalg.norm(T_world_tcp[:3, 3] - T[:3, 3]) < 1e-5
        assert np.linalg.norm(se3.log_so3(T_world_tcp[:3, :3].T @ tool_rotation(T[:3, :3]))) < 1e-4
    assert np.abs(np.diff(report.q, axis=0)).max() < 0.2
    assert (np.abs(trajectory.qd) <= robot.velocity).all()


def test_between_frames_the_guard_keeps_its_share_of_the_margin() -> None:
    """Frames that come fast to their margin from a limit and turn there: the spline between them would swing to the limit."""
    robot, arm = load_robot("panda"), arm_along(reach())
    followed = follow(arm, robot, robot.T_world_base, RetargetConfig())
    way = np.minimum(np.arange(60), np.arange(60)[::-1]) * 0.05
    top = robot.upper - followed.config.offline.margin
    q = np.where(np.arange(7) == 4, (top[4] - way.max() + way)[:, None], robot.home)
    trajectory, _ = replace(followed, path=replace(followed.path, q=q)).timed()
    room = (robot.upper - trajectory.q).min()
    assert GuardConfig().position_margin < room < followed.config.offline.margin
    approve(trajectory, robot, RobotState.at_rest(robot.joint_names, trajectory.q[0]), World(), SIMULATED)


def test_limb_errors_are_to_what_the_arm_is_asked_for() -> None:
    """The person's elbow hangs; an arm on a table is asked to lift it as high."""
    robot, arm = load_robot("ur5e"), arm_along(reach())
    _, report = retarget(arm, robot, robot.T_world_base, RetargetConfig(elbow_up=True))
    person, own = arm.elbow - arm.shoulder, np.diff(report.robot_points, axis=1)
    assert (person[:, 2] < -0.01).all()
    np.testing.assert_allclose(report.upper_error, se3.angle_between(own[:, 0], person * [1.0, 1.0, -1.0]), atol=1e-6)
    np.testing.assert_allclose(report.fore_error, se3.angle_between(own[:, 1], arm.wrist - arm.elbow), atol=1e-6)


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_links_keep_above_the_table_though_the_persons_elbow_hangs(name: str) -> None:
    robot, arm = load_robot(name), arm_along(reach() - [0.0, 0.0, 0.06])
    free, above = (
        retarget(arm, robot, robot.T_world_base, RetargetConfig(elbow_up=False, table=table))[1] for table in (None, 0.0)
    )
    top = Obstacle.box("table", se3.transform(np.eye(3), np.array([0.4, 0.0, -0.02])), [0.5, 0.9, 0.02])
    checker = checker_of(robot, World((top,), np.array(robot.T_world_base)))
    assert above.reachable.all() and all(checker.contact_at(q, 0.005) is None for q in above.q[::5])
    lowest = [report.robot_points[:, 1, 2].min() for report in (free, above)]
    assert lowest[1] > 0.05 and lowest[0] <= lowest[1] + 1e-9
    if robot.ik_family == "ur":
        assert lowest[0] < 0.0, "without a table this motion would not show that it is kept above"


@pytest.mark.parametrize("name", ROBOT_NAMES)
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_what_is_touched_between_two_looks_is_seen(name: str) -> None:
    """The hand passes a ball between the first frame and the ninth, which is the next one that is looked at."""
    robot, T, hand = load_robot(name), np.array(load_robot(name).T_world_base), reach(9) * [0.0, 0.8, 0.0] + [0.25, 0.0, 0.2]
    arm = arm_along(hand, rate=60.0)
    _, report = retarget(arm, robot, T, RetargetConfig())
    world = World((Obstacle.sphere("ball", hand[4], 0.015),), T)
    near = [checker_of(robot, world).contact_at(q, ROOM) is not None for q in report.q]
    assert near[4] and not near[0] and not near[8]
    assert "'ball'" in look(arm, robot, T, world, RetargetConfig()).obstacle
    assert look(arm, robot, T, World((), T), RetargetConfig()).obstacle == ""


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_out_of_reach_is_said_with_the_distance(name: str) -> None:
    robot = load_robot(name)
    with pytest.raises(Unreachable, match=r"reaches 0 % of the hand poses .* mm in the median"):
        retarget(arm_along(reach() + [4.0, 0.0, 0.0]), robot, robot.T_world_base, RetargetConfig())


def adversarial(rng: np.random.Generator, kind: str, robot_name: str, frames: int) -> list[tuple[np.ndarray, ...]]:
    """Targets that a live camera could send: wild, broken, mirrored or impossible."""
    robot = load_robot(robot_name)
    q = robot.home + np.cumsum(rng.normal(0.0, 0.03, (frames, len(robot.home))), axis=0)
    q = np.clip(q, robot.lower, robot.upper)
    out = []
    for k in range(frames):
        T = robot.fk(q[k])
        R, p = T[:3, :3].copy(), T[:3, 3].copy()
        u, f = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        if kind == "nan" and k % 3 == 0:
            (R, p, u, f)[k % 4].flat[0] = [np.nan, np.inf, -np.inf][k % 9 // 3]
        if kind == "zero limbs":
            u, f = np.zeros(3), np.zeros(3)
        if kind == "unreachable":
            p = p * rng.uniform(1.0, 50.0)
        if kind == "mirrored" and k % 2:
            p, u, f = p * [1, -1, 1], u * [1, -1, 1], f * [1, -1, 1]
        if kind == "flips" and k % 2:
            R = R @ np.diag([1.0, -1.0, -1.0]) if k % 4 == 1 else R @ np.diag([-1.0, -1.0, 1.0])
        if kind == "not a rotation":
            R = rng.normal(size=(3, 3)) * 10.0 ** rng.uniform(-8, 8)
        if kind == "random":
            R, p = se3.exp_so3(rng.normal(0.0, 2.0, 3)), rng.normal(0.0, 0.7, 3)
        out.append((R, p, u, f))
    return out


KINDS = ("walk", "nan", "zero limbs", "unreachable", "mirrored", "flips", "not a rotation", "random")


@pytest.mark.parametrize("name", ROBOT_NAMES)
@pytest.mark.parametrize("share", [1.0, 0.3, np.inf])
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**31), kind=st.sampled_from(KINDS), dt=st.sampled_from([0.002, 1 / 60, 0.1, 0.0, -1.0, np.nan]))
def test_online_limits_hold_for_any_input(name: str, share: float, seed: int, kind: str, dt: float) -> None:
    robot = load_robot(name)
    mapper = OnlineMapper(robot, OnlineConfig(speed_share=share))
    mapper.reset(robot.home)
    rng = np.random.default_rng(seed)
    q, qd = mapper.q.copy(), mapper.qd.copy()
    for R, p, u, f in adversarial(rng, kind, name, 40):
        status = mapper.step(R, p, u, f, bool(rng.uniform() < 0.9), dt)
        assert status in Status
        assert np.isfinite(mapper.q).all() and (mapper.q >= robot.lower).all() and (mapper.q <= robot.upper).all()
        if not dt > 0.0:
            assert (mapper.q == q).all(), "no time has passed, so nothing moves"
        elif np.isfinite(share):
            speed = np.abs(mapper.q - q) / dt
            assert (speed <= share * robot.velocity * (1 + 1e-6) + 1e-9).all()
            change = np.abs(mapper.qd - qd) / dt
            assert (change <= share * robot.acceleration * (1 + 1e-6) + 1e-6).all()
        q, qd = mapper.q.copy(), mapper.qd.copy()


def test_lost_keypoints_are_held_then_the_arm_stops_within_its_limits() -> None:
    robot = load_robot("panda")
    mapper = OnlineMapper(robot, OnlineConfig(hold_seconds=0.2))
    mapper.reset(robot.home)
    T = robot.fk(robot.home)
    dt, moving = 0.02, T[:3, 3].copy()
    for _ in range(20):
        moving[1] += 0.004
        assert mapper.step(T[:3, :3], moving, np.zeros(3), np.zeros(3), True, dt) == Status.TRACKING
    assert np.abs(mapper.qd).max() > 0.1
    said = [mapper.step(T[:3, :3], moving, np.zeros(3), np.zeros(3), False, dt) for _ in range(60)]
    assert said[:9] == [Status.HOLDING] * 9 and set(said[10:]) == {Status.STOPPED}
    assert np.abs(mapper.qd).max() == 0.0
    assert np.linalg.norm(robot.fk(mapper.q)[:3, 3] - moving) < 1e-3, "it came to rest at the last target"
    for _ in range(100):
        moving[1] -= 0.002
        status = mapper.step(T[:3, :3], moving, np.zeros(3), np.zeros(3), True, dt)
    assert status == Status.TRACKING


def test_online_start_must_be_inside_the_limits() -> None:
    robot = load_robot("ur5e")
    mapper = OnlineMapper(robot, OnlineConfig())
    with pytest.raises(InvalidInput, match=r"elbow_joint at 3\.5"):
        mapper.reset(np.array([0.0, -1.0, 3.5, 0.0, 0.0, 0.0]))
    with pytest.raises(InvalidInput, match="6 finite joint angles"):
        mapper.reset(np.full(6, np.nan))
