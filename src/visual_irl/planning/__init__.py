"""Collision-free joint paths, for moves that no demonstration shows."""

from __future__ import annotations

from visual_irl.registry import Registry

PLANNERS = Registry(
    "planners", {"ompl": ("visual_irl.planning.ompl_planner:OmplPlanner", '`pip install "visual-irl[planning]"`')}
)
"""Name -> planner class; see `visual_irl.planning.planner.Planner`."""
