"""Rigid transforms as 4x4 arrays. `T_a_b` maps b coordinates into a: `p_a = T_a_b @ p_b`; adjacent names cancel.

Frames: world and robot bases have z up; cameras are optical (x right, y down, z forward).
Quaternions are scalar first, and say so in their name: `q_wxyz`.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput


def transform(R: Float[ndarray, "3 3"], p: Float[ndarray, "3"]) -> Float[ndarray, "4 4"]:
    """The transform with rotation `R` and translation `p` [m]."""
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = p
    return T


def inverse(T_a_b: Float[ndarray, "*B 4 4"]) -> Float[ndarray, "*B 4 4"]:
    """`T_b_a`."""
    T_b_a = np.zeros_like(T_a_b)
    R_b_a = np.swapaxes(T_a_b[..., :3, :3], -1, -2)
    T_b_a[..., :3, :3] = R_b_a
    T_b_a[..., :3, 3] = -(R_b_a @ T_a_b[..., :3, 3, None])[..., 0]
    T_b_a[..., 3, 3] = 1.0
    return T_b_a


def is_rotation(R: Float[ndarray, "*B 3 3"], tolerance: float = 1e-6) -> bool:
    """Whether all are rotations: finite, orthonormal to `tolerance`, and right-handed."""
    R = np.asarray(R, float)
    if R.shape[-2:] != (3, 3) or not np.isfinite(R).all():
        return False
    return bool((np.abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)) <= tolerance).all() and (np.linalg.det(R) > 0.0).all())


def is_rigid(T_a_b: Float[ndarray, "*B 4 4"], tolerance: float = 1e-6) -> bool:
    """Whether all are rigid transforms: `is_rotation`, a finite translation, and (0, 0, 0, 1) below."""
    T = np.asarray(T_a_b, float)
    if T.shape[-2:] != (4, 4) or not np.isfinite(T).all() or (T[..., 3, :] != (0.0, 0.0, 0.0, 1.0)).any():
        return False
    return is_rotation(T[..., :3, :3], tolerance)


def apply(T_a_b: Float[ndarray, "4 4"], p_b: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B 3"]:
    """`p_a` [m] of the points `p_b` [m]."""
    return p_b @ T_a_b[:3, :3].T + T_a_b[:3, 3]


def skew(v: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """The matrix `[v]x` with `[v]x @ u = v x u`."""
    return np.array([[0.0, -v[2], v[1]], [v[2], 0.0, -v[0]], [-v[1], v[0], 0.0]])


def exp_so3(w: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """The rotation by `|w|` [rad] about `w` (Rodrigues)."""
    angle = float(np.linalg.norm(w))
    if angle < 1e-12:
        return np.eye(3) + skew(w)
    K = skew(w / angle)
    return np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K


def log_so3(R: Float[ndarray, "3 3"]) -> Float[ndarray, "3"]:
    """The rotation vector [rad] of `R`, at most pi long."""
    w = 0.5 * np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]])
    sine, cosine = float(np.linalg.norm(w)), 0.5 * (float(np.trace(R)) - 1.0)
    if sine > 1e-8:
        return w * (np.arctan2(sine, cosine) / sine)
    if cosine > 0.0:
        return w
    # half a turn: R + I = 2 a a^T, so the axis is its largest column
    A = 0.5 * (R + np.eye(3))
    axis = A[:, int(np.argmax(np.diag(A)))]
    return np.pi * axis / np.linalg.norm(axis)


def rotation_between(a: Float[ndarray, "3"], b: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """The shortest rotation that turns direction `a` into direction `b`; for opposite ones, about any normal."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    cosine = float(a @ b)
    if cosine < -1.0 + 1e-9:
        normal = np.cross(a, np.eye(3)[int(np.argmin(np.abs(a)))])
        return exp_so3(np.pi * normal / np.linalg.norm(normal))
    K = skew(skew(a) @ b)  # NumPy's cross product costs ten times as much
    return np.eye(3) + K + K @ K / (1.0 + cosine)


def angle_between(a: Float[ndarray, "*B 3"], b: Float[ndarray, "*B 3"]) -> Float[ndarray, "*B"]:
    """The angle [rad] between directions, in [0, pi]."""
    cross = np.linalg.norm(np.cross(a, b), axis=-1)
    return np.asarray(np.arctan2(cross, np.sum(a * b, axis=-1)))


def look_at(eye: Float[ndarray, "3"], target: Float[ndarray, "3"]) -> Float[ndarray, "4 4"]:
    """`T_world_camera` of an upright optical camera at `eye` [m] that looks at `target` [m]."""
    forward = np.asarray(target, float) - eye
    if not np.linalg.norm(forward[:2]) > 1e-9:
        raise InvalidInput(f"camera at {eye} looks straight up or down at {target}: move one of them sideways")
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    return transform(np.stack([right, np.cross(forward, right), forward], axis=1), eye)


def quaternion_wxyz(R: Float[ndarray, "3 3"]) -> Float[ndarray, "4"]:
    """The unit quaternion of `R`, scalar first and non-negative (Bar-Itzhack 2000: largest eigenvector)."""
    xx, yx, zx, xy, yy, zy, xz, yz, zz = R.T.ravel()
    K = np.array(
        [
            [xx - yy - zz, 0.0, 0.0, 0.0],
            [yx + xy, yy - xx - zz, 0.0, 0.0],
            [zx + xz, zy + yz, zz - xx - yy, 0.0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    x, y, z, w = np.linalg.eigh(K)[1][:, -1]
    q = np.array([w, x, y, z])
    return q if w >= 0.0 else -q


def rotation_of_quaternion(q_wxyz: Float[ndarray, "4"]) -> Float[ndarray, "3 3"]:
    """The rotation of a scalar-first quaternion of any length but zero."""
    norm = float(np.linalg.norm(q_wxyz))
    if not norm > 1e-9:
        raise InvalidInput(f"quaternion {q_wxyz} has no direction: its norm {norm:.1e} must be above 1e-9")
    w, x, y, z = q_wxyz / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
