"""A body without a head: where it may be, which way it faces, and what is no body."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from visual_irl.perception.landmarks.body_geometry import (
    MAX_WRIST_MISS,
    agreement,
    facing,
    fits,
    frontness,
    head_seen,
    matched,
    plausible,
    trunk_length,
    with_confirmed_arms,
)
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection, mirrored
from visual_irl.perception.landmarks.hand_labels import INHERITED, LabelVotes, distinct
from visual_irl.perception.landmarks.headless import (
    BLIND_NS,
    DECIDED,
    FRONT,
    LOCK_NS,
    HeadlessSearch,
    Sighting,
    continues,
    first_regions,
)
from visual_irl.perception.landmarks.region import Region
from visual_irl.types import SIDES

STEP_NS = 100_000_000
PX_PER_M = 300.0
BODY = {  # [m] across the viewing ray; the person faces the camera, so that the left is on the picture's right
    "left_shoulder": (0.18, -0.5),
    "right_shoulder": (-0.18, -0.5),
    "left_elbow": (0.22, -0.22),
    "right_elbow": (-0.30, -0.25),
    "left_wrist": (0.20, 0.02),
    "right_wrist": (-0.45, -0.05),
    "left_hip": (0.10, 0.0),
    "right_hip": (-0.10, 0.0),
}


def hand_at(x: float, y: float = 100.0, label: str = "right", size: float = 30.0, score: float = 0.9) -> HandDetection:
    shape = np.zeros((21, 3))
    shape[1:, 1] = np.linspace(0.03, 0.18, 20)
    uv = np.array([x, y]) + shape[:, :2] * size / 0.09
    return HandDetection(uv, shape, score, label)


def body_at(x: float = 320.0, y: float = 200.0, visibility: float = 0.9) -> PersonDetection:
    shape = np.zeros((33, 3))
    for name, (across, down) in BODY.items():
        shape[POSE_INDEX[name]] = [across, down, 0.0]
    shape[0, 1] = -0.75
    return PersonDetection(np.array([x, y]) + PX_PER_M * shape[:, :2], np.full(33, visibility), shape, {})


def wrist_of(person: PersonDetection, side: str) -> np.ndarray:
    return person.uv[POSE_INDEX[f"{side}_wrist"]]


def hand_of(person: PersonDetection, side: str = "right", label: str = "right", size: float = 30.0) -> HandDetection:
    """A hand at a wrist; of 27 px it is as far away as the body, of 30 before it."""
    x, y = wrist_of(person, side)
    return hand_at(float(x), float(y), label, size)


class Scripted:
    """Stands where the network runs: gives one body after the other, whatever the region."""

    def __init__(self, persons: Sequence[PersonDetection]) -> None:
        self._persons = iter(persons)
        self.current = next(self._persons)

    def run(self, rgb: np.ndarray, region: Region) -> tuple[PersonDetection, float, Region]:
        return self.current, 0.99, region

    def advance(self) -> None:
        self.current = next(self._persons, self.current)

    def close(self) -> None:
        pass


def followed(persons: Sequence[PersonDetection], hands: Sequence[Sequence[HandDetection]]) -> list[PersonDetection | None]:
    """What the search finds in pictures that show these bodies and hands, 0.1 s apart."""
    network = Scripted(persons)
    search = HeadlessSearch(network, lambda *_: None, LabelVotes(), 0.5, 0.5)
    rgb = np.zeros((480, 640, 3), np.uint8)
    found = []
    for i, some in enumerate(hands):
        found.append(search.find(rgb, i * STEP_NS, some))
        network.advance()
    return found


def unsure(persons: Sequence[PersonDetection], hands: Sequence[Sequence[HandDetection]]) -> list[bool]:
    """In which of these pictures the search says that left and right are not certain."""
    network = Scripted(persons)
    search = HeadlessSearch(network, lambda *_: None, LabelVotes(), 0.5, 0.5)
    told = []
    for i, some in enumerate(hands):
        search.find(np.zeros((480, 640, 3), np.uint8), i * STEP_NS, some)
        told.append(search.unsure)
        network.advance()
    return told


def test_a_body_whose_sides_are_certain_or_that_is_none_is_not_doubted() -> None:
    body, doubted = body_at(), body_at(visibility=0.2)
    assert not any(unsure([body] * 4, [[hand_of(body)]] * 4))
    assert not any(unsure([doubted] * 4, [[hand_of(doubted, size=24.0)]] * 4)), "an arm that is hardly seen"
    jumping = [body_at(x) for x in (150.0, 450.0, 150.0, 450.0)]
    assert not any(unsure(jumping, [[hand_of(b, size=24.0)] for b in jumping])), "what the network sees by chance"


def test_a_body_counts_from_its_second_sighting_and_needs_a_hand() -> None:
    body = body_at()
    assert [p is not None for p in followed([body] * 3, [[hand_of(body)]] * 3)] == [False, True, True]
    assert followed([body] * 4, [[]] * 4) == [None] * 4
    far = hand_at(*(wrist_of(body, "right") + [1.2 * MAX_WRIST_MISS * trunk_length(body), 0.0]))
    assert followed([body] * 4, [[far]] * 4) == [None] * 4


def test_a_body_that_jumps_about_is_none() -> None:
    bodies = [body_at(x) for x in (150.0, 450.0, 150.0, 450.0)]
    assert followed(bodies, [[hand_of(b)] for b in bodies]) == [None] * 4


def test_a_followed_arm_outlives_its_hand_for_a_moment() -> None:
    body = body_at()
    frames = int(BLIND_NS / STEP_NS)
    found = followed([body] * (3 + 2 * frames), [[hand_of(body)]] * 3 + [[]] * 2 * frames)
    alive = [p is not None for p in found]
    assert alive == [False, True, True] + [True] * frames + [False] * frames


def test_a_doubted_arm_counts_only_while_its_body_is_followed() -> None:
    clear, doubted = body_at(), body_at(visibility=0.2)
    hands = [[hand_of(clear)]] * 4
    assert followed([doubted] * 4, hands) == [None] * 4
    found = followed([clear, clear, doubted, doubted], hands)
    assert found[3] is not None
    assert found[3].visibility[POSE_INDEX["right_elbow"]] >= 0.5  # the hand at its end confirms it


def test_left_and_right_do_not_flip_with_the_network() -> None:
    body = body_at()
    bodies = [body, body, mirrored(body), body, mirrored(body)]
    found = followed(bodies, [[hand_of(body)]] * 5)
    for person in found[1:]:
        assert person is not None
        assert np.allclose(wrist_of(person, "right"), wrist_of(body, "right"))


def test_labels_do_not_turn_a_body_whose_way_is_decided() -> None:
    body = body_at()
    right, left = hand_of(body), hand_of(body, label="left")
    for person in followed([body] * 12, [[right]] * 2 + [[left]] * 10)[1:]:
        assert person is not None
        assert np.allclose(wrist_of(person, "right"), wrist_of(body, "right"))
    # another hand with wrong labels, after a pause: the way still holds
    pause = [[]] * int(2 * LOCK_NS / STEP_NS)
    later = followed([body] * 60, [[right]] * 3 + pause + [[left]] * 8)[-1]
    assert later is not None and np.allclose(wrist_of(later, "right"), wrist_of(body, "right"))


def test_a_body_that_contradicts_the_decided_way_is_lost() -> None:
    body = body_at()
    swapped = body.uv.copy()
    rows = [POSE_INDEX[f"{s}_{j}"] for j in ("elbow", "wrist") for s in SIDES]
    swapped[rows] = body.uv[[rows[1], rows[0], rows[3], rows[2]]]  # the right hand on the left shoulder's arm
    found = followed([body, body, replace(body, uv=swapped), body], [[hand_of(body)]] * 4)
    assert [p is not None for p in found] == [False, True, False, True]


def test_a_back_needs_more_sightings_than_a_front() -> None:
    back = mirrored(body_at())
    found = followed([back] * 6, [[hand_of(back, size=24.0)]] * 6)
    assert [p is not None for p in found] == [False] * (DECIDED + FRONT - 1) + [True] * (6 - DECIDED - FRONT + 1)
    person = found[-1]
    assert person is not None and frontness(person) < 0.0


@pytest.mark.parametrize(("back", "size"), [(True, 30.0), (False, 24.0)])
def test_a_hand_on_the_wrong_side_of_its_trunk_leaves_it_open_how_a_body_faces(back: bool, size: float) -> None:
    body = mirrored(body_at()) if back else body_at()
    assert followed([body] * 12, [[hand_of(body, size=size)]] * 12) == [None] * 12
    plain = [hand_of(body, size=54.0 - size)]
    assert unsure([body] * 4, [[hand_of(body, size=size)]] * 4) == [False, True, True, True]
    found = followed([body] * 12, [[hand_of(body, size=size)]] * 4 + [plain] * 8)[-1]
    assert found is not None and (frontness(found) < 0.0) == back


def test_labels_that_change_do_not_turn_who_was_followed_from_the_side_on() -> None:
    side, back = from_the_side(), mirrored(body_at())
    reach = wrist_of(back, "right") - wrist_of(side, "right")
    side = replace(side, uv=side.uv + reach)  # the same hand
    right, left = ([hand_of(back, label=label, size=24.0)] for label in SIDES[::-1])
    found = followed([side] * 3 + [back] * 12, [right] * 6 + [left] * 9)
    assert found[5] is not None and frontness(found[5]) < 0.0
    for person in found[1:]:
        assert person is None or set(person.hands) == {"right"}


def from_the_side() -> PersonDetection:
    """Right shoulder to the camera, the arm stretched out to the picture's right."""
    body = body_at()
    uv = body.uv.copy()
    for name, x in (("shoulder", 0.02), ("elbow", 0.25), ("wrist", 0.45)):
        for side in SIDES:
            uv[POSE_INDEX[f"{side}_{name}"], 0] = 320.0 + PX_PER_M * (x if side == "right" else -0.4 * x)
    shape = body.shape.copy()
    shape[:, 0] = (uv[:, 0] - 320.0) / PX_PER_M
    return replace(body, uv=uv, shape=shape)


def test_from_the_side_the_network_and_the_hand_have_to_agree_on_the_arm() -> None:
    body = from_the_side()
    right, left = hand_of(body), hand_of(body, label="left")
    found = followed([body] * 12, [[right]] * 2 + [[left]] * 10)
    assert found[1] is not None and found[-1] is None
    for person in found[1:]:  # labels that change take the arm away, and never make it the other one
        assert person is None or set(person.hands) == {"right"}


def test_an_arm_without_a_hand_is_not_seen() -> None:
    body = body_at()
    found = followed([body] * 4, [[hand_of(body)]] * 2 + [[]] * 2)
    for person in found[1:]:
        assert person is not None
        assert person.visibility[POSE_INDEX["left_elbow"]] == 0.0 and person.visibility[POSE_INDEX["right_elbow"]] >= 0.5


def test_shoulders_move_no_faster_than_people() -> None:
    last = Sighting(body_at(), 0, 0)
    trunk = trunk_length(last.person)
    assert continues(body_at(320.0 + 0.4 * trunk), last, STEP_NS)  # 0.25 + 2 per second
    assert not continues(body_at(320.0 + 0.5 * trunk), last, STEP_NS)
    assert continues(mirrored(last.person), last, STEP_NS)


def test_regions_cover_both_sides_alike() -> None:
    regions = first_regions(640, 480)
    mirror = {(640.0 - r.x, r.y, r.side, r.extended) for r in regions}
    assert mirror == {(r.x, r.y, r.side, r.extended) for r in regions}


def test_mirroring_twice_changes_nothing_and_once_swaps_sides() -> None:
    person = replace(body_at(), hands={"left": hand_at(0.0)})
    once = mirrored(person)
    left, right = POSE_INDEX["left_wrist"], POSE_INDEX["right_wrist"]
    assert np.array_equal(once.uv[right], person.uv[left]) and once.shape[right, 2] == -person.shape[left, 2]
    assert set(once.hands) == {"right"}
    twice = mirrored(once)
    assert np.array_equal(twice.uv, person.uv) and np.array_equal(twice.shape, person.shape)


def test_the_hands_decide_which_way_a_body_faces() -> None:
    turned = facing(replace(body_at(), hands={"left": hand_at(0.0, label="right")}))
    assert set(turned.hands) == {"right"}
    kept = facing(replace(body_at(), hands={side: hand_at(0.0, label=side) for side in SIDES}))
    assert kept.hands["left"].label == "left"


def test_a_hand_belongs_to_the_wrist_that_is_seen() -> None:
    body = body_at()
    uv, visibility = body.uv.copy(), body.visibility.copy()
    uv[POSE_INDEX["left_wrist"]] = wrist_of(body, "right") + [2.0, 0.0]  # guessed behind the other
    visibility[POSE_INDEX["left_wrist"]] = 0.1
    body = replace(body, uv=uv, visibility=visibility)
    hand = hand_at(*(wrist_of(body, "left")))
    found = matched(body, [hand])
    assert set(found) == {"right"}
    confirmed = with_confirmed_arms(body, found)
    assert np.array_equal(wrist_of(confirmed, "right"), hand.uv[0])
    assert confirmed.visibility[POSE_INDEX["left_elbow"]] == 0.0
    assert set(matched(body_at(), [hand_of(body_at(), side) for side in SIDES])) == set(SIDES)


def test_a_followed_hand_keeps_its_majority_label() -> None:
    votes = LabelVotes()
    labels = ["right", "right", "left", "right"]
    seen = [votes.relabelled([hand_at(10.0 * i, label=label)], i * STEP_NS)[0].label for i, label in enumerate(labels)]
    assert seen == ["right"] * 4


def test_a_hand_found_again_elsewhere_keeps_some_votes() -> None:
    votes = LabelVotes()
    for i in range(20):
        votes.relabelled([hand_at(0.0, label="right")], i * STEP_NS)
    later = 20 * STEP_NS + LOCK_NS
    labels = [votes.relabelled([hand_at(600.0, label="left")], later + i * STEP_NS)[0].label for i in range(6)]
    needed = int(np.ceil(INHERITED / 0.9))
    assert labels == ["right"] * (needed - 1) + ["left"] * (6 - needed + 1)


def test_two_hands_of_a_person_are_a_pair() -> None:
    votes = LabelVotes()
    hands = [hand_at(0.0, label="right", score=0.9), hand_at(600.0, label="right", score=0.6)]
    assert [hand.label for hand in votes.relabelled(hands, 0)] == ["right", "left"]


def test_a_settled_hand_keeps_its_side_while_it_is_followed() -> None:
    votes = LabelVotes()
    hand = votes.relabelled([hand_at(0.0, label="left")], 0)[0]
    assert not votes.settled(hand)
    votes.settle(hand, "right")
    labels = [votes.relabelled([hand_at(0.0, label="left")], i * STEP_NS)[0].label for i in range(1, 20)]
    assert labels == ["right"] * 19 and votes.settled(hand)


def test_a_hand_that_is_found_twice_counts_once() -> None:
    hands = distinct([hand_at(0.0, score=0.6), hand_at(5.0, score=0.9), hand_at(300.0)])
    assert len(hands) == 2 and hands[0].score == 0.9


def test_a_giant_hand_is_no_part_of_a_body() -> None:
    assert fits(body_at(), hand_at(0.0, size=0.09 * PX_PER_M * 2.0))
    assert not fits(body_at(), hand_at(0.0, size=0.09 * PX_PER_M * 10.0))


def test_what_is_no_upright_body_in_the_picture_is_refused() -> None:
    assert plausible(body_at(), 640, 480)
    lying = body_at()
    assert not plausible(replace(lying, uv=lying.uv[:, ::-1], shape=lying.shape[:, [1, 0, 2]]), 640, 480)
    assert not plausible(body_at(y=50.0), 640, 480)  # shoulders 0.33 m above the picture
    assert not plausible(replace(body_at(), uv=body_at().uv[::-1]), 640, 480)  # pixels that contradict the shape
    assert agreement(body_at()) > 0.9999


def test_a_nose_within_the_trunk_is_no_head() -> None:
    assert head_seen(body_at(y=300.0, visibility=0.99), 640, 480)
    assert not head_seen(body_at(y=100.0, visibility=0.99), 640, 480)  # above the picture
    uv = body_at(y=300.0).uv.copy()
    overturned = uv * [1.0, -1.0] + [0.0, 480.0]
    assert not head_seen(replace(body_at(visibility=0.99), uv=overturned), 640, 480)
    uv[0] = [320.0, 200.0]  # below the shoulders
    assert not head_seen(replace(body_at(visibility=0.99), uv=uv), 640, 480)


@pytest.mark.parametrize(
    ("degrees", "believed"), [(45, True), (-45, True), (80, False), (-80, False), (90, False), (180, False)]
)
def test_a_body_that_leans_is_believed_and_one_filmed_on_its_side_is_not(degrees: float, believed: bool) -> None:
    body, (c, s) = body_at(y=300.0, visibility=0.99), (np.cos(np.radians(degrees)), np.sin(np.radians(degrees)))
    turned = (body.uv - body.uv[0]) @ np.array([[c, s], [-s, c]]) + body.uv[0]
    assert head_seen(replace(body, uv=turned), 640, 480) == believed


def test_a_region_maps_its_centre_and_its_up() -> None:
    M = Region(100.0, 50.0, 512.0, np.pi / 2).to_crop()  # its up points right in the picture
    assert np.allclose(M @ [100.0, 50.0, 1.0], [128.0, 128.0])
    assert np.allclose(M @ [200.0, 50.0, 1.0], [128.0, 78.0])  # 100 px up, at half the size


@pytest.mark.parametrize("extended", [False, True])
def test_a_region_continues_the_picture_upward_only_on_request(extended: bool) -> None:
    rgb = np.full((256, 256, 3), 200, np.uint8)
    rgb[128:] = 50
    crop = Region(128.0, 0.0, 256.0, extended=extended).crop(rgb)  # the picture's top edge is in the middle
    assert (crop[10, 128] == (200 if extended else 0)).all()
    assert (crop[140, 128] == 200).all()
    below = Region(128.0, 256.0, 256.0, extended=extended).crop(rgb)
    assert (below[250, 128] == 0).all()
