"""The body of an arm for collision checks: exact shapes, and a capsule around each of them for compiled code.

A capsule here contains its shape (those of `visual_irl.robots.self_collision` do not, they only rank postures): where capsules
are apart the arm is free, and only where they are not the exact shapes are compared, with coal. Pairs of links that are
joined, touch at home or in most postures, never come near or stay as far apart are left out, as MoveIt's setup assistant does
(Coleman et al. 2014); which ones those are is found by sampling, once an arm. Fingers are as large as everything between
closed and open.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import coal
import numpy as np
import pinocchio as pin
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.robots.chain import Chain, Pose, axis_turns, chain_of, forward, pose_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Carried
from visual_irl.robots.self_collision import pair_distances

SAMPLES = 1500
"""Random postures by which pairs are told apart."""
LOOKS = 50
"""Random postures by which a distance that never changes is found."""
NEAR = 0.05
"""A pair that never comes nearer than this is left out [m]."""
OFTEN = 0.6
"""A pair that overlaps in more than this share of postures is built that way and left out."""
SAME = 1e-4
"""Shapes whose sizes and places differ by less belong together [m]."""


class Hull(NamedTuple):
    """Capsules around all shapes of an arm, and the pairs of them that can meet."""

    carrier: ndarray
    """(N,) joint that carries each; -1 for the base."""
    ends: ndarray
    """(N, 2, 3) ends of its segment in the carrier's frame [m]."""
    radius: ndarray
    """(N,) [m]"""
    bound: ndarray
    """(N,) radius of the ball around each [m]."""
    pairs: ndarray
    """(P, 2)"""
    reach: ndarray
    """(J,) farthest that any point of the arm can be from each joint's axis [m]."""
    world: ndarray
    """(N, 2, 3) buffer for the ends in the base frame."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One exact shape: the link it belongs to, the joint that carries it (-1: base), its place there."""

    link: str
    carrier: int
    T: Float[ndarray, "4 4"]
    geometry: coal.ShapeBase


@dataclass(frozen=True, eq=False)
class Body:
    """An arm's kinematics and body; `shapes[i]` lies inside capsule i of `hull`."""

    chain: Chain
    hull: Hull
    shapes: tuple[Shape, ...]

    def placed(self, shape: int, pose: Pose) -> coal.Transform3s:
        """Where a shape is in the base frame, in the posture that `pose` holds."""
        s = self.shapes[shape]
        if s.carrier < 0:
            return coal.Transform3s(s.T[:3, :3], s.T[:3, 3])
        R, p = pose.R[s.carrier], pose.p[s.carrier]
        return coal.Transform3s(R @ s.T[:3, :3], R @ s.T[:3, 3] + p)

    def distance(self, first: int, second: int, pose: Pose) -> float:
        """Exact distance of two shapes [m]; negative when they overlap."""
        return exact_distance(
            self.shapes[first].geometry, self.placed(first, pose), self.shapes[second].geometry, self.placed(second, pose)
        )


def exact_distance(a: coal.ShapeBase, T_a: coal.Transform3s, b: coal.ShapeBase, T_b: coal.Transform3s) -> float:
    """Distance of two placed shapes [m]; negative when they overlap."""
    return float(coal.distance(a, T_a, b, T_b, coal.DistanceRequest(), coal.DistanceResult()))


@lru_cache
def body_of(robot: RobotModel, carried: Carried | None = None) -> Body:
    """The body of an arm, with what its hand carries.

    Raises:
        InvalidInput: a collision shape is of a kind that is not known.
    """
    if carried is not None:
        return _loaded(body_of(robot), robot, carried)
    shapes, chain = tuple(_joined(_shapes(robot))), chain_of(robot)
    capsules = [_around(s) for s in shapes]
    carrier = np.array([s.carrier for s in shapes], np.int64)
    n = len(shapes)
    ends = np.array([e for e, _ in capsules]).reshape(n, 2, 3)
    radius = np.array([r for _, r in capsules])
    never = {frozenset(pair) for pair in robot.never_meet}
    pairs = [
        (i, k)
        for i in range(n)
        for k in range(i)
        if abs(carrier[i] - carrier[k]) > 1 and frozenset((shapes[i].link, shapes[k].link)) not in never
    ]
    everything = Hull(
        carrier, ends, radius, radius + 0.5 * np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1),
        np.array(pairs, np.int64).reshape(-1, 2), _reach(chain, carrier, ends, radius), np.zeros((n, 2, 3)),
    )  # fmt: skip
    body = Body(chain, everything, shapes)
    return Body(chain, everything._replace(pairs=np.ascontiguousarray(everything.pairs[_can_meet(body, robot)])), shapes)


def _loaded(body: Body, robot: RobotModel, carried: Carried) -> Body:
    """The body with a ball around the tool's centre, which may meet every link but the hand and the one before it."""
    hull, n, last = body.hull, len(body.shapes), len(robot.joint_names) - 1
    frame = robot.pinocchio().frames[robot.frame_id(robot.tcp_frame)]
    T = np.eye(4)
    T[:3, 3] = axis_turns(robot)[last + 1].T @ frame.placement.translation
    carrier = np.append(hull.carrier, last)
    ends = np.concatenate([hull.ends, np.tile(T[:3, 3], (1, 2, 1))])
    radius = np.append(hull.radius, carried.radius)
    pairs = [(n, k) for k in range(n) if abs(hull.carrier[k] - last) > 1]
    loaded = Hull(
        carrier, ends, radius, np.append(hull.bound, carried.radius), np.concatenate([hull.pairs, np.array(pairs, np.int64)]),
        _reach(body.chain, carrier, ends, radius), np.zeros((n + 1, 2, 3)),
    )  # fmt: skip
    return Body(body.chain, loaded, (*body.shapes, Shape(carried.name, last, T, coal.Sphere(carried.radius))))


def _shapes(robot: RobotModel) -> list[Shape]:
    """Every collision shape of the description on the joint that carries it, fingers as wide as their way."""
    full = robot._full
    geometry = pin.buildGeomFromUrdf(full, str(robot.urdf_path), pin.GeometryType.COLLISION)
    order = {full.getJointId(name): i for i, name in enumerate(robot.joint_names)}
    turns = axis_turns(robot)
    shapes = []
    for g in geometry.geometryObjects:
        T, shape, joint = g.placement, g.geometry, g.parentJoint
        finger = full.names[joint] in robot.finger_joints
        if finger:
            data = full.createData()
            q = pin.neutral(full)
            pin.forwardKinematics(full, data, q)
            closed = data.oMi[joint].copy()  # not a view that moves with the data
            q[full.idx_qs[joint]] = full.upperPositionLimit[full.idx_qs[joint]]
            pin.forwardKinematics(full, data, q)
            way = closed.rotation.T @ (data.oMi[joint].translation - closed.translation)
            T, shape = _swept(T, shape, way)
            arm = full.parents[joint]
            T, joint = data.oMi[arm].actInv(closed * T), arm
        carrier = order.get(joint, -1)
        link = full.frames[g.parentFrame].name
        turned = T.homogeneous.copy()
        turned[:3] = turns[carrier + 1].T @ turned[:3]
        shapes.append(Shape(link, carrier, turned, shape))
    return shapes


def _swept(T: pin.SE3, shape: coal.ShapeBase, way: ndarray) -> tuple[pin.SE3, coal.ShapeBase]:
    """A box that holds a shape wherever it is on a straight way [m] in the frame of its placement's parent."""
    box = shape if isinstance(shape, coal.Box) else None
    if box is None:
        shape.computeLocalAABB()
        box = coal.Box(shape.aabb_local.max_ - shape.aabb_local.min_)
        T = T * pin.SE3(np.eye(3), 0.5 * (shape.aabb_local.max_ + shape.aabb_local.min_))
    inside = T.rotation.T @ way
    return T * pin.SE3(np.eye(3), 0.5 * inside), coal.Box(2.0 * np.asarray(box.halfSide) + np.abs(inside))


def _joined(shapes: list[Shape]) -> list[Shape]:
    """The shapes, with a cylinder and balls over both its ends told as the capsule that they are."""
    dropped: set[int] = set()
    out = list(shapes)
    for i, s in enumerate(shapes):
        if not isinstance(s.geometry, coal.Cylinder):
            continue
        r, half = float(s.geometry.radius), float(s.geometry.halfLength)
        caps = []
        for sign in (1.0, -1.0):
            end = s.T[:3, 3] + sign * half * s.T[:3, 2]
            caps.append([
                k for k, o in enumerate(shapes)
                if isinstance(o.geometry, coal.Sphere) and o.carrier == s.carrier
                and abs(o.geometry.radius - r) < SAME and np.linalg.norm(o.T[:3, 3] - end) < SAME
            ])  # fmt: skip
        if all(caps):
            out[i] = Shape(s.link, s.carrier, s.T, coal.Capsule(r, 2.0 * half))
            dropped |= {k for cap in caps for k in cap}
    return [s for k, s in enumerate(out) if k not in dropped]


def _around(shape: Shape) -> tuple[ndarray, float]:
    """Ends (2, 3) and radius of a capsule that contains a shape [m]."""
    g = shape.geometry
    along = np.zeros(3)
    if isinstance(g, coal.Sphere):
        radius = float(g.radius)
    elif isinstance(g, (coal.Capsule, coal.Cylinder)):
        radius, along[2] = float(g.radius), float(g.halfLength)
    elif isinstance(g, coal.Box):
        half = np.asarray(g.halfSide)
        longest = int(np.argmax(half))
        radius, along[longest] = float(np.linalg.norm(np.delete(half, longest))), float(half[longest])
    else:
        raise InvalidInput(
            f"link '{shape.link}' has a collision shape {type(g).__name__}; use spheres, cylinders, capsules and boxes"
        )
    R, p = shape.T[:3, :3], shape.T[:3, 3]
    return np.array([p + R @ along, p - R @ along]), radius


def _reach(chain: Chain, carrier: ndarray, ends: ndarray, radius: ndarray) -> ndarray:
    """Farthest that a point beyond each joint can be from its axis, whatever the posture (J,) [m]."""
    joints = len(chain.p)
    out = np.zeros(joints)
    steps = np.linalg.norm(chain.p, axis=1)
    for n, c in enumerate(carrier):
        at_end = float(np.linalg.norm(ends[n], axis=1).max()) + radius[n]
        across = float(np.linalg.norm(ends[n][:, :2], axis=1).max()) + radius[n]
        for j in range(c + 1):
            far = across if j == c else steps[j + 1 : c + 1].sum() + at_end
            out[j] = max(out[j], far)
    return out


def _can_meet(body: Body, robot: RobotModel) -> ndarray:
    """Which of all pairs are worth checking (P,)."""
    hull, pose = body.hull, pose_of(body.chain)
    touching, nearest = np.zeros(len(hull.pairs)), np.full(len(hull.pairs), np.inf)
    gaps = np.empty(len(hull.pairs))
    lower, upper = np.maximum(robot.lower, -np.pi), np.minimum(robot.upper, np.pi)
    for q in [robot.home, *np.random.default_rng(0).uniform(lower, upper, (SAMPLES, len(robot.home)))]:
        forward(body.chain, q, pose)
        pair_distances(hull, pose, gaps)
        nearest = np.minimum(nearest, gaps)
        for n in np.flatnonzero(gaps <= 0.0):
            if touching[n] <= SAMPLES and body.distance(int(hull.pairs[n, 0]), int(hull.pairs[n, 1]), pose) <= 0.0:
                touching[n] += np.inf if q is robot.home else 1.0
    keep: ndarray = (touching <= OFTEN * SAMPLES) & (nearest < NEAR)
    for n in np.flatnonzero(keep):
        first, second = int(hull.pairs[n, 0]), int(hull.pairs[n, 1])
        if abs(hull.carrier[first] - hull.carrier[second]) == 2:
            keep[n] = _changes(body, first, second, lower, upper)
    return keep


def _changes(body: Body, first: int, second: int, lower: ndarray, upper: ndarray) -> bool:
    """Whether the distance of two shapes depends on the posture: round ones that turn about their axis stay as far apart."""
    pose, distances = pose_of(body.chain), []
    for q in np.random.default_rng(1).uniform(lower, upper, (LOOKS, len(lower))):
        forward(body.chain, q, pose)
        distances.append(body.distance(first, second, pose))
    return not (min(distances) > 0.0 and max(distances) - min(distances) < SAME)
