"""A live arm over a still hand comes to rest: it swings through no optimum, and stands before it would meet itself."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
import pytest
from numba import njit
from numpy import ndarray

from visual_irl.mapping.commanded_arm import gap_at
from visual_irl.mapping.hand_first import Pull, hand_first, limb_direction, self_motion, work_of
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status
from visual_irl.robots import load_robot
from visual_irl.robots.chain import forward, tool_jacobian
from visual_irl.robots.model import RobotModel
from visual_irl.robots.self_collision import OVERLAP, clearance
from visual_irl.robots.solutions import Solver, solver_of

ALONE = Pull(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


def apart(solver: Solver, q: ndarray) -> float:
    """Distance of the arm to itself [m]."""
    pose = solver.pose
    forward(solver.chain, q, pose)
    return clearance(solver.capsules, pose)


@njit
@no_type_check
def _first_drawn(solver, work, postures, alone, limbs, free, pulling, finishing):
    """The first of the postures (N, J) that meets itself, and does not beside on its self-motion: it is moved there. Compiled:
    that takes thousands of steps, whose calls from Python had taken nearly all the time of these tests."""
    chain = solver.chain
    for k in range(len(postures)):
        q = postures[k]
        forward(chain, q, work.pose)
        if not -0.06 < clearance(solver.capsules, work.pose) < -0.03:
            continue
        R, p = work.pose.R[-1].copy(), work.pose.p[-1].copy()
        limb_direction(chain, work, pulling, limbs[0])
        limb_direction(chain, work, pulling + 1, limbs[1])
        free[:] = 1.0
        for _ in range(60):
            tool_jacobian(work.pose, work.J)
            self_motion(work, free.copy(), free)
            q += 0.03 * free
            error = hand_first(
                chain, work, q, R, p, limbs[0], limbs[1], q.copy(), alone, chain.lower, chain.upper, pulling, finishing, 1e-8
            )
            if error > 1e-7:
                break
            forward(chain, q, work.pose)
            if clearance(solver.capsules, work.pose) > 0.005:
                return k, R, p
    return -1, np.zeros((3, 3)), np.zeros(3)


def drawn_into_itself(robot: RobotModel, rng: np.random.Generator) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Joints in which the arm does not meet itself, the hand's pose, and the limbs of a posture beside it in which it does."""
    solver = solver_of(robot, 0.01)
    chain, limbs = solver.chain, np.zeros((2, 3))
    while True:
        postures = rng.uniform(chain.lower, chain.upper, (1000, 7))
        k, R, p = _first_drawn(solver, work_of(chain), postures, ALONE, limbs, np.ones(7), 0, 8)
        if k >= 0:
            return postures[k], R, p, limbs


@pytest.mark.parametrize("fps", [30.0, 60.0, 100.0])
def test_the_elbow_goes_to_the_limbs_optimum_and_no_farther(fps: float) -> None:
    robot = load_robot("panda")
    solver = solver_of(robot)
    chain, work, limbs, q, free = solver.chain, work_of(solver.chain), np.zeros((2, 3)), robot.home.copy(), np.ones(7)
    T = robot.fk(robot.home)
    R, p = np.ascontiguousarray(T[:3, :3]), T[:3, 3].copy()
    for _ in range(8):  # 0.4 rad along the self-motion
        forward(chain, q, work.pose)
        tool_jacobian(work.pose, work.J)
        self_motion(work, free.copy(), free)
        q = q + 0.05 * free
        hand_first(chain, work, q, R, p, *limbs, q.copy(), ALONE, chain.lower, chain.upper, 0, 8, 1e-8)
    forward(chain, q, work.pose)
    for limb in range(2):
        limb_direction(chain, work, limb, limbs[limb])
    mapper = OnlineMapper(robot, OnlineConfig(speed_share=np.inf))
    mapper.reset(robot.home)
    path = [robot.home]
    for _ in range(int(4.0 * fps)):
        mapper.step(R, p, *limbs, True, 1.0 / fps)
        path.append(mapper.q.copy())
    way, net = np.abs(np.diff(path, axis=0)).sum(), np.abs(path[-1] - path[0]).sum()
    assert np.abs(path[-1] - q).max() < 0.1
    assert way < 1.5 * net, f"{way:.2f} rad of way for {net:.2f}"


@pytest.mark.long
@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_a_still_hand_keeps_an_arm_that_is_drawn_into_itself_still(name: str) -> None:
    robot, rng = load_robot(name), np.random.default_rng(1)
    solver, mapper = solver_of(robot), OnlineMapper(robot, OnlineConfig(speed_share=np.inf))
    for _ in range(8):
        q, R, p, limbs = drawn_into_itself(robot, rng)
        mapper.reset(q)
        path = [q]
        for _ in range(240):
            assert mapper.step(R, p, *limbs, True, 1 / 60) == Status.TRACKING
            path.append(mapper.q.copy())
        assert np.abs(np.diff(path, axis=0)).max() < 0.2
        assert np.abs(np.diff(path[-5:], axis=0)).max() < 2e-3
        assert apart(solver, path[-1]) >= -OVERLAP


def test_a_moving_hand_takes_it_along_its_own_edge() -> None:
    """Where the edge moves into the arm, it goes along its self-motion and stays out; before, 252 of these steps were jumps."""
    robot, rng = load_robot("panda"), np.random.default_rng(0)
    mapper, jumps = OnlineMapper(robot, OnlineConfig(speed_share=np.inf)), 0
    for _ in range(12):
        q, R, p, limbs = drawn_into_itself(robot, rng)
        mapper.reset(q)
        before = q
        for k in range(180):
            status = mapper.step(R, p + [0.0, 0.01 * np.sin(k / 20.0), 0.0], *limbs, True, 1 / 60)
            assert status in (Status.TRACKING, Status.UNREACHABLE)
            jumps += np.abs(mapper.q - before).max() > 0.2
            before = mapper.q.copy()
    assert jumps <= 2


def test_the_distance_to_itself_is_asked_for_where_the_hand_is_met() -> None:
    """There the pose that the steps left is that of the joints; where the hand is nearly met it is not, and is found anew."""
    robot, rng, tolerance = load_robot("panda"), np.random.default_rng(1), 2e-5
    solver = solver_of(robot, 0.01)
    chain, work, seen = solver.chain, work_of(solver.chain), [0, 0]
    u = np.zeros(3)
    while min(seen) < 20:
        goal = rng.uniform(chain.lower, chain.upper)
        forward(chain, goal, work.pose)
        R, p, q = (
            work.pose.R[-1].copy(),
            work.pose.p[-1].copy(),
            np.clip(goal + rng.normal(0.0, 0.1, 7), chain.lower, chain.upper),
        )
        steps = int(rng.integers(2, 6))
        error = hand_first(chain, work, q, R, p, u, u, q.copy(), ALONE, chain.lower, chain.upper, 0, steps, tolerance)
        gap = gap_at(solver, work, q, error, tolerance)
        if error <= 30.0 * tolerance:
            assert gap == apart(solver, q)
            seen[int(error > tolerance)] += 1
        else:
            assert gap == -np.inf
