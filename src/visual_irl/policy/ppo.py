"""Proximal policy optimisation (Schulman et al. 2017) of a whole batch of environments at once, on one reward function.

Every reward is treated alike, so that rewards can be compared by what a fresh policy makes of them: rewards are divided by
the running spread of their discounted sum, episodes end by time only and the value goes on beyond them (Pardo et al. 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from visual_irl.errors import LearningFailed
from visual_irl.policy import surrogate
from visual_irl.policy.network import PolicyNetwork, Sight, draw, log_probability
from visual_irl.tasks.batch import Batch

RewardOfStates = Callable[[Tensor, Tensor], Tensor]
"""Rewards (B) of transitions between observations (B D)."""


@dataclass(frozen=True)
class PPO:
    """Configuration."""

    environments: int = 64
    """Environments in step with each other."""
    iterations: int = 200
    """Rounds of one episode in each environment and an update."""
    learning_rate: float = 2e-3
    """Step size of Adam, falling linearly to a tenth."""
    spread_rate: float = 10.0
    """The same for the logarithm of the exploration's spread, as a multiple."""
    discount: float = 0.93
    """Discount a step."""
    trace: float = 0.95
    """Lambda of generalised advantage estimation (Schulman et al. 2016)."""
    epochs: int = 4
    """Passes over the samples of an iteration."""
    minibatch: int = 640
    """Samples of a gradient step."""
    clip: float = 0.2
    """How far the probability ratio may leave 1."""
    entropy: float = 1e-3
    """Weight of the entropy."""
    beyond: float = 1.0
    """Weight of the square by which mean actions lie beyond +-1: from far there no sample would ever come back."""
    still: float = 0.02
    """Weight of the square of mean actions: where none of them makes a difference, at a wall, they return to where both ways
    are tried."""
    value_weight: float = 0.5
    """Weight of the value's squared error."""
    max_gradient: float = 0.5
    """Gradients are scaled down to this norm."""

    def optimise(
        self,
        batch: Batch,
        reward: RewardOfStates,
        seed: int = 0,
        start: PolicyNetwork | None = None,
        after_round: Callable[[PolicyNetwork], None] = lambda network: None,
        anchor: Callable[[PolicyNetwork], Tensor] | None = None,
    ) -> tuple[PolicyNetwork, int]:
        """A policy for `reward` from scratch (or from `start`), and the environment steps that it took.

        `reward` is asked once a round for all its transitions, so it may learn from them. `anchor` is added to the loss.

        Raises:
            LearningFailed: a reward or a loss is not finite.
        """
        from torch.optim import Adam  # brings a compiler whose LLVM clashes with off-screen OpenGL's in the same process

        torch.manual_seed(seed)
        network = PolicyNetwork(batch.task) if start is None else start
        weights = _OneTensor([p for name, p in network.named_parameters() if name != "log_std"])
        optimiser = Adam([{"params": [weights.all]}, {"params": [network.log_std]}], self.learning_rate, eps=1e-5, fused=True)
        scale = _ReturnSpread(self.discount)
        steps = 0
        for iteration in range(self.iterations):
            for group, factor in zip(optimiser.param_groups, (1.0, self.spread_rate), strict=True):
                group["lr"] = factor * self.learning_rate * (1 - 0.9 * iteration / self.iterations)
            samples = self._sample(batch, network, reward, scale)
            steps += len(samples.actions)
            self._update(network, weights, optimiser, samples, anchor)
            after_round(network)
        weights.part()
        return network, steps

    def _sample(self, batch: Batch, network: PolicyNetwork, reward: RewardOfStates, scale: _ReturnSpread) -> _Samples:
        """One episode in each environment."""
        split, horizon = batch.task.split, batch.task.horizon
        seen, sights, actions, drawn, each_value = [batch.reset()], [], [], [], []
        with torch.inference_mode():
            ready = network.ready()
            for _ in range(horizon):
                sights.append(network.look(split(seen[-1])))
                mean, log_std, value = network(sights[-1], ready)
                actions.append(draw(mean, log_std))
                drawn.append((actions[-1], mean, log_std))
                each_value.append(value)
                seen.append(batch.step(actions[-1])[-1])
            each_value.append(network(network.look(split(seen[-1])), ready)[-1])
            logs = log_probability(*(torch.cat(each) for each in zip(*drawn, strict=True)))
        with torch.no_grad():
            before, after = torch.cat(seen[:-1]), torch.cat(seen[1:])
            rewards = reward(before, after).reshape(horizon, -1)
            if not bool(rewards.isfinite().all()):
                raise LearningFailed("the reward is not finite on states that the policy reached; learn the reward again")
            rewards = rewards / scale.update(rewards)
            values = torch.stack(each_value)
            deltas = rewards + self.discount * values[1:] - values[:-1]
            advantages = torch.zeros_like(rewards)
            advantage = advantages[0]
            for t in range(horizon - 1, -1, -1):
                advantages[t] = advantage = deltas[t] + self.discount * self.trace * advantage
            returns = advantages + values[:-1]
        return _Samples(Sight.of(sights), torch.cat(actions), logs, advantages.flatten(), returns.flatten())

    def _update(
        self,
        network: PolicyNetwork,
        weights: _OneTensor,
        optimiser: torch.optim.Optimizer,
        samples: _Samples,
        anchor: Callable[[PolicyNetwork], Tensor] | None,
    ) -> None:
        count = len(samples.actions)
        parts = surrogate.Weights(self.clip, self.value_weight, self.entropy, self.beyond, self.still)
        for _ in range(self.epochs):
            mixed = samples[torch.randperm(count)]
            for begin in range(0, count, self.minibatch):
                some = mixed[begin : begin + self.minibatch]
                mean, log_std, value = network(some.seen)
                loss = surrogate.loss(mean, log_std, value, some.actions, some.logs, some.advantages, some.returns, parts)
                if anchor is not None:
                    loss = loss + anchor(network)
                if not math.isfinite(loss.item()):
                    raise LearningFailed(
                        f"the policy's loss became {loss.item()}; lower learning_rate below {self.learning_rate}"
                    )
                *each, network.log_std.grad = torch.autograd.grad(loss, [*weights.parameters, network.log_std])
                weights.all.grad = torch.cat([gradient.flatten() for gradient in each])
                nn.utils.clip_grad_norm_((weights.all, network.log_std), self.max_gradient)
                optimiser.step()
                network.bound_spread()


class _OneTensor:
    """Parameters as views of one tensor, so that a step of the optimiser is one operation and not one for each of them."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.parameters = parameters
        self.all = nn.Parameter(torch.cat([p.detach().flatten() for p in parameters]))
        for p, part in zip(parameters, self.all.data.split([p.numel() for p in parameters]), strict=True):
            p.data = part.view_as(p)

    def part(self) -> None:
        """Parameters that stand for themselves again, as whoever copies or saves them expects."""
        for p in self.parameters:
            p.data = p.data.clone()


@dataclass(frozen=True)
class _Samples:
    """Steps of a round."""

    seen: Sight
    actions: Float[Tensor, "M A"]
    logs: Float[Tensor, "M"]
    """Logarithm of the actions' probability when they were drawn."""
    advantages: Float[Tensor, "M"]
    returns: Float[Tensor, "M"]

    def __getitem__(self, index: Tensor | slice) -> _Samples:
        each = (self.actions, self.logs, self.advantages, self.returns)
        return _Samples(self.seen[index], *(x[index] for x in each))


class _ReturnSpread:
    """Running standard deviation of the discounted sum of rewards."""

    def __init__(self, discount: float) -> None:
        self.discount, self.square, self.mean, self.count = discount, 0.0, 0.0, 0.0

    def update(self, rewards: Float[Tensor, "T B"]) -> float:
        total = torch.zeros_like(rewards[0])
        sums = []
        for r in rewards:
            total = self.discount * total + r
            sums.append(total)
        s = torch.stack(sums)
        self.count += 1
        share = 1 / min(self.count, 20)
        self.mean += share * (float(s.mean()) - self.mean)
        self.square += share * (float(s.square().mean()) - self.square)
        return max(self.square - self.mean**2, 1e-12) ** 0.5
