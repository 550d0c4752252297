"""`bench ros` in a few seconds: every part comes to an end and finds what it is about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from visual_irl.verbs.ros_bench import bench_ros


@pytest.mark.timeout(400)
def test_every_part_is_measured(tmp_path: Path) -> None:
    bench_ros(tmp_path / "ros.json", "ur5e", 3.0)
    found = json.loads((tmp_path / "ros.json").read_text())
    for name in ("bare_ms", "bare_chain_ms", "keypoint_ms", "path_ms", "inference_ms", "end_to_end_ms", "joint_states_ms"):
        assert 0.0 < found[f"{name}_p50"] <= found[f"{name}_p99"], name
    assert found["end_to_end_ms_p50"] > found["inference_ms_p50"], "it is a part of the way"
    assert found["frames_sent"] > 0 and found["path_frames_sent"] > 0
    assert found["recorder_pictures_written"] > 0 and found["recorder_pictures_unseen"] >= 0
