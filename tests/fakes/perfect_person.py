"""A person whose joints are known, as a perfect detector and a perfect depth camera see them."""

from __future__ import annotations

import numpy as np

from visual_irl import se3
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection
from visual_irl.perception.skeleton.arm_depth import LimbLengths
from visual_irl.perception.skeleton.hand_lifting import hand_insets
from visual_irl.perception.skeleton.lifting_config import LiftingConfig
from visual_irl.types import BODY_KEYPOINTS, Intrinsics, keypoint_index

CAMERA = Intrinsics(600.0, 600.0, 319.5, 239.5, 640, 480)
CONFIG = LiftingConfig()
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


def truth(name: str) -> np.ndarray:
    return np.array(BODY[name])


HAND = np.array(BODY["right_wrist"]) + [0.0, 0.09, 0.0] + 1.1 * hand_shape()
HAND_ROWS = slice(keypoint_index("right_hand_wrist"), keypoint_index("right_hand_wrist") + 21)
