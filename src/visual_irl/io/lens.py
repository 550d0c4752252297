"""Takes a lens's distortion out of pictures."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.types import Intrinsics


class Straightener:
    """Pictures of one camera as the pinhole camera of the same intrinsics would have taken them.

    Model: Brown (1966) with OpenCV's rational denominator and its order k1, k2, p1, p2, k3 to k6, of which `d` has four, five
    or eight. The nearest pixel is taken, for depth must never be mixed. Where each pixel comes from is worked out with the
    first picture, so that one of another size is refused before anything of that size is made.
    """

    def __init__(self, camera: Intrinsics, d: Float[ndarray, "D"]) -> None:
        self._camera, self._d = camera, np.concatenate([d, np.zeros(8 - len(d))])
        self._source: Int[ndarray, "H W"] | None = None

    def __call__(self, picture: ndarray, outside: float) -> ndarray:
        """The straight picture (H, W) or (H, W, C), `outside` where the distorted one shows nothing.

        Raises:
            InvalidInput: the picture does not have the camera's size.
        """
        camera = self._camera
        if picture.shape[:2] != (camera.height, camera.width):
            raise InvalidInput(
                f"a picture is {picture.shape[1]}x{picture.shape[0]} px, its camera {camera.width}x{camera.height}: both must "
                "be the same to take the lens's distortion out"
            )
        if self._source is None:
            self._source = self._from_where()
        straight = np.take(picture.reshape(-1, *picture.shape[2:]), self._source, axis=0, mode="clip")
        straight[self._source < 0] = outside
        return straight

    def pair(
        self, rgb: UInt8[ndarray, "H W 3"], depth: Float32[ndarray, "H W"] | None
    ) -> tuple[UInt8[ndarray, "H W 3"], Float32[ndarray, "H W"] | None]:
        """A straight colour picture, and the depth that its driver aligned to it.

        With Brown's five coefficients drivers align by the pinhole model (librealsense's compiled `align` does so for a D4xx
        and an L515, depth_image_proc's `register` does), and such depth is straight already. With the rational model (Azure
        Kinect's `depth_to_rgb`) it is drawn as the colour is.

        Raises:
            InvalidInput: a picture does not have the camera's size.
        """
        return self(rgb, 0.0), self(depth, np.nan) if depth is not None and self._d[5:].any() else depth

    def _from_where(self) -> Int[ndarray, "H W"]:
        """Flat index of the distorted pixel that each straight one shows; -1 outside."""
        camera, (k1, k2, p1, p2, k3, k4, k5, k6) = self._camera, self._d
        v, u = np.mgrid[: camera.height, : camera.width].astype(float)
        x, y = (u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy
        r2 = x * x + y * y
        with np.errstate(all="ignore"):  # a lens of absurd numbers shows nothing
            radial = (1 + r2 * (k1 + r2 * (k2 + r2 * k3))) / (1 + r2 * (k4 + r2 * (k5 + r2 * k6)))
            column = np.rint(camera.fx * (x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)) + camera.cx)
            row = np.rint(camera.fy * (y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y) + camera.cy)
            inside = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
            return np.where(inside, row * camera.width + column, -1).astype(np.intp)
