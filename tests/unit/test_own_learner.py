"""A package that has nothing to do with this one adds a learner: the one that the docs tell of, word for word."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from installed_package import code_in_docs, install
from visual_irl.errors import InvalidInput, UnknownName
from visual_irl.evaluation.benchmarks import irl_bench
from visual_irl.policy.ppo import PPO
from visual_irl.registry import Registry
from visual_irl.reward import learner


def installed(folder: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docs' module in a package that was just installed, `later_is_better` being `target`."""
    points = f"[visual_irl.situation_learners]\nlater_is_better = {target}\n"
    install(folder, "my_rewards", code_in_docs("reward.md", "A learner of your own"), points, monkeypatch)
    registry = Registry("situation_learners", {"progress": ("visual_irl.reward.progress:Progress", "-")})
    for module in (learner, irl_bench):
        monkeypatch.setattr(module, "SITUATION_LEARNERS", registry)


@pytest.mark.long
def test_the_learner_in_the_docs_is_measured_like_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = irl_bench.IrlBench(demos=4, fresh=1, attempts=1, episodes=16, ppo=PPO(iterations=2, environments=16))
    with pytest.raises(UnknownName, match="later_is_better"):
        replace(tiny, named=("later_is_better",))
    installed(tmp_path, "my_rewards:LaterIsBetter", monkeypatch)
    config = replace(tiny, named=("ours", "later_is_better"))
    run = irl_bench.run_method(config, "later_is_better", seed=0)
    assert run["return_correlation"] > 0.5 and 0 < run["epic"] < 0.5  # 0 and about .7 of a reward that knows nothing
    assert len(run["reoptimised"]) == 1 and run["env_steps"] > 0


def test_what_is_no_learner_is_refused_before_anything_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, "visual_irl.reward.max_ent:MaxEnt", monkeypatch)  # one of the other kind: on graphs
    with pytest.raises(InvalidInput, match=r"'later_is_better' is registered .* a MaxEnt is none"):
        irl_bench.IrlBench(named=("later_is_better",))
