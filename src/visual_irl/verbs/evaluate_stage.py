"""`visual-irl evaluate`: a skill does its task in MuJoCo, closed loop, in scenes that it was not learned from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.episodes import EPISODES, likeness
from visual_irl.evaluation.episodes.closed_loop import PICTURES, Episodes, Worked
from visual_irl.evaluation.spread import spread
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file, require_writable_folder
from visual_irl.pipeline import MOTION_FILE, REWARD_FILE, Skill, load_skill
from visual_irl.robots import load_robot
from visual_irl.tasks import load_task, part_of
from visual_irl.verbs.console import progress_bar, say

STRIP = 12
"""Pictures of the first episode."""
Tried = tuple[Worked, list[tuple[float, ndarray]]]
"""An episode, and when [s] what was seen of it."""


def episodes_of(task: str, moved: float = 0.0) -> Episodes:
    """How skills of a task are tried, with fixtures up to `moved` from where they usually stand [m].

    Raises:
        InvalidInput: the task has none that could stand elsewhere, or not so far.
    """
    kind = part_of(task, EPISODES)
    if moved and "moved" not in {f.name for f in fields(kind)}:
        raise InvalidInput(f"bins moved by {moved} m: {task} has none, and its things stand anywhere; leave it out")
    tried: Episodes = kind(load_task(task), moved) if moved else kind(load_task(task))
    return tried


def evaluate(
    skill: Path,
    robot: str,
    episodes: int,
    out: Path,
    seed: int,
    workers: int,
    address: str | None,
    pictures: Path | None,
    moved: float = 0.0,
) -> dict[str, Any]:
    """Evaluate a skill; see `visual-irl evaluate --help`. Returns what is written."""
    if episodes < 1:
        raise InvalidInput(f"{episodes} episodes; give at least 1")
    load_robot(robot)
    learned = load_skill(skill)
    tried = episodes_of(learned.task, moved)
    require_writable_file(out, "--json")
    if pictures is not None:
        require_writable_folder(pictures, "--pictures")
    todo = [(tried, learned, robot, seed + e, pictures is not None and e == 0) for e in range(episodes)]
    done: dict[int, Worked] = {}
    with progress_bar(f"{tried.doing} on the {robot}", "episode") as show:
        for e, (worked, stills) in _tried(todo, workers, address):
            done[e] = worked
            show(len(done), episodes)
            if pictures is not None and stills:
                from visual_irl.evaluation.pictures import contact_sheet

                sheet = pictures / f"evaluate_{robot}.png"
                contact_sheet(sheet, [image for _, image in stills], [f"t = {t:.0f} s" for t, _ in stills])
    results = [done[e] for e in range(episodes)]
    task = learned.task
    content = {"task": task, "robot": robot, "episodes": episodes, "seed": seed, "moved_m": moved}
    content |= {**tried.scores(results), **_scores(results)}
    artifacts.write_json(out, content)
    inputs = {"reward": skill / REWARD_FILE, "motion": skill / MOTION_FILE}
    artifacts.write_sidecar(out, {"seed": seed, "moved": moved}, inputs)
    say(_said(content, tried))
    say(f"wrote {out}" + (f" and a picture to {pictures}" if pictures else ""))
    return content


def _tried(todo: list[tuple[Any, ...]], workers: int, address: str | None) -> Iterator[tuple[int, Tried]]:
    """Each episode as it ends; alone in this process, where nothing is gained by another one."""
    if workers == 1 and address is None:
        return ((e, _episode(*arguments)) for e, arguments in enumerate(todo))
    return spread(_episode, todo, workers, address)


def _episode(tried: Episodes, skill: Skill, robot: str, seed: int, film: bool) -> Tried:
    """What came of an episode, and pictures of it."""
    torch.set_num_threads(1)  # the graph of a task is small: threads only wait for each other
    stills: list[ndarray] = []
    result = tried.run(
        skill, load_robot(robot), seed, (lambda executor: stills.append(executor.render("front", 480, 360))) if film else None
    )
    rows = np.linspace(0, len(stills) - 1, STRIP).astype(int).tolist() if stills else []
    return result, [(k / PICTURES, stills[k]) for k in rows]


def _scores(results: Sequence[Worked]) -> dict[str, Any]:
    return {
        "grasps_lost": sum(r.lost for r in results),
        "repaired": sum(r.repaired for r in results),
        "branch_changes": sum(r.branch_changes for r in results),
        "collisions": sorted({pair for r in results for pair in r.collisions}),
        "refused": [text for r in results for text in r.refused],
        "human_likeness": likeness.summary([m for r in results for m in r.ours]),
        "human_likeness_planned": likeness.summary([m for r in results for m in r.planned]),
        "hand_only_ik": likeness.summary([m for r in results for m in r.hand_only]),
        "hand_only_ik_executed": likeness.summary([m for r in results for m in r.hand_only_executed]),
    }


def _said(content: dict[str, Any], tried: Episodes) -> str:
    ours, hand = content["human_likeness"], content["hand_only_ik"]
    return (
        f"{content['robot']}: {tried.said(content)}; {content['grasps_lost']} grasps lost and tried again, "
        f"{len(content['refused'])} steps refused; upper arm {ours['upper_deg']:.0f} and forearm {ours['fore_deg']:.0f} "
        f"degrees from the person's, by the hand alone {hand['upper_deg']:.0f} and {hand['fore_deg']:.0f}, of whose motions "
        f"{100 * hand['refused']:.0f} % could not be executed"
    )
