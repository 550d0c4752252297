"""A camera that hangs on its side or upside down: its pictures are turned upright, as the networks know people."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from visual_irl import se3
from visual_irl.types import Intrinsics, RgbdFrame

LEAST_UP = 0.5
"""Share of the world's up that lies in the picture; with less the camera looks down, and people stand any way round."""
_QUARTER = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Axes of a camera whose picture was turned counter-clockwise by a right angle, in those of before."""


def turned_upright(frame: RgbdFrame) -> RgbdFrame:
    """The frame itself, or as a camera would have taken it that is turned about its ray by right angles until up is up.

    Without a pose in the world nothing is known of that, and nothing is done.
    """
    if frame.T_world_camera is None:
        return frame
    x, y = frame.T_world_camera[2, :2]  # the world's up in the picture: right and down
    if not np.hypot(x, y) >= LEAST_UP:
        return frame
    turns = round(float(np.arctan2(x, -y)) / (0.5 * np.pi)) % 4
    if turns == 0:
        return frame
    k, T = frame.intrinsics, frame.T_world_camera
    for _ in range(turns):
        k = Intrinsics(k.fy, k.fx, k.cy, k.width - 1 - k.cx, k.height, k.width)
        T = T @ se3.transform(_QUARTER, np.zeros(3))
    depth = None if frame.depth is None else np.ascontiguousarray(np.rot90(frame.depth, turns))
    return replace(frame, rgb=np.ascontiguousarray(np.rot90(frame.rgb, turns)), depth=depth, intrinsics=k, T_world_camera=T)
