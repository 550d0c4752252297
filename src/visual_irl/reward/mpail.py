"""Model-predictive adversarial imitation learning (Han et al. 2025, "Model predictive adversarial imitation learning"): the
adversary of AIRL on (s, s'), but what plays against it is a planner (MPPI) and not a policy network.

The planner maximises `sum_t gamma^t f(s_t, s_{t+1})` over a few steps. As f is g + gamma h' - h, that sum is the one of g
plus `gamma^H h(s_H)` less a constant: h is the value at the horizon, for which the paper trains a network of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from visual_irl.reward.airl import Airl
from visual_irl.reward.learner import PLANNER


@dataclass(frozen=True)
class Mpail(Airl):
    """Configuration; what differs from AIRL."""

    updates: int = 50
    """Gradient steps of the discriminator in a round: a planner plays few rounds."""
    memory: int = 3
    """Rounds of the planner that the discriminator still sees."""

    plays_against: ClassVar[str] = PLANNER
