"""Somebody who steps before a shoulder is not taken for it; who leans, turns or raises a hand is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from perfect_person import BODY, CAMERA, CONFIG, HAND, LANDMARKS, LENGTHS, depth_of, hand_shape, landmarks_of, person_of
from visual_irl import se3
from visual_irl.perception.landmarks.detection import POSE_INDEX, PersonDetection
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.skeleton.lifting import Lifted, lift_keypoints
from visual_irl.perception.skeleton.shoulder_cover import ShouldersBefore
from visual_irl.perception.skeleton.shoulder_memory import LONGEST, SPEED, STAYS, ShoulderMemory
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, KeypointFrame, RgbdFrame, keypoint_index

LEFT, RIGHT = (keypoint_index(f"{side}_shoulder") for side in ("left", "right"))
STEP_NS = 133_000_000
PICTURE = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)


class Told:
    """A detector that sees what it is given, and keeps what it is told."""

    def __init__(self, people: list[PersonDetection]) -> None:
        self.people, self.told = people, list[np.ndarray | None]()

    def detect(self, rgb: np.ndarray, stamp_ns: int) -> PersonDetection:
        return self.people.pop(0)

    def expect(self, shoulders: np.ndarray | None) -> None:
        self.told.append(shoulders)

    def close(self) -> None:
        """Nothing to free."""


def filmed(people: list[PersonDetection], depths: list[np.ndarray], step_ns: int = STEP_NS) -> tuple[list[KeypointFrame], Told]:
    detector = Told(list(people))
    stream = KeypointStream(KeypointConfig(), detector)
    frames = [RgbdFrame((i + 1) * step_ns, PICTURE, depth, CAMERA, np.eye(4)) for i, depth in enumerate(depths)]
    return [stream.step(frame) for frame in frames], detector


def behind_somebody(depth: np.ndarray, sides: tuple[str, ...], nearer: float) -> np.ndarray:
    """The picture with a board so much nearer [m] than the shoulders, before those of these sides and their upper arms."""
    out = depth.copy()
    for side in sides:
        u, v = np.round(CAMERA.project(np.array(LANDMARKS[f"{side}_shoulder"]))).astype(int)
        out[v - 60 : v + 60, u - 45 : u + 45] = LANDMARKS[f"{side}_shoulder"][2] - 0.053 - nearer
    return out


@pytest.mark.parametrize("nearer", [0.25, 0.3, 0.4])
def test_somebody_before_a_shoulder_is_not_taken_for_it(nearer: float) -> None:
    person, clear = person_of(LANDMARKS), depth_of(LANDMARKS)
    turned = replace(person, shape=person.shape.copy())  # the network takes it for a shoulder that is turned to the camera
    turned.shape[POSE_INDEX["left_shoulder"], 2] -= nearer
    hidden = behind_somebody(clear, ("left",), nearer)
    (before, covered, after), _ = filmed([person, turned, person], [clear, hidden, clear])
    for joint in ("shoulder", "elbow", "wrist"):
        row, other = (keypoint_index(f"{side}_{joint}") for side in ("left", "right"))
        assert covered.confidence[row] == 0.0 and np.isnan(covered.p_world[row]).all()
        np.testing.assert_allclose(covered.p_world[other], before.p_world[other], atol=0.03)
    np.testing.assert_allclose(after.p_world[LEFT], before.p_world[LEFT], atol=1e-6)
    alone = lift_keypoints(turned, hidden, CAMERA, CONFIG)
    assert alone is not None and alone.p_camera[LEFT, 2] < BODY["left_shoulder"][2] - 0.8 * nearer, "by itself it is believed"


def test_somebody_before_both_is_nobody_and_the_detector_is_told_where_to_look() -> None:
    person, clear = person_of(LANDMARKS), depth_of(LANDMARKS)
    nearer = {name: (x * 0.75, y * 0.75, z * 0.75) for name, (x, y, z) in LANDMARKS.items()}  # the same pixels, 0.3 m before
    people, depths = [person_of(nearer)] * 3, [depth_of(nearer)] * 3
    frames, detector = filmed([person, *people, person, person], [clear, *depths, clear, clear])
    assert [frame.person for frame in frames] == [True, False, False, False, True, True]
    places = [place for place in detector.told if place is not None]
    assert len(places) == 3 and detector.told[-1] is None, "after a picture without them, and no longer than needed"
    middle = CAMERA.project(np.array([BODY["left_shoulder"], BODY["right_shoulder"]])).mean(0)
    np.testing.assert_allclose(places, [middle] * 3, atol=1.0)


def leaning(i: int) -> dict[str, tuple[float, float, float]]:
    """Over the table, at 0.8 m/s."""
    far = 0.107 * i
    return BODY | {name: (x, y + 0.3 * far, z - far) for name, (x, y, z) in BODY.items() if not name.endswith("hip")}


def turning(i: int) -> dict[str, tuple[float, float, float]]:
    """About the trunk's axis, until the left shoulder is 0.31 m nearer than the other one."""
    R, axis = se3.exp_so3(np.array([0.0, 0.15 * i, 0.0])), np.array([0.0, 0.0, 1.2])
    return {name: tuple((axis + R @ (np.array(p) - axis)).tolist()) for name, p in BODY.items()}


def swaying(i: int) -> dict[str, tuple[float, float, float]]:
    return BODY | {name: (x + 0.08 * (i % 2), y, z + 0.1 * (i % 2)) for name, (x, y, z) in BODY.items()}


@pytest.mark.parametrize("body", [leaning, turning, swaying])
def test_who_leans_turns_or_sways_is_placed_as_without_a_memory(body: object) -> None:
    landmarks = [landmarks_of(body(i)) for i in range(5)]  # type: ignore[operator]
    people, depths = [person_of(marks) for marks in landmarks], [depth_of(marks) for marks in landmarks]
    frames, detector = filmed(people, depths)
    for frame, person, depth in zip(frames, people, depths, strict=True):
        alone = lift_keypoints(person, depth, CAMERA, CONFIG)
        assert alone is not None
        np.testing.assert_array_equal(frame.p_world[[LEFT, RIGHT]], alone.p_camera[[LEFT, RIGHT]])
        assert frame.confidence[: len(BODY_KEYPOINTS)].all()
    assert detector.told == []


def test_an_own_hand_before_a_shoulder_hides_it_and_not_its_arm() -> None:
    place = 0.8 * np.array(LANDMARKS["right_shoulder"])  # a hand raised before it
    hand = place + 1.1 * hand_shape()
    person = person_of(LANDMARKS, HAND)
    raised = replace(person, hands={"right": replace(person.hands["right"], uv=CAMERA.project(hand))})
    last = ShouldersBefore(np.array([BODY["left_shoulder"], BODY["right_shoulder"]]), np.array([1.2, 1.2]), 0.25)
    depth = behind_somebody(depth_of(LANDMARKS), ("right",), 0.35)
    lifted = lift_keypoints(raised, depth, CAMERA, CONFIG, LENGTHS, shoulders=last)
    assert lifted is not None and not lifted.measured[RIGHT] and lifted.measured[LEFT]
    assert lifted.confidence[[RIGHT, keypoint_index("right_elbow"), keypoint_index("right_wrist")]].all()
    assert abs(lifted.p_camera[RIGHT, 2] - 1.2) < 0.05 and lifted.sigma_depth[RIGHT] >= CONFIG.sigma_shape


def lifted_at(p: np.ndarray, measured: bool = True) -> Lifted:
    """Both shoulders at these places (2, 3) [m]."""
    k, places = len(KEYPOINTS), np.full((len(KEYPOINTS), 3), np.nan)
    places[[LEFT, RIGHT]] = p
    own, limbs = np.full(k, measured), np.full((2, 2), np.nan)
    return Lifted(places, np.ones(k), np.ones(k), 0.0, np.ones(k), np.ones((k, 2)), own, limbs)


def test_shoulders_are_remembered_in_the_camera_of_now_for_a_while() -> None:
    memory, p = ShoulderMemory(), np.array([[0.2, -0.1, 1.2], [-0.2, -0.1, 1.3]])
    here, there = se3.look_at(np.array([1.0, 0.2, 0.8]), np.zeros(3)), se3.look_at(np.array([0.4, 0.9, 0.6]), np.zeros(3))
    assert np.isnan(memory.before(0, here).p).all()
    memory.remember(lifted_at(p), 0, here)
    memory.remember(lifted_at(p - 0.3, measured=False), 1, here)  # placed by the body's shape
    before = memory.before(STEP_NS, there)
    np.testing.assert_allclose(se3.apply(there, before.p), se3.apply(here, p), atol=1e-12)
    np.testing.assert_allclose(before.z, before.p[:, 2])
    assert before.reach == pytest.approx(STAYS + SPEED * 1e-9 * STEP_NS)
    assert memory.before(2 * STEP_NS, there).reach == before.reach, "however long they were not seen"
    assert np.isnan(memory.before(int(1.01e9 * LONGEST), there).p).all()


def test_one_that_was_taken_for_the_wall_does_not_decide() -> None:
    memory, p = ShoulderMemory(), np.array([[0.2, -0.1, 1.2], [-0.2, -0.1, 1.2]])
    for i, beyond in enumerate((0.0, 0.0, 1.0)):
        memory.remember(lifted_at(p + [0.0, 0.0, beyond]), i * STEP_NS, None)
    np.testing.assert_allclose(memory.before(3 * STEP_NS, None).z, 1.2)
