"""What a learned reward is: a function of a transition, with named features, a gradient, and a safe file format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from visual_irl.errors import MissingFile, UnreadableFile
from visual_irl.io.atomic import atomic_path
from visual_irl.tasks import RELATIONS
from visual_irl.tasks.graph import Relations


@runtime_checkable
class RewardModel(Protocol):
    """A learned reward."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features that it is made of."""
        ...

    def __call__(self, s: Float[Tensor, "*B S"], s_next: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
        """Reward of transitions; differentiable with respect to both states."""
        ...


@dataclass(frozen=True)
class LinearReward:
    """`r(s, s') = theta . phi(s, s')` over relational features (Ng and Russell 2000)."""

    relations: Relations
    theta: Float[Tensor, "F"]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the features in the order of `theta`."""
        return self.relations.names

    def __call__(self, s: Float[Tensor, "*B S"], s_next: Float[Tensor, "*B S"]) -> Float[Tensor, "*B"]:
        """Reward of transitions."""
        return self.relations(s, s_next) @ self.theta.to(s.dtype)

    def gradient(self, s: Float[Tensor, "B S"], s_next: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
        """Gradient of the reward with respect to the state that is reached."""
        s_next = s_next.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(self(s, s_next).sum(), s_next)
        return gradient

    def save(self, path: Path) -> None:
        """Write as safetensors, atomically."""
        metadata = {
            "kind": "linear_reward",
            "task": self.relations.task,
            "relations": json.dumps(self.relations.stated()),
            "features": json.dumps(self.feature_names),
        }
        with atomic_path(path) as partial:
            save_file({"theta": self.theta.contiguous()}, partial, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> LinearReward:
        """Read a reward.

        Raises:
            MissingFile, UnreadableFile: with the way out.
        """
        if not Path(path).is_file():
            raise MissingFile(f"no reward at '{path}'; `visual-irl learn` makes one")
        try:
            with safe_open(path, framework="pt") as archive:
                metadata = archive.metadata() or {}
                if metadata.get("kind") != "linear_reward":
                    raise UnreadableFile(f"'{path}' holds a '{metadata.get('kind')}', expected a linear_reward")
                relations = RELATIONS.load(metadata["task"]).of_stated(json.loads(metadata["relations"]))
                reward = cls(relations, archive.get_tensor("theta"))
                saved = tuple(json.loads(metadata["features"]))
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise UnreadableFile(f"'{path}' is not a reward file: {error}; `visual-irl learn` makes one") from error
        if saved != reward.feature_names:
            raise UnreadableFile(f"'{path}' was learned with other features ({', '.join(saved)}); learn it again")
        return reward
