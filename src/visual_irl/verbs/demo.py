"""`visual-irl demo`: the shipped recording becomes a skill that two robots replay; a real person's clips move them too."""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingFile, VisualIrlError
from visual_irl.evaluation.metrics import extraction_error
from visual_irl.evaluation.pictures import plot_reward, plot_weights
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_folder
from visual_irl.skills.sorting import SortingSkill, reward_over_time
from visual_irl.verbs import stages
from visual_irl.verbs.console import say
from visual_irl.verbs.map_stage import map_arm
from visual_irl.verbs.report import write_report

P = ParamSpec("P")

ROBOTS = ("panda", "ur5e")
REAL_DATA = "VISUAL_IRL_REAL_DATA"
"""Environment variable that names a folder with clips of real people."""


@dataclass(frozen=True)
class RealClip:
    """A clip of a real person: where it lies below the data folder, how densely it is read, and whose it is."""

    name: str
    path: str
    every: int
    credit: str


REAL_CLIPS = (
    RealClip("can on a tray", "video/ms_lfo_place.webm", 10, "microsoft/symbolic-robot-teaching-interface, MIT"),
    RealClip("can on a shelf", "video/ms_vlm_can_shelf.mp4", 1, "microsoft/VLM-Video-Action-Localization, MIT"),
    RealClip("typing, with depth", "rgbd/depthkit_typing", 1, "keijiro/Dkvfx, public domain"),
)


class Stages:
    """Runs each stage once for the same inputs, options and code; a second run reuses what the first one made."""

    def __init__(self, out: Path) -> None:
        self.folder = require_writable_folder(out / ".stages")
        self.code = artifacts.code_digest()

    def run(
        self,
        name: str,
        what: str,
        outputs: list[Path],
        key: Mapping[str, Any],
        inputs: list[Path],
        make: Callable[P, object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Make `outputs` by a call of `make`, unless they are already there and current."""
        record = self.folder / f"{name}.json"
        stated = {"key": artifacts.jsonable(key), "inputs": [artifacts.digest(p) for p in inputs], "code": self.code}
        if record.is_file() and all(p.exists() for p in outputs):
            known = json.loads(record.read_text())
            if known.get("stated") == stated and known["outputs"] == [artifacts.digest(p) for p in outputs]:
                say(f"[{name}] {what}: reused")
                return
        say(f"[{name}] {what}")
        began = time.monotonic()
        make(*args, **kwargs)
        artifacts.write_json(record, {"stated": stated, "outputs": [artifacts.digest(p) for p in outputs]})
        say(f"[{name}] done in {time.monotonic() - began:.0f} s")


def run_demo(out: Path, recording: Path | None, seeds: int) -> None:
    """Run everything and write the report; prints the success figures and where the report lies."""
    began = time.monotonic()
    if seeds < 1:
        raise InvalidInput(f"--seeds is {seeds}; give at least 1")
    source = recording or asset_path("models/recordings/onion_sorting")
    if not source.exists():
        raise MissingFile(f"no recording at '{source}'; `visual-irl record` makes one, or leave --recording out")
    require_writable_folder(out)
    todo = Stages(out)
    demo, skill = out / "demonstration.npz", out / "skill"
    todo.run(
        "extract", f"3D keypoints and objects from {source.name}", [demo, out / "keypoints.png"], {}, [source],
        stages.extract, (source,), demo, "auto", "onion_sorting", pictures=out,
    )  # fmt: skip
    what = "a reward from what was seen, and the policy that maximises it"
    todo.run("learn", what, [skill], {}, [demo], stages.learn, [demo], skill, "max_ent")
    truth = source / stages.TRUTH_FILE if (source / stages.TRUTH_FILE).is_file() else None
    results: dict[str, list[dict[str, Any]]] = {}
    for robot in ROBOTS:
        trajectory = out / f"{robot}.npz"
        pictures = [out / f"arms_{robot}.png", out / f"mapping_{robot}.png"]
        todo.run(
            f"map {robot}", f"the learned skill onto the {robot}", [trajectory, *pictures], {}, [demo, skill],
            map_arm, robot, trajectory, demonstration=demo, skill=skill, pictures=out,
        )  # fmt: skip
        results[robot] = [_replay(todo, out, robot, trajectory, truth, seed) for seed in range(seeds)]
    clips = _real_clips(todo, out)
    figures = _figures(out, demo, skill, truth)
    page = write_report(out, figures, results, clips)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    say("")
    for robot, runs in results.items():
        done, of = sum(r["succeeded"] for r in runs), sum(r["of"] for r in runs)
        say(f"{robot}: {done} of {of} onions in the right bin over {len(runs)} physics seeds")
    say(f"took {time.monotonic() - began:.0f} s and {peak:.1f} GB at most")
    say(f"report: {page.resolve()}")
    say(f"replay: {', '.join(str((out / f'replay_{robot}_0' / 'replay.mp4').resolve()) for robot in ROBOTS)}")


def _replay(todo: Stages, out: Path, robot: str, trajectory: Path, truth: Path | None, seed: int) -> dict[str, Any]:
    """One physics seed; the first is filmed."""
    folder = out / f"replay_{robot}_{seed}"
    film = [folder / "replay.mp4", folder / "filmstrip.png"] if seed == 0 else []
    inputs = [trajectory] + ([truth] if truth else [])
    todo.run(
        f"replay {robot} {seed}", "in MuJoCo", [folder / "report.json", *film], {"seed": seed}, inputs,
        stages.replay, trajectory, folder, truth, seed, video=seed == 0,
    )  # fmt: skip
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


def _figures(out: Path, demo_path: Path, skill_path: Path, truth: Path | None) -> dict[str, Any]:
    """Figures for the report, and the pictures of the reward."""
    demo, skill = artifacts.load_demonstration(demo_path), SortingSkill.load(skill_path)
    reward, _ = reward_over_time(skill.reward, demo)
    plot_reward(out / "reward.png", demo.t[1:], reward, demo.held[1:], "the learned reward along the demonstration")
    plot_weights(out / "weights.png", skill.reward.feature_names, skill.reward.theta.numpy())
    mapping = {robot: artifacts.load_trajectory(out / f"{robot}.npz")[1]["summary"] for robot in ROBOTS}
    error = extraction_error(demo, artifacts.load_demonstration(truth)) if truth else None
    figures = {"extraction": error, "mapping": mapping, "frames": len(demo.t), "objects": len(demo.objects)}
    artifacts.write_json(out / "figures.json", figures)
    return figures


def _real_clips(todo: Stages, out: Path) -> list[dict[str, Any]]:
    """Each clip of a real person that is there, onto both robots; a clip that fails says why in the report."""
    folder = os.environ.get(REAL_DATA)
    rows = []
    for clip in REAL_CLIPS if folder else ():
        source = Path(str(folder)) / clip.path
        if not source.exists():
            continue
        here = require_writable_folder(out / f"real_{source.stem}")
        row: dict[str, Any] = {"name": clip.name, "credit": clip.credit, "folder": here, "robots": {}}
        demo = here / "demonstration.npz"
        try:
            outputs = [demo, here / "keypoints.png"]
            todo.run(
                f"extract {source.name}", f"a real person: {clip.name}", outputs, {"every": clip.every}, [source],
                stages.extract, (source,), demo, "auto", "onion_sorting", pictures=here, every=clip.every,
            )  # fmt: skip
            loaded = artifacts.load_demonstration(demo)
            row |= {"frames": len(loaded.t), "seen": int(loaded.seen.sum()), "side": loaded.side}
            for robot in ROBOTS:
                trajectory = here / f"{robot}.npz"
                outputs = [trajectory, here / f"arms_{robot}.png"]
                todo.run(
                    f"map {source.name} {robot}", f"onto the {robot}", outputs, {}, [demo],
                    map_arm, robot, trajectory, demonstration=demo, pictures=here,
                )  # fmt: skip
                row["robots"][robot] = artifacts.load_trajectory(trajectory)[1]["summary"]
        except VisualIrlError as error:
            say(f"  {clip.name}: {error}")
            row["error"] = str(error)
        rows.append(row)
    return rows
