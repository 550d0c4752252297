"""The mapping benchmark: its figures on joint angles with known answers, its result file, its rivals, its errors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import MissingDependency, MissingFile
from visual_irl.evaluation import mapping_peers
from visual_irl.evaluation.benchmarks import mapping_bench
from visual_irl.evaluation.benchmarks.mapping_bench import (
    METHODS,
    OFFLINE,
    SYMBOLIC,
    MappingBench,
    bench_mapping,
    follow_in_turns,
)
from visual_irl.evaluation.benchmarks.mapping_score import Samples, figures, measure, pooled
from visual_irl.evaluation.mapping_peers import PEERS, Target
from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel

RATE = 60.0
FIGURES = {
    "ok", "pos_mm_median", "pos_mm_p95", "pos_mm_max", "upper_deg", "fore_deg", "jerk_rms", "jumps", "limit_violations",
    "us_p50", "us_p99", "jerk_relative", "jerk_rms_between_jumps", "avoidable_jumps", "way_relative",
}  # fmt: skip
REASON = "an optional rival of the benchmark: install the extra 'bench'"


def targets_at(robot: RobotModel, q: np.ndarray, start: np.ndarray | None = None) -> ArmTargets:
    """Targets that joint angles meet exactly, hand and limbs, from Pinocchio's kinematics."""
    Ts = np.array([robot.fk(row) for row in q])
    shoulder, elbow, wrist = (
        np.array([robot.fk(row, frame)[:3, 3] for row in q])
        for frame in (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)
    )
    upper, fore = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (elbow - shoulder, wrist - elbow))
    starts = np.zeros(len(q), bool) if start is None else start
    return ArmTargets(np.arange(len(q)) / RATE, Ts[:, :3, :3], Ts[:, :3, 3], upper, fore, q, starts)


def swing(robot: RobotModel, frames: int = 30) -> np.ndarray:
    """A slow motion of all joints about home."""
    s = np.linspace(0.0, 1.0, frames)[:, None]
    return robot.home + 0.25 * np.sin(np.pi * s) * np.cos(np.arange(len(robot.home)))


def measured(robot: RobotModel, targets: ArmTargets, q: np.ndarray, reachable: np.ndarray | None = None) -> dict:
    every = np.ones(len(q), bool) if reachable is None else reachable
    return figures(measure(robot, targets, q, np.arange(1.0, len(q) + 1.0), every, targets.posture))


def write_motion(path: Path, frames: int = 60) -> None:
    """A right arm that swings its bent elbow and hand in front of the body."""
    s = np.linspace(0.0, 2.0 * np.pi, frames)
    elevation, azimuth, bend = 0.6 + 0.2 * np.sin(s), -0.3 + 0.2 * np.cos(s), 1.3 + 0.3 * np.sin(s)
    forward = np.stack([np.cos(azimuth), np.sin(azimuth), 0.0 * s], axis=1)
    down = np.array([0.0, 0.0, -1.0])
    upper = np.cos(elevation)[:, None] * down + np.sin(elevation)[:, None] * forward
    angle = elevation + bend
    fore = np.cos(angle)[:, None] * down + np.sin(angle)[:, None] * forward
    palm = np.cross([0.0, 0.0, 1.0], forward)
    thumb = np.cross(fore, palm)
    shoulder = np.tile([0.0, -0.18, 0.4], (frames, 1))
    elbow = shoulder + 0.29 * upper
    wrist = elbow + 0.26 * fore
    np.savez(
        path, shoulder=shoulder, elbow=elbow, wrist=wrist, hand=wrist + 0.1 * fore,
        hand_R=np.stack([palm, thumb, fore], axis=-1), fps=RATE,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_a_perfect_path_is_measured_as_perfect(name: str) -> None:
    robot = load_robot(name)
    q = swing(robot)
    f = measured(robot, targets_at(robot, q), q)
    assert f["ok"] == 1.0 and f["frames"] == len(q)
    assert f["pos_mm_max"] < 1e-6  # compiled kinematics against Pinocchio's, rounding
    assert abs(f["upper_deg"]) < 1e-4 and abs(f["fore_deg"]) < 1e-4  # arctan2 near zero: square root of rounding
    assert f["regret_upper_deg"] == f["regret_fore_deg"] == 0.0
    assert f["jumps"] == f["limit_violations"] == 0
    assert f["us_p50"] == pytest.approx((len(q) + 1) / 2)


def test_a_displaced_hand_is_not_ok_and_counts_only_where_reachable() -> None:
    robot = load_robot("panda")
    q = swing(robot, 10)
    targets = targets_at(robot, q)
    moved = targets.p.copy()
    moved[3] += [0.0, 0.0, 0.005]
    moved[7] += [0.0, 0.0, 0.500]
    displaced = ArmTargets(targets.t, targets.R, moved, targets.upper, targets.fore, q, targets.start)
    reachable = np.arange(10) != 7
    f = measured(robot, displaced, q, reachable)
    assert f["frames"] == 9 and f["ok"] == pytest.approx(8 / 9)
    assert f["pos_mm_max"] == pytest.approx(5.0, abs=1e-6)
    turned = targets.R.copy()
    turned[0] = turned[0] @ np.array([[np.cos(0.02), -np.sin(0.02), 0.0], [np.sin(0.02), np.cos(0.02), 0.0], [0.0, 0.0, 1.0]])
    f = measured(robot, ArmTargets(targets.t, turned, targets.p, targets.upper, targets.fore, q, targets.start), q)
    assert f["ok"] == pytest.approx(0.9), "0.02 rad is more than a degree"


def test_limb_angles_and_regret_are_those_of_the_upper_arm() -> None:
    robot = load_robot("panda")
    q = np.tile(robot.home, (5, 1))
    targets = targets_at(robot, q)
    tilted = q.copy()
    tilted[:, 1] += 0.1  # joint 2 is the shoulder's: it turns both limbs in the arm's plane
    f = measured(robot, targets, tilted)
    assert f["upper_deg"] == pytest.approx(np.degrees(0.1), abs=1e-6)
    assert f["regret_upper_deg"] == pytest.approx(np.degrees(0.1), abs=1e-4)  # the reference's own zero is rounded
    assert f["regret_fore_deg"] == pytest.approx(np.degrees(0.1), abs=1e-4)
    unknown = ArmTargets(targets.t, targets.R, targets.p, 0.0 * targets.upper, targets.fore, q, targets.start)
    assert measured(robot, unknown, q)["upper_deg"] is None


def test_jerk_of_a_cubic_is_its_third_derivative_and_ends_at_segments() -> None:
    robot = load_robot("ur5e")
    t = np.arange(24) / RATE
    q = robot.home + (2.0 * t**3)[:, None] * np.ones(6)
    start = np.zeros(24, bool)
    start[12] = True
    q[12:] += 1.0  # another recording: neither a jump nor jerk
    f = measured(robot, targets_at(robot, q, start), q)
    assert f["jerk_rms"] == pytest.approx(12.0, rel=1e-6)
    assert f["jumps"] == 0
    f = measured(robot, targets_at(robot, q), q)
    assert f["jumps"] == 1 and f["jerk_rms"] > 1e4
    assert f["jerk_rms_between_jumps"] == pytest.approx(12.0, rel=1e-6)


def test_a_jump_is_avoidable_where_the_reference_has_none_and_a_sway_goes_a_longer_way() -> None:
    robot = load_robot("ur5e")
    reference = robot.home + np.linspace(0.0, 0.2, 21)[:, None] * np.ones(6)
    reference[10:] += 0.5
    targets, q = targets_at(robot, reference), reference.copy()
    assert measured(robot, targets, q)["avoidable_jumps"] == 0 and measured(robot, targets, q)["jumps"] == 1
    q[15:] += 0.5
    f = measured(robot, targets, q)
    assert f["jumps"] == 2 and f["avoidable_jumps"] == 1 and f["way_relative"] == pytest.approx(1.0)
    q[3] += 0.05  # one joint's worth there and back, of 18 steps of 0.01 rad
    assert measured(robot, targets, q)["way_relative"] == pytest.approx((18 * 0.01 + 2 * 0.05 - 0.02) / (18 * 0.01), rel=1e-6)


def test_jerk_is_told_beside_that_of_the_target() -> None:
    """Only the last joint turns, about the tool's own axis: its jerk is the hand's, and the mean over six joints a sixth."""
    robot = load_robot("ur5e")
    q = np.tile(robot.home, (24, 1))
    q[:, -1] += 2.0 * (np.arange(24) / RATE) ** 3
    assert measured(robot, targets_at(robot, q), q)["jerk_relative"] == pytest.approx(1.0 / np.sqrt(6.0), rel=1e-2)


def test_angles_outside_the_limits_are_counted_each() -> None:
    robot = load_robot("panda")
    q = swing(robot, 6)
    q[2, 0], q[2, 3], q[4, 6] = robot.upper[0] + 1e-3, robot.lower[3] - 1e-3, robot.upper[6]
    assert measured(robot, targets_at(robot, q), q)["limit_violations"] == 2


def test_pooling_weighs_by_frames() -> None:
    def samples(n: int, mm: float) -> Samples:
        limbs = np.full((n, 2), np.radians(mm))
        return Samples(
            np.full(n, mm < 1.0), np.full(n, mm / 1e3), limbs, limbs, np.zeros(n), np.ones((n, 2)), np.ones(n, bool),
            np.zeros((n, 6)), np.ones(n, bool), np.zeros((n, 6), bool), np.full(n, mm), np.full(n, np.nan), np.zeros((n, 6)),
        )  # fmt: skip

    f = figures(pooled([samples(30, 0.5), samples(10, 2.5)]))
    assert f["ok"] == 0.75 and f["upper_deg"] == pytest.approx(1.0) and f["pos_mm_max"] == pytest.approx(2.5)
    assert figures(samples(0, 0.0))["ok"] is None, "nothing reachable has no share"


@pytest.mark.parametrize("robot_name", ["panda", "ur5e"])
@pytest.mark.parametrize("name", list(PEERS))
def test_rivals_follow_a_reachable_path(name: str, robot_name: str) -> None:
    package = name.partition("_")[0]
    if package in ("mink", "pink"):
        pytest.importorskip(package, reason=REASON)
        pytest.importorskip("daqp", reason=REASON)
    robot = load_robot(robot_name)
    q = swing(robot)
    targets = targets_at(robot, q)
    path, us, _ = follow_in_turns({name: PEERS[name](robot)}, targets, q)[name]
    f = figures(measure(robot, targets, path, us, np.ones(len(q), bool), q))
    assert f["ok"] == 1.0, f"{name} misses by {f['pos_mm_max']} mm a path that meets hand, limbs and posture"
    assert f["limit_violations"] == f["jumps"] == 0
    if name.endswith("elbow"):
        assert f["upper_deg"] < 0.5


@pytest.mark.parametrize("name", ["mink_hand_elbow", "pink_hand_elbow"])
def test_the_elbow_task_draws_the_elbow(name: str) -> None:
    """With the upper arm asked for elsewhere, its angle to that direction is less than with the hand alone."""
    pytest.importorskip(name.partition("_")[0], reason=REASON)
    robot = load_robot("panda")
    q = np.tile(robot.home, (3, 1))
    targets = targets_at(robot, q)
    aside = targets.upper + [0.0, 0.5, 0.0]
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    asked = ArmTargets(targets.t, targets.R, targets.p, aside, targets.fore, q, targets.start)
    both = follow_in_turns({n: PEERS[n](robot) for n in (name, name.removesuffix("_elbow"))}, asked, q)
    with_elbow, alone = (measured(robot, asked, path.q)["upper_deg"] for path in both.values())
    assert with_elbow < alone - 5.0


@pytest.mark.long
def test_every_segment_starts_from_its_given_angles_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    robot = load_robot("ur5e")
    q = swing(robot, 25)
    start = np.zeros(25, bool)
    start[10] = True

    class Still:
        def reset(self, q: np.ndarray) -> None:
            self.q = q

        def follow(self, target: Target) -> np.ndarray:
            assert target.dt == pytest.approx(1.0 / RATE)
            return self.q

    monkeypatch.setattr(mapping_bench, "BLOCK", 7)
    counts: list[int] = []
    out = follow_in_turns({"a": Still(), "b": Still()}, targets_at(robot, q, start), q, counts.append)
    for path, us, core_us in out.values():
        assert np.isnan(core_us).all()
        assert (path[:10] == q[0]).all() and (path[10:] == q[10]).all()
        assert (us > 0.0).all()
    assert counts == sorted(counts) and counts[-1] == 2 * 25


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> tuple[MappingBench, Path, list[tuple[int, int]]]:
    for package in ("mink", "pink", "daqp"):
        pytest.importorskip(package, reason=REASON)
    folder = tmp_path_factory.mktemp("bench")
    (folder / "motions").mkdir()
    for name in ("one", "two"):
        write_motion(folder / "motions" / f"{name}.npz")
    seen: list[tuple[int, int]] = []
    bench = bench_mapping(folder / "motions", "panda", folder / "r.json", folder / "pictures", lambda i, n: seen.append((i, n)))
    return bench, folder, seen


@pytest.mark.long
def test_result_file_has_the_promised_shape(result: tuple[MappingBench, Path, list[tuple[int, int]]]) -> None:
    bench, folder, seen = result
    content = json.loads((folder / "r.json").read_text())
    assert content["robot"] == "panda" and content["frames"] == 120 and 0 < content["reachable"] <= 120
    assert set(content["methods"]) == {OFFLINE, SYMBOLIC, *METHODS}
    for name, f in content["methods"].items():
        assert all(f[key] is not None for key in FIGURES), name
        assert f["frames"] == content["reachable"]
        assert (f["core_us_p99"] is not None) == name.startswith("ours_online"), name
        assert f["core_us_p99"] is None or 0.0 < f["core_us_p50"] < f["us_p50"]
    assert content["methods"][OFFLINE]["ok"] == 1.0 and content["methods"][OFFLINE]["regret_upper_deg"] == 0.0
    assert set(content["files"]) == {"one", "two"}
    for file in content["files"].values():
        assert set(file) == {"frames", "reachable", "placement", "methods"}
        assert np.array(file["placement"]["T_world_base"]).shape == (4, 4)
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1] == 120 * len(METHODS) * mapping_bench.REPEATS
    for name in ("one", "two"):
        assert (folder / "pictures" / f"{name}_panda.png").read_bytes().startswith(b"\x89PNG")
    table = bench.table().splitlines()
    assert [line.split()[0] for line in table[2:]] == [OFFLINE, SYMBOLIC, *METHODS]


def test_a_folder_without_motion_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"holds no \.npz"):
        bench_mapping(tmp_path, "panda", tmp_path / "out" / "r.json")
    assert not (tmp_path / "out").exists()


def test_a_missing_rival_says_how_to_install_it() -> None:
    with pytest.raises(MissingDependency, match=r'no_such_peer.*pip install "visual-irl\[bench\]"'):
        mapping_peers._required("no_such_peer", "no_such_peer")
