"""The online mapper: the hand exact, steady, and onto another branch where one ends; the prior only chooses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reached_targets import targets_along
from visual_irl.mapping import online
from visual_irl.mapping.branch_change import limb_ends, tightness, unlikeness
from visual_irl.mapping.branch_path import BranchCosts, step_cost
from visual_irl.mapping.branch_watch import LASTING
from visual_irl.mapping.commanded_arm import gap_of
from visual_irl.mapping.hand_first import work_of
from visual_irl.mapping.offline import OfflineConfig, map_offline
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status, Steadiness
from visual_irl.mapping.prior import prior_of
from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.chain import chain_of, forward, limb_point, pose_of
from visual_irl.robots.self_collision import OVERLAP, capsules_of, clearance
from visual_irl.robots.solutions import solutions, solver_of

EVERY = pytest.mark.parametrize("name", ROBOTS.names)


@EVERY
def test_online_follows_with_and_without_prior(name: str) -> None:
    robot, targets = load_robot(name), targets_along(name)
    reference = map_offline(robot, targets, OfflineConfig())
    for prior in (None, prior_of(robot)):
        mapper = OnlineMapper(robot, OnlineConfig(speed_share=np.inf), prior)
        mapper.reset(mapper.best_start(targets.R[0], targets.p[0], targets.upper[0], targets.fore[0], targets.posture[0]))
        for k in range(len(targets.t)):
            status = mapper.step(targets.R[k], targets.p[k], targets.upper[k], targets.fore[k], True, 1 / 60)
            assert status == Status.TRACKING and mapper.hand_error < 1e-3
            T = robot.fk(mapper.q)
            assert np.linalg.norm(T[:3, 3] - targets.p[k]) < 1e-3
    assert reference.exact.all()


def followed(name: str, targets: ArmTargets, start: np.ndarray, config: OnlineConfig) -> np.ndarray:
    """Joints (T, J) of a live arm without inertia and with its prior."""
    mapper = OnlineMapper(load_robot(name), config, prior_of(load_robot(name)))
    mapper.reset(start)
    q = np.empty((len(targets.t), len(start)))
    for k in range(len(q)):
        mapper.step(targets.R[k], targets.p[k], targets.upper[k], targets.fore[k], True, 1 / 60)
        q[k] = mapper.q
    return q


def test_steadiness_calms_a_redundant_arm_and_leaves_the_others_alone() -> None:
    """The person's limbs rest as the arm's do at home, seen with a camera's noise, which moves the arm beside its hand."""
    off = Steadiness(stride=np.inf, inertia=0.0, rest=0.3)
    restless, steady = OnlineConfig(speed_share=np.inf, steadiness=off), OnlineConfig(speed_share=np.inf)
    robot, targets = load_robot("panda"), targets_along("panda", 240)
    shoulder, elbow, wrist = (
        robot.fk(robot.home, frame)[:3, 3] for frame in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)
    )
    noise = np.random.default_rng(0).normal(0.0, 0.05, (2, 240, 3))
    limbs = np.stack([elbow - shoulder, wrist - elbow])[:, None]
    upper, fore = limbs / np.linalg.norm(limbs, axis=2, keepdims=True) + noise
    upper, fore = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (upper, fore))
    targets = replace(targets, upper=upper, fore=fore)
    start = map_offline(robot, targets, OfflineConfig()).q[0]
    jerk = [np.sqrt((np.diff(followed("panda", targets, start, c), 3, axis=0) ** 2).mean()) for c in (restless, steady)]
    assert jerk[1] < 0.5 * jerk[0]
    targets = targets_along("ur5e", 60)
    start = map_offline(load_robot("ur5e"), targets, OfflineConfig()).q[0]
    np.testing.assert_array_equal(followed("ur5e", targets, start, steady), followed("ur5e", targets, start, restless))


def test_online_changes_branch_where_one_ends() -> None:
    """Joint 7 is driven to its limit by a hand that keeps turning: only another branch goes on."""
    robot = load_robot("panda")
    mapper = OnlineMapper(robot, OnlineConfig(speed_share=np.inf))
    mapper.reset(robot.home)
    T, before, changes = robot.fk(robot.home), robot.home, 0
    for k in range(300):
        c, s = np.cos(0.02 * k), np.sin(0.02 * k)
        R = T[:3, :3] @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])
        status = mapper.step(R, T[:3, 3], np.zeros(3), np.zeros(3), True, 1 / 60)
        assert status == Status.TRACKING
        changes += bool(np.abs(mapper.q - before).max() > 0.6)
        before = mapper.q.copy()
    assert 1 <= changes <= 5


def test_online_lands_on_the_most_human_solution_when_the_hand_leaps() -> None:
    """What the steps for the hand alone run into is a branch by chance."""
    robot, rng, costs = load_robot("panda"), np.random.default_rng(0), OnlineConfig().costs
    mapper, solver = OnlineMapper(robot, OnlineConfig(speed_share=np.inf)), solver_of(robot, OnlineConfig().margin)
    every_other = solver._replace(values=solver.values[::2].copy())
    work, leaps = work_of(solver.chain), 0
    for _ in range(20):
        T = robot.fk(np.clip(robot.home + rng.uniform(-1.0, 1.0, 7), robot.lower, robot.upper))
        upper, fore = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))

        def cost(q: np.ndarray, u: np.ndarray = upper, f: np.ndarray = fore) -> float:
            way = step_cost(solver.periodic, robot.home, q, costs, np.inf)
            return unlikeness(solver.chain, work, q, u, f, costs) + tightness(solver, q, costs) + way

        free = [q for q in solutions(every_other, T) if gap_of(solver, work, q) >= 0.0]
        mapper.reset(robot.home)
        status = mapper.step(T[:3, :3], T[:3, 3], upper, fore, True, 1 / 60)
        if free and np.abs(mapper.q - robot.home).max() > 0.6:
            leaps += 1
            assert status == Status.TRACKING
            assert cost(mapper.q) == pytest.approx(min(map(cost, free)))
    assert leaps > 10


def landings_where_all_overlap(seed: int, tries: int, most: float, least: float, wanted: int) -> int:
    """How many hands are met, of random ones whose every solution on the grid has capsules that overlap, the best one's by so
    much [m]; each of them must be, by a posture in which they overlap no more than on a branch that is kept."""
    robot, rng = load_robot("panda"), np.random.default_rng(seed)
    mapper, solver = OnlineMapper(robot, OnlineConfig(speed_share=np.inf)), solver_of(robot, OnlineConfig().margin)
    work, landed = work_of(solver.chain), 0
    for q in rng.uniform(solver.chain.lower, solver.chain.upper, (tries, 7)):
        if -OVERLAP < gap_of(solver, work, q) < 0.0:
            T = robot.fk(q)
            gaps = [gap_of(solver, work, found) for found in solutions(solver, T)]
            if -most < max(gaps, default=-np.inf) < -least:
                mapper.reset(robot.home)
                assert mapper.step(T[:3, :3], T[:3, 3], np.zeros(3), np.zeros(3), True, 1 / 60) == Status.TRACKING
                assert gap_of(solver, work, mapper.q.copy()) >= -OVERLAP
                landed += 1
                if landed == wanted:
                    break
    return landed


def test_online_lands_on_capsules_that_touch_where_no_solution_is_clear() -> None:
    """They are thicker than the links; a branch is kept with as much overlap, and offline takes such a solution, too."""
    assert landings_where_all_overlap(seed=1, tries=4000, most=OVERLAP, least=0.0, wanted=6) == 6


def test_online_looks_between_the_angles_of_joint_7_where_all_overlap_a_little_too_much() -> None:
    """Offline reaches such hands on its way between the angles."""
    assert landings_where_all_overlap(seed=6, tries=12000, most=1.25 * OVERLAP, least=OVERLAP, wanted=3) == 3


@EVERY
def test_a_hand_out_of_reach_is_approached_without_a_jump(name: str) -> None:
    robot = load_robot(name)
    mapper = OnlineMapper(robot, OnlineConfig(speed_share=np.inf))
    mapper.reset(robot.home)
    T, path, away = robot.fk(robot.home), [robot.home], []
    p = T[:3, 3] + np.array([0.3, 1.5, 0.3])
    for _ in range(60):
        assert mapper.step(T[:3, :3], p, np.zeros(3), np.zeros(3), True, 1 / 60) == Status.UNREACHABLE
        path.append(mapper.q.copy())
        away.append(float(np.linalg.norm(robot.fk(mapper.q)[:3, 3] - p)))
    assert np.abs(np.diff(path, axis=0)).max() <= Steadiness().approach + 1e-9
    assert away[-1] < away[0] - 0.1


@EVERY
def test_limbs_are_weighed_without_the_frames_of_all_joints(name: str) -> None:
    robot, rng = load_robot(name), np.random.default_rng(3)
    chain, costs = chain_of(robot), BranchCosts(upper=2.0, fore=3.0)
    work, ends, point = work_of(chain), np.empty((3, 3)), np.empty(3)
    for q in rng.uniform(robot.lower, robot.upper, (20, len(robot.home))):
        forward(chain, q, work.pose)
        limb_ends(chain, q, ends)
        for which in range(3):
            limb_point(chain, work.pose, which, point)
            np.testing.assert_allclose(ends[which], point, atol=1e-12)
        upper, fore = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        d = np.diff(ends, axis=0) / np.linalg.norm(np.diff(ends, axis=0), axis=1)[:, None]
        expected = 2.0 * ((d[0] - upper) ** 2).sum() + 3.0 * ((d[1] - fore) ** 2).sum()
        assert unlikeness(chain, work, q, upper, fore, costs) == pytest.approx(expected, abs=1e-9)


def resting_limbs(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Angles of an arm of six joints, and its limbs' directions there."""
    q, chain = np.array([0.0, -1.9, 1.2, -0.9, -1.57, 0.0]), chain_of(load_robot(name))
    shoulder, elbow, wrist = ends = np.empty((3, 3))
    limb_ends(chain, q, ends)
    upper, fore = ((b - a) / np.linalg.norm(b - a) for a, b in ((shoulder, elbow), (elbow, wrist)))
    return q, upper, fore


@pytest.mark.parametrize("name", ["ur5e", "ur10e"])
def test_an_arm_without_a_redundant_joint_leaves_a_branch_that_has_cost_more(name: str) -> None:
    """It is put with its elbow on the wrong side of a hand that rests: it stays for a while, goes once, and not back."""
    robot, (q, upper, fore) = load_robot(name), resting_limbs(name)
    work, T = work_of(chain_of(robot)), robot.fk(q)
    found = [s for s in solutions(solver_of(robot), T) if np.abs(s - q).max() > 0.6]
    worst = max(found, key=lambda s: unlikeness(chain_of(robot), work, s, upper, fore, BranchCosts()))
    for seconds, wanted in ((120.0, 1), (0.05, 0)):
        mapper, changes = OnlineMapper(robot, OnlineConfig(speed_share=np.inf)), []
        mapper.reset(worst)
        before = mapper.q.copy()
        for k in range(min(int(60 * seconds), 1200)):
            assert mapper.step(T[:3, :3], T[:3, 3], upper, fore, True, 1 / 60) == Status.TRACKING
            if np.abs(mapper.q - before).max() > 0.2:
                changes.append(k)
            before = mapper.q.copy()
        assert len(changes) == wanted
    assert unlikeness(chain_of(robot), work, before, upper, fore, BranchCosts()) > 0.1  # the last one had no time to go


def test_it_leaves_as_soon_as_what_has_been_and_what_is_expected_pays_for_the_way() -> None:
    robot, (rest, upper, fore) = load_robot("ur5e"), resting_limbs("ur5e")
    solver, costs, T = solver_of(robot, OnlineConfig().margin), OnlineConfig().fixed_costs, robot.fk(rest)
    work = work_of(solver.chain)
    found = [q for q in solutions(solver, T) if gap_of(solver, work, q) >= 0.0]
    now = np.array([unlikeness(solver.chain, work, q, upper, fore, costs) + tightness(solver, q, costs) for q in found])
    way = np.array([[step_cost(solver.periodic, a, b, costs, np.inf) for b in found] for a in found])
    own, frames = int(np.argmax(now)), 1
    total = way[own] + now
    while (total + LASTING * now + way[own]).argmin() == own:
        total, frames = (total[:, None] + way).min(axis=0) + now, frames + 1
    mapper, stayed = OnlineMapper(robot, OnlineConfig(speed_share=np.inf)), 0
    mapper.reset(found[own])
    while np.abs(mapper.q - found[own]).max() < 0.2:
        mapper.step(T[:3, :3], T[:3, 3], upper, fore, True, 1 / 60)
        stayed += 1
    assert stayed == frames > 2


@EVERY
def test_online_arm_never_enters_itself(name: str) -> None:
    robot = load_robot(name)
    capsules, chain = capsules_of(robot), chain_of(robot)
    pose = pose_of(chain)
    mapper = OnlineMapper(robot, OnlineConfig())
    mapper.reset(robot.home)
    R, start = robot.fk(robot.home)[:3, :3], robot.fk(robot.home)[:3, 3]
    for k in range(400):  # the hand is led into the arm's own foot
        mapper.step(R, start * (1.0 - min(k / 300.0, 1.0)), np.zeros(3), np.zeros(3), True, 1 / 60)
        forward(chain, mapper.q, pose)
        assert clearance(capsules, pose) > 0.0, f"frame {k}"


def test_a_step_is_compiled_once_whatever_the_arrays_that_are_handed_over() -> None:
    for name in ("panda", "ur5e"):
        robot = load_robot(name)
        T = robot.fk(robot.home)
        for prior in (None, prior_of(robot)):
            mapper = OnlineMapper(robot, OnlineConfig(), prior)
            mapper.reset(robot.home)
            for R in (T[:3, :3], np.asfortranarray(T[:3, :3]), T[:3, :3].astype(np.float32)):
                mapper.step(R, T[:3, 3], np.zeros(3), np.zeros(3), True, 1 / 60)
    assert len(online._step.signatures) == 1
