"""A learned skill, one file a family of tasks: what demonstrations of it teach, and what the policy does with that."""

from __future__ import annotations

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

SKILLS = Registry(
    "skills",
    {
        "sorting": ("visual_irl.skills.sorting:SortingSkill", pip_install()),
        "pouring": ("visual_irl.skills.pouring:PouringSkill", pip_install()),
    },
)
"""Family of tasks -> class of its skills; see `visual_irl.skills.parts.Skill`."""
