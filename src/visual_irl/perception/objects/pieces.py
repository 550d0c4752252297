"""Connected pieces of candidate pixels, cut where depth jumps from one thing to another, or colour changes."""

from __future__ import annotations

from itertools import pairwise
from typing import no_type_check

import numpy as np
from jaxtyping import Float32, Int
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
    labels = _labels(depth, rows, columns, jump, pairs, contrast, use)
    order = np.argsort(labels, kind="stable")
    bounds = np.flatnonzero(np.diff(labels[order], prepend=-1, append=len(labels)))
    return [piece for piece in (order[a:b] for a, b in pairwise(bounds)) if len(piece) >= least]


@njit(cache=True, nogil=True)
@no_type_check
def _labels(depth, rows, columns, jump, shades, contrast, use_shades):
    """For each candidate the first one of its piece: union-find over neighbours, corners too (Hoshen and Kopelman 1976)."""
    n = len(rows)
    top, left = rows[0], columns.min()
    width = columns.max() - left + 3
    index = np.full((rows[n - 1] - top + 2, width), -1, np.int64)
    parent = np.arange(n)
    for i in range(n):
        r, c = rows[i] - top + 1, columns[i] - left + 1
        index[r, c] = i
        z = depth[rows[i], columns[i]]
        for dr, dc in ((0, -1), (-1, -1), (-1, 0), (-1, 1)):
            j = index[r + dr, c + dc]
            if j < 0 or not abs(depth[rows[j], columns[j]] - z) <= jump:
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
    for i in range(n):
        a = i
        while parent[a] != a:
            a = parent[a]
        parent[i] = a
    return parent
