"""Which pixels show an onion's skin, and what an onion looks like without its light: compiled passes over the picture."""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float, Float32, Int
from numba import njit
from numpy import ndarray

from visual_irl.types import RgbdFrame

CELLS = 16
"""An onion's picture has so many cells a side."""
CHANNELS = 5
"""Of a cell: its share that shows the onion, its brightness, the same against an evenly coloured ball's, two colours."""

_PER_CELL = 2  # pixels that are looked at in each cell, a side
_LEAST_LIT = 0.35  # of an onion's brightness: darker cells tell nothing of how light falls
_BRIGHT = 80.0  # percentile of its skin that is its brightness
_DEEPEST = 0.15  # share of its brightness that is expected in its deepest shade: light comes from all sides
_MOST = 2.0  # brightness is cut off at so many times what is expected
_FLOOR = 0.1  # share of its brightness that is added before colours are compared: the dark has none


class OnionColour(NamedTuple):
    """The onions' sector of HSV after the light's tint is taken out; through red where `least_hue` is the larger."""

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


def onion_patch(
    frame: RgbdFrame, disc: Disc, within: float, near: float, gain: Float32[ndarray, "3"], colour: OnionColour
) -> Float32[ndarray, "C N N"] | None:
    """An onion's picture, upright and always of one size, without the light's colour, strength and direction.

    Channels are those of `CHANNELS`; all are 0 in a cell that does not show the onion. None where no skin is seen.

    Args:
        frame: the picture.
        disc: the onion.
        within: share of its radius that is looked at.
        near: pixels whose depth is further from its skin [m] show something else; unknown depth does not.
        gain: of red, green and blue, which takes out the light's tint.
        colour: what skin looks like.
    """
    patch = np.zeros((CHANNELS, CELLS, CELLS), np.float32)
    seen = _patch(frame.rgb, frame.depth, disc, within, near, gain, colour, patch)
    return patch if seen else None


@njit(cache=True, nogil=True)
@no_type_check
def _pure(hue):
    """60 times (r - b, g - b) of a hue's [degrees] pure colour: on a hexagon about grey, anticlockwise as the hue grows."""
    h = hue % 360.0
    r = min(max(abs(h - 180.0) - 60.0, 0.0), 60.0)
    g = min(max(120.0 - abs(h - 120.0), 0.0), 60.0)
    b = min(max(120.0 - abs(h - 240.0), 0.0), 60.0)
    return r - b, g - b


@njit(cache=True, nogil=True)
@no_type_check
def _sector(colour):
    """The two half-planes that bound the hues, and whether a hue may be in either; else it must be in both."""
    span = colour.most_hue - colour.least_hue
    return _pure(colour.least_hue), _pure(colour.most_hue), (span if span >= 0.0 else span + 360.0) > 180.0


@njit(cache=True, nogil=True)
@no_type_check
def _is_onion(r, g, b, gain, colour, sector):
    first, last, either = sector
    r, g, b = r * gain[0], g * gain[1], b * gain[2]
    red, green = r - b, g - b
    after, before = first[0] * green >= first[1] * red, last[1] * red >= last[0] * green
    if not ((after or before) if either else (after and before)):
        return False
    most = max(r, g, b)
    chroma = most - min(r, g, b)
    return chroma > 0.0 and most >= colour.darkest and chroma >= colour.saturation * most


@njit(cache=True, nogil=True)
@no_type_check
def _bluest(gain, colour):
    """For every red, the least blue that no pixel of the colour has: from red to yellow, red is the most and blue the least."""
    bluest = np.full(256, 256, np.int16)
    if colour.least_hue <= colour.most_hue <= 60.0:
        least = np.float32((1.0 - colour.saturation) * gain[0] / gain[2])
        for r in range(256):
            bluest[r] = 0 if r < colour.darkest else np.floor(min(np.float32(r) * least, np.float32(255.0))) + 1
    return bluest


@njit(cache=True, nogil=True)
@no_type_check
def _points(rgb, depth, gain, colour, lens, T, lower, upper):
    height, width = depth.shape
    found, rows, columns, points = 0, np.empty(1024, np.int64), np.empty(1024, np.int64), np.empty((1024, 3))
    sector, bluest = _sector(colour), _bluest(gain, colour)
    for v in range(height):
        for u in range(width):
            if rgb[v, u, 2] >= bluest[rgb[v, u, 0]]:  # cheap, and excludes most
                continue
            r, b = np.float32(rgb[v, u, 0]), np.float32(rgb[v, u, 2])
            z = depth[v, u]
            if not z > 0.0 or not _is_onion(r, np.float32(rgb[v, u, 1]), b, gain, colour, sector):
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
def _patch(rgb, depth, disc, within, near, gain, colour, patch):
    """Fill `patch`; whether any skin is seen."""
    cells, sector = CELLS * CELLS, _sector(colour)
    mean, row, skin = np.zeros((cells, 3), np.float32), np.empty((cells, 4)), np.zeros(cells, np.bool_)
    for i in range(cells):
        x, y = (i % CELLS + 0.5) / CELLS * 2.0 - 1.0, (i // CELLS + 0.5) / CELLS * 2.0 - 1.0
        row[i] = x, y, np.sqrt(max(1.0 - x * x - y * y, 0.0)), 1.0
        n = _mean_colour(rgb, depth, disc, within, near, x, y, mean[i])
        if n > 0:
            patch[0, i // CELLS, i % CELLS] = n / _PER_CELL**2
            skin[i] = _is_onion(mean[i, 0], mean[i, 1], mean[i, 2], gain, colour, sector)
            for k in range(3):
                mean[i, k] *= gain[k]
    if not skin.any():
        return False
    value = np.array([m.max() for m in mean])
    full = np.percentile(value[skin], _BRIGHT)
    light = _light(value, row, skin, full)
    reds = np.log((mean[:, 0] + _FLOOR * full) / (mean[:, 1] + _FLOOR * full))
    yellows = np.log((mean[:, 1] + _FLOOR * full) / (mean[:, 2] + _FLOOR * full))
    red, yellow = np.median(reds[skin]), np.median(yellows[skin])
    for i in range(cells):
        v, u = i // CELLS, i % CELLS
        if patch[0, v, u] > 0.0:
            expected = min(max((row[i] * light).sum(), _DEEPEST * full), full)
            patch[1, v, u] = min(value[i] / full, _MOST)
            patch[2, v, u] = min(value[i] / expected, _MOST)
            patch[3, v, u] = reds[i] - red
            patch[4, v, u] = yellows[i] - yellow
    return True


@njit(cache=True, nogil=True)
@no_type_check
def _mean_colour(rgb, depth, disc, within, near, x, y, mean):
    """Fill `mean` with the colour of the cell about (x, y) in units of the rim; how many of its pixels show the onion."""
    height, width = depth.shape
    n = 0
    for k in range(_PER_CELL * _PER_CELL):
        sx = x + ((k % _PER_CELL + 0.5) / _PER_CELL - 0.5) * 2.0 / CELLS
        sy = y + ((k // _PER_CELL + 0.5) / _PER_CELL - 0.5) * 2.0 / CELLS
        r2 = sx * sx + sy * sy
        u, v = int(np.round(disc.u + sx * disc.rim)), int(np.round(disc.v + sy * disc.rim))
        if r2 >= within**2 or u < 0 or v < 0 or u >= width or v >= height:
            continue
        if abs(depth[v, u] - (disc.z - disc.radius * np.sqrt(1.0 - r2))) > near:  # dark skin may lack depth: NaN stays
            continue
        n += 1
        for c in range(3):
            mean[c] += np.float32(rgb[v, u, c])
    for c in range(3):
        mean[c] /= max(n, 1)
    return n


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
