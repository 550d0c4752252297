"""The measure of memory tells growth from flatness, and refuses what tells nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.benchmarks.perception_memory import MemoryCurve, in_use_mb, perception_memory, resident_mb


def test_resident_memory_sees_what_is_kept() -> None:
    before = resident_mb()
    kept = np.ones(8_000_000)  # 64 MB, touched
    assert resident_mb() - before == pytest.approx(61.0, abs=15.0)  # 8 bytes each, in units of 2^20; others allocate, too
    assert kept[-1] == 1.0


def test_memory_in_use_sees_what_is_given_back_too() -> None:
    before = in_use_mb()
    if not np.isfinite(before):
        pytest.skip("this C library does not tell what is in use")
    kept = np.ones(8_000_000)
    assert in_use_mb() - before == pytest.approx(61.0, abs=5.0) and kept[-1] == 1.0
    del kept
    assert in_use_mb() - before < 5.0


def test_trends_begin_after_the_warm_up_and_what_is_not_known_is_null() -> None:
    frames = tuple(range(0, 1001, 100))
    resident = tuple(500.0 + 0.002 * n if n > 200 else 100.0 for n in frames)
    curve = MemoryCurve(frames, resident, (np.nan,) * 11, (7,) * 11)
    assert curve.trend(curve.resident_mb) == pytest.approx(2.0) and curve.trend(curve.blocks) == pytest.approx(0.0, abs=1e-9)
    assert "501 MB after" in curve.text() and "+2.00 MB resident" in curve.text()
    content = curve.as_json()
    assert content["in_use_mb"] == [None] * 11 and content["in_use_mb_per_1000_frames"] is None


def test_too_few_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="99 frames"):
        perception_memory(tmp_path, 99, tmp_path / "memory.json", lambda done, total: None)
    assert not list(tmp_path.iterdir())
