"""Rendered pictures of onions, sound and blemished, in every light: what the blemish classifier learns from.

Balls on a table by ray casting, each with its own skin (colour, stripes, shine, root, neck), blemishes of any size and
shape, and fingers, walls of bins or other onions before it. Rooms differ in their lamps, tints, cast shadows, colours,
exposure and tone curve; the camera in its place, lens, noise, blur and compression. Depth is as noisy as a RealSense's. A
blemish counts by what is seen of it. Drawn from a seed, by other code than the synthetic camera's, whose pictures test it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.cameras.depth_noise import DepthNoise, add_depth_noise
from visual_irl.types import Intrinsics, RgbdFrame

SIZE = (320, 240)
"""Of a picture [px]: a window of a larger one."""
_NOISE = DepthNoise()


@dataclass(frozen=True)
class LessonConfig:
    """What varies, and how much; each range is drawn from evenly."""

    onions: tuple[int, int] = (3, 6)
    radius: tuple[float, float] = (0.020, 0.042)
    """[m]."""
    focal: tuple[float, float] = (300.0, 640.0)
    """[px]."""
    distance: tuple[float, float] = (0.5, 1.3)
    """From the camera to the middle of the onions [m]."""
    warmth: tuple[float, float] = (-0.10, 0.30)
    """Blue is weaker by this share, and red stronger by half of it: daylight to a bulb."""
    ambient: tuple[float, float] = (0.15, 0.6)
    """Light from all sides."""
    lamps: tuple[int, int] = (1, 3)
    exposure: tuple[float, float] = (0.35, 1.15)
    tone: tuple[float, float] = (0.5, 1.0)
    """Exponent of the tone curve: 1 is linear, 0.45 a photograph's."""
    shadows: float = 0.4
    """Share of onions that something's shadow falls on."""
    covered: float = 0.4
    """Share of onions that fingers or other things lie before."""
    walled: float = 0.35
    """Share of onions that a wall stands before, as a bin's does."""
    blemished: float = 0.5
    """Share of onions."""
    angle: tuple[float, float] = (0.14, 0.75)
    """Half angle of a blemish [rad]: 2 to 46 % of the disc when it faces the camera."""


class Lesson(NamedTuple):
    """A picture, and what is in it."""

    frame: RgbdFrame
    centres: Float[ndarray, "N 3"]
    """Of the onions [m, world]."""
    shares: Float[ndarray, "N"]
    """Of what is seen of each onion, how much is blemish; NaN where hardly anything of it is seen."""


class _View:
    """Where the camera stands, and the ray of each pixel, of depth 1 [m, world]."""

    def __init__(self, camera: Intrinsics, T_world_camera: Float[ndarray, "4 4"]) -> None:
        self._camera, self._T_camera_world, self.eye = camera, se3.inverse(T_world_camera), T_world_camera[:3, 3]
        v, u = np.mgrid[: camera.height, : camera.width].astype(float)
        self.rays = camera.back_project(np.stack([u, v], -1), np.ones_like(u)) @ T_world_camera[:3, :3].T

    def window(self, centre: Float[ndarray, "3"], radius: float) -> tuple[slice, slice]:
        """Rows and columns in which a ball may be seen."""
        p = se3.apply(self._T_camera_world, centre)
        u, v = self._camera.project(p)
        reach = 1.3 * self._camera.fx * radius / (p[2] - radius) + 1.0
        return slice(max(int(v - reach), 0), max(int(v + reach) + 1, 0)), slice(
            max(int(u - reach), 0), max(int(u + reach) + 1, 0)
        )


@dataclass
class _Picture:
    """What is drawn on: reflected colour in linear light, depth [m], and for each pixel the onion and whether it is blemish."""

    colour: Float[ndarray, "H W 3"]
    z: Float[ndarray, "H W"]
    owner: ndarray = field(init=False)
    blemish: ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.owner = np.full(self.z.shape, -1)
        self.blemish = np.zeros(self.z.shape, bool)


@dataclass(frozen=True)
class _Light:
    """Of a room: from all sides, and from lamps (direction to it, strength), with one tint."""

    ambient: float
    lamps: list[tuple[ndarray, float]]
    tint: Float[ndarray, "3"]

    def on(self, normals: Float[ndarray, "N 3"], shade: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
        """Light on a matt surface; `shade` is the share of lamp light that reaches it."""
        lit = sum(strength * np.maximum(normals @ towards, 0.0) for towards, strength in self.lamps)
        return self.ambient + shade * lit

    def gloss(self, normals: Float[ndarray, "N 3"], rays: Float[ndarray, "N 3"], power: float) -> Float[ndarray, "N"]:
        """What a shiny surface mirrors of the lamps (Phong 1975); `rays` are unit vectors from the camera."""
        mirrored = rays - 2.0 * (rays * normals).sum(1, keepdims=True) * normals
        shine = sum(strength * np.maximum(mirrored @ towards, 0.0) ** power for towards, strength in self.lamps)
        return np.asarray(shine)


def draw_lesson(seed: int, config: LessonConfig | None = None) -> Lesson:
    """One picture with its truth; the same seed gives the same one."""
    config, rng = config or LessonConfig(), np.random.default_rng([seed, 0x0710])
    width, height = SIZE
    f = rng.uniform(*config.focal)
    camera = Intrinsics(f, f, 0.5 * width, 0.5 * height, width, height)
    middle = np.array([rng.uniform(0.0, 0.5), rng.uniform(-0.4, 0.4), rng.uniform(0.0, 0.1)])
    up, around = rng.uniform(0.35, 1.25), rng.uniform(-np.pi, np.pi)
    away = np.array([np.cos(up) * np.cos(around), np.cos(up) * np.sin(around), np.sin(up)])
    T = se3.look_at(middle + rng.uniform(*config.distance) * away, middle)
    view, light = _View(camera, T), _light(rng, config)
    picture = _room(rng, view, light)
    placed = _placed(rng, config, middle, view.eye)
    for i, (centre, radius) in enumerate(placed):
        _onion(rng, config, picture, view, light, centre, radius, i)
    for centre, radius in placed:
        if rng.random() < config.walled:
            _wall(rng, picture, view, light, centre, radius)
        if rng.random() < config.covered:
            _cover(rng, picture, view, light, centre, radius)
    rgb = photograph(rng, config, picture.colour * light.tint)
    depth: Float32[ndarray, "H W"] = add_depth_noise(picture.z.astype(np.float32), _NOISE, rng)
    owners = [picture.owner == i for i in range(len(placed))]
    shares = [float(picture.blemish[mine].mean()) if mine.sum() >= 40 else np.nan for mine in owners]
    return Lesson(RgbdFrame(0, rgb, depth, camera, T), np.array([c for c, _ in placed]), np.array(shares))


def _light(rng: np.random.Generator, config: LessonConfig) -> _Light:
    lamps = []
    for _ in range(rng.integers(config.lamps[0], config.lamps[1] + 1)):
        towards = rng.normal(size=3)
        towards[2] = abs(towards[2]) + rng.uniform(0.0, 0.6)
        lamps.append((towards / np.linalg.norm(towards), float(rng.uniform(0.15, 0.9))))
    warmth = rng.uniform(*config.warmth)
    tint = np.array([1.0 + 0.5 * warmth, 1.0 + rng.uniform(-0.04, 0.04), 1.0 - warmth])
    return _Light(float(rng.uniform(*config.ambient)), lamps, tint)


def _room(rng: np.random.Generator, view: _View, light: _Light) -> _Picture:
    """A table with patches of other colours on it (paper, boards, bins), mostly near grey, and a wall far behind."""
    rays, eye = view.rays, view.eye
    down = rays[..., 2] < -1e-6
    z = np.where(down, -eye[2] / np.where(down, rays[..., 2], -1.0), 4.0)
    z = np.minimum(z, 4.0)
    at = eye + z[..., None] * rays
    grey, colourful = rng.uniform(0.1, 0.9), rng.choice([0.05, 0.15, 0.4], p=[0.6, 0.3, 0.1])
    colour = np.empty((*z.shape, 3))
    colour[:] = grey * (1.0 + colourful * rng.uniform(-1.0, 1.0, 3))
    for _ in range(rng.integers(0, 6)):
        turn, size = rng.uniform(0, np.pi), rng.uniform(0.05, 0.3, 2)
        off = at[..., :2] - eye[:2] - rng.uniform(-0.8, 0.8, 2)
        x, y = off[..., 0] * np.cos(turn) + off[..., 1] * np.sin(turn), off[..., 1] * np.cos(turn) - off[..., 0] * np.sin(turn)
        colour[(np.abs(x) < size[0]) & (np.abs(y) < size[1])] = rng.uniform(0.05, 0.95) * rng.uniform(0.5, 1.0, 3)
    up = np.array([[0.0, 0.0, 1.0]])
    return _Picture(colour * light.on(up, np.ones(1)), z)


def _placed(rng: np.random.Generator, config: LessonConfig, middle: ndarray, eye: ndarray) -> list[tuple[ndarray, float]]:
    """Centres and radii of onions that do not overlap: most lie on the table, some are held above it."""
    placed: list[tuple[ndarray, float]] = []
    wanted = rng.integers(config.onions[0], config.onions[1] + 1)
    for _ in range(60):
        radius = float(rng.uniform(*config.radius))
        centre = np.array([*(middle[:2] + rng.uniform(-0.2, 0.2, 2)), radius])
        centre[2] += rng.uniform(0.05, 0.25) if rng.random() < 0.25 else rng.uniform(0.0, 0.01)
        if placed and rng.random() < 0.4:  # beside another one
            other, theirs = placed[-1]
            turn = rng.uniform(-np.pi, np.pi)
            centre[:2] = other[:2] + 1.06 * (radius + theirs) * np.array([np.cos(turn), np.sin(turn)])
        if all(np.linalg.norm(centre - c) > 1.05 * (radius + r) for c, r in placed):
            placed.append((centre, radius))
        if len(placed) == wanted:
            break
    return sorted(placed, key=lambda item: -float(np.linalg.norm(item[0] - eye)))


def _hit(
    picture: _Picture, view: _View, centre: ndarray, radius: float
) -> tuple[ndarray, ndarray, Float[ndarray, "N 3"], Float[ndarray, "N 3"]]:
    """Rows and columns that a ball covers, which are then its own, the normals there, and unit rays."""
    window = view.window(centre, radius)
    rays, d = view.rays[window], view.eye - centre
    a, b, c = (rays**2).sum(-1), rays @ d, d @ d - radius**2
    root = b * b - a * c
    z = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0.0))) / a, np.inf)
    inside = np.nonzero((z < picture.z[window]) & (z > 0.0))
    mine, z = rays[inside], z[inside]
    rows, columns = inside[0] + window[0].start, inside[1] + window[1].start
    picture.z[rows, columns] = z
    return rows, columns, (d + z[:, None] * mine) / radius, mine / np.linalg.norm(mine, axis=1, keepdims=True)


def _onion(
    rng: np.random.Generator, config: LessonConfig, picture: _Picture, view: _View, light: _Light,
    centre: ndarray, radius: float, i: int,
) -> None:  # fmt: skip
    rows, columns, normals, sight = _hit(picture, view, centre, radius)
    if not len(rows):
        return
    towards = (view.eye - centre) / np.linalg.norm(view.eye - centre)
    axis = _aside(rng, np.array([0.0, 0.0, 1.0]), np.pi)
    skin = _skin(rng, normals, towards, axis)
    blemish = np.zeros(len(rows), bool)
    if rng.random() < config.blemished:
        for _ in range(1 + (rng.random() < 0.3)):
            patch = _uneven(rng, normals, _aside(rng, towards, 1.5), rng.uniform(*config.angle))
            skin[patch] = rot_colour(rng) * rng.uniform(0.85, 1.15, (int(patch.sum()), 1))
            blemish |= patch
    shade = np.ones(len(rows))
    if rng.random() < config.shadows:
        edge = _aside(rng, towards, 1.2)
        soft = rng.uniform(0.02, 0.3)
        shade = np.clip(0.5 + (normals @ edge - rng.uniform(-0.3, 0.9)) / soft, rng.uniform(0.0, 0.4), 1.0)
    gloss = rng.uniform(0.0, 0.45) * light.gloss(normals, sight, rng.uniform(6.0, 50.0)) * shade
    picture.colour[rows, columns] = skin * light.on(normals, shade)[:, None] + gloss[:, None]
    picture.owner[rows, columns], picture.blemish[rows, columns] = i, blemish
    if rng.random() < 0.6:
        tip = rng.uniform(0.1, 0.2) * radius
        above, beside, normals, _ = _hit(picture, view, centre + (radius + 0.5 * tip) * axis, tip)
        picture.colour[above, beside] = np.median(skin, 0) * light.on(normals, np.ones(len(above)))[:, None]


def _skin(rng: np.random.Generator, normals: ndarray, towards: ndarray, up: ndarray) -> Float[ndarray, "N 3"]:
    """Striped from root to neck, with loose pieces of another shade; the root is no blemish."""
    colour = skin_colour(rng)
    axis = se3.rotation_between(np.array([0.0, 0.0, 1.0]), -up)
    around = np.arctan2(normals @ axis[:, 1], normals @ axis[:, 0])
    stripes = 1.0 + rng.uniform(0.0, 0.10) * np.sin(rng.integers(6, 30) * around + rng.uniform(0, 6))
    skin: ndarray = colour * stripes[:, None]
    for _ in range(rng.integers(0, 3)):
        skin[_uneven(rng, normals, _aside(rng, towards, 1.5), rng.uniform(0.2, 0.9))] *= rng.uniform(0.78, 1.2)
    root = normals @ axis[:, 2] > np.cos(rng.uniform(0.0, 0.14))
    skin[root] = skin[root] * rng.uniform(0.5, 0.9)
    return skin


def skin_colour(rng: np.random.Generator) -> Float[ndarray, "3"]:
    """Of an onion: yellow to red-brown."""
    hue, saturation, value = rng.uniform(16.0, 42.0) / 60.0, rng.uniform(0.66, 0.94), rng.uniform(0.45, 0.95)
    return value * np.array([1.0, 1.0 - saturation * (1.0 - hue), 1.0 - saturation])


def rot_colour(rng: np.random.Generator) -> Float[ndarray, "3"]:
    """Colour of a blemish: nearly black, brown, or greyish mould."""
    kind = rng.random()
    if kind < 0.75:
        return rng.uniform(0.02, 0.22) * np.array([1.0, rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.8)])
    return rng.uniform(0.05, 0.35) * (1.0 + rng.uniform(-0.15, 0.15, 3))


def _aside(rng: np.random.Generator, axis: ndarray, most: float) -> Float[ndarray, "3"]:
    """A unit vector within an angle [rad] of an axis."""
    side = np.cross(axis, rng.normal(size=3))
    angle = rng.uniform(0.0, most)
    turned: ndarray = np.cos(angle) * axis + np.sin(angle) * side / np.linalg.norm(side)
    return turned


def _uneven(rng: np.random.Generator, normals: Float[ndarray, "N 3"], centre: ndarray, angle: float) -> ndarray:
    """Which points of a sphere lie in a patch about a direction whose half angle [rad] wavers."""
    R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), centre)
    around = np.arctan2(normals @ R[:, 1], normals @ R[:, 0])
    edge = sum(rng.uniform(0.0, 0.25) / k * np.cos(k * around + rng.uniform(0, 6)) for k in (2, 3, 5))
    return np.asarray(normals @ centre > np.cos(angle * (1.0 + edge)))


def _cover(rng: np.random.Generator, picture: _Picture, view: _View, light: _Light, centre: ndarray, radius: float) -> None:
    """One to three rows of small balls before an onion: fingers that touch it, or something farther before it."""
    towards = (view.eye - centre) / np.linalg.norm(view.eye - centre)
    dark, hue = rng.uniform(0.12, 0.85), rng.uniform(0.55, 0.75)
    colour = dark * np.array([1.0, hue, hue * rng.uniform(0.65, 0.95)])
    if rng.random() < 0.25:  # a glove, a sleeve, a tool
        colour = rng.uniform(0.05, 0.9) * rng.uniform(0.4, 1.0, 3)
    thick, along = rng.uniform(0.006, 0.010), _aside(rng, towards, np.pi)
    along = along - (along @ towards) * towards
    along = along / np.linalg.norm(along)
    sideways = np.cross(towards, along)
    first = rng.uniform(-1.1, 0.6) * radius
    for k in range(rng.integers(1, 4)):
        beside = first + 2.2 * thick * k
        for s in np.linspace(rng.uniform(-1.6, 0.0), rng.uniform(0.5, 1.6), 12) * radius:
            out = np.sqrt(max(radius**2 - s**2 - beside**2, 0.0)) + thick + rng.choice([0.0, 0.05], p=[0.85, 0.15])
            rows, columns, normals, _ = _hit(picture, view, centre + s * along + beside * sideways + out * towards, thick)
            picture.colour[rows, columns] = colour * light.on(normals, np.ones(len(rows)))[:, None]
            picture.owner[rows, columns], picture.blemish[rows, columns] = -1, False


def _wall(rng: np.random.Generator, picture: _Picture, view: _View, light: _Light, centre: ndarray, radius: float) -> None:
    """An upright plate that hides an onion's foot, or more of it, and may touch it."""
    ahead = (view.eye - centre) * [1.0, 1.0, 0.0] + 1e-9
    ahead = _aside(rng, ahead / np.linalg.norm(ahead), 1.0) * [1.0, 1.0, 0.0]
    ahead = ahead / np.linalg.norm(ahead)
    foot, top = centre + (radius + rng.choice([0.001, 0.02])) * ahead, centre[2] + rng.uniform(-0.9, 0.7) * radius
    with np.errstate(divide="ignore", invalid="ignore"):
        z = ((foot - view.eye) @ ahead) / (view.rays @ ahead)
        at = view.eye + z[..., None] * view.rays
    along = (at - foot) @ np.cross(ahead, [0.0, 0.0, 1.0])
    mine = (z > 0.0) & (z < picture.z) & (at[..., 2] < top) & (np.abs(along) < rng.uniform(1.5, 5.0) * radius)
    colour = rng.uniform(0.05, 0.95) * rng.uniform(0.25, 1.0, 3)
    facing = np.sign((view.eye - foot) @ ahead) * ahead
    picture.z[mine], picture.colour[mine] = z[mine], colour * light.on(facing[None], np.ones(1))
    picture.owner[mine], picture.blemish[mine] = -1, False


def photograph(rng: np.random.Generator, config: LessonConfig, linear: Float[ndarray, "H W 3"]) -> ndarray:
    """Exposure, tone curve, blur, noise and compression of a camera."""
    bright = np.clip(rng.uniform(*config.exposure) * linear, 0.0, 1.0) ** rng.uniform(*config.tone)
    levels = cv2.GaussianBlur(255.0 * bright, (0, 0), rng.uniform(0.35, 1.0))
    grain, tinted = rng.uniform(0.3, 3.0), rng.uniform(0.0, 2.0)
    levels = levels + rng.normal(0.0, grain, levels.shape[:2])[..., None] + rng.normal(0.0, tinted, levels.shape)
    rgb: Any = np.clip(levels, 0, 255).round().astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 96))]
        coded: Any = cv2.imencode(".jpg", rgb[..., ::-1], quality)[1]
        rgb = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])  # type: ignore[index]
    return np.asarray(rgb)
