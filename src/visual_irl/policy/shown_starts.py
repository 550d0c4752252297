"""Episodes of which some begin where a demonstration has been, so that what comes late is learned as early as what comes first.

An episode that begins at the start shows what comes after a stack's first block only once that is placed, and what a hand
that leaves is worth only once it has left. A demonstration has been there. Of demonstrations this takes states, no actions
(Peng et al. 2018, "DeepMimic", reference state initialisation).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.tasks.batch import Batch, BatchTask


class ShownStarts:
    """A batch in which the first `share` of the environments begin in any step of any demonstration, drawn anew each time."""

    def __init__(self, batch: Batch, shown: Float[Tensor, "N T D"], share: float, seed: int) -> None:
        self.batch, self.states, self.environments = batch, shown.flatten(0, 1), batch.environments
        self.count = round(share * batch.environments)
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def task(self) -> BatchTask:
        """The task of which these are copies."""
        return self.batch.task

    def reset(self) -> Float[Tensor, "B D"]:
        """New episodes; their first observations."""
        anew = self.batch.reset()
        rows = torch.randint(len(self.states), (self.count,), generator=self.generator)
        return self.batch.restart_from(torch.cat([self.states[rows], anew[self.count :]]))

    def restart_from(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Whole new episodes that begin in these states."""
        return self.batch.restart_from(observations)

    def step(self, actions: Float[Tensor, "B A"]) -> tuple[Tensor, bool, Tensor]:
        """As of the batch itself."""
        following, ended, reached = self.batch.step(actions)
        return (self.reset() if ended else following), ended, reached
