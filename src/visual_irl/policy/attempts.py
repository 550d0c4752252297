"""A policy that is not content with having got stuck: begun anew where it ends worse than the demonstrations do.

Judged by the reward that is optimised, never by success: a policy that leaves out a thing or never lets go earns visibly less
at the end of its episodes than the demonstrator earned, and another start of the same optimiser rarely gets stuck there too.

Where several things are handled, one after the other, another start gets stuck there too: what comes late is seen only once all
that comes before is learned. There the policy goes on, for as many rounds as before, and half of the episodes begin in
demonstrated situations (`policy.shown_starts`). What it optimises is the same.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.policy.network import PolicyNetwork
from visual_irl.policy.ppo import PPO, RewardOfStates
from visual_irl.policy.shown_starts import ShownStarts
from visual_irl.tasks.batch import Batch, BatchTask, roll_out
from visual_irl.tasks.situation import Situation

BRIEF = 0.25
"""A thing is handled that is held for more than this share of the time that the one held longest is."""


@dataclass(frozen=True)
class Attempts:
    """Configuration."""

    ppo: PPO
    most: int = 3
    """How often a policy is begun or gone on with at most."""
    short: float = 0.05
    """What may be missing at the end, as a share of what the demonstrations gain from their first step to their last. Measured
    when pouring: .01 to .03 for policies that succeed, .10 for those that do all but let go."""
    episodes: int = 128
    """Episodes on which that is measured; they begin as the task begins them."""
    shown_starts: float = 0.5
    """Share of the episodes that begin in demonstrated situations when a policy goes on ..."""
    spread: float = -1.0
    """... and what the logarithm of the exploration's spread is then at least."""

    def optimise(
        self, task: BatchTask, reward: RewardOfStates, shown: Float[Tensor, "N T D"], seed: int, batch_seed: int
    ) -> tuple[PolicyNetwork, int]:
        """The first policy that ends as well as the demonstrated observations do, else the best of `most` tries; and all
        environment steps.

        Raises:
            LearningFailed: a reward or a loss is not finite.
        """
        with torch.no_grad():
            first, last = (float(reward(shown[:, i], shown[:, i + 1]).mean()) for i in (0, shown.shape[1] - 2))
        enough = last - self.short * max(last - first, 0.0)
        batch: Batch = task.build(self.ppo.environments, seed=batch_seed)
        later = ShownStarts(batch, shown, self.shown_starts, batch_seed) if _handled(task.split(shown)) > 1 else None
        best: tuple[float, PolicyNetwork] | None = None
        steps = 0
        for attempt in range(self.most):
            start = None
            if best is not None and later is not None:
                batch, start = later, self._wider(best[1])
            policy, taken = self.ppo.optimise(batch, reward, seed + 1_000_000 * attempt, start)
            steps += taken + self.episodes * task.horizon
            reached = self._end(task, reward, policy, batch_seed + 1_000_000)
            if best is None or reached > best[0]:
                best = reached, policy
            if reached >= enough:
                break
        assert best is not None
        return best[1], steps

    def _wider(self, policy: PolicyNetwork) -> PolicyNetwork:
        """A copy that explores."""
        wider = copy.deepcopy(policy)
        with torch.no_grad():
            wider.log_std.clamp_(min=self.spread)
        return wider

    def _end(self, task: BatchTask, reward: RewardOfStates, policy: PolicyNetwork, seed: int) -> float:
        """Mean reward of the last step of an episode."""
        seen, _, _ = roll_out(task.build(self.episodes, seed=seed), lambda o: policy.act(task.split(o)))
        with torch.no_grad():
            return float(reward(seen[:, -2], seen[:, -1]).mean())


def _handled(shown: Situation) -> float:
    """How many things most demonstrations (N T) hold, one after the other. What is held much shorter than another thing was
    touched in passing, or its flag flickered."""
    steps = shown.held.sum(dim=1).float()
    return float((steps > BRIEF * steps.amax(dim=-1, keepdim=True)).sum(dim=-1).float().median())
