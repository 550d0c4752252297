"""The Franka driver: the real libfranka client in its process against franky-sim in another one, on loopback."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import InvalidInput, RefusedTrajectory, RobotUnreachable
from visual_irl.evaluation.faults.fault_campaign import run_franka_fault
from visual_irl.evaluation.faults.trial import random_motion
from visual_irl.execution.braking import SHARE
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.hardware import HardwareArm, HardwareGripper, common_checks
from visual_irl.execution.playback import Playback
from visual_irl.execution.state import Safety
from visual_irl.execution.streaming import StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import World
from visual_irl.verbs import run_stage
from visual_irl.verbs.run_stage import check_robot

pytest.importorskip("pylibfranka", reason='needs `pip install "visual-irl[franka]"`')
pytest.importorskip("franky_sim", reason='needs `pip install "visual-irl[bench]"`')

from visual_irl.evaluation.faults.franka_faults import PATIENT, Controller
from visual_irl.execution.franka_arm import FrankaArm
from visual_irl.execution.franka_hand import FrankaHand

pytestmark = pytest.mark.long

ADDRESS = "127.0.53.1"


@pytest.fixture(scope="module")
def controller() -> Iterator[Controller]:
    made = Controller(load_robot("fr3"), ADDRESS, load_robot("fr3").home)
    yield made
    made.close()


@pytest.fixture
def arm(controller: Controller) -> Iterator[FrankaArm]:
    """A controller takes one client at a time."""
    made = FrankaArm.connect(load_robot("fr3"), ADDRESS, True)
    yield made
    made.close()


@pytest.fixture(scope="module")
def hand(controller: Controller) -> Iterator[FrankaHand]:
    made = FrankaHand.connect(load_robot("fr3"), ADDRESS)
    yield made
    made.disconnect()


def approved(arm: FrankaArm, seed: int) -> ApprovedTrajectory:
    state = arm.read()
    motion = random_motion(arm.robot, World(), np.random.default_rng(seed))
    return approve(motion, arm.robot, state, World(), SIMULATED, now_ns=state.stamp_ns)


def test_check_robot_moves_nothing_and_knows_the_arm(controller: Controller, capsys: pytest.CaptureFixture[str]) -> None:
    check_robot("panda", "franka", ADDRESS)  # an FR3 has a Panda's kinematics
    out = capsys.readouterr().out
    assert "nothing was moved" in out and "calibration" in out and "FAIL" not in out and controller.time < 0.0


def test_a_motion_is_executed_and_after_a_reflex_nothing_moves_before_it_is_asked_for(
    controller: Controller, arm: FrankaArm, tmp_path: Path
) -> None:
    robot = arm.robot
    assert isinstance(arm, HardwareArm)
    executor = StreamingExecutor(arm, robot, config=PATIENT)
    motion = approved(arm, 0)
    report = executor.execute(motion)
    assert report.outcome == "executed" and 0.0 < report.tracking_rms < 0.005  # [rad]
    np.testing.assert_allclose(arm.read().q, motion.trajectory.q[-1], atol=2e-3)
    controller.tell(f"save {tmp_path / 'physics.npz'}")
    with np.load(tmp_path / "physics.npz") as physics:
        sent = physics["commands"][:, 1:]
    assert (np.abs(np.diff(sent, axis=0) / 1e-3) <= robot.velocity).all()
    assert (np.abs(np.diff(sent, 2, axis=0) / 1e-6) <= robot.acceleration).all()  # every millisecond, not every target

    back = type(motion.trajectory)(
        robot.joint_names,
        motion.trajectory.t,
        motion.trajectory.q[::-1],
        -motion.trajectory.qd[::-1],
        motion.trajectory.opening,
    )
    controller.tell("fault protective stop 0.3 0")
    state = arm.read()
    way_back = approve(back, robot, state, World(), SIMULATED, now_ns=state.stamp_ns)
    report = executor.execute(way_back)
    assert report.outcome == "fault" and "joint_reflex" in report.message
    controller.tell("heal")
    with pytest.raises(RefusedTrajectory, match="FAULT"):
        executor.execute(way_back)
    with pytest.raises(RefusedTrajectory, match="protective stop"):
        executor.reset()  # the robot itself has not recovered
    assert "safety state" in [check.name for check in common_checks(arm, robot) if not check.passed]
    controller.rest(0.01, 0.1, 10.0)
    arm.recover()
    still = executor.reset().q
    time.sleep(0.1)
    np.testing.assert_allclose(arm.read().q, still, atol=1e-3)
    with pytest.raises(RefusedTrajectory, match="before the last reset"):
        executor.execute(way_back)


def test_looking_only_sends_nothing_and_other_arms_are_refused(controller: Controller) -> None:
    robot = load_robot("fr3")
    with pytest.raises(InvalidInput, match="not the ur5e"):
        FrankaArm.connect(load_robot("ur5e"), ADDRESS, True)
    arm = FrankaArm.connect(robot, ADDRESS, False)
    with pytest.raises(RefusedTrajectory, match="looking only"):
        arm.command(robot.home, 0 * robot.home, 0 * robot.home)
    arm.close()
    with pytest.raises(RobotUnreachable, match="no Franka controller"):
        FrankaArm.connect(robot, "127.0.53.9", True)
    with pytest.raises(RobotUnreachable, match=r"no Franka hand .*--no-gripper"):
        run_stage._gripper(robot, "franka", "127.0.53.9")


def test_the_hand_opens_closes_and_tells_a_grasp_from_an_empty_hand(controller: Controller, hand: FrankaHand) -> None:
    assert isinstance(hand, HardwareGripper)
    hand.prepare()
    hand.move(0.07)
    hand.wait(30.0)
    assert hand.opening == pytest.approx(0.07, abs=2e-3) and not hand.grasped  # [m]
    hand.close(20.0)
    hand.wait(30.0)
    assert hand.opening < 0.003 and not hand.grasped
    hand.move(0.08)
    hand.wait(30.0)
    controller.tell("hold 0.04")
    hand.close(20.0)
    assert hand.busy
    hand.wait(30.0)
    assert hand.opening == pytest.approx(0.04, abs=5e-3) and hand.grasped  # MuJoCo's limits are soft
    with pytest.raises(InvalidInput, match="opens from 0"):
        hand.move(0.2)
    with pytest.raises(InvalidInput, match="presses with up to"):
        hand.close(500.0)


def test_when_the_executors_process_is_killed_the_clients_brakes_the_arm(tmp_path: Path) -> None:
    """All other faults, and more of them, are in `visual-irl bench execution`."""
    run = run_franka_fault("process killed", "fr3", np.random.default_rng(7), tmp_path, "127.0.53.2")
    assert not run.moved and run.within_limits and run.told, run


def test_a_queue_that_runs_dry_brakes_within_the_limits_and_stays() -> None:
    robot = load_robot("fr3")
    play, speed = Playback(robot, 0.004, 3), 0.5 * np.eye(7)[0]
    for k in range(20):
        play.put(np.array([robot.home + 0.004 * k * speed, speed, 0 * speed]))
    q = np.array([play.next(0.001) for _ in range(600)])
    assert "no target came" in play.broken and play.done
    acceleration = np.diff(q[5:, 0], 2) / 1e-6
    assert np.abs(acceleration).max() <= 1.01 * SHARE * robot.acceleration[0]
    play.put(np.array([robot.home, speed, speed]))
    assert np.ptp([play.next(0.001) for _ in range(20)], axis=0).max() < 1e-9


def test_what_is_played_passes_through_the_targets_whatever_the_controllers_cycle() -> None:
    robot, t = load_robot("fr3"), 0.004 * np.arange(200)
    q, qd, qdd = 0.1 * np.sin(3 * t), 0.3 * np.cos(3 * t), -0.9 * np.sin(3 * t)
    qd[-1] = qdd[-1] = 0.0
    play, rng = Playback(robot, 0.004, 3), np.random.default_rng(0)
    for row in zip(q, qd, qdd, strict=True):
        play.put(np.array([robot.home + row[0], np.full(7, row[1]), np.full(7, row[2])]))
    play.end()
    play.next(0.0)
    for _ in range(300):
        now = play.next(float(rng.choice([0.001, 0.002, 0.003])))
        if play.position < 197:
            want = 0.1 * np.sin(3 * 0.004 * play.position)
            np.testing.assert_allclose(now, robot.home + want, atol=1e-9)  # a quintic's error over 4 ms


def test_a_target_that_is_no_number_is_never_played() -> None:
    robot = load_robot("fr3")
    play, speed = Playback(robot, 0.004, 2), 0.5 * np.eye(7)[0]
    for k in range(4):
        play.put(np.array([robot.home + 0.004 * k * speed, speed, 0 * speed]))
    play.put(np.full((3, 7), np.nan))
    q = np.array([play.next(0.001) for _ in range(600)])
    assert np.isfinite(q).all() and "no number" in play.broken and play.done


def test_safety_of_a_mode_that_is_not_known() -> None:
    from visual_irl.execution.franka_arm import MODES

    assert all(MODES[mode][0].moving_allowed == (mode in (1, 2)) for mode in MODES)
    assert MODES[5][0] is Safety.EMERGENCY_STOP
