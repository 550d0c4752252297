"""What keeps exploration alive: spreads that come back from their bounds, mean actions that samples can turn around."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from visual_irl.policy.ppo import LOG_STD, PPO, PolicyNetwork
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


def test_mean_actions_far_beyond_one_are_drawn_back_where_that_is_asked_for() -> None:
    def mean_gripper(beyond: float) -> float:
        torch.manual_seed(0)
        network = PolicyNetwork(TASK)
        with torch.no_grad():
            network.action.bias[GRIPPER] = 3.0
        indifferent = PPO(environments=32, iterations=8, beyond=beyond)

        def nothing(now: Tensor, then: Tensor) -> Tensor:
            return torch.zeros(len(now))

        indifferent.optimise(TASK.build(32, 0), nothing, 0, network)
        return float(network(TASK.split(TASK.build(32, 1).reset()))[0][:, GRIPPER].detach().mean())

    assert mean_gripper(0.0) == pytest.approx(3.0, abs=0.3)
    assert mean_gripper(1.0) < 2.5
