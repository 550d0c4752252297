"""Real people: a depth recording, demonstrations whose heads are out of the picture, and a lone hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import NoPersonFound
from visual_irl.perception.cameras.sources import FrameSource, open_frames
from visual_irl.perception.drawing import draw_keypoints
from visual_irl.perception.landmarks.mediapipe_detector import MediapipeDetectorConfig
from visual_irl.perception.skeleton.fusion import FusionConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream, extract_keypoints
from visual_irl.perception.skeleton.moments import fuse_cameras
from visual_irl.perception.skeleton.torso import ARM, arm_seen, demonstrating_side
from visual_irl.types import SIDES, KeypointFrame, RgbdFrame, keypoint_index

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"real clips are not at '{DATA}'")


def excerpt(path: str, frames: int, step: int = 1, start: int = 0) -> FrameSource:
    """From `start` on, `frames` of every `step`-th frame of a clip."""
    whole = open_frames(DATA / path)

    def some() -> Iterator[RgbdFrame]:
        return islice(iter(whole), start, start + frames * step, step)

    return FrameSource(whole.path, some, frames, whole.has_depth, whole.fixtures)


def path_of(frames: list[KeypointFrame], name: str) -> np.ndarray:
    return np.array([frame.p_world[keypoint_index(name)] for frame in frames])


def test_depth_recording_gives_human_limbs_of_constant_length() -> None:
    _, frames = extract_keypoints(excerpt("rgbd/depthkit_typing", 8, 6))
    for side in SIDES:
        assert arm_seen(frames, side).all()
        shoulder, elbow, wrist = (path_of(frames, f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist"))
        for a, b in ((shoulder, elbow), (elbow, wrist)):
            lengths = np.linalg.norm(b - a, axis=1)
            assert 0.22 < np.median(lengths) < 0.33  # adults: 0.24 to 0.31 m
            assert lengths.std() < 0.02
        # both networks saw the same wrist, to less than half a hand: each errs by 0.03 m, and insets differ by 0.03 m
        hand = path_of(frames, f"{side}_hand_wrist")
        assert np.nanmedian(np.linalg.norm(hand - wrist, axis=1)) < 0.08
        tip = path_of(frames, f"{side}_hand_middle_tip")
        assert 0.08 < np.nanmedian(np.linalg.norm(tip - hand, axis=1)) < 0.22


POSE2SIM = {  # width, lens (fx, fy, cx, cy) [px] and pose (rotation vector [rad], translation [m]; camera from world) of each:
    # Calib_qualisys.toml of perfanalytics/pose2sim, BSD-3-Clause, Copyright 2022 David Pagnon
    "cam01": (1080, (1681.24, 1681.08, 532.97, 948.14), (1.688275, 1.048322, -0.419559), (0.321105, 0.956332, 2.890713)),
    "cam02": (1080, (1673.73, 1673.80, 534.49, 963.23), (1.349759, 1.596381, -1.198329), (-0.111528, 0.776618, 3.067552)),
    "cam03": (1088, (1681.60, 1681.51, 513.21, 955.01), (0.810965, -2.197213, 1.376028), (-0.793480, 0.322836, 4.353515)),
    "cam04": (1088, (1675.23, 1675.20, 540.11, 964.03), (1.404557, -1.388741, 0.425357), (0.503022, 0.048949, 4.406565)),
}


def calibrated(folder: Path, name: str) -> Path:
    """A view of Pose2Sim's with its camera beside it."""
    width, (fx, fy, cx, cy), rotation, translation = POSE2SIM[name]
    T = se3.inverse(se3.transform(se3.exp_so3(np.array(rotation)), np.array(translation)))
    camera = {"width": width, "height": 1920, "fx": fx, "fy": fy, "cx": cx, "cy": cy, "T_world_camera": T.tolist()}
    (folder / f"{name}.camera.json").write_text(json.dumps(camera))
    (folder / f"{name}.mp4").symlink_to(DATA / "video" / f"pose2sim_batch_t1_{name}.mp4")
    return folder / f"{name}.mp4"


def test_four_views_without_depth_give_one_metric_person(tmp_path: Path) -> None:
    """Nobody told how tall he is: triangulation does. Two cameras see his face, two his back."""
    views = []
    for name in POSE2SIM:
        stream = KeypointStream(KeypointConfig())
        views.append([stream.step(frame) for frame in islice(iter(open_frames(calibrated(tmp_path, name))), 0, 25, 6)])
        stream.close()
    fused, shares, left_out = fuse_cameras(views, FusionConfig())
    assert len(fused) == 5 and shares == [1.0] * 4 and not {"sides exchanged", "somebody else"} & set(left_out)
    arms = [[path_of(fused, f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist")] for side in SIDES]
    limbs = np.array([[np.linalg.norm(b - a, axis=1) for a, b in pairwise(arm)] for arm in arms])
    assert (np.abs(limbs - 0.26) < 0.06).all() and limbs.std(2).max() < 0.03  # adults' are 0.24 to 0.31 m
    assert np.abs(np.median(limbs[0], 1) - np.median(limbs[1], 1)).max() < 0.04  # left and right of one person
    assert (np.abs(np.linalg.norm(arms[0][0] - arms[1][0], axis=1) - 0.37) < 0.05).all()  # between his shoulders


def steady_right_arm(frames: list[KeypointFrame], least: float) -> np.ndarray:
    """Pixels of shoulder, elbow and wrist, checked for one side and for limbs that neither swap nor jump."""
    assert demonstrating_side(frames) == "right"
    seen = arm_seen(frames, "right")
    assert seen.mean() >= least
    rows = [keypoint_index(f"right_{joint}") for joint in ARM]
    uv = np.array([frame.uv[rows] for frame, ok in zip(frames, seen, strict=True) if ok])
    hand = np.array([frame.uv[keypoint_index("right_hand_wrist")] for frame, ok in zip(frames, seen, strict=True) if ok])
    gap = np.linalg.norm(hand - uv[:, 2], axis=1)
    assert (gap[np.isfinite(gap)] < 1.0).all()  # the hand's own wrist is taken for the arm's
    return uv


def test_an_arm_is_found_without_the_head() -> None:
    _, frames = extract_keypoints(excerpt("video/ms_lfo_place.webm", 30, 6))
    # the person faces the camera, the arm is at the picture's left; the first sighting is not counted
    uv = steady_right_arm(frames, 0.8)
    assert (uv[:, 2, 0] < uv[:, 0, 0]).all()
    # the outstretched arm ends at about a sixth to a third of 640 px
    assert np.abs(np.median(uv[:15, 2], axis=0) - [170.0, 120.0]).max() < 40.0
    lengths = np.linalg.norm(np.diff(uv[:15], axis=1), axis=2).sum(1)
    assert lengths.std() / lengths.mean() < 0.15  # held still in the picture's plane


def test_an_arm_is_found_from_the_side() -> None:
    # the person stands at the picture's edge and is cut by it, the hand holds a can
    _, frames = extract_keypoints(excerpt("video/ms_lfo_shelf.webm", 24, 6))
    uv = steady_right_arm(frames, 0.7)
    assert (uv[:, 0, 0] < 0.3 * 640).all() and (uv[:, 2, 0] > uv[:, 0, 0]).all()


def test_an_arm_is_found_from_behind_and_the_hidden_one_is_not() -> None:
    # at first only a sleeve is in the picture, then the back; the left arm never
    _, frames = extract_keypoints(excerpt("video/ms_vlm_can_shelf.mp4", 24))
    assert demonstrating_side(frames) == "right"
    seen = arm_seen(frames, "right")
    assert seen.mean() >= 0.5
    shoulder, wrist = (
        np.array([f.uv[keypoint_index(f"right_{joint}")] for f in frames])[seen] for joint in ("shoulder", "wrist")
    )
    assert (wrist[:, 0] > shoulder[:, 0]).all()
    assert not arm_seen(frames, "left").any()
    assert not any(frame.person for frame in frames[:5])


def test_a_lone_hand_is_no_person() -> None:
    with pytest.raises(NoPersonFound, match="seen in 0 of 10 frames"):
        extract_keypoints(excerpt("video/human_hand.mp4", 10, 12))


def test_hands_that_move_things_are_no_person() -> None:
    with pytest.raises(NoPersonFound, match="seen in 0 of 10 frames"):
        extract_keypoints(excerpt("video/hands_moving_bottles.mp4", 10, 12, start=340))  # a hand is in most of them


def test_detection_writes_nothing_to_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    detector = MediapipeDetectorConfig(pose_model="full").build()
    source = excerpt("rgbd/depthkit_typing", 2)
    _, frames = extract_keypoints(source, KeypointConfig(), detector=detector)
    detector.close()
    assert capfd.readouterr().err == ""
    first = next(iter(source))
    assert (draw_keypoints(first.rgb, frames[0]) != first.rgb).any()
