"""The onion detector on pictures whose truth is known: ray-traced balls on a desk, then the synthetic camera."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingDependency
from visual_irl.perception.cameras.synthetic_camera import SyntheticCamera
from visual_irl.perception.objects.onion_pixels import OnionColour, onion_points
from visual_irl.perception.objects.onions import OnionDetectorConfig, OnionFinder, white_balance
from visual_irl.tasks.onion_sorting import BLEMISHED
from visual_irl.types import Intrinsics, ObjectEstimate, RgbdFrame

CAMERA = Intrinsics.from_fov(640, 480, float(np.radians(60.0)))
T_WORLD_CAMERA = se3.look_at(np.array([1.05, -0.25, 0.6]), np.array([0.1, -0.05, 0.1]))
ONION, SKIN, DARK_SKIN, DESK, BLACK = (200, 115, 51), (209, 158, 133), (112, 77, 61), (140, 102, 66), (30, 20, 13)

Ball = tuple[np.ndarray, float, tuple[int, int, int]]


def picture(balls: list[Ball], seed: int = 0, patches: tuple[int, ...] = (), sigma: float = 0.002) -> RgbdFrame:
    """Balls on a brown desk by ray casting, shaded, with depth noise and holes at edges.

    `patches` are the balls with a dark patch of 25 degrees half angle towards the camera, a little aside.
    """
    rng = np.random.default_rng(seed)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width].astype(float)
    rays = CAMERA.back_project(np.stack([u, v], -1), np.ones_like(u)) @ T_WORLD_CAMERA[:3, :3].T
    eye = T_WORLD_CAMERA[:3, 3]
    z = np.where(rays[..., 2] < 0, -eye[2] / np.minimum(rays[..., 2], -1e-6), 3.0)
    z = np.minimum(z, 3.0)
    rgb = np.where(((eye[2] + z * rays[..., 2]) < 1e-6)[..., None], DESK, (170, 178, 184)).astype(float)
    light = np.array([0.3, 0.4, 0.85]) / np.linalg.norm([0.3, 0.4, 0.85])
    for i, (centre, radius, colour) in enumerate(balls):
        d = eye - centre
        a, b, c = (rays**2).sum(-1), rays @ d, d @ d - radius**2
        root = b * b - a * c
        hit = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, np.inf)
        nearer = hit < z
        normal = (d + hit[nearer, None] * rays[nearer]) / radius
        paint = np.tile(np.array(colour, float), (len(normal), 1))
        if i in patches:
            aside = d / np.linalg.norm(d) + rng.uniform(-0.25, 0.25, 3)
            paint[normal @ aside / np.linalg.norm(aside) > np.cos(np.radians(25.0))] = BLACK
        rgb[nearer] = paint * (0.45 + 0.55 * np.maximum(normal @ light, 0.0))[:, None]
        z = np.where(nearer, hit, z)
    edge = (np.abs(np.diff(z, axis=0, prepend=z[:1])) > 0.02) | (np.abs(np.diff(z, axis=1, prepend=z[:, :1])) > 0.02)
    depth = (z + rng.normal(0, sigma, z.shape)).astype(np.float32)
    depth[edge & (rng.random(z.shape) < 0.7)] = np.nan
    rgb = np.clip(rgb + rng.normal(0, 3.0, rgb.shape), 0, 255).astype(np.uint8)
    return RgbdFrame(0, rgb, depth, CAMERA, T_WORLD_CAMERA)


def nearest(found: tuple[ObjectEstimate, ...], centre: np.ndarray) -> tuple[ObjectEstimate, float]:
    gaps = [float(np.linalg.norm(o.p_world - centre)) for o in found]
    return found[int(np.argmin(gaps))], min(gaps)


def ball(x: float, y: float, radius: float = 0.03, z: float | None = None, colour: tuple[int, int, int] = ONION) -> Ball:
    return np.array([x, y, radius if z is None else z]), radius, colour


DETECTOR = OnionDetectorConfig().build()


@pytest.mark.parametrize("seed", range(4))
def test_centre_radius_and_blemish_of_resting_onions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    balls = [ball(0.15 + 0.05 * i, -0.3 + 0.13 * i, rng.uniform(0.026, 0.033)) for i in range(4)]
    found = DETECTOR.detect(picture(balls, seed, patches=(1, 2)))
    assert len(found) == 4
    for i, (centre, radius, _) in enumerate(balls):
        estimate, error = nearest(found, centre)
        assert error < 0.004 and abs(estimate.radius - radius) < 0.003  # 2 mm of depth noise; no rim, no underside
        assert (estimate.attributes[BLEMISHED] > 0.5) == (i in (1, 2))
        assert estimate.label == "onion" and estimate.confidence > 0.6


def test_no_onion_where_there_is_none() -> None:
    """The desk has an onion's hue, hands and faces are balls of skin, and a brown ball of 9 cm is no onion."""
    balls = [ball(0.2, -0.2, 0.03, 0.1, SKIN), ball(0.2, 0.0, 0.03, 0.1, DARK_SKIN), ball(0.3, 0.15, 0.09)]
    assert DETECTOR.detect(picture(balls)) == ()


@pytest.mark.parametrize(("size", "seen"), [(0.03, 1), (0.045, 0)])
def test_a_spot_that_may_be_of_any_ball_is_taken_for_a_usual_onion_only(size: float, seen: int) -> None:
    """A sixth of it shows beside what hides it. So does hair where light falls on it, as a part of larger balls."""
    onion = ball(0.1, -0.1, size, 0.28)
    towards = (T_WORLD_CAMERA[:3, 3] - onion[0]) / np.linalg.norm(T_WORLD_CAMERA[:3, 3] - onion[0])
    aside = np.cross(towards, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(towards, [0.0, 0.0, 1.0]))
    cover = (onion[0] + size * (0.667 * towards + 0.533 * aside), 1.167 * size, SKIN)
    assert len(DETECTOR.detect(picture([onion, cover]))) == seen
    assert len(DETECTOR.detect(picture([onion]))) == 1


@pytest.mark.parametrize(
    ("hue", "colour"),
    [
        ((100.0, 140.0), (30, 160, 40)),
        ((215.0, 250.0), (25, 40, 190)),
        ((340.0, 12.0), (200, 30, 45)),
        ((290.0, 330.0), (190, 40, 160)),
    ],
)
def test_balls_of_any_hue_are_found_and_no_others(hue: tuple[float, float], colour: tuple[int, int, int]) -> None:
    """(340, 12) goes through red."""
    wanted, red_brown = ball(0.15, -0.2, colour=colour), ball(0.2, 0.1, colour=(150, 75, 35))
    (found,) = OnionFinder(OnionDetectorConfig(hue=hue)).find(picture([wanted, red_brown]))
    assert np.linalg.norm(found.sphere.centre - wanted[0]) < 0.004 and abs(found.sphere.radius - wanted[1]) < 0.003


@pytest.mark.parametrize(
    "hue", [(12.0, 48.0), (0.0, 60.0), (100.0, 140.0), (340.0, 20.0), (30.0, 200.0), (200.0, 100.0), (0.0, 360.0)]
)
def test_a_pixel_is_taken_for_its_hue_saturation_and_value(hue: tuple[float, float]) -> None:
    """Every colour of a grid, beside Python's own HSV; on a border of the sector rounding may decide."""
    side = np.arange(0, 256, 8)
    rgb = np.stack(np.meshgrid(side, side, side, indexing="ij"), -1).reshape(len(side), -1, 3).astype(np.uint8)
    lens = Intrinsics(1e6, 1e6, 0.0, 0.0, rgb.shape[1], rgb.shape[0])
    frame = RgbdFrame(0, rgb, np.ones(rgb.shape[:2], np.float32), lens, np.eye(4))
    colour = OnionColour(0.58, *hue, 36.0)
    rows, columns, _ = onion_points(frame, np.ones(3, np.float32), colour, np.full(3, -9.0), np.full(3, 9.0))
    found = np.zeros(rgb.shape[:2], bool)
    found[rows, columns] = True
    h, s, value = (np.array([colorsys.rgb_to_hsv(*c) for c in rgb.reshape(-1, 3).tolist()]) * (360.0, 1.0, 1.0)).T
    least, most = hue
    inside = (h >= least) & (h <= most) if least <= most else (h >= least) | (h <= most)
    border = np.minimum(abs(h - least), abs(h - most)) % 360.0 < 1e-9
    border |= abs(s - 0.58) < 1e-9
    expected = inside & (s >= 0.58) & (value >= 36.0)
    assert np.array_equal(found.ravel()[~border], expected[~border]) and border.mean() < 0.05


def test_outside_of_the_searched_volume_is_ignored() -> None:
    assert DETECTOR.detect(picture([ball(-0.3, 0.0, 0.03, 0.3)])) == ()


def test_held_high_between_fingers_of_skin() -> None:
    """Two fingers hide a third of it and cut it into pieces: still one onion."""
    onion = ball(0.1, -0.1, 0.03, 0.28)
    towards = T_WORLD_CAMERA[:3, 3] - onion[0]
    towards = towards / np.linalg.norm(towards)
    fingers = [
        (onion[0] + 0.037 * towards + np.array([0.0, y, h]), 0.008, SKIN)
        for y in (-0.012, 0.012)
        for h in np.linspace(-0.04, 0.04, 9)
    ]
    found = DETECTOR.detect(picture([onion, *fingers]))
    assert len(found) == 1 and nearest(found, onion[0])[1] < 0.008


def test_of_an_onion_that_hardly_shows_nothing_is_said_of_blemishes() -> None:
    """Fingers leave a sliver of it, which is no proof that the rest is sound; beside it one that is half hidden."""
    onion, other = ball(0.1, -0.1, 0.035, 0.28), ball(0.1, 0.12, 0.035, 0.28)
    towards = T_WORLD_CAMERA[:3, 3] - onion[0]
    towards = towards / np.linalg.norm(towards)
    aside = np.cross(towards, [0.0, 0.0, 1.0])
    fingers = [
        (b[0] + 0.04 * towards + across * aside + np.array([0.0, 0.0, h]), 0.009, SKIN)
        for b, most in ((onion, 0.008), (other, -0.012))
        for across in np.arange(most, -0.04, -0.012)
        for h in np.linspace(-0.05, 0.05, 11)
    ]
    found = DETECTOR.detect(picture([onion, other, *fingers]))
    assert BLEMISHED not in nearest(found, onion[0])[0].attributes
    assert nearest(found, other[0])[0].attributes[BLEMISHED] < 0.5


def test_two_onions_that_touch_are_two() -> None:
    """Side by side in a bin: one connected piece of colour without a step in depth."""
    balls = [ball(0.10, 0.20, 0.03), ball(0.105, 0.262, 0.032)]
    found = DETECTOR.detect(picture(balls))
    assert len(found) == 2
    for centre, _, _ in balls:
        assert nearest(found, centre)[1] < 0.006


def test_frames_without_depth_or_pose_are_refused() -> None:
    full = picture([ball(0.2, 0.0)])
    with pytest.raises(InvalidInput, match="no depth"):
        DETECTOR.detect(RgbdFrame(0, full.rgb, None, CAMERA, T_WORLD_CAMERA))
    with pytest.raises(InvalidInput, match="no pose in the world"):
        DETECTOR.detect(RgbdFrame(0, full.rgb, full.depth, CAMERA, None))


def test_empty_pictures_have_no_onions() -> None:
    nothing = np.zeros((CAMERA.height, CAMERA.width, 3), np.uint8)
    lost = np.full((CAMERA.height, CAMERA.width), np.nan, np.float32)
    assert DETECTOR.detect(RgbdFrame(0, nothing, lost, CAMERA, T_WORLD_CAMERA)) == ()
    full = picture([ball(0.2, 0.0)])
    assert DETECTOR.detect(RgbdFrame(0, full.rgb, lost.copy(), CAMERA, T_WORLD_CAMERA)) == ()


@pytest.mark.parametrize(("seed", "lighting"), [(0, "room"), (1, "room"), (2, "dim"), (3, "lamp"), (4, "lamp"), (52, "lamp")])
def test_synthetic_camera(seed: int, lighting: str) -> None:
    """Onions at the start of a recording, with a person at the table, bins and the noise of a D435.

    Under the one warm lamp the onions' shaded sides are dark, and dark skin (body 52) has their colour.
    """
    # few samples: only the first is drawn
    camera = SyntheticCamera(seed=seed, things=4, body_seed=seed, rate=2.0, lighting=lighting)
    try:
        found = DETECTOR.detect(camera.frame(0))
    except MissingDependency as error:
        pytest.skip(f"no OpenGL to draw with: {error}")
    assert len(found) == 4
    for name, path in camera.truth.objects.items():
        estimate, error = nearest(found, path[0])
        assert error < 0.008
        assert (estimate.attributes[BLEMISHED] > 0.5) == (camera.truth.attributes[name][BLEMISHED] > 0.5)


def test_a_warm_light_is_taken_out_of_grey_and_a_coloured_room_is_left() -> None:
    rng = np.random.default_rng(0)
    grey = rng.integers(60, 200, (160, 160, 1)) * np.array([1.0, 0.93, 0.82])
    gain = white_balance(grey.astype(np.uint8), 0.25)
    assert np.allclose(gain, [0.93, 1.0, 0.93 / 0.82], atol=0.02)  # whole levels
    assert (white_balance(np.full((160, 160, 3), (200, 100, 30), np.uint8), 0.25) == np.float32([0.8, 1.0, 1.25])).all()
    assert (white_balance(np.zeros((160, 160, 3), np.uint8), 0.25) == 1.0).all()
