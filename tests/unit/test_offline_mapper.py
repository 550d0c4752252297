"""The offline mapper: exact and continuous where an arm can be so, smooth, and plain about what is out of reach."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reached_targets import targets_along
from visual_irl.errors import InvalidInput
from visual_irl.mapping import placement as placement_module
from visual_irl.mapping.branch_path import BranchCosts, best_path
from visual_irl.mapping.offline import OfflineConfig, limb_errors, map_offline
from visual_irl.mapping.placement import Placement, _free_candidates, _nudged, calibrate_mount, placed_targets
from visual_irl.mapping.prior_lessons import synthetic_arm
from visual_irl.mapping.smoothing import SmoothCosts, smoothed
from visual_irl.mapping.targets import ArmTargets, cut
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.chain import chain_of, forward, limb_point, pose_of
from visual_irl.robots.self_collision import OVERLAP, capsules_of, clearance
from visual_irl.robots.solutions import solutions, solver_of

EVERY = pytest.mark.parametrize("name", ROBOTS.names)


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


@pytest.mark.parametrize(("free", "seed"), [(True, 8), (False, 0)], ids=["free", "workspace"])
def test_a_placement_off_the_grid_is_better_in_one_way_and_worse_in_none(
    free: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot, arm = load_robot("ur5e"), synthetic_arm(seed)

    def finished(placement: Placement) -> tuple[float, float, float]:
        targets = placed_targets(arm, robot, placement)
        path = map_offline(robot, targets, OfflineConfig(beside=False))
        jumps = (np.abs(np.diff(path.q, axis=0)).max(axis=1) > 0.2).sum()
        return (
            float((~path.reachable).mean()),
            float((limb_errors(robot, targets, path.q) ** 2).sum(axis=1).mean()),
            float(jumps),
        )

    off_grid = finished(calibrate_mount(arm, robot, free))
    monkeypatch.setattr(placement_module, "NUDGES", ())
    on_grid = finished(calibrate_mount(arm, robot, free))
    assert off_grid != on_grid
    assert all(a <= b + 1e-12 for a, b in zip(off_grid, on_grid, strict=True))


def test_nudges_turn_a_free_base_about_the_shoulder_and_keep_a_workspaces_upright() -> None:
    robot, arm = load_robot("panda"), synthetic_arm(2)
    at = Placement(next(iter(_free_candidates(arm, robot))).T_world_base, 0.3, 1.0, 0.1, 1.0)
    shoulder = np.append(robot.fk(robot.home, robot.shoulder_frame)[:3, 3], 1.0)
    turned = list(_nudged(at, robot, free=True, turn_tool=True, size=1.0))
    assert len(turned) == 8 and {p.tool_yaw for p in turned} == {0.3, 0.3 + np.pi / 8, 0.3 - np.pi / 8}
    for p in turned:
        np.testing.assert_allclose(p.T_world_base @ shoulder, at.T_world_base @ shoulder, atol=1e-12)
    upright = Placement(np.eye(4), 0.0, None, 0.0, 1.0)
    moved = list(_nudged(upright, robot, free=False, turn_tool=False, size=0.5))
    assert len(moved) == 6 and all(p.tool_yaw == 0.0 for p in moved)
    assert all(p.T_world_base[2, 2] == 1.0 and p.T_world_base[2, 3] == 0.0 for p in moved)
    assert len(list(_nudged(upright, load_robot("ur5e"), free=False, turn_tool=True, size=0.5))) == 4, (
        "joints that turn endlessly"
    )


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_limb_errors_are_the_angles_of_pinocchios_points(name: str) -> None:
    robot, targets = load_robot(name), targets_along(name, 5)
    q = np.tile(robot.home, (5, 1))
    points = [robot.fk(robot.home, f)[:3, 3] for f in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)]
    for limb, wanted in enumerate((targets.upper[0], targets.fore[0])):
        d = points[limb + 1] - points[limb]
        angle = np.arccos(d @ wanted / np.linalg.norm(d))
        np.testing.assert_allclose(limb_errors(robot, targets, q)[:, limb], angle, atol=1e-9)
