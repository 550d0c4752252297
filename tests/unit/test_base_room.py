"""A box where a robot's base stands, and a detector that is not there, are told before a film is made of them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import UnknownName
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.tasks import TASKS, load_task
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.pouring import Pouring
from visual_irl.tasks.scene import Scene
from visual_irl.verbs import stages
from visual_irl.verbs.base_room import in_the_base, remark_of_base, remark_of_usual_bases


def with_box_at(x: float, y: float) -> Scene:
    scene = OnionSorting().sample_scene(np.random.default_rng(0), 3)
    moved = replace(scene.fixtures[0], T_world=se3.transform(np.eye(3), np.array([x, y, 0.0])))
    return replace(scene, fixtures=(moved, *scene.fixtures[1:]))


@pytest.mark.parametrize("side", ["right", "left"])
def test_at_the_tasks_that_are_here_every_base_has_room(side: str) -> None:
    rng, robots = np.random.default_rng(0), [load_robot(name) for name in ROBOTS.names]
    scenes = [OnionSorting(moved=0.1).for_side(side).sample_scene(rng, 8) for _ in range(20)]
    for scene in (*scenes, *(Pouring().for_side(side).sample_scene(rng) for _ in range(20))):
        assert [in_the_base(scene, robot) for robot in robots] == [""] * len(robots)


def test_a_box_in_a_base_is_told_with_where_both_are() -> None:
    scene = with_box_at(-0.30, -0.10)
    said = remark_of_usual_bases(scene)
    assert f"'{scene.fixtures[0].name}' at (-0.30, -0.10) m reaches" in said and "--mount" in said
    for name in ("fr3", "panda", "ur5e"):
        assert f"the base of the {name} at (-0.35, -0.12) m" in said
    assert "ur10e" not in said  # it stands at x = -0.55 m
    elsewhere = se3.transform(np.eye(3), np.array([-0.70, -0.12, 0.0]))
    panda = load_robot("panda")
    assert remark_of_base(scene, panda, elsewhere) == ""
    assert remark_of_base(scene, panda, np.array(panda.T_world_base)).startswith("note: no room for the base")


@pytest.mark.parametrize("name", ROBOTS.names)
def test_it_begins_where_the_base_and_the_wall_touch(name: str) -> None:
    robot = load_robot(name)
    x, y = np.array(robot.T_world_base)[:2, 3]
    reaches = [bool(in_the_base(with_box_at(x + d, y), robot)) for d in np.arange(0.0, 0.4, 0.01)]
    assert reaches[0] and not reaches[-1] and sorted(reaches, reverse=True) == reaches
    edge = 0.01 * reaches.count(True) - 0.086  # of the box, with its wall
    assert 0.05 < edge < 0.16  # half a base [m]


@pytest.mark.parametrize("names", [{"detector": "aples"}, {"cell_detector": "aples"}])
def test_a_task_whose_detector_is_unknown_is_not_filmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: Mapping[str, Any]
) -> None:
    onions = type("Onions", (OnionSorting,), {"name": "onions", **names})
    monkeypatch.setitem(sys.modules, "my_onions", SimpleNamespace(Onions=onions))
    monkeypatch.setitem(TASKS._table, "onions", ("my_onions:Onions", "-"))
    assert load_task("onions").name == "onions"
    with pytest.raises(UnknownName, match=r"task 'onions': unknown object detector 'aples'; known: gripped_onions, onions"):
        stages.record(tmp_path / "out", "synthetic", "onions", 0, None, 0, "right", 15.0, False)
    assert not (tmp_path / "out").exists()
