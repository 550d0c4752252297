"""Depth that lies beside colour is noticed, and depth that lies on it is not."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from visual_irl.assets import asset_path
from visual_irl.perception.cameras.depth_alignment import DepthAlignment, depth_edges, edge_fit
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.types import RgbdFrame

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def told(frames: list[RgbdFrame], pixels: int) -> int | None:
    alignment = DepthAlignment()
    for i, frame in enumerate(frames):
        assert frame.depth is not None
        alignment.look(replace(frame, stamp_ns=i * 1_000_000_000, depth=np.roll(frame.depth, pixels, axis=1)))
    return alignment.offset()


def frames_of(path: Path) -> list[RgbdFrame]:
    with open_frames(path) as source:
        return list(islice(source, 3))


@pytest.mark.parametrize("pixels", [0, 3, 12, -12])
def test_how_far_depth_lies_beside_colour(pixels: int) -> None:
    offset = told(frames_of(asset_path("models/recordings/onion_sorting")), pixels)
    assert offset is None if abs(pixels) < 6 else offset == pytest.approx(pixels, abs=2)


@pytest.mark.skipif(not DATA.is_dir(), reason=f"real pictures are not at '{DATA}'")
@pytest.mark.parametrize("name", ["depthkit_typing", "pcl_five_people"])
def test_real_depth_lies_on_colour_until_it_is_moved(name: str) -> None:
    frames = frames_of(DATA / "rgbd" / name)
    assert told(frames, 0) is None
    assert told(frames, 12) == pytest.approx(12, abs=2)


def test_few_edges_tell_nothing_and_unknown_depth_lies_behind() -> None:
    rng = np.random.default_rng(0)
    depth = np.full((60, 80), 2.0, np.float32)
    depth[:, 30:50] = 1.0
    depth[:, 24:30] = np.nan  # what only one imager sees
    edges = np.flatnonzero(depth_edges(depth).all(0))
    assert edges.tolist() == [30, 50]
    picture = np.where(depth[..., None] == 1.0, 200, 50).astype(np.uint8) + rng.integers(0, 3, (60, 80, 3), np.uint8)
    fit, count = edge_fit(picture, depth)
    assert count == 120 and fit[len(fit) // 2] == fit.max() > 2.0 * fit[-1]
    assert DepthAlignment().offset() is None
