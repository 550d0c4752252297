"""A plain video: the arm in the torso's frame, in the person's own scale."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfect_person import (
    BODY,
    CAMERA,
    CONFIG,
    landmarks_of,
    person_of,
    truth,
)
from visual_irl.errors import NoPersonFound
from visual_irl.perception.skeleton.lifting import lift_keypoints, to_world
from visual_irl.perception.skeleton.torso import ArmLengths, align_to_torso, demonstrating_side
from visual_irl.types import KEYPOINTS, KeypointFrame, keypoint_index


def moving_clip(steps: int = 20) -> list[KeypointFrame]:
    frames = []
    for i in range(steps):
        body = dict(BODY)
        x, y, z = BODY["right_wrist"]
        body["right_wrist"] = (x + 0.006 * i, y - 0.004 * i, z)
        lifted = lift_keypoints(person_of(landmarks_of(body, depth=False)), None, CAMERA, CONFIG)
        frames.append(to_world(lifted, i * 33_000_000, None))
    return frames


def test_plain_video_recovers_the_arm_in_the_torso_frame() -> None:
    frames = moving_clip()
    side = demonstrating_side(frames)
    assert side == "right"
    upper = float(np.linalg.norm(truth("right_elbow") - truth("right_shoulder")))
    fore = float(np.median([np.linalg.norm(f.p_world[5 + 1] - f.p_world[5]) for f in frames]))
    assert KEYPOINTS[5:7] == ("right_elbow", "right_wrist")
    aligned, T = align_to_torso(frames, side, ArmLengths(upper, fore))
    assert np.allclose(T[:3, :3] @ T[:3, :3].T, np.eye(3), atol=1e-9) and np.linalg.det(T[:3, :3]) > 0
    shoulder, wrist, other = (keypoint_index(n) for n in ("right_shoulder", "right_wrist", "left_shoulder"))
    assert np.allclose(aligned[0].p_world[shoulder], 0.0, atol=1e-3)
    assert np.allclose(aligned[0].p_world[other], [0.0, 0.36, 0.0], atol=0.005)  # y is left
    # the wrist is before the body and below the shoulder
    assert np.allclose(aligned[0].p_world[wrist], [0.30, 0.06, -0.31], atol=0.01)
    moved = aligned[-1].p_world[wrist] - aligned[0].p_world[wrist]
    # 0.114 m to the picture's right is to the person's left; 0.076 m up
    assert np.allclose(moved, [0.0, 0.114, 0.076], atol=0.01)


@pytest.mark.parametrize("rest", [0, 100, 500])
def test_the_arm_that_moves_is_told_after_a_long_rest(rest: int) -> None:
    """The left arm never moves, jitters by a centimetre, and has a single wild frame; the right one rests first."""
    moving = moving_clip(60)
    frames, rng = [moving[0]] * rest + moving, np.random.default_rng(0)
    left, clip = keypoint_index("left_wrist"), []
    for i, frame in enumerate(frames):
        p = frame.p_world.copy()
        p[left] += rng.normal(0.0, 0.01, 3)
        p[left] += 1.0 if i == 5 else 0.0
        clip.append(replace(frame, p_world=p, stamp_ns=i * 33_000_000))
    assert demonstrating_side(clip) == "right"


def test_no_arm_is_an_error_with_counts() -> None:
    with pytest.raises(NoPersonFound, match="2 of 3 frames"):
        demonstrating_side([to_world(None, i, None) for i in range(3)])
