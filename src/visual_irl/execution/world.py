"""A task's scene as MuJoCo sees it: floor, table, boxes, objects, vessels, grains, lights and cameras around the robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.execution.mjcf import ROBOT_BIT, WORLD_BIT, robot_spec, set_physics
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.scene import Fixture, Grains, Outcome, Scene, SceneObject, Vessel, Zone
from visual_irl.tasks.surroundings import FLOOR, TABLE, TABLE_THICKNESS, plates, staves

PREFIX = "robot/"
"""In front of the names of everything that comes from the robot's description."""

CAMERAS = {
    "front": ((1.25, -0.30, 0.72), (0.00, -0.12, 0.24), 52.0),
    "side": ((0.25, -1.65, 0.62), (-0.02, -0.10, 0.25), 45.0),
}
"""Name -> eye [m], target [m], vertical field of view in degrees as MuJoCo wants it."""

MAX_IMAGE = (1920, 1080)
"""Largest picture that can be rendered, width and height [px]."""

_SKIN, _PEDESTAL, _WOOD = (0.80, 0.53, 0.24, 1.0), (0.30, 0.32, 0.35, 1.0), (0.72, 0.58, 0.42, 1.0)
_SPOT, _STEM = (0.17, 0.10, 0.06, 1.0), (0.62, 0.42, 0.20, 1.0)
_LIQUID = (0.12, 0.40, 0.90, 1.0)


ONION_DENSITY, ONION_FRICTION = 950.0, 0.8
"""An onion is a little lighter than water [kg/m^3]."""
VESSEL_FRICTION = 0.9
"""Of a bottle of rubbery plastic."""
GRAIN_GAP = 2.05
"""Distance between layers of grains at the start, in their radii."""


@dataclass(frozen=True)
class Body:
    """What a movable object is made of, and how far it really lies from where the scene says."""

    density: float
    """[kg/m^3]"""
    friction: float
    """Coefficient against table, box and fingers."""
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """[m]."""


def nominal_bodies(scene: Scene) -> dict[str, Body]:
    """What the objects and vessels of a scene are made of, where they lie as the scene says."""
    bodies = {o.name: Body(ONION_DENSITY, ONION_FRICTION) for o in scene.objects}
    return bodies | {v.name: Body(v.density, VESSEL_FRICTION) for v in scene.vessels}


def world_spec(
    scene: Scene, robot: RobotModel, T_world_base: Float[ndarray, "4 4"], bodies: Mapping[str, Body]
) -> mujoco.MjSpec:
    """An editable model of the whole cell. `bodies` says per name of an object or vessel what it is physically."""
    spec = mujoco.MjSpec()
    spec.modelname = f"{robot.name}_cell"
    set_physics(spec)
    if scene.grains is not None:  # hundreds of contacts, of which those that hold the vessel must be right
        spec.option.solver, spec.option.iterations = mujoco.mjtSolver.mjSOL_CG, 100
    spec.visual.global_.offwidth, spec.visual.global_.offheight = MAX_IMAGE
    spec.visual.map.znear = 0.01
    spec.visual.quality.shadowsize = 1024
    spec.visual.quality.offsamples = 0
    spec.visual.headlight.ambient = [0.35, 0.35, 0.35]
    spec.visual.headlight.diffuse = [0.30, 0.30, 0.30]
    spec.visual.headlight.specular = [0.05, 0.05, 0.05]
    _add_room(spec, T_world_base)
    for fixture in scene.fixtures:
        _add_box(spec, fixture)
    for item in scene.objects:
        _add_object(spec, item, bodies[item.name])
    for vessel in scene.vessels:
        _add_vessel(spec, vessel, bodies[vessel.name])
    for zone in scene.zones:
        _add_zone(spec, zone)
    if scene.grains is not None:
        vessel = scene.vessel(scene.grains.vessel)
        _add_grains(spec, scene.grains, grain_names(scene), vessel.T_world[:3, 3] + np.array(bodies[vessel.name].offset))
    for name, (eye, target, fov) in CAMERAS.items():
        T = se3.look_at(np.array(eye), np.array(target))
        R = T[:3, :3] * [1.0, -1.0, -1.0]  # MuJoCo's cameras look along -z with y up
        spec.worldbody.add_camera(name=name, pos=T[:3, 3], quat=se3.quaternion_wxyz(R), fovy=fov)
    mount = spec.worldbody.add_frame(pos=T_world_base[:3, 3], quat=se3.quaternion_wxyz(T_world_base[:3, :3]))
    spec.attach(robot_spec(robot), frame=mount, prefix=PREFIX)
    return spec


def _add_room(spec: mujoco.MjSpec, T_world_base: ndarray) -> None:
    texture, geom = mujoco.mjtTexture, mujoco.mjtGeom
    spec.add_texture(
        name="sky", type=texture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
        rgb1=[0.86, 0.89, 0.92], rgb2=[0.62, 0.68, 0.74], width=256, height=256,
    )  # fmt: skip
    world = spec.worldbody
    world.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[0.4, -0.6, 2.2],
        dir=[-0.2, 0.3, -1.0],
        diffuse=[0.55] * 3,
        specular=[0.15] * 3,
        castshadow=True,
    )
    world.add_light(
        type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL,
        pos=[1.2, 1.2, 1.8],
        dir=[-0.8, -0.6, -1.0],
        diffuse=[0.25] * 3,
        specular=[0.0] * 3,
        castshadow=False,
    )
    world.add_geom(
        name="floor", type=geom.mjGEOM_PLANE, pos=[0, 0, FLOOR], size=[4, 4, 0.1], rgba=[0.55, 0.57, 0.60, 1],
        contype=WORLD_BIT, conaffinity=ROBOT_BIT | WORLD_BIT,
    )  # fmt: skip
    (x0, x1), (y0, y1) = TABLE
    world.add_geom(
        name="table", type=geom.mjGEOM_BOX, pos=[(x0 + x1) / 2, (y0 + y1) / 2, -TABLE_THICKNESS / 2], rgba=_WOOD,
        size=[(x1 - x0) / 2, (y1 - y0) / 2, TABLE_THICKNESS / 2], contype=WORLD_BIT, conaffinity=ROBOT_BIT | WORLD_BIT,
        friction=[0.8, 0.005, 0.0005],
    )  # fmt: skip
    for x in (x0 + 0.05, x1 - 0.05):
        for y in (y0 + 0.05, y1 - 0.05):
            _decorate(world, geom.mjGEOM_CYLINDER, [x, y, (FLOOR - 0.04) / 2], [0.022, -(FLOOR + 0.04) / 2, 0.0], _PEDESTAL)
    x, y, z = T_world_base[:3, 3]
    _decorate(world, geom.mjGEOM_BOX, [x, y, (z + FLOOR) / 2 - 0.01], [0.13, 0.13, (z - FLOOR) / 2 - 0.01], _PEDESTAL)
    _decorate(world, geom.mjGEOM_BOX, [x, y, z - 0.01], [0.15, 0.15, 0.01], (0.5, 0.52, 0.54, 1.0))


def _decorate(
    body: mujoco.MjsBody,
    shape: mujoco.mjtGeom,
    pos: Sequence[float],
    size: Sequence[float],
    rgba: tuple[float, ...],
    **more: object,
) -> None:
    """A geometry that is seen and touches nothing."""
    body.add_geom(type=shape, pos=pos, size=size, rgba=rgba, contype=0, conaffinity=0, mass=0.0, group=1, **more)


def _add_box(spec: mujoco.MjSpec, fixture: Fixture) -> None:
    """An open box: a floor and four walls around the fixture's inner space."""
    R, p = fixture.T_world[:3, :3], fixture.T_world[:3, 3]
    body = spec.worldbody.add_body(name=fixture.name, pos=p, quat=se3.quaternion_wxyz(R))
    for pos, size in plates(fixture):
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, pos=pos, size=size, rgba=fixture.rgba, contype=WORLD_BIT,
            conaffinity=ROBOT_BIT | WORLD_BIT, friction=[0.8, 0.005, 0.0005],
        )  # fmt: skip


def _add_object(spec: mujoco.MjSpec, item: SceneObject, body: Body) -> None:
    """A free ellipsoid; spots are dark patches on its skin that weigh and touch nothing."""
    look, r = item.appearance, item.radius
    half, skin = np.array([r, r, look.flattening * r]), look.skin_of(item.attributes)
    geom = mujoco.mjtGeom
    free = spec.worldbody.add_body(name=item.name, pos=item.p_world + np.array(body.offset))
    free.add_freejoint()
    free.add_geom(
        name=item.name, type=geom.mjGEOM_ELLIPSOID, size=half, density=body.density, condim=6,
        rgba=_SKIN if skin is None else (*skin, 1.0),
        friction=[body.friction, 0.01, 0.002], solref=[0.01, 1.0], solimp=[0.95, 0.99, 0.001, 0.5, 2.0],
        contype=WORLD_BIT, conaffinity=ROBOT_BIT | WORLD_BIT,
    )  # fmt: skip
    if look.stem:
        _decorate(free, geom.mjGEOM_ELLIPSOID, [0.0, 0.0, half[2]], [0.14 * r, 0.14 * r, 0.34 * r], _STEM)
    if look.spotted(item.attributes):
        for azimuth, height, size in ((0.4, 0.75, 0.36), (2.4, 0.35, 0.42), (4.3, 0.6, 0.32), (5.4, -0.1, 0.4)):
            ring = np.sqrt(1.0 - height**2)
            d = np.array([ring * np.cos(azimuth), ring * np.sin(azimuth), height])
            R = se3.rotation_between(np.array([0.0, 0.0, 1.0]), d / half)  # the skin's normal there
            _decorate(
                free, geom.mjGEOM_ELLIPSOID, list(0.985 * d * half), [size * r, size * r, 0.05 * r], _SPOT,
                quat=se3.quaternion_wxyz(R),
            )  # fmt: skip


def _add_vessel(spec: mujoco.MjSpec, vessel: Vessel, body: Body) -> None:
    """A free prism of plates around a floor: boxes are what a gripper's pads hold by friction."""
    T, geom, half = vessel.T_world, mujoco.mjtGeom, vessel.wall / 2
    free = spec.worldbody.add_body(name=vessel.name, pos=T[:3, 3] + np.array(body.offset), quat=se3.quaternion_wxyz(T[:3, :3]))
    free.add_freejoint()
    touch = {
        "density": body.density, "rgba": vessel.rgba, "friction": [body.friction, 0.005, 0.0001], "condim": 4,
        "solimp": [0.95, 0.99, 0.001, 0.5, 2.0], "contype": WORLD_BIT, "conaffinity": ROBOT_BIT | WORLD_BIT,
    }  # fmt: skip
    for pos, quat, size in staves(vessel):
        free.add_geom(type=geom.mjGEOM_BOX, pos=pos, quat=quat, size=size, solref=[0.01, 1.0], **touch)
    foot = [vessel.radius + vessel.wall, half, 0.0]
    free.add_geom(type=geom.mjGEOM_CYLINDER, pos=[0.0, 0.0, half], size=foot, **touch)


def _add_zone(spec: mujoco.MjSpec, zone: Zone) -> None:
    size = [zone.radius, 0.0005, 0.0]
    _decorate(spec.worldbody, mujoco.mjtGeom.mjGEOM_CYLINDER, [*zone.T_world[:2, 3], 0.0005], size, zone.rgba)


def _add_grains(spec: mujoco.MjSpec, grains: Grains, names: Sequence[str], p0: Float[ndarray, "3"]) -> None:
    """Balls without sliding friction in layers over a vessel's foot: with it they jam in its neck."""
    r, rng = grains.radius, np.random.default_rng(0)
    around = 2.0 * np.pi * np.arange(6) / 6
    ring = [(0.0, 0.0), *zip(2.2 * r * np.cos(around), 2.2 * r * np.sin(around), strict=True)]
    for k, name in enumerate(names):
        layer, place = divmod(k, len(ring))
        at = np.array([*ring[place], 2.0 * r + layer * GRAIN_GAP * r]) + np.array([*rng.normal(0.0, 2e-4, 2), 0.0])
        ball = spec.worldbody.add_body(name=name, pos=p0 + at)
        ball.add_freejoint()
        ball.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[r, 0.0, 0.0], density=grains.density, rgba=_LIQUID, condim=1, priority=1,
            friction=[0.05, 0.0005, 0.00005], solref=[0.006, 1.0], contype=WORLD_BIT, conaffinity=ROBOT_BIT | WORLD_BIT,
        )  # fmt: skip


def grain_names(scene: Scene) -> list[str]:
    """Names of the grains' bodies."""
    return [f"grain_{k}" for k in range(scene.grains.count if scene.grains else 0)]


def outcome_of(data: mujoco.MjData, scene: Scene) -> Outcome:
    """Measured poses of objects and vessels, and places of the grains, in the world."""
    names = [*(o.name for o in scene.objects), *(v.name for v in scene.vessels)]
    Ts = {name: se3.transform(data.body(name).xmat.reshape(3, 3), data.body(name).xpos) for name in names}
    return Outcome(Ts, np.array([data.body(name).xpos for name in grain_names(scene)]).reshape(-1, 3))
