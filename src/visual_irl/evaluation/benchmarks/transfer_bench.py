"""`visual-irl bench transfer`: a reward that was learned from people is optimised in a robot's own kinematics and limits.

Scripted people of different build sort onions; from their keypoints alone the progress reward and their posture are learned.
On the robot both are asked about the human hand and limbs that its arm stands for, and a planner (MPPI) maximises them with
joint speeds. Scored is what the task asks for: the onion in its bin, let go.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.benchmarks.kept_parts import KeptParts
from visual_irl.evaluation.spread import spread
from visual_irl.evaluation.statistics import bootstrap_interval, interquartile_mean
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file
from visual_irl.mapping.arm_task import ArmTask
from visual_irl.mapping.placement import Placement
from visual_irl.mapping.shown import shown_situations
from visual_irl.policy.mppi import Mppi, PlannedPolicy
from visual_irl.reward.posture import HumanLike, Posture
from visual_irl.reward.progress import Progress
from visual_irl.robots import load_robot
from visual_irl.tasks.batch import Policy, roll_out
from visual_irl.tasks.body import sample_body
from visual_irl.tasks.demonstrator import demonstrate
from visual_irl.tasks.kinematic_sorting import KinematicSorting
from visual_irl.tasks.onion_sorting import BLEMISHED, OnionSorting
from visual_irl.types import Demonstration

METHODS = ("ours", "reward_alone", "scripted_hand")
"""With the demonstrators' posture; without it; and the script that the task is made with, its hand followed by the arm."""


@dataclass(frozen=True)
class TransferBench:
    """What is measured."""

    robot: str = "panda"
    """Name of the robot."""
    demos: int = 10
    """Demonstrations of each seed."""
    seeds: int = 10
    """Independent runs: people, scenes, reward and episodes."""
    first_seed: int = 0
    """Seeds count from here."""
    shown: int = 4
    """Onions in a demonstration."""
    onions: int = 1
    """Onions in an episode of the robot."""
    episodes: int = 8
    """Episodes that score a policy."""
    progress: Progress = field(default_factory=Progress)
    """Learner of the reward."""
    aim: float = 0.33
    """Share of a place's demonstrated tolerance within which the robot lets go: people use all of a bin, up to its edge."""
    posture: float = 2.0
    """What a radian of the limbs' mean error costs, in steps of a demonstration."""
    mppi: Mppi = field(default_factory=lambda: Mppi(horizon=8, candidates=96))
    """The planner."""

    def __post_init__(self) -> None:
        load_robot(self.robot)
        for name in ("demos", "seeds", "shown", "onions", "episodes"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"bench transfer: {name} is {getattr(self, name)}; give at least 1")


def bench_transfer(
    config: TransferBench,
    out: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    address: str | None = None,
) -> dict[str, Any]:
    """Run every seed and write the summary to `out`; what was interrupted goes on where it was."""
    require_writable_file(out, "--json")
    kept = KeptParts(out, config)
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    todo = [(config, seed) for seed in seeds if str(seed) not in kept]
    progress(config.seeds - len(todo), config.seeds)
    for done, (i, run) in enumerate(spread(run_seed, todo, workers, address), config.seeds - len(todo) + 1):
        kept.keep(str(todo[i][1]), run)
        progress(done, config.seeds)
    content = summary(config, [kept[str(seed)] for seed in seeds])
    artifacts.write_json(out, content)
    kept.forget()
    return content


def run_seed(config: TransferBench, seed: int) -> dict[str, Any]:
    """Every method with one seed."""
    torch.set_num_threads(1)
    began = time.process_time()
    arm_task = task_for(config)
    demos = demonstrations(config, seed)
    shown = [shown_situations(d, arm_task.interval, BLEMISHED) for d in demos]
    reward, posture = config.progress.reward_of(shown), Posture.shown(shown)
    reward = replace(reward, strategy=replace(reward.strategy, tolerance=config.aim * reward.strategy.tolerance))
    policies: dict[str, Policy] = {
        "ours": PlannedPolicy(arm_task, config.mppi, HumanLike(reward, posture, config.posture / reward.steps), seed),
        "reward_alone": PlannedPolicy(arm_task, config.mppi, HumanLike(reward, posture, 0.0), seed),
        "scripted_hand": arm_task.expert,
    }
    learned = time.process_time() - began
    return {"seed": seed, "learning_cpu_s": learned} | {
        name: score(config, arm_task, posture, policy, seed) for name, policy in policies.items()
    }


def task_for(config: TransferBench) -> ArmTask:
    """The robot at its standard place before the table of the demonstrations."""
    table, robot = OnionSorting(), load_robot(config.robot)
    height = float(np.mean(table.radius))
    task = KinematicSorting(
        bins=((*table.bin_unblemished, height), (*table.bin_blemished, height)),
        bin_half_size=table.bin_half_size,
        objects=config.onions,
        object_start=((table.area_x[0], table.area_y[0]), (table.area_x[1], table.area_y[1])),
        table_height=height,
    )
    return ArmTask(task, robot, Placement(robot.T_world_base, 0.0, None, 0.0, 1.0))


def demonstrations(config: TransferBench, seed: int) -> list[Demonstration]:
    """People of different build, each before a scene of their own."""
    numbers = range(1000 * seed, 1000 * seed + config.demos)
    scenes = [OnionSorting().sample_scene(np.random.default_rng([n, 1]), config.shown) for n in numbers]
    return [demonstrate(scene, sample_body(n)).demonstration for n, scene in zip(numbers, scenes, strict=True)]


def score(config: TransferBench, task: ArmTask, posture: Posture, policy: Policy, seed: int) -> dict[str, Any]:
    """What became of episodes: success by the task, the hand's being empty, limbs [degrees], and what limits are used."""
    began = time.process_time()
    seen, _, _ = roll_out(task.build(config.episodes, seed=50_000 + seed), policy)
    last, now = task.split(seen[:, -1]), task.split(seen.flatten(0, 1))
    loose = ~last.held.any(dim=-1)
    upper, fore, fingers = torch.rad2deg(posture.errors(now).mean(dim=0)).tolist()
    assert now.limbs is not None  # `split` made them
    q, speed = (x.double().numpy() for x in task.angles(seen))
    robot, rounding = task.robot, 1e-4  # observations are single precision
    inside = (q >= robot.lower - rounding).all() and (q <= robot.upper + rounding).all()
    return {
        "success": float((task.success(seen[:, -1]) & loose).float().mean()),
        "upper_deg": upper,
        "fore_deg": fore,
        "fingers_deg": fingers,
        "lowest_mm": 1e3 * float(now.limbs.lowest.min()),
        "within_limits": bool(inside and (np.abs(speed) <= task.pace * robot.velocity + rounding).all()),
        "cpu_s": time.process_time() - began,
    }


def summary(config: TransferBench, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The content of the JSON file."""
    methods: dict[str, Any] = {}
    for method in METHODS:
        rows = [run[method] for run in runs]
        success = np.array([[r["success"]] for r in rows])
        methods[method] = {
            "success_iqm": interquartile_mean(success),
            "success_ci": bootstrap_interval(interquartile_mean, success, rng=np.random.default_rng(0)),
            "success_worst": float(success.min()),
            **{k: float(np.mean([r[k] for r in rows])) for k in ("upper_deg", "fore_deg", "fingers_deg", "cpu_s")},
            "lowest_mm": float(min(r["lowest_mm"] for r in rows)),
            "within_limits": all(r["within_limits"] for r in rows),
        }
    return {
        "robot": config.robot, "demos": config.demos, "seeds": config.seeds, "first_seed": config.first_seed,
        "onions": config.onions, "episodes": config.episodes, "methods": methods, "runs": runs,
    }  # fmt: skip


def table(content: dict[str, Any]) -> str:
    """The summary for people."""
    lines = [
        f"{content['robot']}, {content['demos']} demonstrations, {content['seeds']} seeds of {content['episodes']} episodes",
        f"{'':13} {'success (IQM, 95 %)':>22} {'worst':>6} {'upper':>6} {'fore':>5} {'fingers':>7} {'lowest':>7}  limits CPU s",
    ]
    for name, r in content["methods"].items():
        low, high = r["success_ci"]
        success = f"{r['success_iqm']:.3f} [{low:.3f}, {high:.3f}]"
        lines.append(
            f"{name:13} {success:>22} {r['success_worst']:6.2f} {r['upper_deg']:6.0f} {r['fore_deg']:5.0f} "
            f"{r['fingers_deg']:7.0f} {r['lowest_mm']:4.0f} mm  {'kept' if r['within_limits'] else 'NOT'}  {r['cpu_s']:6.1f}"
        )
    return "\n".join(lines)
