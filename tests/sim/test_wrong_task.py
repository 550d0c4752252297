"""A recording that is extracted with the wrong task: it says so, and nothing is learned from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from visual_irl.assets import asset_path
from visual_irl.errors import LearningFailed
from visual_irl.io import artifacts
from visual_irl.pipeline import LearnConfig, learn
from visual_irl.verbs import stages

RECORDING = asset_path("models/recordings/onion_sorting")


def test_it_says_what_was_seen_instead_and_is_not_learned_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "demonstration.npz"
    stages.extract((RECORDING,), out, "auto", "pouring", every=30)
    said = " ".join(capsys.readouterr().out.split())
    assert "no object of task 'pouring' was found" in said and "shows onion, as --task onion_sorting has" in said
    assert "0 of 3 objects found" in said and "nan" not in said
    with pytest.raises(LearningFailed, match=r"no object of task 'pouring' was seen.*extract it again with"):
        learn([artifacts.load_demonstration(out)], LearnConfig())
