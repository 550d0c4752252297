"""What the kinematic tasks share: a hand that is a point and moves as it is told. Batched in torch, on CPU or CUDA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.tasks.situation import Situation

Box = tuple[tuple[float, ...], tuple[float, ...]]
"""Lowest and highest corner."""


@dataclass(frozen=True, kw_only=True)
class PointHandTask:
    """How hand and gripper move; what they move is a subclass's."""

    hand_step: float = 0.05
    """Hand motion of a full action along an axis [m]."""
    gripper_step: float = 0.5
    """Gripper motion of a full action."""
    grasp_distance: float = 0.06
    """A closing gripper takes a thing that is nearer than this [m]."""
    fall_step: float = 0.1
    """A loose thing falls so far in a step [m]."""
    workspace: Box = ((0.1, -0.5, 0.03), (0.7, 0.5, 0.6))
    """Lowest and highest corner of what the hand can reach [m]."""
    hand_start: Box = ((0.2, -0.2, 0.25), (0.5, 0.2, 0.45))
    """Corners of the box in which the hand starts [m]."""

    noun: ClassVar[str] = "kinematic task"
    """What errors call it."""

    def checked_size(self, observations: Float[Tensor, "*B D"], expected: int) -> Float[Tensor, "*B D"]:
        """The observations, if they are of this task."""
        if observations.shape[-1] != expected:
            raise InvalidInput(
                f"{self.noun}: observations have {observations.shape[-1]} numbers, this task has {expected}; see `split`"
            )
        return observations

    def towards(self, goal: Float[Tensor, "B 3"], hand: Float[Tensor, "B 3"]) -> Float[Tensor, "B 3"]:
        """The motion of a demonstrator's hand: straight on, at most four fifths of a full action, slower once it is near."""
        move = (goal - hand) / self.hand_step
        return 0.8 * move / move.abs().amax(dim=-1, keepdim=True).clamp(min=1)


def disturbed(action: Float[Tensor, "B A"], noise: float, generator: torch.Generator | None) -> Float[Tensor, "B A"]:
    """A demonstrator's actions with Gaussian noise of that standard deviation, cut to [-1, 1]."""
    if noise:
        action = action + noise * torch.randn(action.shape, generator=generator, device=action.device)
    return action.clamp(-1, 1)


class PointHandBatch:
    """`environments` copies in step with each other: all episodes have the same length, so they all end together.

    A subclass says how episodes begin (`_begin`, `_take`), what is seen (`observe`), and what a moved hand does (`_act`).
    """

    _hand: Float[Tensor, "B 3"]
    _gripper: Float[Tensor, "B"]

    def __init__(self, task: Any, environments: int, seed: int, device: str | torch.device) -> None:
        if environments < 1:
            raise InvalidInput(f"{task.noun}: {environments} environments; give at least 1")
        self.task, self.environments, self.device = task, environments, torch.device(device)
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self._corners = [torch.tensor(c, device=self.device) for c in task.workspace]
        self.reset()

    def reset(self, hand: Float[Tensor, "B 3"] | None = None) -> Float[Tensor, "B D"]:
        """New random episodes, with the hand where it is said to be [m]; their first observations."""
        self._begin(self.environments)
        self._hand = self._hand if hand is None else hand
        self._gripper = -torch.ones(self.environments, device=self.device)
        self._step = 0
        return self.observe()

    def restart_from(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Whole new episodes that begin in these states."""
        task = self.task
        if observations.shape != (self.environments, task.observation_size):
            raise InvalidInput(
                f"{task.noun}: states of shape {tuple(observations.shape)}, not {(self.environments, task.observation_size)}"
            )
        if not bool(observations.isfinite().all()):
            raise InvalidInput(f"{task.noun}: states to start from hold NaN or infinity")
        now = task.split(observations.to(self.device, torch.float32).clone())
        if not bool(((now.attribute >= 0) & (now.attribute < task.attributes)).all()):
            raise InvalidInput(f"{task.noun}: attributes must be 0 to {task.attributes - 1}")
        self._hand, self._gripper, self._step = now.hand, now.gripper, 0
        self._take(now)
        return self.observe()

    def step(self, actions: Float[Tensor, "B A"]) -> tuple[Tensor, bool, Tensor]:
        """One step of hand motion (3), gripper motion (1) and what else the task has, each cut to [-1, 1].

        Returns:
            The next observations (of new episodes where these ended), whether the episodes ended, and the observations
            that the step led to. Ends are by time only: a value function goes on beyond them.
        """
        actions = actions.clamp(-1, 1)
        return self.move_to((self._hand + self.task.hand_step * actions[:, :3]).clamp(*self._corners), actions[:, 3:])

    def move_to(self, hand: Float[Tensor, "B 3"], rest: Float[Tensor, "B K"]) -> tuple[Tensor, bool, Tensor]:
        """A step that brings the hand to a place [m], whatever moves it; `rest` is the rest of an action."""
        self._hand = hand
        self._gripper = (self._gripper + self.task.gripper_step * rest[:, 0]).clamp(-1, 1)
        self._act(rest[:, 1:])
        self._step += 1
        reached = self.observe()
        ended = self._step >= self.task.horizon
        return (self.reset() if ended else reached), ended, reached

    def observe(self) -> Float[Tensor, "B D"]:
        """Current observations."""
        raise NotImplementedError

    def _begin(self, n: int) -> None:
        """Random first states of hand and things."""
        raise NotImplementedError

    def _take(self, now: Situation) -> None:
        """States of the things."""
        raise NotImplementedError

    def _act(self, more: Float[Tensor, "B K"]) -> None:
        """What hand and gripper, already moved, do to the things; and what else of the action moves."""
        raise NotImplementedError

    def _uniform(self, box: Box, shape: tuple[int, ...]) -> Tensor:
        low, high = (torch.tensor(c, device=self.device) for c in box)
        return low + (high - low) * torch.rand(shape, generator=self.generator, device=self.device)
