"""Onions in one RGB-D frame: where they are, how large, and whether they are blemished.

Depth lies on the skin that faces the camera, so the centre comes from a sphere fitted to it. Colour tells an onion from
skin (less saturated) and from the bins; height tells it from a desk of its own colour.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from numpy import ndarray
from scipy import ndimage

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.tasks.onion_sorting import BLEMISHED
from visual_irl.types import ObjectEstimate, RgbdFrame


class ObjectDetector(Protocol):
    """Finds objects in single frames; they have no identity yet (`name` is '')."""

    def detect(self, frame: RgbdFrame) -> tuple[ObjectEstimate, ...]:
        """The objects of a calibrated frame with depth."""
        ...


@dataclass(frozen=True)
class OnionDetectorConfig:
    """What an onion looks like and where to look for it."""

    lower: tuple[float, float, float] = (-0.15, -0.80, 0.008)
    """Corner of the volume that is searched [m, world]; z keeps the desk and its noise out."""
    upper: tuple[float, float, float] = (0.80, 0.80, 0.65)
    """The opposite corner [m, world]."""
    saturation: float = 0.58
    """Least HSV saturation of onion skin: human skin has 0.3 to 0.47, onions 0.6 to 0.8."""
    hue: tuple[float, float] = (12.0, 48.0)
    """HSV hue of onion skin [degrees], red-brown to yellow."""
    tint_limit: float = 0.15
    """The light's tint is taken out of the colours up to this share; beyond it the room itself is coloured."""
    darkest: int = 36
    """Least value (largest of R, G, B) at which hue and saturation mean anything."""
    radius: float = 0.0295
    """Expected radius [m] ..."""
    radius_sigma: float = 0.004
    """... and its standard deviation [m]; a weak prior that matters when a hand hides most of the onion."""
    radius_limits: tuple[float, float] = (0.018, 0.050)
    """Radii outside are no onions [m]."""
    depth_sigma: float = 0.003
    """Depth noise at arm's length [m]: RealSense D435, about 2 mm at 1 m plus edges."""
    depth_jump: float = 0.015
    """A step between neighbouring pixels that separates two things [m]."""
    least_pixels: int = 40
    """Fewer pixels are noise."""
    least_visible: float = 0.12
    """Least visible share of an onion's disc."""
    dark: float = 0.30
    """A pixel darker than this share of what a matt ball of one colour would show there is blemish ..."""
    shade: float = 0.15
    """... in whose deepest shade this share of its brightness is left: light from all sides."""
    blemish_share: float = 0.025
    """Share of the visible disc that makes `blemished` 1; half of it is the boundary."""

    def build(self) -> OnionDetector:
        """The detector."""
        return OnionDetector(self)


@dataclass(frozen=True)
class _Sphere:
    centre: Float[ndarray, "3"]
    radius: float
    inliers: Bool[ndarray, "N"]


class OnionDetector:
    """Colour and height gate, connected pieces, robust sphere fit; about 10 ms for 640x480."""

    def __init__(self, config: OnionDetectorConfig | None = None) -> None:
        self.config = config or OnionDetectorConfig()
        self._gain = np.ones(3, np.float32)

    def detect(self, frame: RgbdFrame) -> tuple[ObjectEstimate, ...]:
        """The onions of a frame, in no particular order.

        Raises:
            InvalidInput: the frame has no depth or no world pose.
        """
        if frame.depth is None or frame.T_world_camera is None:
            missing = "depth" if frame.depth is None else "pose in the world (a static transform 'world' -> camera)"
            raise InvalidInput(f"objects need a calibrated RGB-D frame; this one has no {missing}")
        self._gain = white_balance(frame.rgb, self.config.tint_limit)
        rows, columns, p_world = self._candidates(frame)
        if not len(rows):
            return ()
        eye = frame.T_world_camera[:3, 3]
        pieces = _pieces(frame.depth, rows, columns, self.config)
        spheres: list[tuple[_Sphere, ndarray]] = []
        for members in pieces:
            spheres += [(s, members) for s in self._explain(p_world[members], eye)]
        found = []
        for sphere, members in _merged(spheres, p_world, lambda p: self._explain(p, eye)):
            estimate = self._describe(frame, sphere, rows[members[sphere.inliers]], columns[members[sphere.inliers]])
            if estimate is not None:
                found.append(estimate)
        return tuple(found)

    def _candidates(self, frame: RgbdFrame) -> tuple[ndarray, ndarray, Float[ndarray, "N 3"]]:
        """Rows, columns and world points [m] of the pixels inside the searched volume that have an onion's colour."""
        assert frame.depth is not None and frame.T_world_camera is not None
        c, T = self.config, frame.T_world_camera
        red, blue = frame.rgb[..., 0], frame.rgb[..., 2]
        least = np.float32((1.0 - c.saturation) * self._gain[0] / self._gain[2])
        saturated = (blue <= red * least) & (red >= c.darkest)  # cheap, and excludes most
        rows, columns = np.nonzero(saturated)
        onion = _is_onion(frame.rgb[rows, columns], self._gain, c)
        rows, columns = rows[onion], columns[onion]
        pixels = np.stack([columns, rows], -1).astype(float)
        p_world = se3.apply(T, frame.intrinsics.back_project(pixels, frame.depth[rows, columns].astype(float)))
        inside = ((p_world > c.lower) & (p_world < c.upper)).all(1)  # NaN is outside
        return rows[inside], columns[inside], p_world[inside]

    def _explain(self, points: Float[ndarray, "N 3"], eye: Float[ndarray, "3"]) -> list[_Sphere]:
        """The fewest spheres (up to four) that explain a piece; none when it is not round."""
        if len(points) < self.config.least_pixels:
            return []
        best: list[_Sphere] = []
        for k in (1, 2, 3, 4):
            spheres = _fit_spheres(points, eye, k, self.config)
            explained = np.mean(np.any([s.inliers for s in spheres], axis=0))
            good = [s for s in spheres if self._plausible(s)]
            if explained > 0.6 and len(good) > len(best):
                best = good
            if explained > 0.85 or len(points) < (k + 1) * self.config.least_pixels:
                break
        return best

    def _plausible(self, sphere: _Sphere) -> bool:
        low, high = self.config.radius_limits
        return low < sphere.radius < high and int(sphere.inliers.sum()) >= self.config.least_pixels

    def _describe(self, frame: RgbdFrame, sphere: _Sphere, rows: ndarray, columns: ndarray) -> ObjectEstimate | None:
        """The estimate of one fitted onion whose skin covers `rows`, `columns`; None when too little of it is seen."""
        assert frame.T_world_camera is not None and frame.depth is not None
        c, camera = self.config, frame.intrinsics
        p_camera = se3.apply(se3.inverse(frame.T_world_camera), sphere.centre)
        if not p_camera[2] > 2 * sphere.radius:
            return None
        u, v = camera.project(p_camera)
        disc = 0.85 * camera.fx * sphere.radius / p_camera[2]  # [px], without the rim where colours mix
        top, left = max(int(v - disc), 0), max(int(u - disc), 0)
        box = slice(top, int(v + disc) + 2), slice(left, int(u + disc) + 2)
        rgb, depth = frame.rgb[box], frame.depth[box]
        if not rgb.size:
            return None
        y, x = np.mgrid[top : top + rgb.shape[0], left : left + rgb.shape[1]]
        r2 = (x - u) ** 2 + (y - v) ** 2
        surface = p_camera[2] - np.sqrt(np.maximum(sphere.radius**2 - r2 * (p_camera[2] / camera.fx) ** 2, 0.0))
        on_it = (r2 < disc * disc) & ~(np.abs(depth - surface) > 4 * c.depth_sigma)  # dark skin may lack depth: NaN stays
        value = rgb.max(-1)
        onion = on_it & _is_onion(rgb.reshape(-1, 3), self._gain, c).reshape(on_it.shape)
        visible = len(rows) / (np.pi * (disc / 0.85) ** 2)
        if not onion.any() or visible < c.least_visible:
            return None
        normal = np.stack([(x - u) / disc, (y - v) / disc], -1)[on_it] * 0.85
        dark = np.zeros_like(on_it)
        dark[on_it] = value[on_it] < c.dark * _matt(normal, value[on_it], onion[on_it], c.shade)
        share = float(dark.sum() / (dark.sum() + onion.sum()))
        attributes = {BLEMISHED: min(share / c.blemish_share, 1.0)}
        return ObjectEstimate("", "onion", sphere.centre, sphere.radius, float(min(visible, 1.0)), attributes)


def white_balance(rgb: UInt8[ndarray, "H W 3"], limit: float, step: int = 8, least: int = 24) -> Float32[ndarray, "3"]:
    """Gains of red, green and blue that make the picture's typical colour grey, green's being 1.

    Tables, walls and clothes are mostly near grey: the median of their colours is the light's. Under a warm lamp skin
    would else be as saturated as an onion.

    Args:
        rgb: picture.
        limit: gains lie between 1 / (1 + limit) and 1 + limit.
        step: every so many rows and columns are looked at.
        least: darker pixels have no colour [levels of 255].
    """
    few = rgb[::step, ::step].reshape(-1, 3).astype(np.float32)
    few = few[few.min(1) >= least]
    if len(few) < 100:
        return np.ones(3, np.float32)
    gain = np.median(few[:, 1:2] / few, axis=0)
    return np.clip(gain, 1.0 / (1.0 + limit), 1.0 + limit).astype(np.float32)


def _matt(normal: Float[ndarray, "N 2"], value: ndarray, skin: Bool[ndarray, "N"], shade: float) -> Float[ndarray, "N"]:
    """Brightness that pixels of a ball would have if all of it were skin: Lambert's law, fitted where it is lit.

    Args:
        normal: sideways parts of the surface's normal.
        value: brightness.
        skin: which pixels have skin's colour.
        shade: share of the greatest brightness that is left where no light falls.
    """
    full = float(np.percentile(value[skin], 80))
    A = np.column_stack([normal, np.sqrt(np.maximum(1.0 - (normal**2).sum(1), 0.0)), np.ones(len(normal))])
    lit = skin & (value >= 0.35 * full)
    if lit.sum() < 3 * A.shape[1]:
        return np.full(len(value), full)
    fit = A[lit]
    w = np.linalg.solve(fit.T @ fit + 1e-3 * lit.sum() * np.eye(4), fit.T @ value[lit].astype(float))
    return np.clip(A @ w, shade * full, full)


def _is_onion(rgb: UInt8[ndarray, "N 3"], gain: Float32[ndarray, "3"], config: OnionDetectorConfig) -> Bool[ndarray, "N"]:
    """Which colours lie in the onions' sector of HSV, all of which has red >= green >= blue."""
    r, g, b = (rgb[:, i] * gain[i] for i in range(3))
    chroma = r - b
    hue = 60.0 * (g - b)  # [degrees] times chroma
    return (
        (r >= g) & (g >= b) & (r >= config.darkest) & (chroma >= config.saturation * r)
        & (hue >= config.hue[0] * chroma) & (hue <= config.hue[1] * chroma)
    )  # fmt: skip


def _pieces(depth: ndarray, rows: ndarray, columns: ndarray, config: OnionDetectorConfig) -> list[ndarray]:
    """Connected pieces of candidate pixels, cut where depth jumps; index arrays into the candidates."""
    top, left = int(rows.min()), int(columns.min())
    shape = (int(rows.max()) - top + 1, int(columns.max()) - left + 1)
    mask = np.zeros(shape, bool)
    mask[rows - top, columns - left] = True
    z = depth[top : top + shape[0], left : left + shape[1]]
    for axis in (0, 1):
        jump = np.abs(np.diff(z, axis=axis)) > config.depth_jump
        near = np.take(mask, range(shape[axis] - 1), axis)
        near &= ~jump
        mask = np.concatenate([near, np.take(mask, [shape[axis] - 1], axis)], axis)
    labels, count = ndimage.label(mask, np.ones((3, 3), int))
    of_candidate = labels[rows - top, columns - left]
    order = np.argsort(of_candidate, kind="stable")
    bounds = np.searchsorted(of_candidate[order], np.arange(1, count + 2))
    pieces = [order[a:b] for a, b in pairwise(bounds)]
    return [piece for piece in pieces if len(piece) >= config.least_pixels // 2]


def _fit_spheres(points: ndarray, eye: ndarray, k: int, config: OnionDetectorConfig) -> list[_Sphere]:
    """`k` spheres through `points` by turns: each point joins the nearest skin, each sphere takes a robust step.

    One step is Gauss-Newton on Tukey-weighted distances to the skin with a normal prior on the radius.
    """
    seeds = [points.mean(0)]
    for _ in range(k - 1):  # farthest points first
        gaps = np.min([np.linalg.norm(points - s, axis=1) for s in seeds], axis=0)
        seeds.append(points[gaps.argmax()])
    if k > 1:
        seeds[0] = points[np.linalg.norm(points - seeds[1], axis=1).argmax()]
        for _ in range(4):
            nearest = np.argmin([np.linalg.norm(points - s, axis=1) for s in seeds], axis=0)
            seeds = [points[nearest == i].mean(0) if (nearest == i).any() else s for i, s in enumerate(seeds)]
    view = [(s - eye) / np.linalg.norm(s - eye) for s in seeds]
    centres = [s + 0.67 * config.radius * d for s, d in zip(seeds, view, strict=True)]  # mean depth of a half sphere
    radii = [config.radius] * k
    for step in range(12):
        off = np.array([np.linalg.norm(points - c, axis=1) - r for c, r in zip(centres, radii, strict=True)])
        owner = np.abs(off).argmin(0)
        reach = max(4.0 - 0.3 * step, 2.0) * 2.0 * config.depth_sigma  # Tukey's bound [m], closing in
        for i in range(k):
            mine = owner == i
            if mine.sum() >= 4:
                centres[i], radii[i] = _step(points[mine], off[i][mine], centres[i], radii[i], reach, config)
    off = np.abs([np.linalg.norm(points - c, axis=1) - r for c, r in zip(centres, radii, strict=True)])
    owner = off.argmin(0)
    close = off.min(0) < 2.5 * config.depth_sigma
    return [_Sphere(c, float(r), close & (owner == i)) for i, (c, r) in enumerate(zip(centres, radii, strict=True))]


def _step(
    points: ndarray, off: ndarray, centre: ndarray, radius: float, reach: float, config: OnionDetectorConfig
) -> tuple[ndarray, float]:
    weight = np.where(np.abs(off) < reach, (1.0 - (off / reach) ** 2) ** 2, 0.0) / config.depth_sigma**2
    weight *= min(1.0, 100.0 / len(points))  # neighbouring pixels share their noise: count as 100 at most
    d = points - centre
    J = np.column_stack([-d / np.linalg.norm(d, axis=1, keepdims=True), -np.ones(len(points))])
    A = (J * weight[:, None]).T @ J
    g = (J * weight[:, None]).T @ off
    A[3, 3] += 1.0 / config.radius_sigma**2
    g[3] += (radius - config.radius) / config.radius_sigma**2
    A[:3, :3] += np.eye(3) * 1.0  # keeps a sphere without points where it is
    delta = -np.linalg.solve(A, g)
    delta *= min(1.0, 0.02 / float(np.linalg.norm(delta[:3]) + 1e-12))
    return centre + delta[:3], float(radius + delta[3])


def _merged(
    spheres: list[tuple[_Sphere, ndarray]], p_world: ndarray, refit: Callable[[ndarray], list[_Sphere]]
) -> list[tuple[_Sphere, ndarray]]:
    """Join pieces of one onion, such as those that show between two fingers: fitted again to all of their points."""
    out: list[tuple[_Sphere, ndarray]] = []
    for sphere, members in sorted(spheres, key=lambda item: -int(item[0].inliers.sum())):
        for i, (other, theirs) in enumerate(out):
            if np.linalg.norm(sphere.centre - other.centre) < 0.6 * (sphere.radius + other.radius):
                both = np.union1d(members[sphere.inliers], theirs[other.inliers])
                fitted = refit(p_world[both])
                if len(fitted) == 1:
                    out[i] = (fitted[0], both)
                break
        else:
            out.append((sphere, members))
    return out
