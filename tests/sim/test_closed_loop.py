"""A skill sorts onions step by step in MuJoCo; success is where the onions lie."""

from dataclasses import replace

import numpy as np
import pytest

from visual_irl.assets import asset_path
from visual_irl.errors import LearningFailed, WouldCollide
from visual_irl.evaluation.episodes import likeness
from visual_irl.evaluation.episodes.closed_loop import Cell, ClosedLoopConfig, Worked
from visual_irl.evaluation.episodes.sorting_episodes import sort_things
from visual_irl.evaluation.spread import spread
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.io import artifacts
from visual_irl.mapping.retarget import follow
from visual_irl.pipeline import LearnConfig, learn
from visual_irl.policy.closed_loop import UNKNOWN, ClosedLoop
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.policy.skill import Thing
from visual_irl.reward.model import LinearReward
from visual_irl.robots import load_robot
from visual_irl.robots.obstacles import Obstacle
from visual_irl.skills.parts import arm_for
from visual_irl.skills.sorting import SortingSkill, relations_at
from visual_irl.tasks.onion_sorting import BLEMISHED, OnionSorting

pytestmark = pytest.mark.long

TASK = OnionSorting()


@pytest.fixture(scope="module")
def skill() -> SortingSkill:
    truth = asset_path("models/recordings/onion_sorting") / "truth.npz"
    return learn([artifacts.load_demonstration(truth)], LearnConfig())


def closed_loop(skill: SortingSkill, inspect: bool = True) -> ClosedLoop:
    relations = relations_at(skill.reward.relations, {f.name: f.T_world for f in TASK.fixtures()})
    if not inspect:
        relations = replace(relations, inspect=None)
    return ClosedLoop(LinearReward(relations, skill.reward.theta), relations, skill.motion, PolicyConfig())


@pytest.mark.parametrize(("name", "alike"), [("panda", False), ("ur5e", True)])
def test_every_onion_ends_in_its_bin_beside_the_others(skill: SortingSkill, name: str, alike: bool) -> None:
    scene = TASK.sample_scene(np.random.default_rng(3), 2)
    if alike:
        scene = replace(scene, objects=tuple(replace(o, attributes={BLEMISHED: 0.0}) for o in scene.objects))
    shown: list[MujocoExecutor] = []
    result = sort_things(skill, load_robot(name), TASK, scene, 3, on_frame=shown.append)
    a, b = shown[-1].object_positions().values()
    assert max(a[2], b[2]) < 0.035 and np.linalg.norm(a - b) > 0.05  # on the floor: neither lies on the other
    assert result.placed == {o.name: True for o in scene.objects}
    assert not result.refused and not result.collisions
    ours, hand = likeness.summary(result.ours), likeness.summary(result.hand_only)
    assert ours["upper_deg"] < hand["upper_deg"] and ours["fore_deg"] < hand["fore_deg"]
    assert 0.9 < ours["path_ratio"] < 1.1  # the hand goes the person's way
    planned = likeness.summary(result.planned)
    assert ours["refused"] == 0.0 and abs(ours["upper_deg"] - planned["upper_deg"]) < 1.0
    executed = likeness.summary(result.hand_only_executed)  # it is as it was planned, but for what the drives make of it
    assert len(result.hand_only_executed) == sum(not m.refused for m in result.hand_only)
    assert 0.0 < abs(executed["upper_deg"] - hand["upper_deg"]) < 1.0 and abs(executed["sparc"] - hand["sparc"]) < 0.05
    if name == "panda":  # as smooth and as fast as what looks at the hand alone
        assert planned["sparc"] > hand["sparc"] - 0.005 and planned["time_ratio"] < hand["time_ratio"] + 0.003
        assert ours["time_ratio"] < 1.02


def test_an_episode_is_the_same_in_a_process_of_its_own(skill: SortingSkill) -> None:
    work = (skill, load_robot("ur5e"), TASK, TASK.sample_scene(np.random.default_rng(6), 1), 6)
    here = sort_things(*work)  # after the episodes above
    ((_, there),) = spread(sort_things, [work])
    assert here.placed == there.placed and len(here.ours) == len(there.ours)
    for a, b in zip(here.ours, there.ours, strict=True):  # as measured: to the last bit
        assert np.array_equal(a.q_end, b.q_end) and a.smoothness == b.smoothness


def test_an_onion_that_is_lost_is_taken_again(skill: SortingSkill) -> None:
    scene = TASK.sample_scene(np.random.default_rng(4), 1)
    (onion,) = scene.objects
    fallen = []

    def knock_out_of_the_hand(executor) -> None:
        p = executor.object_positions()[onion.name]
        if p[2] > 0.12 and not fallen:  # lifted for the first time: it slips, back to the table
            joint = int(executor.model.body(onion.name).jntadr[0])
            address = executor.model.jnt_qposadr[joint]
            executor.data.qpos[address : address + 3] = onion.p_world + [0.02, -0.03, 0.0]
            fallen.append(p)

    result = sort_things(skill, load_robot("panda"), TASK, scene, seed=4, on_frame=knock_out_of_the_hand)
    assert fallen
    assert result.lost == 1
    assert result.placed == {onion.name: True}


def test_a_step_that_cannot_be_done_leaves_the_arm_where_it_is_and_the_work_goes_on(
    skill: SortingSkill, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = TASK.sample_scene(np.random.default_rng(4), 1)
    refusals = []

    def inspect_once_in_vain(self, thing):
        step = taken(self, thing)
        if not refusals:  # far out of reach, after the thing was taken
            Ts = step.plan.Ts_world_hand.copy()
            Ts[1:, 0, 3] += 3.0
            refusals.append(thing.name)
            step = replace(step, plan=replace(step.plan, Ts_world_hand=Ts))
        return step

    taken = ClosedLoop.inspect
    monkeypatch.setattr(ClosedLoop, "inspect", inspect_once_in_vain)
    result = sort_things(skill, load_robot("panda"), TASK, scene, seed=4)
    assert len(refusals) == 1 and len(result.refused) == 1 and refusals[0] in result.refused[0]
    assert result.placed == {refusals[0]: True}


def test_a_step_that_would_collide_is_repaired_unless_the_hand_is_to_be_steady(skill: SortingSkill) -> None:
    robot, scene = load_robot("ur5e"), TASK.sample_scene(np.random.default_rng(4), 1)
    (onion,) = scene.objects
    executor = MujocoExecutor(scene, robot, seed=4)
    cell = Cell(executor, closed_loop(skill), ClosedLoopConfig())
    step = cell.loop.take(Thing(onion.name, onion.p_world, onion.radius, 0.0), [], look=True)
    arm = arm_for(skill.motion, step.plan)
    followed = follow(arm, robot, cell.T_world_base, ClosedLoopConfig().retarget)
    trajectory, _ = followed.timed(step.samples)
    tools = np.array([(cell.T_world_base @ robot.fk(q, robot.tcp_frame))[:3, 3] for q in trajectory.q])
    far = np.min([np.linalg.norm(tools - end, axis=1) for end in tools[[0, -1]]], axis=0)  # from both ends: they are kept
    ball = Obstacle.sphere("ball", tools[far.argmax()], 0.02)
    cell.world = replace(cell.world, obstacles=(*cell.world.obstacles, ball))
    done = (robot, cell.T_world_base, arm.cut(slice(0, step.samples)), np.array(robot.home), ClosedLoopConfig().retarget)
    assert likeness.hand_only(*done, cell.fixed, scene).executed is not None
    refused = likeness.hand_only(*done, cell.world, scene)  # judged by the same guard
    assert "ball" in refused.planned.refused and refused.executed is None
    worked = Worked()
    with pytest.raises(WouldCollide, match="ball"):
        cell.carry_out(step, worked, None, steady=True)
    cell.carry_out(step, worked, None)
    assert worked.repaired == 1 and len(worked.ours) == 1
    assert executor.object_positions()[onion.name][2] > 0.08  # it was taken all the same


def test_the_bin_is_decided_by_what_was_seen_and_not_before(skill: SortingSkill) -> None:
    loop = closed_loop(skill)
    thing = Thing("onion", np.array([0.2, -0.1, 0.03]), 0.03, UNKNOWN)
    assert loop.looks(thing)
    ends = [closed.bring(replace(thing, attribute=a), True, []).plan for a in (0.0, 1.0) for closed in [closed_loop(skill)]]
    let_go = [plan.Ts_world_hand[plan.phase.index("release"), 1, 3] for plan in ends]
    assert let_go[0] > 0.1 and let_go[1] < -0.3  # unblemished to the left, blemished to the right


def test_without_inspection_an_unknown_attribute_is_refused(skill: SortingSkill) -> None:
    with pytest.raises(LearningFailed, match="never inspects"):
        closed_loop(skill, inspect=False).looks(Thing("onion", np.array([0.2, -0.1, 0.03]), 0.03, UNKNOWN))


def test_what_lies_farther_than_any_demonstrated_thing_is_still_brought(skill: SortingSkill) -> None:
    far = Thing("onion", np.array([0.6, -0.1, 0.03]), 0.03, 0.0)
    step = closed_loop(skill).take(far, [far], look=True)
    assert "release" in step.plan.phase
