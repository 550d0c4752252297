"""Capsules that are carried by the joints of an arm, compiled: where they are in a pose, and how far two of them are apart.

`Hull` and `Capsules` are both such sets: what is asked of one is its carrier, ends, radius and world.
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit

from visual_irl.robots.chain import INSIDE, Pose


@njit(**INSIDE)
@no_type_check
def place(capsules, pose: Pose) -> None:
    """Fill `world` with the segments' ends in the base frame."""
    for n in range(len(capsules.radius)):
        j = capsules.carrier[n]
        for end in range(2):
            for r in range(3):
                if j < 0:
                    capsules.world[n, end, r] = capsules.ends[n, end, r]
                else:
                    s = pose.p[j, r]
                    for k in range(3):
                        s += pose.R[j, r, k] * capsules.ends[n, end, k]
                    capsules.world[n, end, r] = s


@njit(**INSIDE)
@no_type_check
def capsule_gap(capsules, i: int, k: int) -> float:
    """Distance of two placed capsules [m] (closest points of segments; Ericson 2005, Real-Time Collision Detection, 5.1.9)."""
    a = e = f = b = c = 0.0
    for r in range(3):
        d1 = capsules.world[i, 1, r] - capsules.world[i, 0, r]
        d2 = capsules.world[k, 1, r] - capsules.world[k, 0, r]
        w = capsules.world[i, 0, r] - capsules.world[k, 0, r]
        a += d1 * d1
        e += d2 * d2
        f += d2 * w
        b += d1 * d2
        c += d1 * w
    s = t = 0.0
    if a > 1e-12 and e > 1e-12:
        denominator = a * e - b * b
        if denominator > 1e-12:
            s = min(max((b * f - c * e) / denominator, 0.0), 1.0)
        t = (b * s + f) / e
        if t < 0.0:
            t, s = 0.0, min(max(-c / a, 0.0), 1.0)
        elif t > 1.0:
            t, s = 1.0, min(max((b - c) / a, 0.0), 1.0)
    elif a > 1e-12:
        s = min(max(-c / a, 0.0), 1.0)
    elif e > 1e-12:
        t = min(max(f / e, 0.0), 1.0)
    square = 0.0
    for r in range(3):
        x = capsules.world[i, 0, r] + s * (capsules.world[i, 1, r] - capsules.world[i, 0, r])
        y = capsules.world[k, 0, r] + t * (capsules.world[k, 1, r] - capsules.world[k, 0, r])
        square += (x - y) ** 2
    return np.sqrt(square) - capsules.radius[i] - capsules.radius[k]
