"""What a camera.json says: a lens, the camera's place in the world, and how the pictures beside it were taken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.io.messages import undistortion
from visual_irl.types import Intrinsics


@dataclass(frozen=True)
class CameraFile:
    """A camera, as `visual-irl calibrate` writes it."""

    path: Path
    intrinsics: Intrinsics
    distortion: Float[ndarray, "D"]
    T_world_camera: Float[ndarray, "4 4"] | None
    fps: float
    """Pictures a second, 0 when it does not say; a video has its own."""
    depth_unit: float
    """Metres of one step of a depth picture, 0 when it does not say."""
    start: float
    """Time of the first picture on the clock that all cameras share [s]."""

    def straightened(self, picture: ndarray, outside: float) -> ndarray:
        """A picture without the lens's distortion; see `undistortion`.

        Raises:
            InvalidInput: the picture is not as large as the file says.
        """
        if self._source is None:
            return picture
        if picture.shape[:2] != self._source.shape:
            raise InvalidInput(
                f"a picture is {picture.shape[1]}x{picture.shape[0]} px, {self.path.name} has {self._source.shape[1]}x"
                f"{self._source.shape[0]}: both must be the same to take the distortion out"
            )
        straight = picture.reshape(-1, *picture.shape[2:])[np.maximum(self._source, 0)]
        straight[self._source < 0] = outside
        return np.asarray(straight)

    @cached_property
    def _source(self) -> Int[ndarray, "H W"] | None:
        """Where each straight pixel comes from; None without distortion."""
        return undistortion(self.intrinsics, self.distortion) if self.distortion.any() else None


def read_camera(path: Path) -> CameraFile:
    """The camera in a file.

    Raises:
        InvalidInput: it lacks numbers, or holds impossible ones.
    """
    try:
        content: dict[str, Any] = json.loads(path.read_text())
        fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
        intrinsics = Intrinsics(fx, fy, cx, cy, int(content["width"]), int(content["height"]))
        distortion = np.array(content.get("distortion", ()), float)
        T = content.get("T_world_camera")
        T = None if T is None else np.array(T, float)
        fps, unit, start = (float(content.get(name, 0.0)) for name in ("fps", "depth_unit_m", "start_s"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"'{path}' needs numbers fx, fy, cx, cy [px], width and height: {error!r}") from error
    if distortion.any() and len(distortion) not in (4, 5, 8):
        raise InvalidInput(f"'{path}' has {len(distortion)} distortion coefficients; 4, 5 or 8 are supported")
    if T is not None and not (T.shape == (4, 4) and se3.is_rigid(T, 1e-3)):
        raise InvalidInput(
            f"'{path}': T_world_camera must be a rigid transform, 4x4 [m]; `visual-irl calibrate extrinsics` makes one"
        )
    if not np.isfinite(start):
        raise InvalidInput(f"'{path}': start_s is {start}, must be a time [s]")
    return CameraFile(path, intrinsics, distortion, T, fps, unit, start)
