"""The verb `map` on files: what is mapped, where the robot stands, and what is written about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy import ndarray

from visual_irl import se3
from visual_irl.config import load_config
from visual_irl.errors import InvalidInput, NoPathFound, RefusedTrajectory, Unreachable
from visual_irl.evaluation import pictures as draw
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import RobotState
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file, require_writable_folder
from visual_irl.io.motion import load_motion
from visual_irl.mapping.feasibility import Outlook, look
from visual_irl.mapping.human_arm import anchored, arm_of_motion, densified, observed_arm
from visual_irl.mapping.placement import Placement, calibrate_mount, placed_arm
from visual_irl.mapping.retarget import ON_TABLE, STEADY, MappingReport, RetargetConfig, retarget, retarget_at_work
from visual_irl.mapping.targets import tool_rotation
from visual_irl.policy.hand_path import PolicyConfig
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.tasks import load_task
from visual_irl.tasks.surroundings import surroundings
from visual_irl.types import Demonstration, HandPlan, HumanArmTrajectory, JointTrajectory
from visual_irl.verbs.base_room import remark_of_base
from visual_irl.verbs.console import progress_bar, say
from visual_irl.verbs.stages import things_in

if TYPE_CHECKING:
    from visual_irl import pipeline

MAPPING_RATE = 40.0
"""Samples a second at which a demonstrated arm is mapped [1/s]."""
TRIED = 32
"""Ways of a skill that are mapped, of those that look possible."""
SLOW = 1.5
"""A motion so many times as long as the demonstrated one is remarked on."""
PER_FRAME = (
    "t", "q", "position_error", "rotation_error", "upper_error", "fore_error", "reachable", "joined", "observed",
    "robot_points", "smoothed_position", "smoothed_rotation",
)  # fmt: skip


@dataclass(frozen=True)
class Skilled:
    """A skill, and the demonstration with whose objects it does its task."""

    skill: pipeline.Skill
    demo: Demonstration


@dataclass(frozen=True)
class Mapped:
    """What is mapped: an arm, and what is known about the world that it moves in."""

    what: str
    arm: HumanArmTrajectory
    inputs: dict[str, Path]
    free: bool
    """Nothing but the arm is known: it may be moved and scaled."""
    elbow_up: bool = False
    start: ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)
    held: tuple[tuple[int, int, str], ...] = ()
    """What is in the hand from which frame to which."""
    skilled: Skilled | None = None
    """Whose work it is; none where only an arm is followed."""

    @property
    def usual(self) -> RetargetConfig:
        """How it is mapped unless something else is asked for."""
        if self.skilled is None:
            return RetargetConfig()
        return STEADY if self.skilled.skill.steady else ON_TABLE


def map_arm(
    robot_name: str,
    out: Path,
    *,
    demonstration: Path | None = None,
    motion: Path | None = None,
    skill: Path | None = None,
    mount: tuple[float, float, float, float] | None = None,
    calibrate: bool = False,
    side: str | None = None,
    pictures: Path | None = None,
    config_file: Path | None = None,
    smooth_hand: float | None = None,
) -> None:
    """Map an arm onto a robot; see `visual-irl map --help`. `smooth_hand` is in seconds."""
    if (demonstration is None) == (motion is None):
        raise InvalidInput("name one thing to map: a demonstration file, or a motion file with --motion")
    if motion is not None and skill is not None:
        raise InvalidInput("--skill needs a demonstration for its objects; a motion file holds only an arm")
    if motion is None and side is not None:
        raise InvalidInput("--side is for a motion file that does not say it; a demonstration does: extract --side")
    if mount is not None and calibrate:
        raise InvalidInput("--mount says where the base stands and --calibrate-mount searches for it; give one of them")
    robot = load_robot(robot_name)
    require_writable_file(out)
    if pictures is not None:
        require_writable_folder(pictures, "--pictures")

    def configured(usual: RetargetConfig) -> RetargetConfig:
        config = load_config(usual, config_file)
        return config if smooth_hand is None else replace(config, smooth_hand=smooth_hand)

    configured(RetargetConfig())  # a wrong option is told before any file is read
    mapped = _motion(motion, side) if motion is not None else _demonstration(demonstration, skill)  # type: ignore[arg-type]
    config = configured(mapped.usual)
    placement = _placement(mapped, robot, mount, calibrate or skill is None)
    if note := _remark_of_base(mapped, robot, placement):
        say(note)
    config = replace(config, elbow_up=mapped.elbow_up)
    if not mapped.elbow_up:  # nothing is known of what stands around the arm
        config = replace(config, table=None)
    mapped, (trajectory, report) = _followed(mapped, robot, placement, config)
    arm = placed_arm(mapped.arm, placement)
    summary = report.summary()
    header = {
        "robot": robot.name, "T_world_base": placement.T_world_base, "tool_yaw": placement.tool_yaw,
        "scale": placement.arm_scale or 1.0, "summary": summary, "task": "", "phases": [], "objects": {}, "fixtures": {},
        "held": [[*report.trajectory_t[[a, b]].tolist(), name] for a, b, name in mapped.held], **mapped.about,
    }  # fmt: skip
    human = np.stack([arm.shoulder, arm.elbow, arm.wrist, arm.Ts_world_hand[:, :3, 3]], axis=1)
    per_frame = {f"frame_{name}": getattr(report, name) for name in PER_FRAME}
    per_frame["frame_T_base_tcp"] = _tool_targets(arm, placement)
    artifacts.save_trajectory(out, trajectory, header, frame_human_points=human, **per_frame)
    artifacts.write_sidecar(out, config, mapped.inputs)
    if pictures is not None:
        draw.plot_arms(pictures / f"arms_{robot.name}.png", arm, report, robot.name, mapped.elbow_up)
        draw.plot_tracking(pictures / f"mapping_{robot.name}.png", report)
    say(_said(mapped, placement, report, robot.name, skill is None and motion is None))
    if note := remark_of_slowness(report, config.smooth_hand):
        say(note)
    say(f"wrote {out}" + (f" and pictures to {pictures}" if pictures else ""))


def _motion(path: Path, side: str | None) -> Mapped:
    motion = load_motion(path, side)
    return Mapped(f"the {motion.side} arm of {path.name}", arm_of_motion(motion), {"motion": path}, True, False, motion.start)


def _demonstration(path: Path, skill_path: Path | None) -> Mapped:
    """The demonstrated arm, or what a skill does with the demonstration's objects, as the person would."""
    demo = artifacts.load_demonstration(path)
    if skill_path is not None:
        from visual_irl import pipeline

        skill = pipeline.load_skill(skill_path)
        inputs = {
            "demonstration": path,
            "reward": skill_path / pipeline.REWARD_FILE,
            "motion": skill_path / pipeline.MOTION_FILE,
        }
        return _done(Skilled(skill, demo), pipeline.plan(skill, demo, PolicyConfig()), inputs)
    free = demo.frame != "world"
    arm = densified(observed_arm(demo), MAPPING_RATE)
    return Mapped("the demonstrated arm", anchored(arm) if free else arm, {"demonstration": path}, free, about=_about(demo))


def _about(demo: Demonstration) -> dict[str, Any]:
    return {"task": demo.task, "objects": things_in(demo), "fixtures": demo.fixtures}


def _done(skilled: Skilled, way: pipeline.Way, inputs: dict[str, Path]) -> Mapped:
    """What a skill does in some way."""
    plan, arm = way
    about = _about(skilled.demo) | {"phases": [p for i, p in enumerate(plan.phase) if i == 0 or p != plan.phase[i - 1]]}
    count = len(skilled.demo.objects)
    what = f"what the skill does with {count} object{'' if count == 1 else 's'}"
    return Mapped(what, arm, inputs, False, True, about=about, held=_in_hand(plan), skilled=skilled)


def _in_hand(plan: HandPlan) -> tuple[tuple[int, int, str], ...]:
    """First and last sample in which each thing is in the closed hand without a break."""
    rows: list[tuple[int, int, str]] = []
    for k, (held, grip) in enumerate(zip(plan.held, plan.grip, strict=True)):
        name = held if grip > 0.5 else ""
        if name and rows and rows[-1][1:] == (k - 1, name):
            rows[-1] = (rows[-1][0], k, name)
        elif name:
            rows.append((k, k, name))
    return tuple(rows)


def _followed(
    mapped: Mapped, robot: RobotModel, placement: Placement, config: RetargetConfig
) -> tuple[Mapped, tuple[JointTrajectory, MappingReport]]:
    """What the robot does, and how. Where what it holds is to be kept steady it is the way that `_steady_ways` has first and
    that the guard approves as one motion.

    Raises:
        Unreachable: too little is in reach, or there is no such way.
    """
    skilled, T_world_base = mapped.skilled, placement.T_world_base

    def retargeted(arm: HumanArmTrajectory) -> tuple[JointTrajectory, MappingReport]:
        with progress_bar(f"mapping onto the {robot.name}", "frame") as show:
            if skilled is None or skilled.skill.steady:
                return retarget(placed_arm(arm, placement), robot, T_world_base, config, show, mapped.start)
            return retarget_at_work(placed_arm(arm, placement), robot, T_world_base, config, show)

    if skilled is None or not skilled.skill.steady:
        return mapped, retargeted(mapped.arm)
    world = surroundings(load_task(skilled.demo.task).scene_of(things_in(skilled.demo), skilled.demo.fixtures), T_world_base)
    reasons: list[str] = []
    for way in islice(_steady_ways(skilled, robot, placement, config, world, reasons), TRIED):
        try:
            trajectory, report = retargeted(way[1])
            if not (report.reachable.all() and report.joined[1:].all()):
                raise Unreachable("mapped frame by frame it is not in reach without a change of branch")
            approve(trajectory, robot, RobotState.at_rest(robot.joint_names, trajectory.q[0]), world, SIMULATED)
        except (Unreachable, RefusedTrajectory) as error:
            reasons.append(str(error))
            continue
        return _done(skilled, way, mapped.inputs), (trajectory, report)
    raise Unreachable(
        f"'{robot.name}' can do this in none of the {len(reasons)} ways that were looked at, the first because {reasons[0]}, "
        f"the last because {reasons[-1]}: move the base with --mount, or show the task with things elsewhere"
    )


def _steady_ways(
    skilled: Skilled, robot: RobotModel, placement: Placement, config: RetargetConfig, world: World, reasons: list[str]
) -> Iterator[pipeline.Way]:
    """A skill's ways that look possible for the robot, the most human of a few first; why others do not goes to `reasons`."""
    from visual_irl import pipeline

    with progress_bar("looking for a way", "way") as show:

        def outlook(arm: HumanArmTrajectory) -> Outlook:
            seen = look(placed_arm(arm, placement), robot, placement.T_world_base, world, config)
            reasons.extend([seen.obstacle] if seen.obstacle else [])
            show(len(reasons), 0)
            return seen

        try:
            yield from pipeline.ways(skilled.skill, skilled.demo, PolicyConfig(), outlook)
        except NoPathFound as error:
            reasons.append(str(error))


def _placement(mapped: Mapped, robot: RobotModel, mount: tuple[float, float, float, float] | None, search: bool) -> Placement:
    """Where the base stands: as told, searched for, or at the robot's standard place."""
    if mount is not None:
        return Placement(base_pose(mount), 0.0, None, 0.0, float("nan"))
    if not search:
        return Placement(np.array(robot.T_world_base), 0.0, None, 0.0, float("nan"))
    with progress_bar(f"where to put the {robot.name}", "place") as show:
        found = calibrate_mount(mapped.arm, robot, mapped.free, mapped.start, not mapped.elbow_up, show)
    x, y, z = found.T_world_base[:3, 3]
    up = found.T_world_base[:3, 2]
    say(
        f"base at ({x:.2f}, {y:.2f}, {z:.2f}) m, its axis along ({up[0]:.2f}, {up[1]:.2f}, {up[2]:.2f}), tool turned by "
        f"{np.degrees(found.tool_yaw):.0f} degrees: {100 * found.reachable:.1f} % of the judged frames are reachable"
    )
    return found


def _remark_of_base(mapped: Mapped, robot: RobotModel, placement: Placement) -> str:
    """What stands in the base of the robot, where it is known what stands there."""
    if mapped.free or not mapped.about:
        return ""
    try:
        scene = load_task(mapped.about["task"]).scene_of(mapped.about["objects"], mapped.about["fixtures"])
    except InvalidInput:  # not all was seen: an arm is mapped all the same
        return ""
    return remark_of_base(scene, robot, placement.T_world_base)


def _tool_targets(arm: HumanArmTrajectory, placement: Placement) -> ndarray:
    """Tool pose wanted in the base frame, of every frame (T, 4, 4)."""
    Ts: ndarray = se3.inverse(placement.T_world_base) @ np.array(arm.Ts_world_hand)
    Ts[:, :3, :3] = tool_rotation(Ts[:, :3, :3])
    return Ts


def _said(mapped: Mapped, placement: Placement, report: MappingReport, robot: str, seen: bool) -> str:
    """One line about the result."""
    s = report.summary()
    arm, scale = mapped.arm, placement.arm_scale
    shown = arm.t[-1] - arm.t[0]
    return (
        f"{mapped.what} on the {robot}: {100 * s['reachable']:.1f} % of {s['frames']:.0f} frames exact (hand within "
        f"{s['position_mm_max']:.2f} mm), upper arm {s['upper_deg_mean']:.0f} and forearm {s['fore_deg_mean']:.0f} degrees "
        f"from the person's{' (its elbow mirrored upwards)' if mapped.elbow_up else ''}, {shown * s['slowdown']:.1f} s for a "
        f"motion of {shown:.1f} s"
        + (f", changes of branch: {s['branch_changes']:.0f}" if s["branch_changes"] else "")
        + (f", arm scaled by {scale:.2f}" if scale is not None else "")
        + (
            f"; its hand's path was smoothed, which moved it by {s['smoothed_mm_mean']:.1f} mm (at most "
            f"{s['smoothed_mm_max']:.1f} mm and {s['smoothed_deg_max']:.1f} degrees)"
            if s["smoothed_mm_max"] > 0.0
            else ""
        )
        + (f"; the arm was seen in {100 * s['observed']:.0f} % of them, the rest is bridged" if seen else "")
    )


def remark_of_slowness(report: MappingReport, smooth_hand: float) -> str:
    """What to do about a motion that takes much longer than the demonstrated one; empty where nothing is to be done."""
    if report.slowdown <= SLOW or smooth_hand > 0.0:
        return ""
    return (
        f"note: {report.slowdown:.1f} times as long as shown: a hand so noisy or so fast asks for more than the arm's speed, "
        "acceleration or jerk; with --smooth-hand-ms 60 the arm follows a smoothed path, mostly much sooner"
    )


def base_pose(mount: tuple[float, float, float, float]) -> ndarray:
    """World pose of a base that stands upright at x, y, z [m], turned by yaw [rad]."""
    x, y, z, yaw = mount
    if not np.isfinite(mount).all():
        raise InvalidInput(f"--mount is {mount}, expected x y z [m] and yaw [rad], finite")
    return se3.transform(se3.exp_so3(np.array([0.0, 0.0, yaw])), np.array([x, y, z]))
