"""What keeps a robot's posture human: how far its limbs point from a demonstrator's whose hand was at the same place.

The limbs that go with a place of the hand are a weighted mean over the demonstrated states (Nadaraya 1964, Watson 1964), by
the distance of their hands to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.reward.learner import SituationReward
from visual_irl.tasks.situation import Limbs, Situation


@dataclass(frozen=True)
class Posture:
    """Demonstrated limbs, by where the hand was."""

    hand: Float[Tensor, "M 3"]
    limbs: Float[Tensor, "M 3 3"]
    """Unit directions of upper arm, forearm and fingers."""
    width: float = 0.05
    """Standard deviation of the weights' Gaussian [m]."""

    @classmethod
    def shown(cls, demonstrations: Sequence[Situation]) -> Posture:
        """Of demonstrations in which the arm was seen.

        Raises:
            LearningFailed: there is none.
        """
        seen = [(d.hand, _directions(d.limbs)) for d in demonstrations if d.limbs is not None]
        if not seen:
            raise LearningFailed("no demonstration shows an arm: how its limbs are held cannot be learned")
        return cls(torch.cat([hand for hand, _ in seen]), torch.cat([limbs for _, limbs in seen]))

    def wanted(self, hand: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3 3"]:
        """Directions of the demonstrators' limbs with the hand at a place."""
        weight = torch.softmax(-torch.cdist(hand, self.hand).square() / (2 * self.width**2), dim=-1)
        mean = torch.einsum("bm,mld->bld", weight, self.limbs)
        return mean / mean.norm(dim=-1, keepdim=True).clamp(min=1e-6)

    def errors(self, now: Situation) -> Float[Tensor, "B 3"]:
        """Angles between the limbs that are and those [rad]."""
        if now.limbs is None:
            raise LearningFailed("a posture can be judged only where the limbs are seen")
        cosine = (_directions(now.limbs) * self.wanted(now.hand)).sum(dim=-1)
        return torch.arccos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))


@dataclass(frozen=True)
class HumanLike:
    """A learned reward with what a posture costs, and what it costs to be below the table, of which the reward says nothing."""

    reward: SituationReward
    posture: Posture
    weight: float = 0.1
    """Of the mean angle [1/rad]."""
    table: float = 0.0
    """Height that elbow, wrist and hand stay above [m]."""
    below: float = 10.0
    """Price of each metre under it [1/m]."""

    def __call__(self, now: Situation, then: Situation) -> Float[Tensor, "B"]:
        """Reward of transitions."""
        total = self.reward(now, then)
        if then.limbs is not None:
            total = total - self.below * (self.table - then.limbs.lowest).clamp(min=0)
        if self.weight:
            total = total - self.weight * self.posture.errors(then).mean(dim=-1)
        return total


def _directions(limbs: Limbs) -> Float[Tensor, "M 3 3"]:
    return torch.stack([limbs.upper, limbs.fore, limbs.fingers], dim=-2)
