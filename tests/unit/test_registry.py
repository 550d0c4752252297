"""Names lead to plug-ins, and a wrong name or a missing package says the way out. Every registry loads every name."""

from __future__ import annotations

import pytest

from visual_irl.errors import InvalidInput, MissingDependency, UnknownName
from visual_irl.evaluation.evaluate_stage import EPISODES, Episodes
from visual_irl.execution import EXECUTORS
from visual_irl.perception import CAMERAS, DETECTORS
from visual_irl.planning import PLANNERS
from visual_irl.registry import Registry
from visual_irl.reward import LEARNERS, SITUATION_LEARNERS
from visual_irl.robots import ROBOTS
from visual_irl.skills import SKILLS
from visual_irl.tasks import RELATIONS, TASKS

ALL = (
    ROBOTS, TASKS, RELATIONS, SKILLS, EPISODES, CAMERAS, DETECTORS, LEARNERS, SITUATION_LEARNERS, PLANNERS, EXECUTORS,
)  # fmt: skip


@pytest.mark.parametrize(("registry", "name"), [(r, n) for r in ALL for n in r.names])
def test_every_registered_name_loads(registry: Registry, name: str) -> None:
    assert registry.load(name) is not None


@pytest.mark.parametrize("task", TASKS.names)
def test_every_task_has_what_a_skill_of_it_needs(task: str) -> None:
    assert TASKS.load(task).name == task and TASKS.load(task).goals
    assert {"succeeded", "scene_of", "sample_scene"} <= set(dir(TASKS.load(task)))
    assert RELATIONS.load(task).task == SKILLS.load(task).task == task
    assert {"names", "stated", "of_stated"} <= set(dir(RELATIONS.load(task)))
    assert {"save", "load", "learn", "ways"} <= set(dir(SKILLS.load(task)))
    assert isinstance(EPISODES.load(task)(), Episodes)


@pytest.mark.parametrize("registry", ALL)
def test_unknown_name_lists_the_known(registry: Registry) -> None:
    with pytest.raises(UnknownName) as error:
        registry.load("nonesuch")
    assert all(name in str(error.value) for name in registry.names)


def test_missing_package_names_install_command() -> None:
    registry = Registry("things", {"x": ("a_package_that_is_not_there:X", 'pip install "thing[x]"')})
    with pytest.raises(MissingDependency, match=r'pip install "thing\[x\]"'):
        registry.load("x")


def test_taken_name_is_refused() -> None:
    registry = Registry("things", {"x": ("json:loads", "-")})
    with pytest.raises(InvalidInput, match="already registered"):
        registry.register("x", "json:dumps", "-")
