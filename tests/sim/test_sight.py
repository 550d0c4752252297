"""What the cell's camera knows of the onions: where they are, which is which, and of what kind once they were inspected."""

import numpy as np
import pytest

from visual_irl.evaluation.episodes.sight import Sight
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots import load_robot
from visual_irl.tasks.onion_sorting import BLEMISHED, OnionSorting

SHOWN = np.array([0.10, -0.10, 0.28])
"""Where onions are inspected [m]."""


@pytest.fixture
def cell():
    scene = OnionSorting().sample_scene(np.random.default_rng(5), 5)
    assert {o.attributes[BLEMISHED] for o in scene.objects} == {0.0, 1.0}
    executor = MujocoExecutor(scene, load_robot("ur5e"), seed=5)
    yield executor
    executor.close()


def put(cell: MujocoExecutor, name: str, p: np.ndarray) -> None:
    address = cell.model.jnt_qposadr[int(cell.model.body(name).jntadr[0])]
    cell.data.qpos[address : address + 3] = p
    mujoco.mj_kinematics(cell.model, cell.data)


def at(sight: Sight, p: np.ndarray):
    """The thing that is seen nearest to a place."""
    return min(sight.things(), key=lambda t: float(np.linalg.norm(t.p_world - p)))


def test_onions_are_seen_where_they_are_and_keep_their_names(cell: MujocoExecutor) -> None:
    sight = Sight(cell, np.random.default_rng(0), OnionSorting())
    truth = cell.object_positions()
    first = {name: at(sight, p) for name, p in truth.items()}
    assert len(sight.things()) == len(truth) == len({t.name for t in first.values()})
    for name, p in truth.items():
        assert np.linalg.norm(first[name].p_world - p) < 0.012 and np.isnan(first[name].attribute)
        put(cell, name, p + [0.01, 0.01, 0.0])
        assert at(sight, p).name == first[name].name


def test_what_was_lost_is_whatever_turns_up_and_is_none_of_the_others(cell: MujocoExecutor) -> None:
    sight = Sight(cell, np.random.default_rng(0), OnionSorting())
    name, p = next(iter(cell.object_positions().items()))
    lost = at(sight, p)
    sight.moved(lost, None)
    put(cell, name, np.array([0.0, 0.0, 5.0]))
    assert lost.name not in {t.name for t in sight.things()}
    elsewhere = np.array([0.42, 0.05, lost.radius])
    put(cell, name, elsewhere)
    assert at(sight, elsewhere).name == lost.name


def test_kinds_are_told_by_what_is_seen_at_the_inspection_place(cell: MujocoExecutor) -> None:
    sight = Sight(cell, np.random.default_rng(0), OnionSorting())
    for item in cell.scene.objects:
        p = cell.object_positions()[item.name]
        thing = at(sight, p)
        assert np.isnan(sight.inspect(thing, SHOWN))  # nothing is there yet
        put(cell, item.name, SHOWN)
        assert sight.inspect(thing, SHOWN) == item.attributes[BLEMISHED]
        put(cell, item.name, p)
        assert at(sight, p).attribute == item.attributes[BLEMISHED]
