"""What a learned reward is: a function of a transition, with named features, a gradient, and a safe file format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from visual_irl.errors import InvalidInput
from visual_irl.io.tensors import Tensors, load_tensors
from visual_irl.tasks import RELATIONS, load_task, part_of
from visual_irl.tasks.graph import Relations

KIND = "linear_reward"


@dataclass(frozen=True)
class LinearReward:
    """`r(s, s') = theta . phi(s, s')` over relational features (Ng and Russell 2000)."""

    relations: Relations
    theta: Float[Tensor, "F"]

    def __post_init__(self) -> None:
        theta, needed = self.theta, len(self.relations.names)
        if theta.shape != (needed,) or not theta.is_floating_point() or not bool(theta.isfinite().all()):
            raise InvalidInput(f"weights are {theta.dtype} of shape {tuple(theta.shape)}, expected {needed} finite ones")

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in the order of `theta`."""
        return self.relations.names

    def __call__(self, s: Float[Tensor, "*B S"], s_next: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
        """Reward of transitions; differentiable with respect to both states."""
        return self.relations(s, s_next) @ self.theta.to(s.dtype)

    def gradient(self, s: Float[Tensor, "B S"], s_next: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
        """Gradient of the reward with respect to the state that is reached."""
        s_next = s_next.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self(s, s_next).sum(), s_next)
        return gradient

    def packed(self) -> tuple[str, Tensors]:
        """The kind of file that it is kept in, and what that holds."""
        facts = {
            "task": self.relations.task,
            "relations": json.dumps(self.relations.stated()),
            "features": json.dumps(self.feature_names),
        }
        return KIND, Tensors({"theta": self.theta.numpy()}, facts)

    @classmethod
    def load(cls, path: Path) -> LinearReward:
        """Read a reward.

        Raises:
            MissingFile, UnreadableFile: with the way out.
        """

        def made(file: Tensors) -> LinearReward:
            name = file.facts["task"]
            relations = part_of(name, RELATIONS).of_stated(json.loads(file.facts["relations"]), load_task(name))
            saved = tuple(json.loads(file.facts["features"]))
            if saved != relations.names:
                raise InvalidInput(f"it was learned with other features ({', '.join(saved)})")
            return cls(relations, torch.from_numpy(file.arrays["theta"]))

        return load_tensors(path, KIND, made)
