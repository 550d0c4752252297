"""Lifting recovers known joints from their projections."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput, NoPersonFound
from visual_irl.perception import lifting
from visual_irl.perception.arm_depth import ArmDepth, LimbLengths, arm_depth
from visual_irl.perception.detection import POSE_INDEX, HandDetection, PersonDetection
from visual_irl.perception.hand_lifting import guessed_thumb, hand_insets, hand_skin, place_hand
from visual_irl.perception.hand_order import MOST_TWIST, forearm_twist, reversed_order
from visual_irl.perception.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.lifting import LiftingConfig, keep_human_limbs, lift_keypoints, reject_by_shape, to_world
from visual_irl.perception.skin_depth import skin_depths
from visual_irl.perception.torso import ArmLengths, align_to_torso, demonstrating_side
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, SIDES, Intrinsics, KeypointFrame, RgbdFrame, keypoint_index

CAMERA = Intrinsics(600.0, 600.0, 319.5, 239.5, 640, 480)
CONFIG = LiftingConfig()
ABSURD = (np.nan, -1e9, -1.0, 0.0, 1e-9, 1e-3, 0.04, 0.45, 1.0, 8.0, 1e9, np.inf)
BODY = {  # joint centres [m] of a person 1.2 m before the camera, who faces it: the left arm is on the picture's right
    "left_shoulder": (0.18, -0.15, 1.20),
    "right_shoulder": (-0.18, -0.15, 1.20),
    "left_elbow": (0.25, 0.08, 1.10),
    "right_elbow": (-0.26, 0.08, 1.08),
    "left_wrist": (0.16, 0.14, 0.88),
    "right_wrist": (-0.12, 0.16, 0.90),
    "left_hip": (0.10, 0.33, 1.20),
    "right_hip": (-0.10, 0.33, 1.20),
}
LENGTHS = LimbLengths((0.2567, 0.2490), (0.004, 0.004))  # between landmarks, of both arms: their upper arms are 6 mm off


def landmarks_of(body: dict[str, tuple[float, float, float]], depth: bool = True) -> dict[str, tuple[float, float, float]]:
    """Where the network sets them: shoulders above the joint on an upright trunk and nearer to the neck, elbows higher up the
    arm, wrists nearer to the hand; with depth, which is the joint's, only as far as the picture shows it."""
    landmarks = dict(body)
    for side, outward in (("left", 1.0), ("right", -1.0)):
        shoulder, elbow, wrist = (np.array(body[f"{side}_{joint}"]) for joint in ("shoulder", "elbow", "wrist"))
        shifts = {
            "shoulder": np.array([-outward * CONFIG.shoulder_outward, -CONFIG.shoulder_drop, 0.0]),
            "elbow": -CONFIG.elbow_further * (elbow - shoulder) / np.linalg.norm(elbow - shoulder),
            "wrist": CONFIG.wrist_before * (wrist - elbow) / np.linalg.norm(wrist - elbow),
        }
        for joint, shift in shifts.items():
            p = np.array(body[f"{side}_{joint}"])
            ray = p / np.linalg.norm(p)
            landmarks[f"{side}_{joint}"] = tuple((p + shift - depth * (shift @ ray) * ray).tolist())
    return landmarks


LANDMARKS = landmarks_of(BODY)


def hand_shape(seed: int = 0) -> np.ndarray:
    """21 points of a flat right hand, 0.18 m long, that points down in the picture, its thumb towards the trunk."""
    rng = np.random.default_rng(seed)
    shape = np.zeros((21, 3))
    for finger in range(5):
        for joint in range(4):
            shape[1 + 4 * finger + joint] = [0.02 * (2 - finger), 0.05 + 0.035 * joint, 0.0]
    return shape + rng.normal(0.0, 0.002, shape.shape) - shape.mean(0)


def person_of(body: dict[str, tuple[float, float, float]], hand: np.ndarray | None = None) -> PersonDetection:
    """What a perfect detector sees; the shape is turned to the ray on which the person stands, as BlazePose's is."""
    uv, visibility, shape = np.zeros((33, 2)), np.zeros(33), np.zeros((33, 3))
    rows = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
    p = np.array([body[name] for name in BODY_KEYPOINTS])
    uv[rows], visibility[rows] = CAMERA.project(p), 0.99
    ray = CAMERA.back_project(uv[rows].mean(0), np.array(1.0))
    shape[rows] = (p - p[6:].mean(0)) @ se3.rotation_between(np.array([0.0, 0.0, 1.0]), ray)
    hands = {}
    if hand is not None:
        hand_uv = CAMERA.project(hand)
        ray = CAMERA.back_project(hand_uv.mean(0), np.array(1.0))
        R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), ray)
        hands = {
            "right": HandDetection(hand_uv, (hand - hand.mean(0)) @ R / 1.1, 0.9, "right")
        }  # a hand 10 % larger than usual
    return PersonDetection(uv, visibility, shape, hands)


def depth_of(body: dict[str, tuple[float, float, float]], hand: np.ndarray | None = None) -> np.ndarray:
    """A depth picture with a patch of skin before each joint, and a wall behind."""
    depth = np.full((480, 640), 2.5, np.float32)
    points = [(np.array(p), inset_of(body, name), 12) for name, p in body.items()]
    if hand is not None:
        points += [(p, inset, 5) for p, inset in zip(hand, hand_insets(CONFIG), strict=True)]
    for p, inset, half in sorted(points, key=lambda point: -float(point[0][2])):
        u, v = np.round(CAMERA.project(p)).astype(int)
        depth[v - half : v + half, u - half : u + half] = p[2] * (1.0 - inset / np.linalg.norm(p))
    return depth


def inset_of(body: dict[str, tuple[float, float, float]], name: str) -> float:
    """From the skin to a joint along its ray [m]: a shoulder is nearer to its outer side, limbs are cylinders."""
    side, _, joint = name.partition("_")
    p = {joint: np.array(body[f"{side}_{joint}"]) for joint in ("shoulder", "elbow", "wrist", "hip")}
    ray = p[joint] / np.linalg.norm(p[joint])
    if joint == "shoulder":
        outward = p[joint] - np.array(body[f"{'right' if side == 'left' else 'left'}_shoulder"])
        return CONFIG.inset_shoulder + CONFIG.inset_shoulder_outward * float(ray @ outward) / float(np.linalg.norm(outward))
    if joint == "hip":
        return CONFIG.inset_hip
    along = (p["wrist"] - p["elbow"]) / np.linalg.norm(p["wrist"] - p["elbow"])
    across = float(np.linalg.norm(np.cross(ray, along)))
    if joint == "wrist":
        return CONFIG.arm.radius_wrist / max(across, CONFIG.arm.steepest)
    above = (p["elbow"] - p["shoulder"]) / np.linalg.norm(p["elbow"] - p["shoulder"])
    return CONFIG.arm.radius_elbow / max(min(across, float(np.linalg.norm(np.cross(ray, above)))), CONFIG.arm.steepest)


class Seeing:
    """A detector that sees the same person in every picture."""

    def __init__(self, person: PersonDetection) -> None:
        self.person = person

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection:
        return self.person

    def close(self) -> None:
        """Nothing to free."""


def truth(name: str) -> np.ndarray:
    return np.array(BODY[name])


def test_joint_centres_are_recovered_from_depth() -> None:
    for side in SIDES:  # an arm with its own lengths, between landmarks
        elbow, wrist = (np.array(LANDMARKS[f"{side}_{joint}"]) for joint in ("elbow", "wrist"))
        limbs = (elbow - truth(f"{side}_shoulder"), wrist - elbow)
        lengths = LimbLengths((float(np.linalg.norm(limbs[0])), float(np.linalg.norm(limbs[1]))), LENGTHS.sigma)
        lifted = lift_keypoints(person_of(LANDMARKS), depth_of(LANDMARKS), CAMERA, CONFIG, lengths)
        assert lifted is not None
        for name in (name for name in BODY_KEYPOINTS if name.startswith(side)):
            row = keypoint_index(name)
            assert lifted.measured[row]
            # a grid of 15 mm; a shoulder's landmark is 0.7 mm nearer than its ray is long; float32 depth
            limit = {"elbow": 0.004, "wrist": 0.004, "shoulder": 0.001, "hip": 1e-4}[name.split("_")[1]]
            assert np.linalg.norm(lifted.p_camera[row] - truth(name)) < limit, name
        assert (lifted.confidence[len(BODY_KEYPOINTS) :] == 0.0).all()


HAND = np.array(BODY["right_wrist"]) + [0.0, 0.09, 0.0] + 1.1 * hand_shape()
HAND_ROWS = slice(keypoint_index("right_hand_wrist"), keypoint_index("right_hand_wrist") + 21)


def ends_of(hand: np.ndarray) -> np.ndarray:
    """The joints, with tips where fingers end: landmarks are set before that."""
    along = hand[4::4] - hand[2::4]
    out = hand.copy()
    out[4::4] += np.array(CONFIG.tip_further)[:, None] * along / np.linalg.norm(along, axis=1, keepdims=True)
    return out


def test_the_hand_gets_its_depth_from_skin_and_its_size_from_pixels() -> None:
    lifted = lift_keypoints(person_of(LANDMARKS, HAND), depth_of(LANDMARKS, HAND), CAMERA, CONFIG)
    assert lifted is not None
    error = np.linalg.norm(lifted.p_camera[HAND_ROWS] - ends_of(HAND), axis=1)
    assert error[1:].max() < 0.008  # neighbouring skin patches overlap, and differ by 2 mm noise of the shape
    assert error[0] < 0.012  # the skin before the wrist is the one that the body's inset puts there
    assert lifted.measured[HAND_ROWS].all()


def test_fingers_in_reverse_order_are_put_right_by_the_arm() -> None:
    person = person_of(LANDMARKS, HAND)
    wrong = replace(person, hands={"right": reversed_order(person.hands["right"])})
    lifted = lift_keypoints(wrong, depth_of(LANDMARKS, HAND), CAMERA, CONFIG)
    assert lifted is not None
    error = np.linalg.norm(lifted.p_camera[HAND_ROWS] - ends_of(HAND), axis=1)
    assert error[5:].max() < 0.008
    assert (lifted.sigma_lateral[HAND_ROWS][1:5] == CONFIG.sigma_guessed).all()  # a thumb was drawn on the wrong side
    assert (lifted.sigma_lateral[HAND_ROWS][5:] < CONFIG.sigma_guessed).all()


def test_the_hand_tells_where_its_wrist_is_when_the_arm_does_not() -> None:
    depth = depth_of(LANDMARKS, HAND)
    u, v = np.round(CAMERA.project(truth("right_wrist"))).astype(int)
    depth[v - 12 : v + 13, u - 20 : u + 20] = 0.75  # what it holds hides the wrist
    person = person_of(LANDMARKS, HAND)
    shape = person.shape.copy()
    shape[POSE_INDEX["right_wrist"], 2] = shape[POSE_INDEX["right_elbow"], 2] + 0.04
    unsure = replace(person, shape=shape)  # the forearm may as well point away from the camera
    row = keypoint_index("right_wrist")
    lifted = lift_keypoints(unsure, depth, CAMERA, CONFIG, LENGTHS)
    alone = lift_keypoints(replace(unsure, hands={}), depth, CAMERA, CONFIG, LENGTHS)
    assert lifted is not None and alone is not None
    assert abs(lifted.p_camera[row, 2] - truth("right_wrist")[2]) < 0.02
    assert abs(alone.p_camera[row, 2] - truth("right_wrist")[2]) > 0.2
    assert lifted.measured[HAND_ROWS][5:].all()


def test_a_wrist_that_is_drawn_on_the_other_hand_is_lost() -> None:
    """It is hidden behind the one that passes before it, and its forearm does not go there: nothing is known of it."""
    depth, row = depth_of(LANDMARKS, HAND), keypoint_index("left_wrist")

    def wrist(at: np.ndarray, hands: tuple[str, ...]) -> bool:
        person = person_of(LANDMARKS, HAND)
        uv = person.uv.copy()
        uv[POSE_INDEX["left_wrist"]] = at
        lifted = lift_keypoints(
            replace(person, uv=uv, hands={side: person.hands["right"] for side in hands}), depth, CAMERA, CONFIG, LENGTHS
        )
        assert lifted is not None and lifted.confidence[[keypoint_index("left_elbow"), keypoint_index("right_wrist")]].all()
        return bool(lifted.confidence[row] > 0.0)

    before, beside = CAMERA.project(HAND).mean(0), CAMERA.project(np.array(LANDMARKS["left_wrist"]))
    assert not wrist(before, ("right",)) and wrist(beside, ("right",))
    assert wrist(before, ("left", "right")), "it has a hand of its own"
    assert wrist(before, ()), "no hand is in front of it"


def test_a_hand_whose_wrist_is_drawn_elsewhere_tells_less_of_its_depth(monkeypatch: pytest.MonkeyPatch) -> None:
    person, depth, told = person_of(LANDMARKS, HAND), depth_of(LANDMARKS, HAND), []

    def told_by(*args: Any) -> ArmDepth:
        told.append(args[6])
        return arm_depth(*args)

    monkeypatch.setattr(lifting, "arm_depth", told_by)
    hand, deviations = person.hands["right"], []
    for shift in (0.0, 12.0, 30.0):  # pixels; the two networks differ by 8
        uv = person.uv.copy()
        uv[POSE_INDEX["right_wrist"]] = hand.uv[0] + [shift, 0.0]
        lift_keypoints(replace(person, uv=uv), depth, CAMERA, CONFIG, LENGTHS)
        deviations.append(told[-1][1])
    assert deviations[0] == deviations[1] and deviations[2] > deviations[0] + 0.05


def test_what_a_hand_holds_before_a_finger_is_not_the_finger() -> None:
    depth = depth_of(LANDMARKS, HAND)
    covered = [7, 8]  # end of the index finger
    for joint in covered:
        u, v = np.round(CAMERA.project(HAND[joint])).astype(int)
        depth[v - 8 : v + 8, u - 6 : u + 6] = HAND[joint, 2] - 0.07
    lifted = lift_keypoints(person_of(LANDMARKS, HAND), depth, CAMERA, CONFIG)
    assert lifted is not None
    hand, sigma = lifted.p_camera[HAND_ROWS], lifted.sigma_depth[HAND_ROWS]
    assert np.linalg.norm(hand - ends_of(HAND), axis=1)[5:].max() < 0.010
    assert not lifted.measured[HAND_ROWS][covered].any()
    assert sigma[8] > sigma[7] > 2.0 * sigma[6]  # less is known of a finger the further it is hidden


def test_a_fingertip_that_touches_something_may_go_on() -> None:
    depth = depth_of(LANDMARKS, HAND)
    u, v = np.round(CAMERA.project(HAND[12])).astype(int)
    depth[v + 5 : v + 40, u - 8 : u + 8] = HAND[12, 2]
    lifted = lift_keypoints(person_of(LANDMARKS, HAND), depth, CAMERA, CONFIG)
    assert lifted is not None
    across = lifted.sigma_lateral[HAND_ROWS]
    assert across[12] == CONFIG.lateral_touching and across[[8, 16, 20]].max() == CONFIG.lateral_hand


def test_a_hand_at_another_depth_than_the_wrist_is_not_this_arms() -> None:
    near = HAND - [0.0, 0.0, 0.35]
    person = person_of(LANDMARKS, HAND)
    depth = depth_of(LANDMARKS)
    for p, (u, v) in zip(near, np.round(CAMERA.project(HAND)).astype(int), strict=True):
        depth[v - 5 : v + 5, u - 5 : u + 5] = np.minimum(depth[v - 5 : v + 5, u - 5 : u + 5], p[2])
    u, v = np.round(CAMERA.project(truth("right_wrist"))).astype(int)
    depth[v - 12 : v + 12, u - 12 : u + 12] = depth_of(LANDMARKS)[v, u]
    lifted = lift_keypoints(person, depth, CAMERA, CONFIG, LENGTHS)
    assert lifted is not None
    assert (lifted.confidence[HAND_ROWS] == 0.0).all()
    assert np.linalg.norm(lifted.p_camera[keypoint_index("right_wrist")] - truth("right_wrist")) < 0.02


def test_something_in_front_of_a_joint_is_not_taken_for_it() -> None:
    depth = depth_of(LANDMARKS)
    u, v = np.round(CAMERA.project(truth("right_elbow"))).astype(int)
    depth[v - 20 : v + 20, u - 20 : u + 20] = 0.6  # a box held before the elbow
    u, v = np.round(CAMERA.project(truth("left_wrist"))).astype(int)
    depth[v - 20 : v + 20, u - 20 : u + 20] = 2.5  # the wall
    lifted = lift_keypoints(person_of(LANDMARKS), depth, CAMERA, CONFIG)
    assert lifted is not None
    for name in ("right_elbow", "left_wrist"):
        row = keypoint_index(name)
        assert not lifted.measured[row]
        assert np.linalg.norm(lifted.p_camera[row] - truth(name)) < 0.03  # placed by the body's shape
        assert lifted.sigma_depth[row] > CONFIG.sigma_depth
        assert lifted.confidence[row] < 0.6


def test_what_comes_before_an_elbow_is_not_taken_for_it_in_a_stream() -> None:
    """A thing 0.25 m before it, where the limbs would be as long; alone, the picture is believed."""
    body = BODY | {"right_elbow": (-0.26, 0.08, 1.31), "right_wrist": (-0.08, 0.16, 1.23)}
    landmarks, clear = landmarks_of(body), depth_of(landmarks_of(body))
    u, v = np.round(CAMERA.project(np.array(landmarks["right_elbow"]))).astype(int)
    hidden = clear.copy()
    hidden[v - 12 : v + 12, u - 12 : u + 12] -= 0.25
    picture = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    elbows = []
    for depths in ([clear, hidden, hidden], [hidden, hidden, hidden]):
        stream = KeypointStream(KeypointConfig(), Seeing(person_of(landmarks)))
        for i, depth in enumerate(depths):
            frame = stream.step(RgbdFrame((i + 1) * 100_000_000, picture, depth, CAMERA, np.eye(4)))
        elbows.append(frame.p_world[keypoint_index("right_elbow")])
    assert np.linalg.norm(elbows[0] - body["right_elbow"]) < 0.05 and np.linalg.norm(elbows[1] - body["right_elbow"]) > 0.2


def test_an_invisible_joint_is_lost() -> None:
    person = person_of(LANDMARKS)
    visibility = person.visibility.copy()
    visibility[POSE_INDEX["right_wrist"]] = 0.3
    lifted = lift_keypoints(replace(person, visibility=visibility), depth_of(LANDMARKS), CAMERA, CONFIG)
    assert lifted is not None
    row = keypoint_index("right_wrist")
    assert np.isnan(lifted.p_camera[row]).all() and lifted.confidence[row] == 0.0


def test_unknown_depth_everywhere_loses_the_frame() -> None:
    nothing = np.full((480, 640), np.nan, np.float32)
    assert lift_keypoints(person_of(LANDMARKS), nothing, CAMERA, CONFIG) is None
    frame = to_world(None, 5, None)
    assert not frame.person and np.isnan(frame.p_world).all()


def test_skin_depth_ignores_unknown_pixels_and_the_outside() -> None:
    depth = np.full((20, 20), 1.0, np.float32)
    depth[10, 8:11] = np.nan
    seen = skin_depths(depth, np.array([[10.0, 10.0], [25.0, 10.0]]), 2.0)
    assert seen[0] == pytest.approx(1.0) and np.isnan(seen[1])
    assert np.isnan(skin_depths(np.full_like(depth, np.nan), np.array([[10.0, 10.0]]), 2.0)).all()


def test_the_majority_decides_where_the_body_is() -> None:
    z, anchor = reject_by_shape(np.array([1.0, 1.1, 3.0, np.nan, 1.05]), np.array([0.0, 0.1, 0.0, 0.0, 0.1]), 0.2)
    assert anchor == pytest.approx(1.0)
    assert np.isnan(z[[2, 3]]).all() and np.isfinite(z[[0, 1, 4]]).all()
    assert reject_by_shape(np.array([1.0, 2.0]), np.zeros(2), 0.2)[1] is None  # no two agree


def test_a_shoulder_as_far_from_the_other_as_peoples_are_is_believed_against_the_shape() -> None:
    """The network turns trunks that lean; a whole arm hangs on its shoulder. What hides a shoulder is no shoulder."""
    p = np.full((8, 3), np.nan)
    left, right = (BODY_KEYPOINTS.index(f"{side}_shoulder") for side in ("left", "right"))
    p[left], p[right] = (0.18, -0.1, 1.30), (-0.15, -0.1, 1.25)
    agreed = np.full(8, np.nan)
    agreed[right] = p[right, 2]
    kept = keep_human_limbs(p, agreed, CONFIG.limb_range, CONFIG.breadth_range)
    assert kept[left] == p[left, 2] and np.isnan(np.delete(kept, [left, right])).all()
    p[left, 2] -= 0.4
    assert np.isnan(keep_human_limbs(p, agreed, CONFIG.limb_range, CONFIG.breadth_range)[left])


def test_a_shoulder_behind_the_trunk_is_a_breadth_from_the_other_one() -> None:
    """A person who is filmed from the left: both shoulders are drawn on the skin of the nearer one."""
    side = {
        "left_shoulder": (0.02, -0.15, 1.00), "right_shoulder": (-0.02, -0.15, 1.36),
        "left_elbow": (0.05, 0.12, 0.98), "right_elbow": (0.03, 0.12, 1.38),
        "left_wrist": (-0.20, 0.14, 1.00), "right_wrist": (-0.22, 0.14, 1.30),
        "left_hip": (0.01, 0.35, 1.08), "right_hip": (-0.01, 0.35, 1.28),
    }  # fmt: skip
    person = person_of(side)
    rows = [POSE_INDEX["right_shoulder"], POSE_INDEX["right_hip"]]
    for flattened in (0.0, 0.2):  # how much nearer the network believes the hidden side to be [m]
        shape = person.shape.copy()
        shape[rows, 2] -= flattened
        lifted = lift_keypoints(replace(person, shape=shape), depth_of(side), CAMERA, CONFIG)
        assert lifted is not None
        left, right = (keypoint_index(f"{s}_shoulder") for s in SIDES)
        apart = lifted.p_camera[right] - lifted.p_camera[left]
        assert np.linalg.norm(apart) == pytest.approx(np.mean(CONFIG.breadth_range), abs=0.03)
        assert apart[2] > 0.25
        assert lifted.sigma_depth[right] == CONFIG.sigma_breadth > 2.0 * lifted.sigma_depth[left]


def test_farther_away_and_from_above_intervals_are_wider() -> None:
    def deviations(shift: np.ndarray, tilt: float) -> tuple[float, float]:
        c, s = np.cos(tilt), np.sin(tilt)
        R = np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])  # about the shoulders
        pivot = np.array([0.0, -0.15, 1.2])
        body = {name: tuple((R @ (np.array(p) - pivot) + pivot + shift).tolist()) for name, p in BODY.items()}
        lifted = lift_keypoints(person_of(body), depth_of(body), CAMERA, CONFIG)
        assert lifted is not None
        row = keypoint_index("left_shoulder")
        return float(lifted.sigma_lateral[row]), float(lifted.sigma_depth[row])

    near, far, above = deviations(np.zeros(3), 0.0), deviations(np.array([0.0, 0.0, 1.8]), 0.0), deviations(np.zeros(3), 0.9)
    assert far[0] > near[0] and far[1] > 1.3 * near[1]
    assert above[0] > 2.0 * near[0]


def test_an_elbow_is_not_moved_before_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    row = keypoint_index("right_elbow")
    lifted = [lift_keypoints(person_of(LANDMARKS), depth_of(LANDMARKS), CAMERA, CONFIG)]
    monkeypatch.setattr(lifting, "elbow_on_limbs", lambda arm, *_: arm[1] * 0.8)
    lifted.append(lift_keypoints(person_of(LANDMARKS), depth_of(LANDMARKS), CAMERA, CONFIG))
    assert lifted[0] is not None and lifted[1] is not None
    assert np.linalg.norm(lifted[0].p_camera[row] - lifted[1].p_camera[row]) < 0.01


def test_world_frame_and_sigma_follow_the_camera() -> None:
    sure = replace(CONFIG, lateral_hip=0.005)
    lifted = lift_keypoints(person_of(LANDMARKS), depth_of(LANDMARKS), CAMERA, sure)
    assert lifted is not None
    T_world_camera = se3.look_at(np.array([1.0, 0.0, 0.6]), np.array([0.0, 0.0, 0.3]))
    frame = to_world(lifted, 7, T_world_camera)
    row = keypoint_index("left_hip")
    assert np.allclose(frame.p_world[row], se3.apply(T_world_camera, lifted.p_camera[row]), atol=1e-9)
    across, along = float(lifted.sigma_lateral[row]), float(lifted.sigma_depth[row])
    ray = frame.p_world[row] - T_world_camera[:3, 3]
    ray = ray / np.linalg.norm(ray)
    variances, axes = np.linalg.eigh(frame.covariance[row])
    assert np.allclose(variances, [across**2, across**2, along**2]) and abs(axes[:, 2] @ ray) > 0.9999


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


def test_no_arm_is_an_error_with_counts() -> None:
    with pytest.raises(NoPersonFound, match="2 of 3 frames"):
        demonstrating_side([to_world(None, i, None) for i in range(3)])


def test_a_thumb_drawn_over_the_palm_but_not_before_it_is_guessed() -> None:
    shape = np.zeros((21, 3))
    shape[1:5] = [[-0.03, -0.02, 0.0], [-0.05, -0.04, 0.0], [-0.06, -0.06, 0.0], [-0.07, -0.08, 0.0]]
    for finger, x in enumerate((-0.03, -0.01, 0.01, 0.03)):
        for joint, y in enumerate((-0.09, -0.12, -0.14, -0.16)):
            shape[5 + 4 * finger + joint] = [x, y, 0.0]
    spread = shape[:, :2] * 1000.0 + 300.0
    assert not guessed_thumb(spread, shape).any()
    tucked = shape.copy()
    tucked[3:5] = [[-0.01, -0.07, 0.02], [0.0, -0.09, 0.02]]  # under the palm, seen from above
    assert guessed_thumb(tucked[:, :2] * 1000.0 + 300.0, tucked)[[3, 4]].all()
    before = tucked * [1.0, 1.0, -1.0]  # the same thumb in front of the palm is seen
    assert not guessed_thumb(before[:, :2] * 1000.0 + 300.0, before).any()


def test_a_hidden_thumb_is_placed_under_the_palm_wherever_it_is_drawn() -> None:
    for side, turned in (("right", 1.0), ("left", -1.0)):  # the back of either hand, seen from above it
        hand = HAND.mean(0) + (HAND - HAND.mean(0)) * [turned, 1.0, 1.0]
        drawn = hand.copy()
        drawn[3:5] = 0.5 * (hand[[9, 10]] + hand[[13, 14]]) + [0.0, 0.0, 0.02]  # over the palm, yet behind it
        seen = person_of(LANDMARKS, drawn).hands["right"]
        skin = hand_skin(seen, depth_of(LANDMARKS, drawn), CAMERA, CONFIG)
        placed = place_hand(seen, skin, side, float(hand[0, 2]), CAMERA, CONFIG)
        assert placed is not None
        palm = float(np.linalg.norm(hand[9] - hand[0]))
        tip = placed.p[4] - placed.p[0]
        assert tip[2] == pytest.approx(0.53 * palm, abs=0.1 * palm)  # under the palm, which looks at +z
        assert tip @ (hand[5] - hand[17]) > 0.0  # on the index finger's side
        assert placed.guessed[1:5].all() and not placed.guessed[5:].any()


def test_a_forearm_turns_by_less_than_a_right_angle_either_way() -> None:
    arm = np.array([[0.0, 0.0, 0.0], [0.0, 0.3, 0.0], [0.0, 0.3, -0.25]])  # the upper arm hangs, the forearm points forward
    for degrees in (-90, 0, 60, 90):
        aside = 0.04 * np.array([np.sin(np.radians(degrees)), -np.cos(np.radians(degrees)), 0.0])
        index, little = arm[2] + aside, arm[2] - aside
        assert forearm_twist(arm, index, little) == pytest.approx(np.radians(abs(degrees)))
        assert forearm_twist(arm, little, index) == pytest.approx(np.pi - np.radians(abs(degrees)))
        assert (forearm_twist(arm, little, index) > MOST_TWIST) == (abs(degrees) < 65)
    straight = arm[[0, 1, 1]] + [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.25, 0.01]]
    assert np.isnan(forearm_twist(straight, index, little))  # the elbow does not tell where the middle is
    assert np.isnan(forearm_twist(arm, arm[2] - [0.0, 0.0, 0.03], arm[2] + [0.0, 0.0, 0.03]))
    assert np.isnan(forearm_twist(arm, index, np.full(3, np.nan)))


@pytest.mark.parametrize("component", ["lifting", "arm"])
def test_what_a_configuration_takes_neither_breaks_the_lifting_nor_invents_a_keypoint(component: str) -> None:
    person, depth = person_of(LANDMARKS, HAND), depth_of(LANDMARKS, HAND)
    taken = refused = 0
    base = CONFIG if component == "lifting" else CONFIG.arm
    numbers = {f.name: getattr(base, f.name) for f in fields(base) if f.name != "arm"}
    for name, default in numbers.items():
        for value in ABSURD:
            change = {name: (value,) * len(default) if isinstance(default, tuple) else value}
            try:
                changed = replace(base, **change)
                config = changed if component == "lifting" else replace(CONFIG, arm=changed)
            except InvalidInput as error:
                refused += name in str(error)
                continue
            taken += 1
            frame = to_world(lift_keypoints(person, depth, CAMERA, config, LENGTHS), 0, np.eye(4))
            known = frame.confidence > 0.0
            assert np.isfinite(frame.p_world[known]).all() and np.isfinite(frame.covariance[known]).all(), change
            assert (np.linalg.eigvalsh(frame.covariance[known]) > 0.0).all(), change
    assert taken > 20 and refused > 50
