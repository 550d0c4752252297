"""Proximal policy optimisation (Schulman et al. 2017) of a whole batch of environments at once, on one reward function.

Every reward is treated alike, so that rewards can be compared by what a fresh policy makes of them: rewards are divided by
the running spread of their discounted sum, episodes end by time only and the value goes on beyond them (Pardo et al. 2018).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from visual_irl.errors import LearningFailed
from visual_irl.tasks.batch import Batch, BatchTask
from visual_irl.tasks.features import relational_features
from visual_irl.tasks.situation import Situation

RewardOfStates = Callable[[Tensor, Tensor], Tensor]
"""Rewards (B) of transitions between observations (B D)."""


LOG_STD = (-2.5, 0.0)
"""Bounds of the logarithm of the exploration's spread."""


class PolicyNetwork(nn.Module):
    """A Gaussian policy and a value over any number of things, in any order.

    For each thing, seen with the mean of all, the network proposes an action and how much it attends to that thing; the
    policy is the proposals' mean by attention. With one thing it is a plain network of two hidden layers.
    """

    def __init__(self, task: BatchTask, width: int = 64) -> None:
        super().__init__()
        self.attributes, self.action_size = task.attributes, task.action_size
        now = task.split(torch.zeros(1, task.observation_size))
        phases = 1 if now.vessels is None else 2
        self.encode = nn.Linear(relational_features(now, task.attributes).shape[-1], width)
        self.propose, self.judge = nn.Linear(2 * width, width), nn.Linear(2 * width, width)
        self.action, self.attention, self.value = (nn.Linear(width, phases * n) for n in (self.action_size, 1, 1))
        self.log_std = nn.Parameter(torch.full((phases, self.action_size), -0.3))
        with torch.no_grad():
            self.action.weight.mul_(0.01)

    def forward(self, now: Situation) -> tuple[Tensor, Tensor, Tensor]:
        """Mean action (B A), standard deviation (A or B A) and value (B)."""
        each, phase = self._things(now), phase_of(now)
        value = self.value(torch.tanh(self.judge(each)).mean(dim=-2))
        log_std = self.log_std[0] if phase is None else self.log_std[phase]
        return self._mean(each, phase), log_std.exp(), _in_phase(value, phase, 1).squeeze(-1)

    def act(self, now: Situation) -> Float[Tensor, "B A"]:
        """Mean action, cut to [-1, 1]."""
        return self._mean(self._things(now), phase_of(now)).clamp(-1, 1)

    def _mean(self, each: Tensor, phase: Tensor | None) -> Tensor:
        proposal = torch.tanh(self.propose(each))
        attention = torch.softmax(self.attention(proposal), dim=-2)
        if phase is None:
            return (attention * self.action(proposal)).sum(dim=-2)
        actions = self.action(proposal).unflatten(-1, (-1, self.action_size))
        return _in_phase((attention[..., None] * actions).sum(dim=-3).flatten(-2), phase, self.action_size)

    def _things(self, now: Situation) -> Float[Tensor, "*B N W"]:
        """Each thing as the hand sees it, beside the mean of all."""
        each = torch.tanh(self.encode(relational_features(now, self.attributes)))
        return torch.cat([each, each.mean(dim=-2, keepdim=True).expand_as(each)], dim=-1)


def phase_of(now: Situation) -> Int[Tensor, "*B"] | None:
    """0, and 1 once something is full, where anything can be: what is right before is wrong then."""
    return None if now.vessels is None else now.vessels.full.any(dim=-1).long()


def _in_phase(each: Float[Tensor, "*B M"], phase: Tensor | None, size: int) -> Float[Tensor, "*B K"]:
    """Of `size` numbers for each phase those of the present one."""
    if phase is None:
        return each
    rows = phase[..., None, None].expand(*phase.shape, 1, size)
    return each.unflatten(-1, (-1, size)).gather(-2, rows).squeeze(-2)


@dataclass(frozen=True)
class PPO:
    """Configuration."""

    environments: int = 64
    """Environments in step with each other."""
    iterations: int = 200
    """Rounds of one episode in each environment and an update."""
    cpu_seconds: float = float("inf")
    """Stops after so much CPU time of this process [s]."""
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
        progress: Callable[[int, int, PolicyNetwork], None] = lambda done, total, network: None,
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
        slow = [p for name, p in network.named_parameters() if name != "log_std"]
        optimiser = Adam([{"params": slow}, {"params": [network.log_std]}], self.learning_rate, eps=1e-5)
        scale = _ReturnSpread(self.discount)
        began, steps = time.process_time(), 0
        for iteration in range(self.iterations):
            used = (time.process_time() - began) / self.cpu_seconds
            if used >= 1:
                break
            done = max(used, iteration / self.iterations)
            for group, factor in zip(optimiser.param_groups, (1.0, self.spread_rate), strict=True):
                group["lr"] = factor * self.learning_rate * (1 - 0.9 * done)
            samples = self._sample(batch, network, reward, scale)
            steps += len(samples[1])
            self._update(batch, network, optimiser, samples, anchor)
            progress(iteration + 1, self.iterations, network)
        return network, steps

    def _sample(
        self, batch: Batch, network: PolicyNetwork, reward: RewardOfStates, scale: _ReturnSpread
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Observations, actions, their log-probabilities, advantages and returns of one episode in each environment."""
        split, horizon = batch.task.split, batch.task.horizon
        seen, actions, logs, values = [batch.reset()], [], [], []
        with torch.no_grad():
            for _ in range(horizon):
                mean, std, value = network(split(seen[-1]))
                action = mean + std * torch.randn_like(mean)
                reached = batch.step(action)[-1]
                logs.append(_log_probability(action, mean, std))
                actions.append(action)
                values.append(value)
                seen.append(reached)
            values.append(network(split(seen[-1]))[2])
            before, after = torch.stack(seen[:-1]), torch.stack(seen[1:])
            rewards = reward(before.flatten(0, 1), after.flatten(0, 1)).reshape(horizon, -1)
            if not bool(rewards.isfinite().all()):
                raise LearningFailed("the reward is not finite on states that the policy reached; learn the reward again")
            rewards = rewards / scale.update(rewards)
            advantage = torch.zeros_like(rewards[0])
            advantages = torch.zeros_like(rewards)
            for t in range(horizon - 1, -1, -1):
                delta = rewards[t] + self.discount * values[t + 1] - values[t]
                advantages[t] = advantage = delta + self.discount * self.trace * advantage
            returns = advantages + torch.stack(values[:-1])
        flat = (before, torch.stack(actions), torch.stack(logs), advantages, returns)
        return tuple(x.flatten(0, 1) for x in flat)  # type: ignore[return-value]

    def _update(
        self,
        batch: Batch,
        network: PolicyNetwork,
        optimiser: torch.optim.Optimizer,
        samples: tuple[Tensor, ...],
        anchor: Callable[[PolicyNetwork], Tensor] | None,
    ) -> None:
        seen, actions, logs, advantages, returns = samples
        count = len(actions)
        now = batch.task.split(seen)
        for _ in range(self.epochs):
            for rows in torch.randperm(count, device=seen.device).split(self.minibatch):
                mean, std, value = network(now[rows])
                log = _log_probability(actions[rows], mean, std)
                ratio = (log - logs[rows]).exp()
                a = advantages[rows]
                a = (a - a.mean()) / (a.std() + 1e-8)
                surrogate = torch.minimum(ratio * a, ratio.clamp(1 - self.clip, 1 + self.clip) * a).mean()
                loss = (
                    self.value_weight * (value - returns[rows]).square().mean()
                    - surrogate
                    - self.entropy * std.log().sum(dim=-1).mean()
                    + self.beyond * (mean.abs() - 1).clamp(min=0).square().sum(dim=-1).mean()
                )
                if anchor is not None:
                    loss = loss + anchor(network)
                if not bool(loss.isfinite()):
                    raise LearningFailed(
                        f"the policy's loss became {loss.item()}; lower learning_rate below {self.learning_rate}"
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_norm_(network.parameters(), self.max_gradient)
                optimiser.step()
                with torch.no_grad():  # the parameter itself: clamped on use, its gradient beyond a bound would be 0 for good
                    network.log_std.clamp_(*LOG_STD)


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


def _log_probability(action: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    return (-0.5 * ((action - mean) / std).square() - std.log()).sum(dim=-1)
