"""The layers of a policy that are written out are those of torch, forward and backward, for one thing and for several."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from visual_irl.policy.layers import Layers, through

SAMPLES, FEATURES, WIDTH = 5, 7, 4


def made() -> Layers:
    torch.manual_seed(0)
    shapes = [(FEATURES, WIDTH), (2 * WIDTH, WIDTH), (2 * WIDTH, WIDTH), (WIDTH, 6), (WIDTH, 2), (WIDTH, 2)]
    return tuple(nn.Linear(*shape, dtype=torch.float64) for shape in shapes)


def plain(layers: Layers, things: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    encode, propose, judge, action, attention, value = layers
    each = torch.tanh(encode(things))
    beside = torch.cat([each, each.mean(dim=-2, keepdim=True).expand_as(each)], dim=-1)
    proposal = torch.tanh(propose(beside))
    return action(proposal), attention(proposal), value(torch.tanh(judge(beside)).mean(dim=-2))


@pytest.mark.parametrize("things", [1, 2, 3])
def test_what_comes_out_and_every_gradient_are_those_of_torch(things: int) -> None:
    layers = made()
    seen = torch.randn(SAMPLES, things, FEATURES, dtype=torch.float64)
    weights = [w for layer in layers for w in layer.parameters()]
    own, expected = through(layers, seen), plain(layers, seen)
    asked = [torch.randn_like(out) for out in own]  # any gradient of what comes out
    for a, b in zip(own, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)  # rounding of sums
    for a, b in zip(torch.autograd.grad(own, weights, asked), torch.autograd.grad(expected, weights, asked), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)
    with torch.no_grad():
        for a, b in zip(through(layers, seen), own, strict=True):
            assert torch.equal(a, b)
