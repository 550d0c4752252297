"""What `visual-irl run` is asked to do: its options, the motion with its skill's seal, its world, and the way to its start."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visual_irl.errors import InvalidInput, MissingFile, RefusedTrajectory, UnreadableFile
from visual_irl.execution import ARMS
from visual_irl.execution.arm import Arm
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory, GuardConfig, SkillSeal, approve
from visual_irl.io import artifacts
from visual_irl.pipeline import MOTION_FILE, REWARD_FILE
from visual_irl.planning.ompl_planner import OmplPlanner
from visual_irl.planning.planner import PlannerConfig
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.tasks.mapped_motion import MappedMotion, read_mapped_motion
from visual_irl.types import JointTrajectory
from visual_irl.verbs import stages

SIMULATION = "mujoco"


def require_executor(name: str) -> None:
    """Refuse an executor that is not there.

    Raises:
        InvalidInput: Lists those that are.
    """
    if name != SIMULATION and name not in ARMS.names:
        known = ", ".join((SIMULATION, *ARMS.names))
        raise InvalidInput(f"unknown executor '{name}'; known: {known} (ros2_control: run the ROS nodes, docs/ros.md)")


@dataclass(frozen=True)
class RunOptions:
    """How a skill is run."""

    robot: str
    executor: str = SIMULATION
    address: str | None = None
    trajectory: Path | None = None
    demonstration: Path = Path("out/demonstration.npz")
    world: Path | None = None
    out: Path = Path("out/run")
    speed: float = 0.25
    """Share of the planned speed."""
    allow_motion: bool = False
    yes: bool = False
    preview: bool = True
    gripper: bool = True
    """Drive a real arm's gripper too."""
    recover: bool = False
    """Ask a real arm to clear its own errors first."""

    def __post_init__(self) -> None:
        if not 0.0 < self.speed <= 1.0:
            raise InvalidInput(f"--speed is {self.speed}, must lie in (0, 1]: a share of the planned speed")
        require_executor(self.executor)
        if self.simulated:
            return
        if not self.allow_motion:
            raise InvalidInput(f"--executor {self.executor} moves a real arm: add --allow-motion when the cell is clear")
        if self.address is None:
            raise InvalidInput(f"--executor {self.executor} needs the robot's address: --address 192.168.1.10")
        if not self.yes and not sys.stdin.isatty():
            raise InvalidInput("nobody can be asked before the arm moves: run this in a terminal, or say --yes")

    @property
    def simulated(self) -> bool:
        """Whether nothing real moves."""
        return self.executor == SIMULATION


@dataclass(frozen=True, eq=False)
class Plan:
    """A motion with the seal of its skill, and the guard's bounds for it."""

    motion: MappedMotion
    seal: SkillSeal
    config: GuardConfig

    @property
    def robot(self) -> RobotModel:
        """The arm that moves."""
        return self.motion.robot

    @property
    def trajectory(self) -> JointTrajectory:
        """How it moves."""
        return self.motion.trajectory

    @property
    def planner(self) -> PlannerConfig:
        """How motions are planned here: no faster beside people than the guard allows."""
        people = self.config.collaboration
        return PlannerConfig(point_speed=None if people is None else people.speed_limit)

    def approved(self, arm: Arm) -> ApprovedTrajectory:
        """The motion from where the arm is now; the guard's reason when it must not be."""
        motion = self.motion
        return approve(
            motion.trajectory, motion.robot, arm.read(), motion.world, self.config, arm.now_ns(), self.seal, motion.held
        )

    def approach(self, arm: Arm) -> Approach | None:
        """The way from where the arm stands to the start of the motion, around everything; none when it stands there.

        Raises:
            InCollision, NoPathFound: the arm touches something at either end, or there is no way.
        """
        state, start = arm.read(), self.trajectory.q[0]
        here = state.q if state.q_target is None else state.q_target
        off = np.abs(here - start)
        if (off <= self.config.start_distance).all():
            return None
        world = self.motion.world_before
        way = OmplPlanner(self.robot, self.planner).plan(here, start, world, float(self.trajectory.opening[0]))
        return Approach(way, self, world, float(off.max()))


@dataclass(frozen=True, eq=False)
class Approach:
    """A planned way to the start of a plan's motion."""

    trajectory: JointTrajectory
    plan: Plan
    world: World
    distance: float
    """How far the farthest joint is from the start [rad]."""

    def approved(self, arm: Arm) -> ApprovedTrajectory:
        """The way from where the arm is now; the guard's reason when it must not be."""
        return approve(self.trajectory, self.plan.robot, arm.read(), self.world, self.plan.config, arm.now_ns())


def plan_of(skill: Path, file: Path, options: RunOptions) -> Plan:
    """A trajectory file with its scene and the seal of its skill.

    Raises:
        InvalidInput: mapped for another robot, or without a task.
        RefusedTrajectory: it was changed after it was mapped, or not made with a skill.
    """
    motion = read_mapped_motion(file, load_robot(options.robot))
    if not motion.task:
        raise InvalidInput(f"'{file}' maps a bare motion: run needs what a skill does, `visual-irl map --skill`")
    config = SIMULATED if options.simulated else GuardConfig()
    return Plan(stages.placed_in(motion, options.world), seal_of(skill, file), config)


def seal_of(skill: Path, file: Path) -> SkillSeal:
    """Which skill a trajectory was made with, by the record beside it, and the one that is there.

    Raises:
        MissingFile: the skill, or the record.
        RefusedTrajectory: the trajectory is not the one of the record, or no skill made it.
    """
    record = artifacts.sidecar_of(file)
    if not record.is_file():
        raise MissingFile(
            f"'{record}' is not there: it says which skill made '{file}'; make both with `visual-irl map --skill`"
        )
    try:
        content = json.loads(record.read_text())
        stated, inputs = content["sha256"], content["inputs"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(
            f"'{record}' is no record of a mapping: {error}; map again with `visual-irl map --skill`"
        ) from error
    if stated != artifacts.digest(file):
        raise RefusedTrajectory(f"'{file}' is not the one that '{record}' was written for: it was changed; map again")
    if not {"reward", "motion"} <= set(inputs):
        raise RefusedTrajectory(f"'{file}' was not made with a skill; `visual-irl map --skill {skill}` makes one")
    found = []
    for name in (REWARD_FILE, MOTION_FILE):
        if not (skill / name).is_file():
            raise MissingFile(f"no skill in '{skill}': {name} is missing; `visual-irl learn` makes one")
        found.append(artifacts.digest(skill / name))
    made_with = [inputs["reward"]["sha256"], inputs["motion"]["sha256"]]
    return SkillSeal(skill.name, _joint_digest(made_with), _joint_digest(found))


def _joint_digest(digests: list[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()
