"""The layers of a policy over things, forward and backward written out.

The same as a handful of `nn.Linear` and `torch.tanh`, but quicker: what is as large as all samples is made once, changed in
place and not kept twice; layers of the same input are one; tanh(x) = 2 s(2x) - 1 leaves only the logistic function s to
samples, as what is before and after it goes into the weights; and samples are the last axis wherever others are short.
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
Logistic = tuple[Tensor, ...]
"""The same layers with the logistic function for tanh, as `logistic` makes them."""


def through(
    layers: Layers, things: Float[Tensor, "B N F"], phase: Float[Tensor, "B P"], ready: Logistic | None = None
) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B"]]:
    """The mean action, and the value of the mean of all things.

    `e = tanh(encode(x))`, `p = tanh(propose(e, mean e))`, `j = tanh(judge(e, mean e))`. Each thing proposes an action for each
    phase; the mean is of those for the present one, weighted by softmax over the things of `attention(p)`:
    `sum softmax(attention(p)) action(p)`. The value is the present phase's of `value(mean j)`. Gradients are of the weights
    alone. Who asks often while weights stay the same gives what `logistic` made.
    """
    weights = [layer.weight for layer in layers] + [layer.bias for layer in layers]
    if torch.is_grad_enabled():
        mean, value = _Through.apply(things, phase, *weights)
        return mean, value
    return _forward(things, phase, ready or _logistic(*weights))[:2]


def logistic(layers: Layers) -> Logistic:
    """Weights and biases for `through`; they hold for these weights only."""
    return _logistic(*(layer.weight for layer in layers), *(layer.bias for layer in layers))


def _logistic(*weights: Tensor) -> Logistic:
    """With s for each tanh: `2 (W x + b)` goes into the first, `W (2 s - 1) + b = 2 W s + (b - W 1)` into the others."""
    (encode, propose, judge, action, attention, value), biases = weights[:6], weights[6:]
    beside, head = torch.cat([propose, judge]), torch.cat([action, attention])
    own, common = (4 * beside).chunk(2, dim=1)
    return (
        2 * encode,
        2 * biases[0],
        own,
        own + common,
        2 * (torch.cat(biases[1:3]) - beside.sum(dim=1)),
        2 * head,
        (torch.cat(biases[3:5]) - head.sum(dim=1)).unsqueeze(1),
        2 * value,
        (biases[5] - value.sum(dim=1)).unsqueeze(1),
    )


def _forward(things: Tensor, phase: Tensor, ready: Logistic) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
    """What comes out, and what `_Through.backward` needs: what the layers were given, all of it by the logistic function.

    A layer of `e_i` beside their mean m is `own e_i + common m = own (e_i - m) + (own + common) m`, and the deviations from a
    mean add up to 0: N products for N things, not N + 1.
    """
    encode, to_encode, own, both, to_beside, head, to_head, value, to_value = ready
    (count, n, _), width, phase = things.shape, len(encode), phase.t().contiguous()
    x = things.transpose(0, 1).flatten(0, 1)  # (N B): the first thing of each state, then the second
    e = torch.addmm(to_encode, x, encode.t()).sigmoid_()
    m = _sum(e, n).div_(n)
    off = e[:-count].unflatten(0, (-1, count)) - m
    pj = e.new_empty(n, count, 2 * width)
    torch.addmm(to_beside, m, both.t(), out=pj[-1])
    if n > 1:
        torch.mm(off.flatten(0, 1), own.t(), out=pj[:-1].flatten(0, 1))
        last = pj[-1] - (pj[0] if n == 2 else pj[:-1].sum(dim=0))
        pj[:-1] += pj[-1]
        pj[-1] = last
    pj = pj.flatten(0, 1).sigmoid_()
    mean_j = _sum(pj[:, width:], n).div_(n)
    proposed = torch.addmm(to_head, head, pj[:, :width].t()).unflatten(1, (n, count))
    actions = proposed[: -len(phase)].unflatten(0, (len(phase), -1))  # (P A N B)
    attention = proposed[-len(phase) :] + phase.log().unsqueeze(1)  # none to what another phase proposes
    weight = attention.flatten(0, 1).softmax(dim=0).view_as(attention)
    mean = (weight.unsqueeze(1) * actions).sum(dim=0).sum(dim=1)
    values = (torch.addmm(to_value, value, mean_j.t()) * phase).sum(dim=0)
    needed = (x, phase, e, m, off, pj, mean_j, own, both, head, value, actions, weight, mean)
    return mean.t().contiguous(), values, needed


class _Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, things: Tensor, phase: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        mean, value, ctx.needed = _forward(things, phase, _logistic(*weights))
        ctx.actions = len(weights[3])
        return mean, value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g_mean: Tensor, g_value: Tensor) -> tuple[Tensor | None, ...]:
        x, phase, e, m, off, pj, mean_j, own, both, head, value, actions, weight, mean = ctx.needed
        (count, width), n = m.shape, len(off) + 1
        g_mean, g_value = g_mean.t().contiguous(), g_value * phase
        along = (actions * g_mean[:, None]).sum(dim=1) - (mean * g_mean).sum(dim=0)
        to_actions = (weight.unsqueeze(1) * g_mean[:, None]).flatten(0, 1)
        g_proposed = torch.cat([to_actions, weight * along]).flatten(1)
        g_pj = torch.empty_like(pj)
        torch.mm(g_proposed.t(), head, out=g_pj[:, :width])
        g_pj.unflatten(0, (n, -1))[..., width:] = (g_value.t() @ value).div_(n)
        _before(g_pj, pj)
        each = g_pj.unflatten(0, (n, count))
        total, apart = _sum(g_pj, n), each[:-1] - each[-1]
        to_common, to_off = total.t() @ m, apart.flatten(0, 1).t() @ off.flatten(0, 1)
        g_off = (apart.flatten(0, 1) @ own).unflatten(0, (-1, count))
        g_m = (total @ both).sub_(g_off.sum(dim=0)).div_(n)
        g_e = torch.cat([g_off + g_m, g_m.unsqueeze(0)]).flatten(0, 1)
        _before(g_e, e)
        # back to the weights of tanh: each is in `2 W` (before a tanh in `4 W`), and in the bias as `-W 1`
        to_head_bias, to_pj_bias, to_value_bias = g_proposed.sum(dim=1), total.sum(dim=0), g_value.sum(dim=1)
        to_beside = torch.cat([to_off + to_common, to_common], dim=1).mul_(4).sub_(2 * to_pj_bias[:, None])
        to_head = (g_proposed @ pj[:, :width]).mul_(2).sub_(to_head_bias[:, None])
        to_value = (g_value @ mean_j).mul_(2).sub_(to_value_bias[:, None])
        return (
            None,
            None,
            (g_e.t() @ x).mul_(2),
            *to_beside.tensor_split([width]),
            *to_head.tensor_split([ctx.actions]),
            to_value,
            2 * g_e.sum(dim=0),
            *(2 * to_pj_bias).tensor_split([width]),
            *to_head_bias.tensor_split([ctx.actions]),
            to_value_bias,
        )


def _before(gradient: Tensor, s: Tensor) -> None:
    """The gradient of what the logistic function was taken of, in place."""
    torch.ops.aten.sigmoid_backward.grad_input(gradient, s, grad_input=gradient)


def _sum(each: Tensor, n: int) -> Tensor:
    """Over the n things of each state, of which there are few."""
    first, *others = each.chunk(n)
    total = first.clone()
    for other in others:
        total += other
    return total
