"""The reward, learned from states alone: it prefers what was shown, and its policy sorts new scenes."""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from visual_irl.errors import InvalidInput, LearningFailed, UnreadableFile
from visual_irl.io import artifacts
from visual_irl.io.evaluations import Evaluations
from visual_irl.io.event_file import EventFile
from visual_irl.pipeline import LearnConfig, learn, load_skill, plan
from visual_irl.policy.closed_loop import UNKNOWN, ClosedLoop
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.optimal import plan_episodes
from visual_irl.policy.skill import Thing, decide, released_in
from visual_irl.reward import max_ent
from visual_irl.reward.max_ent import MaxEnt, soft_policy
from visual_irl.reward.model import LinearReward
from visual_irl.skills.sorting import SortingSkill, demonstrated_states, reward_over_time
from visual_irl.tasks import TASKS
from visual_irl.tasks.body import sample_body
from visual_irl.tasks.demonstrator import DemonstratorConfig, demonstrate, perform_sorting
from visual_irl.tasks.episodes import cut_episodes
from visual_irl.tasks.onion_sorting import BLEMISHED, OnionSorting
from visual_irl.tasks.performer import Staging
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.tasks.pick_place_graph import Relations, build_graph
from visual_irl.tasks.scene import Fixture
from visual_irl.types import Demonstration
from visual_irl.verbs import stages

PLACES = Relations((("bin_blemished", (0.08, -0.48, 0.12)), ("bin_unblemished", (0.10, 0.22, 0.12))), (0.10, -0.10, 0.28))


def shown(seed: int, onions: int = 3) -> Demonstration:
    scene = OnionSorting().sample_scene(np.random.default_rng(seed), onions)
    return demonstrate(scene, sample_body(seed), DemonstratorConfig(seed=seed)).demonstration


@pytest.fixture(scope="module")
def demo() -> Demonstration:
    return shown(1)


@pytest.fixture(scope="module")
def skill(demo: Demonstration) -> SortingSkill:
    return learn([demo], LearnConfig())


@dataclass(frozen=True)
class Fruit(PickPlace):
    """Three kinds, told by two attributes."""

    name, label = "fruit", "fruit"
    attributes = ("ripe", "rotten")

    def fixtures(self) -> tuple[Fixture, ...]:
        places = {"crate_plain": (0.10, 0.22), "crate_ripe": (0.08, -0.48), "crate_rotten": (0.43, -0.12)}
        return tuple(self.box(name, xy, (0.5, 0.5, 0.5, 1.0)) for name, xy in places.items())


@pytest.mark.long
def test_three_kinds_go_to_three_places(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "my_fruit", SimpleNamespace(Fruit=Fruit))
    monkeypatch.setitem(TASKS._table, "fruit", ("my_fruit:Fruit", "-"))
    shown = [perform_sorting(Fruit(), Staging(seed=seed, rate=8.0, things=4)).demonstration for seed in (0, 1)]
    kinds = {Fruit().kind_of(a) for demo in shown for a in demo.attributes.values()}
    assert kinds == {0, 1, 2}
    learn(shown, LearnConfig()).save(tmp_path)
    skill = load_skill(tmp_path)
    assert isinstance(skill, SortingSkill) and skill.task == "fruit"
    assert "release_rotten_in_crate_ripe" in skill.reward.feature_names
    loop = ClosedLoop(skill.reward, skill.relations, skill.motion, PolicyConfig())
    for kind, crate in enumerate(("crate_plain", "crate_ripe", "crate_rotten")):
        thing = Thing("fruit_0", np.array([0.2, -0.1, 0.03]), 0.03, float(kind))
        assert loop.looks(replace(thing, attribute=UNKNOWN)) and loop.goal(thing, looked=True) == crate
    with pytest.warns(UserWarning, match=r"are plain or ripe \(by ripe, rotten\): where those belong that are rotten is not"):
        learn([_without(shown[0], "rotten")], LearnConfig())


def _without(demo: Demonstration, attribute: str) -> Demonstration:
    return replace(demo, attributes={n: {**a, attribute: 0.0} for n, a in demo.attributes.items()})


def test_a_thing_without_any_of_the_attributes_is_an_error_and_one_that_is_not_told_is_not_had() -> None:
    assert [Fruit().kind_of(a) for a in ({"ripe": 0.4}, {"rotten": 0.7}, {"ripe": 0.9, "rotten": 0.7})] == [0, 2, 1]
    with pytest.raises(InvalidInput, match=r"no attribute 'ripe' or 'rotten' \(they have: blemished\)"):
        Fruit().kind_of({BLEMISHED: 1.0})


def test_a_skill_from_one_kind_of_onion_is_warned_of(demo: Demonstration) -> None:
    alike = replace(demo, attributes={name: {**each, BLEMISHED: 1.0} for name, each in demo.attributes.items()})
    with pytest.warns(UserWarning, match=r"are marked \(by blemished\): where those belong that are plain is not shown"):
        learn([alike], LearnConfig())


def episode(attribute: float) -> dict[str, object]:
    return {"start": np.array([0.1, -0.2, 0.1]), "object": np.array([0.2, -0.1, 0.03]), "attribute": attribute}


def test_soft_policy_is_a_distribution_over_the_moves_that_exist() -> None:
    graph = build_graph(PLACES, [episode(0.0)])
    reward = torch.randn(graph.before.shape[:3], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    policy = soft_policy(graph, reward, 8).exp()
    going = (graph.successors >= 0).any(dim=1)
    assert torch.allclose(policy.sum(-1)[:, :, going], torch.ones(1, dtype=torch.float64))
    assert (policy[..., graph.successors < 0] == 0).all()


def test_greedy_plan_is_the_best_of_all_plans() -> None:
    graph = build_graph(PLACES, [episode(1.0)])
    reward = torch.randn(graph.before.shape[:3], dtype=torch.float64, generator=torch.Generator().manual_seed(3))

    def best(state: int, steps: int) -> float:
        moves = [m for m in range(graph.successors.shape[1]) if graph.successors[state, m] >= 0]
        if not moves:
            return 0.0
        if steps == 0:
            return -np.inf  # an episode must end
        return max(float(reward[0, state, m]) + best(int(graph.successors[state, m]), steps - 1) for m in moves)

    assert np.isclose(plan_episodes(graph, reward, 4)[0].value, best(graph.start, 4))


def test_gradient_of_the_likelihood_is_the_difference_of_feature_counts() -> None:
    graph = build_graph(PLACES, [episode(1.0)])
    features = PLACES(graph.before, graph.after)
    theta = torch.randn(features.shape[-1], dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.5
    route = [("start", False, False, False), ("object", False, False, False), ("object", True, False, False),
             ("bin_blemished", True, False, False), ("bin_blemished", False, False, True)]  # fmt: skip
    path = [graph.state(*s) for s in route]
    theta.requires_grad_(True)
    log_policy = soft_policy(graph, features @ theta, 8)
    moves = [int((graph.successors[a] == b).nonzero()[0]) for a, b in itertools.pairwise(path)]
    likelihood = sum(log_policy[t, 0, s, m] for t, (s, m) in enumerate(zip(path, moves, strict=False)))
    (gradient,) = torch.autograd.grad(likelihood, theta)
    shown_counts = sum(features[0, s, m] for s, m in zip(path, moves, strict=False))
    expected = torch.zeros_like(theta)
    at = torch.zeros(len(graph.states), dtype=torch.float64)
    at[graph.start] = 1.0
    for t in range(8):
        joint = at[:, None] * log_policy[t, 0].exp().nan_to_num()
        expected = expected + (joint[..., None] * features[0]).sum((0, 1))
        at = torch.zeros_like(at).index_add_(0, graph.successors.clamp(min=0).reshape(-1), joint.reshape(-1))
    assert torch.allclose(gradient, shown_counts - expected, atol=1e-9)


def test_reward_says_what_was_shown(skill: SortingSkill) -> None:
    weight = dict(zip(skill.reward.feature_names, skill.reward.theta.tolist(), strict=True))
    assert weight["release_marked_in_bin_blemished"] > weight["release_marked_in_bin_unblemished"] + 1.0
    assert weight["release_plain_in_bin_unblemished"] > weight["release_plain_in_bin_blemished"] + 1.0
    assert weight["release_inspected"] + weight["inspect"] > 1.0 and weight["travel"] < 0


def test_gradient_agrees_with_finite_differences(skill: SortingSkill) -> None:
    generator = torch.Generator().manual_seed(0)
    s, s_next = torch.rand(2, 5, 9, dtype=torch.float64, generator=generator) * 0.4
    gradient = skill.reward.gradient(s, s_next)
    for j in range(9):
        step = torch.zeros(9, dtype=torch.float64)
        step[j] = 1e-6
        difference = (skill.reward(s, s_next + step) - skill.reward(s, s_next - step)) / 2e-6
        assert torch.allclose(gradient[:, j], difference, atol=1e-6)  # central difference, h = 1e-6


def test_skill_round_trip_and_garbage(skill: SortingSkill, tmp_path: Path) -> None:
    skill.save(tmp_path)
    back = load_skill(tmp_path)
    assert torch.equal(back.reward.theta, skill.reward.theta) and back.reward.relations == skill.reward.relations
    assert all(np.array_equal(back.motion.shape[k], v) for k, v in skill.motion.shape.items())
    (tmp_path / "reward.safetensors").write_bytes(b"nothing")
    with pytest.raises(UnreadableFile, match="visual-irl learn"):
        load_skill(tmp_path)


def test_episodes_are_cut_with_their_inspection(demo: Demonstration) -> None:
    hand = demo.keypoint("hand_middle_mcp")
    episodes = cut_episodes(demo, hand)
    assert [e.name for e in episodes] == list(dict.fromkeys(h for h in demo.held if h))
    task = OnionSorting()
    assert all(e.goal == task.goal(e.attributes) and e.dwell is not None for e in episodes)
    assert all(e.grasp < e.dwell[0] < e.dwell[1] < e.release for e in episodes if e.dwell)


@pytest.mark.long
@pytest.mark.parametrize("rate", [5.0, 30.0])
def test_every_inspection_is_seen_at_any_frame_rate(rate: float) -> None:
    for seed in range(6):
        scene = OnionSorting().sample_scene(np.random.default_rng(seed), 3)
        demo = demonstrate(scene, sample_body(seed), DemonstratorConfig(seed=seed, rate=rate)).demonstration
        hand = demo.keypoint("hand_middle_mcp") + np.random.default_rng(seed).normal(0.0, 0.005, (len(demo.t), 3))
        assert all(e.dwell is not None for e in cut_episodes(demo, hand)), seed


def test_reward_rises_along_the_demonstration(skill: SortingSkill, demo: Demonstration) -> None:
    reward, features = reward_over_time(skill.reward, demo)
    assert reward.shape == (len(demo.t) - 1,) and np.isfinite(features).all()
    releases = features[:, [n.startswith("release_") for n in skill.reward.feature_names]].sum(axis=1)
    let_go = [i for i in range(len(reward)) if demo.held[i] and demo.held[i + 1] != demo.held[i]]
    assert np.allclose(np.nonzero(releases > 0.5)[0], let_go)
    assert all(reward[i] > 1.0 for i in let_go) and reward.sum() > 0.0


def test_reward_does_not_depend_on_the_frame_rate(skill: SortingSkill, demo: Demonstration) -> None:
    import dataclasses

    keep = np.arange(0, len(demo.t), 2)
    thinned = dataclasses.replace(
        demo, t=demo.t[keep], p_world=demo.p_world[keep], covariance=demo.covariance[keep], seen=demo.seen[keep],
        aperture=demo.aperture[keep], objects={n: p[keep] for n, p in demo.objects.items()},
        held=tuple(demo.held[k] for k in keep),
    )  # fmt: skip
    full, half = (reward_over_time(skill.reward, d)[0] for d in (demo, thinned))
    assert abs(full.sum() - half.sum()) < 0.05 * np.abs(full).sum()  # the path gets a little shorter, the events stay


def test_without_a_grasp_there_is_nothing_to_learn(demo: Demonstration) -> None:
    import dataclasses

    idle = dataclasses.replace(demo, held=("",) * len(demo.t))
    with pytest.raises(LearningFailed, match="no object was ever held"):
        learn([idle], LearnConfig())


def test_impossible_sequence_is_refused(demo: Demonstration) -> None:
    graph = build_graph(PLACES, [episode(0.0)])
    broken = [graph.start, graph.state("bin_blemished", True, False)]
    with pytest.raises(LearningFailed, match="no move leads"):
        MaxEnt().build().learn(PLACES, graph, [broken])


def test_a_learner_that_was_killed_goes_on_to_the_same_skill(
    demo: Demonstration, skill: SortingSkill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, out = tmp_path / "demo.npz", tmp_path / "skill"
    artifacts.save_demonstration(file, demo)
    scalar, computed = EventFile.scalar, []

    def killed(curves: EventFile, tag: str, value: float, step: int) -> None:
        scalar(curves, tag, value, step)
        if step == 5:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(EventFile, "scalar", killed)
        stages.learn([file], out, "max_ent")
    assert stages.checkpoint_of(out).is_file() and not (out / "reward.safetensors").exists()
    artifacts.save_demonstration(tmp_path / "other.npz", shown(2))
    with pytest.raises(InvalidInput, match="leave --resume out"):
        stages.learn([tmp_path / "other.npz"], out, "max_ent", resume=True)

    def counted(*arguments: Any) -> Any:
        computed.append(1)
        return soft_policy(*arguments)

    monkeypatch.setattr(max_ent, "soft_policy", counted)
    again = stages.learn([file], out, "max_ent", resume=True)
    assert torch.equal(again.reward.theta, skill.reward.theta)  # to the last bit
    resumed = len(computed)
    stages.learn([file], out, "max_ent")
    assert len(computed) - resumed == resumed + 5  # the five were not computed again
    assert not stages.checkpoint_of(out).exists()


def test_a_broken_checkpoint_and_a_loss_that_is_not_finite_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    path.write_bytes(b"pickle")
    with pytest.raises(UnreadableFile, match="evaluations"):
        Evaluations(path, "a", resume=True)
    asked = Evaluations(path, "a")
    asked.ask(np.zeros(2), lambda w: (1.0, w + 1.0))
    asked.ask(np.ones(2), lambda w: (np.nan, w))
    again = Evaluations(path, "a", resume=True)
    assert len(again) == 1 and again.best is not None and again.best.tolist() == [0.0, 0.0]  # the last good one
    loss, gradient = again.ask(np.zeros(2), lambda w: pytest.fail("it is known"))
    assert loss == 1.0 and gradient.tolist() == [1.0, 1.0]

    graph = build_graph(PLACES, [episode(0.0)])
    end = next(k for k in range(len(graph.states)) if (graph.successors[k] < 0).all())
    move = next(k for k in range(len(graph.states)) if end in graph.successors[k].tolist())
    graph = replace(graph, start=move, before=torch.full_like(graph.before, torch.nan))
    with pytest.raises(LearningFailed, match="the loss became nan"):
        MaxEnt().build().learn(PLACES, graph, [[move, end]])


@pytest.mark.long
def test_policy_sorts_new_scenes_over_ten_seeds() -> None:
    """One demonstration a seed; the policy is asked about three new scenes each. 95 % Wilson interval above 0.9."""
    right = total = 0
    for seed in range(10):
        learned = learn([shown(seed)], LearnConfig())
        for k in range(3):
            scene = OnionSorting().sample_scene(np.random.default_rng(1000 + 10 * seed + k), 4)
            things = [Thing(o.name, o.p_world, o.radius, o.attributes[BLEMISHED]) for o in scene.objects]
            reward = LinearReward(learned.reward.relations, learned.reward.theta)
            for thing, best in decide(reward, learned.reward.relations, learned.motion.rest, things):
                goal = OnionSorting().goal({BLEMISHED: thing.attribute})
                looked = best.moves.index("go_inspect") if "go_inspect" in best.moves else len(best.moves)
                right += best.moves[-2:] == (f"go_{goal}", "release") and looked < len(best.moves) - 2
                total += 1
    share, z = right / total, 1.96
    low = (share + z * z / (2 * total) - z * np.sqrt(share * (1 - share) / total + z * z / (4 * total**2))) / (
        1 + z * z / total
    )
    assert low > 0.9, f"{right} of {total}"


def test_things_farther_away_than_demonstrated_ones_are_sorted_too(skill: SortingSkill) -> None:
    """As a left-handed person's lie, or a whole table away."""
    scene = OnionSorting().sample_scene(np.random.default_rng(5), 6)
    for away in (np.array([1.0, -1.0, 1.0]), np.array([1.0, 4.0, 1.0])):
        things = [Thing(o.name, away * o.p_world, o.radius, o.attributes[BLEMISHED]) for o in scene.objects]
        decisions = decide(skill.reward, skill.relations, skill.motion.rest, things)
        goals = [
            (released_in(best, skill.relations), OnionSorting().goal({BLEMISHED: thing.attribute})) for thing, best in decisions
        ]
        assert len(goals) == 6 and all(is_in == belongs for is_in, belongs in goals)


def test_plan_grasps_at_the_object_and_keeps_clear_of_the_table(skill: SortingSkill, demo: Demonstration) -> None:
    hand_plan, arm = plan(skill, demo, PolicyConfig())
    p = hand_plan.Ts_world_hand[:, :3, 3]
    assert p[:, 2].min() > 0.015
    for name, path in demo.objects.items():
        first = hand_plan.held.index(name)
        assert np.linalg.norm(p[first - 1] - path[0]) < 2e-3  # rounding of the path's corners by the smoothing window
        assert hand_plan.grip[first - 1] == 1.0
    assert np.abs(np.diff(p, axis=0)).max() * PolicyConfig().rate < 1.5, "no faster than a quick human hand [m/s]"
    assert np.isfinite(arm.q).all()


def test_demonstrated_states_follow_the_graph(demo: Demonstration) -> None:
    hand = demo.keypoint("hand_middle_mcp")
    graph, sequences = demonstrated_states(PLACES, [hand], [cut_episodes(demo, hand)])
    assert len(sequences) == 3 and all(graph.states[s[-1]][3] for s in sequences)
