"""The MuJoCo model that a synthetic camera looks at: person, table, bins, balls, vessels, room.

The person is a set of MuJoCo skins, one for each material, whose bones are mocap bodies: a new frame costs 104 body
poses and no recompilation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.mujoco_engine import mujoco
from visual_irl.tasks.body import Body, Rig
from visual_irl.tasks.human import FLOOR_Z
from visual_irl.tasks.performer import Performance
from visual_irl.tasks.scene import Fixture, SceneObject, Vessel, Zone
from visual_irl.tasks.surroundings import staves

TABLE = (-0.03, 0.62, 0.80)
"""Table's edge at the person, far edge, and half width [m]."""
WALL_X = -1.30
"""The wall behind the person [m]."""
BIN_WALL = 0.004
BLEMISH_ANGLE = (0.48, 0.58)
"""Half angle of blemish patches [rad]: seen from ahead they cover sin^2, 21 to 30 % of the disc."""

COVER_RANGE = 0.10
"""Signed distance [m] from an edge of hair or shirt that the person's texture spans to either side."""
_TEXELS = 256


@dataclass(frozen=True)
class Lighting:
    """How a room is lit: headlight (ambient and diffuse), and each directional light's place [m], strength and tint."""

    ambient: float
    headlight: float
    lights: tuple[tuple[tuple[float, float, float], float], ...]
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shadows: int = 0
    """Size of the shadow map [px]; 0 casts none."""


@dataclass(frozen=True)
class BallLook:
    """One ball: its skin, and dark patches on it by direction (in its own axes) and uneven half angle [rad]."""

    skin: Sequence[float]
    patches: tuple[tuple[Float[ndarray, "3"], Float[ndarray, "N"]], ...] = ()


LIGHTINGS = {
    "room": Lighting(0.34, 0.16, (((1.2, 1.4, 2.0), 0.46), ((1.0, -1.6, 1.5), 0.22))),
    "dim": Lighting(0.20, 0.08, (((1.2, 1.4, 2.0), 0.24), ((1.0, -1.6, 1.5), 0.10))),
    "lamp": Lighting(0.24, 0.06, (((0.4, -1.9, 1.2), 0.78),), (1.0, 0.93, 0.82)),
}
"""A window to the person's front left and a lamp to the right; the same at dusk; one warm lamp from the right. None casts
shadows."""

_FIXED_COLOURS = {
    "trousers": (0.16, 0.17, 0.20),
    "sclera": (0.93, 0.93, 0.93),
    "iris": (0.14, 0.09, 0.05),
}
_ONION = (0.86, 0.42, 0.06)
_BLEMISH = (0.13, 0.07, 0.035)


def build_world(
    performance: Performance,
    T_world_camera: Float[ndarray, "4 4"],
    size: tuple[int, int],
    fovy: float,
    seed: int,
    lighting: Lighting,
    look: Callable[[SceneObject, ndarray, np.random.Generator], BallLook],
) -> mujoco.MjModel:
    """The compiled model. Mocap bodies: every bone in the rig's order, then every object and every vessel in the scene's order.

    Args:
        performance: who and what is drawn.
        T_world_camera: pose of the camera named 'camera'.
        size: width and height of the picture [px].
        fovy: vertical field of view [rad].
        seed: draws the balls' looks.
        lighting: how the room is lit.
        look: gives each ball's look, from the camera's place [m] and a random generator.
    """
    rng = np.random.default_rng([seed, 0x0B])
    spec = mujoco.MjSpec()
    _settings(spec, size, lighting)
    _room(spec)
    _lights(spec, lighting)
    _person(spec, performance)
    eye = T_world_camera[:3, 3]
    for item in performance.scene.objects:
        _ball(spec, item, look(item, eye, rng))
    for vessel in performance.scene.vessels:
        _vessel(spec, vessel)
    for fixture in performance.scene.fixtures:
        _bin(spec, fixture)
    for zone in performance.scene.zones:
        _zone(spec, zone)
    camera = spec.worldbody.add_camera(name="camera", fovy=float(np.degrees(fovy)), pos=eye)
    camera.quat = camera_quaternion(T_world_camera)
    return spec.compile()


def camera_quaternion(T_world_camera: Float[ndarray, "4 4"]) -> Float[ndarray, "4"]:
    """A camera's orientation as MuJoCo and OpenGL have it, y up and z back (wxyz)."""
    return se3.quaternion_wxyz(T_world_camera[:3, :3] @ np.diag([1.0, -1.0, -1.0]))


def _settings(spec: mujoco.MjSpec, size: tuple[int, int], lighting: Lighting) -> None:
    spec.visual.global_.offwidth, spec.visual.global_.offheight = size
    spec.visual.quality.offsamples = 0  # anti-aliasing blends depth across edges and is slow in software
    spec.visual.quality.shadowsize = lighting.shadows
    spec.visual.headlight.ambient = [lighting.ambient * tint for tint in lighting.tint]
    spec.visual.headlight.diffuse = [lighting.headlight * tint for tint in lighting.tint]
    spec.visual.headlight.specular = [0.0, 0.0, 0.0]
    spec.visual.map.znear, spec.visual.map.zfar = 0.05, 12.0
    spec.stat.extent = 1.0
    spec.stat.center = [0.2, 0.0, 0.2]


def _material(spec: mujoco.MjSpec, name: str, rgb: Sequence[float], shine: float = 0.08) -> None:
    spec.add_material(name=name, rgba=[*rgb, 1.0], specular=shine, shininess=0.25, reflectance=0.0)


def _room(spec: mujoco.MjSpec) -> None:
    for name, rgb in (
        ("table", (0.70, 0.70, 0.68)),
        ("wall", (0.66, 0.70, 0.72)),
        ("floor", (0.42, 0.42, 0.44)),
        ("chair", (0.22, 0.24, 0.28)),
    ):
        _material(spec, name, rgb, shine=0.0)
    near, far, half = TABLE
    boxes: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...] = (
        ("table", (0.5 * (near + far), 0.0, -0.015), (0.5 * (far - near), half, 0.015)),
        ("wall", (WALL_X - 0.05, 0.0, 1.0), (0.05, 4.0, 2.5)),
        ("floor", (1.0, 0.0, FLOOR_Z - 0.05), (3.0, 4.0, 0.05)),
        ("chair", (-0.36, 0.0, -0.02), (0.02, 0.20, 0.24)),
    )
    for name, pos, half_size in boxes:
        spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=half_size, material=name)


def _lights(spec: mujoco.MjSpec, lighting: Lighting) -> None:
    """Directional lights that aim at the person: enough shape on a face."""
    for pos, diffuse in lighting.lights:
        aim = np.array([-0.05, 0.0, 0.25]) - pos
        spec.worldbody.add_light(
            pos=pos,
            dir=aim / np.linalg.norm(aim),
            type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
            diffuse=[diffuse * tint for tint in lighting.tint],
            specular=[0.15] * 3,
            castshadow=lighting.shadows > 0,
        )


def _person(spec: mujoco.MjSpec, performance: Performance) -> None:
    rig, body = performance.human.rig, performance.human.body
    for bone in rig.bones:
        spec.worldbody.add_body(name=f"bone_{bone}", mocap=True)
    lip = [float(c) for c in 0.72 * np.array(body.skin) + 0.28 * np.array([0.70, 0.22, 0.22])]
    _texture(spec, body)
    _material(spec, "person_person", (1.0, 1.0, 1.0), shine=0.08)
    spec.material("person_person").textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "person"
    for name, colour in [*_FIXED_COLOURS.items(), ("lip", lip)]:
        _material(spec, f"person_{name}", colour, shine=0.08)
    for name in sorted(set(rig.face_class)):
        _skin(spec, rig, str(name))


def _texture(spec: mujoco.MjSpec, body: Body) -> None:
    """Two colours on each side of two edges: along u from outside to inside of the hair, along v of the shirt."""
    picture = np.empty((_TEXELS, _TEXELS, 3))
    picture[:] = body.skin
    picture[_TEXELS // 2 :] = body.shirt
    picture[:, _TEXELS // 2 :] = body.hair
    texture = spec.add_texture(name="person", type=mujoco.mjtTexture.mjTEXTURE_2D, width=_TEXELS, height=_TEXELS, nchannel=3)
    texture.data = (255 * picture).round().astype(np.uint8).tobytes()


def _skin(spec: mujoco.MjSpec, rig: Rig, name: str) -> None:
    """One material's part of the mesh. Rest coordinates equal the bones' own, so bind poses are identities."""
    used, faces = np.unique(rig.faces[rig.face_class == name], return_inverse=True)
    row, slot = np.nonzero(rig.bone_weight[used] > 1e-4)
    bone, weight = rig.bone_index[used][row, slot], rig.bone_weight[used][row, slot]
    bones = np.unique(bone)
    spec.add_skin(
        name=f"person_{name}",
        material=f"person_{name}",
        vert=rig.vertices[used].ravel(),
        texcoord=np.clip(0.5 + 0.5 * rig.cover[used] / COVER_RANGE, 0.01, 0.99).ravel(),
        face=faces.ravel(),
        bodyname=[f"bone_{rig.bones[b]}" for b in bones],
        bindpos=np.zeros(3 * len(bones)),
        bindquat=np.tile([1.0, 0.0, 0.0, 0.0], len(bones)),
        vertid=[row[bone == b] for b in bones],
        vertweight=[weight[bone == b] for b in bones],
    )


def _bin(spec: mujoco.MjSpec, fixture: Fixture) -> None:
    """An open box with thin walls around its inner size."""
    _material(spec, fixture.name, fixture.rgba[:3], shine=0.05)
    body = spec.worldbody.add_body(
        name=fixture.name, pos=fixture.T_world[:3, 3], quat=se3.quaternion_wxyz(fixture.T_world[:3, :3])
    )
    x, y, z, w = fixture.half_x, fixture.half_y, 0.5 * fixture.height, 0.5 * BIN_WALL
    plates = [((0.0, 0.0, 0.0005), (x, y, 0.0005))]
    for sign in (-1.0, 1.0):
        plates += [((sign * (x + w), 0.0, z), (w, y + 2 * w, z)), ((0.0, sign * (y + w), z), (x + 2 * w, w, z))]
    for pos, size in plates:
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, material=fixture.name)


def _vessel(spec: mujoco.MjSpec, vessel: Vessel) -> None:
    """Flat walls around a floor; it cannot be looked through."""
    _material(spec, vessel.name, vessel.rgba[:3], shine=0.15)
    body = spec.worldbody.add_body(
        name=vessel.name, mocap=True, pos=vessel.T_world[:3, 3], quat=se3.quaternion_wxyz(vessel.T_world[:3, :3])
    )
    for pos, quat, size in staves(vessel):
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, quat=quat, size=size, material=vessel.name)
    foot = [vessel.radius + vessel.wall, vessel.wall / 2, 0.0]
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_CYLINDER, pos=[0.0, 0.0, vessel.wall / 2], size=foot, material=vessel.name)


def _zone(spec: mujoco.MjSpec, zone: Zone) -> None:
    _material(spec, zone.name, zone.rgba[:3], shine=0.0)
    size = [zone.radius, 0.0005, 0.0]
    spec.worldbody.add_geom(
        type=mujoco.mjtGeom.mjGEOM_CYLINDER, pos=[*zone.T_world[:2, 3], 0.0005], size=size, material=zone.name
    )


def usual_look(item: SceneObject, eye: Float[ndarray, "3"], rng: np.random.Generator) -> BallLook:
    """Its skin, no two quite alike, and, if it has spots, one dark patch on the side that faces the camera at the start."""
    usual, shade = item.appearance.skin_of(item.attributes) or _ONION, rng.uniform(0.92, 1.06)
    skin = [float(c) for c in np.clip(np.array(usual) * shade + rng.uniform(-0.015, 0.015, 3), 0.0, 1.0)]
    angle, tilt = rng.uniform(*BLEMISH_ANGLE), rng.uniform(-0.15, 0.15, 3)
    half_angles = angle * uneven_edge(rng)
    if not item.appearance.spotted(item.attributes):
        return BallLook(skin)
    towards = eye - item.p_world
    return BallLook(skin, ((towards / np.linalg.norm(towards) + tilt, half_angles),))


def uneven_edge(rng: np.random.Generator) -> Float[ndarray, "24"]:
    """Factors about 1 by which a patch is wider or narrower around its middle."""
    return 1.0 + 0.12 * np.sin(np.arange(24) * 2 * np.pi / 24 * 3 + rng.uniform(0, 6)) + rng.uniform(-0.06, 0.06, 24)


def _ball(spec: mujoco.MjSpec, item: SceneObject, look: BallLook) -> None:
    """A ball, with a small neck if it has one; each patch of blemish is a mesh with a material of its own, `NAME_blemish_K`."""
    _material(spec, item.name, look.skin, shine=0.25)
    body = spec.worldbody.add_body(name=item.name, mocap=True, pos=item.p_world)
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[item.radius, 0.0, 0.0], material=item.name)
    if item.appearance.stem:
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_ELLIPSOID,
            size=[0.18 * item.radius, 0.18 * item.radius, 0.30 * item.radius],
            pos=[0.0, 0.0, 0.95 * item.radius],
            material=item.name,
        )
    for k, (towards, half_angles) in enumerate(look.patches):
        name = f"{item.name}_blemish_{k}"
        _material(spec, name, _BLEMISH, shine=0.05)
        vertices, faces = _patch(towards, 1.006 * item.radius, half_angles)
        spec.add_mesh(
            name=name, uservert=vertices.ravel(), userface=faces.ravel(), inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL
        )
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name)


def _patch(centre: ndarray, radius: float, half_angles: Float[ndarray, "N"]) -> tuple[ndarray, ndarray]:
    """Vertices and triangles of a patch on a sphere about direction `centre` with an uneven edge [rad]."""
    R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), centre)
    n, rings = len(half_angles), 5
    around = np.arange(n) * 2 * np.pi / n
    points = [np.array([0.0, 0.0, 1.0])]
    for k in range(1, rings + 1):
        theta = half_angles * k / rings
        points += list(np.stack([np.sin(theta) * np.cos(around), np.sin(theta) * np.sin(around), np.cos(theta)], 1))
    faces = [(0, 1 + i, 1 + (i + 1) % n) for i in range(n)]
    for k in range(rings - 1):
        for i in range(n):
            a, b = 1 + k * n + i, 1 + k * n + (i + 1) % n
            faces += [(a, a + n, b + n), (a, b + n, b)]
    return radius * np.array(points) @ R.T, np.array(faces)
