"""The motion that the node `skill` offers: of a trajectory file, or planned anew for a demonstration. No ROS here."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visual_irl.errors import InvalidInput
from visual_irl.io.artifacts import load_demonstration, load_trajectory
from visual_irl.robots.model import RobotModel
from visual_irl.types import JointTrajectory


def motion_of(path: Path, robot: RobotModel) -> JointTrajectory:
    """The motion of a trajectory file of `visual-irl map`.

    Raises:
        InvalidInput: it was mapped for another robot, or does a task from a base elsewhere than the robot's, against whose
            surroundings the node `executor` would judge it.
    """
    motion, about, _ = load_trajectory(path)
    if about["robot"] != robot.name:
        raise InvalidInput(f"'{path}' was mapped for '{about['robot']}', the parameter robot is '{robot.name}': map again")
    if about["task"] and not np.allclose(about["T_world_base"], robot.T_world_base, atol=1e-6):
        place = ", ".join(f"{x:.3f}" for x in np.array(about["T_world_base"])[:3, 3])
        raise InvalidInput(
            f"'{path}' was mapped for a base at ({place}) m, and the executor watches over one at its standard place: map it "
            "without --mount and --calibrate-mount, or execute it by `visual-irl run`"
        )
    return motion


def planned_motion(skill: Path, demonstration: Path, robot: RobotModel) -> JointTrajectory:
    """The motion of a skill among the objects of a demonstration, from the robot's standard place."""
    from visual_irl import pipeline
    from visual_irl.mapping.retarget import retarget_at_work
    from visual_irl.policy.hand_path import PolicyConfig

    demo = load_demonstration(demonstration)
    _, arm = pipeline.plan(pipeline.load_skill(skill), demo, PolicyConfig())
    return retarget_at_work(arm, robot, robot.T_world_base)[0]
