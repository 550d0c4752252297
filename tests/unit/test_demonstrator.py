"""The scripted person: what is moved goes where it belongs, as smoothly as people move."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput, Unreachable
from visual_irl.tasks.body import sample_body
from visual_irl.tasks.demonstrator import DemonstratorConfig, demonstrate
from visual_irl.tasks.onion_sorting import OnionSorting
from visual_irl.tasks.performer import Performance, min_jerk
from visual_irl.types import SIDES
from visual_irl.verbs.evaluate_stage import episodes_of

TASK = OnionSorting()
MIRRORED = OnionSorting().for_side("left")


def perform(seed: int, onions: int, body: int, **config: object) -> Performance:
    scene = TASK.sample_scene(np.random.default_rng(seed), onions)
    return demonstrate(scene, sample_body(body), DemonstratorConfig(seed=seed, **config))


@pytest.fixture(scope="module")
def fine() -> Performance:
    """Two onions, sampled so that differences are derivatives."""
    return perform(1, 2, 0, rate=60.0)


@pytest.mark.long
@pytest.mark.parametrize(("seed", "onions", "body"), [(0, 3, 0), (1, 2, 1), (2, 6, 2), (4, 1, 4), (5, 3, 8)])
def test_every_onion_ends_in_its_bin(seed: int, onions: int, body: int) -> None:
    p = perform(seed, onions, body, rate=10.0)
    ends = {name: path[-1] for name, path in p.demonstration.objects.items()}
    assert TASK.success(p.scene, ends) == {o.name: True for o in p.scene.objects}
    assert set(p.demonstration.held) == {"", *ends}


@pytest.mark.long
def test_onions_in_a_bin_do_not_share_a_place() -> None:
    p = perform(7, 6, 0, rate=5.0)
    ends = np.array([path[-1] for path in p.demonstration.objects.values()])
    gaps = np.linalg.norm(ends[:, None] - ends[None], axis=-1)[np.triu_indices(len(ends), 1)]
    assert gaps.min() > 0.05


@pytest.mark.long
def test_limb_lengths_are_constant(fine: Performance) -> None:
    demo, human = fine.demonstration, fine.human
    upper = np.linalg.norm(demo.keypoint("elbow") - demo.keypoint("shoulder"), axis=1)
    fore = np.linalg.norm(demo.keypoint("wrist") - demo.keypoint("elbow"), axis=1)
    np.testing.assert_allclose(upper, human.upper_length, atol=1e-9)
    np.testing.assert_allclose(fore, human.fore_length, atol=1e-9)


def test_hand_moves_like_a_hand(fine: Performance) -> None:
    demo = fine.demonstration
    dt = demo.t[1] - demo.t[0]
    for name, fastest in (("wrist", 1.5), ("elbow", 1.5), ("shoulder", 0.5)):
        v = np.diff(demo.keypoint(name), axis=0) / dt
        a = np.diff(v, axis=0) / dt
        assert np.linalg.norm(v, axis=1).max() < fastest  # reaching at a table stays below 1.5 m/s
        assert np.linalg.norm(a, axis=1).max() < 15.0  # and below 1.5 g: no jumps of speed
    assert np.linalg.norm(np.diff(demo.keypoint("wrist"), axis=0)[0]) < 1e-6  # starts and ends at rest
    assert np.linalg.norm(np.diff(demo.keypoint("wrist"), axis=0)[-1]) < 1e-6


def test_wrist_stays_within_its_limits(fine: Performance) -> None:
    demo = fine.demonstration
    fore = demo.keypoint("wrist") - demo.keypoint("elbow")
    hand = demo.keypoint("hand_middle_mcp") - demo.keypoint("hand_wrist")
    assert np.degrees(se3.angle_between(fore, hand)).max() < 75.0  # flexion of a healthy wrist, about 75 to 80 degrees


def test_held_onion_moves_rigidly_with_the_hand(fine: Performance) -> None:
    demo, R = fine.demonstration, np.array([T[:3, :3] for T in fine.Ts_world_bone[:, fine.human.rig.index("wrist.R")]])
    for name, path in demo.objects.items():
        held = np.array([h == name for h in demo.held])
        assert held.any()
        inside = np.einsum("tji,tj->ti", R[held], path[held] - demo.keypoint("wrist")[held])
        assert np.ptp(inside, axis=0).max() < 1e-6
        first = int(np.argmax(held))
        assert np.linalg.norm(path[first] - path[first - 1]) < 0.005  # no jump at the grasp
        turned = np.einsum("tji,tjk->tik", R[held], fine.Rs_object[name][held])
        assert np.ptp(turned, axis=0).max() < 1e-6


def test_free_onions_rest_and_fall_only_downwards(fine: Performance) -> None:
    demo = fine.demonstration
    for name, path in demo.objects.items():
        held = np.array([h == name for h in demo.held])
        first, last = int(np.argmax(held)), len(held) - 1 - int(np.argmax(held[::-1]))
        assert (path[:first] == path[0]).all()
        after = path[last + 1 :]
        assert np.ptp(after[:, :2], axis=0).max() == 0.0
        assert (np.diff(after[:, 2]) <= 0.0).all()
        assert after[-1, 2] == pytest.approx(demo.radii[name])  # lies on the floor of its bin


def test_one_onion_at_a_time_and_hand_closed_on_it(fine: Performance) -> None:
    demo = fine.demonstration
    held = np.array(demo.held)
    switches = [h for h, before in zip(held[1:], held[:-1], strict=True) if h and h != before]
    assert sorted(switches) == sorted(demo.objects)  # each is grasped once
    reaching = np.roll(held != "", -24) & (held == "")  # 0.4 s before a grasp
    assert demo.aperture[held != ""].max() < demo.aperture[reaching].max()


def test_every_onion_is_inspected_before_it_is_placed(fine: Performance) -> None:
    demo, place = fine.demonstration, np.array(DemonstratorConfig().inspection_place)
    for name, path in demo.objects.items():
        near = (np.linalg.norm(path - place, axis=1) < 0.04) & (np.array(demo.held) == name)
        assert 0.6 < near.sum() / 60.0 < 1.6  # seconds
        still = near & (np.linalg.norm(path - np.median(path[near], axis=0), axis=1) < 0.001)
        R = fine.Rs_object[name][still]
        assert np.linalg.norm(se3.log_so3(R[0].T @ R[-1])) > 0.3  # it is turned


def test_fingers_stay_above_the_table(fine: Performance) -> None:
    demo = fine.demonstration
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        assert demo.keypoint(f"hand_{finger}_tip")[:, 2].min() > -0.005


@pytest.mark.long
def test_nearest_onion_comes_first() -> None:
    p = perform(2, 4, 0, rate=10.0)
    first = next(h for h in p.demonstration.held if h)
    start = p.demonstration.keypoint("hand_middle_mcp")[0]
    distance = {n: np.linalg.norm(path[0] - start) for n, path in p.demonstration.objects.items()}
    assert distance[first] < min(distance.values()) + 0.05  # measured from the grasp centre, not from the knuckle


def test_durations_are_human() -> None:
    for onions in (1, 3):
        seconds = perform(3, onions, 0, rate=5.0).demonstration.t[-1]
        assert 4.0 < (seconds - 2.0) / onions < 6.0


def test_truth_describes_itself(fine: Performance) -> None:
    demo = fine.demonstration
    assert (demo.frame, demo.task, demo.side) == ("world", "onion_sorting", "right")
    assert set(demo.fixtures) == {"bin_unblemished", "bin_blemished"}
    assert demo.provenance["body"]["seed"] == 0 and demo.provenance["config"]["seed"] == 1
    assert demo.seen.all() and np.isfinite(demo.p_world).all()


def test_seed_decides_everything() -> None:
    a, b, c = (perform(s, 1, 0, rate=5.0).demonstration for s in (11, 11, 12))
    np.testing.assert_array_equal(a.p_world, b.p_world)
    assert a.p_world.shape != c.p_world.shape or not np.allclose(a.p_world, c.p_world)


def test_left_hand_sorts_a_mirrored_table() -> None:
    scene = MIRRORED.sample_scene(np.random.default_rng(0), 3)
    p = demonstrate(scene, sample_body(1), DemonstratorConfig(side="left", rate=10.0), MIRRORED)
    demo = p.demonstration
    assert all(MIRRORED.success(scene, {n: path[-1] for n, path in demo.objects.items()}).values())
    still, moving = (np.ptp(demo.keypoint(f"{side}_wrist"), axis=0).max() for side in SIDES[::-1])
    assert still < 1e-6 < 0.2 < moving


def test_left_hand_cannot_reach_across_the_standard_table() -> None:
    with pytest.raises(Unreachable, match=r"left arm cannot bring 'onion_\d' to 'bin_blemished'.*use the other arm"):
        perform(0, 3, 0, side="left")


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidInput, match="known: left, right"):
        DemonstratorConfig(side="both")
    with pytest.raises(InvalidInput, match="nan Hz"):
        DemonstratorConfig(rate=float("nan"))


@pytest.mark.long
def test_bins_are_moved_by_no_more_than_asked_and_onions_keep_clear_of_them() -> None:
    standard, farthest = OnionSorting().fixtures(), 0.0
    for seed in range(20):
        scene = OnionSorting(moved=0.08).sample_scene(np.random.default_rng(seed), 8)
        for fixture, usual in zip(scene.fixtures, standard, strict=True):
            away = np.abs(fixture.T_world - usual.T_world)
            farthest = max(farthest, away.max())
            assert away[:2, 3].max() <= 0.08 and np.delete(away.ravel(), [3, 7]).max() == 0.0
            for onion in scene.objects:
                beside = np.abs(onion.p_world[:2] - fixture.T_world[:2, 3]) - [fixture.half_x, fixture.half_y]
                assert np.linalg.norm(np.maximum(beside, 0.0)) > 0.04
    assert farthest > 0.07
    with pytest.raises(InvalidInput, match=r"bins moved by 0.3 m: must lie between 0 and 0.1 m"):
        episodes_of("onion_sorting", 0.3)
    with pytest.raises(InvalidInput, match="pouring has none"):
        episodes_of("pouring", 0.05)


def test_min_jerk_is_the_quintic() -> None:
    s = np.linspace(-0.5, 1.5, 2001)
    x = min_jerk(s)
    assert x[0] == 0.0 and x[-1] == 1.0 and (np.diff(x) >= 0).all()
    h = s[1] - s[0]
    assert np.gradient(x, h).max() == pytest.approx(1.875, abs=1e-3)  # peak speed, Flash and Hogan 1985
    inside = (s > 0.01) & (s < 0.99)
    jerk = np.gradient(np.gradient(np.gradient(x, h), h), h)[inside]
    np.testing.assert_allclose(jerk, 60.0 - 360.0 * s[inside] + 360.0 * s[inside] ** 2, atol=0.05)  # O(h^2) with h = 1e-3
