"""Adversarial inverse reinforcement learning on state transitions (Fu, Luo and Levine 2018, "Learning robust rewards with
adversarial inverse reinforcement learning").

A discriminator tells demonstrated transitions from the policy's own,

    D(s, s') = sigmoid f(s, s'),    f(s, s') = g(s') + gamma h(s') - h(s),

and the policy maximises `log D - log (1 - D) = f`, by which h shapes and g is the reward that is kept. The paper divides by
the policy's density pi(a|s) in D; without demonstrated actions that is unknown, so here, as in other work on states alone
(Torabi et al. 2018, "Generative adversarial imitation from observation"), it is left out. g is one of s', as what counts is
what is reached. A penalty on the gradient of f keeps it locally Lipschitz (Blonde et al. 2022, "Lipschitzness is all you
need to tame off-policy generative adversarial imitation learning"); both networks see relational features.

What is kept is the round whose policy visits states that are nearest to the demonstrated ones (energy distance, Szekely and
Rizzo 2013): no true reward is needed to say so.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from visual_irl.errors import LearningFailed
from visual_irl.reward.learner import POLICY, Imitator, Keep, Learned, checked
from visual_irl.tasks.features import relational_features
from visual_irl.tasks.situation import Situation


class StateNetwork(nn.Module):
    """A number for each state, the mean over its things of what is seen of them."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.each = nn.Sequential(nn.Linear(features, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.out = nn.Linear(width, 1)

    def forward(self, seen: Float[Tensor, "*B N F"]) -> Float[Tensor, "*B"]:
        """One number a state."""
        return self.out(self.each(seen).mean(dim=-2)).squeeze(-1)


@dataclass(frozen=True)
class AdversarialReward:
    """`r(s, s') = g(s')`: what is left without the shaping."""

    g: StateNetwork
    attributes: int

    feature_names: tuple[str, ...] = ("relations of the hand to each thing",)

    def __call__(self, now: Situation, then: Situation) -> Float[Tensor, "*B"]:
        """Reward of transitions."""
        return self.g(relational_features(then, self.attributes))


@dataclass(frozen=True)
class Airl:
    """Configuration."""

    width: int = 64
    """Width of g and h."""
    updates: int = 6
    """Gradient steps of the discriminator in a round of the policy."""
    samples: int = 256
    """Transitions of each kind in a gradient step."""
    memory: int = 5
    """Rounds of the policy that the discriminator still sees."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    discount: float = 0.93
    """Discount of the shaping, the policy's own."""
    penalty: float = 1.0
    """Weight of the squared gradient of f between demonstrated and other transitions."""

    plays_against: ClassVar[str] = POLICY

    def build(self) -> Airl:
        """The learner itself: what it learns is in what it returns."""
        return self

    def learn(
        self,
        demonstrations: Sequence[Situation],
        imitator: Imitator | None = None,
        seed: int = 0,
        keep: Keep = lambda reward: None,
    ) -> Learned:
        """The reward of demonstrations, and the policy that was nearest to them.

        Raises:
            LearningFailed: see `reward.learner`; or there is no imitator to play against.
        """
        if imitator is None:
            raise LearningFailed("adversarial learning plays against a policy: give it an imitator")
        torch.manual_seed(seed)
        game = _Game(self, checked(demonstrations))
        best: dict[str, object] = {}

        def after_round(policy: Any) -> None:
            if "distance" not in best or game.distance < best["distance"]:  # type: ignore[operator]
                reward = AdversarialReward(copy.deepcopy(game.g), game.attributes)
                best.update(distance=game.distance, reward=reward, policy=copy.deepcopy(policy))
                keep(reward)

        _, steps = imitator.imitate(game, after_round)
        return Learned(best["reward"], best["policy"], steps)  # type: ignore[arg-type]


class _Game:
    """The discriminator: it is asked for f of a round's transitions, and learns from them before it answers."""

    def __init__(self, config: Airl, demos: Sequence[Situation]) -> None:
        from torch.optim import Adam  # not at the top: see policy.ppo

        self.config = config
        self.attributes = 1 + max(int(d.attribute.max()) for d in demos)
        seen = [relational_features(d, self.attributes) for d in demos]
        self.shown = (torch.cat([s[:-1] for s in seen]), torch.cat([s[1:] for s in seen]))
        size = seen[0].shape[-1]
        self.g, self.h = StateNetwork(size, config.width), StateNetwork(size, config.width)
        self.optimiser = Adam([*self.g.parameters(), *self.h.parameters()], config.learning_rate)
        self.rounds: list[tuple[Tensor, Tensor]] = []
        self.distance = float("inf")

    def __call__(self, now: Situation, then: Situation) -> Float[Tensor, "B"]:
        own = (relational_features(now, self.attributes), relational_features(then, self.attributes))
        if own[0].shape[-1] != self.shown[0].shape[-1]:
            raise LearningFailed(
                f"the demonstrations are of another task than the policy's: {self.shown[0].shape[-1]} features of each thing, "
                f"not {own[0].shape[-1]}"
            )
        self.rounds = [*self.rounds, own][-self.config.memory :]
        with torch.enable_grad():
            for _ in range(self.config.updates):
                self._update()
        rows = torch.randint(len(own[1]), (512,))
        shown = torch.randint(len(self.shown[1]), (512,))
        self.distance = energy_distance(own[1][rows].flatten(1), self.shown[1][shown].flatten(1))
        with torch.no_grad():
            return self.f(*own)

    def current(self, now: Situation, then: Situation) -> Float[Tensor, "B"]:
        """f of transitions, from which nothing is learned."""
        return self.f(relational_features(now, self.attributes), relational_features(then, self.attributes))

    def f(self, now: Float[Tensor, "B N F"], then: Float[Tensor, "B N F"]) -> Float[Tensor, "B"]:
        """Reward and shaping."""
        return self.g(then) + self.config.discount * self.h(then) - self.h(now)

    def _update(self) -> None:
        c = self.config
        rows = torch.randint(len(self.shown[0]), (c.samples,))
        which = self.rounds[int(torch.randint(len(self.rounds), ()))]
        own_rows = torch.randint(len(which[0]), (c.samples,))
        shown, own = [x[rows] for x in self.shown], [x[own_rows] for x in which]
        mixed = torch.rand(c.samples, 1, 1)
        between = [(mixed * a + (1 - mixed) * b).requires_grad_() for a, b in zip(shown, own, strict=True)]
        gradients = torch.autograd.grad(self.f(*between).sum(), between, create_graph=True)
        steepness = sum(g.square().flatten(1).sum(dim=1) for g in gradients)
        tell_apart = nn.functional.softplus(-self.f(*shown)).mean() + nn.functional.softplus(self.f(*own)).mean()
        loss = tell_apart + c.penalty * torch.as_tensor(steepness).mean()
        if not bool(loss.isfinite()):
            raise LearningFailed(
                f"the discriminator's loss became {loss.item()}; lower learning_rate below {c.learning_rate}; the best reward "
                "until then was kept"
            )
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()


def energy_distance(a: Float[Tensor, "M F"], b: Float[Tensor, "K F"]) -> float:
    """`2 E|A - B| - E|A - A'| - E|B - B'|`: 0 if and only if the two are distributed alike."""
    return float(2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean())
