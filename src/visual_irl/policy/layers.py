"""The layers of a policy over things, forward and backward written out.

The same as a handful of `nn.Linear` and `torch.tanh`, but quicker: what is as large as all samples is made once, changed in
place and not kept twice, and the hyperbolic tangent goes by the logistic function, five times as fast on a CPU.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

Layers = tuple[nn.Linear, nn.Linear, nn.Linear, nn.Linear, nn.Linear, nn.Linear]
"""`encode` (F -> W), `propose` and `judge` (2 W -> W, of a thing beside the mean of all), and what is made of a proposal,
`action` and `attention`, and of what is judged, `value`."""


def through(
    layers: Layers, things: Float[Tensor, "B N F"]
) -> tuple[Float[Tensor, "B N A"], Float[Tensor, "B N P"], Float[Tensor, "B P"]]:
    """What `action` and `attention` make of each thing, and `value` of the mean of all.

    `e = tanh(encode(x))`, `p = tanh(propose(e, mean e))`, `j = tanh(judge(e, mean e))`; then `action(p)`, `attention(p)`,
    `value(mean j)`. Gradients are of the weights alone.
    """
    weights = [layer.weight for layer in layers] + [layer.bias for layer in layers]
    proposed, value = _Through.apply(things, *weights) if torch.is_grad_enabled() else _forward(things, *weights)[:2]
    action, attention = proposed.split([layers[3].out_features, layers[4].out_features], dim=-1)
    return action, attention, value


def _forward(things: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """What comes out, and what `_Through.backward` needs."""
    (encode, propose, judge, action, attention, value), biases = weights[:6], weights[6:]
    n = things.shape[-2]
    x = things.reshape(-1, things.shape[-1])
    e = _tanh(torch.addmm(biases[0], x, encode.t()))
    m = _mean(e, n)
    p = _tanh(_beside_mean(propose, biases[1], e, m, n))
    j = _tanh(_beside_mean(judge, biases[2], e, m, n))
    mean_j = _mean(j, n)
    head = torch.cat([action, attention])
    proposed = torch.addmm(torch.cat(biases[3:5]), p, head.t()).unflatten(0, (-1, n))
    return proposed, torch.addmm(biases[5], mean_j, value.t()), (x, e, m, p, j, mean_j, propose, judge, head, value)


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, things: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        proposed, value, needed = _forward(things, *weights)
        ctx.save_for_backward(*needed)
        ctx.actions = len(weights[3])
        return proposed, value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_proposed: Tensor, g_value: Tensor) -> tuple[Tensor | None, ...]:
        x, e, m, p, j, mean_j, propose, judge, head, value = ctx.saved_tensors
        n = len(e) // len(m)
        g_proposed = g_proposed.flatten(0, 1)
        g_p = _before_tanh(g_proposed @ head, p)
        g_mean_j = (g_value @ value).div_(n)
        g_j = torch.ops.aten.tanh_backward(g_mean_j.unsqueeze(1), j.unflatten(0, (-1, n))).flatten(0, 1)
        g_e, to_propose = _back_beside_mean(g_p, propose, e, m, n)
        g_e_too, to_judge = _back_beside_mean(g_j, judge, e, m, n)
        g_e = _before_tanh(g_e.add_(g_e_too), e)
        to_action, to_attention = (g_proposed.t() @ p).tensor_split([ctx.actions])
        to_action_bias, to_attention_bias = g_proposed.sum(0).tensor_split([ctx.actions])
        return (
            None,
            g_e.t() @ x,
            to_propose,
            to_judge,
            to_action,
            to_attention,
            g_value.t() @ mean_j,
            g_e.sum(0),
            g_p.sum(0),
            g_j.sum(0),
            to_action_bias,
            to_attention_bias,
            g_value.sum(0),
        )


def _beside_mean(weight: Tensor, bias: Tensor, e: Tensor, m: Tensor, n: int) -> Tensor:
    """A layer of each thing beside the mean of all, which is multiplied once, not N times; for one thing it is itself."""
    own, common = weight.chunk(2, dim=1)
    if n == 1:
        return torch.addmm(bias, e, (own + common).t())
    out = torch.addmm(bias, e, own.t())
    out.unflatten(0, (-1, n)).add_((m @ common.t()).unsqueeze(1))
    return out


def _back_beside_mean(g: Tensor, weight: Tensor, e: Tensor, m: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Gradients of what that layer is given and of its weights."""
    own, common = weight.chunk(2, dim=1)
    to_own = g.t() @ e
    if n == 1:
        return g @ (own + common), torch.cat([to_own, to_own], dim=1)
    total = g.unflatten(0, (-1, n)).sum(dim=1)
    g_e = g @ own
    g_e.unflatten(0, (-1, n)).add_((total @ common).div_(n).unsqueeze(1))
    return g_e, torch.cat([to_own, total.t() @ m], dim=1)


def _tanh(x: Tensor) -> Tensor:
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def _before_tanh(gradient: Tensor, y: Tensor) -> Tensor:
    """The gradient of what tanh was taken of, in place."""
    torch.ops.aten.tanh_backward.grad_input(gradient, y, grad_input=gradient)
    return gradient


def _mean(each: Tensor, n: int) -> Tensor:
    return each if n == 1 else each.unflatten(0, (-1, n)).mean(dim=1)
