"""Episodes in simulation, closed loop: how a skill of each family of tasks is tried."""

from __future__ import annotations

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

EPISODES = Registry(
    "episodes",
    {
        "sorting": ("visual_irl.evaluation.episodes.sorting_episodes:SortingEpisodes", pip_install()),
        "pouring": ("visual_irl.evaluation.episodes.pouring_episodes:PouringEpisodes", pip_install()),
    },
)
"""Family of tasks -> class of its episodes; see `closed_loop.Episodes`."""
