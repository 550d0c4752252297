"""Pick, inspect and place without physics: many environments at once in torch, on CPU or CUDA, with no loop over them.

A point hand moves freely, an object within reach of a closing gripper is held, and an object let go falls. Each object
has an attribute that says in which bin it belongs. Learners are compared here, where a step costs microseconds.

An observation of N objects is `hand (3), objects (3 N), held (N), attribute (N), gripper (1)`; positions in metres in the
base frame, held 0 or 1, gripper from -1 (open) to 1 (closed).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.tasks.situation import Situation


@dataclass(frozen=True)
class KinematicSorting:
    """The task: where the bins are, which object goes where, and how hand and objects move."""

    bins: tuple[tuple[float, float, float], ...] = ((0.3, 0.35, 0.05), (0.3, -0.35, 0.05))
    """Centres of the bins [m]."""
    rule: tuple[int, ...] = (0, 1)
    """Bin of each attribute: an object with attribute `a` belongs in `bins[rule[a]]`."""
    objects: int = 1
    """Objects in an episode."""
    steps_per_object: int = 60
    """Length of an episode [steps], for each object."""
    hand_step: float = 0.05
    """Hand motion of a full action along an axis [m]."""
    gripper_step: float = 0.5
    """Gripper motion of a full action."""
    grasp_distance: float = 0.06
    """A closing gripper takes an object that is nearer than this [m]."""
    fall_step: float = 0.1
    """A loose object falls so far in a step [m]."""
    table_height: float = 0.05
    """Height of a resting object's centre [m]."""
    placed_distance: float = 0.08
    """An object is placed when it is nearer than this to its bin [m]."""
    workspace: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.1, -0.5, 0.03), (0.7, 0.5, 0.6))
    """Lowest and highest corner of what the hand can reach [m]."""
    hand_start: tuple[tuple[float, float, float], tuple[float, float, float]] = ((0.2, -0.2, 0.25), (0.5, 0.2, 0.45))
    """Corners of the box in which the hand starts [m]."""
    object_start: tuple[tuple[float, float], tuple[float, float]] = ((0.35, -0.2), (0.6, 0.2))
    """Corners of the rectangle in which objects start [m]."""

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
        if environments < 1:
            raise InvalidInput(f"kinematic sorting: {environments} environments; give at least 1")
        return KinematicSortingBatch(self, environments, seed, torch.device(device))

    def split(self, observations: Float[Tensor, "*B D"]) -> Situation:
        """The situations that observations describe."""
        if observations.shape[-1] != self.observation_size:
            raise InvalidInput(
                f"kinematic sorting: observations have {observations.shape[-1]} numbers, "
                f"a task with objects={self.objects} has {self.observation_size}"
            )
        n = self.objects
        hand, flat, held, attribute, gripper = observations.split([3, 3 * n, n, n, 1], dim=-1)
        return Situation(hand, flat.unflatten(-1, (n, 3)), held > 0, attribute.long(), gripper.squeeze(-1))

    def target_bins(self, attribute: Tensor) -> Float[Tensor, "*B N 3"]:
        """Centre [m] of the bin of each object."""
        rows = torch.tensor([self.bins[b] for b in self.rule], device=attribute.device)
        return rows[attribute]

    def placed(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B N"]:
        """Which objects are in their bin."""
        o = self.split(observations)
        return (o.things - self.target_bins(o.attribute)).norm(dim=-1) < self.placed_distance

    def success(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B"]:
        """Whether every object is in its bin; an episode succeeds by its last observation."""
        return self.placed(observations).all(dim=-1)

    def true_reward(self, observations: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """`-sum_i ([i not placed] |hand - object_i| + 2 |object_i - bin_i|)` of the state that a step led to."""
        o = self.split(observations)
        reach = (o.hand.unsqueeze(-2) - o.things).norm(dim=-1)
        carry = (o.things - self.target_bins(o.attribute)).norm(dim=-1)
        return -(reach * (carry >= self.placed_distance) + 2 * carry).sum(dim=-1)

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 4"]:
        """Scripted demonstrator: the held, else the nearest object out of place goes to its bin; then the hand backs off."""
        o = self.split(observations)
        centres = self.target_bins(o.attribute)
        far = (o.hand.unsqueeze(-2) - o.things).norm(dim=-1)
        in_bin = (o.things - centres).norm(dim=-1) < self.placed_distance
        chosen = (far + 1e3 * in_bin - 1e6 * o.held).argmin(dim=-1, keepdim=True)  # held first, placed last
        rows = chosen.unsqueeze(-1).expand(-1, -1, 3)
        thing, centre = o.things.gather(1, rows).squeeze(1), centres.gather(1, rows).squeeze(1)
        distance, held, done = (x.gather(1, chosen).squeeze(1) for x in (far, o.held, in_bin))
        at_bin = (o.hand - centre).norm(dim=-1) < 0.04
        goal = torch.where(held[:, None], centre, thing)
        above = centre + centre.new_tensor([0.0, 0.0, 0.15])
        goal = torch.where((done & ~held)[:, None], above, goal)
        move = (goal - o.hand) / self.hand_step
        move = 0.8 * move / move.abs().amax(dim=-1, keepdim=True).clamp(min=1)
        close = torch.where(held, ~at_bin, (distance < 0.1) & ~done)
        action = torch.cat([move, torch.where(close, 1.0, -1.0)[:, None]], dim=-1)
        if noise:
            action = action + noise * torch.randn(action.shape, generator=generator, device=action.device)
        return action.clamp(-1, 1)


VARIANTS: dict[str, KinematicSorting] = {
    "onion_sorting": KinematicSorting(),
    "onion_sorting_moved_bins": KinematicSorting(bins=((0.25, 0.3, 0.05), (0.55, 0.38, 0.05))),
    "onion_sorting_other_rule": KinematicSorting(rule=(1, 0)),
    "onion_sorting_three_bins": KinematicSorting(
        bins=((0.3, 0.35, 0.05), (0.3, -0.35, 0.05), (0.6, 0.4, 0.05)), rule=(2, 0, 1)
    ),
    "onion_sorting_two_onions": KinematicSorting(objects=2),
}
"""Name -> task: recipes are chosen on the first, the others are for reporting."""


class KinematicSortingBatch:
    """`environments` copies in step with each other: all episodes have the same length, so they all end together."""

    def __init__(self, task: KinematicSorting, environments: int, seed: int, device: torch.device) -> None:
        self.task, self.environments, self.device = task, environments, device
        self.generator = torch.Generator(device=device).manual_seed(seed)
        self._corners = [torch.tensor(c, device=device) for c in task.workspace]
        self.reset()

    def reset(self) -> Float[Tensor, "B D"]:
        """New random episodes; their first observations."""
        task, n = self.task, self.environments
        xy = self._uniform(task.object_start, (n, task.objects, 2))
        height = torch.full((n, task.objects, 1), task.table_height, device=self.device)
        self._hand = self._uniform(task.hand_start, (n, 3))
        self._objects = torch.cat([xy, height], dim=-1)
        self._held = torch.zeros(n, task.objects, dtype=torch.bool, device=self.device)
        self._attribute = torch.randint(len(task.rule), (n, task.objects), generator=self.generator, device=self.device)
        self._gripper = -torch.ones(n, device=self.device)
        self._step = 0
        return self.observe()

    def restart_from(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Whole new episodes that begin in these states."""
        if observations.shape != (self.environments, self.task.observation_size):
            raise InvalidInput(
                f"kinematic sorting: states of shape {tuple(observations.shape)}, "
                f"not {(self.environments, self.task.observation_size)}"
            )
        if not bool(observations.isfinite().all()):
            raise InvalidInput("kinematic sorting: states to start from hold NaN or infinity")
        o = self.task.split(observations.to(self.device, torch.float32).clone())
        if not bool(((o.attribute >= 0) & (o.attribute < len(self.task.rule))).all()):
            raise InvalidInput(f"kinematic sorting: attributes must be 0 to {len(self.task.rule) - 1}")
        self._hand, self._objects, self._held = o.hand, o.things, o.held
        self._attribute, self._gripper, self._step = o.attribute, o.gripper, 0
        return self.observe()

    def observe(self) -> Float[Tensor, "B D"]:
        """Current observations."""
        return torch.cat(
            [self._hand, self._objects.flatten(1), self._held.float(), self._attribute.float(), self._gripper[:, None]], dim=-1
        )

    def step(self, actions: Float[Tensor, "B 4"]) -> tuple[Tensor, Tensor, bool, Tensor]:
        """One step of hand motion (3) and gripper motion (1), each cut to [-1, 1].

        Returns:
            The next observations (of new episodes where these ended), the true reward (B), whether the episodes ended, and
            the observations that the step led to. Ends are by time only: a value function goes on beyond them.
        """
        task = self.task
        actions = actions.clamp(-1, 1)
        self._hand = (self._hand + task.hand_step * actions[:, :3]).clamp(*self._corners)
        self._gripper = (self._gripper + task.gripper_step * actions[:, 3]).clamp(-1, 1)
        self._held = self._grasp()
        floor = task.table_height
        fallen = torch.cat([self._objects[..., :2], (self._objects[..., 2:] - task.fall_step).clamp(min=floor)], dim=-1)
        self._objects = torch.where(self._held[..., None], self._hand[:, None], fallen)
        self._step += 1
        reached = self.observe()
        ended = self._step >= task.horizon
        return (self.reset() if ended else reached), task.true_reward(reached), ended, reached

    def _grasp(self) -> Bool[Tensor, "B N"]:
        """A closed gripper keeps what it holds, and if empty takes the nearest object in reach."""
        distance = (self._hand[:, None] - self._objects).norm(dim=-1)
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=-1), self.task.objects).bool()
        taken = nearest & (distance < self.task.grasp_distance) & ~self._held.any(dim=-1, keepdim=True)
        return (self._gripper > 0)[:, None] & (self._held | taken)

    def _uniform(self, box: tuple[tuple[float, ...], tuple[float, ...]], shape: tuple[int, ...]) -> Tensor:
        low, high = (torch.tensor(c, device=self.device) for c in box)
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)
