"""Whether an arm could follow a motion at all, told from few of its frames: what a whole mapping would find out slowly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.mapping.branch_path import best_path
from visual_irl.mapping.offline import limb_errors
from visual_irl.mapping.retarget import RetargetConfig, table_of
from visual_irl.mapping.targets import cut, targets_of
from visual_irl.robots.collision import checker_of
from visual_irl.robots.interpolation import motion_through
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.solutions import solver_of
from visual_irl.types import HumanArmTrajectory

LOOKS = 8.0
"""Frames a second that are looked at [1/s]."""
STRIDE = 0.8
"""Largest joint step between two of them [rad]: more is a change of branch."""
ROOM = 0.0055
"""Distance from things that is asked for [m]: a little more than the guard does, as between two looks the path is guessed."""
RESOLUTION = 0.004
"""What the arm moves between two checks where it is near something [m], at most `ROOM`."""


@dataclass(frozen=True)
class Outlook:
    """What can be told of a motion before it is mapped."""

    obstacle: str
    """Why the arm cannot follow without a change of branch or a collision; '' where nothing speaks against it."""
    unlikeness: float
    """Mean angle of upper arm and forearm to the person's, together [rad]."""
    follows: bool
    """Whether it can follow without a change of branch, whatever it may touch; where not, it cannot follow a longer motion."""


def look(
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    world: World,
    config: RetargetConfig,
    q_start: Float[ndarray, "J"] | None = None,
) -> Outlook:
    """How it looks for an arm that is to follow a motion, from `q_start` [rad] where that is given."""
    targets = targets_of(arm, robot, T_world_base, config.elbow_up)
    rows = np.unique(np.r_[0 : len(arm.t) : max(1, round(1.0 / (LOOKS * targets.interval()))), len(arm.t) - 1])
    few = cut(targets, rows)
    solver = solver_of(robot, config.offline.margin, table=table_of(config, T_world_base))
    q, solved = best_path(solver, few, config.offline.costs._replace(step=STRIDE), q_start=q_start)
    unlikeness = float(np.nanmean(limb_errors(robot, few, q).sum(axis=1)))
    broken = _broken(few.t, q, solved)
    return Outlook(broken or _contact(few.t, q, robot, world), unlikeness, not broken)


def _broken(t: ndarray, q: ndarray, solved: ndarray) -> str:
    if not solved.all():
        return f"{int((~solved).sum())} of {len(t)} poses are out of reach, the first at {t[np.argmin(solved)]:.1f} s"
    steps = np.abs(np.diff(q, axis=0)).max(axis=1)
    return f"the arm changes its branch at {t[int(np.argmax(steps))]:.1f} s" if steps.max(initial=0.0) > STRIDE else ""


def _contact(t: ndarray, q: ndarray, robot: RobotModel, world: World) -> str:
    """What the arm touches on its way, between the frames that were looked at, too: a hand moves by centimetres there."""
    motion = motion_through(t, q, np.gradient(q, t, axis=0))
    contact = checker_of(robot, world).contact_along(motion, ROOM, RESOLUTION)
    if contact is None:
        return ""
    return f"'{contact.first}' is {1e3 * contact.distance:.0f} mm from '{contact.second}' at {contact.time:.1f} s"
