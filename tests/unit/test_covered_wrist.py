"""A wrist that the other hand covers is where its forearm, which is seen, says; it is lost where nothing says so."""

from __future__ import annotations

import numpy as np

from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection
from visual_irl.perception.skeleton.arm_depth import LimbLengths
from visual_irl.perception.skeleton.lifting import Lifted, LiftingConfig, lift_keypoints
from visual_irl.types import Intrinsics, keypoint_index

CAMERA, CONFIG = Intrinsics(600.0, 600.0, 319.5, 239.5, 640, 480), LiftingConfig()
BODY = {  # landmarks [m] of a person who faces the camera
    "left_shoulder": (0.18, -0.15, 1.20), "right_shoulder": (-0.18, -0.15, 1.20), "left_elbow": (0.24, 0.09, 1.16),
    "right_elbow": (-0.24, 0.09, 1.16), "left_wrist": (0.08, 0.15, 0.98), "right_wrist": (-0.06, 0.10, 1.00),
    "left_hip": (0.10, 0.33, 1.20), "right_hip": (-0.10, 0.33, 1.20),
}  # fmt: skip
HAND = (
    np.array(BODY["left_wrist"])
    + [-0.09, 0.0, -0.15]
    + np.stack(np.meshgrid(np.linspace(0.0, 0.18, 21), [0.0], [0.0]), -1)[0, :, 0]
)
HAND[1::2, 1] += 0.08


def lifted(forearm_seen: bool) -> Lifted:
    """The left wrist is behind the right hand, which is 0.15 m nearer; of the forearm all is seen but its end, or nothing."""
    p = np.array(list(BODY.values()))
    uv, visibility, shape = np.zeros((33, 2)), np.zeros(33), np.zeros((33, 3))
    rows = [POSE_INDEX[name] for name in BODY]
    uv[rows], visibility[rows], shape[rows] = CAMERA.project(p), 0.99, p - [0.0, 0.33, 1.20]
    depth = np.full((480, 640), np.nan, np.float32)
    skin = [(np.array(BODY[f"{side}_{joint}"]), 0.05 if joint != "wrist" else 0.025)
            for side in ("left", "right") for joint in ("shoulder", "elbow", "wrist")]  # fmt: skip
    elbow, wrist = np.array(BODY["left_elbow"]), np.array(BODY["left_wrist"])
    skin += (
        [(elbow + share * (wrist - elbow), 0.05 - 0.02 * share) for share in np.linspace(0.2, 0.8, 13)] if forearm_seen else []
    )
    for point, inset in [*skin, *((q, 0.0) for q in HAND)]:
        u, v = np.round(CAMERA.project(point)).astype(int)
        depth[v - 6 : v + 7, u - 6 : u + 7] = point[2] - inset
    hand = HandDetection(CAMERA.project(HAND), HAND - HAND.mean(0), 0.9, "right")
    lengths = LimbLengths(tuple(float(np.linalg.norm(b - a)) for a, b in ((p[0], p[2]), (p[2], p[4]))), (0.01, 0.01))  # type: ignore[arg-type]
    found = lift_keypoints(PersonDetection(uv, visibility, shape, {"right": hand}), depth, CAMERA, CONFIG, lengths)
    assert found is not None
    return found


def test_the_forearm_tells_where_a_covered_wrist_is() -> None:
    found, row = lifted(True), keypoint_index("left_wrist")
    assert found.confidence[row] > 0.0 and not found.measured[row]
    assert np.linalg.norm(found.p_camera[row] - BODY["left_wrist"]) < 0.03  # the landmark's 10 mm and the skin's shape
    assert found.sigma_lateral[row] == CONFIG.lateral_covered


def test_a_covered_wrist_whose_forearm_is_not_seen_is_lost() -> None:
    found, row = lifted(False), keypoint_index("left_wrist")
    assert found.confidence[row] == 0.0 and np.isnan(found.p_camera[row]).all()
    assert found.confidence[keypoint_index("left_elbow")] > 0.0
