"""`visual-irl evaluate`: a skill does its task in MuJoCo, closed loop, in scenes that it was not learned from."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.evaluation import likeness
from visual_irl.evaluation.closed_loop import Sorted, sort_onions
from visual_irl.evaluation.stages import progress_bar, say
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_folder
from visual_irl.pipeline import MOTION_FILE, REWARD_FILE, Skill
from visual_irl.robots import load_robot
from visual_irl.tasks.onion_sorting import OnionSorting

ONIONS = (4, 8)
"""Fewest and most onions of an episode."""
STRIP = 12
"""Pictures of the first episode."""
RESAMPLES = 2000


def evaluate(
    skill: Path, robot: str, episodes: int, out: Path, seed: int, workers: int, pictures: Path | None
) -> dict[str, Any]:
    """Evaluate a skill; see `visual-irl evaluate --help`. Returns what is written."""
    if episodes < 1 or workers < 1:
        raise InvalidInput(f"{episodes} episodes on {workers} workers; give at least 1 of each")
    load_robot(robot)
    Skill.load(skill)
    require_writable_folder(out.parent)
    todo = [(skill, robot, seed + e, pictures if e == 0 else None) for e in range(episodes)]
    results: list[Sorted] = []
    with progress_bar(f"sorting onions on the {robot}", "episode") as show:
        if workers == 1:
            for arguments in todo:
                results.append(_episode(arguments))
                show(len(results), episodes)
        else:
            with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
                for result in pool.map(_episode, todo):
                    results.append(result)
                    show(len(results), episodes)
    content = {"task": OnionSorting.name, "robot": robot, "episodes": episodes, "seed": seed, **_scores(results)}
    artifacts.write_json(out, content)
    inputs = {"reward": skill / REWARD_FILE, "motion": skill / MOTION_FILE}
    artifacts.write_sidecar(out, {"seed": seed, "onions": ONIONS}, inputs)
    say(_said(content))
    say(f"wrote {out}")
    return content


def _episode(arguments: tuple[Path, str, int, Path | None]) -> Sorted:
    folder, robot, seed, pictures = arguments
    task, rng = OnionSorting(), np.random.default_rng([seed, 0])
    scene = task.sample_scene(rng, int(rng.integers(ONIONS[0], ONIONS[1] + 1)))
    stills: list[ndarray] = []
    result = sort_onions(
        Skill.load(folder), load_robot(robot), task, scene, seed,
        on_frame=None if pictures is None else lambda executor: stills.append(executor.render("front", 480, 360)),
    )  # fmt: skip
    if pictures is not None:
        from visual_irl.evaluation.closed_loop import PICTURES
        from visual_irl.evaluation.pictures import contact_sheet

        rows = np.linspace(0, len(stills) - 1, STRIP).astype(int)
        sheet = require_writable_folder(pictures) / f"evaluate_{robot}.png"
        contact_sheet(sheet, [stills[k] for k in rows], [f"t = {k / PICTURES:.0f} s" for k in rows])
    return result


def _scores(results: Sequence[Sorted]) -> dict[str, Any]:
    good, of = (np.array([f(r.placed.values()) for r in results], float) for f in (sum, len))
    draws = np.random.default_rng(0).integers(len(results), size=(RESAMPLES, len(results)))
    low, high = np.quantile(good[draws].sum(axis=1) / of[draws].sum(axis=1), [0.025, 0.975])
    return {
        "success_rate": float(good.sum() / of.sum()),
        "success_ci": [float(low), float(high)],
        "onions": int(of.sum()),
        "grasps_lost": sum(r.lost for r in results),
        "branch_changes": sum(r.branch_changes for r in results),
        "collisions": sorted({pair for r in results for pair in r.collisions}),
        "refused": [text for r in results for text in r.refused],
        "human_likeness": likeness.summary([m for r in results for m in r.ours]),
        "hand_only_ik": likeness.summary([m for r in results for m in r.hand_only]),
    }


def _said(content: dict[str, Any]) -> str:
    low, high = content["success_ci"]
    ours, hand = content["human_likeness"], content["hand_only_ik"]
    return (
        f"{content['robot']}: {100 * content['success_rate']:.1f} % of {content['onions']} onions in the right bin "
        f"[{100 * low:.1f}, {100 * high:.1f}], by the physics; {content['grasps_lost']} grasps lost and tried again, "
        f"{len(content['refused'])} steps refused; upper arm {ours['upper_deg']:.0f} and forearm {ours['fore_deg']:.0f} "
        f"degrees from the person's, by the hand alone {hand['upper_deg']:.0f} and {hand['fore_deg']:.0f}"
    )
