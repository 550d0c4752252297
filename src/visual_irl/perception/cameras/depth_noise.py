"""What a stereo depth camera (Intel RealSense D435) makes of true depth and colour: pure functions on one picture.

Stereo measures disparity `d = f B / z`, so its errors are natural there. A constant disparity noise gives the depth
noise `sigma_z = z^2 sigma_d / (f B)` that Intel states (Grunnet-Jepsen, Sweetser and Woodfill, "Best-Known-Methods for
Tuning Intel RealSense D400 Depth Cameras for Best Performance", the RMS error) and that Ahn et al. 2019 ("Analysis and
Noise Modeling of the Intel RealSense D435 for Mobile Robots", Ubiquitous Robots) measured as quadratic in z. Matching
windows make the noise alike over several pixels (Keselman et al. 2017, "Intel RealSense Stereoscopic Depth Cameras",
CVPR workshops), disparity comes in steps of 1/32 pixel, and what only one of both imagers sees has no depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from scipy import ndimage

from visual_irl.errors import InvalidInput

COLOUR_NOISE = 0.8
"""Standard deviation of colour noise [levels of 255]."""


@dataclass(frozen=True)
class DepthNoise:
    """A D435 behind librealsense's spatial and temporal filters, at its default 848x480."""

    baseline: float = 0.050
    """Between both imagers [m] (D435 data sheet)."""
    focal: float = 425.0
    """Of the imagers [px at 848 wide]; measures disparity."""
    sigma: float = 0.03
    """Standard deviation of disparity [px]: Intel gives 0.08 raw; assumed to be a good third of it when filtered."""
    correlation: float = 16.0
    """Distance over which noise is alike [px]: matching window and spatial filter."""
    step: float = 1.0 / 32.0
    """Disparity resolution [px]."""
    dropout: float = 0.001
    """Share of pixels without depth besides edges and shadows."""
    edge: float = 1.5
    """A disparity jump between neighbours above which both have no depth [px]."""
    near: float = 0.20
    """Smallest depth that is measured [m]."""
    far: float = 1.6
    """Largest depth that is kept [m]: librealsense's threshold filter set for a table top (raw reach is about 10 m)."""
    unit: float = 0.001
    """Depth is delivered in whole units [m]."""

    def __post_init__(self) -> None:
        if not (self.baseline > 0 and self.focal > 0 and self.sigma >= 0 and self.correlation >= 1 and self.step > 0):
            raise InvalidInput(f"depth noise needs positive baseline, focal length and step, correlation >= 1, got {self}")
        if not 0.0 < self.near < self.far:
            raise InvalidInput(f"depth range {self.near} to {self.far} m is empty; give 0 < near < far")

    def sigma_depth(self, z: float) -> float:
        """Standard deviation of depth at `z` [m], both in metres."""
        return z * z * self.sigma / (self.focal * self.baseline)


def add_depth_noise(depth: Float32[ndarray, "H W"], noise: DepthNoise, rng: np.random.Generator) -> Float32[ndarray, "H W"]:
    """Depth [m] as the camera would deliver it; NaN where it has none.

    Args:
        depth: true depth along the optical axis [m]; NaN or infinite where nothing is.
        noise: the camera.
        rng: draws the noise.
    """
    known = np.isfinite(depth) & (depth > 0)
    disparity = noise.focal * noise.baseline / np.where(known, depth, np.float32(1e3))
    lost = ~known | occluded(disparity) | edges(disparity, noise.edge)
    lost |= _dropouts(depth.shape, noise, rng)
    wobble = noise.sigma * smooth_noise(depth.shape, noise.correlation, rng)
    measured = noise.step * np.round((disparity + wobble) / noise.step)
    z = noise.focal * noise.baseline / np.maximum(measured, noise.step)
    z = noise.unit * np.round(z / noise.unit)
    lost |= ~((z >= noise.near) & (z <= noise.far))
    return np.where(lost, np.float32(np.nan), z.astype(np.float32))


def add_colour_noise(rgb: UInt8[ndarray, "H W 3"], sigma: float, rng: np.random.Generator) -> UInt8[ndarray, "H W 3"]:
    """Colour with noise of standard deviation `sigma` [levels of 255], alike in red, green and blue."""
    grain = np.float32(sigma) * rng.standard_normal(rgb.shape[:2], dtype=np.float32)
    noisy: ndarray = np.clip(rgb + grain[..., None], 0, 255).round().astype(np.uint8)
    return noisy


def occluded(disparity: Float32[ndarray, "H W"], margin: float = 1.0) -> Bool[ndarray, "H W"]:
    """Pixels of the left imager that the right one does not see: something to their right covers them there.

    Pixel u lands on u - d(u) in the right imager; it is covered if a pixel further right lands to its left.
    """
    landing = np.arange(disparity.shape[1], dtype=np.float32) - disparity
    leftmost_beyond = np.minimum.accumulate(landing[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(leftmost_beyond < landing - margin)


def edges(disparity: Float32[ndarray, "H W"], jump: float) -> Bool[ndarray, "H W"]:
    """Pixels beside a disparity jump: matching windows that see two surfaces fail."""
    out = np.zeros(disparity.shape, dtype=bool)
    for axis in (0, 1):
        big = np.abs(np.diff(disparity, axis=axis)) > jump
        first, second = (slice(None, -1), slice(1, None))
        here, there = (
            ((first, slice(None)), (second, slice(None)))
            if axis == 0
            else (
                (slice(None), first),
                (slice(None), second),
            )
        )
        out[here] |= big
        out[there] |= big
    return out


def smooth_noise(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> Float32[ndarray, "H W"]:
    """Gaussian noise of mean 0 and variance 1 that is alike over `length` [px]: white on a coarse grid, interpolated.

    Bilinear interpolation lowers the variance between grid points; it is scaled back by its mean, (2/3)^2.
    """
    h, w = shape
    rows, columns = int(np.ceil(h / length)) + 2, int(np.ceil(w / length)) + 2
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    offset = rng.uniform(0.0, 1.0, 2)  # the grid must not stand still in the picture
    vertical = _interpolate(coarse, np.arange(h) / length + offset[0])
    fine = _interpolate(vertical.T, np.arange(w) / length + offset[1]).T
    return np.float32(1.5) * fine


def _interpolate(values: Float32[ndarray, "N M"], at: Float[ndarray, "K"]) -> Float32[ndarray, "K M"]:
    """Rows of `values` at fractional row numbers."""
    below = np.floor(at).astype(int)
    share = (at - below).astype(np.float32)[:, None]
    return (1.0 - share) * values[below] + share * values[below + 1]


def _dropouts(shape: tuple[int, ...], noise: DepthNoise, rng: np.random.Generator) -> Bool[ndarray, "H W"]:
    """Small holes at random places."""
    area = 9.0  # of one hole: 3 x 3 pixels
    count = rng.poisson(noise.dropout * shape[0] * shape[1] / area)
    seeds = np.zeros(shape, dtype=bool)
    seeds[rng.integers(0, shape[0], count), rng.integers(0, shape[1], count)] = True
    return np.asarray(ndimage.binary_dilation(seeds, np.ones((3, 3), dtype=bool)))
