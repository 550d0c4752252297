"""Which pixels show an onion's skin, and how much of an onion is dark: compiled passes over the picture."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Int
from numba import njit
from numpy import ndarray

from visual_irl.types import RgbdFrame

_LEAST_LIT = 0.35  # of an onion's brightness: darker pixels tell nothing of how light falls
_WITHIN = 0.85  # share of an onion's radius that is looked at: at its rim colours mix
_BRIGHT = 80.0  # percentile of its skin that is its brightness


class OnionColour(NamedTuple):
    """The onions' sector of HSV after the light's tint is taken out; all of it has red >= green >= blue."""

    saturation: float
    least_hue: float
    most_hue: float
    darkest: float


def onion_points(
    frame: RgbdFrame,
    gain: Float32[ndarray, "3"],
    colour: OnionColour,
    lower: Float[ndarray, "3"],
    upper: Float[ndarray, "3"],
) -> tuple[Int[ndarray, "N"], Int[ndarray, "N"], Float[ndarray, "N 3"]]:
    """Rows, columns and world points [m] of the pixels between two corners [m, world] that have an onion's colour."""
    assert frame.depth is not None and frame.T_world_camera is not None
    c = frame.intrinsics
    lens = np.array([c.fx, c.fy, c.cx, c.cy], float)
    return _points(frame.rgb, frame.depth, gain, colour, lens, frame.T_world_camera, lower, upper)


class Disc(NamedTuple):
    """Where an onion shows in the picture: its centre and rim [px], its centre's depth and its radius [m]."""

    u: float
    v: float
    rim: float
    z: float
    radius: float


def dark_share(
    frame: RgbdFrame,
    disc: Disc,
    near: float,
    gain: Float32[ndarray, "3"],
    colour: OnionColour,
    dark: float,
    shade: float,
) -> float | None:
    """Share of an onion's disc that is darker than a matt ball of one colour would be there; None where no skin is seen.

    Args:
        frame: the picture.
        disc: the onion.
        near: pixels whose depth is further from its skin [m] show something else; unknown depth does not.
        gain: of red, green and blue, which takes out the light's tint.
        colour: what skin looks like.
        dark: a pixel darker than this share of what is expected is dark.
        shade: share of the greatest brightness that is left where no light falls.
    """
    share = float(_dark_share(frame.rgb, frame.depth, disc, near, gain, colour, dark, shade))
    return None if share < 0.0 else share


@njit(cache=True, nogil=True)
@no_type_check
def _is_onion(r, g, b, gain, colour):
    r, g, b = r * gain[0], g * gain[1], b * gain[2]
    chroma = r - b
    hue = np.float32(60.0) * (g - b)  # [degrees] times chroma
    return (
        r >= g
        and g >= b
        and r >= colour.darkest
        and chroma >= colour.saturation * r
        and colour.least_hue * chroma <= hue <= colour.most_hue * chroma
    )


@njit(cache=True, nogil=True)
@no_type_check
def _points(rgb, depth, gain, colour, lens, T, lower, upper):
    height, width = depth.shape
    found, rows, columns, points = 0, np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty((1024, 3))
    least = np.float32((1.0 - colour.saturation) * gain[0] / gain[2])
    for v in range(height):
        for u in range(width):
            r, b = np.float32(rgb[v, u, 0]), np.float32(rgb[v, u, 2])
            if b > r * least or r < colour.darkest:  # cheap, and excludes most
                continue
            z = depth[v, u]
            if not z > 0.0 or not _is_onion(r, np.float32(rgb[v, u, 1]), b, gain, colour):
                continue
            x, y = (u - lens[2]) / lens[0] * z, (v - lens[3]) / lens[1] * z
            if found == len(rows):
                rows, columns = np.append(rows, rows), np.append(columns, columns)
                points = np.concatenate((points, points))
            inside = True
            for a in range(3):
                points[found, a] = T[a, 0] * x + T[a, 1] * y + T[a, 2] * z + T[a, 3]
                inside &= lower[a] < points[found, a] < upper[a]
            if inside:
                rows[found], columns[found] = v, u
                found += 1
    return rows[:found].copy(), columns[:found].copy(), points[:found].copy()


@njit(cache=True, nogil=True)
@no_type_check
def _dark_share(rgb, depth, disc, near, gain, colour, dark, shade):
    height, width = depth.shape
    reach = _WITHIN * disc.rim
    top, bottom = max(int(disc.v - reach), 0), min(int(disc.v + reach) + 2, height)
    left, right = max(int(disc.u - reach), 0), min(int(disc.u + reach) + 2, width)
    most = max(bottom - top, 0) * max(right - left, 0)
    value, row, skin = np.empty(most), np.empty((most, 4)), np.empty(most, np.bool_)
    n, skins = 0, 0
    for v in range(top, bottom):
        for u in range(left, right):
            x, y = (u - disc.u) / disc.rim, (v - disc.v) / disc.rim
            r2 = x * x + y * y
            if r2 >= _WITHIN**2:
                continue
            height_of_skin = np.sqrt(1.0 - r2)
            if abs(depth[v, u] - (disc.z - disc.radius * height_of_skin)) > near:  # dark skin may lack depth: NaN stays
                continue
            r, g, b = np.float32(rgb[v, u, 0]), np.float32(rgb[v, u, 1]), np.float32(rgb[v, u, 2])
            value[n] = max(r, g, b)
            row[n, 0], row[n, 1], row[n, 2], row[n, 3] = x, y, height_of_skin, 1.0
            skin[n] = _is_onion(r, g, b, gain, colour)
            skins += skin[n]
            n += 1
    if skins == 0:
        return -1.0
    full = np.percentile(value[:n][skin[:n]], _BRIGHT)
    light = _light(value[:n], row[:n], skin[:n], full)
    darks = 0
    for j in range(n):
        expected = min(max((row[j] * light).sum(), shade * full), full)
        darks += value[j] < dark * expected
    return darks / (darks + skins)


@njit(cache=True, nogil=True)
@no_type_check
def _light(value, row, skin, full):
    """Lambert's law fitted where the skin is lit: brightness is `row` times this; even light where too little is lit."""
    A, g, lit = np.zeros((4, 4)), np.zeros(4), 0
    for j in range(len(value)):
        if skin[j] and value[j] >= _LEAST_LIT * full:
            lit += 1
            for a in range(4):
                g[a] += row[j, a] * value[j]
                for b in range(4):
                    A[a, b] += row[j, a] * row[j, b]
    if lit < 12:
        return np.array([0.0, 0.0, 0.0, full])
    for a in range(4):
        A[a, a] += 1e-3 * lit
    return np.linalg.solve(A, g)
