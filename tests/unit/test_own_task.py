"""A package that has nothing to do with this one adds a task: the one that the docs tell of, word for word."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from installed_package import code_in_docs, install
from visual_irl.errors import InvalidInput, UnknownName
from visual_irl.evaluation.benchmarks.irl_bench import IrlBench, score
from visual_irl.evaluation.spread import spread
from visual_irl.policy.cloning import Cloning
from visual_irl.registry import Registry
from visual_irl.reward.progress import Progress
from visual_irl.reward.strategy import anchor_name
from visual_irl.tasks import kinematic
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.features import relational_features


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The docs' module in a package that was just installed, and one that is no task."""
    points = "[visual_irl.kinematic_tasks]\nshelving = my_tasks:Shelving\nno_task = visual_irl.policy.ppo:PPO\n"
    install(tmp_path, "my_tasks", code_in_docs("reward.md", "A task of your own"), points, monkeypatch)
    monkeypatch.setattr(kinematic, "KINEMATIC_TASKS", Registry("kinematic_tasks", {}))


@pytest.mark.usefixtures("installed")
def test_a_worker_knows_the_task_by_its_name_and_what_is_none_is_refused() -> None:
    [(_, task)] = spread(kinematic.kinematic_task, [("shelving",)])  # in a process that was told nothing else
    assert (task.horizon, task.attributes) == (60, 4)
    assert IrlBench("shelving").task == "shelving"
    with pytest.raises(UnknownName, match="unknown kinematic task 'knitting'; known: no_task, shelving"):
        IrlBench("knitting")
    with pytest.raises(InvalidInput, match="'no_task' is registered as a kinematic task, but a PPO is none: it has no horizon"):
        IrlBench("no_task")


@pytest.mark.usefixtures("installed")
def test_a_demonstrator_that_never_succeeds_is_refused() -> None:
    task = kinematic.kinematic_task("shelving")
    kinematic.require_sound("shelving", task)
    short = type("Short", (type(task),), {"horizon": 10})()
    with pytest.raises(InvalidInput, match="'short': its demonstrator succeeds in none of 8 episodes of 10 steps"):
        kinematic.require_sound("short", short)


@pytest.mark.usefixtures("installed")
def test_the_task_in_the_docs_is_measured_like_ours() -> None:
    demonstrator = score(IrlBench("shelving", episodes=64), kinematic.kinematic_task("shelving").expert, seed=0)
    assert demonstrator == pytest.approx({"success": 1, "let_go": 1, "return": 1, "behaviour_accuracy": 1})


@pytest.mark.usefixtures("installed")
def test_the_shelf_of_each_colour_is_found_wherever_it_stands() -> None:
    task = kinematic.kinematic_task("shelving")
    seen = roll_out(task.build(200, seed=5), task.expert)[0]
    assert float(task.success(seen[:, -1]).float().mean()) > 0.99
    chance = roll_out(task.build(200, seed=5), lambda o: 2 * torch.rand(200, 4) - 1)[0]
    assert float(task.success(chance[:, -1]).float().mean()) < 0.02
    reward = Progress().reward_of([task.split(s) for s in seen[:10]])
    strategy, left = reward.strategy, reward.steps_left(task.split(seen[10:]))
    assert bool((left[:, 0] > 10).all()) and float(left[:, -1].max()) < 1  # of demonstrations that it has not seen
    shelves = (anchor_name(2), anchor_name(3))
    assert strategy.release.frames == strategy.rest.frames == shelves and strategy.idle == (2, 3)


@pytest.mark.usefixtures("installed")
def test_networks_see_how_things_stand_to_each_other() -> None:
    task = kinematic.kinematic_task("shelving")
    now = task.split(task.build(16, seed=0).reset())
    block, shelves = now.things[:, 0], now.things[:, 1:]
    ways = relational_features(now, 4)[..., -48:].unflatten(-1, (4, 4, 3))  # of its own kind, to each kind
    own = ways[torch.arange(16), 0, now.attribute[:, 0]]
    assert torch.allclose(own[:, 2:], 8 * (shelves - block[:, None]), atol=1e-5)
    assert float(own[:, :2].abs().max()) < 1e-5  # to itself, and to the kind that is not there
    others = now.attribute[:, 0] ^ 1
    assert not bool(ways[torch.arange(16), 0, others].any())  # a block of one colour is not taken for one of the other
    assert torch.allclose(ways[:, 1, 2, 3], -ways[:, 2, 3, 2], atol=1e-5)


@pytest.mark.long
@pytest.mark.usefixtures("installed")
def test_a_policy_can_tell_whether_a_block_lies_on_its_shelf() -> None:
    task = kinematic.kinematic_task("shelving")
    seen, actions, _ = roll_out(task.build(100, seed=10_000), task.expert)
    policy = Cloning().clone(task, seen[:, :-1].flatten(0, 1), actions.flatten(0, 1), seed=0)
    last = roll_out(task.build(256, seed=50_000), lambda o: policy.act(task.split(o)))[0][:, -1]
    assert float(task.success(last).float().mean()) > 0.95  # .67 when two places and a colour were all that it was told
