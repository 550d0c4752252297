"""The coloured points that a frame shows, thinned for drawing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, UInt8
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.types import RgbdFrame

_JUMP = 0.03
"""A pixel whose neighbour's depth differs by more than this share of its own mixes near and far: it hangs in the air."""


def coloured_points(
    frame: RgbdFrame, most: int = 20_000, farthest: float = 3.0
) -> tuple[Float32[ndarray, "N 3"], UInt8[ndarray, "N 3"]]:
    """Points [m] with their colours, in the world frame when the camera is calibrated, else in the camera's.

    Args:
        frame: an RGB-D frame; one without depth gives no point.
        most: about so many pixels are looked at, in an even grid.
        farthest: depth beyond this is left out [m].

    Raises:
        InvalidInput: `most` or `farthest` is not positive.
    """
    if not (most > 0 and farthest > 0.0):
        raise InvalidInput(f"a cloud of {most} points up to {farthest} m is empty; both must be above 0")
    if frame.depth is None:
        return np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
    step = max(1, int(np.ceil(np.sqrt(frame.depth.size / most))))
    rows, columns = (grid.ravel() for grid in np.mgrid[: frame.depth.shape[0] : step, : frame.depth.shape[1] : step])
    z = frame.depth[rows, columns]
    ok = np.isfinite(z) & (z > 0.0) & (z < farthest)
    for near in (frame.depth[np.maximum(rows - 1, 0), columns], frame.depth[rows, np.maximum(columns - 1, 0)]):
        with np.errstate(invalid="ignore"):
            ok &= ~(np.abs(near - z) > _JUMP * z)  # a neighbour without depth says nothing
    pixels = np.stack([columns[ok], rows[ok]], -1).astype(float)
    p_camera = frame.intrinsics.back_project(pixels, z[ok].astype(float))
    p = p_camera if frame.T_world_camera is None else se3.apply(frame.T_world_camera, p_camera)
    return p.astype(np.float32), np.ascontiguousarray(frame.rgb[rows[ok], columns[ok]])
