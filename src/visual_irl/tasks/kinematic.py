"""The kinematic tasks by name, on which learners are compared: recipes are chosen on `onion_sorting` and `pouring`."""

from __future__ import annotations

from visual_irl.tasks import kinematic_pouring, kinematic_sorting
from visual_irl.tasks.batch import BatchTask

KINEMATIC_TASKS: dict[str, BatchTask] = {**kinematic_sorting.VARIANTS, **kinematic_pouring.VARIANTS}
"""Name -> task; the variants of a task are for reporting only."""
