"""The compiled kinematics equals Pinocchio's, its Jacobians equal finite differences, and the solvers find every solution."""

from __future__ import annotations

import dataclasses

import frankik
import numpy as np
import pytest
from numba import njit
from numba.core.errors import NumbaError

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping.branch_path import BranchCosts, price
from visual_irl.mapping.hand_first import Pull, add_limb, hand_first, limb_direction, self_motion, work_of
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.chain import (
    LEAN,
    chain_of,
    forward,
    limb_jacobian,
    limb_point,
    manipulability,
    pose_of,
    tool_error,
    tool_jacobian,
)
from visual_irl.robots.model import RobotModel
from visual_irl.robots.solutions import solutions, solver_of

EVERY = pytest.mark.parametrize("name", ROBOTS.names)
STEP = 1e-6
"""Step of finite differences [rad]."""


def random_q(robot: RobotModel, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(robot.lower, robot.upper)


@EVERY
def test_frames_and_limb_points_equal_pinocchio(name: str) -> None:
    robot = load_robot(name)
    chain, rng = chain_of(robot), np.random.default_rng(0)
    pose, point = pose_of(chain), np.zeros(3)
    for _ in range(50):
        q = random_q(robot, rng)
        forward(chain, q, pose)
        T = robot.fk(q)
        np.testing.assert_allclose(pose.R[-1], T[:3, :3], atol=1e-12)
        np.testing.assert_allclose(pose.p[-1], T[:3, 3], atol=1e-12)
        for which, frame in enumerate((robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)):
            limb_point(chain, pose, which, point)
            np.testing.assert_allclose(point, robot.fk(q, frame)[:3, 3], atol=1e-12)


@EVERY
def test_tool_jacobian_equals_finite_differences(name: str) -> None:
    robot = load_robot(name)
    chain, rng = chain_of(robot), np.random.default_rng(1)
    pose, J = pose_of(chain), np.zeros((6, len(robot.home)))
    for _ in range(10):
        q = random_q(robot, rng)
        forward(chain, q, pose)
        tool_jacobian(pose, J)
        for j in range(len(q)):
            ahead, behind = q.copy(), q.copy()
            ahead[j] += STEP
            behind[j] -= STEP
            A, B = robot.fk(ahead), robot.fk(behind)
            turn = se3.log_so3(A[:3, :3] @ B[:3, :3].T) / (2 * STEP)
            np.testing.assert_allclose(J[:3, j], (A[:3, 3] - B[:3, 3]) / (2 * STEP), atol=1e-7)
            np.testing.assert_allclose(J[3:, j], turn, atol=1e-7)


@EVERY
@pytest.mark.parametrize("which", [0, 1, 2])
def test_limb_jacobian_equals_finite_differences(name: str, which: int) -> None:
    robot = load_robot(name)
    chain, rng = chain_of(robot), np.random.default_rng(2)
    pose, J, point = pose_of(chain), np.zeros((3, len(robot.home))), np.zeros(3)
    ends = np.zeros((2, 3))
    for _ in range(5):
        q = random_q(robot, rng)
        forward(chain, q, pose)
        limb_point(chain, pose, which, point)
        limb_jacobian(chain, pose, which, point, J)
        for j in range(len(q)):
            for end, sign in enumerate((1, -1)):
                moved = q.copy()
                moved[j] += sign * STEP
                forward(chain, moved, pose)
                limb_point(chain, pose, which, ends[end])
            forward(chain, q, pose)
            np.testing.assert_allclose(J[:, j], (ends[0] - ends[1]) / (2 * STEP), atol=1e-7)


@EVERY
@pytest.mark.parametrize("limb", [0, 1])
def test_limb_gradient_equals_finite_differences(name: str, limb: int) -> None:
    robot = load_robot(name)
    chain, rng = chain_of(robot), np.random.default_rng(3)
    work = work_of(chain)

    def cost(q: np.ndarray, target: np.ndarray) -> float:
        forward(chain, q, work.pose)
        limb_direction(chain, work, limb, work.d)
        return float(0.5 * ((work.d - target) ** 2).sum())

    for _ in range(5):
        q, target = random_q(robot, rng), rng.normal(size=3)
        target /= np.linalg.norm(target)
        forward(chain, q, work.pose)
        work.g[:], work.H[:] = 0.0, 0.0
        add_limb(chain, work, limb, target, 1.0)
        gradient = work.g.copy()
        for j in range(len(q)):
            ahead, behind = q.copy(), q.copy()
            ahead[j] += STEP
            behind[j] -= STEP
            assert gradient[j] == pytest.approx((cost(ahead, target) - cost(behind, target)) / (2 * STEP), abs=1e-7)


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_self_motion_keeps_the_hand(name: str) -> None:
    robot = load_robot(name)
    chain, rng = chain_of(robot), np.random.default_rng(4)
    work, free = work_of(chain), np.zeros(7)
    for _ in range(20):
        q = random_q(robot, rng)
        forward(chain, q, work.pose)
        tool_jacobian(work.pose, work.J)
        self_motion(work, np.eye(7)[3], free)
        assert np.linalg.norm(free) == pytest.approx(1.0)
        np.testing.assert_allclose(work.J @ free, 0.0, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 0.3, 3.0, np.pi - 1e-4, np.pi])
def test_tool_error_is_the_logarithm_also_at_half_a_turn(angle: float) -> None:
    robot = load_robot("panda")
    chain = chain_of(robot)
    pose, error = pose_of(chain), np.zeros(6)
    forward(chain, robot.home, pose)
    axis = np.array([0.36, -0.48, 0.8])
    R = se3.exp_so3(axis * angle) @ pose.R[-1]
    tool_error(pose, np.ascontiguousarray(R), pose.p[-1] + [0.1, 0.2, -0.3], error)
    np.testing.assert_allclose(error[:3], [0.1, 0.2, -0.3], atol=1e-12)
    assert np.linalg.norm(error[3:]) == pytest.approx(angle, abs=1e-7)
    np.testing.assert_allclose(se3.exp_so3(error[3:]) @ pose.R[-1], R, atol=1e-7)


def same(a: np.ndarray, b: np.ndarray, periodic: np.ndarray) -> bool:
    d = np.abs(a - b)
    return bool(np.where(periodic, np.abs(d - 2 * np.pi * np.round(d / (2 * np.pi))), d).max() < 1e-5)


@EVERY
def test_solutions_contain_the_posture_that_made_the_pose(name: str) -> None:
    robot = load_robot(name)
    solver, rng = solver_of(robot), np.random.default_rng(5)
    for _ in range(100):
        q = random_q(robot, rng)
        if len(solver.values):
            solver = solver._replace(values=q[6:])
        T = robot.fk(q)
        found = solutions(solver, T)
        assert any(same(row, q, solver.periodic) for row in found)
        for row in found:
            np.testing.assert_allclose(robot.fk(row), T, atol=1e-9)


def test_panda_solutions_contain_those_of_frankik() -> None:
    robot, rng = load_robot("panda"), np.random.default_rng(6)
    T_flange_tcp = se3.inverse(robot.fk(robot.home, "panda_link8")) @ robot.fk(robot.home)
    compared = 0
    for _ in range(60):
        q = random_q(robot, rng)
        T = robot.fk(q)
        theirs = np.asarray(frankik.ik_full(np.asfortranarray(T @ se3.inverse(T_flange_tcp)), robot.home, q[6]))
        ours = solutions(solver_of(robot)._replace(values=q[6:]), T)
        for row in theirs[np.isfinite(theirs).all(axis=1)]:
            if ((row >= robot.lower) & (row <= robot.upper)).all():
                compared += 1
                assert np.abs(ours - row).max(axis=1).min() < 1e-5
    assert compared > 60


@pytest.mark.parametrize("name", ["ur5e", "ur10e"])
def test_ur_solutions_equal_those_of_ur_analytic_ik(name: str) -> None:
    analytic = getattr(pytest.importorskip("ur_analytic_ik", reason="has no wheel for this Python"), name)
    robot, rng = load_robot(name), np.random.default_rng(7)
    solver = solver_of(robot)
    T_wrist_tcp = se3.inverse(robot.fk(robot.home, "wrist_3_link")) @ robot.fk(robot.home)
    R_base = np.diag([-1.0, -1.0, 1.0, 1.0])  # the maker's controller counts from a base turned by half a turn
    compared = 0
    for _ in range(60):
        q = rng.uniform(-np.pi, np.pi, 6)
        T = robot.fk(q)
        theirs = analytic.inverse_kinematics(R_base @ T @ se3.inverse(T_wrist_tcp))
        ours = solutions(solver, T)
        for row in np.asarray(theirs).reshape(-1, 6):
            compared += 1
            assert any(same(mine, row, np.ones(6, bool)) for mine in ours)
    assert compared > 200


@EVERY
def test_any_arm_is_solved_numerically(name: str) -> None:
    robot = dataclasses.replace(load_robot(name), ik_family="numeric")
    solver, rng = solver_of(robot), np.random.default_rng(8)
    solved = 0
    for _ in range(12):
        T = robot.fk(np.clip(robot.home + rng.normal(0, 0.5, len(robot.home)), robot.lower, robot.upper))
        found = solutions(solver, T)
        solved += len(found) > 0
        for row in found:
            np.testing.assert_allclose(robot.fk(row), T, atol=1e-6)
            assert (row >= robot.lower).all() and (row <= robot.upper).all()
    assert solved == 12


@pytest.mark.long
@EVERY
def test_hand_first_meets_the_hand_inside_the_box(name: str) -> None:
    robot = load_robot(name)
    chain = chain_of(robot, 0.01)
    work, rng, exact = work_of(chain), np.random.default_rng(9), 0
    zero = np.zeros(len(robot.home))
    for _ in range(60):
        goal = np.clip(robot.home + rng.normal(0, 0.4, len(robot.home)), chain.lower, chain.upper)
        T = robot.fk(goal)
        q = np.clip(goal + rng.normal(0, 0.3, len(goal)), chain.lower, chain.upper)
        error = hand_first(
            chain, work, q, T[:3, :3].copy(), T[:3, 3].copy(), zero[:3], zero[:3], zero, Pull(0, 0, 0, 0, 0, 0, 0, 1.0),
            chain.lower, chain.upper, 0, 30, 1e-8,
        )  # fmt: skip
        exact += error < 1e-7
        assert (q >= chain.lower).all() and (q <= chain.upper).all()
        if error < 1e-7:
            np.testing.assert_allclose(robot.fk(q), T, atol=1e-6)
    assert exact >= 57


def test_hand_first_ends_at_the_nearest_pose_out_of_reach() -> None:
    robot = load_robot("ur5e")
    chain = chain_of(robot)
    work, zero, q = work_of(chain), np.zeros(6), robot.home.copy()
    T = robot.fk(q)
    far = np.array([2.0, 0.0, chain.p[0, 2]])
    for _ in range(3):
        hand_first(
            chain, work, q, T[:3, :3].copy(), far, zero[:3], zero[:3], zero, Pull(0, 0, 0, 0, 0, 0, 0, 1.0),
            chain.lower, chain.upper, 0, 200, 1e-8,
        )  # fmt: skip
    stretched = robot.fk(q)[:3, 3]
    assert np.linalg.norm(stretched - far) < 2.0 - 0.8, "the arm stretches towards what it cannot reach"
    assert np.isfinite(q).all()


def test_margin_that_leaves_no_range_is_refused() -> None:
    with pytest.raises(InvalidInput, match="leaves a joint without a range"):
        chain_of(load_robot("panda"), 1.6)


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_manipulability_is_the_volume_of_the_jacobian(name: str) -> None:
    robot = load_robot(name)
    chain = chain_of(robot)
    pose, J, S = pose_of(chain), np.zeros((6, len(robot.home))), np.zeros((6, 6))
    for q in np.random.default_rng(3).uniform(
        np.maximum(robot.lower, -3.0), np.minimum(robot.upper, 3.0), (20, len(robot.home))
    ):
        forward(chain, q, pose)
        tool_jacobian(pose, J)
        singular_values = np.linalg.svd(J, compute_uv=False)
        assert manipulability(J, S) == pytest.approx(np.prod(singular_values), rel=1e-9)


def test_a_singular_posture_costs_what_is_asked() -> None:
    """The UR's wrist is singular with joint 5 at zero: the solution there is as dear as any can be for that."""
    robot = load_robot("ur5e")
    solver = solver_of(robot)
    q = np.array(robot.home)
    q[4] = 0.0
    zero, none = np.zeros(3), BranchCosts(singular=0.0)
    costs = [price(solver, work_of(solver.chain), q, zero, zero, q, none._replace(singular=w)) for w in (0.0, 0.3)]
    assert costs[1] - costs[0] == pytest.approx(0.3, abs=1e-6)


def test_what_allocates_cannot_be_compiled_for_the_live_loop() -> None:
    def allocates(x):  # type: ignore[no-untyped-def]
        return (x + 1.0)[0]

    options = {key: value for key, value in LEAN.items() if key != "cache"}
    assert njit(nogil=True)(allocates)(np.zeros(2)) == 1.0
    with pytest.raises(NumbaError):
        njit(**options)(allocates)(np.zeros(2))
