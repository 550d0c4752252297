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

RELATIONS = Registry(
    "relations",
    {
        "onion_sorting": ("visual_irl.tasks.pick_place_graph:Relations", "visual-irl itself"),
        "pouring": ("visual_irl.tasks.pour_graph:PourRelations", "visual-irl itself"),
    },
)
"""Name of a task -> the relational features that its reward is made of."""
