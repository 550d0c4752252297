"""The verb `bench`: what can be measured, and its options; what is measured is loaded when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tyro.conf import Positional


def bench(
    what: Positional[Literal["mapping", "perception", "memory", "irl", "transfer", "ros", "execution"]],
    motion: Path | None = None,
    robot: str = "panda",
    json: Path | None = None,
    pictures: Path | None = None,
    train_prior: bool = False,
    train_blemish: bool = False,
    out: Path | None = None,
    seed: int = 0,
    task: str = "onion_sorting",
    demos: int = 10,
    seeds: int = 10,
    fresh: int = 3,
    workers: int = 1,
    address: str | None = None,
    keypoint_noise_mm: float = 0.0,
    peers: bool = False,
    methods: tuple[str, ...] | None = None,
    seconds: float | None = None,
    scenes: int = 100,
    runs: int = 240,
    trajectories: int = 100_000,
    frames: int = 10_000,
    backend: Literal["mediapipe", "torch"] = "mediapipe",
    clips: tuple[Path, ...] = (),
) -> None:
    """Measure our parts and their rivals side by side, on the same inputs, in one run.

    Example: visual-irl bench mapping --motion washwindow.npz --robot panda --json out/panda.json

    Perception renders its own frames: visual-irl bench perception --json out/perception.json
    The networks in PyTorch: visual-irl bench perception --backend torch --json out/torch.json
    Whether the live chain's memory stays flat: visual-irl bench memory --frames 10000
    Rewards are learned on kinematic tasks: visual-irl bench irl --task onion_sorting --demos 10 --seeds 10
    The reward of people optimised in a robot's joints: visual-irl bench transfer --robot panda --demos 10 --seeds 10
    Guard, planner, stream and faults, in half an hour or more: visual-irl bench execution --json out/execution.json

    Args:
        what: What is measured.
        motion: Motion file of one arm (.npz with shoulder, elbow, wrist, hand_R, fps), or a folder of them.
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        json: Result file to write; out/bench_WHAT.json when not given.
        pictures: Folder for pictures: both arms and the joints of every motion, keypoints on frames, or performance profiles.
        train_prior: Train the robot's prior from scratch instead, on synthetic motions and those of --motion.
        train_blemish: Train perception's classifier of blemishes from scratch instead, on onions that it renders.
        out: The weights to write; models/mapping_prior_ROBOT.safetensors or models/onion_blemish.safetensors when not given.
            For perception else the folder that keeps the rendered frames; out/bench_perception when not given.
        seed: Seed of the training; the first one of irl and transfer.
        task: Kinematic task of irl: onion_sorting or pouring, or one of their variants with other places, rules, numbers of
            onions or another cup.
        demos: Demonstrations that irl and transfer learn from; they hold no actions.
        seeds: Independent runs of irl and transfer.
        fresh: Further policies that each run of irl trains from scratch on its finished reward; 0 is for the first alone.
        workers: Runs of irl and transfer at once; what was interrupted goes on where it was, and a killed worker loses nothing.
        address: Of a Ray cluster on which they run: HOST:PORT, auto, or local for one that is started here. In processes of
            this machine when not given.
        keypoint_noise_mm: Noise on every demonstrated position of irl [mm], standard deviation.
        peers: Measure GAIL and AIRL of the library imitation too; two minutes of CPU a seed each.
        methods: What irl compares: ours, bc, bco, true_reward (these when not given), airl, mpail, or a learner that another
            package registers.
        seconds: How long each part of the ROS graph is measured, 60 s when not given (what `make ros` built is needed); for
            execution how long each rate is streamed, 20 s when not given.
        scenes: Random table scenes an arm that execution's planner solves.
        runs: Runs of execution with a fault at a random time, every third on a Franka arm (libfranka against franky-sim).
        trajectories: Random trajectories that execution's guard judges.
        frames: How many frames memory sees; ten a second and core.
        backend: torch measures the PyTorch back end of perception instead: agreement with MediaPipe, latency of one stream
            and of eight as one batch, on the GPU where there is one.
        clips: Videos on which the back ends are compared, beside the shipped recording.
    """
    from visual_irl.evaluation import bench_stage

    json = json or Path(f"out/bench_{what}.json")
    if what == "ros":
        from visual_irl.evaluation.ros_bench import bench_ros

        bench_ros(json, robot, 60.0 if seconds is None else seconds)
    elif what == "execution":
        bench_stage.bench_execution(json, scenes, runs, trajectories, 20.0 if seconds is None else seconds, seed)
    elif what == "perception" and train_blemish:
        bench_stage.train_blemish(out or Path("models/onion_blemish.safetensors"), seed)
    elif what == "perception" and backend == "torch":
        bench_stage.bench_backend(json, clips)
    elif what == "perception":
        bench_stage.bench_perception(json, out or Path("out/bench_perception"), pictures)
    elif what == "memory":
        bench_stage.bench_memory(json, frames)
    elif what == "irl":
        from visual_irl.evaluation.irl_bench import METHODS, IrlBench

        named = METHODS if methods is None else methods
        compared = IrlBench(task, demos, seeds, seed, fresh, 1e-3 * keypoint_noise_mm, named=named, peers=peers)
        bench_stage.bench_irl(json, compared, workers, address, pictures)
    elif what == "transfer":
        from visual_irl.evaluation.transfer_bench import TransferBench

        bench_stage.bench_transfer(json, TransferBench(robot, demos, seeds, seed), workers, address)
    elif train_prior:
        bench_stage.train(motion, robot, out or Path(f"models/mapping_prior_{robot}.safetensors"), seed)
    else:
        bench_stage.bench(motion, robot, json, pictures)
