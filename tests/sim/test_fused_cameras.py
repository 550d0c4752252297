"""Two rendered cameras around one person: what one errs in or cannot see, the other knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from visual_irl import cli
from visual_irl.evaluation.benchmarks.perception_score import ARM_ROWS
from visual_irl.io import artifacts
from visual_irl.io.recording_writer import RecordingWriter
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.perception.skeleton.fusion import FusionConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.skeleton.moments import fuse_cameras
from visual_irl.types import KeypointFrame, keypoint_index

pytestmark = pytest.mark.long

FRONT = SyntheticCamera(seed=866, body_seed=41, rate=7.5)
SIDE = replace(FRONT, eye=(0.70, 0.62, 0.62))  # from where the trunk hides the working arm's elbow
FIRST, FRAMES = 40, 4


def watched(camera: SyntheticCamera) -> list[KeypointFrame]:
    stream = KeypointStream(KeypointConfig())
    found = [stream.step(frame) for frame in camera.film(range(FIRST, FIRST + FRAMES))]
    stream.close()
    return found


def test_two_views_are_better_than_either() -> None:
    views = [watched(FRONT), watched(SIDE)]
    fused, shares, _ = fuse_cameras(views, FusionConfig())
    truth = FRONT.truth.p_world[FIRST : FIRST + FRAMES]

    def error(frames: list[KeypointFrame], rows: list[int]) -> float:
        off = np.linalg.norm(np.array([f.p_world[rows] for f in frames]) - truth[:, rows], axis=2)
        assert np.isfinite(off).all()
        return 1e3 * float(off.mean())

    front, side, both = (error(frames, ARM_ROWS) for frames in (*views, fused))
    assert both < min(front, side) and both < 25.0, (front, side, both)
    elbow = [keypoint_index(f"{FRONT.side}_elbow")]
    assert error(fused, elbow) < 0.8 * error(views[1], elbow)
    assert shares == [1.0, 1.0]


def test_the_verb_takes_several_recordings_and_goes_on_when_one_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for camera, name, frames in ((FRONT, "front", 4), (SIDE, "side", 1)):
        with RecordingWriter(tmp_path / name, camera.fixtures) as writer:
            for frame in camera.film(range(FIRST, FIRST + frames)):
                writer.write(frame)
    out = tmp_path / "demo.npz"
    args = [str(tmp_path / "front"), str(tmp_path / "side"), "--out", str(out), "--pictures", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["visual-irl", "extract", *args])
    cli.main()
    demo, said = artifacts.load_demonstration(out), capsys.readouterr().out
    assert demo.frame == "world" and len(demo.t) == 4 and demo.seen.all()
    assert "camera front: a person in 100 %" in said and "camera side: a person in 25 %" in said
    both, alone = (np.trace(demo.covariance[i, ARM_ROWS[0]]) for i in (0, -1))
    assert both < alone
