"""Behaviour cloning, and behaviour cloning from observation (Torabi, Warnell and Stone 2018): BCO(alpha).

Cloning needs the demonstrator's actions. From states alone, an inverse model that was learned on the policy's own steps,
random ones at first, says which action leads from one state to the next; then that is cloned, and the inverse model is
learned again on what the clone does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from visual_irl.errors import LearningFailed
from visual_irl.policy.network import PolicyNetwork
from visual_irl.tasks.batch import Batch, BatchTask


@dataclass(frozen=True)
class Cloning:
    """Configuration."""

    updates: int = 3000
    """Gradient steps of a clone."""
    learning_rate: float = 1e-3
    """Step size of Adam."""
    samples: int = 256
    """Samples of a gradient step."""
    rounds: int = 3
    """Times that BCO learns its inverse model and clones."""
    exploration: float = 0.3
    """Spread of the noise on the clone's actions while BCO collects steps."""

    def clone(self, task: BatchTask, seen: Float[Tensor, "M D"], actions: Float[Tensor, "M A"], seed: int = 0) -> PolicyNetwork:
        """The policy that does what was done."""
        torch.manual_seed(seed)
        network = PolicyNetwork(task)
        sight = network.look(task.split(seen))
        self._fit(network, lambda rows: network(sight[rows])[0].clamp(-1, 1), actions)
        return network

    def from_observations(
        self, batch: Batch, demos: Float[Tensor, "N T D"], seed: int = 0
    ) -> tuple[PolicyNetwork, Float[Tensor, "M A"], int]:
        """BCO(alpha): a policy from demonstrated observations alone, the actions that it cloned (M = N (T - 1)), and the
        environment steps that it took."""
        torch.manual_seed(seed)
        task, size = batch.task, batch.task.action_size
        inverse = nn.Sequential(
            nn.Linear(2 * demos.shape[-1], 128), nn.Tanh(), nn.Linear(128, 128), nn.Tanh(), nn.Linear(128, size), nn.Tanh()
        )
        before, after = demos[:, :-1].flatten(0, 1), demos[:, 1:].flatten(0, 1)
        spread = demos.flatten(0, 1).std(dim=0).clamp(min=1e-2)
        pairs, done, steps = [], [], 0
        policy: PolicyNetwork | None = None
        labels = demos.new_zeros(len(before), size)
        for r in range(self.rounds):
            seen = batch.reset()
            for _ in range(task.horizon):
                with torch.no_grad():
                    if policy is None:
                        action = 2 * torch.rand(batch.environments, size) - 1
                    else:
                        own = policy.act(task.split(seen))
                        action = (own + self.exploration * torch.randn_like(own)).clamp(-1, 1)
                reached = batch.step(action)[-1]
                pairs.append(_change(seen, reached, spread))
                done.append(action)
                seen, steps = reached, steps + batch.environments
            known, taken = torch.cat(pairs), torch.cat(done)
            self._fit(inverse, lambda rows, known=known: inverse(known[rows]), taken)
            with torch.no_grad():
                labels = inverse(_change(before, after, spread))
            policy = self.clone(task, before, labels, seed + r)
        assert policy is not None
        return policy, labels, steps

    def _fit(self, network: nn.Module, predict, targets: Tensor) -> None:  # type: ignore[no-untyped-def]
        from torch.optim import Adam  # not at the top: see policy.ppo

        optimiser = Adam(network.parameters(), self.learning_rate)
        for i in range(self.updates):
            optimiser.param_groups[0]["lr"] = self.learning_rate * (1 - 0.9 * i / self.updates)
            rows = torch.randint(len(targets), (self.samples,))
            loss = (predict(rows) - targets[rows]).square().mean()
            if not bool(loss.isfinite()):
                raise LearningFailed(f"the clone's loss became {loss.item()}; the demonstrations or actions hold NaN")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()


def _change(before: Tensor, after: Tensor, spread: Tensor) -> Tensor:
    """What an inverse model sees: the state and how it changed, by the demonstrations' spread."""
    return torch.cat([before / spread, 10 * (after - before) / spread], dim=-1)
