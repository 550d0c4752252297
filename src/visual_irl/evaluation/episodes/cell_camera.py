"""The RGB-D camera of a simulated cell: what it sees now, with the noise of a sensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.perception.cameras.depth_noise import COLOUR_NOISE, DepthNoise, add_colour_noise, add_depth_noise
from visual_irl.types import RgbdFrame

RATE = 30
"""Pictures a second [1/s]."""


def pictures(executor: MujocoExecutor, rng: np.random.Generator, count: int = 1) -> Iterator[RgbdFrame]:
    """So many pictures of the cell as it stands, one after the other: alike but for the noise."""
    frame = executor.photograph()
    assert frame.depth is not None
    for k in range(count):
        rgb = add_colour_noise(frame.rgb, COLOUR_NOISE, rng)
        depth = add_depth_noise(frame.depth, DepthNoise(), rng)
        yield replace(frame, stamp_ns=frame.stamp_ns + k * 1_000_000_000 // RATE, rgb=rgb, depth=depth)
