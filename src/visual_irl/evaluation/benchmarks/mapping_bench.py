"""The mapping benchmark: our mappers and their rivals on the same targets, in one run, frame by frame.

Times are the thread's own, so that what else the machine does counts only by the caches that it empties. Frame-by-frame
methods take turns in blocks of frames, so that this meets all of them alike; garbage is not collected meanwhile, as in
`timeit`. All start every segment from the offline mapper's joint angles, so that no rival is
handicapped by its first branch. Compiled code is warmed up before, on other targets.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.evaluation.benchmarks.mapping_pictures import plot_mapping
from visual_irl.evaluation.benchmarks.mapping_score import Samples, figures, measure, pooled
from visual_irl.evaluation.mapping_peers import PEERS, Follower, Target
from visual_irl.io.atomic import atomic_path, require_writable_file, require_writable_folder
from visual_irl.io.motion import ArmMotion, load_motion, motion_files
from visual_irl.mapping.human_arm import arm_of_motion
from visual_irl.mapping.offline import OfflineConfig, map_offline
from visual_irl.mapping.online import OnlineConfig, OnlineMapper
from visual_irl.mapping.placement import Placement, calibrate_mount, placed_arm, placed_targets
from visual_irl.mapping.prior import Prior, prior_of
from visual_irl.mapping.symbolic import symbolic_posture
from visual_irl.mapping.targets import ArmTargets, cut
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel

BLOCK = 200
"""Frames that a method maps before the next one's turn: caches are cold in the first of them, far below one in a hundred."""
REPEATS = 3
"""Times that every method maps a motion. A frame's time is the median of them."""
WARM_FRAMES = 40
"""Frames of the warm-up."""
WARM_SHIFT = 0.01
"""How far its targets lie from those that are measured [m]."""
OUT_OF_REACH = 5.0
"""Where its last targets lie, so that code for unreachable ones is compiled too [m]."""


class OnlineFollower:
    """Our online mapper; `share` of its speed and acceleration limits, infinite for an arm without inertia, as the rivals'.

    `core_ns` is what the compiled step took of the last frame's time, without the writing down of its target [ns].
    """

    def __init__(self, robot: RobotModel, prior: Prior | None, share: float = np.inf) -> None:
        self.mapper = OnlineMapper(robot, OnlineConfig(speed_share=share), prior)
        self.core_ns = 0

    def reset(self, q: Float[ndarray, "J"]) -> None:
        self.mapper.reset(q)

    def follow(self, target: Target) -> Float[ndarray, "J"]:
        self.mapper.aim(target.R, target.p, target.upper, target.fore, True, target.dt)
        began = time.thread_time_ns()
        self.mapper.advance()
        self.core_ns = time.thread_time_ns() - began
        return self.mapper.q


METHODS: dict[str, Callable[[RobotModel], Follower]] = {
    "ours_online": lambda robot: OnlineFollower(robot, prior_of(robot)),
    "ours_online_without_prior": lambda robot: OnlineFollower(robot, None),
    "ours_online_within_limits": lambda robot: OnlineFollower(robot, prior_of(robot), share=1.0),
    **PEERS,
}
"""Frame-by-frame methods: name -> function that sets one up for a robot."""
OFFLINE = "ours_offline"
SYMBOLIC = "symbolic_only"
"""The declared correspondence of joints alone, without inverse kinematics: what that adds is the difference to it."""
DRAWN = (OFFLINE, "ours_online")
"""Methods whose arms are drawn."""


@dataclass(frozen=True)
class MotionResult:
    """All methods on one motion."""

    name: str
    frames: int
    reachable: int
    """Frames that some joint angles reach."""
    placement: Placement
    samples: Mapping[str, Samples]


@dataclass(frozen=True)
class MappingBench:
    """The result of the benchmark for one robot."""

    robot: str
    motions: tuple[MotionResult, ...]
    folder: bool
    """Whether a folder was asked for, even one of a single file."""

    def methods(self) -> dict[str, dict[str, float | int | None]]:
        """Figures of every method, over all motions together."""
        names = self.motions[0].samples
        return {name: figures(pooled([motion.samples[name] for motion in self.motions])) for name in names}

    def as_json(self) -> dict[str, Any]:
        """The content of the result file."""
        content: dict[str, Any] = {
            "robot": self.robot,
            "frames": sum(motion.frames for motion in self.motions),
            "reachable": sum(motion.reachable for motion in self.motions),
            "methods": self.methods(),
        }
        if not self.folder:
            return {**content, "placement": _placement_json(self.motions[0].placement)}
        content["files"] = {
            motion.name: {
                "frames": motion.frames,
                "reachable": motion.reachable,
                "placement": _placement_json(motion.placement),
                "methods": {name: figures(samples) for name, samples in motion.samples.items()},
            }
            for motion in self.motions
        }
        return content

    def table(self) -> str:
        """All methods as text for people."""
        frames, reachable = (sum(getattr(motion, name) for motion in self.motions) for name in ("frames", "reachable"))
        lines = [
            f"{self.robot}: {reachable} of {frames} frames reachable; hand and limbs over those",
            f"{'method':<26}{'ok':>8}{'hand mm p50/p95/max':>24}{'upper/fore deg':>16}{'regret deg':>14}"
            f"{'jerk k':>8}{'between jumps':>15}{'way':>6}{'jumps':>7}{'avoidable':>11}{'limits':>8}{'us p50/p99':>15}"
            f"{'core p99':>10}",
        ]
        for name, f in self.methods().items():
            hand = "/".join(_text(f[key], 3 - i) for i, key in enumerate(("pos_mm_median", "pos_mm_p95", "pos_mm_max")))
            limbs = "/".join(_text(f[key], 1) for key in ("upper_deg", "fore_deg"))
            regret = "/".join(_text(f[key], 1, "+") for key in ("regret_upper_deg", "regret_fore_deg"))
            us = "/".join(_text(f[key], 0) for key in ("us_p50", "us_p99"))
            rough = (f[key] for key in ("jerk_rms", "jerk_rms_between_jumps"))
            jerk, between = (_text(None if value is None else value / 1e3, 1) for value in rough)
            lines.append(
                f"{name:<26}{_text(f['ok'], 4):>8}{hand:>24}{limbs:>16}{regret:>14}"
                f"{jerk:>8}{between:>15}{_text(f['way_relative'], 2):>6}{f['jumps']:>7}{f['avoidable_jumps']:>11}"
                f"{f['limit_violations']:>8}{us:>15}"
                f"{_text(f['core_us_p99'], 0):>10}"
            )
        return "\n".join(lines)


def bench_mapping(
    motion: Path,
    robot_name: str,
    json_out: Path,
    pictures: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> MappingBench:
    """Measure all methods on a motion file or on every one of a folder; writes `json_out` and a picture a motion.

    `progress` counts frames times methods times repetitions.

    Raises:
        MissingFile, UnreadableFile, InvalidInput: a motion file is not there or not one, or a prior is missing.
        UnknownName: no such robot.
        MissingDependency: a rival is not installed.
        UnwritableOutput: a result cannot be written.
    """
    robot = load_robot(robot_name)
    motions = [load_motion(file) for file in motion_files(motion)]
    require_writable_file(Path(json_out), "--json")
    if pictures is not None:
        require_writable_folder(pictures, "--pictures")
    followers = {name: make(robot) for name, make in METHODS.items()}
    turns = REPEATS * len(followers)
    total = turns * sum(len(m.t) for m in motions)
    results: list[MotionResult] = []
    for m in motions:
        before = turns * sum(result.frames for result in results)
        results.append(_on_motion(m, robot, followers, pictures, partial(_further, lambda done: progress(done, total), before)))
    bench = MappingBench(robot.name, tuple(results), Path(motion).is_dir())
    with atomic_path(json_out) as file:
        file.write_text(json.dumps(bench.as_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return bench


class Followed(NamedTuple):
    """A follower's frames."""

    q: Float[ndarray, "T J"]
    """Joint angles [rad]."""
    us: Float[ndarray, "T"]
    """Time [us]."""
    core_us: Float[ndarray, "T"]
    """The compiled core's share of it [us]; NaN where the follower does not say."""


def follow_in_turns(
    followers: Mapping[str, Follower],
    targets: ArmTargets,
    start: Float[ndarray, "T J"],
    progress: Callable[[int], None] = lambda done: None,
) -> dict[str, Followed]:
    """What each follower does in every frame; segments start from their row of `start`."""
    frames = len(targets.t)
    out = {name: Followed(np.empty_like(start), np.empty(frames), np.empty(frames)) for name in followers}
    dt = np.diff(targets.t, prepend=2.0 * targets.t[0] - targets.t[1]).tolist()
    names = list(followers)
    collecting = gc.isenabled()
    gc.disable()
    try:
        for block, first in enumerate(range(0, frames, BLOCK)):
            last = min(first + BLOCK, frames)
            shift = block % len(names)
            for turn, name in enumerate(names[shift:] + names[:shift]):
                follower, (q, us, core) = followers[name], out[name]
                for k in range(first, last):
                    if targets.start[k]:
                        follower.reset(start[k])
                    target = Target(
                        targets.R[k], targets.p[k], targets.upper[k], targets.fore[k], targets.posture[k], dt[k]
                    )  # fmt: skip
                    began = time.thread_time_ns()
                    angles = follower.follow(target)
                    us[k] = (time.thread_time_ns() - began) * 1e-3
                    core[k] = getattr(follower, "core_ns", np.nan) * 1e-3
                    q[k] = angles
                progress(first * len(names) + (turn + 1) * (last - first))
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return out


def _on_motion(
    motion: ArmMotion,
    robot: RobotModel,
    followers: Mapping[str, Follower],
    pictures: Path | None,
    progress: Callable[[int], None],
) -> MotionResult:
    """Place the robot, run every method, measure, draw."""
    arm = arm_of_motion(motion)
    placement = calibrate_mount(arm, robot, free=True, start=motion.start)
    targets = placed_targets(arm, robot, placement, start=motion.start)
    frames = len(targets.t)
    other = _warm_targets(targets)
    follow_in_turns(followers, other, map_offline(robot, other, OfflineConfig()).q)
    took, unknown = [], np.full(frames, np.nan)
    for _ in range(REPEATS):
        began = time.thread_time()
        offline = map_offline(robot, targets, OfflineConfig())
        took.append(time.thread_time() - began)
    paths = {OFFLINE: Followed(offline.q, np.full(frames, float(np.median(took)) * 1e6 / frames), unknown)}
    began = time.thread_time()
    symbolic = symbolic_posture(robot, targets.upper, targets.fore, targets.R, targets.start)
    paths[SYMBOLIC] = Followed(symbolic, np.full(frames, (time.thread_time() - began) * 1e6 / frames), unknown)
    runs: list[dict[str, Followed]] = []
    for _ in range(REPEATS):
        before = len(runs) * len(followers) * frames
        runs.append(follow_in_turns(followers, targets, offline.q, partial(_further, progress, before)))
    for name in followers:
        us, core_us = (np.median([getattr(run[name], what) for run in runs], axis=0) for what in ("us", "core_us"))
        paths[name] = Followed(runs[0][name].q, us, core_us)
    samples = {
        name: replace(measure(robot, targets, path.q, path.us, offline.reachable, offline.q), core_us=path.core_us)
        for name, path in paths.items()
    }
    if pictures is not None:
        plot_mapping(
            pictures / f"{motion.name}_{robot.name}.png", placed_arm(arm, placement), robot, placement.T_world_base,
            {name: paths[name].q for name in DRAWN if name in paths}, targets.start, offline.reachable,
        )  # fmt: skip
    return MotionResult(motion.name, frames, int(offline.reachable.sum()), placement, samples)


def _further(progress: Callable[[int], None], before: int, done: int) -> None:
    progress(before + done)


def _warm_targets(targets: ArmTargets) -> ArmTargets:
    """A few targets beside those that are measured, the last ones out of reach."""
    few = cut(targets, slice(0, WARM_FRAMES))
    p = few.p + WARM_SHIFT
    p[-2:] += OUT_OF_REACH
    return replace(few, p=p)


def _placement_json(placement: Placement) -> dict[str, Any]:
    return {
        "T_world_base": placement.T_world_base.tolist(),
        "tool_yaw": placement.tool_yaw,
        "arm_scale": placement.arm_scale,
        "hand_length": placement.hand_length,
        "reachable": placement.reachable,
    }


def _text(value: float | int | None, digits: int, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.{digits}f}"
