"""A camera without hardware: films a scripted person at a task, as a RealSense D435 would.

Colour and depth come from MuJoCo's offscreen renderer, drawn once at twice the size: colour is averaged down (smooth
edges), depth is taken without mixing near and far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int, UInt8
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingDependency
from visual_irl.mujoco_engine import mujoco
from visual_irl.perception.cameras.depth_noise import COLOUR_NOISE, DepthNoise, add_colour_noise, add_depth_noise
from visual_irl.perception.cameras.synthetic_world import LIGHTINGS, BallLook, Lighting, build_world, usual_look
from visual_irl.tasks import PERFORMERS, load_task, part_of
from visual_irl.tasks.performer import Performance, Staging
from visual_irl.tasks.scene import SceneObject
from visual_irl.types import Demonstration, Intrinsics, RgbdFrame

SUPERSAMPLING = 2
START_NS = 1_700_000_000_000_000_000
"""Stamp of the first frame [ns]: recordings are the same on every machine."""


@dataclass(frozen=True)
class SyntheticCamera:
    """Iterate it to get frames; the same settings give the same frames. `truth` is what really happened.

    Raises:
        UnknownName: there is no such task, or nobody performs tasks of its family.
        MissingDependency: on iteration, when there is no OpenGL to draw with; holds the install command.
        Unreachable: when the scene of this seed is out of this person's reach.
    """

    seed: int = 0
    """Draws the scene, the person's timing and the noise."""
    things: int | None = None
    """How many there are to handle, where the task leaves that open; None: as many as are usual."""
    body_seed: int = 0
    """Draws the person; 0 is the average one."""
    side: str = "right"
    """The hand that sorts; the table and the camera are mirrored for the left."""
    rate: float = 15.0
    """Frames a second [Hz]."""
    width: int = 640
    height: int = 480
    horizontal_fov: float = float(np.radians(69.0))
    """Of the D435's colour camera [rad]."""
    eye: tuple[float, float, float] = (0.95, -0.24, 0.58)
    """Where the camera stands [m]: opposite the person, on the side of the hand that sorts."""
    target: tuple[float, float, float] = (0.0, -0.10, 0.255)
    """What the camera looks at [m]: head, both arms, onions and bins are in the picture."""
    noise: bool = True
    """Whether colour and depth are as noisy as a real camera's."""
    depth_noise: DepthNoise = field(default_factory=DepthNoise)
    colour_noise: float = COLOUR_NOISE
    """Standard deviation of colour noise [levels of 255]."""
    lighting: str = "room"
    """A name of `synthetic_world.LIGHTINGS`."""
    task: str = "onion_sorting"
    """What the person does: a name of `visual_irl.tasks.TASKS`."""

    def __post_init__(self) -> None:
        if not (self.width >= 16 and self.height >= 16 and 0.1 <= self.horizontal_fov <= 2.5):
            raise InvalidInput(
                f"camera of {self.width}x{self.height} px and {self.horizontal_fov} rad is outside of 16 px or more "
                "and 0.1 to 2.5 rad"
            )
        if self.lighting not in LIGHTINGS:
            raise InvalidInput(f"lighting '{self.lighting}' is unknown; known: {', '.join(LIGHTINGS)}")
        part_of(self.task, PERFORMERS)

    @cached_property
    def performance(self) -> Performance:
        """What the scripted person does in front of the camera."""
        staging = Staging(self.seed, self.body_seed, self.side, self.rate, self.things)
        performed: Performance = part_of(self.task, PERFORMERS)(load_task(self.task), staging)
        return performed

    @property
    def truth(self) -> Demonstration:
        """The true joints and objects, one sample a frame."""
        return self.performance.demonstration

    @property
    def fixtures(self) -> Mapping[str, Float[ndarray, "4 4"]]:
        """Poses of the bins."""
        return self.truth.fixtures

    @property
    def intrinsics(self) -> Intrinsics:
        """The pinhole camera, without distortion."""
        return Intrinsics.from_fov(self.width, self.height, self.horizontal_fov)

    @property
    def T_world_camera(self) -> Float[ndarray, "4 4"]:
        """Pose of the optical frame."""
        mirror = np.array([1.0, 1.0 if self.side == "right" else -1.0, 1.0])
        return se3.look_at(mirror * self.eye, mirror * self.target)

    def __len__(self) -> int:
        return len(self.truth.t)

    def stamp_ns(self, i: int) -> int:
        """Sensor time of frame `i`."""
        return START_NS + round(float(self.truth.t[i]) * 1e9)

    def __iter__(self) -> Iterator[RgbdFrame]:
        return self.film(range(len(self)))

    def frame(self, i: int) -> RgbdFrame:
        """Frame `i` alone."""
        return next(self.film([i]))

    def film(self, indices: Iterable[int]) -> Iterator[RgbdFrame]:
        """Some frames."""
        with Renderer(self) as renderer:
            for i in indices:
                rgb, depth = renderer.draw(i)
                yield self._filmed(rgb, depth, self.stamp_ns(i), [self.seed, 0xCA, i])

    def film_still(self, i: int, count: int) -> Iterator[RgbdFrame]:
        """The scene of frame `i` as if all stood still: only the noise differs."""
        with Renderer(self) as renderer:
            rgb, depth = renderer.draw(i)
        for k in range(count):
            yield self._filmed(rgb, depth, START_NS + round(k * 1e9 / self.rate), [self.seed, 0x57, i, k])

    def _filmed(self, rgb: ndarray, depth: ndarray, stamp_ns: int, seed: list[int]) -> RgbdFrame:
        """What the sensor makes of a picture."""
        rgb, depth = rgb.copy(), depth.copy()
        if self.noise:
            rng = np.random.default_rng(seed)
            rgb = add_colour_noise(rgb, self.colour_noise, rng)
            depth = add_depth_noise(depth, self.depth_noise, rng)
        return RgbdFrame(stamp_ns, rgb, depth, self.intrinsics, self.T_world_camera)


class Renderer:
    """Draws the frames of one camera; holds an OpenGL context, so use it as a context manager.

    Between frames `model` may be changed (colours, lights, the camera's place), and `turns` of objects, by name, in place of
    what the performance says.
    """

    def __init__(
        self,
        camera: SyntheticCamera,
        lighting: Lighting | None = None,
        look: Callable[[SceneObject, ndarray, np.random.Generator], BallLook] = usual_look,
    ) -> None:
        self.camera, self.performance = camera, camera.performance
        self.turns: dict[str, Float[ndarray, "3 3"]] = {}
        k = camera.intrinsics
        width, height = SUPERSAMPLING * k.width, SUPERSAMPLING * k.height
        fovy = 2.0 * float(np.arctan(0.5 * k.height / k.fy))
        light = lighting or LIGHTINGS[camera.lighting]
        self.model = build_world(self.performance, camera.T_world_camera, (width, height), fovy, camera.seed, light, look)
        self._data = mujoco.MjData(self.model)
        self._scene = mujoco.MjvScene(self.model, maxgeom=1000)
        self._option = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = self.model.camera("camera").id
        self._rect = mujoco.MjrRect(0, 0, width, height)
        self._gl, self._context = _open_gl(self.model, width, height)
        self._colour = np.empty((height, width, 3), dtype=np.uint8)
        self._depth = np.empty((height, width), dtype=np.float32)

    def __enter__(self) -> Renderer:
        return self

    def __exit__(self, *_: object) -> None:
        self._gl.make_current()
        self._context.free()
        self._gl.free()

    def draw(self, i: int) -> tuple[UInt8[ndarray, "H W 3"], Float32[ndarray, "H W"]]:
        """Colour, and depth [m] along the optical axis, of sample `i` without noise."""
        self._pose(i)
        self._gl.make_current()
        mujoco.mjv_updateScene(self.model, self._data, self._option, None, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene)
        mujoco.mjr_render(self._rect, self._scene, self._context)
        mujoco.mjr_readPixels(self._colour, self._depth, self._rect, self._context)
        near, far = self.model.vis.map.znear, self.model.vis.map.zfar
        # the depth buffer holds 1 at the near and 0 at the far plane, and is linear in 1/z; rows come bottom up
        z = near * far / (near + self._depth * (far - near))
        return _shrink_colour(self._colour)[::-1].copy(), _shrink_depth(z)[::-1].copy()

    def geoms(self) -> Int[ndarray, "H2 W2"]:
        """Which geometry each pixel of the frame that was drawn last shows, before it was averaged down; -1 for none."""
        flags = self._scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 1
        mujoco.mjr_render(self._rect, self._scene, self._context)
        flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = 0
        mujoco.mjr_readPixels(self._colour, None, self._rect, self._context)
        geom_of = np.full(self._scene.ngeom + 1, -1)
        for item in self._scene.geoms[: self._scene.ngeom]:
            if item.segid >= 0 and item.objtype == mujoco.mjtObj.mjOBJ_GEOM:
                geom_of[item.segid + 1] = item.objid
        number = self._colour.astype(np.int64) @ [1, 256, 65536]
        return geom_of[number][::-1]

    def _pose(self, i: int) -> None:
        p = self.performance
        Ts = p.Ts_world_bone[i]
        n = len(Ts)
        self._data.mocap_pos[:n] = Ts[:, :3, 3]
        for k in range(n):
            mujoco.mju_mat2Quat(self._data.mocap_quat[k], Ts[k, :3, :3].ravel())
        for k, item in enumerate(p.scene.objects, start=n):
            self._data.mocap_pos[k] = p.demonstration.objects[item.name][i]
            R = self.turns.get(item.name, p.Rs_object[item.name][i])
            mujoco.mju_mat2Quat(self._data.mocap_quat[k], R.ravel())
        for k, vessel in enumerate(p.scene.vessels, start=n + len(p.scene.objects)):
            self._data.mocap_pos[k] = p.demonstration.objects[vessel.name][i]
            mujoco.mju_mat2Quat(self._data.mocap_quat[k], p.demonstration.turns[vessel.name][i].ravel())
        mujoco.mj_kinematics(self.model, self._data)
        mujoco.mj_camlight(self.model, self._data)


def _open_gl(model: mujoco.MjModel, width: int, height: int) -> tuple[Any, mujoco.MjrContext]:
    """A context without a window."""
    try:
        gl = mujoco.GLContext(width, height)
        gl.make_current()
        context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100)
    except Exception as error:  # each backend raises a type of its own, some while they are imported
        raise MissingDependency(
            f"the synthetic camera found no OpenGL to draw with ({type(error).__name__}: {error}); run "
            "`apt-get install -y libegl1 libgl1-mesa-dri`"
        ) from error
    mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, context)
    context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR
    return gl, context


def _corners(image: ndarray) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    return image[::2, ::2], image[::2, 1::2], image[1::2, ::2], image[1::2, 1::2]


def _shrink_colour(rgb: UInt8[ndarray, "H2 W2 3"]) -> UInt8[ndarray, "H W 3"]:
    a, b, c, d = (x.astype(np.uint16) for x in _corners(rgb))
    return ((a + b + c + d + 2) >> 2).astype(np.uint8)


def _shrink_depth(z: Float32[ndarray, "H2 W2"], jump: float = 0.01) -> Float32[ndarray, "H W"]:
    """The mean of four samples on one surface; across an edge of more than `jump` [m] the nearest one."""
    a, b, c, d = _corners(z)
    low, high = np.minimum(np.minimum(a, b), np.minimum(c, d)), np.maximum(np.maximum(a, b), np.maximum(c, d))
    return np.where(high - low < jump, 0.25 * (a + b + c + d), low).astype(np.float32)
