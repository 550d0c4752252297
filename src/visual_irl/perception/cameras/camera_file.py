"""What a camera.json says: a lens, the camera's place in the world, and how the pictures beside it were taken."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.io.lens import Straightener
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
        """A picture without the lens's distortion; see `Straightener`.

        Raises:
            InvalidInput: the picture is not as large as the file says.
        """
        return self._straighten(picture, outside) if self.distortion.any() else picture

    @cached_property
    def _straighten(self) -> Straightener:
        return Straightener(self.intrinsics, self.distortion)


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
    if distortion.any() and not (len(distortion) in (4, 5, 8) and np.isfinite(distortion).all()):
        raise InvalidInput(f"'{path}': distortion must be 4, 5 or 8 finite coefficients, got {distortion.tolist()}")
    if T is not None and not (T.shape == (4, 4) and se3.is_rigid(T, 1e-3)):
        raise InvalidInput(
            f"'{path}': T_world_camera must be a rigid transform, 4x4 [m]; `visual-irl calibrate extrinsics` makes one"
        )
    if not np.isfinite(start):
        raise InvalidInput(f"'{path}': start_s is {start}, must be a time [s]")
    return CameraFile(path, intrinsics, distortion, T, fps, unit, start)
