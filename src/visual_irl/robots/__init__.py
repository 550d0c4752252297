"""One file an arm: kinematics, limits and the correspondence to a human arm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from visual_irl.errors import pip_install
from visual_irl.registry import Registry

if TYPE_CHECKING:  # naming the robots must not load Pinocchio
    import visual_irl.robots.model

ROBOTS = Registry(
    "robots",
    {
        "fr3": ("visual_irl.robots.fr3:fr3", pip_install()),
        "panda": ("visual_irl.robots.panda:panda", pip_install()),
        "ur10e": ("visual_irl.robots.ur10e:ur10e", pip_install()),
        "ur5e": ("visual_irl.robots.ur5e:ur5e", pip_install()),
    },
)
"""Name -> function that returns the `RobotModel`."""


def load_robot(name: str) -> visual_irl.robots.model.RobotModel:
    """The arm registered as `name`.

    Raises:
        UnknownName: lists the known names.
    """
    robot: visual_irl.robots.model.RobotModel = ROBOTS.load(name)()
    return robot
