"""`visual-irl run` in simulation: the seal of the skill, the person's word, a stop on Ctrl-C, and the task done by physics."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingFile, MotionStopped, RefusedTrajectory
from visual_irl.execution import guard
from visual_irl.execution.guard import ApprovedTrajectory
from visual_irl.execution.journal import last_outcome, read_journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.io import artifacts
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.robots import load_robot
from visual_irl.robots.carrying import Held
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.tasks.pouring import BOTTLE, CUP
from visual_irl.tasks.scene import Fixture, Scene, SceneObject
from visual_irl.verbs import free_motion, run_stage, stages
from visual_irl.verbs.map_stage import map_arm
from visual_irl.verbs.run_plan import Plan, RunOptions, plan_of, seal_of
from visual_irl.verbs.run_stage import check_robot, run_skill

pytestmark = pytest.mark.long

TRUTH = Path(__file__).parents[2] / "models" / "recordings" / "onion_sorting" / "truth.npz"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a skill and its trajectory on the UR5e."""
    folder = tmp_path_factory.mktemp("made")
    stages.learn((TRUTH,), folder / "skill", "max_ent")
    demo = artifacts.load_demonstration(TRUTH)
    first = {"onion_0": demo.objects["onion_0"]}  # one is enough, and quicker
    held = tuple(name if name in first else "" for name in demo.held)
    artifacts.save_demonstration(folder / "one.npz", dataclasses.replace(demo, objects=first, held=held))
    map_arm("ur5e", folder / "t.npz", demonstration=folder / "one.npz", skill=folder / "skill")
    return folder


def options(made: Path, out: Path, **more: object) -> RunOptions:
    return RunOptions("ur5e", trajectory=made / "t.npz", out=out, preview=False, speed=1.0, **more)  # type: ignore[arg-type]


def test_a_skill_sorts_under_watch_and_everything_is_logged(made: Path, tmp_path: Path) -> None:
    asked: list[str] = []

    def yes(text: str) -> str:
        asked.append(text)
        return "yes"

    content = run_skill(made / "skill", options(made, tmp_path), yes)
    assert content["outcome"] == "executed" and content["succeeded"] == content["of"] == 1 and content["repairs"] == []
    assert len(asked) == 1 and "100 % of the planned speed" in asked[0]
    assert last_outcome(tmp_path / "log") == ("executed", "as approved")
    assert json.loads((tmp_path / "report.json").read_text())["skill"] == content["skill"]


def test_what_stands_in_the_way_is_gone_around_and_the_task_still_done(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_seen = MappedMotion.scene.func  # type: ignore[attr-defined]

    def walled(motion: MappedMotion) -> Scene:
        scene = as_seen(motion)
        T = se3.transform(np.eye(3), np.array([0.11, 0.04, 0.0]))  # between the onion and its bin
        return dataclasses.replace(
            scene, fixtures=(*scene.fixtures, Fixture("wall", T, 0.05, 0.01, 0.24, (0.5, 0.5, 0.5, 1.0)))
        )

    monkeypatch.setattr(MappedMotion, "scene", property(walled))
    content = run_skill(made / "skill", options(made, tmp_path), lambda text: "yes")
    assert content["outcome"] == "executed" and content["succeeded"] == content["of"] == 1
    assert len(content["repairs"]) >= 1 and max(r["hand_moved_m"] for r in content["repairs"]) > 0.02
    assert all(0.0 < r["start_s"] < r["end_s"] and 0.0 < r["hand_turned_rad"] < np.pi for r in content["repairs"])
    repaired, header, _ = artifacts.load_trajectory(tmp_path / "repaired.npz")
    assert header["robot"] == "ur5e" and (tmp_path / "repaired.npz.json").is_file()
    mapped, before, _ = artifacts.load_trajectory(made / "t.npz")
    assert not np.array_equal(repaired.q, mapped.q)
    ((begin, end, name),) = header["held"]
    assert name == "onion_0" and before["held"][0][0] < begin < end < repaired.t[-1]
    assert np.interp([begin, end], repaired.t, repaired.opening).max() < 0.02  # [m] closed: these times are of the new clock
    asked: list[tuple[Held, ...]] = []

    def approved(*args: object, held: tuple[Held, ...] = (), **more: object) -> ApprovedTrajectory:
        asked.append(held)
        return guard.approve(*args, held=held, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(free_motion, "approve", approved)
    shown = stages.replay(made / "t.npz", tmp_path / "replay", None, 0, False)
    assert shown["succeeded"] == shown["of"] == 1 and shown["repairs"]
    assert [[row.carried.name for row in held] for held in asked] == [["onion_0"]]


def test_an_arm_that_stands_elsewhere_is_driven_to_the_start_after_it_was_shown(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def elsewhere(plan: Plan, options: RunOptions) -> Iterator[tuple[MujocoArm, object]]:
        away = plan.trajectory.q[0] + np.array([0.5, -0.2, 0.1, 0.0, 0.2, -0.4])
        arm = MujocoArm(plan.robot, away, plan.motion.scene, plan.motion.T_world_base, float(plan.trajectory.opening[0]))
        yield arm, arm.gripper

    asked: list[str] = []
    monkeypatch.setattr(run_stage, "_connected", elsewhere)
    with pytest.raises(RefusedTrajectory, match="not allowed by the person"):
        run_skill(made / "skill", options(made, tmp_path), lambda text: asked.append(text) or "no")
    assert "is driven to the start in" in asked[0] and not (tmp_path / "log").exists()
    way, header, _ = artifacts.load_trajectory(tmp_path / "approach.npz")
    assert header["held"] == []  # the hand is empty on its way there
    there = artifacts.load_trajectory(made / "t.npz")[0]
    np.testing.assert_allclose(way.q[-1], there.q[0], atol=1e-6)
    assert header["robot"] == "ur5e"
    content = run_skill(made / "skill", options(made, tmp_path), lambda text: "yes")
    assert content["outcome"] == "executed" and content["succeeded"] == 1
    ends = [r for r in read_journal(tmp_path / "log") if r.get("what") == "end"]
    assert [r["outcome"] for r in ends] == ["executed", "executed"]  # the way there, and the motion


def test_a_bottle_is_poured_from_and_an_arm_elsewhere_goes_around_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_seen = MappedMotion.scene.func  # type: ignore[attr-defined]

    def little(motion: MappedMotion) -> Scene:
        scene = as_seen(motion)
        assert scene.grains is not None
        return dataclasses.replace(scene, grains=dataclasses.replace(scene.grains, count=8))  # quicker

    monkeypatch.setattr(MappedMotion, "scene", property(little))
    truth, file = tmp_path / "truth.npz", tmp_path / "t.npz"
    artifacts.save_demonstration(truth, SyntheticCamera(task="pouring", seed=0, rate=10.0).truth)
    stages.learn((truth,), tmp_path / "skill", "max_ent")
    map_arm("ur5e", file, demonstration=truth, skill=tmp_path / "skill")
    mapped = artifacts.load_trajectory(file)[1]["summary"]
    assert mapped["branch_changes"] == 0 and mapped["reachable"] == 1.0  # what is in the bottle stays in it
    asked = RunOptions("ur5e", trajectory=file, world=truth, out=tmp_path / "run", preview=False, speed=1.0, yes=True)
    plan = plan_of(tmp_path / "skill", file, asked)
    assert CUP in {o.name for o in plan.motion.world.obstacles} and BOTTLE not in {o.name for o in plan.motion.world.obstacles}
    approach = plan.approach(MujocoArm(plan.robot, plan.robot.home, plan.motion.scene, plan.motion.T_world_base))
    assert approach is not None and {BOTTLE, CUP} <= {o.name for o in approach.world.obstacles}
    content = run_skill(tmp_path / "skill", asked)
    assert content["outcome"] == "executed" and content["goals"] == {"poured": True, "disposed_upright": True}


def test_what_is_held_is_told_by_the_mapped_motion(made: Path) -> None:
    trajectory, header, _ = artifacts.load_trajectory(made / "t.npz")
    ((begin, end, name),) = header["held"]
    assert name == "onion_0" and 0.0 < begin < end < trajectory.t[-1]
    assert np.interp([begin + 0.5, end - 0.5], trajectory.t, trajectory.opening).max() < 0.02  # [m] the hand is closed
    plan = plan_of(made / "skill", made / "t.npz", RunOptions("ur5e", trajectory=made / "t.npz"))
    (held,) = plan.motion.held
    assert begin < held.begin < held.end < end and held.carried.radius == header["objects"]["onion_0"]["radius"]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_it_stops_the_arm_on_its_path(
    how: signal.Signals, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(show: object, cycle: run_stage.Cycle, total: int) -> None:
        if cycle.s > 1.0:
            signal.raise_signal(how)

    before = signal.getsignal(how)  # Ctrl-C is ignored where the tests run in a shell's background
    monkeypatch.setattr(run_stage, "_shown", interrupt)
    with pytest.raises(MotionStopped, match="cancelled"):
        run_skill(made / "skill", options(made, tmp_path, yes=True))
    assert last_outcome(tmp_path / "log") == ("cancelled", "cancelled")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["outcome"] == "cancelled" and 1.0 < report["motion_s"] < 2.0
    assert signal.getsignal(how) is before


def test_without_a_yes_nothing_moves(made: Path, tmp_path: Path) -> None:
    with pytest.raises(RefusedTrajectory, match="not allowed by the person"):
        run_skill(made / "skill", options(made, tmp_path), lambda text: "")
    assert not (tmp_path / "log").exists()


def test_the_trajectory_and_the_skill_must_belong_together(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(made / "skill", other)
    reward = other / "reward.safetensors"
    reward.write_bytes(reward.read_bytes() + b" ")
    with pytest.raises(RefusedTrajectory, match="made with skill 'other'"):
        run_skill(other, options(made, tmp_path / "run", yes=True))
    with pytest.raises(MissingFile, match="no skill in"):
        seal_of(tmp_path / "nothing", made / "t.npz")
    bare = tmp_path / "bare.npz"
    shutil.copy(made / "t.npz", bare)
    with pytest.raises(MissingFile, match="says which skill made"):
        seal_of(made / "skill", bare)
    trajectory, header, _ = artifacts.load_trajectory(bare)
    artifacts.save_trajectory(bare, trajectory, header)
    shutil.copy(made / "t.npz.json", tmp_path / "bare.npz.json")
    with pytest.raises(RefusedTrajectory, match="it was changed"):
        seal_of(made / "skill", bare)


def test_another_robot_or_a_real_one_needs_more(made: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="mapped onto the ur5e"):
        plan_of(made / "skill", made / "t.npz", dataclasses.replace(options(made, tmp_path), robot="panda"))
    with pytest.raises(InvalidInput, match="--allow-motion"):
        options(made, tmp_path, executor="ur", address="127.0.0.1")
    with pytest.raises(InvalidInput, match="needs the robot's address"):
        options(made, tmp_path, executor="ur", allow_motion=True)
    with pytest.raises(InvalidInput, match="mujoco, franka, ur"):
        options(made, tmp_path, executor="kuka")
    with pytest.raises(InvalidInput, match="--speed is 0"):
        dataclasses.replace(options(made, tmp_path), speed=0.0)


def test_check_robot_of_the_simulation(capsys: pytest.CaptureFixture[str]) -> None:
    check_robot("panda", "mujoco", None)
    assert "nothing was moved" in capsys.readouterr().out
    with pytest.raises(InvalidInput, match="--address"):
        check_robot("ur5e", "ur", None)


def test_the_simulated_gripper_holds_what_is_there_and_only_then() -> None:
    robot = load_robot("panda")
    arm = MujocoArm(robot, robot.home, Scene((), ()), opening=robot.max_opening)
    p = (robot.T_world_base @ robot.fk(robot.home))[:3, 3]
    ball = SceneObject("ball", "onion", p, 0.025)
    full = MujocoArm(robot, robot.home, Scene((ball,), ()), opening=robot.max_opening)
    full.model.opt.gravity[2] = 0.0  # until it is held
    for each in (arm, full):
        assert each.gripper.opening == pytest.approx(robot.max_opening) and not each.gripper.grasped
        each.gripper.close(20.0)
        for _ in range(750):
            each.wait()
    assert not arm.gripper.grasped and arm.gripper.opening < 1e-3
    assert full.gripper.grasped and 0.04 < full.gripper.opening < 0.052  # [m] the ball is 50 mm wide
    full.model.opt.gravity[2] = -9.81
    for _ in range(250):
        full.wait()
    assert full.gripper.grasped
    assert full.gripper.force == pytest.approx(20.0, rel=0.05)
    assert abs(full.outcome().Ts_world["ball"][2, 3] - p[2]) < 0.01  # it does not fall
    full.gripper.move(robot.max_opening)
    for _ in range(500):
        full.wait()
    assert not full.gripper.grasped and np.isclose(full.gripper.opening, robot.max_opening, atol=2e-3)
    with pytest.raises(InvalidInput, match="opens from 0 to"):
        full.gripper.move(0.2)
    with pytest.raises(InvalidInput, match="presses with up to"):
        full.gripper.close(1e3)
