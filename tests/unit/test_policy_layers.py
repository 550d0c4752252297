"""What is written out of a policy and of its loss is what torch makes of the formulas, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from visual_irl.policy.layers import Layers, logistic, through
from visual_irl.policy.network import log_probability
from visual_irl.policy.surrogate import Weights, loss

SAMPLES, FEATURES, WIDTH, ACTIONS = 5, 7, 4, 3


def made(phases: int) -> Layers:
    torch.manual_seed(0)
    shapes = [
        (FEATURES, WIDTH),
        (2 * WIDTH, WIDTH),
        (2 * WIDTH, WIDTH),
        (WIDTH, phases * ACTIONS),
        (WIDTH, phases),
        (WIDTH, phases),
    ]
    return tuple(nn.Linear(*shape, dtype=torch.float64) for shape in shapes)


def plain(layers: Layers, things: Tensor, phase: Tensor) -> tuple[Tensor, Tensor]:
    encode, propose, judge, action, attention, value = layers
    each = torch.tanh(encode(things))
    beside = torch.cat([each, each.mean(dim=-2, keepdim=True).expand_as(each)], dim=-1)
    proposal = torch.tanh(propose(beside))
    now = phase.argmax(dim=-1)
    rows = torch.arange(len(things))
    actions = action(proposal).unflatten(-1, (phase.shape[-1], ACTIONS))[rows, :, now]
    weight = torch.softmax(attention(proposal)[rows, :, now], dim=-1)
    return (weight.unsqueeze(-1) * actions).sum(dim=-2), value(torch.tanh(judge(beside)).mean(dim=-2))[rows, now]


@pytest.mark.parametrize("things", [1, 2, 3])
@pytest.mark.parametrize("phases", [1, 2])
def test_what_comes_out_and_every_gradient_are_those_of_torch(things: int, phases: int) -> None:
    layers = made(phases)
    seen = torch.randn(SAMPLES, things, FEATURES, dtype=torch.float64)
    phase = nn.functional.one_hot(torch.arange(SAMPLES) % phases, phases).double()
    weights = [w for layer in layers for w in layer.parameters()]
    own, expected = through(layers, seen, phase), plain(layers, seen, phase)
    asked = [torch.randn_like(out) for out in own]  # any gradient of what comes out
    for a, b in zip(own, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)  # rounding of sums
    for a, b in zip(torch.autograd.grad(own, weights, asked), torch.autograd.grad(expected, weights, asked), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    with torch.no_grad():
        for ready in (None, logistic(layers)):
            for a, b in zip(through(layers, seen, phase, ready), own, strict=True):
                assert torch.equal(a, b)


def test_the_loss_and_its_gradient_are_those_of_the_formula() -> None:
    torch.manual_seed(1)
    count, weights = 60, Weights(clip=0.2, value=0.5, entropy=0.01, beyond=1.0, still=0.02)
    mean, log_std = (
        1.5 * torch.randn(count, ACTIONS, dtype=torch.float64),
        0.3 * torch.randn(count, ACTIONS, dtype=torch.float64),
    )
    value, advantages, returns = torch.randn(3, count, dtype=torch.float64)
    actions = mean + torch.randn_like(mean)
    logs = log_probability(actions, mean, log_std) + 0.3 * torch.randn(count)  # ratios on both sides of both bounds
    asked = [x.requires_grad_() for x in (mean, log_std, value)]

    ratio = (log_probability(actions, mean, log_std) - logs).exp()
    a = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    expected = (
        0.5 * (value - returns).square().mean()
        - torch.minimum(ratio * a, ratio.clamp(0.8, 1.2) * a).mean()
        - 0.01 * log_std.sum(dim=-1).mean()
        + (mean.abs() - 1).clamp(min=0).square().sum(dim=-1).mean()
        + 0.02 * mean.square().sum(dim=-1).mean()
    )
    bounded = ((ratio < 0.8) | (ratio > 1.2)) & (ratio * a > ratio.clamp(0.8, 1.2) * a)
    assert 5 < bounded.sum() < count - 5
    own = loss(mean, log_std, value, actions, logs, advantages, returns, weights)
    torch.testing.assert_close(own, expected, rtol=0, atol=1e-12)
    for x, y in zip(torch.autograd.grad(own, asked), torch.autograd.grad(expected, asked), strict=True):
        torch.testing.assert_close(x, y, rtol=0, atol=1e-12)
