"""`evaluate` sets the table for the hand that demonstrated, which could not reach across the other's."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from visual_irl.evaluation.episodes import pouring_episodes, sorting_episodes
from visual_irl.robots import load_robot
from visual_irl.skills.pouring import PouringSkill
from visual_irl.skills.sorting import SortingSkill
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.pouring import Pouring
from visual_irl.tasks.scene import Scene

EPISODES = [
    (
        sorting_episodes,
        "sort_things",
        sorting_episodes.SortingEpisodes(OnionSorting(), moved=0.05),
        SortingSkill,
        sorting_episodes.Sorted,
    ),
    (pouring_episodes, "pour", pouring_episodes.PouringEpisodes(Pouring()), PouringSkill, pouring_episodes.Poured),
]


def across(scene: Scene) -> list[float]:
    """Where things stand along y, the person's left [m]."""
    return [o.p_world[1] for o in scene.objects] + [v.T_world[1, 3] for v in scene.vessels]


@pytest.mark.long
@pytest.mark.parametrize(("module", "work", "episodes", "kind", "result"), EPISODES, ids=["sorting", "pouring"])
def test_the_table_is_set_for_the_hand_that_demonstrated(
    module: object, work: str, episodes: object, kind: type, result: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes: list[Scene] = []

    def note(skill: object, robot: object, task: object, scene: Scene, *rest: object, **options: object) -> object:
        scenes.append(scene)
        return result()

    monkeypatch.setattr(module, work, note)
    for side in ("right", "left"):
        skill = object.__new__(kind)
        object.__setattr__(skill, "motion", SimpleNamespace(side=side))
        for seed in range(20):
            episodes.run(skill, load_robot("panda"), seed)  # type: ignore[attr-defined]
    right, left = (np.mean(np.concatenate([across(s) for s in half])) for half in (scenes[:20], scenes[20:]))
    assert right < -0.05 and left > 0.05  # [m] away from the middle, on the side of the hand
    if kind is SortingSkill:
        places = [s.fixture("bin_blemished").T_world[1, 3] for s in scenes]
        assert max(places[:20]) < -0.4 and min(places[20:]) > 0.4 and np.ptp(places[:20]) > 0.01  # moved bins move there, too
