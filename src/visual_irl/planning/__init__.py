"""Collision-free joint paths: RRT-Connect of OMPL over compiled checks, timed and checked again."""

from __future__ import annotations

from visual_irl.registry import Registry

PLANNERS = Registry(
    "planners",
    {
        "moveit": ("visual_irl.planning.moveit:MoveItPlanner", "visual-irl itself"),
        "ompl": ("visual_irl.planning.ompl_planner:OmplPlanner", '`pip install "visual-irl"` (it brings OMPL)'),
    },
)
"""Name -> planner class, made as `cls(robot, config)`; see `visual_irl.planning.planner.Planner`."""
