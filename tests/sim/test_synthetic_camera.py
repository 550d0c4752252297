"""The synthetic camera: geometry against the truth, noise against its model."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from scipy import ndimage

from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingDependency
from visual_irl.perception.cameras import synthetic_camera
from visual_irl.perception.cameras.depth_noise import DepthNoise, add_depth_noise, edges, occluded, smooth_noise
from visual_irl.perception.cameras.synthetic_camera import Renderer, SyntheticCamera
from visual_irl.types import keypoint_index

pytestmark = pytest.mark.long

CLEAN = SyntheticCamera(seed=0, noise=False)
RIGHT_ARM = ("right_shoulder", "right_elbow", "right_wrist", "right_hand_middle_mcp")


@pytest.fixture(scope="module")
def renderer():
    with Renderer(CLEAN) as opened:
        yield opened


def rays(camera: SyntheticCamera) -> tuple[np.ndarray, np.ndarray]:
    """Pixel grid and its viewing rays in the world, scaled to depth 1."""
    k = camera.intrinsics
    uv = np.stack(np.meshgrid(np.arange(k.width), np.arange(k.height)), axis=-1).astype(float)
    p_camera = k.back_project(uv, np.ones(uv.shape[:2]))
    return uv, p_camera @ camera.T_world_camera[:3, :3].T


def test_depth_of_the_table_is_its_plane(renderer: Renderer) -> None:
    _, depth = renderer.draw(0)
    _, ray = rays(CLEAN)
    z = -CLEAN.T_world_camera[2, 3] / ray[..., 2]  # where the ray meets z = 0
    p = CLEAN.T_world_camera[:3, 3] + z[..., None] * ray
    bare = (p[..., 0] > 0.34) & (p[..., 0] < 0.50) & (np.abs(p[..., 1]) < 0.3)
    assert bare.sum() > 5_000
    np.testing.assert_allclose(depth[bare], z[bare], atol=5e-4)  # 24-bit depth buffer, four samples averaged


def test_onion_is_a_ball_of_its_radius_where_the_truth_says(renderer: Renderer) -> None:
    rgb, depth = renderer.draw(0)
    k, T = CLEAN.intrinsics, CLEAN.T_world_camera
    for name, path in CLEAN.truth.objects.items():
        p_camera = se3.apply(se3.inverse(T), path[0])
        u, v = np.round(k.project(p_camera)).astype(int)
        towards = np.linalg.norm(p_camera)
        front = p_camera * (towards - CLEAN.truth.radii[name]) / towards  # the nearest point of the ball
        assert depth[v, u] == pytest.approx(front[2], abs=0.002)  # the pixel is up to half a pixel off the centre
        if CLEAN.truth.attributes[name]["blemished"] > 0.5:
            assert rgb[v, u].max() < 80  # dark
        else:
            r, g, b = (int(x) for x in rgb[v, u])
            assert r > 1.4 * g > 1.8 * b  # saturated orange, unlike skin


def test_joints_project_onto_the_person(renderer: Renderer) -> None:
    """A joint centre lies under the skin: the depth at its pixel is a little less than its own."""
    k, T_camera_world = CLEAN.intrinsics, se3.inverse(CLEAN.T_world_camera)
    for i in (0, len(CLEAN) // 3, len(CLEAN) // 2):
        _, depth = renderer.draw(i)
        for name in RIGHT_ARM:
            p = se3.apply(T_camera_world, CLEAN.truth.p_world[i, keypoint_index(name)])
            u, v = np.round(k.project(p)).astype(int)
            if name == "right_shoulder" or depth[v, u] > p[2] - 0.12:  # else another limb or an onion is in front
                assert 0.0 < p[2] - depth[v, u] < 0.12


def test_whole_task_is_in_the_picture() -> None:
    for seed, body, side in ((0, 0, "right"), (1, 1, "left"), (2, 2, "right"), (3, 3, "right")):
        camera = SyntheticCamera(seed=seed, body_seed=body, side=side, rate=5.0)
        k, T = camera.intrinsics, se3.inverse(camera.T_world_camera)
        hips = [keypoint_index(f"{side}_hip") for side in ("left", "right")]  # under the table
        points = [np.delete(camera.truth.p_world, hips, axis=1).reshape(-1, 3), *camera.truth.objects.values()]
        uv = k.project(se3.apply(T, np.concatenate(points)))
        assert (uv > 8).all() and (uv[:, 0] < k.width - 8).all() and (uv[:, 1] < k.height - 8).all()


def test_blemish_covers_a_fair_part_of_the_onion(renderer: Renderer) -> None:
    rgb, _ = renderer.draw(0)
    k, T = CLEAN.intrinsics, se3.inverse(CLEAN.T_world_camera)
    for name, path in CLEAN.truth.objects.items():
        p = se3.apply(T, path[0])
        uv, _ = rays(CLEAN)
        disc = np.linalg.norm(uv - k.project(p), axis=-1) < 0.9 * k.fx * CLEAN.truth.radii[name] / p[2]
        dark = (rgb[disc].max(axis=-1) < 80).mean()
        if CLEAN.truth.attributes[name]["blemished"] > 0.5:
            assert 0.12 < dark < 0.40
        else:
            assert dark < 0.02


def test_frames_follow_the_truth_in_time_and_repeat() -> None:
    camera = SyntheticCamera(seed=4, things=1)
    frames, again = (list(islice(camera, 3)) for _ in range(2))
    stamps = [f.stamp_ns for f in frames]
    np.testing.assert_allclose(np.diff(stamps) * 1e-9, np.diff(camera.truth.t[:3]), atol=1e-8)
    for f, g in zip(frames, again, strict=True):
        np.testing.assert_array_equal(f.rgb, g.rgb)
        np.testing.assert_array_equal(f.depth, g.depth)
    assert not np.array_equal(frames[0].rgb, frames[1].rgb)
    assert camera.frame(2).stamp_ns == stamps[2]
    np.testing.assert_array_equal(camera.frame(2).depth, frames[2].depth)
    assert len(camera) == len(camera.truth.t) and set(camera.fixtures) == {"bin_blemished", "bin_unblemished"}


def test_noisy_depth_of_the_table_agrees_with_truth(renderer: Renderer) -> None:
    _, depth = renderer.draw(0)
    noise = DepthNoise()
    noisy = np.array([add_depth_noise(depth, noise, np.random.default_rng(s)) for s in range(20)])
    error = (noisy - depth)[:, 400:460, 200:440]
    z = float(depth[400:460, 200:440].mean())
    step = z * z * noise.step / (noise.focal * noise.baseline)
    expected = np.hypot(noise.sigma_depth(z), step / np.sqrt(12.0))  # noise and rounding
    assert abs(np.nanmean(error)) < 0.2 * expected
    assert np.nanstd(error) == pytest.approx(expected, rel=0.15)  # depth varies by 10 % over the patch


@pytest.mark.parametrize("z", [0.5, 1.0, 1.5])
def test_depth_noise_grows_with_the_square_of_depth(z: float) -> None:
    noise = replace(DepthNoise(), dropout=0.0, step=1e-4, unit=1e-6, sigma=0.08)
    wall = np.full((240, 320), z, dtype=np.float32)
    error = np.concatenate([add_depth_noise(wall, noise, np.random.default_rng(s)) - wall for s in range(8)])
    assert np.std(error) == pytest.approx(z * z * 0.08 / (425.0 * 0.050), rel=0.05)


def test_depth_comes_in_whole_millimetres_and_disparity_steps() -> None:
    noise = replace(DepthNoise(), dropout=0.0)
    wall = np.full((120, 160), 1.2, dtype=np.float32)
    z = add_depth_noise(wall, noise, np.random.default_rng(0)).astype(float)
    np.testing.assert_allclose(z * 1e3, np.round(z * 1e3), atol=1e-4)  # single precision
    steps = noise.focal * noise.baseline / z / noise.step
    assert np.abs(steps - np.round(steps)).max() < 0.25  # half a millimetre is 0.25 steps at 1.2 m


def test_noise_is_alike_over_its_length() -> None:
    field = np.array([smooth_noise((200, 300), 12.0, np.random.default_rng(s)) for s in range(20)])
    assert field.std() == pytest.approx(1.0, rel=0.05) and abs(field.mean()) < 0.05
    near, far = ((field[:, :, :-d] * field[:, :, d:]).mean() for d in (3, 36))
    assert near > 0.8 and abs(far) < 0.1


def test_dropouts_are_as_many_as_asked() -> None:
    wall = np.full((480, 640), 1.0, dtype=np.float32)
    lost = np.isnan(add_depth_noise(wall, replace(DepthNoise(), dropout=0.01), np.random.default_rng(0)))
    assert lost.mean() == pytest.approx(0.01, rel=0.15)
    assert ndimage.label(lost)[1] < 400  # holes, not single pixels


def test_shadow_lies_left_of_what_is_near() -> None:
    disparity = np.full((10, 100), 20.0, dtype=np.float32)
    disparity[:, 60:] = 30.0
    hidden = occluded(disparity)
    assert hidden[:, 50:60].sum() >= 80 and not hidden[:, :49].any() and not hidden[:, 60:].any()
    assert not occluded(disparity[:, ::-1].copy()).any()  # from the right, both imagers see past it
    assert edges(disparity, 1.5).sum() == 20


def test_depth_range_is_kept_and_unknown_stays_unknown() -> None:
    noise = replace(DepthNoise(), dropout=0.0)
    for bad in (0.1, 3.0, np.nan, np.inf, 0.0):
        assert np.isnan(add_depth_noise(np.full((20, 20), bad, np.float32), noise, np.random.default_rng(0))).all()


def test_bad_settings_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"1\.0 to 0\.5 m is empty"):
        DepthNoise(near=1.0, far=0.5)
    with pytest.raises(InvalidInput, match="baseline"):
        DepthNoise(baseline=0.0)
    with pytest.raises(InvalidInput, match="8x480 px"):
        SyntheticCamera(width=8)


def test_without_opengl_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_context(*_: int) -> None:
        raise RuntimeError("no EGL device")

    monkeypatch.setenv("MUJOCO_GL", "egl")
    monkeypatch.setattr(synthetic_camera.mujoco, "GLContext", no_context)
    with pytest.raises(MissingDependency, match="apt-get install -y libegl1 libgl1-mesa-dri"):
        CLEAN.frame(0)
