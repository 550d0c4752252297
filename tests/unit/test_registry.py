"""Names lead to plug-ins, and a wrong name or a missing package says the way out. Every registry loads every name."""

from __future__ import annotations

import pytest

from visual_irl.errors import InvalidInput, MissingDependency, UnknownName
from visual_irl.execution import ARMS, GRIPPERS
from visual_irl.perception import CAMERAS, DETECTORS
from visual_irl.planning import PLANNERS
from visual_irl.registry import Registry
from visual_irl.reward import LEARNERS, SITUATION_LEARNERS
from visual_irl.robots import ROBOTS
from visual_irl.skills import SKILLS
from visual_irl.tasks import RELATIONS, TASKS
from visual_irl.tasks.kinematic import KINEMATIC_TASKS, kinematic_task, require_sound
from visual_irl.tasks.kinematic_sorting import KinematicSorting
from visual_irl.verbs.evaluate_stage import EPISODES, Episodes

ALL = (
    ROBOTS, TASKS, RELATIONS, SKILLS, EPISODES, CAMERAS, DETECTORS, KINEMATIC_TASKS, LEARNERS,
    SITUATION_LEARNERS, PLANNERS, ARMS, GRIPPERS,
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


@pytest.mark.parametrize("name", KINEMATIC_TASKS.names)
def test_the_parts_of_every_kinematic_task_fit_each_other(name: str) -> None:
    require_sound(name, kinematic_task(name))


@pytest.mark.parametrize(
    ("part", "wrong", "said"),
    [
        ("observation_size", 7, r"reset gives numbers of shape \(3, 9\), not \(3, 7\)"),
        ("attributes", 1, "attribute of split must be integers from 0 to 0"),
        ("success", lambda o: o[..., 0], r"success gives torch.float32, not bool"),
        ("true_reward", lambda o: o.sum() / 0, "true_reward gives numbers of shape"),
        ("true_reward", lambda o: o[..., 0] / 0, "true_reward gives NaN or infinity"),
        ("expert", lambda o: o, r"expert gives numbers of shape \(3, 9\), not \(3, 4\)"),
    ],
)
def test_a_kinematic_task_whose_parts_do_not_fit_is_told_which(part: str, wrong: object, said: str) -> None:
    task = type("Wrong", (KinematicSorting,), {part: wrong if isinstance(wrong, int) else staticmethod(wrong)})()  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match=f"kinematic task 'mine': .*{said}"):
        require_sound("mine", task)


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
