"""How fast the fastest point of an arm moves along a motion."""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.robots.capsules import place
from visual_irl.robots.chain import Chain, Pose, forward
from visual_irl.robots.collision import travel_rate
from visual_irl.robots.hull import Hull
from visual_irl.robots.interpolation import Motion, evaluate


@njit(cache=True, nogil=True)
@no_type_check
def fastest_point(chain: Chain, hull: Hull, motion: Motion, pose: Pose, step: float, limit: float) -> tuple[float, float, int]:
    """Time [s], speed [m/s] and capsule of the first point found faster than `limit`; else of the fastest
    one that was looked at.

    The motion is looked at wherever a piece begins and at least every `step` [s]; pieces on which even the sum of all joints'
    speeds times their reach is below the limit are passed over.
    """
    row = np.zeros((3, motion.c.shape[1]))
    best_time, best, which = motion.t[0], -1.0, -1
    for k in range(motion.c.shape[0]):
        if travel_rate(hull, motion, k) <= limit:
            continue
        h = motion.t[k + 1] - motion.t[k]
        parts = max(1, int(np.ceil(h / step)))
        for i in range(parts):
            time = motion.t[k] + i * h / parts
            evaluate(motion, time, row)
            forward(chain, row[0], pose)
            place(hull, pose)
            speed, n = point_speed(hull, pose, row[1])
            if not speed <= best:
                best_time, best, which = time, speed, n
                if not best <= limit:
                    return best_time, best, which
    return best_time, best, which


@njit(cache=True, nogil=True)
@no_type_check
def point_speed(hull: Hull, pose: Pose, qd: ndarray) -> tuple[float, int]:
    """Speed of the fastest point of all placed capsules [m/s], and which capsule has it, at joint speeds `qd` (J,) [rad/s].

    The speed of a body's points is convex in their place, so that a capsule's fastest point lies on the balls at its ends.
    About the centre of a ball of radius r, moving with v, the turn w adds r |w| across w, along the part of v there.
    """
    best, which = 0.0, -1
    v, w = np.zeros(3), np.zeros(3)
    for n in range(len(hull.radius)):
        last = hull.carrier[n]
        for end in range(2):
            v[:] = 0.0
            w[:] = 0.0
            for j in range(last + 1):
                z0, z1, z2 = pose.R[j, 0, 2] * qd[j], pose.R[j, 1, 2] * qd[j], pose.R[j, 2, 2] * qd[j]
                d0 = hull.world[n, end, 0] - pose.p[j, 0]
                d1 = hull.world[n, end, 1] - pose.p[j, 1]
                d2 = hull.world[n, end, 2] - pose.p[j, 2]
                v[0] += z1 * d2 - z2 * d1
                v[1] += z2 * d0 - z0 * d2
                v[2] += z0 * d1 - z1 * d0
                w[0] += z0
                w[1] += z1
                w[2] += z2
            turn = np.sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2])
            square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2]
            along = (v[0] * w[0] + v[1] * w[1] + v[2] * w[2]) / turn if turn > 1e-12 else 0.0
            across = np.sqrt(max(square - along * along, 0.0)) + hull.radius[n] * turn
            speed = np.sqrt(along * along + across * across)
            if not speed <= best:
                best, which = speed, n
    return best, which
