"""`visual-irl evaluate`: a skill does its task in MuJoCo, closed loop, in scenes that it was not learned from."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.evaluation import likeness
from visual_irl.evaluation.closed_loop import PICTURES, Worked
from visual_irl.evaluation.stages import progress_bar, say
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_folder
from visual_irl.pipeline import MOTION_FILE, REWARD_FILE, load_skill
from visual_irl.registry import Registry
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel

EPISODES = Registry(
    "episodes",
    {
        "onion_sorting": ("visual_irl.evaluation.sorting_episodes:SortingEpisodes", "visual-irl itself"),
        "pouring": ("visual_irl.evaluation.pouring_episodes:PouringEpisodes", "visual-irl itself"),
    },
)
"""Name of a task -> how a skill of it is tried in simulation."""
STRIP = 12
"""Pictures of the first episode."""


@runtime_checkable
class Episodes(Protocol):
    """How skills of a task are tried."""

    doing: str
    """What a robot does in an episode."""

    def run(self, skill: Any, robot: RobotModel, seed: int, on_frame: Callable[[MujocoExecutor], None] | None = None) -> Worked:
        """The episode of a seed."""
        ...

    def scores(self, results: Sequence[Any]) -> dict[str, Any]:
        """What is reported of episodes, with `success_rate` and `success_ci`."""
        ...

    def said(self, content: dict[str, Any]) -> str:
        """One line about the scores."""
        ...


def evaluate(
    skill: Path, robot: str, episodes: int, out: Path, seed: int, workers: int, pictures: Path | None
) -> dict[str, Any]:
    """Evaluate a skill; see `visual-irl evaluate --help`. Returns what is written."""
    if episodes < 1 or workers < 1:
        raise InvalidInput(f"{episodes} episodes on {workers} workers; give at least 1 of each")
    load_robot(robot)
    task = load_skill(skill).task
    tried: Episodes = EPISODES.load(task)()
    require_writable_folder(out.parent)
    todo = [(skill, robot, seed + e, pictures if e == 0 else None) for e in range(episodes)]
    results: list[Worked] = []
    with progress_bar(f"{tried.doing} on the {robot}", "episode") as show:
        if workers == 1:
            for arguments in todo:
                results.append(_episode(arguments))
                show(len(results), episodes)
        else:
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                for result in pool.map(_episode, todo):
                    results.append(result)
                    show(len(results), episodes)
    content = {"task": task, "robot": robot, "episodes": episodes, "seed": seed, **tried.scores(results), **_scores(results)}
    artifacts.write_json(out, content)
    inputs = {"reward": skill / REWARD_FILE, "motion": skill / MOTION_FILE}
    artifacts.write_sidecar(out, {"seed": seed}, inputs)
    say(_said(content, tried))
    say(f"wrote {out}")
    return content


def _episode(arguments: tuple[Path, str, int, Path | None]) -> Worked:
    folder, robot, seed, pictures = arguments
    skill = load_skill(folder)
    tried: Episodes = EPISODES.load(skill.task)()
    stills: list[ndarray] = []
    result = tried.run(
        skill, load_robot(robot), seed,
        None if pictures is None else lambda executor: stills.append(executor.render("front", 480, 360)),
    )  # fmt: skip
    if pictures is not None and stills:
        from visual_irl.evaluation.pictures import contact_sheet

        rows = np.linspace(0, len(stills) - 1, STRIP).astype(int)
        sheet = require_writable_folder(pictures) / f"evaluate_{robot}.png"
        contact_sheet(sheet, [stills[k] for k in rows], [f"t = {k / PICTURES:.0f} s" for k in rows])
    return result


def _scores(results: Sequence[Worked]) -> dict[str, Any]:
    return {
        "grasps_lost": sum(r.lost for r in results),
        "branch_changes": sum(r.branch_changes for r in results),
        "collisions": sorted({pair for r in results for pair in r.collisions}),
        "refused": [text for r in results for text in r.refused],
        "human_likeness": likeness.summary([m for r in results for m in r.ours]),
        "hand_only_ik": likeness.summary([m for r in results for m in r.hand_only]),
    }


def _said(content: dict[str, Any], tried: Episodes) -> str:
    ours, hand = content["human_likeness"], content["hand_only_ik"]
    return (
        f"{content['robot']}: {tried.said(content)}; {content['grasps_lost']} grasps lost and tried again, "
        f"{len(content['refused'])} steps refused; upper arm {ours['upper_deg']:.0f} and forearm {ours['fore_deg']:.0f} "
        f"degrees from the person's, by the hand alone {hand['upper_deg']:.0f} and {hand['fore_deg']:.0f}"
    )
