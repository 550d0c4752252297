"""Onions in one RGB-D frame: where they are, how large, and whether they are blemished.

Depth lies on the skin that faces the camera, so the centre comes from a sphere fitted to it. Colour tells an onion from
skin (less saturated) and from the bins; height tells it from a desk of its own colour. A small network tells blemishes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from visual_irl import se3
from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.perception.objects.blemish import blemish_probability, load_blemish_network
from visual_irl.perception.objects.onion_pixels import Disc, OnionColour, onion_patch, onion_points
from visual_irl.perception.objects.pieces import connected_pieces
from visual_irl.perception.objects.sphere_fit import Sphere, fit_spheres
from visual_irl.tasks.onion_sorting import BLEMISHED
from visual_irl.types import ObjectEstimate, RgbdFrame


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
    """HSV hue of onion skin [degrees], red-brown to yellow; (340, 20) would go through red."""
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
    looked_at: float = 0.95
    """Share of an onion's radius within which its attributes are told: at the rim colours mix."""
    least_told: float = 0.25
    """Least visible share of its disc for an onion's attributes to be told; with less they are left out."""
    radius_unsure: float = 2.0
    """With less, an onion is as large as expected within so many standard deviations: a small spot of anything round is a part
    of some ball, mostly of a large one."""
    classifier: str = ""
    """Weights that tell blemishes (`visual-irl bench perception --train-blemish`); the network that ships when empty."""

    def __post_init__(self) -> None:
        place, length = (-10.0, 10.0), (1e-4, 0.5)
        require_within(
            self, 0.0, 1.0, lower=place, upper=place, hue=(0.0, 360.0), darkest=(0, 255), radius=length, radius_sigma=length,
            radius_unsure=(0.0, 100.0), radius_limits=length, depth_sigma=length, depth_jump=length,
            least_pixels=(1, 1_000_000),
        )  # fmt: skip

    def build(self) -> OnionDetector:
        """The detector."""
        return OnionDetector(self)


def gripped_onions() -> OnionDetectorConfig:
    """For onions that a gripper may hold: its pads touch the rim, and look like blemishes."""
    return OnionDetectorConfig(looked_at=0.75)


class SeenOnion(NamedTuple):
    """An onion in a picture."""

    sphere: Sphere
    """[m, world]"""
    visible: float
    """Share of its disc that shows its skin."""
    patch: Float32[ndarray, "C N N"] | None
    """What it looks like; None where too little of it is seen to tell anything."""


class OnionDetector:
    """Finds onions and asks a network about each; 3 to 5 ms of a CPU for 640x480."""

    def __init__(self, config: OnionDetectorConfig | None = None) -> None:
        self.config = config or OnionDetectorConfig()
        self._finder = OnionFinder(self.config)
        self._network = load_blemish_network(Path(self.config.classifier) if self.config.classifier else None)

    def detect(self, frame: RgbdFrame) -> tuple[ObjectEstimate, ...]:
        """The onions of a frame, in no particular order; `blemished` is how probable it is that a blemish is in view, and is
        left out where too little of an onion is seen.

        Raises:
            InvalidInput: the frame has no depth or no world pose.
        """
        return tuple(
            ObjectEstimate("", "onion", s.centre, s.radius, visible, self._attributes(patch))
            for s, visible, patch in self._finder.find(frame)
        )

    def _attributes(self, patch: Float32[ndarray, "C N N"] | None) -> dict[str, float]:
        return {} if patch is None else {BLEMISHED: blemish_probability(self._network, patch)}


class OnionFinder:
    """Colour and height gate, connected pieces, robust sphere fit."""

    def __init__(self, config: OnionDetectorConfig | None = None) -> None:
        self.config = config or OnionDetectorConfig()
        c = self.config
        self._colour = OnionColour(c.saturation, c.hue[0], c.hue[1], float(c.darkest))
        self._corners = np.array(c.lower), np.array(c.upper)
        self._gain = np.ones(3, np.float32)

    def find(self, frame: RgbdFrame) -> list[SeenOnion]:
        """The onions of a frame, in no particular order.

        Raises:
            InvalidInput: the frame has no depth or no world pose.
        """
        if frame.depth is None or frame.T_world_camera is None:
            missing = "depth" if frame.depth is None else "pose in the world (a static transform 'world' -> camera)"
            raise InvalidInput(f"objects need a calibrated RGB-D frame; this one has no {missing}")
        self._gain = white_balance(frame.rgb, self.config.tint_limit)
        rows, columns, p_world = onion_points(frame, self._gain, self._colour, *self._corners)
        if not len(rows):
            return []
        eye = frame.T_world_camera[:3, 3]
        pieces = connected_pieces(frame.depth, rows, columns, self.config.depth_jump, self.config.least_pixels // 2)
        spheres: list[tuple[Sphere, ndarray]] = []
        for members in pieces:
            spheres += [(s, members) for s in self._explain(p_world[members], eye)]
        seen = (self._seen(frame, sphere) for sphere, _ in _merged(spheres, p_world, lambda p: self._explain(p, eye)))
        return [onion for onion in seen if onion is not None]

    def _explain(self, points: Float[ndarray, "N 3"], eye: Float[ndarray, "3"]) -> list[Sphere]:
        """The fewest spheres (up to four) that explain a piece; none when it is not round."""
        c = self.config
        if len(points) < c.least_pixels:
            return []
        best: list[Sphere] = []
        for k in (1, 2, 3, 4):
            spheres = fit_spheres(points, eye, k, c.radius, c.radius_sigma, c.depth_sigma)
            explained = np.mean(np.any([s.inliers for s in spheres], axis=0))
            good = [s for s in spheres if self._plausible(s)]
            if explained > 0.6 and len(good) > len(best):
                best = good
            if explained > 0.85 or len(points) < (k + 1) * c.least_pixels:
                break
        return best

    def _plausible(self, sphere: Sphere) -> bool:
        low, high = self.config.radius_limits
        return low < sphere.radius < high and int(sphere.inliers.sum()) >= self.config.least_pixels

    def _seen(self, frame: RgbdFrame, sphere: Sphere) -> SeenOnion | None:
        """One fitted onion as it is seen; None when too little of it is, or no skin."""
        assert frame.T_world_camera is not None
        c, camera = self.config, frame.intrinsics
        p_camera = se3.apply(se3.inverse(frame.T_world_camera), sphere.centre)
        if not p_camera[2] > 2 * sphere.radius:
            return None
        u, v = camera.project(p_camera)
        disc = Disc(float(u), float(v), float(camera.fx * sphere.radius / p_camera[2]), float(p_camera[2]), sphere.radius)
        visible = int(sphere.inliers.sum()) / (np.pi * disc.rim**2)
        usual = abs(sphere.radius - c.radius) <= c.radius_unsure * c.radius_sigma
        if visible < c.least_visible or (visible < c.least_told and not usual):
            return None
        patch = onion_patch(frame, disc, c.looked_at, 4 * c.depth_sigma, self._gain, self._colour)
        if patch is None:
            return None
        return SeenOnion(sphere, float(min(visible, 1.0)), patch if visible >= c.least_told else None)


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
    few = np.ascontiguousarray(rgb[::step, ::step].reshape(-1, 3).T)
    red, green, blue = few[:, few.min(0) >= least].astype(np.float32)
    if len(green) < 100:
        return np.ones(3, np.float32)
    gain = np.array([np.median(green / red), 1.0, np.median(green / blue)])
    return np.clip(gain, 1.0 / (1.0 + limit), 1.0 + limit).astype(np.float32)


def _merged(
    spheres: list[tuple[Sphere, ndarray]], p_world: ndarray, refit: Callable[[ndarray], list[Sphere]]
) -> list[tuple[Sphere, ndarray]]:
    """Join pieces of one onion, such as those that show between two fingers: fitted again to all of their points."""
    out: list[tuple[Sphere, ndarray]] = []
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
