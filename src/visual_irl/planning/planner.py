"""What a planner is asked, and what becomes of its answer: a timed motion that was checked as it will be streamed."""

from __future__ import annotations

from itertools import pairwise
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import PlanningFailed
from visual_irl.robots.collision import checker_of
from visual_irl.robots.interpolation import motion_through
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.timing import blend
from visual_irl.types import JointTrajectory

SPEED_SHARE = 0.7
"""Share of the robot's limits that a planned motion uses."""
JERK_SHARE = 0.85
"""Share of that for the jerk: what is streamed between samples passes the planned one."""
RATE = 100.0
"""Samples a second of a planned motion [1/s]."""


@runtime_checkable
class Planner(Protocol):
    """Finds joint paths."""

    def plan(
        self, robot: RobotModel, world: World, q_start: Float[ndarray, "J"], goals: Float[ndarray, "G J"], seed: int = 0
    ) -> Float[ndarray, "N J"]:
        """Corners of a path [rad] from `q_start` to one of `goals`, straight in joint space between them.

        Raises:
            PlanningFailed: the start or every goal is outside the limits or in collision, or no path was found in time.
        """
        ...


def planned_motion(
    planner: Planner,
    robot: RobotModel,
    world: World,
    q_start: Float[ndarray, "J"],
    goals: Float[ndarray, "G J"],
    opening: float,
    clearance: float = 0.005,
    resolution: float = 0.002,
    seed: int = 0,
) -> JointTrajectory:
    """A motion from rest at `q_start` [rad] to rest at one of `goals` with the gripper at `opening` [m].

    It rests at every corner, so that it never leaves the straight pieces that were planned; then it is checked once more as it
    will be streamed, with `clearance` [m] kept from everything and at most `resolution` [m] of motion between two checks.

    Raises:
        PlanningFailed: there is no path, or the timed motion comes too near to something.
    """
    corners = planner.plan(robot, world, q_start, goals, seed)
    limits = (robot.velocity, robot.acceleration, JERK_SHARE * robot.jerk, SPEED_SHARE, RATE)
    ts, qs, qds, clock = [np.zeros(1)], [corners[:1]], [np.zeros_like(corners[:1])], 0.0
    for a, b in pairwise(corners):
        t, q, qd = blend(a, b, *limits)
        ts.append(clock + t[1:])
        qs.append(q[1:])
        qds.append(qd[1:])
        clock += float(t[-1])
    t, q, qd = np.concatenate(ts), np.concatenate(qs), np.concatenate(qds)
    contact = checker_of(robot, world).contact_along(motion_through(t, q, qd), clearance, resolution)
    if contact is not None:
        raise PlanningFailed(
            f"{contact.time:.2f} s after its start the planned motion of '{robot.name}' brings '{contact.first}' to "
            f"{contact.distance:.4f} m of '{contact.second}', at least {clearance} m are kept: plan with more clearance"
        )
    return JointTrajectory(robot.joint_names, t, q, qd, np.full(len(t), opening))
