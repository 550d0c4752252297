"""The tasks by name on which learners are compared, kinematic ones and the same with physics, and what is asked of one that
another package brings."""

from __future__ import annotations

import torch
from torch import Tensor

from visual_irl.errors import InvalidInput, pip_install
from visual_irl.registry import Registry
from visual_irl.tasks.batch import BatchTask, roll_out

SORTING, POURING = "visual_irl.tasks.kinematic_sorting:", "visual_irl.tasks.kinematic_pouring:"
KINEMATIC_TASKS = Registry(
    "kinematic_tasks",
    {
        "onion_sorting": (SORTING + "KinematicSorting", pip_install()),
        "onion_sorting_moved_bins": (SORTING + "MOVED_BINS", pip_install()),
        "onion_sorting_other_rule": (SORTING + "OTHER_RULE", pip_install()),
        "onion_sorting_three_bins": (SORTING + "THREE_BINS", pip_install()),
        "onion_sorting_two_onions": (SORTING + "TWO_ONIONS", pip_install()),
        "onion_sorting_mujoco": ("visual_irl.tasks.mujoco_sorting:MujocoSorting", pip_install()),
        "pouring": (POURING + "KinematicPouring", pip_install()),
        "pouring_moved_places": (POURING + "MOVED_PLACES", pip_install()),
        "pouring_other_cup": (POURING + "OTHER_CUP", pip_install()),
        "pouring_mujoco": ("visual_irl.tasks.mujoco_pouring:MujocoPouring", pip_install()),
    },
)
"""Name -> what gives the task when it is called. Recipes are chosen on `onion_sorting` and `pouring`, the others are for
reporting."""
TRIED = 3
"""Environments in which a step is tried ..."""
PLAYED = 8
"""... and episodes of the demonstrator, of which one at least must succeed."""
MEMBERS = tuple(name for name in vars(BatchTask) if not name.startswith("_"))


def kinematic_task(name: str) -> BatchTask:
    """The task that is registered as `name`, by this package or by another one.

    Raises:
        UnknownName, MissingDependency: see `registry`.
        InvalidInput: what is registered is no task.
    """
    task: BatchTask = KINEMATIC_TASKS.load(name)()
    missing = [member for member in MEMBERS if not hasattr(task, member)]
    if missing:
        raise InvalidInput(
            f"'{name}' is registered as a kinematic task, but a {type(task).__name__} is none: it has no "
            f"{', '.join(missing)}; see visual_irl.tasks.batch.BatchTask"
        )
    return task


def require_sound(name: str, task: BatchTask) -> None:
    """A task whose parts fit each other, tried on one step of its demonstrator, who must succeed in some episode: before
    anything is measured for hours.

    Raises:
        InvalidInput: says which part does not fit.
    """

    def require(fits: bool, what: str) -> None:
        if not fits:
            raise InvalidInput(f"kinematic task '{name}': {what}; see visual_irl.tasks.batch.BatchTask")

    def require_shape(part: str, x: Tensor, *shape: int) -> None:
        require(tuple(x.shape) == shape, f"{part} gives numbers of shape {tuple(x.shape)}, not {shape}")
        require(bool(x.isfinite().all()), f"{part} gives NaN or infinity")

    n, size, kinds = TRIED, task.observation_size, task.attributes
    batch = task.build(n, seed=0)
    start = batch.reset()
    require_shape("reset", start, n, size)
    action = task.expert(start)
    require_shape("expert", action, n, task.action_size)
    reached = batch.step(action)[-1]
    require_shape("step", reached, n, size)
    require(torch.equal(task.build(n, seed=0).reset(), start), "a seed gives other episodes each time")
    now = task.split(reached)
    things = now.things.shape[-2]
    for part, x, shape in (
        ("hand", now.hand, (n, 3)), ("things", now.things, (n, things, 3)), ("held", now.held, (n, things)),
        ("attribute", now.attribute, (n, things)), ("gripper", now.gripper, (n,)),
    ):  # fmt: skip
        require_shape(f"{part} of split", x, *shape)
    require(now.held.dtype == torch.bool, f"held of split is {now.held.dtype}, not bool")
    known = not now.attribute.is_floating_point() and bool(((now.attribute >= 0) & (now.attribute < kinds)).all())
    require(known, f"attribute of split must be integers from 0 to {kinds - 1}, as attributes is {kinds}")
    require_shape("success", task.success(reached), n)
    require(task.success(reached).dtype == torch.bool, f"success gives {task.success(reached).dtype}, not bool")
    require_shape("true_reward", task.true_reward(torch.stack([start, reached])), 2, n)
    again = batch.restart_from(reached)
    require(torch.allclose(again, reached, atol=1e-5), "restart_from does not lead to the states that it is given")
    last = roll_out(task.build(PLAYED, seed=0), task.expert)[0][:, -1]
    shown = bool(task.success(last).any())
    require(shown, f"its demonstrator succeeds in none of {PLAYED} episodes of {task.horizon} steps: nothing could be learned")
