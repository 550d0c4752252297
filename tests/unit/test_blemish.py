"""The blemish classifier: what it is shown, that it runs as it was trained, and what the one that ships can do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, LearningFailed, MissingFile, UnreadableFile
from visual_irl.io.artifacts import digest
from visual_irl.perception.blemish import (
    DARKER,
    SHAPES,
    SHAPES_WEIGH,
    WEIGHTS,
    blemish_probability,
    dark_shares,
    load_blemish_network,
)
from visual_irl.perception.blemish_training import (
    TrainingConfig,
    build_shapes,
    build_shares,
    found_in,
    joined,
    network_of,
    train_classifier,
)
from visual_irl.perception.onion_lessons import draw_lesson
from visual_irl.perception.onion_pixels import CELLS, CHANNELS
from visual_irl.perception.onions import OnionDetectorConfig, OnionFinder

UNTAUGHT = 10_000_000
"""Lessons from this seed on were not taught."""


def test_a_lesson_is_the_same_each_time_and_knows_what_is_seen() -> None:
    lesson, again, other = draw_lesson(UNTAUGHT), draw_lesson(UNTAUGHT), draw_lesson(UNTAUGHT + 1)
    assert (lesson.frame.rgb == again.frame.rgb).all() and not (lesson.frame.rgb == other.frame.rgb).all()
    shares = np.concatenate([draw_lesson(UNTAUGHT + i).shares for i in range(20)])
    seen = shares[np.isfinite(shares)]
    assert len(seen) > 40 and 0.3 < (seen == 0.0).mean() < 0.8 and seen.max() < 1.0
    found = OnionFinder().find(lesson.frame)
    gaps = [np.linalg.norm(lesson.centres - onion.sphere.centre, axis=1).min() for onion in found]
    assert len(found) >= 2 and np.median(gaps) < 0.01


def test_an_onions_picture_is_free_of_exposure() -> None:
    for seed in range(UNTAUGHT, UNTAUGHT + 20):
        frame = draw_lesson(seed).frame
        if 100 < frame.rgb.max() < 250:  # bright, and nothing of it cut off
            break
    darker = replace(frame, rgb=(0.6 * frame.rgb).round().astype(np.uint8))
    one, two = (OnionFinder(OnionDetectorConfig(darkest=10)).find(f)[0].patch for f in (frame, darker))
    assert np.abs(one - two).mean() < 0.03  # whole levels


def test_the_compiled_network_is_the_one_that_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(3)
    shapes, shares = build_shapes(), build_shares()
    save_file(network_of(shapes, shares)._asdict(), tmp_path / "network.safetensors")
    compiled = load_blemish_network(tmp_path / "network.safetensors")
    patches = np.random.default_rng(0).normal(0.5, 1.0, (5, CHANNELS, CELLS, CELLS)).astype(np.float32)
    counted = torch.from_numpy(np.array([dark_shares(patch) for patch in patches]))
    score = SHAPES_WEIGH * shapes(torch.from_numpy(patches)) + (1.0 - SHAPES_WEIGH) * shares(counted)
    expected = torch.sigmoid(score).detach().numpy()[:, 0]
    assert [blemish_probability(compiled, x) for x in patches] == pytest.approx(expected.tolist(), abs=1e-5)
    assert np.ptp(expected) > 1e-3


def test_dark_shares_count_cells() -> None:
    patch = np.zeros((CHANNELS, CELLS, CELLS), np.float32)
    patch[:3] = 1.0
    whole = dark_shares(patch)
    assert whole[-1] == 1.0 and not whole[:-1].any()
    patch[1:3, 6:10, 6:10] = 0.32
    n, inner = len(DARKER), (np.hypot(*np.meshgrid(*2 * [(2 * np.arange(CELLS) + 1) / CELLS - 1])) < 0.85).sum()
    shares = dark_shares(patch)
    for k, cells in enumerate((16, 16, 9)):  # by brightness twice, and where four are together
        wanted = [np.sqrt(cells / inner) if limit > 0.32 else 0.0 for limit in DARKER]
        assert shares[k * n : (k + 1) * n] == pytest.approx(wanted, abs=1e-6)


def test_training_learns_from_few_pictures_and_writes_what_it_learned(tmp_path: Path) -> None:
    out, steps = tmp_path / "trained.safetensors", []
    config = TrainingConfig(pictures=64, epochs=25, batch=32)
    report = train_classifier(out, config, lambda what, done, total: steps.append(what))
    assert report.sightings > 100 and report.held_out > 10 and {"rendering", "learning"} == set(steps)
    assert report.sound_right + report.blemished_right > 1.3  # 1 is a guess
    load_blemish_network(out)
    with pytest.raises(LearningFailed, match="too few onions"):
        train_classifier(out, TrainingConfig(pictures=9), lambda *_: None)


def test_the_one_that_ships_is_right_on_lessons_that_were_not_taught() -> None:
    network = load_blemish_network()
    sightings = joined([found_in(UNTAUGHT + i) for i in range(30)])
    told = np.array([blemish_probability(network, patch) > 0.5 for patch in sightings.patches])
    assert (~told[~sightings.blemished]).mean() > 0.85  # 0.925 of 2,100
    assert told[sightings.shares > 0.15].mean() > 0.88  # 0.95


def test_the_one_that_ships_is_the_one_that_its_sidecar_describes() -> None:
    file = asset_path(WEIGHTS)
    assert json.loads(file.with_name(file.name + ".json").read_text())["sha256"] == digest(file)


def test_files_that_are_no_classifier_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="--train-classifier"):
        OnionDetectorConfig(classifier=str(tmp_path / "none")).build()
    (tmp_path / "text").write_text("no weights")
    with pytest.raises(UnreadableFile, match="not a blemish classifier"):
        load_blemish_network(tmp_path / "text")
    wrong = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()} | {"b4": np.zeros(2, np.float32)}
    save_file(wrong, tmp_path / "wrong")
    with pytest.raises(InvalidInput, match="expected"):
        load_blemish_network(tmp_path / "wrong")
