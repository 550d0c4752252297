"""What PPO minimises (Schulman et al. 2017, equation 9), with its gradient written out: a quarter of the operations.

    L = -mean min(r A, clip(r) A) + w_v mean (V - R)^2 - w_e mean sum log std
        + w_b mean sum max(|mu| - 1, 0)^2 + w_s mean sum mu^2,        r = pi(a|s) / pi_old(a|s)

The last two are this project's own; see `policy.ppo`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True)
class Weights:
    """Of the loss; what each is for is said in `policy.ppo.PPO`."""

    clip: float
    value: float
    entropy: float
    beyond: float
    still: float


def loss(
    mean: Float[Tensor, "M A"],
    log_std: Float[Tensor, "M A"],
    value: Float[Tensor, "M"],
    actions: Float[Tensor, "M A"],
    logs: Float[Tensor, "M"],
    advantages: Float[Tensor, "M"],
    returns: Float[Tensor, "M"],
    weights: Weights,
) -> Float[Tensor, ""]:
    """L for the policy's mean, logarithm of the spread and value at M samples, with gradients of those three alone.

    Args:
        mean: Mean action.
        log_std: Logarithm of the exploration's spread.
        value: V.
        actions: What was drawn ...
        logs: ... and the logarithm of its probability then, as `network.log_probability` has it.
        advantages: A, not yet centred and scaled.
        returns: R.
        weights: Of the parts.
    """
    out: Tensor = _Loss.apply(mean, log_std, value, actions, logs, advantages, returns, weights)
    return out


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        mean: Tensor,
        log_std: Tensor,
        value: Tensor,
        actions: Tensor,
        logs: Tensor,
        advantages: Tensor,
        returns: Tensor,
        weights: Weights,
    ) -> Tensor:
        share = 1 / len(value)
        inverse = torch.exp(-log_std)
        off = (actions - mean) * inverse
        square = off.square()
        ratio = ((-0.5 * square - log_std).sum(dim=-1) - logs).exp_()
        a = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        gain, bounded = ratio * a, ratio.clamp(1 - weights.clip, 1 + weights.clip) * a
        miss, outside = value - returns, (mean.abs() - 1).clamp_(min=0)
        more = weights.beyond * outside.square() + weights.still * mean.square() - weights.entropy * log_std
        each = weights.value * miss.square() - torch.minimum(gain, bounded) + more.sum(dim=-1)
        # by the logarithm of the new probability; where the clipped ratio is the less, by nothing
        g_log = ((-share * gain) * (gain <= bounded)).unsqueeze(-1)
        g_mean = g_log * off * inverse + 2 * share * (weights.beyond * outside * mean.sign() + weights.still * mean)
        ctx.needed = g_mean, g_log * (square - 1) - share * weights.entropy, 2 * share * weights.value * miss
        return each.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        return (*(g * needed for needed in ctx.needed), None, None, None, None, None)
