"""Pick, inspect and place without physics: many environments at once in torch, on CPU or CUDA, with no loop over them.

A point hand moves freely, an object within reach of a closing gripper is held, and an object let go falls. Each object
has an attribute that says in which bin it belongs. Learners are compared here, where a step costs microseconds.

An observation of N objects is `hand (3), objects (3 N), held (N), attribute (N), gripper (1)`; positions in metres in the
base frame, held 0 or 1, gripper from -1 (open) to 1 (closed).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.tasks.point_hand import PointHandBatch, PointHandTask, disturbed
from visual_irl.tasks.situation import Situation


@dataclass(frozen=True)
class KinematicSorting(PointHandTask):
    """The task: where the bins are, which object goes where, and how hand and objects move."""

    bins: tuple[tuple[float, float, float], ...] = ((0.3, 0.35, 0.05), (0.3, -0.35, 0.05))
    """Centres of the bins [m]."""
    rule: tuple[int, ...] = (0, 1)
    """Bin of each attribute: an object with attribute `a` belongs in `bins[rule[a]]`."""
    objects: int = 1
    """Objects in an episode."""
    steps_per_object: int = 60
    """Length of an episode [steps], for each object."""
    table_height: float = 0.05
    """Height of a resting object's centre [m]."""
    placed_distance: float = 0.08
    """An object is placed when it is nearer than this to its bin [m] ..."""
    bin_half_size: tuple[float, float] | None = None
    """... or, where bins are boxes, when it is inside of one: half their sides along x and y [m]."""
    object_start: tuple[tuple[float, float], tuple[float, float]] = ((0.35, -0.2), (0.6, 0.2))
    """Corners of the rectangle in which objects start [m]."""

    noun: ClassVar[str] = "kinematic sorting"

    def __post_init__(self) -> None:
        for name in ("objects", "steps_per_object"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"kinematic sorting: {name} is {getattr(self, name)}; give at least 1")
        if not self.rule or any(not 0 <= b < len(self.bins) for b in self.rule):
            raise InvalidInput(
                f"kinematic sorting: rule {self.rule} must name bins 0 to {len(self.bins) - 1}, one an attribute"
            )

    @property
    def horizon(self) -> int:
        """Length of an episode [steps]."""
        return self.steps_per_object * self.objects

    @property
    def observation_size(self) -> int:
        """Numbers in an observation."""
        return 4 + 5 * self.objects

    @property
    def positions(self) -> int:
        """How many of them, the first ones, are coordinates [m]."""
        return 3 + 3 * self.objects

    @property
    def attributes(self) -> int:
        """Number of classes that the rule tells apart."""
        return len(self.rule)

    @property
    def action_size(self) -> int:
        """Hand motion along three axes, and gripper motion."""
        return 4

    def build(self, environments: int, seed: int = 0, device: str | torch.device = "cpu") -> KinematicSortingBatch:
        """`environments` copies of the task, at the start of an episode each."""
        return KinematicSortingBatch(self, environments, seed, device)

    def split(self, observations: Float[Tensor, "*B D"]) -> Situation:
        """The situations that observations describe."""
        n = self.objects
        seen = self.checked_size(observations, self.observation_size)
        hand, flat, held, attribute, gripper = seen.split([3, 3 * n, n, n, 1], dim=-1)
        return Situation(hand, flat.unflatten(-1, (n, 3)), held > 0, attribute.long(), gripper.squeeze(-1))

    def target_bins(self, attribute: Tensor) -> Float[Tensor, "*B N 3"]:
        """Centre [m] of the bin of each object."""
        rows = torch.tensor([self.bins[b] for b in self.rule], device=attribute.device)
        return rows[attribute]

    def placed(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B N"]:
        """Which objects are in their bin."""
        o = self.split(observations)
        off = o.things - self.target_bins(o.attribute)
        if self.bin_half_size is None:
            return off.norm(dim=-1) < self.placed_distance
        return (off.abs() < off.new_tensor([*self.bin_half_size, self.placed_distance])).all(dim=-1)

    def success(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B"]:
        """Whether every object is in its bin; an episode succeeds by its last observation."""
        return self.placed(observations).all(dim=-1)

    def true_reward(self, observations: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """`-sum_i ([i not placed] |hand - object_i| + 2 |object_i - bin_i|)` of the state that a step led to."""
        o = self.split(observations)
        reach = (o.hand.unsqueeze(-2) - o.things).norm(dim=-1)
        carry = (o.things - self.target_bins(o.attribute)).norm(dim=-1)
        return -(reach * (carry >= self.placed_distance) + 2 * carry).sum(dim=-1)

    def next_thing(self, o: Situation) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What a demonstrator handles: the held object, else the nearest out of place.

        Returns:
            Its place and its bin's centre (B 3) [m], whether it is held, and whether it is in its bin (B).
        """
        centres = self.target_bins(o.attribute)
        far = (o.hand.unsqueeze(-2) - o.things).norm(dim=-1)
        in_bin = (o.things - centres).norm(dim=-1) < self.placed_distance
        chosen = (far + 1e3 * in_bin - 1e6 * o.held).argmin(dim=-1, keepdim=True)  # held first, placed last
        rows = chosen.unsqueeze(-1).expand(-1, -1, 3)
        thing, centre = o.things.gather(1, rows).squeeze(1), centres.gather(1, rows).squeeze(1)
        held, done = (x.gather(1, chosen).squeeze(1) for x in (o.held, in_bin))
        return thing, centre, held, done

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 4"]:
        """Scripted demonstrator: the held, else the nearest object out of place goes to its bin; then the hand backs off."""
        o = self.split(observations)
        thing, centre, held, done = self.next_thing(o)
        distance = (o.hand - thing).norm(dim=-1)
        at_bin = (o.hand - centre).norm(dim=-1) < 0.04
        goal = torch.where(held[:, None], centre, thing)
        above = centre + centre.new_tensor([0.0, 0.0, 0.15])
        goal = torch.where((done & ~held)[:, None], above, goal)
        move = self.towards(goal, o.hand)
        close = torch.where(held, ~at_bin, (distance < 0.1) & ~done)
        return disturbed(torch.cat([move, torch.where(close, 1.0, -1.0)[:, None]], dim=-1), noise, generator)


MOVED_BINS = partial(KinematicSorting, bins=((0.25, 0.3, 0.05), (0.55, 0.38, 0.05)))
OTHER_RULE = partial(KinematicSorting, rule=(1, 0))
THREE_BINS = partial(KinematicSorting, bins=((0.3, 0.35, 0.05), (0.3, -0.35, 0.05), (0.6, 0.4, 0.05)), rule=(2, 0, 1))
TWO_ONIONS = partial(KinematicSorting, objects=2)


class KinematicSortingBatch(PointHandBatch):
    """Copies of the task."""

    task: KinematicSorting

    def _begin(self, n: int) -> None:
        task = self.task
        xy = self._uniform(task.object_start, (n, task.objects, 2))
        height = torch.full((n, task.objects, 1), task.table_height, device=self.device)
        self._hand = self._uniform(task.hand_start, (n, 3))
        self._objects = torch.cat([xy, height], dim=-1)
        self._held = torch.zeros(n, task.objects, dtype=torch.bool, device=self.device)
        self._attribute = torch.randint(len(task.rule), (n, task.objects), generator=self.generator, device=self.device)

    def _take(self, now: Situation) -> None:
        self._objects, self._held, self._attribute = now.things, now.held, now.attribute

    def observe(self) -> Float[Tensor, "B D"]:
        """Current observations."""
        return torch.cat(
            [self._hand, self._objects.flatten(1), self._held.float(), self._attribute.float(), self._gripper[:, None]], dim=-1
        )

    def _act(self, more: Float[Tensor, "B 0"]) -> None:
        """A closed gripper keeps what it holds, and if empty takes the nearest object in reach; what is loose falls."""
        task = self.task
        distance = (self._hand[:, None] - self._objects).norm(dim=-1)
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=-1), task.objects).bool()
        taken = nearest & (distance < task.grasp_distance) & ~self._held.any(dim=-1, keepdim=True)
        self._held = (self._gripper > 0)[:, None] & (self._held | taken)
        lower = (self._objects[..., 2:] - task.fall_step).clamp(min=task.table_height)
        fallen = torch.cat([self._objects[..., :2], lower], dim=-1)
        self._objects = torch.where(self._held[..., None], self._hand[:, None], fallen)
