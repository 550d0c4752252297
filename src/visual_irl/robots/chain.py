"""The kinematics of an arm compiled to machine code: poses, Jacobian and limb points without an allocation.

Pinocchio (`visual_irl.robots.model`) reads the description and stays the reference; this module restates what it read as
plain arrays, so that loops over frames, branches and iterations run compiled. Every joint turns about its own z axis.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
import pinocchio as pin
from jaxtyping import Float
from numba import njit
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.robots.model import RobotModel

LEAN = {"cache": True, "nogil": True, "_nrt": False}
"""How what runs in a live arm's loop is compiled: numba refuses what allocates, and so need not count the users of any array.
Counting them, an atomic addition for every array that is handed over, had taken a third of a live step.
"""
INSIDE = LEAN | {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
"""How it is where only compiled code calls it: without the code that takes its arguments out of Python objects, dozens of
arrays each, which takes long to compile. Called from Python such a function ends the process.
"""
INNERMOST = LEAN | {"fastmath": {"contract", "reassoc", "arcp", "nsz"}, "forceinline": True}
"""How its innermost loops are: sums and products may be reordered and fused; numbers that are not finite stay what they are.
They become part of whoever calls them. Compiled apart they differ in the last bits from the copy inside of a caller that comes
from the cache, so that the process that compiles would compute otherwise than all later ones.
"""


class Chain(NamedTuple):
    """A serial arm. J joints; lengths [m], angles [rad]."""

    R: ndarray
    """(J, 3, 3) turn of each joint's frame in the frame before it, at angle zero."""
    p: ndarray
    """(J, 3) place of each joint's frame in the frame before it."""
    tool_R: ndarray
    """(3, 3) turn of the tool in the last joint's frame."""
    tool_p: ndarray
    """(3,) place of the tool in the last joint's frame."""
    lower: ndarray
    """(J,) lower limits, the margin taken off."""
    upper: ndarray
    """(J,) upper limits, the margin taken off."""
    carrier: ndarray
    """(3,) index of the joint that carries the shoulder, elbow and wrist point; -1 for the base."""
    offset: ndarray
    """(3, 3) those points in their carrier's frame."""


class Pose(NamedTuple):
    """Buffers that `forward` fills; one a thread."""

    R: ndarray
    """(J + 1, 3, 3) turn of each joint's frame, then of the tool, in the base frame."""
    p: ndarray
    """(J + 1, 3) their places."""


def chain_of(robot: RobotModel, margin: float = 0.0) -> Chain:
    """The compiled form of an arm; `margin` [rad] is kept from every joint limit.

    Raises:
        InvalidInput: the arm is not a chain of revolute joints, or the margin leaves a joint no range.
    """
    model = robot.pinocchio()
    count = model.nq
    serial = all(model.parents[i] == i - 1 for i in range(1, model.njoints))
    if count != model.njoints - 1 or not serial or any(model.nqs[i] != 1 for i in range(1, model.njoints)):
        raise InvalidInput(f"robot '{robot.name}' is not a chain of revolute joints, the only kind that can be compiled")
    if not (robot.lower + 2.0 * margin < robot.upper).all():
        raise InvalidInput(f"robot '{robot.name}': a margin of {margin} rad at both ends leaves a joint without a range")
    align = axis_turns(robot)
    R = np.array([align[i - 1].T @ model.jointPlacements[i].rotation @ align[i] for i in range(1, model.njoints)])
    p = np.array([align[i - 1].T @ model.jointPlacements[i].translation for i in range(1, model.njoints)])
    tool = model.frames[robot.frame_id(robot.tcp_frame)]
    if tool.parentJoint != count:
        raise InvalidInput(f"robot '{robot.name}': the tool frame '{robot.tcp_frame}' does not move with the last joint")
    carrier, offset = np.zeros(3, np.int64), np.zeros((3, 3))
    for k, name in enumerate((robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame)):
        frame = model.frames[robot.frame_id(name)]
        carrier[k] = frame.parentJoint - 1
        offset[k] = align[frame.parentJoint].T @ frame.placement.translation
    return Chain(
        np.ascontiguousarray(R), np.ascontiguousarray(p),
        np.ascontiguousarray(align[count].T @ tool.placement.rotation), align[count].T @ tool.placement.translation,
        robot.lower + margin, robot.upper - margin, carrier, offset,
    )  # fmt: skip


def axis_turns(robot: RobotModel) -> list[Float[ndarray, "3 3"]]:
    """The turn of z onto each joint's axis in the joint's own frame, behind an identity for the base.

    The frames of a chain have the axis as z: what is fixed to joint i of the description (from 1) is fixed there by this turn's
    inverse.
    """
    model = robot.pinocchio()
    data = model.createData()
    pin.computeJointJacobians(model, data, np.zeros(model.nq))
    axes = [pin.getJointJacobian(model, data, i, pin.LOCAL)[3:, i - 1] for i in range(1, model.njoints)]
    return [np.eye(3), *(_turn_of_z_onto(axis) for axis in axes)]


def pose_of(chain: Chain) -> Pose:
    """Empty buffers for `forward`."""
    joints = len(chain.p)
    return Pose(np.zeros((joints + 1, 3, 3)), np.zeros((joints + 1, 3)))


def _turn_of_z_onto(axis: ndarray) -> ndarray:
    """The shortest rotation that takes z onto a unit axis."""
    if axis[2] < -1.0 + 1e-12:
        return np.diag([1.0, -1.0, -1.0])
    v = np.cross([0.0, 0.0, 1.0], axis)
    K = np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])
    return np.eye(3) + K + K @ K / (1.0 + axis[2])


@njit(**LEAN)
@no_type_check
def forward(chain: Chain, q: ndarray, pose: Pose) -> None:
    """Fill `pose` with the frames of all joints and of the tool at angles `q` (J,)."""
    joints = len(q)
    for i in range(joints):
        c, s = np.cos(q[i]), np.sin(q[i])
        for r in range(3):
            if i == 0:
                a, b, z, x = chain.R[0, r, 0], chain.R[0, r, 1], chain.R[0, r, 2], chain.p[0, r]
            else:
                P0, P1, P2 = pose.R[i - 1, r, 0], pose.R[i - 1, r, 1], pose.R[i - 1, r, 2]
                a = P0 * chain.R[i, 0, 0] + P1 * chain.R[i, 1, 0] + P2 * chain.R[i, 2, 0]
                b = P0 * chain.R[i, 0, 1] + P1 * chain.R[i, 1, 1] + P2 * chain.R[i, 2, 1]
                z = P0 * chain.R[i, 0, 2] + P1 * chain.R[i, 1, 2] + P2 * chain.R[i, 2, 2]
                x = P0 * chain.p[i, 0] + P1 * chain.p[i, 1] + P2 * chain.p[i, 2] + pose.p[i - 1, r]
            pose.R[i, r, 0] = a * c + b * s
            pose.R[i, r, 1] = b * c - a * s
            pose.R[i, r, 2] = z
            pose.p[i, r] = x
    for r in range(3):
        P0, P1, P2 = pose.R[joints - 1, r, 0], pose.R[joints - 1, r, 1], pose.R[joints - 1, r, 2]
        for k in range(3):
            pose.R[joints, r, k] = P0 * chain.tool_R[0, k] + P1 * chain.tool_R[1, k] + P2 * chain.tool_R[2, k]
        pose.p[joints, r] = P0 * chain.tool_p[0] + P1 * chain.tool_p[1] + P2 * chain.tool_p[2] + pose.p[joints - 1, r]


def arm_states(chain: Chain, q: Float[ndarray, "T J"]) -> tuple[Float[ndarray, "T 4 4"], Float[ndarray, "T 3 3"]]:
    """Tool poses, and shoulder, elbow and wrist points [m], in the base frame."""
    Ts, points = np.tile(np.eye(4), (len(q), 1, 1)), np.empty((len(q), 3, 3))
    _arm_states(chain, np.ascontiguousarray(q, float), pose_of(chain), Ts, points)
    return Ts, points


@njit(**LEAN)
@no_type_check
def _arm_states(chain, q, pose, Ts, points):
    tool = q.shape[1]
    for i in range(len(q)):
        forward(chain, q[i], pose)
        for r in range(3):
            Ts[i, r, 3] = pose.p[tool, r]
            for k in range(3):
                Ts[i, r, k] = pose.R[tool, r, k]
        for k in range(3):
            limb_point(chain, pose, k, points[i, k])


@njit(**LEAN)
@no_type_check
def tool_jacobian(pose: Pose, J: ndarray) -> None:
    """Fill `J` (6, joints): rows 0-2 the tool point's velocity [m/rad], rows 3-5 its turning, in base axes."""
    joints = pose.p.shape[0] - 1
    for i in range(joints):
        z0, z1, z2 = pose.R[i, 0, 2], pose.R[i, 1, 2], pose.R[i, 2, 2]
        d0 = pose.p[joints, 0] - pose.p[i, 0]
        d1 = pose.p[joints, 1] - pose.p[i, 1]
        d2 = pose.p[joints, 2] - pose.p[i, 2]
        J[0, i], J[1, i], J[2, i] = z1 * d2 - z2 * d1, z2 * d0 - z0 * d2, z0 * d1 - z1 * d0
        J[3, i], J[4, i], J[5, i] = z0, z1, z2


@njit(**LEAN)
@no_type_check
def manipulability(J: ndarray, S: ndarray) -> float:
    """sqrt(det(J J^T)) of a hand Jacobian (6, J): 0 where the arm is singular (Yoshikawa 1985, Int. J. Robotics Research 4);
    `S` (6, 6) is a buffer."""
    product = 1.0
    for r in range(6):
        for c in range(r + 1):
            s = 0.0
            for j in range(J.shape[1]):
                s += J[r, j] * J[c, j]
            for m in range(c):
                s -= S[r, m] * S[c, m]
            if c < r:
                S[r, c] = s / S[c, c]
            else:
                S[r, r] = np.sqrt(max(s, 1e-30))
        product *= S[r, r]
    return product


@njit(**INNERMOST)
@no_type_check
def solve_hand(S: ndarray, m: ndarray) -> None:
    """Solve the symmetric positive definite system whose lower half is `S` (6, 6), in place; the solution is in `m` (6,)."""
    for r in range(6):
        s = m[r]
        for c in range(r):
            d = S[r, c]
            for k in range(c):
                d -= S[r, k] * S[c, k]
            d *= S[c, c]  # one over the factor's diagonal
            S[r, c] = d
            s -= d * m[c]
        d = S[r, r]
        for k in range(r):
            d -= S[r, k] * S[r, k]
        S[r, r] = 1.0 / np.sqrt(max(d, 1e-14))
        m[r] = s * S[r, r]
    for r in range(5, -1, -1):
        s = m[r]
        for k in range(r + 1, 6):
            s -= S[k, r] * m[k]
        m[r] = s * S[r, r]


@njit(**LEAN)
@no_type_check
def limb_point(chain: Chain, pose: Pose, which: int, out: ndarray) -> None:
    """Fill `out` (3,) with the shoulder (0), elbow (1) or wrist (2) point [m] in the base frame."""
    i = chain.carrier[which]
    for r in range(3):
        if i < 0:
            out[r] = chain.offset[which, r]
        else:
            out[r] = pose.p[i, r]
            for k in range(3):
                out[r] += pose.R[i, r, k] * chain.offset[which, k]


@njit(**LEAN)
@no_type_check
def limb_jacobian(chain: Chain, pose: Pose, which: int, point: ndarray, J: ndarray) -> None:
    """Fill `J` (3, joints) with the velocity of a limb point [m/rad]; `point` is where `limb_point` put it."""
    carrier = chain.carrier[which]
    for i in range(J.shape[1]):
        if i > carrier:
            J[0, i] = J[1, i] = J[2, i] = 0.0
            continue
        z0, z1, z2 = pose.R[i, 0, 2], pose.R[i, 1, 2], pose.R[i, 2, 2]
        d0, d1, d2 = point[0] - pose.p[i, 0], point[1] - pose.p[i, 1], point[2] - pose.p[i, 2]
        J[0, i], J[1, i], J[2, i] = z1 * d2 - z2 * d1, z2 * d0 - z0 * d2, z0 * d1 - z1 * d0


@njit(**LEAN)
@no_type_check
def tool_error(pose: Pose, R: ndarray, p: ndarray, error: ndarray) -> None:
    """Fill `error` (6,) with what takes the tool to the pose (`R`, `p`): metres, then the turn's logarithm [rad]."""
    tool = pose.p.shape[0] - 1
    for r in range(3):
        error[r] = p[r] - pose.p[tool, r]
    d00, d01, d02 = _row_dot(R, pose.R, tool, 0, 0), _row_dot(R, pose.R, tool, 0, 1), _row_dot(R, pose.R, tool, 0, 2)
    d10, d11, d12 = _row_dot(R, pose.R, tool, 1, 0), _row_dot(R, pose.R, tool, 1, 1), _row_dot(R, pose.R, tool, 1, 2)
    d20, d21, d22 = _row_dot(R, pose.R, tool, 2, 0), _row_dot(R, pose.R, tool, 2, 1), _row_dot(R, pose.R, tool, 2, 2)
    v0, v1, v2 = 0.5 * (d21 - d12), 0.5 * (d02 - d20), 0.5 * (d10 - d01)
    sine = np.sqrt(v0 * v0 + v1 * v1 + v2 * v2)
    cosine = 0.5 * (d00 + d11 + d22 - 1.0)
    angle = np.arctan2(sine, cosine)
    if sine > 1e-6:
        error[3], error[4], error[5] = v0 * angle / sine, v1 * angle / sine, v2 * angle / sine
        return
    if cosine > 0.0:
        error[3], error[4], error[5] = v0, v1, v2
        return
    # half a turn: the axis is the longest column of D + 1
    if d00 >= d11 and d00 >= d22:
        n0, n1, n2 = d00 + 1.0, d10, d20
    elif d11 >= d22:
        n0, n1, n2 = d01, d11 + 1.0, d21
    else:
        n0, n1, n2 = d02, d12, d22 + 1.0
    norm = np.sqrt(n0 * n0 + n1 * n1 + n2 * n2)
    error[3], error[4], error[5] = angle * n0 / norm, angle * n1 / norm, angle * n2 / norm


@njit(**INSIDE)
@no_type_check
def _row_dot(A, B, n, r, k):
    """Row `r` of `A` times row `k` of `B[n]`: an entry of A B^T."""
    return A[r, 0] * B[n, k, 0] + A[r, 1] * B[n, k, 1] + A[r, 2] * B[n, k, 2]
