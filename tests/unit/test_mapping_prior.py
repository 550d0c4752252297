"""The prior's network: trained from nothing, loaded, and refused where it does not fit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile
from visual_irl.mapping.prior import load_prior
from visual_irl.mapping.prior_training import Lesson, TrainingConfig, _fit, _right, train_prior
from visual_irl.robots import load_robot


def test_prior_is_trained_from_scratch_and_loads(tmp_path: Path) -> None:
    config = TrainingConfig(synthetic=4, placements=1, epochs=2, batch=64)
    report = train_prior(load_robot("ur5e"), [], tmp_path / "prior.safetensors", config)
    assert report.motions == 4 and report.questions > 200
    assert load_prior("ur5e", tmp_path / "prior.safetensors").on


def test_the_network_learns_which_solution_is_the_teachers() -> None:
    """The teacher takes the option whose third input is smallest; the limbs say nothing about it."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1500, 6, 5)).astype(np.float32)
    right = X[:, 1:, 2].argmin(axis=1) + 1
    distance = np.full((1500, 6), 2.0, np.float32)
    distance[np.arange(1500), right] = 0.0
    lesson = Lesson(X, distance, rng.uniform(size=(1500, 6)).astype(np.float32))
    network = _fit(Lesson(*(part[:1000] for part in lesson)), TrainingConfig(epochs=40, batch=100), lambda done, total: None)
    by_network, by_limbs = _right(network, Lesson(*(part[1000:] for part in lesson)))
    assert by_network > 0.9 and by_limbs < 0.4


def test_bad_priors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="train one with: visual-irl bench mapping --train-prior --robot kuka"):
        load_prior("kuka")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(UnreadableFile, match="is not a mapping prior"):
        load_prior("panda", tmp_path / "text.safetensors")
    save_file({"W1": np.zeros((2, 3), np.float32)}, tmp_path / "other.safetensors")
    with pytest.raises(InvalidInput, match="it holds W1, expected"):
        load_prior("panda", tmp_path / "other.safetensors")
