"""The README's own commands, as a new user pastes them, in one chain from recording to a robot that sorts."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from visual_irl.io import artifacts

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
VERBS = ("record", "extract", "learn", "map", "replay", "evaluate")


def commands() -> list[list[str]]:
    """The block of stage commands in the README."""
    block = re.search(r"<!-- these commands are run .*?```\n(.*?)```", README, re.S)
    assert block, "the README has no block of stage commands"
    return [shlex.split(line) for line in block[1].splitlines()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every command of the README was run; `said.txt` holds what they printed."""
    folder = tmp_path_factory.mktemp("readme")
    environment = {**os.environ, "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    for command in commands():
        argv = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
        with (folder / "said.txt").open("a") as said:
            said.write(done.stdout)
    return folder


def test_readme_leads_with_every_stage() -> None:
    assert [c[1] for c in commands()] == list(VERBS) and all(c[0] == "visual-irl" for c in commands())


def test_robot_sorts_what_was_demonstrated(folder: Path) -> None:
    report = json.loads((folder / "out/replay/report.json").read_text())
    truth = artifacts.load_demonstration(folder / "out/recording/truth.npz")
    assert report["world"] == "truth" and report["of"] == len(truth.objects) == report["succeeded"]


def test_skill_sorts_scenes_that_it_has_not_seen(folder: Path) -> None:
    result = json.loads((folder / "out/evaluate_ur5e.json").read_text())
    assert result["episodes"] == 2 and result["onions"] >= 8 and result["success_rate"] > 0.8
    assert result["human_likeness"]["upper_deg"] < result["hand_only_ik"]["upper_deg"]


def test_every_promised_file_is_there_with_its_sidecar(folder: Path) -> None:
    for name in (
        "demonstration.npz",
        "skill/reward.safetensors",
        "skill/motion.safetensors",
        "ur5e.npz",
        "replay/report.json",
    ):
        sidecar = json.loads((folder / "out" / f"{name}.json").read_text())
        assert sidecar["sha256"] == artifacts.digest(folder / "out" / name) and sidecar["versions"]["visual_irl"]
    for name in ("pictures/keypoints.png", "pictures/arms_ur5e.png", "replay/replay.mp4", "replay/filmstrip.png"):
        assert (folder / "out" / name).stat().st_size > 5_000
    assert not list(folder.rglob("*partial*"))


@pytest.mark.parametrize(
    "name",
    ["demonstration.npz", "pictures", "skill", "ur5e.npz", "replay/report.json", "replay/replay.mp4", "evaluate_ur5e.json"],
)
def test_every_verb_says_where_its_files_are(folder: Path, name: str) -> None:
    assert re.search(rf"^wrote .*out/{re.escape(name)}\b", (folder / "said.txt").read_text(), re.M)


def test_extraction_is_near_the_truth(folder: Path) -> None:
    demo = artifacts.load_demonstration(folder / "out/demonstration.npz")
    truth = artifacts.load_demonstration(folder / "out/recording/truth.npz")
    assert demo.side == truth.side and len(demo.objects) == len(truth.objects)
    for joint in ("shoulder", "elbow", "wrist"):
        error = np.linalg.norm(demo.keypoint(joint) - truth.keypoint(joint), axis=1)
        assert np.isfinite(error).mean() > 0.9 and np.nanmean(error) < 0.08  # the bare parts reach 46 to 72 mm


def test_trajectory_keeps_the_limits(folder: Path) -> None:
    from visual_irl.robots import load_robot

    trajectory, header, extras = artifacts.load_trajectory(folder / "out/ur5e.npz")
    robot = load_robot(header["robot"])
    assert (trajectory.q >= robot.lower).all() and (trajectory.q <= robot.upper).all()
    assert (np.abs(trajectory.qd) <= robot.velocity).all()
    assert extras["frame_reachable"].mean() > 0.99
