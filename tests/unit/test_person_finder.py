"""When a hand that the whole picture does not show is looked at closer; the networks are scripted."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from visual_irl.perception.landmarks import person_finder
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection, mirrored
from visual_irl.perception.landmarks.person_choice import TURN_NS, Look, look_of
from visual_irl.perception.landmarks.person_finder import PAUSE_NS, PersonFinder, PersonFinderConfig
from visual_irl.perception.landmarks.region import Region

STEP_NS = 33_000_000
PICTURE = np.zeros((480, 640, 3), np.uint8)


def person() -> PersonDetection:
    """From the front; only the right arm is seen."""
    uv, visibility = np.full((33, 2), [320.0, 100.0]), np.ones(33)
    for name, place in {
        "left_shoulder": (400, 160), "right_shoulder": (240, 160), "left_elbow": (430, 240), "right_elbow": (200, 250),
        "left_wrist": (440, 320), "right_wrist": (220, 330), "left_hip": (370, 380), "right_hip": (270, 380),
    }.items():  # fmt: skip
        uv[POSE_INDEX[name]] = place
    visibility[[POSE_INDEX["left_elbow"], POSE_INDEX["left_wrist"]]] = 0.0
    return PersonDetection(uv, visibility, np.column_stack([(uv - [320, 380]) / 300.0, np.zeros(33)]), {})


def hand() -> HandDetection:
    uv = np.array([220.0, 330.0]) + np.linspace(0.0, 1.0, 21)[:, None] * [10.0, 60.0]
    uv[[5, 9, 13]] = [[215.0, 365.0], [224.0, 368.0], [233.0, 365.0]]
    return HandDetection(uv, np.column_stack([(uv - uv.mean(0)) / 300.0, np.zeros(21)]), 0.9, "right")


class Scripted:
    """Networks that find the body, and a hand only where a script says so."""

    def __init__(self) -> None:
        self.closer: HandDetection | None = None
        self.again: HandDetection | None = None
        self.asked: list[str] = []
        self.regions: list[Region] = []
        self.forgotten: list[int] = []

    def begin(self, rgb: np.ndarray, stamp_ms: int) -> None:
        self.asked = []

    def forget(self, stamp_ms: int) -> None:
        self.forgotten.append(stamp_ms)

    def hands(self) -> list[HandDetection]:
        return []

    def body(self, near: Region | None = None) -> PersonDetection | None:
        return person()

    def bodies(self) -> list[PersonDetection]:
        return [person()]

    def hand_in(self, crop: np.ndarray) -> HandDetection | None:
        self.asked.append("closer")
        return self.closer

    def hand_at(self, rgb: np.ndarray, region: Region) -> HandDetection | None:
        self.asked.append("again")
        self.regions.append(region)
        return self.again

    def run(self, rgb: np.ndarray, region: Region) -> tuple[PersonDetection, float, Region]:
        raise AssertionError("a body with a head needs no search")

    def close(self) -> None:
        self.asked.append("closed")


def in_crop(finder: PersonFinder) -> HandDetection:
    """The hand as it appears in the enlarged square around where the forearm points."""
    elbow, wrist = person().uv[POSE_INDEX["right_elbow"]], person().uv[POSE_INDEX["right_wrist"]]
    half = 2.0 * finder.config.hand_reach * max(float(np.linalg.norm(wrist - elbow)), float(np.linalg.norm([10.0, 80.0])))
    scale = 128.0 / half
    one = hand()
    return HandDetection((one.uv - (wrist + 0.35 * (wrist - elbow))) * scale + 128.0, one.shape, one.score, one.label)


def test_a_look_in_vain_is_not_repeated_at_once() -> None:
    networks = Scripted()
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), networks)
    looks = []
    for i in range(12):
        found = finder.detect(PICTURE, i * STEP_NS)
        assert found is not None and not found.hands
        looks.append(networks.asked.count("closer"))
    assert looks[0] == 1 and sum(looks) == 2 and looks.index(1, 1) * STEP_NS >= PAUSE_NS


def test_a_hand_found_closer_is_looked_at_where_it_was_in_the_next_picture() -> None:
    networks = Scripted()
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), networks)
    networks.closer, networks.again = in_crop(finder), hand()
    first = finder.detect(PICTURE, 0)
    assert first is not None and networks.asked == ["closer"]
    assert np.allclose(first.hands["right"].uv, hand().uv, atol=1e-6)
    second = finder.detect(PICTURE, STEP_NS)
    assert second is not None and networks.asked == ["again"] and "right" in second.hands
    assert abs(networks.regions[0].x - 222.0) < 30.0 and abs(networks.regions[0].y - 350.0) < 40.0
    networks.again = None  # it has slipped away: searched for again
    third = finder.detect(PICTURE, 2 * STEP_NS)
    assert third is not None and networks.asked == ["again", "closer"] and "right" in third.hands
    finder.close()
    assert networks.asked[-1] == "closed"


def test_a_stream_that_begins_anew_finds_its_person() -> None:
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), Scripted())
    assert finder.detect(PICTURE, 3_600_000_000_000) is not None
    assert finder.detect(PICTURE, STEP_NS) is not None  # an hour earlier: nobody is kept from another stream


class Crowd(Scripted):
    """Two people: the one whom the networks follow, and one a metre further right in the picture."""

    def body(self, near: Region | None = None) -> PersonDetection | None:
        return person() if near is None or near.x < 400.0 else self.other()

    def bodies(self) -> list[PersonDetection]:
        return [person(), self.other()]

    def other(self) -> PersonDetection:
        return replace(person(), uv=person().uv + [300.0, 0.0])


def test_another_camera_tells_which_of_two_people_is_meant() -> None:
    def middle(found: PersonDetection | None) -> float:
        assert found is not None
        return float(found.uv[[POSE_INDEX["left_shoulder"], POSE_INDEX["right_shoulder"]], 0].mean())

    finder = PersonFinder(PersonFinderConfig(), Crowd())
    assert middle(finder.detect(PICTURE, 0)) == 320.0  # who stands in the middle
    for i, (expected, seen) in enumerate(((620.0, 620.0), (640.0, 620.0), (330.0, 320.0)), 1):
        finder.expect(np.array([expected, 160.0]))
        assert middle(finder.detect(PICTURE, i * STEP_NS)) == seen
    finder.expect(None)
    assert middle(finder.detect(PICTURE, 4 * STEP_NS)) == 320.0


def test_a_picture_is_looked_at_once_for_what_the_followed_person_wears(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[PersonDetection] = []

    def counted(one: PersonDetection, rgb: np.ndarray, depth: np.ndarray | None) -> Look:
        asked.append(one)
        return look_of(one, rgb, depth)

    monkeypatch.setattr(person_finder, "look_of", counted)
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), Scripted())
    assert finder.detect(PICTURE, 0) is not None
    for i in range(1, 4):
        asked.clear()
        assert finder.detect(PICTURE, i * STEP_NS) is not None and len(asked) == 1


class Confused(Scripted):
    """Networks that take the front for the back in some pictures."""

    confused = False

    def body(self, near: Region | None = None) -> PersonDetection | None:
        return mirrored(person()) if self.confused else person()


def test_left_and_right_that_change_sooner_than_anybody_turns_are_lost_and_a_turn_is_not() -> None:
    networks = Confused()
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), networks)
    seen: list[float | None] = []
    confused = [False, True, False, True, *[True] * 13]
    for i, networks.confused in enumerate(confused):
        found = finder.detect(PICTURE, i * STEP_NS)
        seen.append(None if found is None else float(found.uv[POSE_INDEX["left_shoulder"], 0]))
    turned_at = 2 + math.ceil(TURN_NS / STEP_NS)
    assert seen[:4] == [400.0, None, 400.0, None], "one picture with left and right exchanged"
    assert seen[3:turned_at] == [None] * (turned_at - 3) and seen[turned_at:] == [240.0] * (len(seen) - turned_at)


class FaceCovered(Scripted):
    """Networks that find the body with its hand, and no face in some pictures."""

    covered = False

    def body(self, near: Region | None = None) -> PersonDetection | None:
        self.asked.append("face")
        return None if self.covered else person()

    def hands(self) -> list[HandDetection]:
        return [hand()]


class WithoutFace:
    """A search that always finds the body by its arms, and knows it from then on."""

    unsure = locked = False

    def __init__(self, *_: object) -> None:
        pass

    def find(self, rgb: np.ndarray, stamp_ns: int, hands: list[HandDetection]) -> PersonDetection:
        self.locked = True
        return person()


def test_a_face_that_was_covered_is_followed_again_once_it_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(person_finder, "HeadlessSearch", WithoutFace)
    networks = FaceCovered()
    finder = PersonFinder(PersonFinderConfig(), networks)
    searched = []
    for i in range(24):
        networks.covered = 2 <= i < 4 or i >= 20
        assert finder.detect(PICTURE, i * STEP_NS) is not None
        searched.append("face" in networks.asked)
    assert searched[:3] == [True] * 3
    found = searched.index(True, 4)
    assert found <= 9 and all(searched[found:21]), "not only now and then"
    assert sum(searched[21:]) == 0, "covered again: a body is followed without a face at less cost"


class Passing(Scripted):
    """Networks that follow whoever is nearest; in some pictures somebody walks past in front of the person."""

    def __init__(self) -> None:
        super().__init__()
        self.passes = self.hides = False

    def body(self, near: Region | None = None) -> PersonDetection | None:
        return self.stranger() if self.passes else person()

    def bodies(self) -> list[PersonDetection]:
        self.asked.append("bodies")
        return [self.stranger(), *([] if self.hides else [person()])] if self.passes else [person()]

    def stranger(self) -> PersonDetection:
        return replace(person(), uv=(person().uv - [320.0, 240.0]) * 1.2 + [330.0, 240.0])


def test_who_walks_past_is_not_taken_and_the_person_is_found_beside_and_after_them() -> None:
    networks = Passing()
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), networks)
    near, far = np.full(PICTURE.shape[:2], 1.0, np.float32), np.full(PICTURE.shape[:2], 1.6, np.float32)
    seen = []
    for i, (passes, hides) in enumerate([(False, False), (True, False), (True, True), (False, False)]):
        networks.passes, networks.hides = passes, hides
        finder.show_depth(near if hides else far)
        found = finder.detect(PICTURE, i * STEP_NS)
        assert ("bodies" in networks.asked) == (i == 0 or hides)
        seen.append(None if found is None else float(found.uv[POSE_INDEX["left_shoulder"], 0]))
    assert seen[2] is None and seen[3] == seen[0] == 400.0


class TwoShots(Scripted):
    """After a cut the person stands elsewhere and further away, beside somebody larger in other clothes."""

    cut = False

    def body(self, near: Region | None = None) -> PersonDetection | None:
        return self.large() if self.cut and near is None else self.small() if self.cut else person()

    def bodies(self) -> list[PersonDetection]:
        return [self.large(), self.small()] if self.cut else [person()]

    def large(self) -> PersonDetection:
        return replace(person(), uv=person().uv * 0.9 + [150.0, 20.0])

    def small(self) -> PersonDetection:
        return replace(person(), uv=person().uv * 0.5)


@pytest.mark.parametrize(("told", "same_clothes"), [(False, True), (True, True), (True, False)])
def test_after_a_cut_who_wears_the_same_clothes_is_followed_at_once_or_else_who_is_nearest(
    told: bool, same_clothes: bool
) -> None:
    networks = TwoShots()
    finder = PersonFinder(PersonFinderConfig(search_without_head=False), networks)
    first = np.full(PICTURE.shape, 200, np.uint8)
    for i in range(3):
        assert finder.detect(first, i * STEP_NS) is not None
    networks.cut = True
    second = np.full(PICTURE.shape, 40, np.uint8)
    second[:, :200] = 200 if same_clothes else 120  # where the small one stands
    if told:
        finder.begin_shot()
        assert networks.forgotten == [2 * STEP_NS // 1_000_000 + 1], "the networks follow nobody, in a time that rises"
    seen = [finder.detect(second, i * STEP_NS) for i in (3, 4)]
    if not told:
        assert seen == [None, None]
        return
    expected = networks.small() if same_clothes else networks.large()
    for found in seen:
        assert found is not None and np.array_equal(found.uv, expected.uv)
