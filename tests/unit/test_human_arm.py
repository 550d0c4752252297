"""The arm of plans and motion files: limbs, swivel and hand are kept; angles and points agree."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.io.motion import ArmMotion
from visual_irl.mapping import human_arm
from visual_irl.mapping.anatomy import arm_of_angles, torso_frame
from visual_irl.types import SIDES, HandPlan

RIGHT = torso_frame("right")
SHOULDER = np.array([[-0.1, -0.18, 0.33]])


def hand_frame(thumb: np.ndarray, fingers: np.ndarray) -> np.ndarray:
    return np.stack([np.cross(thumb, fingers), thumb, fingers], axis=-1)


def test_imagined_arm_keeps_limbs_swivel_and_hand() -> None:
    n = 30
    Ts = np.tile(np.eye(4), (n, 1, 1))
    Ts[:, :3, :3] = hand_frame(np.array([1.0, 0, 0]), np.array([0, 0, -1.0]))
    Ts[:, :3, 3] = np.linspace([0.15, -0.3, 0.03], [0.25, 0.05, 0.1], n)
    swivel = np.linspace(0.1, 0.7, n)
    plan = HandPlan(np.arange(n) / 30.0, Ts, np.zeros(n), swivel, ("x",) * n, ("",) * n)
    arm = human_arm.imagined_arm(plan, "right", RIGHT, SHOULDER[0], 0.29, 0.27)
    assert np.allclose(np.linalg.norm(arm.elbow - arm.shoulder, axis=1), 0.29)
    assert np.allclose(np.linalg.norm(arm.wrist - arm.elbow, axis=1), 0.27, atol=1e-6)
    assert np.allclose(human_arm.swivel_of_arm(arm, RIGHT), swivel, atol=1e-6)
    assert np.allclose(arm.wrist + human_arm.GRASP_REACH * np.array([0, 0, -1.0]), Ts[:, :3, 3])


def test_out_of_reach_hand_stays_and_arm_points_at_it() -> None:
    Ts = np.tile(np.eye(4), (2, 1, 1))
    Ts[:, :3, 3] = [2.0, 0.0, 0.0]
    plan = HandPlan(np.array([0.0, 1.0]), Ts, np.zeros(2), np.zeros(2), ("x", "x"), ("", ""))
    arm = human_arm.imagined_arm(plan, "right", RIGHT, SHOULDER[0], 0.29, 0.27)
    along = arm.wrist[0] - arm.shoulder[0]
    assert np.allclose(arm.Ts_world_hand[:, :3, 3], [2.0, 0.0, 0.0])
    # the elbow of a reach clipped by nothing more than the law of cosines lies on the line
    assert np.allclose(np.cross(arm.elbow[0] - arm.shoulder[0], along / np.linalg.norm(along)), 0.0, atol=1e-6)


def motion(side: str, frames: int = 40) -> tuple[ArmMotion, np.ndarray]:
    """Two recordings of an arm that bends its straight elbow, and the angles they were made of."""
    q = np.tile([0.9, 0.8, 0.3, 0.0, 0.4, 0.2, 0.1], (frames, 1))
    half = frames // 2
    q[:, 3] = np.tile(np.linspace(0.0, 1.0, half), 2)
    q[half:, 2] = -0.6
    shoulder = np.tile(SHOULDER, (frames, 1))
    elbow, wrist, R = arm_of_angles(q, torso_frame(side), shoulder, 0.29, 0.26)
    start = np.isin(np.arange(frames), (0, half))
    return ArmMotion("made", np.arange(frames) / 30.0, side, shoulder, elbow, wrist, R, start), q


@pytest.mark.parametrize("side", SIDES)
def test_a_motion_files_arm_has_the_angles_and_the_grasp_centre(side: str) -> None:
    made, q = motion(side)
    arm = human_arm.arm_of_motion(made)
    assert np.allclose(arm.q, q, atol=1e-9)  # each recording begins straight with its own first determined rotation
    assert np.allclose(arm.Ts_world_hand[:, :3, 3] - arm.wrist, human_arm.GRASP_REACH * made.R_hand[:, :, 2])


def test_a_motion_file_without_a_forearm_is_an_error() -> None:
    made, _ = motion("right")
    made.wrist[7] = made.elbow[7]
    with pytest.raises(InvalidInput, match="frame 7: the forearm"):
        human_arm.arm_of_motion(made)
