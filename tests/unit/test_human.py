"""The posable human: proportions, kinematics, arm geometry."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput, Unreachable
from visual_irl.tasks.body import Body, load_rig, sample_body, shape_rig
from visual_irl.tasks.human import (
    FINGERTIP,
    FLOOR_Z,
    MID_SHOULDERS,
    REACH,
    ArmPosture,
    Human,
    Posture,
    elbow_of,
    frame_of,
)
from visual_irl.types import KEYPOINTS, SIDES, keypoint_index


def angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(se3.angle_between(a[None], b[None])[0])


DOWN, AHEAD, LEFT = np.array([0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 1.0, 0.0])


@pytest.fixture(scope="module")
def human() -> Human:
    return Human(Body())


def typing_posture(curl: float = 0.1, thumb: float = 0.2, lean: float = 0.0) -> Posture:
    """Upper arms hang, forearms and fingers point ahead, palms down."""
    return Posture({side: ArmPosture(DOWN, AHEAD, AHEAD, DOWN, curl, thumb) for side in SIDES}, lean=lean)


def random_posture(rng: np.random.Generator) -> Posture:
    arms = {}
    for side in SIDES:
        upper, fore, fingers, palm = rng.normal(size=(4, 3))
        arms[side] = ArmPosture(upper, fore, fingers, palm, curl=rng.uniform(0, 1), thumb=rng.uniform(0, 1))
    return Posture(arms, lean=rng.uniform(0, 0.4), head_pitch=rng.uniform(0, 0.5), head_yaw=rng.uniform(-0.5, 0.5))


def points(human: Human, posture: Posture) -> dict[str, np.ndarray]:
    return dict(zip(KEYPOINTS, human.keypoints(human.bone_poses(posture)), strict=True))


def test_shoulders_are_where_the_world_says(human: Human) -> None:
    p = points(human, typing_posture())
    np.testing.assert_allclose(0.5 * (p["left_shoulder"] + p["right_shoulder"]), MID_SHOULDERS, atol=1e-9)
    assert p["left_shoulder"][1] > 0.1 > -0.1 > p["right_shoulder"][1]


def test_sits_with_feet_on_the_floor_for_every_body() -> None:
    for seed in range(4):
        body = Human(sample_body(seed))
        skin = body.skin(body.bone_poses(typing_posture()))
        assert abs(skin[:, 2].min() - FLOOR_Z) < 0.01  # the sole bends a little under linear blending
        p = points(body, typing_posture())
        assert p["left_hip"][2] < 0.0 < p["left_shoulder"][2]


def test_limbs_point_where_asked(human: Human) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        posture = random_posture(rng)
        p = points(human, posture)
        for side in SIDES:
            arm = posture.arms[side]
            limbs = (("shoulder", "elbow", arm.upper), ("elbow", "wrist", arm.fore))
            for start, end, direction in limbs:
                assert angle(p[f"{side}_{end}"] - p[f"{side}_{start}"], direction) < 1e-6
            knuckle = p[f"{side}_hand_middle_mcp"] - p[f"{side}_hand_wrist"]
            assert angle(knuckle, arm.fingers) < 1e-6
            # out of the palm: index and little knuckle span the palm with the wrist
            index, pinky = (p[f"{side}_hand_{f}_mcp"] - p[f"{side}_hand_wrist"] for f in ("index", "pinky"))
            normal = np.cross(index, pinky) * (1.0 if side == "right" else -1.0)
            F = frame_of(arm.fingers, arm.palm)
            assert normal @ F[:, 1] > 0.9 * np.linalg.norm(normal)


def test_limb_lengths_do_not_depend_on_the_posture() -> None:
    rng = np.random.default_rng(1)
    human = Human(sample_body(3))
    for _ in range(20):
        p = points(human, random_posture(rng))
        for side in SIDES:
            assert np.linalg.norm(p[f"{side}_elbow"] - p[f"{side}_shoulder"]) == pytest.approx(human.upper_length)
            assert np.linalg.norm(p[f"{side}_wrist"] - p[f"{side}_elbow"]) == pytest.approx(human.fore_length)
            np.testing.assert_allclose(p[f"{side}_wrist"], p[f"{side}_hand_wrist"], atol=1e-9)


def test_bone_poses_are_rigid_and_rest_is_rest(human: Human) -> None:
    Ts = human.bone_poses(random_posture(np.random.default_rng(2)))
    R = Ts[:, :3, :3]
    np.testing.assert_allclose(R @ np.swapaxes(R, 1, 2), np.repeat(np.eye(3)[None], len(R), 0), atol=1e-9)
    assert (np.linalg.det(R) > 0).all()
    # where all bones move alike, skinning moves the mesh rigidly
    T = se3.transform(se3.exp_so3(np.array([0.3, -0.2, 0.5])), np.array([0.1, 0.2, 0.3]))
    skin = human.skin(np.repeat(T[None], len(human.rig.bones), axis=0))
    np.testing.assert_allclose(skin, se3.apply(T, human.rig.vertices), atol=1e-9)


def test_joints_lie_inside_the_body(human: Human) -> None:
    """Each arm joint has skin on all sides: the mean of the skin around it is near."""
    Ts = human.bone_poses(typing_posture())
    skin, p = human.skin(Ts), points(human, typing_posture())
    for name in ("left_elbow", "right_wrist", "right_hand_middle_mcp"):
        near = skin[np.linalg.norm(skin - p[name], axis=1) < 0.06]
        assert len(near) > 20
        assert np.linalg.norm(near.mean(0) - p[name]) < 0.03


def test_left_and_right_are_mirror_images(human: Human) -> None:
    p = human.keypoints(human.bone_poses(typing_posture(curl=0.5, thumb=0.7)))
    left = p[[i for i, k in enumerate(KEYPOINTS) if k.startswith("left")]]
    right = p[[i for i, k in enumerate(KEYPOINTS) if k.startswith("right")]]
    np.testing.assert_allclose(left * [1.0, -1.0, 1.0], right, atol=2e-3)  # the mesh is symmetric to about 1 mm


def test_curl_bends_the_fingers_into_the_palm(human: Human) -> None:
    for side in SIDES:
        flat, fist = (points(human, typing_posture(curl=c)) for c in (0.0, 1.0))
        for finger in ("index", "middle", "ring", "pinky"):
            tip, wrist = f"{side}_hand_{finger}_tip", f"{side}_hand_wrist"
            assert np.linalg.norm(fist[tip] - fist[wrist]) < 0.6 * np.linalg.norm(flat[tip] - flat[wrist])
        open_thumb, opposed = (points(human, typing_posture(thumb=x)) for x in (0.0, 1.0))
        tips = (f"{side}_hand_thumb_tip", f"{side}_hand_pinky_mcp")
        gap = [np.linalg.norm(p[tips[0]] - p[tips[1]]) for p in (opposed, open_thumb)]
        assert gap[0] < gap[1]


@pytest.mark.parametrize("side", SIDES)
def test_grip_touches_the_ball_with_thumb_and_finger(side: str) -> None:
    human = Human(sample_body(2))
    radius = 0.03
    curl, thumb = human.grip(side, radius)
    p = points(human, typing_posture(curl, thumb))
    centre = p[f"{side}_hand_wrist"] + human.grasp_centre(frame_of(AHEAD, DOWN))
    for tip in ("thumb_tip", "middle_tip"):
        gap = np.linalg.norm(p[f"{side}_hand_{tip}"] - centre) - radius - FINGERTIP * human.body.stature
        assert -0.004 < gap <= 0.0  # curl is found in steps of a 25th


def test_grip_refuses_what_no_hand_holds(human: Human) -> None:
    with pytest.raises(Unreachable, match=r"radius 0\.200 m"):
        human.grip("right", 0.2)


def test_lean_moves_the_shoulders_forward(human: Human) -> None:
    upright, leaning = (human.shoulders(lean)["right"] for lean in (0.0, 0.3))
    assert leaning[0] - upright[0] > 0.1 and leaning[2] < upright[2]
    p = points(human, typing_posture(lean=0.3))
    np.testing.assert_allclose(p["right_shoulder"], leaning, atol=1e-9)


def test_elbow_keeps_both_lengths_and_its_side() -> None:
    rng = np.random.default_rng(3)
    shoulder, pole = np.array([0.0, 0.0, 0.3]), np.array([-0.2, -0.5, -1.0])
    for _ in range(50):
        wrist = shoulder + rng.uniform(0.15, 0.5) * (lambda v: v / np.linalg.norm(v))(rng.normal(size=3))
        elbow = elbow_of(shoulder, wrist, 0.28, 0.26, pole)
        assert np.linalg.norm(elbow - shoulder) == pytest.approx(0.28)
        assert np.linalg.norm(wrist - elbow) == pytest.approx(0.26)
        axis = wrist - shoulder
        beside = elbow - shoulder - ((elbow - shoulder) @ axis) / (axis @ axis) * axis
        assert beside @ pole > 0.0


def test_elbow_refuses_what_is_out_of_reach() -> None:
    limit = REACH * 0.54
    elbow_of(np.zeros(3), np.array([limit - 1e-6, 0.0, 0.0]), 0.28, 0.26, DOWN)
    for d in (limit + 1e-3, 0.01, float("nan")):
        with pytest.raises((Unreachable, InvalidInput)):
            elbow_of(np.zeros(3), np.array([d, 0.0, 0.0]), 0.28, 0.26, DOWN)


def test_parallel_directions_have_no_frame() -> None:
    with pytest.raises(InvalidInput, match="parallel"):
        frame_of(LEFT, 2.0 * LEFT)


def test_body_changes_what_it_names() -> None:
    average, tall, long = (Human(b) for b in (Body(), Body(stature=1.05), Body(arm=1.04)))
    assert tall.upper_length == pytest.approx(1.05 * average.upper_length)
    assert long.fore_length == pytest.approx(1.04 * average.fore_length)
    wide = shape_rig(load_rig(), Body(build=1.1))
    spine = np.array([bone.startswith("spine") for bone in wide.bones])
    trunk = (wide.bone_weight * spine[wide.bone_index]).sum(1) > 0.999
    widths = [np.ptp(rig.vertices[trunk][:, 1]) for rig in (load_rig(), wide)]
    assert widths[1] == pytest.approx(1.1 * widths[0], rel=1e-3)  # weights are single precision


def test_bodies_are_drawn_by_seed() -> None:
    assert sample_body(5) == sample_body(5) != sample_body(6)
    assert all(0.92 <= sample_body(s).stature <= 1.08 for s in range(50))


def test_body_refuses_monsters() -> None:
    for bad in ({"stature": 1.5}, {"arm": float("nan")}, {"build": 0.5}):
        with pytest.raises(InvalidInput, match=next(iter(bad))):
            Body(**bad)


def test_keypoint_order(human: Human) -> None:
    p = human.keypoints(human.bone_poses(typing_posture()))
    assert p.shape == (50, 3)
    assert p[keypoint_index("right_hand_thumb_tip")][1] > p[keypoint_index("right_hand_pinky_tip")][1]  # palm down
