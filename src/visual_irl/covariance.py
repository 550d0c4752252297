"""Covariances of points in space [m^2]: symmetric 3x3 matrices, NaN where the point is lost."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

UPPER = (0, 0, 0, 1, 1, 2), (0, 1, 2, 1, 2, 2)
"""Rows and columns of the six numbers that files and messages hold: xx, xy, xz, yy, yz, zz."""
_PLACE = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
_ROUNDING = 1e-9  # of a minor beside the product of its variances
_VANISHING = 1e-300  # a minor where products of variances below 1e-162 m^2 have become zero


def of_deviations(sigma: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B 3 3"]:
    """Independent axes with these standard deviations [m]."""
    lost = np.isnan(sigma).any(-1)[..., None, None]
    return np.where(lost, np.nan, np.nan_to_num(sigma)[..., None] ** 2 * np.eye(3))


def deviations(covariance: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B 3"]:
    """Standard deviation [m] along each axis, whatever the others are."""
    return np.asarray(np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1)))


def about_rays(
    rays: Float[ndarray, "*B 3"], across: Float[ndarray, "*B"], along: Float[ndarray, "*B"]
) -> Float[ndarray, "*B 3 3"]:
    """Of points seen along rays of any length, with standard deviations [m] `along` the ray and `across` it."""
    unit = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    outer = unit[..., :, None] * unit[..., None, :]
    return across[..., None, None] ** 2 * (np.eye(3) - outer) + along[..., None, None] ** 2 * outer


def turned(covariance: Float[ndarray, "*B 3 3"], R: Float[ndarray, "3 3"]) -> Float[ndarray, "*B 3 3"]:
    """The same in axes turned by `R`: that of `R @ p`."""
    return np.asarray(R @ covariance @ R.T)


def packed(covariance: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B 6"]:
    """The upper triangles, in the order of `UPPER`."""
    return covariance[..., UPPER[0], UPPER[1]]


def unpacked(upper: Float[ndarray, "*B 6"]) -> Float[ndarray, "*B 3 3"]:
    """The matrices of `packed`."""
    return upper[..., _PLACE]


def possible(upper: Float[ndarray, "*B 6"]) -> Bool[ndarray, "*B"]:
    """Whether a packed matrix is a covariance: no principal minor is negative (Sylvester). NaN is none."""
    xx, xy, xz, yy, yz, zz = np.moveaxis(upper, -1, 0)
    least = -_ROUNDING
    good = (xx >= 0.0) & (yy >= 0.0) & (zz >= 0.0)
    for a, b, ab in ((xx, yy, xy), (xx, zz, xz), (yy, zz, yz)):
        good &= a * b - ab * ab >= least * a * b - _VANISHING
    determinant = xx * (yy * zz - yz * yz) - xy * (xy * zz - yz * xz) + xz * (xy * yz - yy * xz)
    return np.asarray(good & (determinant >= least * xx * yy * zz - _VANISHING))


def distance(offset: Float[ndarray, "*B 3"], covariance: Float[ndarray, "*B 3 3"]) -> Float[ndarray, "*B"]:
    """Mahalanobis's distance: in standard deviations, in the direction of the offset [m]; infinite or NaN where none is."""
    with np.errstate(divide="ignore", invalid="ignore"):
        values, axes = np.linalg.eigh(np.where(np.isfinite(covariance), covariance, 0.0))
        along = np.squeeze(offset[..., None, :] @ axes, -2)
        squared = np.where(along == 0.0, 0.0, along**2 / np.maximum(values, 0.0)).sum(-1)
        return np.asarray(np.sqrt(np.where(np.isfinite(covariance).all((-2, -1)), squared, np.nan)))
