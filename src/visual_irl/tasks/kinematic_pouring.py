"""Pouring without physics: take the bottle, carry it upright, fill the cup, put the bottle away. Batched in torch.

A point hand moves freely and tilts about one axis. What it holds tilts with it; a tilted bottle runs out at its mouth, into
the cup where that is below, elsewhere on the table, and so does what no longer fits. What is spilled is lost for good.
The table bears a held bottle, and the hand with it: its lowest point stays above the table.

An observation is `hand (3), bottle (3), cup (3), held (2), attribute (2), tilt (2), level (2), hand tilt (1), gripper (1)`;
positions in metres in the base frame, held 0 or 1, attribute 0 for a bottle and 1 for a cup, tilt in radians from upright,
level in fills of the cup, gripper from -1 (open) to 1 (closed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.tasks.point_hand import PointHandBatch, PointHandTask, disturbed
from visual_irl.tasks.situation import Situation, Vessels

BOTTLE, CUP = 0, 1
"""Index of each thing, and its attribute."""


@dataclass(frozen=True)
class KinematicPouring(PointHandTask):
    """The task: where things stand, what the vessels are like, and how hand and liquid move."""

    bottle_start: tuple[tuple[float, float], tuple[float, float]] = ((0.35, -0.35), (0.55, -0.15))
    """Corners of the rectangle in which the bottle starts [m]."""
    cup_start: tuple[tuple[float, float], tuple[float, float]] = ((0.35, 0.0), (0.6, 0.2))
    """Corners of the rectangle in which the cup stands [m]."""
    disposal: tuple[float, float] = (0.25, 0.4)
    """Where the bottle is put away [m]."""
    cup_radius: float = 0.045
    """The stream must meet the cup within this of its axis [m]."""
    cup_height: float = 0.09
    """Height of the rim [m]."""
    neck: float = 0.08
    """From where the bottle is held, and its centre, to its mouth [m]."""
    content: float = 1.3
    """What the bottle holds at first [fills of the cup]."""
    flow: float = 0.1
    """What runs out in a step at `full_tilt` [fills of the cup]."""
    first_tilt: float = 1.0
    """Above this the bottle runs out [rad] ..."""
    full_tilt: float = 2.0
    """... and at this fastest [rad]."""
    most_tilt: float = 2.2
    """How far the hand can tilt [rad]; it cannot tilt the other way."""
    steps: int = 70
    """Length of an episode [steps]."""
    tilt_step: float = 0.35
    """Tilt of a full action [rad]."""
    topples: float = 0.5
    """A bottle that is let go with more tilt than this falls over and loses all that is in it [rad]."""
    standing: float = 0.075
    """Height at which a standing bottle's centre is [m]; lying it is at a third of that."""
    disposal_distance: float = 0.08
    """The bottle is put away when it is nearer than this to its place [m]."""
    full: float = 0.95
    """The cup is full from this level on, and no more than the rest to 1 may be spilled."""
    noun: ClassVar[str] = "kinematic pouring"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidInput(f"kinematic pouring: steps is {self.steps}; give at least 1")
        if not self.content >= 1:
            raise InvalidInput(f"kinematic pouring: content is {self.content}; a cup cannot be filled with less than 1")
        if not 0 < self.first_tilt < self.full_tilt <= self.most_tilt:
            raise InvalidInput(
                f"kinematic pouring: first_tilt {self.first_tilt}, full_tilt {self.full_tilt} and most_tilt {self.most_tilt} "
                "must rise from above 0"
            )

    horizon = property(lambda self: self.steps, doc="Length of an episode [steps].")
    observation_size = property(lambda self: 19, doc="Numbers in an observation.")
    positions = property(lambda self: 9, doc="How many of them, the first ones, are coordinates [m].")
    attributes = property(lambda self: 2, doc="A thing is a bottle or a cup.")
    action_size = property(lambda self: 5, doc="Hand motion along three axes, gripper motion and tilt.")

    def build(self, environments: int, seed: int = 0, device: str | torch.device = "cpu") -> KinematicPouringBatch:
        """`environments` copies of the task, at the start of an episode each."""
        return KinematicPouringBatch(self, environments, seed, device)

    def split(self, observations: Float[Tensor, "*B D"]) -> Situation:
        """The situations that observations describe."""
        seen = self.checked_size(observations, self.observation_size)
        hand, things, held, attribute, tilt, level, hand_tilt, gripper = seen.split([3, 6, 2, 2, 2, 2, 1, 1], dim=-1)
        vessels = Vessels(hand_tilt.squeeze(-1), tilt, level, (attribute == CUP) & (level >= self.full))
        return Situation(hand, things.unflatten(-1, (2, 3)), held > 0, attribute.long(), gripper.squeeze(-1), vessels)

    def mouth(self, centre: Float[Tensor, "*B 3"], tilt: Float[Tensor, "*B"]) -> Float[Tensor, "*B 3"]:
        """The mouth of a bottle [m]: it tilts towards positive y."""
        up = torch.stack([torch.zeros_like(tilt), tilt.sin(), tilt.cos()], dim=-1)
        return centre + self.neck * up

    def pouring_place(self, cup: Float[Tensor, "*B 3"]) -> Float[Tensor, "*B 3"]:
        """Where the demonstrator holds the bottle to fill a cup [m]: fully tilted, its mouth is 3 cm above the rim."""
        lean = self.full_tilt
        over = cup.new_tensor([0.0, -self.neck * math.sin(lean), self.cup_height + 0.03 - self.neck * math.cos(lean)])
        return cup * cup.new_tensor([1.0, 1.0, 0.0]) + over

    def disposal_place(self, like: Tensor) -> Float[Tensor, "3"]:
        """Where a standing bottle's centre belongs [m]."""
        return like.new_tensor([*self.disposal, self.standing])

    def spilled(self, now: Situation) -> Float[Tensor, "*B"]:
        """What is on the table [fills of the cup]."""
        return self.content - _vessels(now).level.sum(dim=-1)

    def success(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B"]:
        """Whether the cup is full, nothing to speak of is spilled, and the bottle stands at its last place, let go."""
        o = self.split(observations)
        v, bottle = _vessels(o), o.things[..., BOTTLE, :]
        away = (bottle - self.disposal_place(bottle)).norm(dim=-1) < self.disposal_distance
        upright = v.tilt[..., BOTTLE].abs() < self.topples
        dry = self.spilled(o) <= 1 - self.full
        return (v.level[..., CUP] >= self.full) & dry & away & upright & ~o.held[..., BOTTLE]

    def true_reward(self, observations: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """Of the state that a step led to: ways still to go [m], what is not in the cup, what is spilled.

        While the cup is not full `-(|hand - bottle| + |bottle - over the cup| + .2 |tilt still to go| + missing + 1)`, then
        `-(|hand - bottle| [held or not away] + |bottle - its place| + .2 tilt + .2 [held])`, and always `-3 spilled`.
        """
        o = self.split(observations)
        v, bottle, cup = _vessels(o), o.things[..., BOTTLE, :], o.things[..., CUP, :]
        reach = (o.hand - bottle).norm(dim=-1)
        missing = (1 - v.level[..., CUP]).clamp(min=0)
        over = (bottle - self.pouring_place(cup)).norm(dim=-1)
        lean = torch.where((over < 0.06) & o.held[..., BOTTLE], self.full_tilt - v.hand_tilt, self.full_tilt + v.hand_tilt)
        filling = reach + over + 0.2 * lean.abs() + missing + 1
        home = (bottle - self.disposal_place(bottle)).norm(dim=-1)
        held = o.held[..., BOTTLE].to(home.dtype)
        away = home < self.disposal_distance
        leaving = reach * ~away + home + 0.2 * v.tilt[..., BOTTLE].abs() + 0.2 * held
        return -torch.where(v.level[..., CUP] < self.full, filling, leaving) - 3 * self.spilled(o).clamp(min=0)

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 5"]:
        """Scripted demonstrator: takes the bottle, tilts it over the cup, less when that is nearly full, and puts it away."""
        o = self.split(observations)
        v, bottle, cup, held = _vessels(o), o.things[..., BOTTLE, :], o.things[..., CUP, :], o.held[..., BOTTLE]
        over, home = self.pouring_place(cup), self.disposal_place(bottle).expand_as(bottle)
        missing = 1 - v.level[..., CUP]
        filled = missing < 0.03
        away = (bottle - home).norm(dim=-1) < self.disposal_distance
        ended = filled & away & ~held
        near = (o.hand - over).norm(dim=-1) < 0.03
        upright = v.hand_tilt < 0.3
        above = home + home.new_tensor([0.0, 0.0, 0.15])
        goal = torch.where(held[:, None], torch.where(filled[:, None], home, over), bottle)
        goal = torch.where(ended[:, None], above, goal)
        goal = torch.where((held & filled & ~upright)[:, None], over, goal)  # upright first, then away
        move = self.towards(goal, o.hand)
        lean = self.first_tilt + (self.full_tilt - self.first_tilt) * (missing / 0.4).clamp(0.25, 1)
        lean = torch.where(held & near & ~filled, lean, 0.0)
        turn = ((lean - v.hand_tilt) / self.tilt_step).clamp(-0.8, 0.8)
        down = filled & ((o.hand - home).norm(dim=-1) < 0.03) & upright
        close = torch.where(held, ~down, ((o.hand - bottle).norm(dim=-1) < 0.1) & ~ended)
        return disturbed(torch.cat([move, torch.where(close, 1.0, -1.0)[:, None], turn[:, None]], dim=-1), noise, generator)


MOVED_PLACES = partial(
    KinematicPouring,
    bottle_start=((0.35, 0.25), (0.55, 0.4)),
    cup_start=((0.3, -0.15), (0.6, 0.05)),
    disposal=(0.5, -0.42),
)
OTHER_CUP = partial(KinematicPouring, cup_radius=0.035, cup_height=0.13, content=1.6, flow=0.14)


class KinematicPouringBatch(PointHandBatch):
    """Copies of the task. A step is short tensors and many operations, so that each of these counts: none is done twice."""

    task: KinematicPouring

    def _begin(self, n: int) -> None:
        task = self.task
        heights = torch.tensor([[task.standing], [task.cup_height / 2]], device=self.device).expand(n, 2, 1)
        xy = torch.stack([self._uniform(task.bottle_start, (n, 2)), self._uniform(task.cup_start, (n, 2))], dim=1)
        self._bottle, self._cup = torch.cat([xy, heights], dim=-1).unbind(1)
        self._hand = self._uniform(task.hand_start, (n, 3))
        self._held = torch.zeros(n, dtype=torch.bool, device=self.device)
        self._tilt, self._hand_tilt = torch.zeros(n, device=self.device), torch.zeros(n, device=self.device)
        self._in_bottle, self._in_cup = torch.full_like(self._tilt, task.content), torch.zeros_like(self._tilt)

    def _take(self, now: Situation) -> None:
        v = _vessels(now)
        (self._bottle, self._cup), self._held = now.things.unbind(1), now.held[:, BOTTLE]
        self._tilt, self._hand_tilt = v.tilt[:, BOTTLE], v.hand_tilt
        self._in_bottle, self._in_cup = v.level.unbind(1)

    def observe(self) -> Float[Tensor, "B D"]:
        """Current observations."""
        constant = self._hand.new_tensor([0.0, BOTTLE, CUP]).expand(self.environments, 3)  # the cup is not held; attributes
        columns = (self._in_bottle, self._in_cup, self._hand_tilt, self._gripper)
        own = [self._held.to(self._tilt.dtype), *constant.unbind(1), self._tilt, constant[:, 0], *columns]
        return torch.cat([self._hand, self._bottle, self._cup, torch.stack(own, dim=1)], dim=1)

    def _act(self, more: Float[Tensor, "B 1"]) -> None:
        """The hand tilts, and with it what it holds; what is let go falls; what is tilted runs out."""
        task = self.task
        self._hand_tilt = (self._hand_tilt + task.tilt_step * more[:, 0]).clamp(0, task.most_tilt)
        near = (self._hand - self._bottle).norm(dim=-1) < task.grasp_distance
        self._held = held = (self._gripper > 0) & (self._held | near)
        toppled = ~held & (self._tilt > task.topples)
        self._tilt = torch.where(held, self._hand_tilt, math.pi / 2 * toppled)
        sin, cos = self._tilt.sin(), self._tilt.cos()
        xy, z = self._hand[:, :2], self._hand[:, 2]
        borne = torch.maximum(z, task.standing * cos.abs() + task.standing / 3 * sin.abs())
        fallen = torch.maximum(self._bottle[:, 2] - task.fall_step, task.standing - 2 / 3 * task.standing * toppled)
        height = torch.where(held, borne, fallen)[:, None]
        self._bottle = torch.cat([torch.where(held[:, None], xy, self._bottle[:, :2]), height], dim=1)
        self._hand = torch.cat([xy, torch.where(held, borne, z)[:, None]], dim=1)
        self._pour(toppled, sin, cos)

    def _pour(self, toppled: Bool[Tensor, "B"], sin: Float[Tensor, "B"], cos: Float[Tensor, "B"]) -> None:
        """What is in a tilted bottle runs out; the cup takes what meets it and fits."""
        task = self.task
        share = ((self._tilt - task.first_tilt) / (task.full_tilt - task.first_tilt)).clamp(0, 1)
        out = torch.where(toppled, self._in_bottle, torch.minimum(task.flow * share, self._in_bottle))
        x, y, z = (self._bottle - self._cup).unbind(1)  # of the bottle's centre; its mouth is `task.mouth`
        y, z = y + task.neck * sin, z + task.neck * cos
        meets = (x.square() + y.square() < task.cup_radius**2) & (z > task.cup_height / 2) & (z < 0.3) & ~toppled
        self._in_cup = self._in_cup + torch.minimum(out, 1 - self._in_cup) * meets
        self._in_bottle = self._in_bottle - out


def _vessels(now: Situation) -> Vessels:
    assert now.vessels is not None  # `split` made it
    return now.vessels
