"""The motion that the node `skill` offers: of a trajectory file, or mapped anew for a demonstration. No ROS here."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.execution.collaboration import Collaboration
from visual_irl.execution.guard import SIMULATED
from visual_irl.planning.planner import PlannerConfig
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.mapped_motion import MappedMotion, read_mapped_motion

BESIDE_PEOPLE = PlannerConfig(point_speed=Collaboration().speed_limit)
"""How ways and detours are planned: no faster than the guard of a real arm allows."""

BASE = 1e-3
"""How far the base may stand [m] and be turned [rad] from where a motion was made for."""


class Offer(NamedTuple):
    """A motion, what it is called, and the SHA-256 of the skill that made it ("" where none did)."""

    name: str
    digest: str
    motion: MappedMotion


def offer_of(robot: RobotModel, trajectory: str, skill: str, demonstration: str) -> Offer:
    """The motion of a trajectory file, whose skill is given where it does a task; or what a skill does with a demonstration's
    objects from the robot's standard place. One that would collide is repaired.

    Raises:
        InvalidInput: another combination, or a motion for another robot.
        RefusedTrajectory: another skill made it, or it was changed since; or the guard has another reason.
        InCollision, NoPathFound: there is no way around what it would collide with.
    """
    if bool(trajectory) == bool(demonstration) or (demonstration and not skill):
        raise InvalidInput("give the parameter trajectory (of `visual-irl map`) and its skill, or a skill and a demonstration")
    if trajectory:
        file = Path(trajectory)
        return _of_file(file, file.stem, skill, robot)
    from visual_irl.verbs.map_stage import map_arm

    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{robot.name}.npz"
        map_arm(robot.name, file, demonstration=Path(demonstration), skill=Path(skill))
        return _of_file(file, Path(skill).name, skill, robot)


def _of_file(file: Path, name: str, skill: str, robot: RobotModel) -> Offer:
    motion = read_mapped_motion(file, robot)
    if not motion.task:
        return Offer(name, "", motion)
    if not skill:
        raise InvalidInput(f"'{file}' does a task: give the parameter skill, too, the folder of the skill that made it")
    from visual_irl.verbs.free_motion import free_of_collisions
    from visual_irl.verbs.run_plan import seal_of

    seal = seal_of(Path(skill), file)
    motion, _ = free_of_collisions(motion, SIMULATED, BESIDE_PEOPLE, seal)
    return Offer(name, seal.found, motion)


def checked(offer: Offer, T_world_base: ndarray) -> Offer:
    """The offer, if its motion was made for a base that stands at this pose (4, 4).

    Raises:
        InvalidInput: it was not; what stands around the arm would be judged to be where it is not.
    """
    made_for = offer.motion.T_world_base
    if not np.allclose(made_for, T_world_base, atol=BASE):
        there, here = (", ".join(f"{x:.3f}" for x in T[:3, 3]) for T in (made_for, T_world_base))
        raise InvalidInput(
            f"'{offer.name}' was made for a base at ({there}) m, this one stands at ({here}) m, or is turned: map it for where "
            "the base stands, or say to the executor where that is, with mount_xyz and mount_rpy"
        )
    return offer


def mount_of(xyz: str, rpy: str, robot: RobotModel) -> ndarray:
    """The base's pose (4, 4) in the world by "x y z" [m] and "r p y" [rad] as in URDF; the robot's standard one where both are
    empty.

    Raises:
        InvalidInput: not three finite numbers each.
    """
    if not xyz and not rpy:
        return np.array(robot.T_world_base)
    rows = []
    for name, text in (("mount_xyz", xyz), ("mount_rpy", rpy or "0 0 0")):
        try:
            row = np.array([float(word) for word in text.split()])
        except ValueError:
            row = np.zeros(0)
        if row.shape != (3,) or not np.isfinite(row).all():
            raise InvalidInput(f"{name} is '{text}', expected three numbers with blanks between them")
        rows.append(row)
    roll, pitch, yaw = (se3.exp_so3(angle * axis) for angle, axis in zip(rows[1], np.eye(3), strict=True))
    T: ndarray = se3.transform(yaw @ pitch @ roll, rows[0])
    return T
