"""Connected pieces against a plain flood fill."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl.perception.objects.pieces import connected_pieces, extent

JUMP, LEAST, CONTRAST = 0.015, 3, 2


def flooded(z: np.ndarray, rows: np.ndarray, columns: np.ndarray, shades: np.ndarray | None) -> list[list[int]]:
    """Pieces by walking from candidate to candidate."""
    at = {(r, c): i for i, (r, c) in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
    left, pieces = set(at.values()), []
    while left:
        todo = [min(left)]
        left.discard(todo[0])
        piece = list(todo)
        while todo:
            i = todo.pop()
            for j in [at.get((rows[i] + dr, columns[i] + dc)) for dr in (-1, 0, 1) for dc in (-1, 0, 1)]:
                near = j in left and abs(z[rows[i], columns[i]] - z[rows[j], columns[j]]) <= JUMP
                if near and (shades is None or np.abs(shades[i] - shades[j]).max() < CONTRAST):
                    left.discard(j)
                    todo.append(j)
                    piece.append(j)
        pieces.append(sorted(piece))
    return [piece for piece in pieces if len(piece) >= LEAST]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_pieces_are_those_of_a_flood_fill(share: float) -> None:
    rng = np.random.default_rng(int(10 * share))
    z = rng.choice(np.float32([0.5, 0.51, 0.6]), (40, 50), p=(0.55, 0.25, 0.2))
    z[rng.random(z.shape) < 0.02] = np.nan
    mask = rng.random(z.shape) < share
    mask[[7, 20, 21]] = False  # rows without candidates part what is above from what is below
    rows, columns = np.nonzero(mask)
    shades = rng.integers(0, 4, (len(rows), 2))
    for given in (None, shades):
        found = connected_pieces(z, rows, columns, JUMP, LEAST, given, CONTRAST)
        assert [piece.tolist() for piece in found] == flooded(z, rows, columns, given)


def test_nothing_has_no_pieces() -> None:
    nothing = np.zeros(0, np.int64)
    assert connected_pieces(np.ones((4, 4), np.float32), nothing, nothing, JUMP, 0) == []


def test_extent_is_of_the_piece_alone() -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    low, high = extent(points, np.arange(5, 20))
    np.testing.assert_array_equal([low, high], [points[5:20].min(0), points[5:20].max(0)])
