"""The comparison of reward learners: small, but every method really learns in its own process."""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import InvalidInput, UnknownName
from visual_irl.evaluation.benchmarks import kept_parts
from visual_irl.evaluation.benchmarks.irl_bench import MEASURES, METHODS, PEERS, THRESHOLDS, IrlBench, bench_irl
from visual_irl.evaluation.benchmarks.irl_pictures import plot_profiles
from visual_irl.evaluation.benchmarks.kept_parts import KeptParts
from visual_irl.io.artifacts import code_digest
from visual_irl.policy.cloning import Cloning
from visual_irl.policy.ppo import PPO
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic import kinematic_task
from visual_irl.verbs import bench_stage
from visual_irl.verbs.bench_verb import irl

SMALL = IrlBench(
    demos=4, seeds=1, fresh=1, attempts=1, episodes=64, ppo=PPO(iterations=12, environments=64), cloning=Cloning(updates=100)
)


@pytest.mark.long  # imports much
@pytest.mark.parametrize("method", PEERS)
def test_the_library_imitation_learns_from_few_films_and_draws_no_bar(method: str, capfd: pytest.CaptureFixture[str]) -> None:
    peers = pytest.importorskip("visual_irl.evaluation.benchmarks.irl_peers")
    task = kinematic_task("onion_sorting")
    shown, actions, _ = roll_out(task.build(2, seed=10_000), task.expert)  # fewer steps than a batch of its discriminator
    _, _, steps = peers.learn(method, task, shown, actions, 0, 1e-2)
    assert steps > 0 and capfd.readouterr() == ("", "")


def test_parts_of_other_code_or_another_configuration_are_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bench.json"
    KeptParts(out, "a").keep("part", 1)
    assert "part" in KeptParts(out, "a") and "part" not in KeptParts(out, "b")
    monkeypatch.setattr(kept_parts, "code_digest", lambda: "a later version")
    assert KeptParts(out, "a").get("part", lambda: 2) == 2
    monkeypatch.undo()
    assert KeptParts(out, "a")["part"] == 1  # each version has its own


@pytest.mark.long
def test_every_method_is_scored_and_a_kept_run_is_not_run_again(tmp_path: Path) -> None:
    out = tmp_path / "irl.json"
    marked = {"method": "bc", "seed": 0, "cpu_s": 1.0, "env_steps": 0, "success": 0.125, "let_go": 0.0, "return": 0.5}
    marked |= {"shows_all": False, "reoptimised": [], "behaviour_accuracy": 0.25} | dict.fromkeys(MEASURES)
    marked |= {"warnings": ["one kind is not shown"]}
    kept = {"config": repr(SMALL), "code": code_digest(), "part": "bc 0", "value": marked}
    out.with_suffix(".parts.jsonl").write_text(json.dumps(kept) + '\n{"config": "cut o')
    seen: list[tuple[int, int]] = []
    result = bench_irl(SMALL, out, workers=2, progress=lambda done, total: seen.append((done, total)))
    content = json.loads(out.read_text())
    assert set(content["methods"]) == set(METHODS) and seen[0] == (1, 4) and seen[-1] == (4, 4)
    assert content["methods"]["bc"]["success_iqm"] == 0.125  # as it was kept
    assert not out.with_suffix(".parts.jsonl").exists()
    for method in ("ours", "true_reward"):
        row = content["methods"][method]
        assert row["return"] > 0.1  # 0 is random; the small budget does not reach 1
        assert 0 <= row["reoptimised_success_worst"] <= 1 and row["env_steps"] > 0
    ours, true = content["methods"]["ours"], content["methods"]["true_reward"]
    assert true["starc"] == pytest.approx(0, abs=1e-6) and true["epic"] == pytest.approx(0, abs=1e-6)
    assert 0 < ours["starc"] < 0.3 and 0 < ours["epic"] < 0.3 and 0.7 < ours["return_correlation"] < true["return_correlation"]
    assert ours["lipschitz"] > 0 and 0 < ours["behaviour_accuracy"] < 1
    profile = content["methods"]["bc"]["success_profile"]  # of one run that scored .125
    assert profile == [float(at < 0.125) for at in THRESHOLDS]
    wins = {m: row["improved_on_by_ours"] for m, row in content["methods"].items()}
    assert wins["ours"] is None and wins["bc"] == (1 + np.sign(ours["success_iqm"] - 0.125)) / 2
    plot_profiles(tmp_path / "profiles.png", content)
    assert (tmp_path / "profiles.png").stat().st_size > 10_000
    assert content["seeds_not_showing_all"] == [0] and content["methods"]["bc"]["success_iqm_where_all_shown"] is None
    assert "seeds 0 leave out an attribute" in result.table()
    assert "warning, seeds 0: one kind is not shown" in result.table()
    assert "re-optimised" in result.table() and content["methods"]["bco"]["starc"] is None


@pytest.mark.long
def test_what_a_seed_was_warned_of_is_in_the_table_whichever_process_ran_it(tmp_path: Path) -> None:
    tiny = replace(SMALL, demos=3, seeds=2, fresh=0, episodes=8, named=("ours",), ppo=PPO(iterations=1))
    table = bench_irl(tiny, tmp_path / "irl.json").table()
    assert r"warning, seeds 1: no demonstration shows where things with attribute 0 belong (shown: 1)" in table
    assert "warning, seeds 0" not in table


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="onion_sorting_two_onions"):
        IrlBench(task="knitting")
    with pytest.raises(InvalidInput, match="demos is 0"):
        IrlBench(demos=0)
    with pytest.raises(InvalidInput, match="fresh is -1; give at least 0"):
        IrlBench(fresh=-1)


def test_the_verb_asks_for_what_it_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[IrlBench] = []
    monkeypatch.setattr(bench_stage, "bench_irl", lambda json, config, *rest: asked.append(config))
    irl(seeds=2, seed=100, fresh=0, keypoint_noise_mm=20.0)
    assert asked == [IrlBench(seeds=2, first_seed=100, fresh=0, keypoint_noise=0.02)]


@pytest.mark.long
def test_a_killed_worker_loses_no_result(tmp_path: Path) -> None:
    tiny = replace(SMALL, seeds=3, episodes=16, named=("bc",), cloning=Cloning(updates=20))
    killed: list[int] = []

    def kill_one(done: int, total: int) -> None:
        if done == 1 and not killed:
            worker = multiprocessing.active_children()[0]
            worker.kill()
            killed.append(worker.pid or 0)

    result = bench_irl(tiny, tmp_path / "irl.json", workers=1, progress=kill_one)
    assert killed and [r["seed"] for r in result.runs] == [0, 1, 2]
    assert json.loads((tmp_path / "irl.json").read_text())["seeds"] == 3


def test_methods_are_named_and_unknown_ones_refused() -> None:
    assert IrlBench(named=("ours", "airl")).methods == ("ours", "airl")
    with pytest.raises(UnknownName, match="airl"):
        IrlBench(named=("magic",))
    with pytest.raises(InvalidInput, match="no method"):
        IrlBench(named=())
