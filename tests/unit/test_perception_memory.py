"""The measure of memory tells growth from flatness, and refuses what tells nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.perception_memory import perception_memory, resident_mb


def test_resident_memory_sees_what_is_kept() -> None:
    before = resident_mb()
    kept = np.ones(8_000_000)  # 64 MB, touched
    assert resident_mb() - before == pytest.approx(61.0, abs=15.0)  # 8 bytes each, in units of 2^20; others allocate, too
    assert kept[-1] == 1.0


def test_too_few_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="99 frames"):
        perception_memory(tmp_path, 99, tmp_path / "memory.json", lambda done, total: None)
    assert not list(tmp_path.iterdir())
