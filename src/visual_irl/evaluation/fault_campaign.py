"""Faults at random times of random motions in MuJoCo, and what the physics then did: the stop, and everything after it.

Deceleration is the change of the joints' simulated speed over 10 ms, and the commanded acceleration; both are compared with the
limits of the arm. Where something from outside pushes or blocks a joint only the commands are. After the stop whatever was
wrong goes away by itself, the motion is asked for again, and nothing may move.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.interpolate import CubicSpline

from visual_irl.errors import InvalidInput, RefusedTrajectory
from visual_irl.evaluation.faulty_arm import FAULTS, Fault, FaultyArm, moving_joint
from visual_irl.evaluation.killed_commander import run_until_killed
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, approve
from visual_irl.execution.journal import Journal, last_outcome, read_journal
from visual_irl.execution.streaming import Phase, StreamingExecutor
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.timing import time_parametrised
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import JointTrajectory

KILLED = "process killed"
KINDS = (*FAULTS, KILLED)
ROBOTS = ("panda", "ur5e")
SHARE = (0.3, 0.9)
"""Share of the limits that the motions use."""
AFTER = 1.5
"""How long it is watched that nothing moves [s]."""
SETTLE = 0.3
"""An arm that was slow for this long stands [s]."""
LONGEST = 10.0
"""It is not waited longer for that [s]."""
STILL = 1e-3
"""A joint that moves less than this stands [rad]."""
SLOW = 0.01
"""A joint slower than this stands [rad/s]."""
WINDOW = 5
"""Half of the window in which speed is differentiated, in steps of the physics."""
TOLERANCE = 0.10
"""Excess of the measured acceleration over a limit that is the drives' ripple about their command."""


@dataclass(frozen=True)
class FaultRun:
    """One motion, one fault, and what came of it."""

    kind: str
    robot: str
    at: float
    """When the fault struck [s]."""
    stop_time: float
    """From the fault to the last time that any joint moved, by the physics [s]."""
    travel: float
    """Farthest that a joint went from where it was at the fault [rad]."""
    overshoot: float
    """Farthest that a joint went beyond where it came to rest [rad]."""
    measured: float
    """Peak deceleration of the physics over the limit, worst joint."""
    commanded: float
    """Peak commanded acceleration over the limit, worst joint."""
    within_limits: bool
    moved_after: float
    """Farthest that a joint moved after it stood [rad]."""
    refused: bool
    """Whether the motion was refused when it was asked for again (not after a cancel, which is no fault)."""
    reason: str
    told: bool
    """Whether the log says what happened."""

    @property
    def moved(self) -> bool:
        """Whether anything moved after the fault."""
        return not (self.moved_after <= STILL and self.refused)


def random_motion(robot: RobotModel, world: World, rng: np.random.Generator) -> JointTrajectory:
    """A motion from home through random poses and to rest, near the arm's limits, that the guard approves."""
    for _ in range(200):
        knots = np.cumsum(np.vstack([np.zeros(len(robot.home)), rng.normal(0.0, 0.3, (3, len(robot.home)))]), axis=0)
        path = CubicSpline(np.arange(4.0), robot.home + knots, bc_type="clamped")
        t = np.linspace(0.0, 3.0, 91)
        q = path(t)
        if not ((q > robot.lower + 0.05) & (q < robot.upper - 0.05)).all():
            continue
        share = float(rng.uniform(*SHARE))
        limits = (robot.velocity, robot.acceleration, robot.jerk)
        try:
            timed = time_parametrised(0.4 * t, q, *limits, share, 100.0)
            trajectory = JointTrajectory(robot.joint_names, timed.t, timed.q, timed.qd, np.zeros(len(timed.t)))
            state = FaultyArm(robot, timed.q[0], "none", np.inf, 0).read()
            approve(trajectory, robot, state, world, SIMULATED, now_ns=state.stamp_ns)
        except (RefusedTrajectory, InvalidInput):
            continue
        if timed.t[-1] > 0.8:
            return trajectory
    raise InvalidInput(f"no random motion of the {robot.name} was approved in 200 draws")


def run_fault(kind: str, robot_name: str, rng: np.random.Generator, folder: Path) -> FaultRun:
    """One run; `folder` takes its log.

    Raises:
        InvalidInput: an unknown kind; lists the known ones.
    """
    if kind not in KINDS:
        raise InvalidInput(f"unknown fault '{kind}'; known: {', '.join(KINDS)}")
    robot = load_robot(robot_name)
    world = surroundings(Scene((), ()), robot.T_world_base)
    while True:
        trajectory = random_motion(robot, world, rng)
        probe = FaultyArm(robot, trajectory.q[0], "none", np.inf, 0)
        approved = _approved(probe, trajectory, world)
        at = float(rng.uniform(0.1, 0.85) * approved.motion.t[-1])
        joint = int(rng.integers(len(robot.home)))
        if kind == "joint against a stop":
            found = moving_joint(approved.motion, at, 0.15)
            if found is None:
                continue
            joint = found
        break
    log = folder / "log"
    arm = FaultyArm(robot, trajectory.q[0], kind, at, joint)
    if kind == KILLED:
        run_until_killed(arm, trajectory, world, log, at, float(rng.uniform(0.0, 1e-3)), arm.wait)
        _until_still(arm)
        began = len(arm.history) - 1
        _steps(arm, AFTER)
        return _judged(arm, kind, Fault(("the commanding process died",)), log, _moved(arm, began), True)
    journal = Journal(log)
    executor = StreamingExecutor(arm, robot, journal)
    approved = _approved(arm, trajectory, world)
    arm.arrange(executor, approved)
    executor.execute(approved)
    moved, refused = _watch(arm, executor, approved, FAULTS[kind])
    journal.close()
    return _judged(arm, kind, FAULTS[kind], log, moved, refused)


def _approved(arm: FaultyArm, trajectory: JointTrajectory, world: World) -> ApprovedTrajectory:
    state = arm.read()
    return approve(trajectory, arm.robot, state, world, SIMULATED, now_ns=state.stamp_ns)


def _watch(arm: FaultyArm, executor: StreamingExecutor, approved: ApprovedTrajectory, fault: Fault) -> tuple[float, bool]:
    """How far anything moves once the arm stands, and whether every attempt to go on was refused."""
    _until_still(arm)
    began, refused = len(arm.history) - 1, True
    for k in range(3):
        if k == 1:
            arm.healed = True  # a stop from outside stays where it is: taken away, the joint would rightly follow its target
        if fault.latches:
            try:
                executor.execute(approved)
                refused = False
            except RefusedTrajectory:
                pass
            refused = refused and executor.phase is Phase.FAULT
        _steps(arm, AFTER / 3.0)
    return _moved(arm, began), refused


def _until_still(arm: FaultyArm) -> None:
    """Until no joint has been fast for a while: after a push the drives still bring the arm back to where it is held."""
    n, enough = len(arm.target), round(SETTLE / arm.period)
    for _ in range(round(LONGEST / arm.period)):
        arm.wait()
        if (np.abs(np.array(arm.history[-enough:])[:, 1 + n :]) <= SLOW).all():
            return


def _steps(arm: FaultyArm, duration: float) -> None:
    for _ in range(round(duration / arm.period)):
        arm.wait()


def _moved(arm: FaultyArm, began: int) -> float:
    q = np.array(arm.history[began:])[:, 1 : 1 + len(arm.target)]
    return float(np.abs(q - q[0]).max())


def _judged(arm: FaultyArm, kind: str, fault: Fault, log: Path, moved: float, refused: bool) -> FaultRun:
    n, robot = len(arm.target), arm.robot
    history, commands = np.array(arm.history), np.array(arm.commands)
    t, q, qd = history[:, 0], history[:, 1 : 1 + n], history[:, 1 + n :]
    first = int(np.searchsorted(t, arm.at))
    moving = np.flatnonzero((np.abs(qd) > SLOW).any(axis=1))
    last = max(first, int(moving[-1]) if len(moving) else first)
    measured = _peak(t, qd, first, last, robot.acceleration)
    late = commands[commands[:, 0] >= arm.at - 1e-9]
    commanded = float((np.abs(late[:, 1 + 2 * n :]) / robot.acceleration).max()) if len(late) else 0.0
    end = q[last]
    way = np.sign(end - q[first])
    outcome, reason = last_outcome(log)
    spare = [r for r in read_journal(log) if r["kind"] == "decision"]
    text = reason + " ".join(str(r.get("reason", "")) for r in spare)
    hard = commanded if fault.outside else max(measured / (1.0 + TOLERANCE), commanded)
    return FaultRun(
        kind, robot.name, arm.at, float(t[last] - arm.at), float(np.abs(q[first:] - q[first]).max()),
        float((way * (q[first:] - q[-1])).max()), measured, commanded, bool(hard <= 1.0), moved, refused,
        f"{outcome}: {reason}", any(words in text for words in fault.says) and outcome != "executed",
    )  # fmt: skip


def _peak(t: ndarray, qd: ndarray, first: int, last: int, limit: Float[ndarray, "J"]) -> float:
    """Largest acceleration over the limit from the fault to rest."""
    index = np.arange(max(first - WINDOW, WINDOW), min(last + WINDOW, len(t) - WINDOW))
    if not len(index):
        return 0.0
    a = (qd[index + WINDOW] - qd[index - WINDOW]) / (t[index + WINDOW] - t[index - WINDOW])[:, None]
    return float((np.abs(a) / limit).max())


def campaign(runs: int, seed: int, progress: Callable[[int, int], None]) -> list[FaultRun]:
    """`runs` runs over all kinds and both arms in turn.

    Raises:
        InvalidInput: fewer runs than kinds.
    """
    if not runs >= len(KINDS):
        raise InvalidInput(f"--runs is {runs}, at least {len(KINDS)} are needed: one of every kind of fault")
    done = []
    for k in range(runs):
        rng = np.random.default_rng([seed, k])
        with tempfile.TemporaryDirectory() as folder:
            kind, robot = KINDS[k % len(KINDS)], ROBOTS[(k // len(KINDS) + k) % len(ROBOTS)]
            done.append(run_fault(kind, robot, rng, Path(folder)))
        progress(k + 1, runs)
    return done


def summary(runs: list[FaultRun]) -> dict[str, Any]:
    """Figures of a campaign, over all and by kind."""
    kinds = {}
    for kind in KINDS:
        of = [r for r in runs if r.kind == kind]
        if of:
            kinds[kind] = {
                "runs": len(of),
                "stopped_within_limits": sum(r.within_limits for r in of),
                "stop_time_s": _spread([r.stop_time for r in of]),
                "travel_rad": _spread([r.travel for r in of]),
                "overshoot_rad": _spread([r.overshoot for r in of]),
                "measured_over_limit": max(r.measured for r in of),
                "commanded_over_limit": max(r.commanded for r in of),
                "moved_after_fault": sum(r.moved for r in of),
                "told": sum(r.told for r in of),
            }
    return {
        "runs": len(runs),
        "moved_after_fault": sum(r.moved for r in runs),
        "stopped_within_limits": sum(r.within_limits for r in runs),
        "told": sum(r.told for r in runs),
        "farthest_after_fault_rad": max(r.moved_after for r in runs),
        "kinds": kinds,
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "max": float(np.max(values))}
