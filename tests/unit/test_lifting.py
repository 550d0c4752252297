"""Lifting recovers known joints from their projections."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from perfect_person import (
    BODY,
    CAMERA,
    CONFIG,
    HAND,
    HAND_ROWS,
    LANDMARKS,
    LENGTHS,
    depth_of,
    landmarks_of,
    person_of,
    truth,
)
from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.perception.landmarks.detection import POSE_INDEX, PersonDetection
from visual_irl.perception.skeleton import lifting
from visual_irl.perception.skeleton.arm_depth import ArmDepth, LimbLengths, arm_depth
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.skeleton.lifting import keep_human_limbs, lift_keypoints, reject_by_shape, to_world
from visual_irl.perception.skeleton.skin_depth import skin_depths
from visual_irl.types import BODY_KEYPOINTS, SIDES, RgbdFrame, keypoint_index

ABSURD = (np.nan, -1e9, -1.0, 0.0, 1e-9, 1e-3, 0.04, 0.45, 1.0, 8.0, 1e9, np.inf)


class Seeing:
    """A detector that sees the same person in every picture."""

    def __init__(self, person: PersonDetection) -> None:
        self.person = person

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection:
        return self.person

    def close(self) -> None:
        """Nothing to free."""


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
    z, anchor = reject_by_shape(np.array([1.0, 1.1, 3.0, np.nan, 1.05]), np.array([0.0, 0.1, 0.0, 0.0, 0.1]), 0.2, np.ones(5))
    assert anchor == pytest.approx(1.0)
    assert np.isnan(z[[2, 3]]).all() and np.isfinite(z[[0, 1, 4]]).all()
    assert reject_by_shape(np.array([1.0, 2.0]), np.zeros(2), 0.2, np.ones(2))[1] is None  # no two agree


def test_what_hides_the_hips_does_not_decide_where_the_body_is() -> None:
    """One arm and no shoulder show depth, and a table's edge does where the hips are: it is nearer than they would be."""
    person, picture = person_of(LANDMARKS), depth_of(LANDMARKS)
    visibility = person.visibility.copy()
    visibility[[POSE_INDEX["left_elbow"], POSE_INDEX["left_wrist"]]] = 0.0
    for name, depth in (("shoulder", np.nan), ("hip", 0.75)):
        for side in SIDES:
            u, v = np.round(CAMERA.project(np.array(LANDMARKS[f"{side}_{name}"]))).astype(int)
            picture[v - 20 : v + 20, u - 20 : u + 20] = depth
    lifted = lift_keypoints(replace(person, visibility=visibility), picture, CAMERA, CONFIG, LENGTHS)
    assert lifted is not None
    for name in ("left_shoulder", "right_shoulder", "right_elbow", "right_wrist"):
        error = lifted.p_camera[keypoint_index(name)] - truth(name)
        assert np.linalg.norm(error) < 0.1, f"{name}: {error}"


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
