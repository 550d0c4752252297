"""What stands out of the table in a picture: points of the searched volume and their colours, in one compiled pass."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Int
from numba import njit
from numpy import ndarray

from visual_irl.types import RgbdFrame

COLOURS = 32
"""Bins of the shares of red and of green in a pixel, each; what is too dark for a colour has a bin of its own."""
DARK = 45.0
"""Sum of red, green and blue below which shares mean nothing [levels of 255]."""


class RaisedPixels(NamedTuple):
    """Candidates on a grid of every `step`-th row and column: where they are, their points [m, world] and colour bins."""

    rows: Int[ndarray, "N"]
    columns: Int[ndarray, "N"]
    p_world: Float[ndarray, "N 3"]
    colour: Int[ndarray, "N"]


def raised_pixels(frame: RgbdFrame, step: int, lower: Float[ndarray, "3"], upper: Float[ndarray, "3"]) -> RaisedPixels:
    """Pixels with depth between two corners [m, world], of every `step`-th row and column, which are counted on that grid."""
    assert frame.depth is not None and frame.T_world_camera is not None
    c = frame.intrinsics
    lens = np.array([c.fx, c.fy, c.cx, c.cy], float)
    return RaisedPixels(*_raised(frame.rgb, frame.depth, lens, frame.T_world_camera, step, lower, upper))


@njit(cache=True, nogil=True)
@no_type_check
def _raised(rgb, depth, lens, T, step, lower, upper):
    height, width = depth.shape
    most = ((height + step - 1) // step) * ((width + step - 1) // step)
    rows, columns, colour = np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.int64)
    points, found = np.empty((most, 3)), 0
    across = (np.arange(width) - lens[2]) / lens[0]
    for j in range(0, height, step):
        down = (j - lens[3]) / lens[1]
        for i in range(0, width, step):
            z = depth[j, i]
            if not z > 0.0:
                continue
            x, y = across[i] * z, down * z
            up = T[2, 0] * x + T[2, 1] * y + T[2, 2] * z + T[2, 3]
            if not lower[2] < up < upper[2]:  # excludes most
                continue
            inside = True
            for a in range(2):
                points[found, a] = T[a, 0] * x + T[a, 1] * y + T[a, 2] * z + T[a, 3]
                inside &= lower[a] < points[found, a] < upper[a]
            points[found, 2] = up
            if inside:
                rows[found], columns[found] = j // step, i // step
                r, g, b = np.float32(rgb[j, i, 0]), np.float32(rgb[j, i, 1]), np.float32(rgb[j, i, 2])
                total = r + g + b
                if total < DARK:
                    colour[found] = COLOURS * COLOURS
                else:
                    colour[found] = COLOURS * int(r / total * (COLOURS - 0.01)) + int(g / total * (COLOURS - 0.01))
                found += 1
    return rows[:found].copy(), columns[:found].copy(), points[:found].copy(), colour[:found].copy()
