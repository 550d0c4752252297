"""The depth that a camera sees at landmarks: medians of small patches, compiled."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

_LEAST_KNOWN = 0.3  # share of a patch


def skin_depths(depth: Float[ndarray, "H W"], uv: Float[ndarray, "N 2"], half: float) -> Float[ndarray, "N"]:
    """Median of the known depth [m] within `half` px of each pixel; NaN outside of the picture or where most is unknown."""
    return np.asarray(_medians(depth, np.ascontiguousarray(uv, float), max(1, round(half))))


@njit(cache=True, nogil=True)
@no_type_check
def _medians(depth, uv, r):
    height, width = depth.shape
    out, known = np.full(len(uv), np.nan), np.empty((2 * r + 1) ** 2)
    for j in range(len(uv)):
        if not (0.0 <= uv[j, 0] < width and 0.0 <= uv[j, 1] < height):
            continue
        u, v = int(np.rint(uv[j, 0])), int(np.rint(uv[j, 1]))
        left, right, top, bottom = max(u - r, 0), min(u + r + 1, width), max(v - r, 0), min(v + r + 1, height)
        n = 0
        for y in range(top, bottom):
            for x in range(left, right):
                z = depth[y, x]
                if np.isfinite(z) and z > 0.0:
                    known[n] = z
                    n += 1
        if n > _LEAST_KNOWN * (right - left) * (bottom - top):
            out[j] = np.median(known[:n])
    return out
