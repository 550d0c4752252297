"""Anatomical angles: known poses have the textbook angles, any pose survives the round trip, sides mirror each other."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.mapping import human_arm
from visual_irl.types import ARM_ANGLES, HandPlan

RIGHT = np.array([[1.0, 0, 0], [0, -1.0, 0], [0, 0, 1.0]])
LEFT = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
SHOULDER = np.array([[-0.1, -0.18, 0.33]])


def hand_frame(thumb: np.ndarray, fingers: np.ndarray) -> np.ndarray:
    return np.stack([np.cross(thumb, fingers), thumb, fingers], axis=-1)


def angles(upper: list[float], fore: list[float], thumb: list[float], side: str = "right") -> dict[str, float]:
    elbow = SHOULDER + 0.3 * np.array([upper], float)
    wrist = elbow + 0.25 * np.array([fore], float)
    R = hand_frame(np.array([thumb], float), np.array([fore], float))
    axes = RIGHT if side == "right" else LEFT
    return dict(zip(ARM_ANGLES, human_arm.angles_of_arm(side, axes, SHOULDER, elbow, wrist, R)[0], strict=True))


def test_flexed_shoulder_has_plane_ninety_degrees() -> None:
    q = angles([1, 0, 0], [0, 0, 1], [1, 0, 0])
    assert np.isclose(q["shoulder_plane"], np.pi / 2) and np.isclose(q["shoulder_elevation"], np.pi / 2)
    assert np.isclose(q["elbow_flexion"], np.pi / 2) and np.isclose(q["wrist_flexion"], 0.0)


@pytest.mark.parametrize(("side", "out"), [("right", -1.0), ("left", 1.0)])
def test_abducted_shoulder_has_plane_zero_on_either_side(side: str, out: float) -> None:
    q = angles([0, out, 0], [1, 0, 0], [0, 0, 1], side)
    assert np.isclose(q["shoulder_plane"], 0.0, atol=1e-9) and np.isclose(q["shoulder_elevation"], np.pi / 2)


def test_singular_poses_are_defined() -> None:
    hanging = angles([0, 0, -1], [1, 0, 0], [0, 0, 1])
    assert hanging["shoulder_plane"] == 0.0 and np.isclose(hanging["shoulder_elevation"], 0.0)
    overhead = angles([0, 0, 1], [0, 0, 1], [1, 0, 0])
    assert overhead["shoulder_plane"] == 0.0 and overhead["shoulder_rotation"] == 0.0
    assert all(np.isfinite(list(hanging.values()))) and all(np.isfinite(list(overhead.values())))


def test_left_and_right_mirror_images_have_equal_angles() -> None:
    rng = np.random.default_rng(1)
    upper, fore, thumb = rng.normal(size=(3, 3))
    upper, fore = upper / np.linalg.norm(upper), fore / np.linalg.norm(fore)
    thumb = np.cross(fore, thumb)
    thumb /= np.linalg.norm(thumb)
    mirror = np.array([1.0, -1.0, 1.0])
    right = angles(list(upper), list(fore), list(thumb), "right")
    left = angles(list(upper * mirror), list(fore * mirror), list(thumb * mirror), "left")
    assert np.allclose(list(right.values()), list(left.values()), atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_angles_to_arm_and_back(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low = np.array([-1.0, 0.2, -1.5, 0.2, -1.5, -1.0, -0.5])
    high = np.array([2.0, 2.8, 1.5, 2.4, 1.5, 1.0, 0.5])
    q = rng.uniform(low, high, size=(1, 7))
    elbow, wrist, fingers = human_arm.arm_of_angles(q, RIGHT, SHOULDER, 0.29, 0.25)
    assert np.isclose(np.linalg.norm(elbow - SHOULDER), 0.29) and np.isclose(np.linalg.norm(wrist - elbow), 0.25)
    # the first five angles and the direction of the fingers determine the thumb: rebuild it from the forearm's frame
    plane, elevation, rotation, flexion, pronation, _, deviation = q.T
    raise_, side_ = human_arm._elevation_frame(plane, elevation)
    u = (elbow - SHOULDER) @ RIGHT.T / 0.29
    zero, ninety = human_arm._forearm_frame(raise_, side_, u, rotation, flexion)
    thumb0 = (np.cos(pronation)[:, None] * zero + np.sin(pronation)[:, None] * ninety) @ RIGHT
    thumb = thumb0 - np.sum(thumb0 * fingers, axis=1, keepdims=True) * fingers
    thumb /= np.linalg.norm(thumb)
    back = human_arm.angles_of_arm("right", RIGHT, SHOULDER, elbow, wrist, hand_frame(thumb, fingers))
    exact = [0, 1, 2, 3]
    assert np.allclose(back[:, exact], q[:, exact], atol=1e-9)
    if abs(deviation[0]) < 1e-9:
        assert np.allclose(back, q, atol=1e-9)
    elbow2, wrist2, _ = human_arm.arm_of_angles(back, RIGHT, SHOULDER, 0.29, 0.25)
    assert np.allclose(elbow2, elbow, atol=1e-9) and np.allclose(wrist2, wrist, atol=1e-9)


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
