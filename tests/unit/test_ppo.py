"""What keeps exploration alive: spreads that come back from their bounds, mean actions that samples can turn around;
and when a policy is begun anew."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visual_irl.policy.attempts import Attempts
from visual_irl.policy.network import LOG_STD, PolicyNetwork, Sight
from visual_irl.policy.ppo import PPO
from visual_irl.tasks.batch import roll_out
from visual_irl.tasks.kinematic_pouring import KinematicPouring
from visual_irl.tasks.kinematic_sorting import KinematicSorting

TASK = KinematicSorting()
GRIPPER = 3


def test_a_spread_beyond_its_bound_comes_back() -> None:
    network = PolicyNetwork(TASK)
    with torch.no_grad():
        network.log_std.fill_(LOG_STD[1] + 0.5)
    still = PPO(environments=32, iterations=4, entropy=0.0)
    still.optimise(TASK.build(32, 0), lambda now, then: -(then - now)[:, :3].norm(dim=-1), 0, network)
    assert float(network.log_std[0, :3].detach().max()) < LOG_STD[1] - 0.1  # nobody moves less than with little spread
    assert float(network.log_std.detach().max()) <= LOG_STD[1]


@pytest.mark.long
def test_mean_actions_that_make_no_difference_are_drawn_back_where_that_is_asked_for() -> None:
    def mean_gripper(beyond: float, still: float) -> float:
        torch.manual_seed(0)
        network = PolicyNetwork(TASK)
        with torch.no_grad():
            network.action.bias[GRIPPER] = 3.0
        indifferent = PPO(environments=32, iterations=8, beyond=beyond, still=still)

        def nothing(now: Tensor, then: Tensor) -> Tensor:
            return torch.zeros(len(now))

        indifferent.optimise(TASK.build(32, 0), nothing, 0, network)
        return float(network(network.look(TASK.split(TASK.build(32, 1).reset())))[0][:, GRIPPER].detach().mean())

    assert mean_gripper(0.0, 0.0) == pytest.approx(3.0, abs=0.3)
    assert mean_gripper(1.0, 0.0) < 2.5
    assert mean_gripper(0.0, 1.0) < 2.5


def test_what_is_seen_at_once_and_of_each_step_is_the_same() -> None:
    torch.manual_seed(0)
    task = KinematicPouring(steps=4)
    network = PolicyNetwork(task)
    seen = roll_out(task.build(8, 0), lambda o: network.act(task.split(o)))[0]
    seen[4:, :, -3] = 1.0  # the cup is full: the other phase
    each = [network.look(task.split(s)) for s in seen]
    together = network(Sight.of(each))[0].unflatten(0, (8, -1))
    assert torch.allclose(together, torch.stack([network(s)[0] for s in each]), atol=1e-6)
    with torch.no_grad():
        network.action.bias[: task.action_size] += 1.0  # of the first phase alone
    assert torch.allclose(network(each[7])[0], together[7], atol=1e-6)
    assert not torch.allclose(network(each[0])[0], together[0], atol=0.5)


def height(now: Tensor, then: Tensor) -> Tensor:
    """A reward: where the hand is."""
    return then[:, 2]


def test_a_policy_that_ends_worse_than_the_demonstrations_is_begun_anew_and_the_best_is_kept() -> None:
    up = torch.tensor([[0.0, 0.0, 1.0, 0.0]])
    shown = roll_out(TASK.build(4, 0), lambda o: up.expand(len(o), 4))[0]

    class Scripted(PPO):
        """Its policies go up so fast, in the order of their attempts."""

        speeds = (-1.0, 0.05, 0.0)

        def optimise(self, batch, reward, seed=0, *_, **__):  # type: ignore[no-untyped-def]
            network = PolicyNetwork(batch.task)
            with torch.no_grad():
                network.action.weight.zero_()
                network.action.bias.copy_(self.speeds[seed // 1_000_000] * up[0])
            return network, 1000

    def best(most: int) -> tuple[float, int]:
        policy, steps = Attempts(Scripted(), most, episodes=8).optimise(TASK, height, shown, 0, 0)
        return float(policy.action.bias[2].detach()), steps

    assert best(3) == (pytest.approx(0.05), 3 * (1000 + 8 * TASK.horizon))  # none is as good as the demonstrations
    assert best(1)[0] == -1.0
    Scripted.speeds = (-1.0, 1.0, 0.0)
    assert best(3) == (1.0, 2 * (1000 + 8 * TASK.horizon))


@pytest.mark.parametrize(("objects", "handled"), [(1, 1), (2, 2), (2, 1)])
def test_where_several_things_are_handled_a_policy_goes_on_and_half_of_its_episodes_begin_where_demonstrations_were(
    objects: int, handled: int
) -> None:
    task = KinematicSorting(objects=objects)
    shown = roll_out(task.build(4, 0), task.expert)[0]
    if handled < objects:  # the second thing is only touched, or seems to be held for two steps
        shown[..., 3 + 3 * objects + 1] = 0.0
        shown[:, 7:9, 3 + 3 * objects + 1] = 1.0
        assert (task.split(shown).held.sum(dim=1)[:, 1] == 2).all()
    known = {tuple(s) for s in shown.flatten(0, 1).tolist()}
    began, spreads = [], []

    class Looking(PPO):
        """Its policies do nothing; it looks how two rounds of episodes begin, and from what."""

        def optimise(self, batch, reward, seed=0, start=None, *_):  # type: ignore[no-untyped-def]
            first = batch.reset()
            for _ in range(task.horizon):
                second, ended, reached = batch.step(torch.zeros(self.environments, 4))
            assert ended and not torch.equal(second, reached) and not torch.equal(second, first)
            began.append([[tuple(s) in known for s in each.tolist()] for each in (first, second)])
            spreads.append(None if start is None else float(start.log_std.detach().min()))
            network = PolicyNetwork(batch.task)
            with torch.no_grad():
                network.action.weight.zero_()
                network.log_std.fill_(LOG_STD[0])
            return network, 1000

    Attempts(Looking(environments=32), episodes=8).optimise(task, lambda now, then: task.true_reward(then), shown, 0, 0)
    none, half = [False] * 32, [True] * 16 + [False] * 16
    again = none if handled == 1 else half
    assert began == [[none, none], [again, again], [again, again]]
    assert spreads == ([None] * 3 if handled == 1 else [None, -1.0, -1.0])
