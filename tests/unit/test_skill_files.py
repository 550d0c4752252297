"""A skill folder from a stranger: whatever is in it, it is read as a skill or refused by name, and nothing is executed."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from visual_irl.errors import LearningFailed, UnreadableFile, UnwritableOutput
from visual_irl.io.artifacts import write_sidecar
from visual_irl.pipeline import load_skill
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion import SAMPLES, MotionLibrary
from visual_irl.policy.pour_motion import EVENTS, PourMotion
from visual_irl.reward.model import LinearReward
from visual_irl.skills.parts import MOTION_FILE, REWARD_FILE
from visual_irl.skills.pouring import PouringSkill
from visual_irl.skills.sorting import SortingSkill
from visual_irl.tasks.pick_place_graph import Relations
from visual_irl.tasks.pour_graph import PourRelations
from visual_irl.tasks.pouring import BOTTLE, CUP, ZONE
from visual_irl.types import KEYPOINTS, Demonstration

Skill = SortingSkill | PouringSkill


def library(*phases: str) -> MotionLibrary:
    line = np.stack([np.linspace(0.0, 1.0, SAMPLES), np.zeros(SAMPLES), np.zeros(SAMPLES)], axis=1)
    return MotionLibrary(
        {p: line for p in phases}, {p: np.zeros(SAMPLES) for p in phases}, {p: (0.1, 1.0) for p in phases},
        0.5, np.array([0.1, -0.2, 0.1]), np.array([-0.2, -0.2, 0.4]), 0.3, 0.26, "right",
    )  # fmt: skip


def sorting() -> SortingSkill:
    relations = Relations((("bin_blemished", (0.08, -0.48, 0.12)), ("bin_unblemished", (0.1, 0.22, 0.12))), (0.1, -0.1, 0.3))
    return SortingSkill(
        LinearReward(relations, torch.zeros(len(relations.names), dtype=torch.float64)), library("reach", "place")
    )


def pouring() -> PouringSkill:
    course = np.linspace(0.0, 1.0, SAMPLES)
    pour = PourMotion(
        0.08, 0.1, 1.0, dict.fromkeys(EVENTS, 0.0), 2.0, np.zeros((SAMPLES, 2)), np.zeros(SAMPLES), course, 1.0 - course,
        (1.0, 1.0), 1.0,
    )  # fmt: skip
    relations = PourRelations(BOTTLE, CUP, ZONE)
    return PouringSkill(LinearReward(relations, torch.zeros(len(relations.names), dtype=torch.float64)), library("reach"), pour)


def changes(array: np.ndarray) -> Iterator[np.ndarray | None]:
    """What cannot be, whatever the array is."""
    yield from (None, array[:0], array[:-1], array[..., None], np.full_like(array, np.nan), np.full_like(array, np.inf))
    yield array.astype(bool)


def facts_changed(facts: dict[str, str]) -> Iterator[dict[str, str]]:
    """Facts left out or replaced, and those inside of them."""
    for name, value in facts.items():
        yield {k: v for k, v in facts.items() if k != name}
        yield from ({**facts, name: text} for text in ("", "[]", "null", "7", '{"a": 1}'))
        if name == "numbers":
            for part, numbers in json.loads(value).items():
                for key in numbers:
                    for wrong in (None, [1], "x", -1e9, {}):
                        yield {**facts, name: json.dumps({**json.loads(value), part: {**numbers, key: wrong}})}


@pytest.mark.parametrize("file", [REWARD_FILE, MOTION_FILE])
@pytest.mark.parametrize("made", [sorting, pouring])
def test_a_skill_that_cannot_be_is_refused_by_name(tmp_path: Path, made: Callable[[], Skill], file: str) -> None:
    skill = made()
    skill.save(tmp_path)
    assert load_skill(tmp_path).motion.side == "right"
    with safe_open(tmp_path / file, "np") as archive:
        facts: dict[str, str] = archive.metadata()
        arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a dict
    tried = 0
    for name in arrays:
        for wrong in changes(arrays[name]):
            kept = {n: np.ascontiguousarray(a) for n, a in {**arrays, name: wrong}.items() if a is not None}
            save_file(kept, tmp_path / file, metadata=facts)
            tried += refused(tmp_path, file)
    for said in facts_changed(facts):
        save_file(arrays, tmp_path / file, metadata=said)
        tried += refused(tmp_path, file)
    assert tried > 20


@pytest.mark.parametrize("made", [sorting, pouring])
def test_the_same_skill_is_the_same_bytes(tmp_path: Path, made: Callable[[], Skill]) -> None:
    skill = made()
    for k in range(8):  # the library's own order is a random one each time
        skill.save(tmp_path / str(k))
    for file in (REWARD_FILE, MOTION_FILE):
        assert len({(tmp_path / str(k) / file).read_bytes() for k in range(8)}) == 1
        with safe_open(tmp_path / "0" / file, "np") as archive:
            assert list(archive.metadata()) and all(archive.get_tensor(name).size for name in archive.keys())  # noqa: SIM118
        size = int.from_bytes((tmp_path / "0" / file).read_bytes()[:8], "little")
        assert size % 8 == 0  # as the format asks for: its data is aligned
    load_skill(tmp_path / "0").save(tmp_path / "again")
    assert all((tmp_path / "again" / f).read_bytes() == (tmp_path / "0" / f).read_bytes() for f in (REWARD_FILE, MOTION_FILE))


@pytest.mark.parametrize("made", [sorting, pouring])
def test_a_full_disk_leaves_the_older_skill_whole(
    tmp_path: Path, made: Callable[[], Skill], monkeypatch: pytest.MonkeyPatch
) -> None:
    skill, write = made(), Path.write_bytes
    skill.save(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(path: Path, data: bytes) -> int:
        if "motion" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    other = replace(skill, reward=replace(skill.reward, theta=skill.reward.theta + 1.0))  # type: ignore[type-var]
    with pytest.raises(UnwritableOutput, match=rf"cannot write '.*/{MOTION_FILE}'"):
        other.save(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


@pytest.mark.parametrize("stopped_after", [REWARD_FILE, MOTION_FILE, f"{REWARD_FILE}.json"])
def test_a_skill_whose_writer_was_killed_is_told(tmp_path: Path, stopped_after: str) -> None:
    older, newer = tmp_path / "skill", tmp_path / "newer"
    skill = sorting()
    faster = replace(skill.motion, rest=skill.motion.rest + 0.01)  # type: ignore[attr-defined]
    for folder, made in (
        (older, skill),
        (newer, replace(skill, reward=replace(skill.reward, theta=skill.reward.theta + 1.0), motion=faster)),  # type: ignore[type-var]
    ):
        made.save(folder)
        for file in (REWARD_FILE, MOTION_FILE):
            write_sidecar(folder / file, {}, {})
        assert load_skill(folder).reward.theta.shape == skill.reward.theta.shape
    for file in (REWARD_FILE, MOTION_FILE, f"{REWARD_FILE}.json"):  # the order in which `learn` replaces them
        (older / file).write_bytes((newer / file).read_bytes())
        if file == stopped_after:
            break
    with pytest.raises(UnreadableFile, match=r"safetensors.json' was written for .*`visual-irl learn` makes both again"):
        load_skill(older)
    (older / f"{REWARD_FILE}.json").write_text("{")
    with pytest.raises(UnreadableFile, match="does not say what"):
        load_skill(older)


def refused(folder: Path, file: str) -> int:
    with pytest.raises(UnreadableFile, match=rf"(?s){file}.*visual-irl learn"):
        load_skill(folder)
    return 1


def test_a_reward_that_wants_nothing_is_told(tmp_path: Path) -> None:
    t: Any = np.arange(2.0)
    places = {BOTTLE: np.tile([0.2, 0.0, 0.0], (2, 1)), CUP: np.tile([0.25, -0.3, 0.0], (2, 1))}
    scene = Demonstration(
        t, "right", np.full((2, len(KEYPOINTS), 3), np.nan), np.full((2, len(KEYPOINTS), 3, 3), np.nan), np.zeros(2, bool),
        np.full(2, np.nan), places, {BOTTLE: 0.03, CUP: 0.04}, {BOTTLE: {}, CUP: {}}, ("", ""), {ZONE: np.eye(4)}, "world",
        "pouring", {}, heights={BOTTLE: 0.15, CUP: 0.1},
    )  # fmt: skip
    with pytest.raises(LearningFailed, match="leaves the vessel where it stands"):
        next(pouring().ways(scene, PolicyConfig()))
