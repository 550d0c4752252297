"""A minimum-jerk motion in joint angles, for tests that need an arm to move."""

from __future__ import annotations

import numpy as np
from numpy import ndarray

from visual_irl.robots.model import RobotModel
from visual_irl.types import JointTrajectory


def rest_to_rest(
    robot: RobotModel, start: ndarray, goal: ndarray, seconds: float, rate: float = 50.0, opening: float = 0.0
) -> JointTrajectory:
    """From `start` to `goal` [rad], at rest at both ends, with `rate` samples a second and the hand `opening` m open."""
    t = np.linspace(0.0, seconds, round(rate * seconds) + 1)
    s = (t / seconds)[:, None]
    q = start + (10 * s**3 - 15 * s**4 + 6 * s**5) * (goal - start)
    qd = (30 * s**2 - 60 * s**3 + 30 * s**4) * (goal - start) / seconds
    return JointTrajectory(robot.joint_names, t, q, qd, np.full(len(t), opening))
