"""Pictures of people who sort onions, in every light: lessons for the blemish classifier as the synthetic camera films them.

Each film is of another person and scene. Every frame of it has new lamps, which cast hard shadows or none, colours of onions,
blemishes, table and bins, and another place of the camera; onions are turned at random, so that a blemish may be anywhere, and
fingers, bins and other onions hide them as they do when people work. How much blemish is seen is counted in a picture of what
each pixel shows. Drawn from a seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import Unreachable
from visual_irl.perception.cameras.depth_noise import DepthNoise, add_depth_noise
from visual_irl.perception.cameras.synthetic_camera import Renderer, SyntheticCamera
from visual_irl.perception.cameras.synthetic_world import BallLook, Lighting, camera_quaternion, uneven_edge
from visual_irl.perception.objects.onion_lessons import Lesson, LessonConfig, photograph, rot_colour, skin_colour
from visual_irl.tasks.scene import SceneObject
from visual_irl.types import RgbdFrame

FIRST = 1000
"""Seed of the first film's person, scene and looks: none that any benchmark uses."""
FRAMES = 24
"""Of a film."""
_ONIONS = 5
_LIGHTS = (((1.2, 1.4, 2.0), 0.4), ((1.0, -1.6, 1.5), 0.3))
_PATCHES = 2
_LEAST_SEEN = 160
"""Pixels of an onion, at twice the picture's size, below which nothing is said of it."""


def film_lessons(seed: int, config: LessonConfig | None = None, frames: int = FRAMES) -> Iterator[Lesson]:
    """Frames of one film with their truth; none when the scene of this seed is out of this person's reach."""
    config, rng = config or LessonConfig(), np.random.default_rng([seed, 0xF11])
    camera = SyntheticCamera(
        seed=FIRST + seed, body_seed=FIRST + seed, things=_ONIONS, rate=2.0, side="left" if seed % 2 else "right"
    )
    try:
        held = np.array([name != "" for name in camera.truth.held])
    except Unreachable:
        return
    shadows = 2048 if rng.random() < config.shadows else 0
    with Renderer(
        camera, Lighting(0.3, 0.1, _LIGHTS, shadows=shadows), lambda item, eye, _: _look(item, config, rng)
    ) as renderer:
        studio = _Studio(renderer, config, rng)
        for i in rng.choice(len(held), frames, p=(0.3 + held) / (0.3 + held).sum()):
            yield studio.lesson(int(i))


def _look(item: SceneObject, config: LessonConfig, rng: np.random.Generator) -> BallLook:
    """Skin of no colour yet, and two patches somewhere."""
    patches = tuple((rng.normal(size=3), rng.uniform(*config.angle) * uneven_edge(rng)) for _ in range(_PATCHES))
    return BallLook((0.5, 0.5, 0.5), tuple((towards / np.linalg.norm(towards), edge) for towards, edge in patches))


@dataclass(frozen=True)
class _Studio:
    """Draws frames in which everything but the person's and the onions' places is new."""

    renderer: Renderer
    config: LessonConfig
    rng: np.random.Generator

    def lesson(self, i: int) -> Lesson:
        """Frame `i` and how much blemish is seen of each onion in it."""
        objects = self.renderer.performance.scene.objects
        tint = self._light_room()
        self._paint()
        T = self._stand()
        self.renderer.turns = {item.name: se3.exp_so3(self.rng.normal(0.0, 2.0, 3)) for item in objects}
        colour, depth = self.renderer.draw(i)
        shown = self.renderer.geoms()
        rgb = photograph(self.rng, self.config, 1.4 * colour / 255.0 * tint)
        frame = RgbdFrame(0, rgb, add_depth_noise(depth, DepthNoise(), self.rng), self.renderer.camera.intrinsics, T)
        centres = np.array([self.renderer.performance.demonstration.objects[item.name][i] for item in objects])
        return Lesson(frame, centres, np.array([self._share(shown, item.name) for item in objects]))

    def _share(self, shown: ndarray, name: str) -> float:
        """Share of what is seen of an onion that is blemish."""
        m = self.renderer.model
        first, count = (int(of_body[m.body(name).id]) for of_body in (m.body_geomadr, m.body_geomnum))
        pixels = np.bincount(shown[(shown >= first) & (shown < first + count)] - first, minlength=count)
        return float(pixels[-_PATCHES:].sum() / pixels.sum()) if pixels.sum() >= _LEAST_SEEN else np.nan

    def _light_room(self) -> ndarray:
        """New lamps; returns the light's tint."""
        m = self.renderer.model
        strength = self.rng.dirichlet([1.0, 1.5, 0.8]) * self.rng.uniform(0.7, 1.25)
        m.vis.headlight.ambient[:] = max(strength[0], 0.12)
        m.vis.headlight.diffuse[:] = self.rng.choice([0.0, self.rng.uniform(0.0, 0.3)])
        for k, share in enumerate(strength[1:]):
            towards = self.rng.normal(size=3)
            towards[2] = abs(towards[2]) + 0.3
            m.light_dir[k] = -towards / np.linalg.norm(towards)
            m.light_pos[k] = np.array([0.2, 0.0, 0.1]) - 2.5 * m.light_dir[k]
            m.light_diffuse[k], m.light_specular[k] = share, 0.3 * share
        warmth = self.rng.uniform(*self.config.warmth)
        return np.array([1.0 + 0.5 * warmth, 1.0 + self.rng.uniform(-0.04, 0.04), 1.0 - warmth])

    def _paint(self) -> None:
        """New colours of onions, blemishes, table, wall and bins."""
        m = self.renderer.model
        for item in self.renderer.performance.scene.objects:
            skin = m.material(item.name)
            skin.rgba[:3] = np.clip(1.2 * skin_colour(self.rng), 0.0, 1.0)
            skin.specular, skin.shininess = self.rng.uniform(0.0, 0.6), self.rng.uniform(0.05, 0.6)
            blemished = self.rng.random() < self.config.blemished
            for k in range(_PATCHES):
                patch = m.material(f"{item.name}_blemish_{k}").rgba
                patch[:3], patch[3] = rot_colour(self.rng), blemished and (k == 0 or self.rng.random() < 0.3)
        for name in ("table", "wall"):
            m.material(name).rgba[:3] = self.rng.uniform(0.15, 0.9) * (1.0 + self.rng.uniform(-0.06, 0.06, 3))
        for fixture in self.renderer.performance.scene.fixtures:
            m.material(fixture.name).rgba[:3] = self.rng.uniform(0.1, 0.9) * self.rng.uniform(0.4, 1.0, 3)

    def _stand(self) -> ndarray:
        """A new place of the camera, which is returned."""
        m, camera = self.renderer.model, self.renderer.camera
        mirror = np.array([1.0, 1.0 if camera.side == "right" else -1.0, 1.0])
        eye = camera.eye + self.rng.uniform([-0.2, -0.25, -0.2], [0.15, 0.35, 0.25])
        T = se3.look_at(mirror * eye, mirror * (camera.target + self.rng.uniform(-0.06, 0.06, 3)))
        k = m.camera("camera").id
        m.cam_pos[k], m.cam_quat[k] = T[:3, 3], camera_quaternion(T)
        return T
