"""From a polyline in joint space to a timed motion: corners rounded, timed within the limits, and checked again as it is timed.

A cubic spline through the few corners of a shortened path swings out and collides; so corners are rounded by a curve inside the
triangle that they span (a quadratic Bezier), and the result is sampled densely before it is timed. Where the rounded or the
timed path comes too near to something, the corners are rounded less.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, NoPathFound
from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.planner import PlannerConfig
from visual_irl.planning.slowing import SLOWING, SLOWINGS, least_slowing, slower
from visual_irl.robots.chain import pose_of
from visual_irl.robots.interpolation import ACCELERATION, JERK, VELOCITY, first_beyond, motion_through
from visual_irl.robots.model import RobotModel
from visual_irl.robots.point_speed import fastest_point
from visual_irl.robots.timing import time_parametrised
from visual_irl.types import JointTrajectory

STEP = 0.04
"""Distance of the samples of the rounded path, at most [rad]."""
LOOK = 0.004
"""Longest time between two looks at the speed of the arm's points [s]."""
STREAMED = 1.05
"""What is streamed may use this much more than the path was timed with; with the default share, 0.945 of the limits."""
ROUNDS = 5
"""Most times that corners are rounded less, by half each time."""


def timed(
    path: Float[ndarray, "N J"], robot: RobotModel, checker: EdgeChecker, config: PlannerConfig, opening: float
) -> JointTrajectory:
    """A motion along a polyline [rad], rest to rest, within the limits, that keeps its clearance as it is timed.

    Raises:
        NoPathFound: it comes too near to something however little the corners are rounded.
    """
    blend = config.blend
    for _ in range(ROUNDS):
        dense = rounded(path, blend, STEP * min(1.0, blend / config.blend * 2.0))
        step = np.diff(dense, axis=0)
        s = np.concatenate([[0.0], np.cumsum((np.abs(step) / (config.share * robot.velocity)).max(axis=1))])
        result = time_parametrised(s, dense, robot.velocity, robot.acceleration, robot.jerk, config.share, config.rate)
        qd = result.qd.copy()
        qd[[0, -1]] = 0.0  # what is left there is rounding
        trajectory = slowed(
            JointTrajectory(robot.joint_names, result.t, result.q, qd, np.full(len(result.t), opening)), robot, checker, config
        )
        contact = checker.contact_along(motion_through(trajectory.t, trajectory.q, trajectory.qd))
        if contact is None:
            return trajectory
        blend *= 0.5
    assert contact is not None
    raise NoPathFound(
        f"a path was found, but timed it brings link '{contact.first}' within {contact.distance:.4g} m of '{contact.second}' "
        f"({config.clearance:.4g} m is kept), with corners rounded from {2.0 * blend:.3g} rad: "
        "lower the clearance or try another seed"
    )


def rounded(path: Float[ndarray, "N J"], blend: float, step: float) -> Float[ndarray, "S J"]:
    """A polyline with its corners rounded from at most `blend` [rad] before and after, sampled at most `step` [rad] apart."""
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    path = path[np.concatenate([[True], lengths > 1e-6])]
    if len(path) < 2:
        return np.vstack([path, path])
    lengths = np.linalg.norm(np.diff(path, axis=0), axis=1)
    pieces, last = [path[:1]], path[0]
    for k in range(1, len(path) - 1):
        reach = min(blend, 0.5 * lengths[k - 1], 0.5 * lengths[k])
        enter = path[k] + (path[k - 1] - path[k]) * (reach / lengths[k - 1])
        leave = path[k] + (path[k + 1] - path[k]) * (reach / lengths[k])
        pieces.append(_line(last, enter, step))
        x = np.linspace(0.0, 1.0, int(np.ceil(2.0 * reach / step)) + 2)[1:, None]
        pieces.append((1.0 - x) ** 2 * enter + 2.0 * x * (1.0 - x) * path[k] + x**2 * leave)
        last = leave
    pieces.append(_line(last, path[-1], step))
    dense = np.concatenate(pieces)
    keep = np.concatenate([[True], np.linalg.norm(np.diff(dense, axis=0), axis=1) > 1e-5])
    keep[-1] = True
    dense = dense[keep]
    if len(dense) > 2 and np.linalg.norm(dense[-1] - dense[-2]) <= 1e-5:
        dense = np.delete(dense, -2, axis=0)
    return dense


def _line(a: ndarray, b: ndarray, step: float) -> ndarray:
    """Points after `a` up to `b`."""
    x = np.linspace(0.0, 1.0, int(np.ceil(np.linalg.norm(b - a) / step)) + 1)[1:, None]
    line: ndarray = a + x * (b - a)
    return line


def slowed(motion: JointTrajectory, robot: RobotModel, checker: EdgeChecker, config: PlannerConfig) -> JointTrajectory:
    """The motion, as many times slower as what is streamed needs to keep the limits and the speed of the points.

    What is streamed are quintics through the samples; between them their jerk passes that of the timed path.

    Raises:
        InvalidInput: it keeps them at no speed that was tried.
    """
    factor = 1.0
    if config.point_speed is not None:
        body, streamed = checker.checker.body, motion_through(motion.t, motion.q, motion.qd)
        _, speed, _ = fastest_point(body.chain, body.hull, streamed, pose_of(body.chain), LOOK, np.inf)
        factor = max(1.0, 1.005 * speed / config.point_speed)
    share = min(1.0, STREAMED * config.share)
    limits = ((VELOCITY, share * robot.velocity), (ACCELERATION, share * robot.acceleration), (JERK, share * robot.jerk))

    def kept(factor: float) -> bool:
        streamed = motion_through(factor * motion.t, motion.q, motion.qd / factor)
        return all(first_beyond(streamed, order, -limit, limit)[0] < 0 for order, limit in limits)

    least = least_slowing(kept, factor)
    if least is None:
        raise InvalidInput(
            f"the timed path keeps {share:.3g} of the limits of '{robot.name}' not even {factor * SLOWING**SLOWINGS:.2f} times "
            f"slower: raise the rate ({config.rate} 1/s)"
        )
    return slower(motion, least)
