"""Every solution of a Franka arm (Panda, FR3) for a tool pose and an angle of joint 7, in closed form and compiled.

With joint 7 given, the wrist centre (the crossing of axes 5 and 6) and axis 6 are known. The triangle of shoulder, elbow
and wrist centre gives joint 4; axis 5 must cross axis 6 at a right angle and reach the shoulder, which gives joint 6;
the turn that is left between shoulder and forearm gives joints 1 to 3, and joint 5 closes the chain. Up to eight solutions.
The idea is that of He and Liu 2021, "Analytical inverse kinematics for Franka Emika Panda"; theirs keeps one elbow.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.robots.chain import INSIDE, LEAN, Chain

TWO_PI = 2.0 * np.pi
EPS = 1e-9


@njit(**INSIDE)
@no_type_check
def franka_solutions(
    chain: Chain, rest: float, R: ndarray, p: ndarray, q7: float, spare: ndarray, out: ndarray, count: int
) -> int:
    """Write the solutions inside the limits into rows `count`.. of `out` (N, 7); returns the new count.

    `rest` is `elbow_at_rest`, `R` (3, 3) and `p` (3,) are the tool's pose in the base frame [m]; `spare` (10, 3) is a buffer.
    Stops when `out` is full.
    """
    base, upper, shift, fore, hand = chain.p[0, 2], -chain.p[2, 1], chain.p[3, 0], chain.p[4, 1], chain.p[6, 0]
    F = spare[:3]  # frame 7 at angle q7
    w = spare[3]  # from the wrist centre to the shoulder
    x6, y6, z6 = spare[4], spare[5], spare[6]
    u, x4, z4 = spare[7], spare[8], spare[9]
    c7, s7 = np.cos(q7), np.sin(q7)
    for r in range(3):
        for k in range(3):
            F[r, k] = R[r, 0] * chain.tool_R[k, 0] + R[r, 1] * chain.tool_R[k, 1] + R[r, 2] * chain.tool_R[k, 2]
    for r in range(3):
        x6[r] = c7 * F[r, 0] - s7 * F[r, 1]
        z6[r] = s7 * F[r, 0] + c7 * F[r, 1]
        y6[r] = -F[r, 2]
        p7 = p[r] - F[r, 0] * chain.tool_p[0] - F[r, 1] * chain.tool_p[1] - F[r, 2] * chain.tool_p[2]
        w[r] = -(p7 - hand * x6[r])
    w[2] += base
    d2 = w[0] * w[0] + w[1] * w[1] + w[2] * w[2]
    a2, b2 = upper * upper + shift * shift, fore * fore + shift * shift
    cosine = (a2 + b2 - d2) / (2.0 * np.sqrt(a2 * b2))
    if cosine < -1.0 or cosine > 1.0:
        return count
    phi = np.arccos(cosine)
    along6 = w[0] * z6[0] + w[1] * z6[1] + w[2] * z6[2]
    rho = np.sqrt(max(d2 - along6 * along6, 0.0))
    if rho < EPS:
        return count
    for elbow in range(2):
        q4 = _wrapped(phi - rest if elbow == 0 else -phi - rest, chain.lower[3], chain.upper[3])
        if np.isnan(q4):
            continue
        c4, s4 = np.cos(q4), np.sin(q4)
        cx = -shift * c4 - upper * s4 + shift
        cy = shift * s4 - upper * c4 - fore
        if abs(cy) > rho or abs(cx) < EPS:
            continue
        ca = cy / rho
        sa = np.sqrt(1.0 - ca * ca)
        for wrist in range(2):
            side = sa if wrist == 0 else -sa
            for r in range(3):
                i, j = (r + 1) % 3, (r + 2) % 3
                flat = (w[r] - along6 * z6[r]) / rho
                across = (z6[i] * w[j] - z6[j] * w[i]) / rho
                u[r] = ca * flat + side * across
            q6 = np.arctan2(u[0] * x6[0] + u[1] * x6[1] + u[2] * x6[2], u[0] * y6[0] + u[1] * y6[1] + u[2] * y6[2])
            q6 = _wrapped(q6, chain.lower[5], chain.upper[5])
            if np.isnan(q6):
                continue
            for r in range(3):
                x4[r] = (w[r] - cy * u[r]) / cx
            z4[0], z4[1], z4[2] = x4[1] * u[2] - x4[2] * u[1], x4[2] * u[0] - x4[0] * u[2], x4[0] * u[1] - x4[1] * u[0]
            # joint 5 turns frame 4 about the forearm u until its z axis lies along axis 6
            q5 = np.arctan2(x4[0] * z6[0] + x4[1] * z6[1] + x4[2] * z6[2], z4[0] * z6[0] + z4[1] * z6[1] + z4[2] * z6[2])
            q5 = _wrapped(q5, chain.lower[4], chain.upper[4])
            if np.isnan(q5):
                continue
            # frame 3: x3 = frame 4's x before its turn, z3 its y, y3 minus its z
            R11, R13 = c4 * x4[0] - s4 * u[0], s4 * x4[0] + c4 * u[0]
            R21, R23 = c4 * x4[1] - s4 * u[1], s4 * x4[1] + c4 * u[1]
            R31, R32, R33 = c4 * x4[2] - s4 * u[2], -z4[2], s4 * x4[2] + c4 * u[2]
            tilt = np.sqrt(R13 * R13 + R23 * R23)
            lean = np.arctan2(tilt, R33)
            for flip in range(2):
                sign = 1.0 if flip == 0 else -1.0
                q1, q2 = 0.0, sign * lean
                if not chain.lower[1] <= q2 <= chain.upper[1]:
                    continue
                if tilt > EPS:
                    q1 = np.arctan2(sign * R23, sign * R13)
                    if not chain.lower[0] <= q1 <= chain.upper[0]:
                        continue
                    q3 = np.arctan2(sign * R32, -sign * R31)
                elif flip == 0 and R33 > 0.0:
                    q2, q3 = 0.0, np.arctan2(R21, R11)
                else:
                    continue
                if chain.lower[0] <= q1 <= chain.upper[0] and chain.lower[2] <= q3 <= chain.upper[2] and count < out.shape[0]:
                    out[count, 0], out[count, 1], out[count, 2], out[count, 3] = q1, q2, q3, q4
                    out[count, 4], out[count, 5], out[count, 6] = q5, q6, q7
                    count += 1
    return count


@njit(**LEAN)
@no_type_check
def elbow_at_rest(chain: Chain) -> float:
    """The angle at the elbow between shoulder and wrist centre while joint 4 is at zero [rad]."""
    upper, shift, fore = -chain.p[2, 1], chain.p[3, 0], chain.p[4, 1]
    return np.arctan2(fore, -shift) - np.arctan2(-upper, -shift)


@njit(**INSIDE)
@no_type_check
def _wrapped(q: float, lower: float, upper: float) -> float:
    """The angle moved by whole turns between the limits; NaN when none fits."""
    q -= TWO_PI * np.floor((q - lower) / TWO_PI)
    return q if q <= upper else np.nan
