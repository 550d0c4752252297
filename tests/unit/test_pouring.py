"""Pouring: the scripted person, what is learned from its states, and what the policy makes of it."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from visual_irl import se3
from visual_irl.errors import InvalidInput, LearningFailed, NoPathFound, Unreachable, UnreadableFile
from visual_irl.io import artifacts
from visual_irl.io.tensors import save_tensors
from visual_irl.mapping.feasibility import Outlook
from visual_irl.pipeline import LearnConfig, learn, load_skill
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.motion_file import Packed, packed_motion
from visual_irl.policy.optimal import plan_episodes
from visual_irl.policy.pour_loop import PourLoop
from visual_irl.policy.pour_path import Way, ways
from visual_irl.skills import pour_ways
from visual_irl.skills.pouring import PouringSkill
from visual_irl.tasks.body import sample_body
from visual_irl.tasks.performer import Performance
from visual_irl.tasks.pour_episode import cut_pouring
from visual_irl.tasks.pour_graph import STATE, PourRelations, build_graph
from visual_irl.tasks.pouring import BOTTLE, CUP, ZONE, Pouring
from visual_irl.tasks.pouring_demonstrator import PouringConfig, demonstrate_pouring
from visual_irl.tasks.scene import Outcome, Scene, SeenThing
from visual_irl.types import Demonstration, HandPlan, HumanArmTrajectory
from visual_irl.verbs import map_stage

UP = np.array([0.0, 0.0, 1.0])


def perform(seed: int, body: int = 0, side: str = "right", **config: float) -> Performance:
    scene = Pouring().for_side(side).sample_scene(np.random.default_rng([seed, 0]))
    return demonstrate_pouring(scene, sample_body(body), PouringConfig(seed=seed, side=side, **config))


def lean(axis: np.ndarray) -> np.ndarray:
    return np.arccos(np.clip(axis[:, 2], -1.0, 1.0))


@pytest.fixture(scope="module")
def shown() -> list[Performance]:
    return [perform(seed, rate=12.0) for seed in range(3)]


@pytest.fixture(scope="module")
def skill(shown: list[Performance]) -> PouringSkill:
    return learn([p.demonstration for p in shown], LearnConfig())


def test_places_are_apart_and_differ() -> None:
    scenes = [Pouring().sample_scene(np.random.default_rng(seed)) for seed in range(20)]
    for scene in scenes:
        places = [T[:2, 3] for T in (*(v.T_world for v in scene.vessels), scene.zone(ZONE).T_world)]
        assert min(np.linalg.norm(places[i] - places[j]) for i, j in ((0, 1), (0, 2), (1, 2))) >= Pouring().clearance
    assert len({scene.vessel(CUP).T_world[0, 3] for scene in scenes}) == 20
    with pytest.raises(InvalidInput, match="widen the area"):
        dataclasses.replace(Pouring(), clearance=1.0).sample_scene(np.random.default_rng(0))


def test_success_is_counted_where_things_are() -> None:
    task = Pouring()
    scene = task.sample_scene(np.random.default_rng(0))
    cup, zone = scene.vessel(CUP).T_world, scene.zone(ZONE).T_world
    beside = cup[:3, 3] + [0.06, 0.0, 0.03]
    grains = np.array([cup[:3, 3] + [0.02, 0.0, 0.02]] * 3 + [beside])
    standing = se3.transform(np.eye(3), zone[:3, 3] + [0.02, 0.0, 0.0])
    lying = se3.transform(se3.exp_so3(np.array([1.5, 0.0, 0.0])), zone[:3, 3] + [0.02, 0.0, 0.025])
    good, bad = (Outcome({BOTTLE: T, CUP: cup}, grains) for T in (standing, lying))
    assert task.poured(scene, good) == 0.75
    assert task.succeeded(scene, good) == {"poured": False, "disposed_upright": True}
    assert not task.disposed(scene, bad)
    moved = Outcome({BOTTLE: standing, CUP: cup @ se3.transform(np.eye(3), np.array([0.1, 0.0, 0.0]))}, grains)
    assert task.poured(scene, moved) == 0.25  # the cup was pushed away: only the grain beside it is in it now


@pytest.mark.parametrize(("seed", "body", "side"), [(0, 0, "right"), (3, 4, "right"), (5, 2, "left")])
def test_the_person_carries_upright_pours_over_the_cup_and_disposes(seed: int, body: int, side: str) -> None:
    p = perform(seed, body, side, rate=12.0)
    demo, e = p.demonstration, cut_pouring(p.demonstration)
    assert (e.vessel, e.receiver, e.zone) == (BOTTLE, CUP, ZONE)
    tilt = lean(demo.turns[BOTTLE][:, :, 2])
    assert tilt[: e.tip].max() < 0.15 and tilt[e.upright :].max() < 0.15 and tilt.max() > 2.0
    mouth = demo.objects[BOTTLE] + demo.heights[BOTTLE] * demo.turns[BOTTLE][:, :, 2]
    off = mouth[e.full : e.back] - demo.objects[CUP][e.full : e.back] - demo.heights[CUP] * UP
    assert (np.linalg.norm(off[:, :2], axis=1) < p.scene.vessel(CUP).radius).all() and (off[:, 2] > 0.0).all()
    end = Outcome({BOTTLE: se3.transform(demo.turns[BOTTLE][-1], demo.objects[BOTTLE][-1]), CUP: np.eye(4)}, np.zeros((0, 3)))
    assert Pouring().disposed(p.scene, end)
    speed = np.linalg.norm(np.diff(demo.keypoint("wrist"), axis=0), axis=1) * 12.0
    assert speed.max() < 1.5 and speed[0] < 1e-6 and speed[-1] < 1e-6  # [m/s] as people reach
    fore, hand = demo.keypoint("wrist") - demo.keypoint("elbow"), demo.keypoint("hand_middle_mcp") - demo.keypoint("hand_wrist")
    assert np.degrees(se3.angle_between(fore, hand)).max() < 75.0  # a healthy wrist


@pytest.mark.long
def test_the_bottle_is_rigid_in_the_hand(shown: list[Performance]) -> None:
    p = shown[0]
    held = np.array(p.demonstration.held) == BOTTLE
    R = p.Ts_world_bone[held, p.human.rig.index("wrist.R"), :3, :3]
    inside = np.einsum("tji,tj->ti", R, p.demonstration.objects[BOTTLE][held] - p.demonstration.keypoint("wrist")[held])
    assert np.ptp(inside, axis=0).max() < 1e-6


def test_a_demonstration_with_turns_survives_its_file(shown: list[Performance], tmp_path: Path) -> None:
    demo = shown[0].demonstration
    artifacts.save_demonstration(tmp_path / "d.npz", demo)
    back = artifacts.load_demonstration(tmp_path / "d.npz")
    assert np.array_equal(back.turns[BOTTLE], demo.turns[BOTTLE]) and back.heights == demo.heights


def test_features_do_not_depend_on_the_frame_rate() -> None:
    rng = np.random.default_rng(0)
    knots = rng.uniform(0.0, 0.3, (4, len(STATE)))
    knots[:, 12:] = [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [2.0, 1.0, 1.0], [0.0, 0.0, 1.0]]
    knots[:, 6:12] = knots[0, 6:12]
    relations = PourRelations("bottle", "cup", "disposal")

    def total(pieces: int) -> np.ndarray:
        rows = [knots[0]]
        for a, b in itertools.pairwise(knots):
            for k in range(1, pieces + 1):
                row = a + (b - a) * k / pieces
                row[13:] = b[13:] if k == pieces else a[13:]  # flags change at once
                rows.append(row)
        s = torch.from_numpy(np.array(rows))
        return relations(s[:-1], s[1:]).sum(0).numpy()

    coarse, fine = total(100), total(400)
    assert np.allclose(coarse, fine, atol=0.03), coarse - fine  # quadrature of tilt times travel


def test_reward_says_what_was_shown(skill: PouringSkill) -> None:
    weight = dict(zip(skill.reward.feature_names, skill.reward.theta.tolist(), strict=True))
    assert weight["release_in_zone"] > weight["release_elsewhere"] + 1.0
    assert weight["emptied_into_receiver"] > 0.5 and weight["tip_elsewhere"] < -0.5 and weight["tip_in_vain"] < 0.0
    assert weight["carry_tipped"] < -0.5 and weight["release_tipped"] < -0.5 and weight["travel"] < 0.0


def test_policy_pours_in_ten_new_scenes_after_any_one_demonstration(shown: list[Performance]) -> None:
    """The learned reward decides in ten scenes, in each of three situations."""
    done = {(False, False): ("take", "pour", "dispose"), (True, False): ("pour", "dispose"), (True, True): ("dispose",)}
    right = total = 0
    for performance in shown:
        learned = learn([performance.demonstration], LearnConfig())
        loop = learned.loop(PolicyConfig())
        for seed in range(1000, 1010):
            view = learned.view(_still(performance.demonstration, Pouring().sample_scene(np.random.default_rng(seed))))
            for (held, emptied), expected in done.items():
                right += loop.acts(dataclasses.replace(view, held=held, emptied=emptied)) == expected
                total += 1
    assert right >= 0.95 * total, f"{right} of {total}"


def _still(first: Demonstration, scene: Scene) -> Demonstration:
    """Two frames of a scene in which nothing happens."""
    keep = slice(0, 2)
    objects = {name: np.tile(scene.vessel(name).T_world[:3, 3], (2, 1)) for name in (BOTTLE, CUP)}
    return dataclasses.replace(
        first, t=first.t[keep], p_world=first.p_world[keep], covariance=first.covariance[keep], seen=first.seen[keep],
        aperture=first.aperture[keep], held=first.held[keep], objects=objects,
        turns={n: R[keep] for n, R in first.turns.items()}, fixtures={ZONE: scene.zone(ZONE).T_world},
    )  # fmt: skip


def test_the_motion_is_the_persons(skill: PouringSkill) -> None:
    shown = PouringConfig()
    assert skill.pour.grip_height == pytest.approx(shown.grip_height, abs=0.005)
    assert skill.pour.tilt_max == pytest.approx(shown.tilt, rel=0.03) and skill.pour.side == 1.0
    along, above = skill.pour.mouth_at(np.array([0.3, 2.0]))
    assert along == pytest.approx([-shown.behind] * 2, abs=0.004)
    assert above == pytest.approx([shown.mouth_high, shown.mouth_low], abs=0.006)
    assert (np.diff(skill.pour.out) >= 0.0).all() and (np.diff(skill.pour.back) <= 0.0).all()


OTHER = Way(take=0.35, pour=-0.7, dispose=1.05, mirrored=True, flipped=True, raised=0.015, pitch=0.3)


@pytest.mark.parametrize("way", [Way(), OTHER])
def test_the_path_carries_upright_and_tips_over_the_cup(skill: PouringSkill, shown: list[Performance], way: Way) -> None:
    view = skill.view(shown[1].demonstration)
    plan = skill.loop(PolicyConfig()).whole(view, way, ("take", "pour", "dispose"))
    thumb, fingers = (-1.0 if way.flipped else 1.0) * plan.Ts_world_hand[:, :3, 1], plan.Ts_world_hand[:, :3, 2]
    axis = np.cos(way.pitch) * thumb - np.sin(way.pitch) * fingers
    tilt = lean(axis)
    assert fingers[tilt < 0.01, 2] == pytest.approx(-np.sin(way.pitch), abs=0.01)
    phases = np.array(plan.phase)
    assert tilt[~np.isin(phases, ["pour", "back"])].max() < 0.02  # rounding of corners
    assert tilt.max() == pytest.approx(skill.pour.tilt_max, abs=0.02)
    grip = skill.pour.grip_height + way.raised
    foot = plan.Ts_world_hand[:, :3, 3] - grip * axis
    held = np.array(plan.held) == BOTTLE
    assert np.linalg.norm(foot[np.argmax(held)] - view.vessel.p_world) < 0.004
    last = len(held) - 1 - int(np.argmax(held[::-1]))
    assert np.linalg.norm(foot[last] - view.zone) < 0.004
    most = int(np.argmax(tilt))
    mouth = foot[most] + view.vessel.height * axis[most]
    assert np.linalg.norm((mouth - view.receiver.p_world)[:2]) < 0.04 and mouth[2] > view.receiver.height
    persons = skill.loop(PolicyConfig()).excerpt(view, Way(), "take").Ts_world_hand[0, :3, 2]
    turned = se3.angle_between(fingers[0] * [1.0, 1.0, 0.0], persons)  # from the first frame on as it will take
    assert turned == pytest.approx(abs(way.take), abs=1e-6)


@pytest.mark.long
def test_the_persons_way_comes_first() -> None:
    every = list(ways())
    assert every[0] == Way() and len(set(every)) == len(every)
    assert all(a.strangeness <= b.strangeness for a, b in itertools.pairwise(every))


@pytest.mark.long
def test_of_the_first_ways_that_can_be_gone_the_most_human_is_first(skill: PouringSkill, shown: list[Performance]) -> None:
    demo = shown[0].demonstration
    looked: list[HumanArmTrajectory] = []

    def pitched(arm: HumanArmTrajectory) -> Outlook:
        """A robot that can go only where its fingers point down from the first, and later ways the better."""
        looked.append(arm)
        can = bool(arm.Ts_world_hand[0, 2, 2] < -0.3)
        return Outlook("" if can else "the wrist is in the table", 1e4 - len(looked), can)

    _, arm = next(skill.ways(demo, PolicyConfig(), pitched))
    assert arm.Ts_world_hand[0, 2, 2] == pytest.approx(-np.sin(0.4))
    assert np.array_equal(arm.Ts_world_hand, looked[-1].Ts_world_hand)  # the last of those that were compared


def test_the_search_for_a_way_ends_after_so_many_looks(
    skill: PouringSkill, shown: list[Performance], monkeypatch: pytest.MonkeyPatch
) -> None:
    view, loop = skill.view(shown[0].demonstration), skill.loop(PolicyConfig())
    acts = loop.acts(view)
    alone, whole = loop.excerpt(view, Way(), acts[0]), loop.whole(view, Way(), acts)
    monkeypatch.setattr(pour_ways, "MOST", 40)
    monkeypatch.setattr(PourLoop, "excerpt", lambda *_: alone)
    monkeypatch.setattr(PourLoop, "whole", lambda *_: whole)
    looked: list[bool] = []

    def late(plan: HandPlan, from_here: bool) -> Outlook:
        """Each act alone can be done, and the whole only in the last ways that are looked at."""
        looked.append(plan is whole)
        return Outlook("" if plan is alone or len(looked) > 36 else "the cup is in the way", 0.0, True)

    reasons: list[str] = []
    found = pour_ways.possible_ways(loop, view, acts, late, None, reasons)
    assert next(found) != Way() and len(looked) == 40, "what is possible of what was looked at until then is given"
    with pytest.raises(NoPathFound, match="take: after 40 looks"):
        list(found)
    assert len(looked) == 40 and set(reasons) == {"the cup is in the way"}


def test_map_tells_of_a_search_that_was_ended_and_what_to_change(
    skill: PouringSkill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "shown.npz"
    artifacts.save_demonstration(file, perform(14, rate=12.0).demonstration)
    skill.save(tmp_path / "skill")
    monkeypatch.setattr(pour_ways, "MOST", 20)
    monkeypatch.setattr(map_stage, "look", lambda *_: Outlook("the cup is in the way", 0.0, False))
    with pytest.raises(Unreachable, match=r"'ur5e' .* the last because take: after 20 looks .* is sought: move .*--mount"):
        map_stage.map_arm("ur5e", tmp_path / "t.npz", demonstration=file, skill=tmp_path / "skill")


@pytest.mark.long
def test_map_says_why_there_is_no_way(skill: PouringSkill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, out = tmp_path / "shown.npz", tmp_path / "t.npz"
    artifacts.save_demonstration(file, perform(14, rate=12.0).demonstration)
    skill.save(tmp_path / "skill")
    monkeypatch.setattr(map_stage, "look", lambda *_: Outlook("the cup is in the way", 0.0, False))
    monkeypatch.setattr(pour_ways, "ways", lambda: itertools.islice(ways(), 400))
    with pytest.raises(Unreachable, match=r"'ur5e' can do this in none of .* the cup is in the way.*--mount"):
        map_stage.map_arm("ur5e", out, demonstration=file, skill=tmp_path / "skill")
    assert not out.exists()


def test_skill_round_trip_and_garbage(skill: PouringSkill, tmp_path: Path) -> None:
    skill.save(tmp_path)
    back = load_skill(tmp_path)
    assert isinstance(back, PouringSkill) and torch.equal(back.reward.theta, skill.reward.theta)
    assert np.array_equal(back.pour.mouth, skill.pour.mouth) and back.pour.headings == skill.pour.headings
    parts = {"library": skill.motion.packed(), "vessel": Packed({}, {"seconds": [1, 2]})}
    save_tensors(tmp_path / "motion.safetensors", *packed_motion(parts))
    with pytest.raises(UnreadableFile, match="visual-irl learn"):
        load_skill(tmp_path)
    (tmp_path / "motion.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnreadableFile, match="visual-irl learn"):
        load_skill(tmp_path)


def test_what_is_no_pouring_is_refused(shown: list[Performance]) -> None:
    demo = shown[0].demonstration
    with pytest.raises(LearningFailed, match="no object was ever held"):
        learn([dataclasses.replace(demo, held=("",) * len(demo.t))], LearnConfig())
    with pytest.raises(LearningFailed, match="how 'bottle' is turned"):
        learn([dataclasses.replace(demo, turns={})], LearnConfig())
    upright = {name: np.tile(np.eye(3), (len(demo.t), 1, 1)) for name in demo.turns}
    with pytest.raises(LearningFailed, match="nothing is poured"):
        learn([dataclasses.replace(demo, turns=upright)], LearnConfig())
    far = demo.objects | {CUP: demo.objects[CUP] + [0.5, 0.0, 0.0]}
    with pytest.raises(LearningFailed, match="tipped over nothing"):
        learn([dataclasses.replace(demo, objects=far)], LearnConfig())
    with pytest.raises(LearningFailed, match="one task"):
        learn([demo, dataclasses.replace(demo, task="onion_sorting")], LearnConfig())


def test_a_scene_of_seen_things_needs_them_all() -> None:
    seen = {BOTTLE: SeenThing(np.array([0.2, 0.0, 0.0]), 0.025)}
    with pytest.raises(InvalidInput, match="no 'cup' was seen"):
        Pouring().scene_of(seen, {ZONE: np.eye(4)})
    both = seen | {CUP: SeenThing(np.array([0.2, 0.2, 0.0]), 0.05)}
    assert Pouring().scene_of(both, {ZONE: np.eye(4)}).vessel(CUP).T_world[1, 3] == 0.2


def test_every_plan_on_the_graph_ends() -> None:
    p = np.zeros(3)
    graph = build_graph([{"start": p, "vessel": p + 0.1, "receiver": p + 0.2, "zone": p + 0.3, "tilt": 2.0}])
    reward = torch.randn(graph.before.shape[:3], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert plan_episodes(graph, reward, 8)[0].moves[-1] in ("stop", "release")
