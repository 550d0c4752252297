"""The arm of plans and motion files: limbs, swivel and hand are kept; angles and points agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visual_irl.errors import InvalidInput
from visual_irl.io.motion import ArmMotion
from visual_irl.mapping import human_arm
from visual_irl.mapping.anatomy import PALM, angle_sigmas, arm_of_angles, torso_frame
from visual_irl.types import KEYPOINTS, SIDES, Demonstration, HandPlan, keypoint_index
from visual_irl.verbs.stages import known_angles

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


def demonstration(side: str, sigma: float) -> tuple[Demonstration, np.ndarray]:
    """An arm with a bent elbow whose keypoints have this deviation [m], and its hand orientations."""
    q, n = np.tile([0.9, 0.8, 0.3, 1.2, 0.4, 0.2, 0.1], (6, 1)), 6
    shoulder = np.tile(SHOULDER, (n, 1))
    elbow, wrist, R = arm_of_angles(q, torso_frame(side), shoulder, 0.29, 0.26)
    middle, half = wrist + PALM[0] * R[:, :, 2], 0.5 * PALM[1] * R[:, :, 1]
    p = np.full((n, len(KEYPOINTS), 3), np.nan)
    for name, place in zip(human_arm.ANGLE_POINTS, (shoulder, elbow, wrist, middle + half, middle, middle - half), strict=True):
        p[:, keypoint_index(f"{side}_{name}")] = place
    other, across = ("right", -0.4) if side == "left" else ("left", 0.4)
    p[:, keypoint_index(f"{other}_shoulder")] = shoulder + [0.0, across, 0.0]
    covariance = np.tile(sigma**2 * np.eye(3), (n, len(KEYPOINTS), 1, 1))
    demo = Demonstration(
        np.arange(n) / 30.0, side, p, covariance, np.ones(n, bool), np.zeros(n), {}, {}, {}, ("",) * n, {}, "world",
        "onion_sorting", {},
    )  # fmt: skip
    return demo, R


@pytest.mark.parametrize("side", SIDES)
def test_a_demonstrations_angles_are_as_uncertain_as_its_keypoints(side: str) -> None:
    demo, R = demonstration(side, 0.004)
    elbow, wrist = (demo.keypoint(name) for name in ("elbow", "wrist"))
    covariance = np.tile(0.004**2 * np.eye(3), (6, 6, 1, 1))
    expected = angle_sigmas(torso_frame(side), demo.keypoint("shoulder"), elbow, wrist, R, covariance)
    heading = np.sqrt(2.0) * 0.004 / 0.4
    assert human_arm.heading_deviation(demo) == pytest.approx(heading)
    expected[:, 0] = np.hypot(expected[:, 0], heading)  # the plane of elevation counts from where the torso looks
    assert np.allclose(human_arm.angle_deviations(demo), expected)
    told = f"forearm rotation {np.degrees(expected[0, 4]):.0f}, "
    assert told in known_angles(demo) and "(medians of 6 frames, degrees)" in known_angles(demo)


def test_a_lost_or_folded_hand_leaves_the_angles_unknown() -> None:
    demo, _ = demonstration("right", 0.004)
    p = np.array(demo.p_world)
    index, middle = (keypoint_index(f"right_hand_{name}") for name in ("index_mcp", "middle_mcp"))
    p[1, index] = np.nan
    p[2, index] = p[2, keypoint_index("right_hand_pinky_mcp")]  # no line of knuckles
    p[3, middle] = demo.keypoint("wrist")[3]
    unknown = np.isnan(human_arm.angle_deviations(replace(demo, p_world=p)))
    assert unknown[1:4].all() and not unknown[[0, 4, 5]].any()
    assert known_angles(replace(demo, p_world=np.full_like(p, np.nan))) == ""
    p = np.array(demo.p_world)
    p[:, keypoint_index("left_shoulder")] = np.nan
    assert "shoulder plane open" in known_angles(replace(demo, p_world=p)), "nothing says where the torso looks"
