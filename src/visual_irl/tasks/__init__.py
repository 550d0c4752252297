"""One file a task: its scene, features, success predicates and scripted demonstrator."""

from __future__ import annotations

from visual_irl.registry import Registry

TASKS = Registry(
    "tasks",
    {
        "onion_sorting": ("visual_irl.tasks.onion_sorting:OnionSorting", "visual-irl itself"),
        "pouring": ("visual_irl.tasks.pouring:Pouring", "visual-irl itself"),
    },
)
"""Name -> task class."""
