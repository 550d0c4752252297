"""Which kinds of things are handled before which others: what the nearest-first rule does not explain.

A stack is built from below, whatever lies nearest. Kinds whose order is the same in all demonstrations that show both, even
where the later one was nearer, are kept in that order; of others the nearest is taken first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from visual_irl.reward import phases
from visual_irl.tasks.situation import Situation

LEAST_SHOWN = 2
"""Demonstrations that must show an order: one alone has one anyway."""


def fixed_order(demos: Sequence[Situation], margin: float) -> tuple[tuple[int, int], ...]:
    """Pairs of attributes of which things with the first are handled before things with the second.

    `margin` [m] is by how much the second must have been nearer in some demonstration, when the hand set out for the first.
    """
    ahead: dict[tuple[int, int], list[bool]] = {}
    for demo in demos:
        handled = [(*phases.last_handling(demo.held[:, n].numpy()), n) for n in range(demo.things.shape[1])]
        turns = sorted((pick, release, n) for pick, release, n in handled if pick is not None and release is not None)
        for i, j in itertools.combinations(range(len(turns)), 2):
            start = turns[i - 1][1] if i else 0  # the hand set out for the first
            first, second = turns[i][2], turns[j][2]
            far = (demo.things[start] - demo.hand[start]).norm(dim=-1)
            pair = (int(demo.attribute[0, first]), int(demo.attribute[0, second]))
            ahead.setdefault(pair, []).append(bool(far[second] + margin < far[first]))
    return tuple(
        sorted(
            (a, b)
            for (a, b), nearer in ahead.items()
            if a != b and (b, a) not in ahead and len(nearer) >= LEAST_SHOWN and any(nearer)
        )
    )


def earlier(attribute: Int[Tensor, "*B N"], pairs: tuple[tuple[int, int], ...]) -> Bool[Tensor, "*B N N"]:
    """Whether the second thing must be handled before the first."""
    later, sooner = attribute.unsqueeze(-1), attribute.unsqueeze(-2)
    ahead = torch.zeros(*attribute.shape, attribute.shape[-1], dtype=torch.bool, device=attribute.device)
    for a, b in pairs:
        ahead = ahead | ((sooner == a) & (later == b))
    return ahead
