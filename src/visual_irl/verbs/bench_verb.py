"""The verb `bench`: what can be measured, each with its own options; what is measured is loaded when it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import arg

from visual_irl.assets import asset_target
from visual_irl.verbs.verb_parts import Seed, choice


def mapping(
    motion: Path | None = None,
    robot: str = "panda",
    json: Path = Path("out/bench_mapping.json"),
    pictures: Path | None = None,
    train_prior: bool = False,
    out: Path | None = None,
    seed: Seed = 0,
) -> None:
    """Our mappers beside mink, pink and damped least squares on the same motion, or the training of the live mapper's prior.

    Example: visual-irl bench mapping --motion washwindow.npz --robot panda --json out/panda.json

    Example: visual-irl bench mapping --train-prior --robot panda

    Args:
        motion: Motion file of one arm (.npz with shoulder, elbow, wrist, hand_R, fps), or a folder of them.
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        json: Result file to write.
        pictures: Folder for pictures of both arms and the joints of every motion.
        train_prior: Train the robot's prior from scratch instead, on synthetic motions and those of --motion.
        out: With --train-prior, the weights to write; the package's own ones of this robot when not given.
        seed: Seed of the training.
    """
    from visual_irl.verbs import bench_stage

    if train_prior:
        bench_stage.train(motion, robot, out or asset_target(f"models/mapping_prior_{robot}.safetensors"), seed)
    else:
        bench_stage.bench(motion, robot, json, pictures)


def perception(
    json: Path = Path("out/bench_perception.json"),
    pictures: Path | None = None,
    out: Path | None = None,
    train_blemish: bool = False,
    seed: Seed = 0,
    backend: Literal["mediapipe", "torch"] = "mediapipe",
    clips: tuple[Path, ...] = (),
) -> None:
    """Keypoints and objects beside bare MediaPipe on frames that it renders, a back end, or the training of the classifier.

    Example: visual-irl bench perception --json out/perception.json

    Example: visual-irl bench perception --backend torch --clips VIDEO VIDEO --json out/torch.json

    Example: visual-irl bench perception --train-blemish --seed 0

    Args:
        json: Result file to write.
        pictures: Folder for pictures of keypoints on frames.
        out: Folder that keeps the rendered frames, out/bench_perception when not given; with --train-blemish the weights
            to write, the package's own ones when not given.
        train_blemish: Train the classifier of blemishes from scratch instead, on onions that it renders.
        seed: Seed of the training.
        backend: torch measures the PyTorch back end instead: agreement with MediaPipe, latency of one stream and of eight as
            one batch, on the GPU where there is one.
        clips: With --backend torch, videos on which the back ends are compared, beside the shipped recording.
    """
    from visual_irl.verbs import bench_stage

    if train_blemish:
        bench_stage.train_blemish(out or asset_target("models/onion_blemish.safetensors"), seed)
    elif backend == "torch":
        bench_stage.bench_backend(json, clips)
    else:
        bench_stage.bench_perception(json, out or Path("out/bench_perception"), pictures)


def memory(json: Path = Path("out/bench_memory.json"), frames: int = 10_000) -> None:
    """Whether the live chain's memory stays flat, beside bare MediaPipe's.

    Example: visual-irl bench memory --frames 10000

    Args:
        json: Result file to write.
        frames: How many frames it sees; ten a second and core.
    """
    from visual_irl.verbs import bench_stage

    bench_stage.bench_memory(json, frames)


def irl(
    task: str = "onion_sorting",
    demos: int = 10,
    seeds: int = 10,
    seed: Seed = 0,
    json: Path = Path("out/bench_irl.json"),
    pictures: Path | None = None,
    methods: tuple[str, ...] | None = None,
    peers: bool = False,
    fresh: int = 3,
    keypoint_noise_mm: float = 0.0,
    workers: int = 1,
    address: str | None = None,
) -> None:
    """Reward learners on a kinematic task, by what fresh policies make of the rewards that they learn.

    Example: visual-irl bench irl --task onion_sorting --demos 10 --seeds 10 --json out/irl.json

    Args:
        task: onion_sorting or pouring, one of their variants with other places, rules, numbers of onions or another cup, or one
            that another package registers.
        demos: Demonstrations to learn from; they hold no actions.
        seeds: Independent runs.
        seed: The first run's seed.
        json: Result file to write.
        pictures: Folder for performance profiles.
        methods: What is compared: ours, bc, bco, true_reward (these when not given), airl, mpail, or a learner that another
            package registers.
        peers: Measure GAIL and AIRL of the library imitation too; two minutes of CPU a seed each.
        fresh: Further policies that are trained from scratch on each run's finished reward, beside its first one; 0 for none.
        keypoint_noise_mm: Noise on every demonstrated position [mm], standard deviation.
        workers: Runs at once. Finished ones are kept when the bench is interrupted; a killed worker's run begins again.
        address: Ray cluster on which the runs go: HOST:PORT, auto, or local for one that is started here. They are processes
            of this machine when not given.
    """
    from visual_irl.evaluation.benchmarks.irl_bench import METHODS, IrlBench
    from visual_irl.verbs import bench_stage

    named = METHODS if methods is None else methods
    compared = IrlBench(task, demos, seeds, seed, fresh, 1e-3 * keypoint_noise_mm, named=named, peers=peers)
    bench_stage.bench_irl(json, compared, workers, address, pictures)


def transfer(
    robot: str = "panda",
    demos: int = 10,
    seeds: int = 10,
    seed: Seed = 0,
    json: Path = Path("out/bench_transfer.json"),
    workers: int = 1,
    address: str | None = None,
) -> None:
    """A reward and a posture learned from people's keypoints, optimised in a robot's own joints and limits.

    Example: visual-irl bench transfer --robot panda --demos 10 --seeds 10

    Args:
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        demos: Demonstrations to learn from; they hold no actions.
        seeds: Independent runs.
        seed: The first run's seed.
        json: Result file to write.
        workers: Runs at once. Finished ones are kept when the bench is interrupted; a killed worker's run begins again.
        address: Ray cluster on which the runs go: HOST:PORT, auto, or local for one that is started here. They are processes
            of this machine when not given.
    """
    from visual_irl.evaluation.benchmarks.transfer_bench import TransferBench
    from visual_irl.verbs import bench_stage

    bench_stage.bench_transfer(json, TransferBench(robot, demos, seeds, seed), workers, address)


def ros(json: Path = Path("out/bench_ros.json"), robot: str = "panda", seconds: float = 60.0) -> None:
    """The ROS graph that `make ros` built: what messages cost, latencies, and what is lost.

    Example: visual-irl bench ros --json out/ros.json

    Args:
        json: Result file to write.
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        seconds: How long each part is measured [s].
    """
    from visual_irl.verbs.ros_bench import bench_ros

    bench_ros(json, robot, seconds)


def execution(
    json: Path = Path("out/bench_execution.json"),
    scenes: int = 100,
    runs: int = 240,
    trajectories: int = 100_000,
    seconds: float = 20.0,
    seed: Seed = 0,
) -> None:
    """Guard, planner, stream and faults, in half an hour or more; an interrupted one goes on.

    Example: visual-irl bench execution --json out/execution.json

    Args:
        json: Result file to write.
        scenes: Random table scenes an arm that the planner solves.
        runs: Runs with a fault at a random time, every third on a Franka arm (libfranka against franky-sim).
        trajectories: Random trajectories that the guard judges.
        seconds: How long each rate is streamed [s].
        seed: Seed of scenes, trajectories and faults.
    """
    from visual_irl.verbs import bench_stage

    bench_stage.bench_execution(json, scenes, runs, trajectories, seconds, seed)


SUBJECTS: dict[str, Callable[..., None]] = {
    "mapping": mapping,
    "perception": perception,
    "memory": memory,
    "irl": irl,
    "transfer": transfer,
    "ros": ros,
    "execution": execution,
}
_Subject: Any = choice(SUBJECTS)


def bench(what: Annotated[_Subject, arg(name="")]) -> None:
    """Measure our parts and their rivals side by side, on the same inputs, in one run.

    Each subject has its own options: visual-irl bench mapping --help

    Example: visual-irl bench mapping --motion washwindow.npz --robot panda --json out/panda.json
    """
