"""A short fault campaign: every kind once or twice at random times; the long one is `visual-irl bench execution`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.benchmarks.execution_bench import ExecutionBench, bench_execution, stream_jitter, table
from visual_irl.evaluation.faults.fault_campaign import KINDS, MUJOCO, campaign_run, require_enough, run_fault, summary
from visual_irl.evaluation.faults.faulty_arm import FaultyArm
from visual_irl.execution.journal import last_outcome
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.robots import load_robot

pytestmark = pytest.mark.long


def test_in_every_fault_the_arm_stops_within_its_limits_stands_and_the_log_says_why() -> None:
    runs = [campaign_run(k, 11, (MUJOCO,)) for k in range(len(KINDS))]
    assert {run.kind for run in runs} == set(KINDS)
    for run in runs:
        assert not run.moved and run.within_limits and run.told, run
        assert run.stop_time < 3.0, run  # [s] by the simulation's clock
    figures = summary(runs)
    assert figures["moved_after_fault"] == 0 and figures["stopped_within_limits"] == figures["told"] == figures["runs"]


def test_the_campaign_sees_an_arm_that_stops_too_hard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(MujocoArm, "_own_stop", lambda arm: arm._drive(arm.target, 0 * arm.target, 0 * arm.target))
    run = run_fault("protective stop", "ur5e", np.random.default_rng(3), tmp_path)
    assert not run.within_limits and run.measured > 1.5


def test_the_campaign_sees_an_arm_that_moves_afterwards(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    step = FaultyArm.wait

    def drifting(arm: FaultyArm) -> None:
        if arm.healed:
            arm.push(np.full(len(arm.target), 30.0))  # [Nm]
        step(arm)

    monkeypatch.setattr(FaultyArm, "wait", drifting)
    assert run_fault("states delayed", "panda", np.random.default_rng(4), tmp_path).moved


def test_what_a_killed_process_leaves_says_where_it_was(tmp_path: Path) -> None:
    run = run_fault("process killed", "ur5e", np.random.default_rng(5), tmp_path)
    outcome, reason = last_outcome(tmp_path / "log")
    assert outcome == "died" and "the commanding process died" in reason and not run.moved
    last = float(reason.split("s = ")[1].split(" s")[0])
    assert abs(last - run.at) < 0.01  # [s] a few cycles of 2 ms: no record is lost


def test_too_few_runs_and_unknown_kinds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="one of every kind"):
        require_enough(3, (MUJOCO,))
    with pytest.raises(InvalidInput, match="gazebo"):
        require_enough(300, ("gazebo",))
    with pytest.raises(InvalidInput, match="process killed"):
        run_fault("flood", "panda", np.random.default_rng(0), tmp_path)
    with pytest.raises(InvalidInput, match="--scenes 0"):
        ExecutionBench(scenes=0)


def test_a_stream_keeps_its_rate_on_the_whole() -> None:
    seconds = 3.0  # longer than the motion takes by itself
    jitter = stream_jitter(load_robot("ur5e"), 125.0, seconds, 0)
    assert jitter["executed"] == 1.0 and jitter["cycles"] == pytest.approx(125.0 * (seconds + 0.3), abs=4)


def test_the_whole_bench_in_short(tmp_path: Path) -> None:
    config = dataclasses.replace(ExecutionBench(), scenes=2, runs=len(KINDS), trajectories=200, seconds=1.0, backends=(MUJOCO,))
    seen: dict[str, int] = {}

    def interrupt(what: str, done: int, total: int) -> None:
        if what == "random trajectories":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench_execution(config, tmp_path / "e.json", interrupt)
    result = bench_execution(config, tmp_path / "e.json", lambda what, done, total: seen.update({what: done}))
    assert (tmp_path / "e.json").is_file() and set(seen) >= {"faults", "random trajectories"}
    assert "planner, panda" not in seen and [p.name for p in tmp_path.iterdir()] == ["e.json"]  # kept parts were not done again
    assert result["approved_violations"] == 0 and result["random_trajectories"] == 200
    assert result["faults"]["moved_after_fault"] == 0 and set(result["faults"]["backends"]) == {MUJOCO}
    assert {"success", "ms_median", "bare_ms_median"} <= set(result["planner"]["ur5e"]) and result["guard_ms_per_1000"] > 0.0
    assert f"{len(KINDS)} runs with a fault" in table(result)
