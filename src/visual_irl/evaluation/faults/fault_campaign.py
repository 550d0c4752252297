"""Faults at random times of random motions, and what the physics then did: the stop, and everything after it.

On two back ends: MuJoCo, in this process and its own time, and franky-sim with the real libfranka client.

Deceleration is the change of the joints' simulated speed over 10 ms, and the commanded acceleration; both are compared with the
limits of the arm. Where something from outside pushes or blocks a joint only the commands are. After the stop whatever was
wrong goes away by itself, the motion is asked for again, and nothing may move.
"""

from __future__ import annotations

import importlib.util
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, MissingDependency, RefusedTrajectory, VisualIrlError, pip_install
from visual_irl.evaluation.faults.faulty_arm import DRIVER_KILLED, FAULTS, KILLED, Fault, FaultyArm
from visual_irl.evaluation.faults.killed_commander import run_until_killed
from visual_irl.evaluation.faults.trial import AFTER, Course, approved_by, random_trial
from visual_irl.execution.guard import ApprovedTrajectory
from visual_irl.execution.journal import Journal, last_outcome, read_journal
from visual_irl.execution.streaming import Phase, StreamingExecutor
from visual_irl.robots.model import RobotModel

MUJOCO, FRANKY = BACKENDS = ("mujoco", "franky-sim")
SAYS_KILLED = Fault(("the commanding process died",))
REFLEX = ("states delayed", "states reordered", "state stream frozen", "connection cut")
"""By these a Franka controller may stop itself before anything else notices."""
SAYS = {
    MUJOCO: {**FAULTS, KILLED: SAYS_KILLED},
    FRANKY: {
        **FAULTS, **{kind: Fault((*FAULTS[kind].says, "the newest state is", "protective stop: reflex")) for kind in REFLEX},
        "protective stop": Fault(("protective stop: reflex",)), DRIVER_KILLED: Fault(("the connection is lost",)),
        KILLED: SAYS_KILLED,
    },
}  # fmt: skip
"""What must be found in the log, by back end and kind."""
KINDS, FRANKA_KINDS = tuple(SAYS[MUJOCO]), tuple(SAYS[FRANKY])
ROBOTS, FRANKA_ROBOTS = ("panda", "ur5e"), ("fr3", "panda")
SETTLE = 0.3
"""An arm that was slow for this long stands [s]."""
LONGEST = 10.0
"""It is not waited longer for that [s]."""
STILL = 1e-3
"""A joint that moves less than this stands [rad]."""
SLOW = 0.01
"""A joint slower than this stands [rad/s]."""
WINDOW = 0.005
"""Half of the window in which speed is differentiated [s]."""
REPEATS = 3
"""How often a run is repeated that a busy machine stopped before its fault struck."""
TOLERANCE = 0.10
"""Excess of the measured acceleration over a limit that is the drives' ripple about their command."""


@dataclass(frozen=True)
class FaultRun:
    """One motion, one fault, and what came of it."""

    kind: str
    backend: str
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


def run_fault(kind: str, robot_name: str, rng: np.random.Generator, folder: Path) -> FaultRun:
    """One run in MuJoCo; `folder` takes its log.

    Raises:
        InvalidInput: an unknown kind; lists the known ones.
    """
    if kind not in KINDS:
        raise InvalidInput(f"unknown fault '{kind}'; known: {', '.join(KINDS)}")
    trial, log = random_trial(kind, robot_name, rng), folder / "log"
    arm = FaultyArm(trial.robot, trial.trajectory.q[0], kind, trial.at, trial.joint)
    if kind == KILLED:
        run_until_killed(arm, trial, log, float(rng.uniform(0.0, 1e-3)), arm.wait)
        _until_still(arm)
        still, refused = len(arm.history) - 1, True
        _steps(arm, AFTER)
    else:
        journal = Journal(log)
        executor = StreamingExecutor(arm, trial.robot, journal)
        approved = approved_by(arm, trial.trajectory, trial.world)
        arm.arrange(executor, approved)
        executor.execute(approved)
        still, refused = _watch(arm, executor, approved, FAULTS[kind])
        journal.close()
    return _judged(kind, MUJOCO, trial.robot, Course(arm.history, arm.commands, trial.at, still, refused), log)


def run_franka_fault(kind: str, robot_name: str, rng: np.random.Generator, folder: Path, address: str) -> FaultRun:
    """One run with libfranka against franky-sim at a loopback address; `folder` takes its log.

    Raises:
        MissingDependency: pylibfranka or franky-sim is absent.
    """
    require_installed((FRANKY,))
    from visual_irl.evaluation.faults import franka_faults

    trial = random_trial(kind, robot_name, rng)
    for repeat in range(REPEATS):
        log = folder / f"log{repeat}"
        try:
            course = franka_faults.run_faulty(kind, trial, log, address)
        except VisualIrlError:  # a process could not be started or was stopped from outside: nothing was measured
            if repeat == REPEATS - 1:
                raise
            continue
        run = _judged(kind, FRANKY, trial.robot, course, log)
        if run.told or _stopped_at(log) >= course.struck:
            break
    return run


def _stopped_at(log: Path) -> float:
    """The motion's own time of the first stop in a log [s]."""
    return min((r["s"] for r in read_journal(log) if r.get("what") == "stop"), default=np.inf)


def _watch(arm: FaultyArm, executor: StreamingExecutor, approved: ApprovedTrajectory, fault: Fault) -> tuple[int, bool]:
    """From which step on the arm must stand, and whether every attempt to go on was refused."""
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
    return began, refused


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


def _judged(kind: str, backend: str, robot: RobotModel, course: Course, log: Path) -> FaultRun:
    """What the physics and the log say."""
    n, fault, at = len(robot.home), SAYS[backend][kind], course.struck
    history, commands = np.asarray(course.history), np.asarray(course.commands)
    t, q, qd = history[:, 0], history[:, 1 : 1 + n], history[:, 1 + n :]
    first = int(np.searchsorted(t, at))
    moving = np.flatnonzero((np.abs(qd) > SLOW).any(axis=1))
    last = max(first, int(moving[-1]) if len(moving) else first)
    measured = _peak(t, qd, first, last, robot.acceleration)
    late = commands[commands[:, 0] >= at - 1e-9]
    commanded = float((np.abs(late[:, 1 + 2 * n :]) / robot.acceleration).max()) if len(late) else 0.0
    if backend == FRANKY and kind in REFLEX:
        commanded = 0.0  # what the network lets through is not what was sent
    end = q[last]
    way = np.sign(end - q[first])
    outcome, reason = last_outcome(log)
    spare = [r for r in read_journal(log) if r["kind"] == "decision"]
    text = reason + " ".join(str(r.get("reason", "")) for r in spare)
    hard = commanded if fault.outside else max(measured / (1.0 + TOLERANCE), commanded)
    moved = float(np.abs(q[course.still :] - q[course.still]).max())
    return FaultRun(
        kind, backend, robot.name, at, float(t[last] - at), float(np.abs(q[first:] - q[first]).max()),
        float((way * (q[first:] - q[-1])).max()), measured, commanded, bool(hard <= 1.0), moved, course.refused,
        f"{outcome}: {reason}", any(words in text for words in fault.says) and outcome != "executed",
    )  # fmt: skip


def _peak(t: ndarray, qd: ndarray, first: int, last: int, limit: Float[ndarray, "J"]) -> float:
    """Largest acceleration over the limit from the fault to rest."""
    half = max(1, round(WINDOW / float(np.median(np.diff(t[t >= 0.0])))))
    index = np.arange(max(first - half, half), min(last + half, len(t) - half))
    if not len(index):
        return 0.0
    a = (qd[index + half] - qd[index - half]) / (t[index + half] - t[index - half])[:, None]
    return float((np.abs(a) / limit).max())


def campaign_run(k: int, seed: int, backends: tuple[str, ...]) -> FaultRun:
    """Run `k` of a campaign: kinds and arms in turn, every third run on a Franka arm where both back ends are asked for."""
    rng = np.random.default_rng([seed, k])
    turn = k if len(backends) == 1 else k // 3 if k % 3 == 2 else k - k // 3
    franka = backends == (FRANKY,) or (len(backends) > 1 and k % 3 == 2)
    kinds, robots = (FRANKA_KINDS, FRANKA_ROBOTS) if franka else (KINDS, ROBOTS)
    kind, robot = kinds[turn % len(kinds)], robots[(turn // len(kinds) + turn) % len(robots)]
    with tempfile.TemporaryDirectory() as folder:
        if franka:
            return run_franka_fault(kind, robot, rng, Path(folder), f"127.0.52.{1 + k % 250}")
        return run_fault(kind, robot, rng, Path(folder))


def require_enough(runs: int, backends: tuple[str, ...]) -> None:
    """That every kind of fault has its turn.

    Raises:
        InvalidInput: fewer runs than that, or an unknown back end.
    """
    if not backends or not set(backends) <= set(BACKENDS):
        raise InvalidInput(f"back ends {', '.join(backends)}; known: {', '.join(BACKENDS)}")
    least = 3 * len(FRANKA_KINDS) if len(backends) > 1 else len(SAYS[backends[0]])
    if not runs >= least:
        raise InvalidInput(f"--runs is {runs}, at least {least} are needed: one of every kind of fault on every back end")


def require_installed(backends: tuple[str, ...]) -> None:
    """That the packages of the back ends are there.

    Raises:
        MissingDependency: one is not; says what to install.
    """
    for name in ("pylibfranka", "franky_sim") if FRANKY in backends else ():
        if importlib.util.find_spec(name) is None:
            raise MissingDependency(f"faults on a Franka arm need '{name}': {pip_install('franka,bench')}")


def summary(runs: list[FaultRun]) -> dict[str, Any]:
    """Figures of a campaign: over all, by back end, and by kind."""
    result: dict[str, Any] = {**_counts(runs), "farthest_after_fault_rad": max(r.moved_after for r in runs)}
    result["backends"] = {}
    for backend in dict.fromkeys(r.backend for r in runs):
        of = [r for r in runs if r.backend == backend]
        kinds = {kind: _figures([r for r in of if r.kind == kind]) for kind in dict.fromkeys(r.kind for r in of)}
        result["backends"][backend] = {**_counts(of), "robots": sorted({r.robot for r in of}), "kinds": kinds}
    return result


def _counts(runs: list[FaultRun]) -> dict[str, int]:
    return {
        "runs": len(runs),
        "moved_after_fault": sum(r.moved for r in runs),
        "stopped_within_limits": sum(r.within_limits for r in runs),
        "told": sum(r.told for r in runs),
    }


def _figures(runs: list[FaultRun]) -> dict[str, Any]:
    return {
        **_counts(runs),
        "stop_time_s": _spread([r.stop_time for r in runs]),
        "travel_rad": _spread([r.travel for r in runs]),
        "overshoot_rad": _spread([r.overshoot for r in runs]),
        "measured_over_limit": max(r.measured for r in runs),
        "commanded_over_limit": max(r.commanded for r in runs),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": float(np.median(values)), "max": float(np.max(values))}
