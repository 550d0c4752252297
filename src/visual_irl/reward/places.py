"""Where something belongs, found from a few examples: the frame in which the demonstrations agree best.

A subgoal is worth little in the wrong frame: bins stand in the world, one for each attribute; a cup is wherever it stands; of
shelves that stand anywhere each attribute has its own. Of all frames those are kept that predict a left-out demonstration
best, so a frame must earn its freedom.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

WORLD = "world"
"""The frame that needs no anchor."""


@dataclass(frozen=True)
class Place:
    """A point in the frame that was chosen for it: for all attributes together, or for each."""

    frames: tuple[str, ...]
    """For each row of the table `WORLD`, or the name of the anchor that the point moves with."""
    table: Float[ndarray, "A 3"]
    """The point [m]: one row, or one for each attribute, of which those that were not demonstrated have the pooled point."""
    spread: float
    """Root mean square distance of the demonstrations from it [m], corrected for what was fitted; NaN from too few."""

    @property
    def by_attribute(self) -> bool:
        """Whether each attribute has a point of its own."""
        return len(self.frames) > 1

    def at(self, attribute: Int[Tensor, "*B"], anchors: Mapping[str, Float[Tensor, "*#B 3"]]) -> Float[Tensor, "*B 3"]:
        """The point in the world [m] for each state, of which `anchors` holds the anchors that there are.

        An attribute beyond the table has the last one's.
        """
        table = torch.as_tensor(self.table, dtype=torch.float32, device=attribute.device)
        if not self.by_attribute:
            point = table[0].expand(*attribute.shape, 3)
            return point if self.frames[0] == WORLD else point + anchors[self.frames[0]]
        row = attribute.clamp(max=len(table) - 1)
        point = table[row]
        for name in sorted({*self.frames} - {WORLD}):
            moves = torch.tensor([frame == name for frame in self.frames], device=attribute.device)[row]
            point = torch.where(moves.unsqueeze(-1), point + anchors[name], point)
        return point


Frames = Mapping[str, Float[ndarray, "E 3"]]
"""The same E points, in one frame or several [m]."""


def fit_place(
    points: Float[ndarray, "E 3"], attribute: Int[ndarray, "E"], anchors: Mapping[str, Float[ndarray, "E 3"]]
) -> Place:
    """The place that E demonstrated points [m] agree on, in the frame or frames that predict left-out ones best."""
    world, moving = {WORLD: points}, {name: points - anchor for name, anchor in anchors.items()}
    pooled = np.zeros_like(attribute)
    ways: list[tuple[Frames, ndarray]] = [(world, pooled), *(({name: local}, pooled) for name, local in moving.items())]
    if len(set(attribute.tolist())) > 1:  # one attribute says nothing about others
        ways = [(world, attribute), *ways, *([(world | moving, attribute)] if moving else [])]
    errors = [round(_left_out_error(frames, cell), 4) for frames, cell in ways]
    frames, cell = ways[errors.index(min(errors))]  # of equals the first
    known = _frames_of_cells(frames, cell)
    rows = [cell == a if a in known else pooled == 0 for a in range(max(known) + 1)]
    names = tuple(known.get(a) or _best_frame(_of(frames, row)) for a, row in enumerate(rows))
    table = np.stack([np.median(frames[name][row], axis=0) for name, row in zip(names, rows, strict=True)])
    local = _local(frames, known, cell)
    freedom = len(points) - len(known)
    square = np.square(local - table[cell]).sum()
    return Place(names, table, float(np.sqrt(square / freedom)) if freedom > 0 else float("nan"))


def _left_out_error(frames: Frames, cell: Int[ndarray, "E"]) -> float:
    """Mean distance [m] of each point from the median of the others in its cell, in the frame that is best for those.

    Nothing predicts a point alone in its cell. Where it rests in the world it is left out, so that a pooled place far from it
    does not look as good as one of its own; where it moves with something it is compared with all others.
    """
    if len(cell) == 1:
        return 0.0
    distances = []
    for i in range(len(cell)):
        rest = np.arange(len(cell)) != i
        others = rest & (cell == cell[i])
        if others.sum() > 1:
            local = frames[_best_frame(_of(frames, others))]
        elif others.any():  # one is left, which does not tell its frame
            local = frames[_frames_of_cells(_of(frames, rest), cell[rest])[cell[i]]]
        else:
            others, names = rest, _frames_of_cells(frames, cell)
            moves = names[cell[i]] != WORLD
            if not moves and any(np.sum(cell == a) > 1 for a in names):
                continue
            local = _local(frames, names, cell) if moves else frames[_best_frame(_of(frames, rest))]
        distances.append(np.linalg.norm(local[i] - np.median(local[others], axis=0)))
    return float(np.mean(distances))


def _frames_of_cells(frames: Frames, cell: Int[ndarray, "E"]) -> dict[int, str]:
    """For each cell the frame in which its points agree best.

    A point alone agrees with itself in every frame. Where all other cells move with something, so does it: with what it lies
    beside as their points lie beside theirs.
    """
    rows = {a: cell == a for a in sorted(set(cell.tolist()))}
    names = {a: _best_frame(_of(frames, row)) for a, row in rows.items()}
    told = {a: names[a] for a, row in rows.items() if row.sum() > 1}
    if told and WORLD not in told.values():
        usual = np.median(_local(frames, names, cell)[np.isin(cell, [*told])], axis=0)
        for a in names.keys() - told.keys():
            alone = {n: points[rows[a]][0] for n, points in frames.items() if n != WORLD}
            names[a] = min(alone, key=lambda n: float(np.linalg.norm(alone[n] - usual)))
    return names


def _local(frames: Frames, names: Mapping[int, str], cell: Int[ndarray, "E"]) -> Float[ndarray, "E 3"]:
    """Each point in the frame of its cell [m]."""
    return np.stack([frames[names[a]][i] for i, a in enumerate(cell.tolist())])


def _best_frame(frames: Frames) -> str:
    """The frame in which points of one place agree best; of equals the first."""
    if len(frames) == 1:
        return next(iter(frames))
    one = np.zeros(len(next(iter(frames.values()))), dtype=int)
    return min(frames, key=lambda name: round(_left_out_error({name: frames[name]}, one), 4))


def _of(frames: Frames, rows: Bool[ndarray, "E"]) -> Mapping[str, Float[ndarray, "K 3"]]:
    return {name: points[rows] for name, points in frames.items()}
