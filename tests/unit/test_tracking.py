"""Object tracking on arrays whose truth is known: identity, occlusion by the hand, when something is held."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.perception.assembly import assemble, grasp_centre
from visual_irl.perception.objects.tracking import Tracks, _held, track_objects
from visual_irl.types import KEYPOINTS, KeypointFrame, ObjectEstimate, keypoint_index

RATE = 15.0
REST = np.array([0.0, -0.3, 0.10])
BIN = np.array([0.10, 0.22, 0.03])
LOOK = np.array([0.10, -0.10, 0.28])
OFFSET = np.array([0.01, -0.02, -0.03])
"""Of a held object from the measured grasp centre [m]."""


def ease(a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Minimum-jerk way from `a` to `b` in `n` frames."""
    s = (np.arange(n) + 1.0) / n
    return a + (b - a) * (10 * s**3 - 15 * s**4 + 6 * s**5)[:, None]


class World:
    """A hand that carries onions; keeps the truth as it goes."""

    def __init__(self, onions: list[np.ndarray]) -> None:
        self.onions = [np.array(p, float) for p in onions]
        self.hand, self.paths, self.held = [REST], [[p] for p in self.onions], [-1]
        self.wait(8)

    def wait(self, n: int, holding: int = -1) -> None:
        self.go(self.hand[-1], n, holding)

    def go(self, to: np.ndarray, n: int, holding: int = -1) -> None:
        for p in ease(self.hand[-1], to, n):
            self.hand.append(p)
            if holding >= 0:
                self.onions[holding] = p + OFFSET
            for i, path in enumerate(self.paths):
                path.append(self.onions[i].copy())
            self.held.append(holding)

    def sort(self, i: int, to: np.ndarray, look: bool = True) -> None:
        """Take onion `i`, look at it, put it down at `to`."""
        self.go(self.onions[i] - OFFSET, 14)
        self.wait(4)
        if look:
            self.go(LOOK, 14, i)
            self.wait(12, i)
        self.go(to - OFFSET + [0.0, 0.0, 0.08], 14, i)
        self.onions[i] = np.array(to, float)
        self.wait(4)

    def finish(self) -> World:
        self.go(REST, 14)
        self.wait(10)
        return self

    @property
    def t(self) -> np.ndarray:
        return np.arange(len(self.hand)) / RATE

    def see(self, rng: np.random.Generator, hidden: np.ndarray | None = None, blemished: int = 0) -> list[list[ObjectEstimate]]:
        """What a detector reports: 3 mm noise, in any order; `hidden` (onions, T) is not seen."""
        out = []
        for k in range(len(self.hand)):
            found = [
                ObjectEstimate("", "onion", path[k] + rng.normal(0, 0.002, 3), 0.03 + rng.normal(0, 0.001), 0.9,
                               {"blemished": float(i == blemished)})
                for i, path in enumerate(self.paths)
                if hidden is None or not hidden[i, k]
            ]  # fmt: skip
            rng.shuffle(found)  # type: ignore[arg-type]
            out.append(found)
        return out

    def measured_hand(self, rng: np.random.Generator) -> np.ndarray:
        """1 cm of landmark noise and a tenth of the frames lost."""
        hand = np.array(self.hand) + rng.normal(0, 0.006, (len(self.hand), 3))
        hand[rng.random(len(hand)) < 0.1] = np.nan
        return hand

    def is_held(self, i: int) -> np.ndarray:
        return np.array(self.held) == i


ONIONS = [np.array([0.2, -0.2, 0.03]), np.array([0.26, 0.0, 0.03]), np.array([0.16, -0.05, 0.03])]


def check_held(held: tuple[str, ...], name: str, truth: np.ndarray, frames: int = 4) -> None:
    """Grasp and release within `frames` of the truth: an object in a hand that has not moved yet cannot be told."""
    mine = np.nonzero(np.array(held) == name)[0]
    true = np.nonzero(truth)[0]
    assert len(mine) and abs(mine[0] - true[0]) <= frames and abs(mine[-1] - true[-1]) <= frames
    assert len(mine) == mine[-1] - mine[0] + 1  # in one piece


@pytest.mark.parametrize("seed", range(4))
def test_sorting_three_onions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(ONIONS)
    world.sort(1, BIN)
    world.sort(0, BIN + [0.0, -0.07, 0.0])  # beside the first
    tracks = track_objects(world.finish().t, world.see(rng, blemished=0), world.measured_hand(rng))
    assert list(tracks.objects) == ["onion_0", "onion_1", "onion_2"]  # in the order of being taken
    for name, i in (("onion_0", 1), ("onion_1", 0), ("onion_2", 2)):
        error = np.linalg.norm(tracks.objects[name] - np.array(world.paths[i]), axis=1)
        assert error.mean() < 0.006 and error[-1] < 0.004
        assert abs(tracks.radii[name] - 0.03) < 0.0005
        said = tracks.attributes[name]["blemished"]
        assert round(said) == float(i == 0) and abs(said - round(said)) < 0.1
    check_held(tracks.held, "onion_0", world.is_held(1))
    check_held(tracks.held, "onion_1", world.is_held(0))
    assert "onion_2" not in tracks.held


@pytest.mark.parametrize("seed", range(4))
def test_hidden_while_carried_and_found_again(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(ONIONS[:2])
    world.sort(0, BIN)
    world.finish()
    hidden = np.array([world.is_held(0), np.zeros(len(world.t), bool)])
    grasp, release = np.nonzero(hidden[0])[0][[0, -1]]
    hidden[0, grasp - 6 : release + 4] = True  # the fingers cover it before they close and after they open
    tracks = track_objects(world.t, world.see(rng, hidden), world.measured_hand(rng))
    assert len(tracks.objects) == 2
    check_held(tracks.held, "onion_0", world.is_held(0), frames=6)
    error = np.linalg.norm(tracks.objects["onion_0"] - np.array(world.paths[0]), axis=1)
    carried = world.is_held(0)
    assert np.median(error[carried]) < 0.05  # unseen: the grasp centre, whose offset was never observed (37 mm)
    assert error[-1] < 0.004 and error[0] < 0.004


def test_never_seen_again_lies_below_where_it_was_let_go_of() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1])
    world.sort(0, BIN)
    world.finish()
    hidden = np.zeros((1, len(world.t)), bool)
    hidden[0, np.nonzero(world.is_held(0))[0][-1] - 5 :] = True  # behind the bin's wall from before it is released
    tracks = track_objects(world.t, world.see(rng, hidden), world.measured_hand(rng), BIN[None])
    check_held(tracks.held, "onion_0", world.is_held(0), frames=6)
    end = tracks.objects["onion_0"][-1]
    assert np.linalg.norm(end[:2] - BIN[:2]) < 0.04 and abs(end[2] - 0.03) < 0.002  # hand noise; its own radius


def test_held_until_the_recording_ends() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1])
    world.go(ONIONS[0] - OFFSET, 14)
    world.go(LOOK, 14, 0)
    world.wait(3, 0)
    tracks = track_objects(world.t, world.see(rng), world.measured_hand(rng))
    assert tracks.held[-1] == "onion_0" and tracks.held[5] == ""
    assert np.linalg.norm(tracks.objects["onion_0"][-1] - (LOOK + OFFSET)) < 0.03  # hand noise


def test_arm_that_passes_in_front_takes_nothing() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS)
    world.go(np.array([0.26, 0.0, 0.12]), 14)
    hidden = np.zeros((3, 200), bool)
    hidden[1, len(world.hand) - 5 : len(world.hand) + 12] = True
    world.wait(10)
    world.finish()
    tracks = track_objects(world.t, world.see(rng, hidden), world.measured_hand(rng))
    assert set(tracks.held) == {""} and len(tracks.objects) == 3
    for path in tracks.objects.values():
        assert np.ptp(path, axis=0).max() < 1e-9  # what lies still is one place, not its noise


def test_a_bad_landmark_during_an_inspection_does_not_end_the_carry() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1])
    world.sort(0, BIN)
    world.finish()
    hand = np.array(world.hand)
    looking = np.nonzero(world.is_held(0))[0][0] + 20  # the hand is still, and so is the onion
    hand[looking : looking + 2] += [0.0, 0.15, 0.0]
    tracks = track_objects(world.t, world.see(rng), hand)
    check_held(tracks.held, "onion_0", world.is_held(0))


def test_spurious_detections_are_dropped() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1]).finish()
    seen = world.see(rng)
    for k in (10, 11, 12):
        seen[k].append(ObjectEstimate("", "onion", np.array([0.4, 0.4, 0.2]), 0.03, 0.3, {"blemished": 1.0}))
    assert list(track_objects(world.t, seen, world.measured_hand(rng)).objects) == ["onion_0"]


def test_a_blemish_that_is_often_turned_away_counts() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1]).finish()
    seen = world.see(rng)
    for k in range(len(seen)):  # it shows in a third of the frames, and a half hidden view says nothing
        p, clear = seen[k][0].p_world, k % 2 == 0
        vote = {"blemished": float(k % 3 == 0) if clear else 0.0}
        seen[k] = [ObjectEstimate("", "onion", p, 0.03 if clear else 0.04, 0.9 if clear else 0.2, vote)]
    tracks = track_objects(world.t, seen, world.measured_hand(rng))
    said = tracks.attributes["onion_0"]["blemished"]
    assert round(said) == 1.0 and said > 0.9 and tracks.radii["onion_0"] == 0.03


def seen_with(says: list[dict[str, float]]) -> dict[str, float]:
    """What is known of an onion that lies still, after its sightings said this."""
    rng, world = np.random.default_rng(0), World(ONIONS[:1])
    world.wait(len(says) - len(world.hand))
    seen = [[replace(found[0], attributes=said)] for found, said in zip(world.see(rng), says, strict=True)]
    return dict(track_objects(world.t, seen, np.array(world.hand)).attributes["onion_0"])


def test_doubtful_sightings_weigh_little_and_what_was_never_told_is_unknown() -> None:
    doubtful, sure = {"blemished": 0.6}, {"blemished": 0.002}
    assert seen_with([doubtful] * 20 + [sure] * 20)["blemished"] < 0.4
    assert seen_with([doubtful] * 20)["blemished"] < seen_with([{"blemished": 0.99}] * 20)["blemished"]
    assert seen_with([sure] * 20)["blemished"] < seen_with([sure] * 10)["blemished"] < 0.4  # not seeing one says little
    assert seen_with([{}] * 30 + [{"blemished": 0.99}] * 10)["blemished"] > 0.9
    assert seen_with([{}] * 20) == {}


def glimpse(p: np.ndarray, radius: float = 0.036, confidence: float = 0.2) -> ObjectEstimate:
    """A sliver of an onion between fingers: too large, to one side, and hardly visible."""
    return ObjectEstimate("", "onion", p, radius, confidence, {"blemished": 0.0})


def check_identity(tracks: Tracks, world: World) -> None:
    """As many objects as there are; each starts and ends where one of them does; the sequence of carries is the true one."""
    starts = np.array([path[0] for path in world.paths])
    truth = {name: int(np.linalg.norm(starts - path[0], axis=1).argmin()) for name, path in tracks.objects.items()}
    assert sorted(truth.values()) == list(range(len(world.paths)))
    for name, i in truth.items():
        assert np.linalg.norm(tracks.objects[name][[0, -1]] - np.array(world.paths[i])[[0, -1]], axis=1).max() < 0.006
    carried = [truth[name] for name, _ in groupby(tracks.held) if name]
    assert carried == [i for i, _ in groupby(world.held) if i >= 0]


@pytest.mark.parametrize("seed", range(4))
def test_an_object_that_is_seen_is_followed_though_the_hand_is_measured_elsewhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(ONIONS[:2])
    world.sort(0, BIN)
    world.finish()
    hand, hidden = np.array(world.hand), rng.random((2, len(world.t))) < 0.2
    carry = np.nonzero(world.is_held(0))[0]
    hand[carry[-14] :] += [0.07, -0.09, 0.08]  # fingers hidden by what they hold: off by 14 cm from one frame to the next
    tracks = track_objects(world.t, world.see(rng, hidden), hand)
    check_identity(tracks, world)
    check_held(tracks.held, "onion_0", world.is_held(0))


@pytest.mark.parametrize("seed", range(4))
def test_lost_in_the_hand_and_found_far_from_where_the_hand_is_measured(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(ONIONS)
    world.sort(0, BIN)
    world.sort(1, BIN - [0.0, 0.07, 0.0])
    world.finish()
    hidden = np.array([world.is_held(i) for i in range(3)])
    hand = np.array(world.hand)
    for i in (0, 1):
        grasp, release = np.nonzero(hidden[i])[0][[0, -1]]
        hidden[i, grasp - 4 : release + 4] = True
        hand[release - 10 : release + 8] += [-0.05, 0.06, 0.13]
    check_identity(track_objects(world.t, world.see(rng, hidden), hand), world)


@pytest.mark.parametrize("seed", range(4))
def test_what_shows_beside_a_held_object_is_no_object(seed: int) -> None:
    rng = np.random.default_rng(seed)
    world = World(ONIONS)
    world.sort(0, BIN)
    world.sort(2, BIN - [0.0, 0.07, 0.0])
    world.finish()
    seen, p = world.see(rng), np.array(world.paths)
    for i in (0, 2):
        carry = np.nonzero(world.is_held(i))[0]
        aside = np.array([0.01, -0.05, 0.02])
        for k in [*carry[4:9], *carry[18:24]]:  # together with the object
            seen[k].append(glimpse(p[i, k] + aside))
        for k in carry[-5:]:  # and in its stead, until it is let go of
            seen[k] = [s for s in seen[k] if np.linalg.norm(s.p_world - p[i, k]) > 0.02]
            seen[k].append(glimpse(p[i, k] - aside))
    tracks = track_objects(world.t, seen, world.measured_hand(rng))
    check_identity(tracks, world)
    assert all(abs(radius - 0.03) < 0.001 for radius in tracks.radii.values())


def test_a_track_that_went_astray_gives_its_object_back() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:2])
    world.sort(0, BIN)
    world.finish()
    seen, p = world.see(rng), np.array(world.paths)[0]
    carry = np.nonzero(world.is_held(0))[0]
    for k in carry[6:13]:  # first only the sliver shows ...
        seen[k] = [s for s in seen[k] if np.linalg.norm(s.p_world - p[k]) > 0.02]
    for k in carry[6:20]:  # ... then the object as well, too far from it to be the same
        seen[k].append(glimpse(p[k] + [0.0, -0.08, 0.03]))
    check_identity(track_objects(world.t, seen, world.measured_hand(rng)), world)


@pytest.mark.parametrize("seed", range(4))
def test_flickering_objects_do_not_change_places(seed: int) -> None:
    rng = np.random.default_rng(seed)
    close = [np.array([0.2, -0.2 + 0.1 * i, 0.03]) for i in range(4)]  # as close as onions start
    world = World(close)
    world.sort(1, BIN)
    world.sort(2, BIN - [0.0, 0.07, 0.0])
    world.finish()
    hidden = rng.random((4, len(world.t))) < 0.35
    check_identity(track_objects(world.t, world.see(rng, hidden), world.measured_hand(rng)), world)


def test_an_onion_that_the_arm_hides_at_the_start_is_one_more() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS)
    world.sort(0, BIN)
    world.finish()
    hidden = np.zeros((3, len(world.t)), bool)
    hidden[1, :30] = True  # from before onion 0 is taken ...
    hidden[0, 25:40] = True  # ... which is hidden itself when onion 1 comes into sight
    tracks = track_objects(world.t, world.see(rng, hidden), world.measured_hand(rng))
    check_identity(tracks, world)


def test_a_short_false_alarm_on_the_table_is_no_object() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1])
    world.sort(0, BIN)
    seen = world.finish().see(rng)
    for k in range(30, 50):
        seen[k].append(glimpse(np.array([0.4, -0.4, 0.03])))
    check_identity(track_objects(world.t, seen, world.measured_hand(rng)), world)


def test_an_object_in_the_air_is_not_at_rest() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:1])
    world.sort(0, BIN)
    world.finish()
    hand = np.array(world.hand)
    looking = np.nonzero(world.is_held(0))[0][0] + 16
    hand[looking : looking + 6] += [0.0, 0.15, 0.0]  # landmarks jump for many frames while the onion is held still
    tracks = track_objects(world.t, world.see(rng), hand)
    check_identity(tracks, world)
    check_held(tracks.held, "onion_0", world.is_held(0))


def test_a_push_is_no_carry_and_a_hand_holds_one_thing_at_a_time() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS[:2])
    world.go(ONIONS[0] + [0.0, 0.05, 0.0], 14)
    world.onions[0] = world.onions[0] + [0.0, -0.06, 0.0]  # knocked aside from one frame to the next
    world.wait(4)
    world.sort(1, BIN)
    world.finish()
    tracks = track_objects(world.t, world.see(rng), world.measured_hand(rng))
    check_identity(tracks, world)
    check_held(tracks.held, "onion_0", world.is_held(1))
    assert _held(9, {"a": [(1, 7)], "b": [(4, 6)]}) == ("", "a", "a", "a", "b", "b", "", "", "")


def test_without_a_hand_nothing_is_held() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS).finish()
    tracks = track_objects(world.t, world.see(rng), np.full((len(world.t), 3), np.nan))
    assert set(tracks.held) == {""} and len(tracks.objects) == 3


def keypoint_frame(k: int, hand: np.ndarray, objects: tuple[ObjectEstimate, ...]) -> KeypointFrame:
    p = np.full((len(KEYPOINTS), 3), np.nan)
    for name, d in (("thumb_tip", [0.0, 0.03, 0.0]), ("index_tip", [0.0, -0.03, 0.0]), ("middle_tip", [0.0, 0.0, 0.0])):
        p[keypoint_index(f"right_hand_{name}")] = hand + d
    known = np.isfinite(p).all(1).astype(float)
    return KeypointFrame(round(k / RATE * 1e9), p, np.full((*p.shape, 3), 1e-4), known, np.zeros((len(p), 2)), objects)


def test_assembly() -> None:
    rng = np.random.default_rng(0)
    world = World(ONIONS)
    world.sort(0, BIN)
    seen = world.finish().see(rng)
    frames = [keypoint_frame(k, world.hand[k], tuple(seen[k])) for k in range(len(seen))]
    bins = {"bin_unblemished": se3.transform(np.eye(3), np.array([0.10, 0.22, 0.0]))}
    demo = assemble(frames, "right", bins, "onion_sorting", "world", {"source": "test"})
    np.testing.assert_allclose(demo.t, world.t, atol=1e-9)  # stamps are whole nanoseconds
    np.testing.assert_allclose(demo.aperture, 0.06, atol=1e-12)
    assert demo.seen.all() and list(demo.fixtures) == ["bin_unblemished"] and len(demo.objects) == 3
    check_held(demo.held, "onion_0", world.is_held(0))
    video = [keypoint_frame(k, world.hand[k], ()) for k in range(len(seen))]
    demo = assemble(video, "right", {}, "onion_sorting", "torso", {})
    assert demo.objects == {} and set(demo.held) == {""} and np.isfinite(demo.aperture).all()


def test_assembly_refuses_what_makes_no_sense() -> None:
    hand = np.zeros(3)
    some = (ObjectEstimate("", "onion", np.zeros(3), 0.03, 1.0, {}),)
    frames = [keypoint_frame(k, hand, some) for k in range(3)]
    with pytest.raises(InvalidInput, match="two or more frames"):
        assemble(frames[:1], "right", {}, "onion_sorting", "world", {})
    with pytest.raises(InvalidInput, match="left, right"):
        assemble(frames, "both", {}, "onion_sorting", "world", {})
    with pytest.raises(InvalidInput, match="torso frame"):
        assemble(frames, "right", {}, "onion_sorting", "torso", {})


@pytest.mark.parametrize("seed", range(3))
def test_an_onion_that_is_in_the_hand_in_the_first_frame_starts_there(seed: int) -> None:
    """The recording begins, and another one ends too, in mid-carry."""
    rng = np.random.default_rng(seed)
    world = World(ONIONS)
    world.sort(1, BIN)
    world.finish()
    carried, hand, seen = np.nonzero(world.is_held(1))[0], world.measured_hand(rng), world.see(rng)
    hand[carried] = np.array(world.hand)[carried]
    for first, last in ((carried[12], len(hand)), (carried[12], carried[-8])):
        path = np.array(world.paths[1])[first:last]
        tracks = track_objects(world.t[: last - first], seen[first:last], hand[first:last])
        name = min(tracks.objects, key=lambda o: float(np.linalg.norm(tracks.objects[o] - path, axis=1).mean()))
        assert np.linalg.norm(tracks.objects[name] - path, axis=1).mean() < 0.01
        mine = np.array(tracks.held) == name
        wrong = mine != world.is_held(1)[first:last]
        assert mine[0] and wrong.sum() <= 6  # it falls for two frames
        assert sum(o != "" for o in set(tracks.held)) == 1


def test_grasp_centre_without_fingers_is_beyond_the_wrist() -> None:
    p = np.full((1, len(KEYPOINTS), 3), np.nan)
    assert np.isnan(grasp_centre(p, "right")).all()
    p[0, keypoint_index("right_elbow")] = [0.0, 0.0, 0.3]
    p[0, keypoint_index("right_wrist")] = [0.2, 0.0, 0.3]
    np.testing.assert_allclose(grasp_centre(p, "right")[0], [0.3, 0.0, 0.3], atol=1e-12)
