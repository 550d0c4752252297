"""The verb `run`: a skill's motion is shown in simulation, asked about, approved from the measured state, and executed.

And `check-robot`: what can be known of a robot without moving it.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np

from visual_irl.errors import (
    InvalidInput,
    MissingFile,
    MotionStopped,
    RefusedTrajectory,
    RobotUnreachable,
)
from visual_irl.evaluation.interruption import ENDS
from visual_irl.execution import ARMS, GRIPPERS
from visual_irl.execution.arm import Arm, Gripper
from visual_irl.execution.guard import ApprovedTrajectory
from visual_irl.execution.hardware import Check, HardwareArm, HardwareGripper, common_checks
from visual_irl.execution.journal import Journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.streaming import Cycle, StreamConfig, StreamingExecutor
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_folder
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.types import ExecutionReport
from visual_irl.verbs import stages
from visual_irl.verbs.console import progress_bar, say
from visual_irl.verbs.free_motion import free_of_collisions
from visual_irl.verbs.map_stage import map_arm
from visual_irl.verbs.run_plan import SIMULATION, Approach, Plan, RunOptions, plan_of, require_executor


def run_skill(skill: Path, options: RunOptions, ask: Callable[[str], str] = input) -> dict[str, Any]:
    """Run a skill; see `visual-irl run --help`. Returns the content of report.json.

    Raises:
        RefusedTrajectory: the guard or the person refuses; nothing moved.
        MotionStopped: it began and did not end as approved.
    """
    if not skill.is_dir():
        raise MissingFile(f"no skill at '{skill}'; `visual-irl learn` makes one")
    out = require_writable_folder(options.out)
    file = options.trajectory or _mapped(skill, options)
    plan = plan_of(skill, file, options)
    motion, repairs = free_of_collisions(plan.motion, plan.config, plan.planner, plan.seal)
    if repairs:
        plan, file = replace(plan, motion=motion), _kept(motion, file, options)
    if options.preview:
        say("the plan in simulation, at its full speed:")
        stages.replay(file, out / "preview", options.world, seed=0, video=True)
        say(f"  look at {out / 'preview' / 'filmstrip.png'} and {out / 'preview' / 'replay.mp4'}")
    with _connected(plan, options) as (arm, gripper):
        if isinstance(arm, HardwareArm):
            if options.recover:
                arm.recover()
            _require(common_checks(arm, plan.robot))
        approach = plan.approach(arm)
        if approach is None:
            plan.approved(arm)  # what cannot be done is said before anybody is asked
        else:
            approach.approved(arm)
            _show_approach(approach, file, out, options)
        _ask(plan, approach, options, ask)
        if isinstance(gripper, HardwareGripper):
            gripper.prepare()
        report, stopped = _executed(plan, approach, options, arm, gripper, out)
        content = _content(plan, options, report) | {"repairs": repairs}
        if isinstance(arm, MujocoArm):
            content |= stages.count_of(plan.motion.succeeded(arm.outcome()))
    artifacts.write_json(out / "report.json", content)
    artifacts.write_sidecar(out / "report.json", options, {"trajectory": file})
    if stopped:
        raise MotionStopped(f"{report.outcome}: {report.message}; the log is {out / 'log'}, and nothing moves before a new run")
    say(f"{plan.robot.name}: executed; joints tracked to {1e3 * report.tracking_rms:.1f} mrad RMS; the log is {out / 'log'}")
    if "of" in content:
        say(f"  {content['succeeded']} of {content['of']} {plan.motion.goals}, by the physics")
    return content


def _mapped(skill: Path, options: RunOptions) -> Path:
    file = options.out / f"{options.robot}.npz"
    map_arm(options.robot, file, demonstration=options.demonstration, skill=skill)
    return file


def _kept(motion: MappedMotion, file: Path, options: RunOptions) -> Path:
    """The file of a repaired motion, made from that of the one that was mapped."""
    _, header, _ = artifacts.load_trajectory(file)
    kept = options.out / "repaired.npz"
    held = [[row.begin, row.end, row.carried.name] for row in motion.held]  # on the repaired motion's clock
    artifacts.save_trajectory(kept, motion.trajectory, {**header, "held": held})
    artifacts.write_sidecar(kept, options, {"trajectory": file})
    say(f"  written to {kept}")
    return kept


@contextmanager
def _connected(plan: Plan, options: RunOptions) -> Iterator[tuple[Arm, Gripper | None]]:
    """The arm, and its gripper if it is driven; the connections end with the block."""
    if options.simulated:
        q, opening = plan.trajectory.q[0], float(plan.trajectory.opening[0])
        simulated = MujocoArm(plan.robot, q, plan.motion.scene, plan.motion.T_world_base, opening)
        yield simulated, simulated.gripper
        return
    assert options.address is not None
    arm: HardwareArm = ARMS.load(options.executor).connect(plan.robot, options.address, True)
    gripper: HardwareGripper | None = None
    try:
        if options.gripper:
            gripper = _gripper(plan.robot, options.executor, options.address)
        yield arm, gripper
    finally:
        if gripper is not None:
            gripper.disconnect()
        arm.close()


def _gripper(robot: RobotModel, executor: str, address: str) -> HardwareGripper:
    try:
        gripper: HardwareGripper = GRIPPERS.load(executor).connect(robot, address)
    except RobotUnreachable as error:
        raise RobotUnreachable(f"{error}; an arm without it is run with --no-gripper") from error
    return gripper


def _show_approach(approach: Approach, file: Path, out: Path, options: RunOptions) -> None:
    """Say how the arm gets to the start, and show it in simulation."""
    motion = approach.trajectory
    say(f"the arm stands up to {approach.distance:.2f} rad from the start: it is driven there first, in {motion.t[-1]:.1f} s")
    _, header, _ = artifacts.load_trajectory(file)
    kept = out / "approach.npz"
    artifacts.save_trajectory(kept, motion, {**header, "held": []})
    artifacts.write_sidecar(kept, options, {"trajectory": file})
    if options.preview:
        stages.replay(kept, out / "approach", options.world, seed=0, video=True)
        say(f"  look at {out / 'approach' / 'filmstrip.png'}")


def _require(checks: list[Check]) -> None:
    for check in checks:
        if not check.passed:
            raise RefusedTrajectory(f"{check.name}: {check.found}")


def _ask(plan: Plan, approach: Approach | None, options: RunOptions, ask: Callable[[str], str]) -> None:
    """The person's yes, in a word; anything else refuses."""
    duration = float(plan.trajectory.t[-1] - plan.trajectory.t[0]) / options.speed
    way = 0.0 if approach is None else approach.trajectory.t[-1] / options.speed
    first = "" if approach is None else f"is driven to the start in {way:.0f} s, then "
    gripper = "" if options.simulated or options.gripper else ", its gripper is not driven"
    where = "in simulation" if options.simulated else f"at {options.address}"
    what = (
        f"the {plan.robot.name} {where} {first}moves for {duration:.0f} s at {100 * options.speed:.0f} % of the planned "
        f"speed{gripper}"
    )
    if options.yes:
        say(what)
        return
    if options.simulated and not sys.stdin.isatty() and ask is input:
        raise InvalidInput("nobody can be asked before the simulated arm moves: say --yes")
    if ask(f"{what}. Is everybody away from it, and a hand on the stop? Type yes: ").strip().lower() != "yes":
        raise RefusedTrajectory("not allowed by the person who was asked; nothing moved")


def _executed(
    plan: Plan, approach: Approach | None, options: RunOptions, arm: Arm, gripper: Gripper | None, out: Path
) -> tuple[ExecutionReport, bool]:
    """Execute with a log, a bar, and Ctrl-C as the cancel; and whether it stopped before its end."""
    log = out / "log"
    if log.exists():
        log.rename(out / f"log.{time.strftime('%Y%m%dT%H%M%S')}.{time.monotonic_ns() % 1000:03d}")
    journal = Journal(log)
    executor = StreamingExecutor(arm, plan.robot, journal, StreamConfig(speed_share=options.speed), gripper)
    try:
        with _cancel_on_interrupt(executor):
            if approach is not None:
                report = _moved(executor, approach.approved(arm), f"{plan.robot.name} goes to the start; Ctrl-C stops it")
            if approach is None or report.outcome == "executed":
                report = _moved(executor, plan.approved(arm), f"{plan.robot.name} moves; Ctrl-C stops it")
    finally:
        journal.close()
    if report.outcome != "executed":
        say(f"stopped: {report.message} (after {report.details['s']:.2f} s of the motion)")
    elif isinstance(arm, MujocoArm):
        arm.rest()
    return report, report.outcome != "executed"


def _moved(executor: StreamingExecutor, approved: ApprovedTrajectory, title: str) -> ExecutionReport:
    total = int(np.ceil(approved.motion.t[-1]))
    with progress_bar(title, "s") as show:
        return executor.execute(approved, lambda cycle: _shown(show, cycle, total))


def _shown(show: Callable[[int, int], None], cycle: Cycle, total: int) -> None:
    show(int(cycle.s), total)


@contextmanager
def _cancel_on_interrupt(executor: StreamingExecutor) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a terminal that closes decelerate on the path, instead of ending the program in the middle of it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        executor.cancel()

    heard = [number for number in ENDS if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _content(plan: Plan, options: RunOptions, report: ExecutionReport) -> dict[str, Any]:
    return {
        "robot": plan.robot.name,
        "executor": options.executor,
        "outcome": report.outcome,
        "message": report.message,
        "speed": options.speed,
        "tracking_rms_rad": report.tracking_rms,
        "tracking_peak_rad": report.details["tracking_peak"],
        "stop_time_s": report.details["stop_time"] if report.outcome != "executed" else None,
        "motion_s": report.details["s"],
        "grasps": report.details["grasps"],
        "skill": plan.seal.found,
    }


def _gripper_check(robot: RobotModel, executor: str, address: str) -> Check:
    """Whether a gripper answers: an arm may have none."""
    try:
        gripper = _gripper(robot, executor, address)
    except RobotUnreachable as error:
        return Check("gripper", True, f"none: {error}")
    try:
        return Check("gripper", True, f"answers, {1e3 * gripper.opening:.0f} mm open")
    finally:
        gripper.disconnect()


def check_robot(robot_name: str, executor: str, address: str | None) -> None:
    """Connect and look, without moving anything; see `visual-irl check-robot --help`.

    Raises:
        MotionStopped: something is not as it must be before a motion; says what.
    """
    robot = load_robot(robot_name)
    require_executor(executor)
    if executor == SIMULATION:
        arm = MujocoArm(robot, robot.home)
        state = arm.read()
        inside = bool(((state.q >= robot.lower) & (state.q <= robot.upper)).all())
        checks = [Check("model", inside, f"{robot.name} compiles, {len(robot.joint_names)} joints, home within its limits")]
    else:
        if address is None:
            raise InvalidInput(f"--executor {executor} needs the robot's address: --address 192.168.1.10")
        real: HardwareArm = ARMS.load(executor).connect(robot, address, False)
        try:
            checks = [Check("connection", True, f"{executor} answers at {address}"), *common_checks(real, robot)]
            checks += [*real.checks(), _gripper_check(robot, executor, address)]
        finally:
            real.close()
    for check in checks:
        say(f"  {'ok  ' if check.passed else 'FAIL'} {check.name:14} {check.found}")
    bad = [check.name for check in checks if not check.passed]
    if bad:
        raise MotionStopped(f"{', '.join(bad)} of the {robot.name}: see above, and mend it before anything moves")
    say(f"{robot.name}: nothing was moved, nothing stands against moving it")
