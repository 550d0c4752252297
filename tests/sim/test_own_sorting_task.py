"""A task of another package, exactly as docs/tasks.md has it, goes all the way: filmed, seen, learned, mapped, played."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from installed_package import code_in_docs
from visual_irl.errors import InvalidInput
from visual_irl.evaluation.episodes.sight import Sight
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.io import artifacts
from visual_irl.perception import OBJECT_DETECTORS
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.registry import Registry
from visual_irl.robots import load_robot
from visual_irl.tasks import TASKS, load_task
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.verbs import stages
from visual_irl.verbs.evaluate_stage import evaluate
from visual_irl.verbs.map_stage import map_arm

pytestmark = pytest.mark.long

DOCS = (Path(__file__).parents[2] / "docs" / "tasks.md").read_text().split("## A task of your own", 1)[1]


@pytest.fixture(autouse=True)
def registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module in the docs, and the entry points that they name."""
    (tmp_path / "my_apples.py").write_text(code_in_docs("tasks.md", "A task of your own"))
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    rows = re.findall(r'\[project\.entry-points\."visual_irl\.(\w+)"\]\n    (\w+) = "(.*?)"', DOCS)
    kinds: dict[str, Registry] = {r.kind: r for r in (TASKS, OBJECT_DETECTORS)}
    assert [kind for kind, *_ in rows] == ["tasks", "object_detectors"]
    for kind, name, target in rows:
        monkeypatch.setattr(kinds[kind], "_table", dict(kinds[kind]._table))
        kinds[kind].register(name, target, "my-apples")


def test_it_is_filmed_and_its_things_are_seen() -> None:
    camera = SyntheticCamera(task="apples", seed=1)
    found = ObjectsConfig().build("apples").detect(camera.frame(0))
    truth = camera.truth
    assert len(found) == len(truth.objects) == 3 and {a["ripe"] for a in truth.attributes.values()} == {0.0, 1.0}
    for name, path in truth.objects.items():
        seen = min(found, key=lambda f: float(np.linalg.norm(f.p_world - path[0])))
        assert np.linalg.norm(seen.p_world - path[0]) < 0.01  # [m]
        assert seen.attributes == truth.attributes[name]


def test_a_label_that_is_not_the_detectors_is_told_from_nothing_in_sight() -> None:
    apples = load_task("apples")
    assert isinstance(apples, PickPlace)
    executor = MujocoExecutor(apples.sample_scene(np.random.default_rng(0), 1), load_robot("panda"))
    try:
        assert len(Sight(executor, np.random.default_rng(0), apples).things()) == 1
        pears = type("Pears", (type(apples),), {"label": "pear"})()
        with pytest.raises(InvalidInput, match=r"the cell's detector sees apple, and task 'apples' is done with 'pear'"):
            Sight(executor, np.random.default_rng(0), pears).things()
    finally:
        executor.close()


def test_it_is_learned_mapped_and_played(tmp_path: Path) -> None:
    demo, skill = tmp_path / "demo.npz", tmp_path / "skill"
    artifacts.save_demonstration(demo, SyntheticCamera(task="apples", seed=1).truth)
    assert stages.learn([demo], skill, "max_ent").task == "apples"
    map_arm("panda", tmp_path / "panda.npz", demonstration=demo, skill=skill)
    _, header, _ = artifacts.load_trajectory(tmp_path / "panda.npz")
    assert header["task"] == "apples" and set(header["fixtures"]) == {"crate_unripe", "crate_ripe"}
    result = evaluate(skill, "panda", 1, tmp_path / "result.json", 1003, 1, None, None)
    assert result["task"] == "apples" and result["apples"] == 2
    assert result["success_rate"] == 1.0 and not result["refused"]
