"""Where something belongs, found from a few examples: the frame in which the demonstrations agree best.

A subgoal is worth little in the wrong frame: bins stand in the world, one for each attribute; a cup is wherever it stands.
Of all frames the one is kept that predicts a left-out demonstration best, so a frame must earn its freedom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

POOLED, BY_ATTRIBUTE = "world", "world, by attribute"
"""Frames that need no anchor."""


@dataclass(frozen=True)
class Place:
    """A point in the frame that was chosen for it."""

    frame: str
    """`POOLED`, `BY_ATTRIBUTE`, or the name of the anchor that it moves with."""
    table: Float[ndarray, "A 3"]
    """The point [m]: one row, or one for each attribute, of which those that were not demonstrated have the pooled point."""
    spread: float
    """Root mean square distance of the demonstrations from it [m], corrected for what was fitted; NaN from too few."""

    def at(self, attribute: Int[Tensor, "*B"], anchors: Mapping[str, Float[Tensor, "*#B 3"]]) -> Float[Tensor, "*B 3"]:
        """The point in the world [m] for each state, of which `anchors` holds the anchors that there are.

        An attribute beyond the table has the last one's.
        """
        table = torch.as_tensor(self.table, dtype=torch.float32, device=attribute.device)
        if self.frame != BY_ATTRIBUTE:
            point = table[0].expand(*attribute.shape, 3)
            return point if self.frame == POOLED else point + anchors[self.frame]
        return table[attribute.clamp(max=len(table) - 1)]


def fit_place(
    points: Float[ndarray, "E 3"], attribute: Int[ndarray, "E"], anchors: Mapping[str, Float[ndarray, "E 3"]]
) -> Place:
    """The place that E demonstrated points [m] agree on, in the frame that predicts left-out ones best."""
    candidates = {BY_ATTRIBUTE: (points, attribute), POOLED: (points, np.zeros_like(attribute))}
    candidates |= {name: (points - anchor, np.zeros_like(attribute)) for name, anchor in anchors.items()}
    errors = {name: _left_out_error(p, c) for name, (p, c) in candidates.items()}
    tried = sorted(errors, key=lambda name: (round(errors[name], 4), list(errors).index(name)))
    if len(set(attribute.tolist())) == 1:  # one attribute says nothing about others
        tried.remove(BY_ATTRIBUTE)
    chosen = tried[0]
    local, cell = candidates[chosen]
    pooled = np.median(local, axis=0)
    known = set(cell.tolist())
    table = np.stack([np.median(local[cell == a], axis=0) if a in known else pooled for a in range(max(known) + 1)])
    freedom = len(points) - len(known)
    square = np.square(local - table[cell]).sum()
    return Place(chosen, table, float(np.sqrt(square / freedom)) if freedom > 0 else float("nan"))


def _left_out_error(points: ndarray, cell: ndarray) -> float:
    """Mean distance [m] of each point from the median of the others in its cell, or of all others where it is alone."""
    if len(points) == 1:
        return 0.0
    everyone = np.arange(len(points))
    distances = []
    for i, point in enumerate(points):
        others = points[(cell == cell[i]) & (everyone != i)]
        if not len(others):
            others = points[everyone != i]
        distances.append(np.linalg.norm(point - np.median(others, axis=0)))
    return float(np.mean(distances))
