"""The offline mapper finds the best path, the online one follows it; the prior only chooses, the hand stays exact."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.mapping import online
from visual_irl.mapping.branch_change import limb_end, tightness, unlikeness
from visual_irl.mapping.branch_path import BranchCosts, best_path, price, refined, step_cost, wound
from visual_irl.mapping.commanded_arm import gap_of
from visual_irl.mapping.hand_first import work_of
from visual_irl.mapping.offline import OfflineConfig, limb_errors, map_offline
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status, Steadiness
from visual_irl.mapping.placement import Placement, _free_candidates, calibrate_mount, placed_targets
from visual_irl.mapping.prior import prior_of
from visual_irl.mapping.prior_lessons import synthetic_arm
from visual_irl.mapping.smoothing import SmoothCosts, smoothed
from visual_irl.mapping.targets import ArmTargets, cut
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.chain import chain_of, forward, limb_point, pose_of
from visual_irl.robots.self_collision import FAR, OVERLAP, capsules_of, clearance, pair_distances
from visual_irl.robots.solutions import solutions, solver_of

EVERY = pytest.mark.parametrize("name", ROBOTS.names)


def targets_along(name: str, frames: int = 60, seed: int = 0) -> ArmTargets:
    """Targets that the arm itself reaches, moving smoothly from home; limbs as a person's would not quite be."""
    robot, rng = load_robot(name), np.random.default_rng(seed)
    t = np.arange(frames) / 60.0
    sway = rng.uniform(0.1, 0.3, len(robot.home)) * np.sin(rng.uniform(1.0, 4.0, len(robot.home)) * t[:, None])
    q = np.clip(robot.home + sway, robot.lower + 0.1, robot.upper - 0.1)
    Ts = np.array([robot.fk(row) for row in q])
    upper, fore = (np.tile(v / np.linalg.norm(v), (frames, 1)) for v in rng.normal(size=(2, 3)))
    return ArmTargets(t, Ts[:, :3, :3], Ts[:, :3, 3], upper, fore, np.tile(robot.home, (frames, 1)), np.zeros(frames, bool))


@pytest.mark.parametrize(("name", "frames"), [("ur5e", 4), ("panda", 2)])
def test_viterbi_finds_the_cheapest_path(name: str, frames: int) -> None:
    """Against all paths through a few frames."""
    robot, costs = load_robot(name), BranchCosts()
    solver = solver_of(robot)
    targets = cut(targets_along(name), slice(0, frames))
    work = work_of(solver.chain)
    options = [solutions(solver, np.block([[R, p[:, None]], [0, 0, 0, 1]])) for R, p in zip(targets.R, targets.p, strict=True)]

    def cost(path: list[np.ndarray]) -> float:
        parts = zip(path, targets.upper, targets.fore, targets.posture, strict=True)
        total = sum(price(solver, work, q, u, f, posture, costs) for q, u, f, posture in parts)
        return total + sum(step_cost(solver.periodic, a, b, costs, np.inf) for a, b in pairwise(path))

    def grown(paths: list[list[np.ndarray]], k: int) -> list[list[np.ndarray]]:
        return paths if k == len(options) else grown([[*path, q] for path in paths for q in options[k]], k + 1)

    cheapest = min(cost(path) for path in grown([[]], 0))
    found = best_path(solver, targets, costs)
    assert found.solved.all()
    assert cost(list(found.q)) == pytest.approx(cheapest)


def test_winding_is_continuous_and_inside_the_limits() -> None:
    path = np.linspace(-2.0, 6.0, 100)[:, None]
    folded = (path + np.pi) % (2 * np.pi) - np.pi
    limits = np.array([-2 * np.pi]), np.array([2 * np.pi])
    out = wound(folded, np.array([True]), *limits, np.zeros((100, 1)))
    assert np.abs(np.diff(out[:, 0])).max() < 0.1 and (np.abs(out) <= 2 * np.pi).all()
    far = np.linspace(-6.2, 7.0, 200)[:, None]  # more than the joint can wind: rewound once, still inside
    out = wound((far + np.pi) % (2 * np.pi) - np.pi, np.array([True]), *limits, np.zeros((200, 1)))
    assert (np.abs(out) <= 2 * np.pi).all()
    assert 1 <= (np.abs(np.diff(out[:, 0])) > 1.0).sum() <= 2
    np.testing.assert_allclose(np.cos(out), np.cos(far), atol=1e-9)


@EVERY
def test_offline_is_exact_and_continuous(name: str) -> None:
    robot, targets = load_robot(name), targets_along(name)
    path = map_offline(robot, targets, OfflineConfig())
    assert path.reachable.all() and path.exact.all() and path.joined[1:].all()
    assert path.position_error.max() < 1e-6 and path.rotation_error.max() < 1e-5
    assert (path.q >= robot.lower).all() and (path.q <= robot.upper).all()


@EVERY
def test_no_jump_where_a_continuous_path_exists(name: str) -> None:
    """Wide motions of the arm itself, which are continuous and have its own limbs: whoever jumps on them need not have."""
    robot = load_robot(name)
    capsules, chain, walked = capsules_of(robot), chain_of(robot), 0
    pose, t = pose_of(chain), np.arange(240) / 60.0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        sway = rng.uniform(0.2, 0.9, len(robot.home)) * np.sin(rng.uniform(0.5, 2.5, len(robot.home)) * t[:, None])
        q = np.clip(robot.home + sway, robot.lower + 0.05, robot.upper - 0.05)
        gaps = [(forward(chain, row, pose), clearance(capsules, pose))[1] for row in q]
        if min(gaps) < 0.02:  # near itself a path has reason to leave it
            continue
        walked += 1
        points = np.array(
            [
                [robot.fk(row, frame)[:3, 3] for frame in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)]
                for row in q
            ]
        )
        limbs = np.diff(points, axis=1) / np.linalg.norm(np.diff(points, axis=1), axis=2, keepdims=True)
        Ts = np.array([robot.fk(row) for row in q])
        targets = ArmTargets(t, Ts[:, :3, :3], Ts[:, :3, 3], limbs[:, 0], limbs[:, 1], q, np.zeros(240, bool))
        path = map_offline(robot, targets, OfflineConfig())
        assert path.exact.all()
        assert np.abs(np.diff(path.q, axis=0)).max() < max(0.2, 2.0 * np.abs(np.diff(q, axis=0)).max()), f"seed {seed}"
    assert walked >= 2


def test_a_path_off_the_grid_costs_less_and_stays_exact() -> None:
    robot, targets, costs = load_robot("panda"), targets_along("panda", 120, seed=3), BranchCosts()
    solver = solver_of(robot)
    work, grid = work_of(solver.chain), best_path(solver, targets, costs)

    def cost(q: np.ndarray) -> float:
        rows = zip(q, targets.upper, targets.fore, targets.posture, strict=True)
        steps = sum(step_cost(solver.periodic, a, b, costs, np.inf) for a, b in pairwise(q))
        return steps + sum(price(solver, work, row, u, f, posture, costs) for row, u, f, posture in rows)

    finer = refined(solver, targets, costs, grid, fixed=1)
    assert cost(finer.q) < cost(grid.q) - 1.0
    np.testing.assert_array_equal(finer.q[0], grid.q[0])
    for q, R, p in zip(finer.q, targets.R, targets.p, strict=True):
        np.testing.assert_allclose(robot.fk(q)[:3], np.column_stack([R, p]), atol=1e-9)


@EVERY
def test_a_motion_goes_on_from_where_the_arm_is(name: str) -> None:
    robot, targets = load_robot(name), targets_along(name)
    before = map_offline(robot, targets, OfflineConfig())
    middle = len(targets.t) // 2
    rest = cut(targets, slice(middle, len(targets.t)))
    after = map_offline(robot, rest, OfflineConfig(costs=BranchCosts(jump=1000.0)), q_start=before.q[middle])
    np.testing.assert_array_equal(after.q[0], before.q[middle])
    assert after.exact.all() and after.joined[1:].all()
    with pytest.raises(InvalidInput, match="plan it from there"):
        map_offline(robot, rest, OfflineConfig(), q_start=before.q[0])


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_smoothing_lowers_jerk_and_keeps_the_hand(name: str) -> None:
    robot, arm = load_robot(name), synthetic_arm(0)
    beside = (p for p in _free_candidates(arm, robot) if p.T_world_base[1, 2] < -0.99 and p.tool_yaw == np.pi)
    targets = cut(placed_targets(arm, robot, next(beside)), slice(0, 150))
    path = best_path(solver_of(robot), targets, BranchCosts())
    rough = path.q
    whole = np.nonzero(np.r_[True, path.solved[1:] & path.solved[:-1] & (np.abs(np.diff(rough, axis=0)).max(axis=1) < 0.6)])[0]
    run = max(np.split(whole, np.nonzero(np.diff(whole) > 1)[0] + 1), key=len)
    targets, rough = cut(targets, slice(run[0], run[-1] + 1)), rough[run[0] : run[-1] + 1]
    assert len(rough) > 40
    joined = np.r_[False, np.ones(len(rough) - 1, bool)]
    smooth = smoothed(solver_of(robot), targets, rough, joined, SmoothCosts())
    jerk = [float((np.diff(q, 3, axis=0) ** 2).mean()) for q in (rough, smooth)]
    assert jerk[1] < jerk[0]
    drawn = [smoothed(solver_of(robot), targets, rough, joined, SmoothCosts(upper=u, fore=1.0 / u)) for u in (4.0, 0.25)]
    (upper, fore), (upper_less, fore_more) = (limb_errors(robot, targets, q).mean(axis=0) for q in drawn)
    assert upper < upper_less and fore > fore_more  # each limb as its weight says
    for q, R, p in zip(smooth, targets.R, targets.p, strict=True):
        np.testing.assert_allclose(robot.fk(q)[:3], np.column_stack([R, p]), atol=1e-6)


def test_the_elbow_stands_where_the_arm_does_and_keeps_to_a_pace() -> None:
    """The hand rests, and the limbs swing to and fro along the arm's self-motion."""
    robot, frames, middle = load_robot("panda"), 60, 27
    solver = solver_of(robot)
    swing = np.tile(robot.home, (frames, 1))
    swing[:, 2] = 0.25 * np.sin(0.15 * np.arange(frames))
    pose, ends = pose_of(solver.chain), np.zeros((frames, 3, 3))
    for q, points in zip(swing, ends, strict=True):
        forward(solver.chain, q, pose)
        for point in range(3):
            limb_point(solver.chain, pose, point, points[point])
    upper, fore = (d / np.linalg.norm(d, axis=1, keepdims=True) for d in np.moveaxis(np.diff(ends, axis=1), 1, 0))
    T, home, joined = robot.fk(robot.home), np.tile(robot.home, (frames, 1)), np.r_[False, np.ones(frames - 1, bool)]
    targets = ArmTargets(
        np.arange(frames) / 40.0, np.tile(T[:3, :3], (frames, 1, 1)), np.tile(T[:3, 3], (frames, 1)), upper, fore, home,
        np.zeros(frames, bool),
    )  # fmt: skip
    costs, stands, pace = (
        SmoothCosts(jerk=1e4, haste=10.0),
        np.arange(frames) == middle,
        np.stack([robot.velocity, np.full(7, 2.0)]),
    )
    free, standing, paced = (
        smoothed(solver, targets, home, joined, costs, **how) for how in ({}, {"stands": stands}, {"pace": pace})
    )
    speed = [np.abs(q[middle + 1] - q[middle - 1]).max() for q in (free, standing)]
    assert speed[1] < 0.2 * speed[0]
    most = [float((np.abs(np.diff(q, 2, axis=0)).max(axis=0) * 40.0**2 / pace[1]).max()) for q in (free, paced)]
    assert most[0] > 1.5 and most[1] < 1.1
    for q in (*standing, *paced):
        np.testing.assert_allclose(robot.fk(q), T, atol=1e-6)
    assert np.abs(free - home).max() > 0.1, "the arm swings [rad]"


def test_smoothing_does_not_fold_the_arm_into_itself() -> None:
    """The hand rests; in the middle the limbs are those of a posture in which the arm meets itself, else of a free one."""
    robot, frames = load_robot("panda"), 40
    folded = np.array([2.27, 1.04, 0.25, -2.6, -1.7, 3.21, -0.03])
    solver, T = solver_of(robot), robot.fk(folded)
    pose, wanted, ends = pose_of(solver.chain), np.zeros((2, 2, 3)), np.zeros((3, 3))

    def gap(q: np.ndarray) -> float:
        forward(solver.chain, q, pose)
        return clearance(solver.capsules, pose)

    beside, farther = sorted((q for q in solutions(solver, T) if gap(q) > 0.0), key=lambda q: np.abs(q - folded).max())[:2]
    for k, q in enumerate((farther, folded)):
        forward(solver.chain, q, pose)
        for point in range(3):
            limb_point(solver.chain, pose, point, ends[point])
        limbs = np.diff(ends, axis=0)
        wanted[k] = limbs / np.linalg.norm(limbs, axis=1, keepdims=True)
    middle = np.exp(-(((np.arange(frames) - 20) / 8.0) ** 2))[:, None, None]
    asked = (1.0 - middle) * wanted[0] + middle * wanted[1]
    asked /= np.linalg.norm(asked, axis=2, keepdims=True)
    targets = ArmTargets(
        np.arange(frames) / 60.0, np.tile(T[:3, :3], (frames, 1, 1)), np.tile(T[:3, 3], (frames, 1)), asked[:, 0], asked[:, 1],
        np.tile(beside, (frames, 1)), np.zeros(frames, bool),
    )  # fmt: skip
    joined = np.r_[False, np.ones(frames - 1, bool)]
    smooth = smoothed(solver, targets, np.tile(beside, (frames, 1)), joined, SmoothCosts())
    assert gap(folded) < -2.0 * OVERLAP < 0.0 < gap(beside)
    assert min(gap(q) for q in smooth) >= -OVERLAP
    assert np.abs(smooth - beside).max() > 0.02, "frames that would not fold are smoothed"
    assert np.abs(np.diff(smooth, 3, axis=0)).max() < 1e-3, "frames at the bound are not left behind as kinks [rad]"


@EVERY
def test_unreachable_frames_are_said_and_the_others_stay_exact(name: str) -> None:
    robot, targets = load_robot(name), targets_along(name)
    p = targets.p.copy()
    p[20:30] += [0.0, 0.0, 5.0]
    path = map_offline(robot, replace(targets, p=p), OfflineConfig())
    assert not path.reachable[20:30].any() and path.reachable[:20].all() and path.reachable[30:].all()
    assert path.exact[:20].all() and path.exact[30:].all() and not path.exact[20:30].any()
    assert 3.0 < path.position_error[25] < 5.5, "the nearest pose, with how far off it is"


def test_targets_that_are_not_finite_are_refused_with_the_frame() -> None:
    targets = targets_along("panda", 10)
    p = targets.p.copy()
    p[7, 1] = np.nan
    with pytest.raises(InvalidInput, match=r"not finite in 1 of 10 frames, first in frame 7 \(p\)"):
        ArmTargets(targets.t, targets.R, p, targets.upper, targets.fore, targets.posture, targets.start)


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


@EVERY
def test_limbs_are_weighed_without_the_frames_of_all_joints(name: str) -> None:
    robot, rng = load_robot(name), np.random.default_rng(3)
    chain, costs = chain_of(robot), BranchCosts(upper=2.0, fore=3.0)
    work, ends, point = work_of(chain), np.empty((3, 3)), np.empty(3)
    for q in rng.uniform(robot.lower, robot.upper, (20, len(robot.home))):
        forward(chain, q, work.pose)
        for which in range(3):
            limb_end(chain, q, which, ends[which])
            limb_point(chain, work.pose, which, point)
            np.testing.assert_allclose(ends[which], point, atol=1e-12)
        upper, fore = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        d = np.diff(ends, axis=0) / np.linalg.norm(np.diff(ends, axis=0), axis=1)[:, None]
        expected = 2.0 * ((d[0] - upper) ** 2).sum() + 3.0 * ((d[1] - fore) ** 2).sum()
        assert unlikeness(chain, work, q, upper, fore, costs) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ["ur5e", "ur10e"])
def test_an_arm_without_a_redundant_joint_leaves_a_branch_that_has_cost_more(name: str) -> None:
    """It is put with its elbow on the wrong side of a hand that rests: it stays for a while, goes once, and not back."""
    robot = load_robot(name)
    q = np.array([0.0, -1.9, 1.2, -0.9, -1.57, 0.0])
    work = work_of(chain_of(robot))
    shoulder, elbow, wrist = (np.empty(3) for _ in range(3))
    for which, point in enumerate((shoulder, elbow, wrist)):
        limb_end(chain_of(robot), q, which, point)
    upper, fore = ((b - a) / np.linalg.norm(b - a) for a, b in ((shoulder, elbow), (elbow, wrist)))
    T = robot.fk(q)
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


@EVERY
def test_where_only_a_folded_arm_would_reach_is_out_of_reach(name: str) -> None:
    """The hand is led into the arm's own foot: in no frame does the path enter the arm, and not all of them are reached."""
    robot = load_robot(name)
    capsules, chain = capsules_of(robot), chain_of(robot)
    pose, T = pose_of(chain), robot.fk(robot.home)
    share = np.linspace(1.0, 0.0, 60)[:, None]
    targets = targets_along(name)
    targets = replace(targets, R=np.tile(T[:3, :3], (60, 1, 1)), p=share * T[:3, 3])
    path = map_offline(robot, targets, OfflineConfig())
    assert path.reachable[0] and not path.reachable.all() and path.exact[path.reachable].all()
    for q in path.q[~path.reachable]:
        forward(chain, q, pose)
        assert clearance(capsules, pose) > -OVERLAP - 1e-3


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


def test_capsules_agree_with_coal_on_spheres_and_tell_folded_arms() -> None:
    robot = load_robot("panda")
    capsules, chain = capsules_of(robot), chain_of(robot)
    pose = pose_of(chain)
    forward(chain, robot.home, pose)
    assert clearance(capsules, pose) > 0.0
    folded = np.array([0.0, 1.7, 0.0, -3.0, 0.0, 0.3, 0.0])
    forward(chain, folded, pose)
    assert clearance(capsules, pose) < 0.0


@EVERY
def test_links_that_are_far_apart_are_passed_over_without_loss(name: str) -> None:
    """The clearance is the smallest of all pairs' distances."""
    robot = load_robot(name)
    capsules, chain = capsules_of(robot), chain_of(robot)
    pose, every = pose_of(chain), np.empty(len(capsules_of(robot).pairs))
    for q in np.random.default_rng(0).uniform(
        np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi), (200, len(robot.home))
    ):
        forward(chain, q, pose)
        pair_distances(capsules, pose, every)
        for far in (FAR, 0.02, -0.005):
            assert clearance(capsules, pose, far) == pytest.approx(min(far, every.min()), abs=1e-12)


def test_calibration_reaches_and_keeps_objects_unscaled() -> None:
    robot, arm = load_robot("ur5e"), synthetic_arm(2)
    free = calibrate_mount(arm, robot, free=True)
    targets = placed_targets(arm, robot, free)
    assert free.reachable > 0.9
    assert map_offline(robot, targets, OfflineConfig()).reachable.mean() == pytest.approx(free.reachable, abs=0.02)
    fixed = calibrate_mount(arm, robot, free=False)
    assert fixed.arm_scale is None and fixed.T_world_base[2, 2] == pytest.approx(1.0)
    world = placed_targets(arm, robot, Placement(np.eye(4), 0.0, None, 0.0, 1.0))
    np.testing.assert_allclose(world.p, arm.Ts_world_hand[:, :3, 3])


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_limb_errors_are_the_angles_of_pinocchios_points(name: str) -> None:
    robot, targets = load_robot(name), targets_along(name, 5)
    q = np.tile(robot.home, (5, 1))
    points = [robot.fk(robot.home, f)[:3, 3] for f in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)]
    for limb, wanted in enumerate((targets.upper[0], targets.fore[0])):
        d = points[limb + 1] - points[limb]
        angle = np.arccos(d @ wanted / np.linalg.norm(d))
        np.testing.assert_allclose(limb_errors(robot, targets, q)[:, limb], angle, atol=1e-9)
