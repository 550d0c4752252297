"""Connected pieces of candidate pixels, cut where depth jumps from one thing to another, or colour changes."""

from __future__ import annotations

from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float, Float32, Int
from numba import njit
from numpy import ndarray


def connected_pieces(
    depth: Float32[ndarray, "H W"],
    rows: Int[ndarray, "N"],
    columns: Int[ndarray, "N"],
    jump: float,
    least: int,
    shades: Int[ndarray, "N 2"] | None = None,
    contrast: int = 0,
) -> list[Int[ndarray, "_"]]:
    """Index arrays into the candidates, one a piece, in the order of their first pixels.

    Args:
        depth: depth picture [m].
        rows: of the candidates, from the top down.
        columns: of the candidates, in each row from left to right.
        jump: a step between neighbours that separates two things [m].
        least: smaller pieces are left out [pixels].
        shades: two colour coordinates of each candidate; None where only depth separates.
        contrast: a step between neighbours in either of them that separates two things.
    """
    if not len(rows):
        return []
    use = shades is not None
    pairs = shades if shades is not None else np.zeros((1, 2), np.int64)
    order, bounds = _pieces(depth, rows, columns, jump, least, pairs, contrast, use)
    return [order[a:b] for a, b in pairwise(bounds)]


def extent(points: Float[ndarray, "N 3"], piece: Int[ndarray, "_"]) -> tuple[Float[ndarray, "3"], Float[ndarray, "3"]]:
    """The lowest and the highest corner of the box around the points of a piece."""
    low, high = _box(points, piece)
    return low, high


@njit(cache=True, nogil=True)
@no_type_check
def _box(points, piece):
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for i in piece:
        for a in range(3):
            low[a], high[a] = min(low[a], points[i, a]), max(high[a], points[i, a])
    return low, high


@njit(cache=True, nogil=True)
@no_type_check
def _pieces(depth, rows, columns, jump, least, shades, contrast, use_shades):
    """The candidates of all pieces of `least` pixels or more, and where in them each piece begins, and the last one ends:
    union-find over neighbours, corners too (Hoshen and Kopelman 1976). A piece is named by its first candidate."""
    n, left = len(rows), columns.min()
    seen = np.full((2, columns.max() - left + 3), -1, np.int64)  # candidates of this row and the one above, by column
    parent, z = np.arange(n), np.empty(n, depth.dtype)
    for i in range(n):
        r, c = rows[i], columns[i] - left + 1
        seen[r & 1, c], z[i] = i, depth[r, columns[i]]
        for up, dc in ((0, -1), (1, -1), (1, 0), (1, 1)):
            j = seen[(r - up) & 1, c + dc]
            if j < 0 or rows[j] != r - up or not abs(z[j] - z[i]) <= jump:
                continue
            if use_shades and max(abs(shades[i, 0] - shades[j, 0]), abs(shades[i, 1] - shades[j, 1])) >= contrast:
                continue
            a, b = i, j
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            parent[max(a, b)] = min(a, b)
    size = np.zeros(n, np.int64)
    for i in range(n):
        parent[i] = parent[parent[i]]  # that one is done already: it is no later candidate
        size[parent[i]] += 1
    bounds, free, pieces = np.zeros(n + 1, np.int64), np.empty(n, np.int64), 0
    for i in range(n):
        if size[i] >= least and size[i] > 0:
            free[i] = bounds[pieces]
            pieces += 1
            bounds[pieces] = bounds[pieces - 1] + size[i]
    order = np.empty(bounds[pieces], np.int64)
    for i in range(n):
        a = parent[i]
        if size[a] >= least:
            order[free[a]] = i
            free[a] += 1
    return order, bounds[: pieces + 1]
