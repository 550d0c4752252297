"""Tasks, one file each: what stands on the table and what success is. What a family of tasks shares lies beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from visual_irl.errors import InvalidInput, UnknownName, pip_install
from visual_irl.registry import Registry

if TYPE_CHECKING:  # naming the tasks must not load NumPy
    import visual_irl.tasks.task

TASKS = Registry(
    "tasks",
    {
        "onion_sorting": ("visual_irl.tasks.onion_sorting:OnionSorting", pip_install()),
        "pouring": ("visual_irl.tasks.pouring:Pouring", pip_install()),
    },
)
"""Name -> task class."""

RELATIONS = Registry(
    "relations",
    {
        "sorting": ("visual_irl.tasks.pick_place_graph:Relations", pip_install()),
        "pouring": ("visual_irl.tasks.pour_graph:PourRelations", pip_install()),
    },
)
"""Family of tasks -> the relational features that a reward is made of."""

PERFORMERS = Registry(
    "performers",
    {
        "sorting": ("visual_irl.tasks.demonstrator:perform_sorting", pip_install()),
        "pouring": ("visual_irl.tasks.pouring_demonstrator:perform_pouring", pip_install()),
    },
)
"""Family of tasks -> what a scripted person does: a function of the task and a `tasks.performer.Staging`."""


def load_task(name: str) -> visual_irl.tasks.task.Task:
    """The task that is registered as `name`, by this package or by another one.

    Raises:
        UnknownName, MissingDependency: see `registry`.
        InvalidInput: what is registered is no task, with what it lacks.
    """
    from visual_irl.tasks.task import Task

    kind = TASKS.load(name)
    task: Task = kind()
    missing = [member for member in vars(Task) if not member.startswith("_") and not hasattr(task, member)]
    if missing:
        raise InvalidInput(
            f"'{name}' is registered as a task, but {kind.__name__} lacks {', '.join(missing)}; see visual_irl.tasks.task.Task"
        )
    if task.name != name:
        raise InvalidInput(f"the task {kind.__name__} is registered as '{name}' and says name = '{task.name}'; make them one")
    return task


def part_of(task: str, parts: Registry) -> Any:
    """What a registry of families (`RELATIONS`, `PERFORMERS`, `skills.SKILLS`, `evaluation.episodes.EPISODES`) has for a task.

    Raises:
        UnknownName: the task's family has no such part; says how to add it.
    """
    family = load_task(task).family
    if family not in parts.names:
        raise UnknownName(
            f"task '{task}' is of the family '{family}', which has no {parts.noun}: register one of that name as entry point "
            f"`visual_irl.{parts.kind}`, or let the task be of a family that has one: {', '.join(parts.names)}"
        )
    return parts.load(family)
