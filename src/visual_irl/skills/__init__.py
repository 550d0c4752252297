"""A learned skill, one file a task: what is learned from demonstrations of it, and what the policy does with that."""

from __future__ import annotations

from visual_irl.registry import Registry

SKILLS = Registry(
    "skills",
    {
        "onion_sorting": ("visual_irl.skills.sorting:SortingSkill", "visual-irl itself"),
        "pouring": ("visual_irl.skills.pouring:PouringSkill", "visual-irl itself"),
    },
)
"""Name of a task -> class of its skills; see `visual_irl.skills.parts.Skill`."""
