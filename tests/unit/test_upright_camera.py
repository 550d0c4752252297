"""A camera that is turned about its ray sees the same world, and its frames are turned back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.perception.cameras.upright_camera import turned_upright
from visual_irl.types import Intrinsics, RgbdFrame

RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
LENS = Intrinsics(9.0, 10.0, 3.2, 2.1, 8, 6)
POSE = se3.look_at(np.array([1.0, 0.2, 0.6]), np.array([0.0, 0.0, 0.2]))
UPRIGHT = RgbdFrame(1, RGB, RGB[:, :, 0].astype(np.float32), LENS, POSE)
POINT = np.array([0.1, 0.05, 0.25])


def rolled(degrees: float) -> np.ndarray:
    """The pose of the same camera, turned clockwise about its ray."""
    assert UPRIGHT.T_world_camera is not None
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    return UPRIGHT.T_world_camera @ se3.transform(R, np.zeros(3))


def pixel(frame: RgbdFrame) -> np.ndarray:
    assert frame.T_world_camera is not None
    return frame.intrinsics.project(se3.apply(se3.inverse(frame.T_world_camera), POINT))


@pytest.mark.parametrize("degrees", [90, 180, 270, 75, 110])
def test_a_point_is_seen_on_the_same_patch_of_the_turned_picture(degrees: float) -> None:
    lying = replace(UPRIGHT, T_world_camera=rolled(degrees))
    turned = turned_upright(lying)
    assert turned.T_world_camera is not None and turned.depth is not None
    assert turned.T_world_camera[2, 1] < -0.5 * np.hypot(*turned.T_world_camera[2, :2])  # up is up
    assert turned.rgb.shape[:2] == turned.depth.shape == (turned.intrinsics.height, turned.intrinsics.width)
    patch = np.zeros((6, 8))
    u, v = pixel(lying)
    rows, columns = np.mgrid[:6, :8]
    patch[:] = np.hypot(columns - u, rows - v)  # distance from where the point is seen: a picture of it
    image = turned_upright(replace(lying, depth=patch.astype(np.float32)))
    assert image.depth is not None
    rows, columns = np.mgrid[: image.intrinsics.height, : image.intrinsics.width]
    u, v = pixel(image)
    assert np.allclose(image.depth, np.hypot(columns - u, rows - v), atol=1e-5)


@pytest.mark.parametrize("degrees", [0, 30, -40])
def test_an_upright_camera_is_left_alone(degrees: float) -> None:
    frame = replace(UPRIGHT, T_world_camera=rolled(degrees))
    assert turned_upright(frame) is frame


def test_a_camera_that_looks_down_or_stands_anywhere_is_left_alone() -> None:
    down = replace(UPRIGHT, T_world_camera=se3.look_at(np.array([0.05, 0.0, 1.5]), np.zeros(3)))
    anywhere = replace(UPRIGHT, T_world_camera=None)
    assert turned_upright(down) is down and turned_upright(anywhere) is anywhere
