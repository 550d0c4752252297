"""Collision-free joint paths: RRT-Connect of OMPL over compiled checks, timed and checked again."""

from __future__ import annotations

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

PLANNERS = Registry(
    "planners",
    {
        "moveit": ("visual_irl.planning.moveit:MoveItPlanner", pip_install()),
        "ompl": ("visual_irl.planning.ompl_planner:OmplPlanner", pip_install()),
    },
)
"""Name -> planner class, made as `cls(robot, config)`; see `visual_irl.planning.planner.Planner`."""
