"""What `visual-irl bench execution` measures: the guard's speed and judgement, the planner, the stream's evenness, faults."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.benchmarks.kept_parts import KeptParts
from visual_irl.evaluation.faults.fault_campaign import (
    BACKENDS,
    ROBOTS,
    FaultRun,
    campaign_run,
    require_enough,
    require_installed,
    summary,
)
from visual_irl.evaluation.faults.guard_oracle import judge_guard
from visual_irl.evaluation.faults.trial import random_motion
from visual_irl.execution.cadence import Cadence
from visual_irl.execution.guard import SIMULATED, GuardConfig, approve
from visual_irl.execution.journal import Journal
from visual_irl.execution.state import RobotState
from visual_irl.execution.streaming import StreamConfig, StreamingExecutor
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file
from visual_irl.robots import load_robot
from visual_irl.robots.interpolation import motion_through, sampled
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import JointTrajectory

RATES = (125.0, 500.0)
"""Cycles a second of a UR with an old and a new controller [1/s]."""
GUARD_SAMPLES = 1000
GUARD_REPEATS = 15
BLOCK = 5000
"""Random trajectories that are judged, and kept, together."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class ExecutionBench:
    """How much is measured."""

    scenes: int = 100
    """Random table scenes that the planner solves, an arm."""
    runs: int = 240
    """Runs with a fault."""
    trajectories: int = 100_000
    """Random trajectories for the guard."""
    seconds: float = 20.0
    """How long each rate is streamed [s]."""
    seed: int = 0
    backends: tuple[str, ...] = BACKENDS
    """Where faults are injected."""

    def __post_init__(self) -> None:
        require_enough(self.runs, self.backends)
        if not (self.scenes >= 1 and self.trajectories >= 100 and 1.0 <= self.seconds <= 3600.0):
            raise InvalidInput(
                f"--scenes {self.scenes} must be at least 1, --trajectories {self.trajectories} at least 100, and --seconds "
                f"{self.seconds} between 1 and 3600"
            )


def bench_execution(config: ExecutionBench, out: Path, progress: Progress) -> dict[str, Any]:
    """Measure everything and write `out`; returns what is in it.

    Finished parts are kept beside `out` until all are done, so a bench that was interrupted goes on where it was.
    """
    from visual_irl.evaluation.benchmarks.planning_bench import plan_scenes

    require_installed(config.backends)
    require_writable_file(out, "--json")
    kept = KeptParts(out, config)
    guard, stream, planner = {}, {}, {}
    for k, name in enumerate(ROBOTS):
        guard[name] = kept.get(f"guard {name}", partial(guard_speed, load_robot(name), config.seed))
        progress("the guard's speed", k + 1, len(ROBOTS))
    for k, rate in enumerate(RATES):
        measure = partial(stream_jitter, load_robot("ur5e"), rate, config.seconds, config.seed)
        stream[f"{rate:.0f}_hz"] = kept.get(f"stream {rate}", measure)
        progress("even cycles", k + 1, len(RATES))
    for name in ROBOTS:
        show = partial(progress, f"planner, {name}")
        planner[name] = kept.get(f"planner {name}", partial(plan_scenes, name, config.scenes, config.seed, show))
    faults = []
    for k in range(config.runs):
        row = kept.get(f"fault {k}", partial(_fault, k, config))
        faults.append(FaultRun(**row))
        progress("faults", k + 1, config.runs)
    result = {
        "guard_ms_per_1000": max(guard.values()),
        "guard_ms_per_1000_by_robot": guard,
        "planner": planner,
        **_judged_blocks(config, kept, progress),
        "streaming": stream,
        "faults": summary(faults),
        "config": config,
    }
    artifacts.write_json(out, result)
    kept.forget()
    return result


def _fault(k: int, config: ExecutionBench) -> dict[str, Any]:
    return vars(campaign_run(k, config.seed, config.backends))


def _judged_blocks(config: ExecutionBench, kept: KeptParts, progress: Progress) -> dict[str, Any]:
    """The guard's judgement of random trajectories, summed over blocks."""
    total: dict[str, Any] = {}
    for block, first in enumerate(range(0, config.trajectories, BLOCK)):
        count = min(BLOCK, config.trajectories - first)

        def show(done: int, of: int, first: int = first) -> None:
            progress("random trajectories", first + done, config.trajectories)

        row = kept.get(f"block {block}", partial(judge_guard, count, config.seed, show, block))
        show(count, count)
        total = {name: total[name] + value for name, value in row.items()} if total else row
    return {**total, "examples": total["examples"][:10]}


def guard_speed(robot: RobotModel, seed: int) -> float:
    """Median time to approve 1,000 samples over a table with things on it: limits, collisions, point speeds [ms]."""
    rng = np.random.default_rng([seed, 2])
    table = surroundings(Scene((), ()), robot.T_world_base)
    things = [Obstacle.sphere(f"ball {k}", np.array([0.3 + 0.1 * k, 0.3, 0.05]), 0.04) for k in range(3)]
    world = World((*table.obstacles, *things), table.T_world_base)
    trajectory = _resampled(random_motion(robot, world, rng), GUARD_SAMPLES)
    times = []
    for _ in range(GUARD_REPEATS + 1):
        state = RobotState.at_rest(robot.joint_names, trajectory.q[0])
        began = time.perf_counter()
        approve(trajectory, robot, state, world, GuardConfig())
        times.append(1e3 * (time.perf_counter() - began))
    return float(np.median(times[1:]))


def _resampled(trajectory: JointTrajectory, samples: int) -> JointTrajectory:
    """The same motion, half as fast, on a regular grid of so many samples."""
    motion = motion_through(trajectory.t, trajectory.q, trajectory.qd)
    t = np.linspace(motion.t[0], motion.t[-1], samples)
    q, qd, _ = sampled(motion, t)
    return JointTrajectory(trajectory.joint_names, 2.0 * t, q, 0.5 * qd, np.zeros(samples))


class EvenArm:
    """An arm that goes where it is told at once, in real time: what is uneven is the stream's own."""

    def __init__(self, robot: RobotModel, q: Float[ndarray, "J"], rate: float) -> None:
        self.joint_names, self.period = robot.joint_names, 1.0 / rate
        self._q, self._qd = np.array(q, float), np.zeros(len(q))
        self._cadence = Cadence(self.period)
        self.times: list[float] = []
        """When each target came [s]."""

    def now_ns(self) -> int:
        return time.monotonic_ns()

    def read(self) -> RobotState:
        return RobotState(self.joint_names, time.monotonic_ns(), self._q, self._qd)

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        self.times.append(time.perf_counter())
        self._q, self._qd = q.copy(), qd.copy()

    def wait(self) -> None:
        self._cadence.wait()

    def halt(self) -> None:
        self._qd = np.zeros_like(self._qd)


def stream_jitter(robot: RobotModel, rate: float, seconds: float, seed: int) -> dict[str, float]:
    """How evenly targets come at `rate` [1/s] for `seconds` or more, logging to disk: differences from the period [ms]."""
    world = surroundings(Scene((), ()), robot.T_world_base)
    motion = random_motion(robot, world, np.random.default_rng([seed, 3]))
    arm = EvenArm(robot, motion.q[0], rate)
    slower = max(1.0, seconds / float(motion.t[-1]))
    slow = JointTrajectory(motion.joint_names, motion.t * slower, motion.q, motion.qd / slower, motion.opening)
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "log")
        executor = StreamingExecutor(arm, robot, journal, StreamConfig(cycle_gap=1.0, state_age=1.0))
        report = executor.execute(approve(slow, robot, arm.read(), world, SIMULATED))
        journal.close()
    off = 1e3 * np.abs(np.diff(arm.times) - arm.period)
    return {
        "cycles": float(len(arm.times)),
        "jitter_ms_median": float(np.median(off)),
        "jitter_ms_p99": float(np.quantile(off, 0.99)),
        "jitter_ms_max": float(off.max()),
        "late_cycles": float((off > 1e3 * arm.period).sum()),
        "executed": float(report.outcome == "executed"),
    }


def table(result: dict[str, Any]) -> str:
    """What was measured, for a person."""
    faults = result["faults"]
    lines = [f"  guard: {result['guard_ms_per_1000']:.2f} ms per 1,000 samples"]
    lines += [
        f"  planner, {name}: {100.0 * p['success']:.0f} % solved, median {p['ms_median']:.1f} ms, p95 {p['ms_p95']:.1f} ms, "
        f"bare OMPL {p['bare_ms_median']:.1f} ms"
        for name, p in result["planner"].items()
    ]
    lines.append(
        f"  {result['random_trajectories']} random trajectories, {result['approved']} approved, of which "
        f"{result['approved_violations']} break a bound; {result['refused_without_reason']} refused that keep all"
    )
    lines += [
        f"  stream at {name.removesuffix('_hz')} Hz: {s['jitter_ms_median']:.3f} ms median, {s['jitter_ms_p99']:.3f} ms p99, "
        f"{s['jitter_ms_max']:.2f} ms at most"
        for name, s in result["streaming"].items()
    ]
    lines.append(
        f"  {faults['runs']} runs with a fault: {faults['moved_after_fault']} moved afterwards, "
        f"{faults['stopped_within_limits']} stopped within the limits, the log tells why in {faults['told']}"
    )
    for name, of in faults["backends"].items():
        lines.append(
            f"  {name}: {of['runs']} runs, {of['moved_after_fault']} moved afterwards, "
            f"{of['stopped_within_limits']} stopped within the limits"
        )
        lines += [
            f"    {kind:24} stop {k['stop_time_s']['median']:.2f} s (at most {k['stop_time_s']['max']:.2f}), overshoot "
            f"{1e3 * k['overshoot_rad']['max']:.1f} mrad, deceleration {k['measured_over_limit']:.2f} of the limit"
            for kind, k in of["kinds"].items()
        ]
    return "\n".join(lines)
