"""What networks see of a situation: relations of the hand to each thing, the same for policies and for learned rewards."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.tasks.situation import Situation


def relational_features(now: Situation, attributes: int) -> Float[Tensor, "*B N F"]:
    """What the hand sees of each thing, all about one in size: both places, the way to it, held, its attribute, and how
    several things stand to each other or, where something is poured, how far hand and thing are tilted and what is in it."""
    hand, n = now.hand, now.things.shape[-2]
    own = torch.cat([4 * hand - 1.2, now.gripper[..., None]], dim=-1).unsqueeze(-2).expand(*hand.shape[:-1], n, 4)
    every = torch.arange(attributes, device=hand.device)
    kind = (now.attribute.clamp(max=attributes - 1).unsqueeze(-1) == every).to(hand.dtype)
    place = 4 * now.things - 1.2
    apart, held = 8 * (now.things - hand.unsqueeze(-2)), now.held[..., None].to(hand.dtype)
    by_kind = (kind[..., None] * (2 * place).unsqueeze(-2)).flatten(-2)
    seen = [own, place, apart, held, kind, by_kind]
    if now.vessels is None:
        return torch.cat(seen if n == 1 else [*seen, 8 * _ways(now.things, kind)], dim=-1)
    v = now.vessels
    seen += [v.hand_tilt[..., None, None].expand_as(held), v.tilt[..., None], 2 * v.level[..., None]]
    full = v.full.any(dim=-1)[..., None, None].to(hand.dtype).expand_as(held)
    either = torch.cat(seen, dim=-1)
    return torch.cat([(1 - full) * either, full * either, full], dim=-1)


def _ways(things: Float[Tensor, "*B N 3"], kind: Float[Tensor, "*B N K"]) -> Float[Tensor, "*B N W"]:
    """From each thing to the mean of those of each kind, in columns of its own kind (W = 3 K K); 0 to a kind that is not there.

    Where a thing belongs often is beside another one. Two places and the kinds say so, too, but a policy that must find their
    difference, kind by kind, is slow to learn when something is where it belongs.
    """
    count = kind.sum(dim=-2)
    mean = (kind.mT @ things) / count.clamp(min=1).unsqueeze(-1)
    way = (mean.unsqueeze(-3) - things.unsqueeze(-2)) * (count > 0)[..., None, :, None]
    return (kind[..., None, None] * way.unsqueeze(-3)).flatten(-3)
