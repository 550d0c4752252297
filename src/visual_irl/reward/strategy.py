"""What demonstrations have in common, as what is still to do from any situation: metres, events, turns and pouring.

A strategy knows no dynamics and no actions: only where things are taken, poured from, let go and left, and in which order.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.reward.order import earlier
from visual_irl.reward.places import Place
from visual_irl.tasks.situation import Situation

TERMS = ("reach", "carry", "retreat", "picks", "releases", "turn", "pour", "lost")
"""What a cost-to-go is made of: metres to reach, carry and retreat; events that are still to come; radians to turn; what is
still to pour; and what was spilled, which nothing brings back."""
OPENING = 0.5
"""Share of a release that opening the gripper is: if it were all of it, a hand that stops just short of letting go had no
reason to go on."""
LAST_THING = "the last thing"
"""Anchor of the hand's place at the end."""


@dataclass(frozen=True)
class Pour:
    """How one thing is emptied into another."""

    emptied: int
    """Attribute of the thing that is poured from ..."""
    filled: int
    """... and of the one that it is poured into."""
    place: Place
    """The emptied thing while it is poured [m]."""
    near: float
    """At its place it is when nearer than this, and no more at three times as far [m]."""
    tilt: float
    """Tilt of the emptied thing while it is poured [rad] ..."""
    upright: float
    """... and while it is carried."""
    goal: float
    """Level of the filled thing at the end ..."""
    enough: float
    """... and from which on pouring is over, as it is when nothing is left."""
    kept: float
    """What all things hold together."""


@dataclass(frozen=True)
class Strategy:
    """What the demonstrations have in common."""

    grip: Float[ndarray, "3"]
    """The hand from the thing at the pick [m]."""
    release: Place
    """The thing when it is let go."""
    rest: Place
    """The thing after that."""
    tolerance: float
    """A loose thing nearer than this to its rest is done with [m]."""
    end: Place
    """The hand when all is done."""
    opening: tuple[float, float]
    """The gripper while it carries and when it lets go."""
    handled: tuple[int, ...]
    """Attributes of things that were picked up and let go."""
    idle: tuple[int, ...] = ()
    """Attributes of things that were there and that nobody touched: they stay, and others may belong beside them."""
    pour: Pour | None = None
    """What is poured on the way, if anything."""
    order: tuple[tuple[int, int], ...] = ()
    """Pairs of attributes: things with the first are handled before things with the second; see `reward.order`."""

    def remaining(self, now: Situation) -> Float[Tensor, "*B 8"]:
        """What is still to do, by `TERMS`: what is held first, then always the nearest thing that is not done and whose turn it
        is. What is held before its turn is to be put down, and taken again."""
        self._warn_of_others(now.attribute)
        anchors = anchors_of(now, self.idle)
        release, rest = self.release.at(now.attribute, anchors), self.rest.at(now.attribute, anchors)
        idle = torch.zeros_like(now.held)
        for kind in self.idle:
            idle = idle | (now.attribute == kind)
        grip = now.hand.new_tensor(self.grip)
        off = length(now.things - rest)
        done = ~now.held & (off < self.tolerance)
        onward = length(now.things - release)
        turn, missing, lost = (torch.zeros_like(now.gripper) for _ in range(3))
        level = torch.ones_like(now.held)  # which things may be let go
        if self.pour is not None:
            over, place, turn, missing, lost, level = self._pouring(self.pour, now, anchors)
            done = done & level & over
            onward = torch.where(over, onward, length(now.things - place) + length(place - release))
        carried, ahead = now.held, earlier(now.attribute, self.order) if self.order else None
        if ahead is not None:
            soon = ~waiting(~done & ~idle, ahead)
            done, carried = done & soon, carried & soon
        carry_each = torch.where(done, off, onward).masked_fill(idle, 0.0)
        finally_at = torch.where(done[..., None], now.things, rest)
        todo = ~done & ~carried & ~idle
        carrying = carried.any(dim=-1)
        first = carried.float().argmax(dim=-1)
        at = torch.where(carrying[..., None], _pick(release, first), now.hand)
        reach = torch.zeros_like(now.gripper)
        left = todo
        for _ in range(todo.shape[-1]):
            blocked = ~left if ahead is None else ~left | waiting(left, ahead)
            distance = length(at.unsqueeze(-2) - now.things - grip).masked_fill(blocked, torch.inf)
            nearest, which = distance.min(dim=-1)
            some = nearest.isfinite()
            reach = reach + torch.where(some, nearest, 0.0)
            at = torch.where(some[..., None], _pick(release, which), at)
            left = left & ~torch.nn.functional.one_hot(which, todo.shape[-1]).bool()
        ends = self.end.at(now.attribute, anchors | {LAST_THING: finally_at})
        others = idle & ~idle.all(dim=-1, keepdim=True)  # where nothing is to do the hand leaves all the same
        retreat = length(at.unsqueeze(-2) - ends).masked_fill(others, torch.inf).amin(dim=-1)
        picks = todo.float().sum(dim=-1)
        there = carried & (carry_each < self.tolerance) & level
        releasing = torch.where(there, self._still_held(now.gripper).unsqueeze(-1), now.held.float()).sum(dim=-1)
        return torch.stack([reach, carry_each.sum(dim=-1), retreat, picks, picks + releasing, turn, missing, lost], dim=-1)

    def _pouring(
        self, p: Pour, now: Situation, anchors: Mapping[str, Tensor]
    ) -> tuple[Bool[Tensor, "*B N"], Tensor, Tensor, Tensor, Tensor, Bool[Tensor, "*B N"]]:
        """For each thing whether it need not be poured from any more, where that is done, and whether it is upright; and in
        all what is still to turn, to pour, and lost."""
        v = now.vessels
        if v is None:
            raise InvalidInput("this reward is of pouring, and the situations have no vessels; use it in a task that pours")
        emptied, filled = now.attribute == p.emptied, now.attribute == p.filled
        in_it = (v.level * filled).sum(dim=-1)
        rest_of_it = (v.level * emptied).sum(dim=-1)
        finished = (in_it >= p.enough) | (rest_of_it < 1e-3)
        over = ~emptied | finished.unsqueeze(-1)
        place = p.place.at(now.attribute, anchors)
        off = length(now.things - place).masked_fill(~(now.held & emptied), torch.inf).amin(dim=-1)
        away = ((off - p.near) / (2 * p.near)).clamp(0, 1)  # at its place it tilts, far from it not, between more and more
        way = abs(p.tilt - p.upright)
        lean = (v.hand_tilt - p.upright).abs()
        towards = (1 - away) * (p.tilt - v.hand_tilt).abs() + away * (lean + way) + way  # there and back
        upright = (v.tilt - p.upright).abs() < way / 2
        missing = (p.goal - in_it).clamp(min=0)
        lost = (p.kept - v.level.sum(dim=-1)).clamp(min=0)
        return over, place, torch.where(finished, lean, towards), missing, lost, upright

    def _warn_of_others(self, attribute: Int[Tensor, "*B N"]) -> None:
        """What no demonstration shows is a guess, even where several attributes share a place."""
        others = sorted(set(attribute.unique().tolist()) - {*self.handled, *self.idle})
        if others:
            missing, shown = (", ".join(map(str, kinds)) for kinds in (others, self.handled))
            warnings.warn(
                f"no demonstration shows where things with attribute {missing} belong (shown: {shown}); they are taken to "
                "where others go, which is a guess: add a demonstration with one of each",
                stacklevel=2,
            )

    def _still_held(self, gripper: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """What is left of a release that is under way, at its place: less as the gripper opens, but some until it is done."""
        closed, loose = self.opening
        if closed - loose <= 0.1:
            return torch.ones_like(gripper)
        return 1 - OPENING * (1 - ((gripper - loose) / (closed - loose)).clamp(0, 1))


def waiting(left: Bool[Tensor, "*B N"], ahead: Bool[Tensor, "*B N N"]) -> Bool[Tensor, "*B N"]:
    """Whose turn it is not: something that is left must be handled before."""
    return (ahead & left.unsqueeze(-2)).any(dim=-1)


def anchors_of(now: Situation, idle: tuple[int, ...]) -> dict[str, Float[Tensor, "*B 1 3"]]:
    """Where the things stand that nobody moves, by the name that a place's frame has; the mean of those of a kind."""
    anchors = {}
    for kind in idle:
        of_kind = (now.attribute == kind)[..., None].to(now.things.dtype)
        anchors[anchor_name(kind)] = (now.things * of_kind).sum(-2, keepdim=True) / of_kind.sum(-2, keepdim=True).clamp(min=1)
    return anchors


def anchor_name(kind: int) -> str:
    """Name of a frame that moves with the things of an attribute."""
    return f"things with attribute {kind}"


def length(v: Tensor) -> Tensor:
    """Norm with a finite gradient at zero."""
    return torch.sqrt((v * v).sum(-1) + 1e-10)


def _pick(points: Float[Tensor, "*B N 3"], which: Tensor) -> Float[Tensor, "*B 3"]:
    return points.gather(-2, which[..., None, None].expand(*which.shape, 1, 3)).squeeze(-2)
