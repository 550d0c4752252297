"""Several people in the picture: who is followed, and that nobody takes their place."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from visual_irl.assets import asset_path
from visual_irl.perception import DETECTORS
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.landmarks.body_geometry import faces_otherwise, trunk_length
from visual_irl.perception.landmarks.detection import POSE_INDEX, PersonDetection, mirrored
from visual_irl.perception.landmarks.person_choice import (
    KEEP_NS,
    Chosen,
    Look,
    demonstrator,
    look_of,
    place_of,
    same_person,
)
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream
from visual_irl.types import RgbdFrame, keypoint_index

RECORDING = asset_path("models/recordings/onion_sorting")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
BEHIND = 0.6
"""Size of the person who stands further back."""
UNSEEN = Look(np.zeros((0, 3)), np.nan)
STEP_NS = 33_000_000


def person_at(x: float, size: float) -> PersonDetection:
    uv = np.full((33, 2), [x, 200.0])
    for side, sign in (("left", 1.0), ("right", -1.0)):
        uv[POSE_INDEX[f"{side}_shoulder"]] = [x + sign * 0.35 * size, 200.0]
        uv[POSE_INDEX[f"{side}_hip"]] = [x + sign * 0.25 * size, 200.0 + size]
    return PersonDetection(uv, np.ones(33), np.column_stack([(uv - [x, 200.0]) / (2.0 * size), np.zeros(33)]), {})


def test_the_nearest_person_demonstrates_and_the_middle_one_among_equals() -> None:
    near, far = person_at(500.0, 150.0), person_at(320.0, 90.0)
    assert demonstrator([far, near], 640) is near
    aside = person_at(100.0, 155.0)
    assert demonstrator([aside, near], 640) is near and demonstrator([near], 640) is near


def test_a_person_moves_on_but_does_not_jump_or_shrink() -> None:
    chosen = Chosen.seen(person_at(300.0, 100.0), UNSEEN, 0, None)
    assert same_person(person_at(380.0, 110.0), UNSEEN, chosen, 33_000_000)
    assert not same_person(person_at(430.0, 100.0), UNSEEN, chosen, 33_000_000)
    assert same_person(person_at(430.0, 100.0), UNSEEN, chosen, 300_000_000)
    assert not same_person(person_at(570.0, 100.0), UNSEEN, chosen, KEEP_NS)
    assert not same_person(person_at(300.0, 50.0), UNSEEN, chosen, 33_000_000)
    place = place_of(chosen.person)
    assert abs(place.x - 300.0) < 1.0 and place.side >= 100.0


def test_who_walks_past_is_told_by_size_distance_and_clothes() -> None:
    person = person_at(300.0, 100.0)
    picture, depth = np.full((480, 640, 3), 60, np.uint8), np.full((480, 640), 1.8, np.float32)
    before = Chosen.seen(person, look_of(person, picture, depth), 0, None)
    assert same_person(person, look_of(person, picture, depth), before, STEP_NS)
    larger = replace(person, uv=person.uv * 1.5 - [150.0, 100.0])
    assert not same_person(larger, UNSEEN, before, STEP_NS), "as many metres look larger"
    for step, same in ((0.2, True), (0.4, False), (0.6, False)):
        look = look_of(person, picture, depth - step)
        assert same_person(person, look, before, STEP_NS) == same
        assert same_person(person, look, before, 5 * STEP_NS) == (step < 0.5), "there was time to come nearer, but not so far"
    assert faces_otherwise(mirrored(person), before.person) and not faces_otherwise(person, before.person)
    white = np.full_like(picture, 200)
    assert not same_person(person, look_of(person, white, None), before, STEP_NS)


def test_what_somebody_holds_before_the_trunk_makes_nobody_else_of_them() -> None:
    person = person_at(300.0, 100.0)
    picture, depth = np.full((480, 640, 3), 60, np.uint8), np.full((480, 640), 1.8, np.float32)
    before = Chosen.seen(person, look_of(person, picture, depth), 0, None)
    picture[200:300, 260:300], depth[200:300, 260:300] = 200, 1.3  # half of it
    assert same_person(person, look_of(person, picture, depth), before, STEP_NS)
    outside = replace(person, uv=person.uv + 1000.0)
    assert len(look_of(outside, picture, depth).colours) == 0 and np.isnan(look_of(outside, picture, depth).distance)
    unknown = Chosen.seen(person, UNSEEN, STEP_NS, before)
    assert unknown.distance == before.distance and unknown.clothes is before.clothes


@pytest.mark.long
@pytest.mark.parametrize("name", ["mediapipe", "torch"])
def test_one_of_two_people_is_followed_and_never_the_other(name: str) -> None:
    with open_frames(RECORDING) as source:
        frames = list(islice(source, 9))
    height, width = frames[0].rgb.shape[:2]
    finder = replace(DETECTORS.load(name)(), pose_model="full", search_without_head=False).build()
    for i, frame in enumerate(frames):
        picture = np.full((height, 2 * width, 3), 150, np.uint8)
        small = cv2.resize(frame.rgb, None, fx=BEHIND, fy=BEHIND)
        picture[60 : 60 + small.shape[0], 120 : 120 + small.shape[1]] = small
        hidden = 3 <= i < 6
        if not hidden:
            picture[:, width:] = frame.rgb
        person = finder.detect(picture, frame.stamp_ns)
        if hidden:
            assert person is None, f"picture {i}: the other one was taken"
        else:
            assert person is not None, f"picture {i}"
            assert person.uv[POSE_INDEX["left_shoulder"], 0] > width
            assert trunk_length(person) > 130.0
    finder.close()


def test_after_a_cut_the_next_shots_person_is_found_in_its_second_picture() -> None:
    with open_frames(RECORDING) as source:
        frame = next(iter(source))
    further = np.full_like(frame.rgb, 150)
    small = cv2.resize(frame.rgb, None, fx=BEHIND, fy=BEHIND)
    further[20 : 20 + small.shape[0], 10 : 10 + small.shape[1]] = small
    finder = replace(DETECTORS.load("mediapipe")(), pose_model="full", search_without_head=False).build()
    stream = KeypointStream(KeypointConfig(), finder)
    pictures = [frame.rgb] * 3 + [further] * 3
    seen = [stream.step(RgbdFrame(i * STEP_NS, p, None, frame.intrinsics, None)) for i, p in enumerate(pictures)]
    finder.close()
    assert [keypoints.person for keypoints in seen] == [True] * 3 + [False] + [True] * 2
    shoulder = keypoint_index("left_shoulder")
    moved = BEHIND * seen[2].uv[shoulder] + [10.0, 20.0]
    assert np.abs(seen[5].uv[shoulder] - moved).max() < 6.0  # what the network makes of a smaller picture


@pytest.mark.skipif(not DATA.is_dir(), reason=f"real pictures are not at '{DATA}'")
def test_real_people_the_nearest_is_chosen_and_kept_while_another_walks_past() -> None:
    with open_frames(DATA / "rgbd" / "pcl_five_people") as source:
        (frame,) = source
    finder = replace(DETECTORS.load("mediapipe")(), pose_model="full").build()
    person = finder.detect(frame.rgb, frame.stamp_ns)
    finder.close()
    # of five people seen from behind, the one at the right stands a metre nearer than the others
    assert person is not None and person.uv[POSE_INDEX["left_shoulder"], 0] > 450.0
    finder = replace(DETECTORS.load("mediapipe")(), pose_model="full").build()
    middles = []
    with open_frames(DATA / "video" / "two_people_walking.mp4") as source:
        for frame in islice(source, 8, 160, 16):
            person = finder.detect(frame.rgb, frame.stamp_ns)
            if person is not None:
                middles.append(person.uv[[POSE_INDEX["left_shoulder"], POSE_INDEX["right_shoulder"]], 1].mean())
    finder.close()
    assert len(middles) >= 5 and max(middles) < 300.0  # he stands on a roof, she walks below
