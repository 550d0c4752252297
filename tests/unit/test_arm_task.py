"""A robot's arm in the place of a point hand: its limits, what is seen of it, and a person's reward optimised in its joints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from visual_irl.errors import InvalidInput, LearningFailed
from visual_irl.evaluation.benchmarks import transfer_bench
from visual_irl.evaluation.benchmarks.transfer_bench import METHODS, TransferBench
from visual_irl.mapping.arm_task import ArmTask
from visual_irl.mapping.equivalent_arm import equivalent_arm
from visual_irl.mapping.placement import Placement
from visual_irl.mapping.shown import shown_situations
from visual_irl.reward.posture import HumanLike, Posture
from visual_irl.robots import load_robot
from visual_irl.tasks.batch import BatchTask, roll_out
from visual_irl.tasks.onion_sorting import BLEMISHED

TINY = TransferBench(demos=2, seeds=1, episodes=4, shown=3)
DEMOS = transfer_bench.demonstrations(TINY, 7)
SHOWN = [shown_situations(d, 0.1, BLEMISHED) for d in DEMOS]


def task(name: str) -> ArmTask:
    return transfer_bench.task_for(replace(TINY, robot=name))


@pytest.mark.parametrize("name", ["panda", "ur5e"])
def test_no_action_breaks_a_limit_of_the_arm(name: str) -> None:
    arm = task(name)
    assert isinstance(arm, BatchTask)
    robot, rng = arm.robot, np.random.default_rng(0)
    q, speed = rng.uniform(robot.lower, robot.upper, (64, arm.joints)), np.zeros((64, arm.joints))
    for k in range(80):
        share = np.sign(q) if k < 40 else rng.uniform(-1, 1, q.shape)  # into the limits first
        faster = arm.next_speed(q, speed, share)
        assert (np.abs(faster - speed) <= arm.pace * robot.acceleration * arm.interval + 1e-9).all()
        q, speed = q + arm.interval * faster, faster
        assert (q >= robot.lower - 1e-9).all() and (q <= robot.upper + 1e-9).all()
        assert (np.abs(speed) <= arm.pace * robot.velocity + 1e-9).all()


def test_the_hand_that_is_seen_is_the_mappers() -> None:
    robot = load_robot("panda")
    q = robot.home + np.random.default_rng(1).uniform(-0.5, 0.5, (5, 7))
    for placement in (
        Placement(robot.T_world_base, 0.0, None, 0.0, 1.0),
        Placement(robot.T_world_base, 0.4, 0.8, 0.15, 1.0),
    ):
        arm = replace(task("panda"), placement=placement)
        hand, limbs = arm.look(q)
        person = equivalent_arm(robot, placement, q, np.arange(5.0), "right", 0.3, 0.26)
        assert hand == pytest.approx(person.Ts_world_hand[:, :3, 3], abs=1e-9)
        upper = robot.fk(q[0], robot.elbow_frame)[:3, 3] - robot.fk(q[0], robot.shoulder_frame)[:3, 3]
        assert limbs[0, :3] == pytest.approx(upper / np.linalg.norm(upper) * [1, 1, -1], abs=1e-9)


def test_a_restart_goes_on_from_the_same_state() -> None:
    arm = task("ur5e")
    batch = arm.build(4, seed=3)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        state = batch.step(2 * torch.rand(4, arm.action_size, generator=generator) - 1)[-1]
    action = 2 * torch.rand(4, arm.action_size, generator=generator) - 1
    again = arm.build(4, seed=9)
    assert torch.allclose(again.restart_from(state), state, atol=1e-5)
    assert torch.allclose(again.step(action)[-1], batch.step(action)[-1], atol=1e-5)
    with pytest.raises(InvalidInput, match="observations have"):
        arm.split(state[:, :-1])


def test_the_scripted_hand_is_followed_by_the_arm() -> None:
    arm = task("panda")
    seen, _, _ = roll_out(arm.build(8, seed=1), arm.expert)
    assert float(arm.success(seen[:, -1]).float().mean()) >= 0.9


def test_a_demonstration_is_seen_where_the_hand_holds_things() -> None:
    for demo, now in zip(DEMOS, SHOWN, strict=True):
        assert len(now.hand) == round((demo.t[-1] - demo.t[0]) / 0.1) + 1
        held = now.held.any(dim=1)
        assert 0.2 < float(held.float().mean()) < 0.9
        off = (now.hand[:, None] - now.things).norm(dim=-1)[now.held]
        assert float(off.median()) < 0.01
        assert bool((now.gripper[held] == 1).all()) and now.limbs is not None
    with pytest.raises(LearningFailed, match="no attribute 'ripe'"):
        shown_situations(DEMOS[0], 0.1, "ripe")
    with pytest.raises(LearningFailed, match="nothing is held"):
        shown_situations(replace(DEMOS[0], held=("",) * len(DEMOS[0].t)), 0.1, BLEMISHED)


def test_a_posture_costs_what_it_differs_from_the_demonstrators() -> None:
    posture = Posture.shown(SHOWN)
    own = posture.errors(SHOWN[0])
    assert float(own.mean()) < 0.15  # two people of different build
    limbs = SHOWN[0].limbs
    assert limbs is not None
    turned = replace(SHOWN[0], limbs=replace(limbs, upper=-limbs.upper))
    assert float((posture.errors(turned)[:, 0] + own[:, 0]).min()) == pytest.approx(np.pi, abs=0.02)
    nothing = HumanLike(lambda now, then: torch.zeros(len(then.hand)), posture, weight=0.0)
    assert float(nothing(SHOWN[0], SHOWN[0]).abs().max()) == 0.0
    low = replace(SHOWN[0], limbs=replace(limbs, lowest=torch.full_like(limbs.lowest, -0.02)))
    assert nothing(low, low).tolist() == pytest.approx([-0.2] * len(low.hand))  # 2 cm at 10 a metre
    with pytest.raises(LearningFailed, match="no demonstration shows an arm"):
        Posture.shown([replace(SHOWN[0], limbs=None)])


@pytest.mark.long
def test_a_reward_of_people_is_optimised_in_a_robots_joints() -> None:
    config = replace(TINY, demos=6, shown=4)  # two people of different build do not tell a posture
    run = transfer_bench.run_seed(config, 7)
    assert run["ours"]["success"] >= 2 / 3 and all(run[name]["within_limits"] for name in METHODS)
    limbs = ("upper_deg", "fore_deg", "fingers_deg")
    assert sum(run["ours"][k] for k in limbs) < 0.8 * sum(run["reward_alone"][k] for k in limbs)
    content = transfer_bench.summary(config, [run])
    assert set(content["methods"]) == set(METHODS) and "reward_alone" in transfer_bench.table(content)
