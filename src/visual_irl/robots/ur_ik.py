"""The eight solutions of a Universal Robots arm (UR5e, UR10e and their kin) for a tool pose, in closed form and compiled.

Axes 2 to 4 are parallel: the wrist's distance from their plane gives joint 1 (shoulder left or right), the tool's approach
gives joints 5 and 6 (wrist flipped or not), and the planar arm that is left gives joints 2 to 4 (elbow up or down). After
Hawkins 2013, "Analytic inverse kinematics for the Universal Robots UR-5/UR-10 arms". Angles are within half a turn of
zero; joints that may turn farther are wound later, where the path is known.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.robots.chain import INSIDE, Chain

SINGULAR = 1e-7
"""Sine of joint 5 below which joint 6 is not determined; it is left at zero there."""


@njit(**INSIDE)
@no_type_check
def ur_solutions(chain: Chain, R: ndarray, p: ndarray, spare: ndarray, out: ndarray, count: int) -> int:
    """Write the solutions into rows `count`.. of `out` (N, 6); returns the new count.

    `R` (3, 3) and `p` (3,) are the tool's pose in the base frame [m]; `spare` (7, 3) or longer is a buffer.
    """
    d1, a2, a3 = chain.p[0, 2], chain.p[2, 0], chain.p[3, 0]
    d4 = chain.p[3, 2]
    d5, d6 = abs(chain.p[4, 1]) + abs(chain.p[4, 2]), abs(chain.p[5, 1]) + abs(chain.p[5, 2])
    F = spare[:3]  # the last joint's frame, in the base turned as joint 1's zero is
    G = spare[3:6]
    o = spare[6]
    for r in range(3):
        for k in range(3):
            G[r, k] = R[r, 0] * chain.tool_R[k, 0] + R[r, 1] * chain.tool_R[k, 1] + R[r, 2] * chain.tool_R[k, 2]
    for r in range(3):
        o[r] = p[r] - G[r, 0] * chain.tool_p[0] - G[r, 1] * chain.tool_p[1] - G[r, 2] * chain.tool_p[2]
    o[2] -= d1
    x, y, z = o[0], o[1], o[2]
    for r in range(3):
        o[r] = chain.R[0, 0, r] * x + chain.R[0, 1, r] * y + chain.R[0, 2, r] * z
        for k in range(3):
            F[r, k] = chain.R[0, 0, r] * G[0, k] + chain.R[0, 1, r] * G[1, k] + chain.R[0, 2, r] * G[2, k]
    w0, w1 = o[0] - d6 * F[0, 2], o[1] - d6 * F[1, 2]
    rho = np.sqrt(w0 * w0 + w1 * w1)
    if rho < abs(d4):
        return count
    heading, spread = np.arctan2(w1, w0), np.arccos(d4 / rho)
    for shoulder in range(2):
        q1 = _half_turn(heading + (spread if shoulder == 0 else -spread) + 0.5 * np.pi)
        c1, s1 = np.cos(q1), np.sin(q1)
        c5 = (o[0] * s1 - o[1] * c1 - d4) / d6
        if abs(c5) > 1.0:
            if abs(c5) > 1.0 + 1e-9:
                continue
            c5 = 1.0 if c5 > 0.0 else -1.0
        n0, n1 = F[0, 0] * s1 - F[1, 0] * c1, F[0, 1] * s1 - F[1, 1] * c1
        for wrist in range(2):
            s5 = np.sqrt(1.0 - c5 * c5) * (1.0 if wrist == 0 else -1.0)
            q5 = np.arctan2(s5, c5)
            q6 = np.arctan2(-n1 / s5, n0 / s5) if abs(s5) > SINGULAR else 0.0
            c6, s6 = np.cos(q6), np.sin(q6)
            v0 = o[0] - d6 * F[0, 2] + d5 * (s6 * F[0, 0] + c6 * F[0, 1])
            v1 = o[1] - d6 * F[1, 2] + d5 * (s6 * F[1, 0] + c6 * F[1, 1])
            v2 = o[2] - d6 * F[2, 2] + d5 * (s6 * F[2, 0] + c6 * F[2, 1])
            X, Y = v0 * c1 + v1 * s1, v2
            c3 = (X * X + Y * Y - a2 * a2 - a3 * a3) / (2.0 * a2 * a3)
            if abs(c3) > 1.0:
                continue
            f0 = c5 * (c6 * F[0, 0] - s6 * F[0, 1]) - s5 * F[0, 2]
            f1 = c5 * (c6 * F[1, 0] - s6 * F[1, 1]) - s5 * F[1, 2]
            f2 = c5 * (c6 * F[2, 0] - s6 * F[2, 1]) - s5 * F[2, 2]
            q234 = np.arctan2(f2, f0 * c1 + f1 * s1)
            for elbow in range(2):
                s3 = np.sqrt(1.0 - c3 * c3) * (1.0 if elbow == 0 else -1.0)
                q3 = np.arctan2(s3, c3)
                q2 = _half_turn(np.arctan2(Y, X) - np.arctan2(a3 * s3, a2 + a3 * c3))
                if count == out.shape[0]:
                    return count
                out[count, 0], out[count, 1], out[count, 2] = q1, q2, q3
                out[count, 3], out[count, 4], out[count, 5] = _half_turn(q234 - q2 - q3), q5, q6
                if _within(chain, out[count]):
                    count += 1
    return count


@njit(**INSIDE)
@no_type_check
def _within(chain: Chain, q: ndarray) -> bool:
    """Whether every joint can be wound into its limits."""
    for j in range(len(q)):
        turn = 2.0 * np.pi * np.ceil((chain.lower[j] - q[j]) / (2.0 * np.pi))
        if q[j] + turn > chain.upper[j]:
            return False
    return True


@njit(**INSIDE)
@no_type_check
def _half_turn(q: float) -> float:
    return q - 2.0 * np.pi * np.round(q / (2.0 * np.pi))
