"""Several cameras: surer than one, honest about it, and not led astray by one that is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from visual_irl import covariance as cov
from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton.fusion import Fusion, FusionConfig
from visual_irl.perception.skeleton.moments import at_moment, common_times, expected_shoulders, fuse_cameras, merged_objects
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, Intrinsics, KeypointFrame, ObjectEstimate, RgbdFrame, keypoint_index

K = len(KEYPOINTS)
EYES = np.array([[2.5, -1.5, 1.0], [2.5, 1.5, 1.2], [0.3, 3.0, 1.0]])
TRUTH = np.random.default_rng(5).uniform(-0.4, 0.4, (K, 3)) + [0.0, 0.0, 1.2]
ELBOW, WRIST = keypoint_index("left_elbow"), keypoint_index("left_wrist")
STEP_NS = 33_000_000


def seen_by(
    camera: int, rng: np.random.Generator, i: int = 0, p: np.ndarray = TRUTH, along: float = 0.03, across: float = 0.01
) -> KeypointFrame:
    """What a camera says: errs along its rays and across them as it states."""
    covariance = cov.about_rays(p - EYES[camera], np.full(K, across), np.full(K, along))
    error = np.linalg.cholesky(covariance) @ rng.normal(size=(K, 3, 1))
    return KeypointFrame(i * STEP_NS, p + error[..., 0], covariance, np.full(K, 0.9), np.zeros((K, 2)))


def swapped(frame: KeypointFrame) -> KeypointFrame:
    order = [KEYPOINTS.index({"left": "right", "right": "left"}[n.split("_")[0]] + n[n.index("_") :]) for n in KEYPOINTS]
    return replace(frame, p_world=frame.p_world[order], covariance=frame.covariance[order])


def without(frame: KeypointFrame, rows: Sequence[int]) -> KeypointFrame:
    p, covariance, confidence = (getattr(frame, name).copy() for name in ("p_world", "covariance", "confidence"))
    p[rows], covariance[rows], confidence[rows] = np.nan, np.nan, 0.0
    return replace(frame, p_world=p, covariance=covariance, confidence=confidence)


def rms(p: np.ndarray) -> float:
    return float(np.sqrt(((p - TRUTH) ** 2).sum(-1).mean()))


def test_two_cameras_err_less_than_one_and_know_how_much() -> None:
    rng = np.random.default_rng(0)
    config = FusionConfig(calibration=0.0, shared=0.0)  # nothing but independent noise here
    ones, fused, inside = [], [], []
    for _ in range(40):
        frames = [seen_by(c, rng) for c in (0, 1)]
        both = Fusion(config).step(frames)
        ones.append(rms(frames[0].p_world))
        fused.append(rms(both.p_world))
        inside.append(cov.distance(both.p_world - TRUTH, both.covariance) < 2.5)
    assert np.mean(fused) < 0.6 * np.mean(ones)  # each camera's depth is the other's width
    assert np.mean(inside) == pytest.approx(0.9, abs=0.03)  # 2,000 draws, some of which the gate took out


def test_rays_alone_triangulate_and_a_single_one_is_lost() -> None:
    rng = np.random.default_rng(1)
    frames = [seen_by(c, rng, along=0.6, across=0.005) for c in (0, 1, 2)]
    assert rms(frames[0].p_world) > 0.3
    both = Fusion().step(frames[:2])
    assert rms(both.p_world) < 0.02 and both.person
    assert rms(Fusion().step(frames).p_world) < rms(both.p_world)
    assert not Fusion().step(frames[:1]).person


def test_what_one_camera_cannot_see_the_other_gives() -> None:
    rng = np.random.default_rng(2)
    hidden, open_ = without(seen_by(0, rng), [ELBOW, WRIST]), seen_by(1, rng)
    fused = Fusion(FusionConfig(calibration=0.0)).step([hidden, open_])
    assert np.allclose(fused.p_world[ELBOW], open_.p_world[ELBOW], atol=1e-6)  # the floor of a covariance is 0.1 mm
    guessed = replace(hidden, p_world=np.where(np.isnan(hidden.p_world), TRUTH + 0.2, hidden.p_world))
    wide = np.where(np.isnan(hidden.covariance), 0.04 * np.eye(3), hidden.covariance)
    unsure = Fusion().step([replace(guessed, covariance=wide, confidence=np.full(K, 0.5)), open_])
    assert np.linalg.norm(unsure.p_world[ELBOW] - open_.p_world[ELBOW]) < 0.02  # 0.2 m, surer of it by a hundredth


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_of_three_cameras_one_may_be_wrong_about_a_joint(wrong: int) -> None:
    rng, fusion = np.random.default_rng(3), Fusion()
    frames = [seen_by(c, rng) for c in (0, 1, 2)]
    p = frames[wrong].p_world.copy()
    p[ELBOW] += [0.0, 0.0, 0.3]
    frames[wrong] = replace(frames[wrong], p_world=p)
    assert np.linalg.norm(fusion.step(frames).p_world[ELBOW] - TRUTH[ELBOW]) < 0.05
    assert fusion.left_out["keypoints"] >= 1


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_camera_that_exchanges_left_and_right_is_put_right(wrong: int) -> None:
    rng, fusion = np.random.default_rng(4), Fusion()
    for i in range(3):  # then two cameras, of which the last moment tells which one is right
        frames = [seen_by(c, rng, i) for c in (range(3) if i < 2 else sorted({wrong, (wrong + 1) % 3}))]
        at = wrong if i < 2 else sorted({wrong, (wrong + 1) % 3}).index(wrong)
        if i:
            frames[at] = swapped(frames[at])
        assert rms(fusion.step(frames).p_world) < 0.04
        assert fusion.left_out["sides exchanged"] == i


def test_a_camera_that_follows_somebody_else_is_left_out() -> None:
    rng, fusion = np.random.default_rng(6), Fusion()
    other = seen_by(1, rng, p=TRUTH + [0.0, 0.9, 0.0])
    fused = fusion.step([seen_by(0, rng), other, seen_by(2, rng)])
    assert rms(fused.p_world) < 0.04 and fusion.left_out == {"somebody else": 1}
    later = [replace(f, stamp_ns=STEP_NS) for f in (other, seen_by(0, rng))]
    assert rms(fusion.step(later).p_world) < 0.06 and fusion.left_out == {"somebody else": 2}


def test_all_cameras_blind_is_nobody() -> None:
    rng = np.random.default_rng(7)
    nobody = without(seen_by(0, rng), list(range(K)))
    fused = Fusion().step([nobody, nobody])
    assert not fused.person and np.isnan(fused.p_world).all() and np.isnan(fused.covariance).all()
    with pytest.raises(InvalidInput, match="got none"):
        Fusion().step([])


def moving(camera: int, times_ns: Sequence[int]) -> list[KeypointFrame]:
    """A body that moves at 0.5 m/s, without noise."""
    rng, frames = np.random.default_rng(8), []
    for t in times_ns:
        still = seen_by(camera, rng, along=1e-6, across=1e-6)
        p = TRUTH + [0.5e-9 * t, 0.0, 0.0]
        frames.append(replace(still, stamp_ns=int(t), p_world=p, covariance=still.covariance + 1e-4))
    return frames


def test_cameras_that_take_turns_are_brought_to_common_times() -> None:
    a = moving(0, range(0, 20 * STEP_NS, STEP_NS))
    b = moving(1, range(STEP_NS // 3, 18 * STEP_NS, STEP_NS))
    fused, shares, left_out = fuse_cameras([a, b], FusionConfig())
    assert [f.stamp_ns for f in fused] == [f.stamp_ns for f in a] and not left_out
    assert shares[0] == 1.0 and 0.8 < shares[1] < 1.0
    for frame in fused:
        expected = TRUTH + [0.5e-9 * frame.stamp_ns, 0.0, 0.0]
        assert np.abs(frame.p_world - expected).max() < 1e-4  # unaligned it would be off by 5 mm


def test_one_camera_goes_on_alone_when_the_other_is_lost() -> None:
    a, b = moving(0, range(0, 8 * STEP_NS, STEP_NS)), moving(1, range(0, 20 * STEP_NS, STEP_NS))
    a += moving(0, range(15 * STEP_NS, 30 * STEP_NS, STEP_NS))
    fused, shares, _ = fuse_cameras([a, b], FusionConfig())
    assert [f.stamp_ns // STEP_NS for f in fused] == list(range(30)) and all(f.person for f in fused)
    assert shares == pytest.approx([23 / 30, 20 / 30])
    alone, shares, _ = fuse_cameras([[], b], FusionConfig())
    assert len(alone) == 20 and shares == [0.0, 1.0]


def test_nothing_is_interpolated_over_a_gap_or_beyond_the_ends() -> None:
    frames = moving(0, [0, STEP_NS, 2 * STEP_NS, 10 * STEP_NS])
    stamps = np.array([f.stamp_ns for f in frames])
    assert at_moment(frames, stamps, STEP_NS) is frames[1]
    between = at_moment([without(frames[0], [WRIST]), *frames[1:]], stamps, STEP_NS // 2)
    assert between is not None and between.confidence[WRIST] == 0.0 and np.isfinite(between.p_world[ELBOW]).all()
    for moment in (-1, 5 * STEP_NS, 11 * STEP_NS):
        assert at_moment(frames, stamps, moment) is None
    assert common_times([stamps, np.array([5 * STEP_NS])]).tolist() == [k * STEP_NS for k in (0, 1, 2, 5, 10)]


def test_a_camera_with_depth_tells_another_where_the_shoulders_are() -> None:
    camera = Intrinsics.from_fov(640, 480, 1.2)
    T = se3.look_at(EYES[1], np.array([0.0, 0.0, 1.2]))
    picture = RgbdFrame(STEP_NS, np.zeros((480, 640, 3), np.uint8), None, camera, T)
    frames = moving(0, [0, 2 * STEP_NS])
    rows = [keypoint_index(f"{side}_shoulder") for side in ("left", "right")]
    middle = TRUTH[rows].mean(0) + [0.5e-9 * STEP_NS, 0.0, 0.0]
    place = expected_shoulders(frames, picture)
    assert place is not None and np.allclose(place, camera.project(se3.apply(se3.inverse(T), middle)), atol=0.05)
    assert expected_shoulders([without(f, rows) for f in frames], picture) is None
    assert expected_shoulders([replace(f, covariance=f.covariance + 0.01) for f in frames], picture) is None  # knows a ray


def test_clocks_without_a_common_time_are_refused() -> None:
    a, b = moving(0, range(0, 5 * STEP_NS, STEP_NS)), moving(1, range(9 * STEP_NS, 20 * STEP_NS, STEP_NS))
    with pytest.raises(InvalidInput, match="one clock"):
        fuse_cameras([a, b], FusionConfig())


def test_an_object_that_two_cameras_see_is_one() -> None:
    def item(x: float) -> ObjectEstimate:
        return ObjectEstimate("", "onion", np.array([x, 0.0, 0.03]), 0.03, 1.0, {})

    frame = moving(0, [0])[0]
    found = merged_objects([replace(frame, objects=(item(0.0), item(0.2))), replace(frame, objects=(item(0.01), item(0.5)))])
    assert [float(o.p_world[0]) for o in found] == [0.0, 0.2, 0.5]


def test_the_body_is_the_first_eight() -> None:
    assert KEYPOINTS[: len(BODY_KEYPOINTS)] == BODY_KEYPOINTS  # `fusion` counts on it
