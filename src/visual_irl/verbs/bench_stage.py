"""The verb `bench` on files: measures our mappers beside their rivals, or trains the mapper's prior from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.benchmarks.mapping_bench import bench_mapping
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file, require_writable_folder
from visual_irl.io.motion import load_motion, motion_files
from visual_irl.mapping.human_arm import arm_of_motion
from visual_irl.robots import load_robot
from visual_irl.verbs.console import progress_bar, progress_bars, say

if TYPE_CHECKING:
    from visual_irl.evaluation.benchmarks import irl_bench, transfer_bench

PICTURES = 60
"""Of the recording and of each clip, on which the PyTorch back end is measured."""


def bench(motion: Path | None, robot: str, json: Path, pictures: Path | None) -> None:
    """Measure the mappers on a motion file or a folder of them; see `visual-irl bench --help`."""
    if motion is None:
        raise InvalidInput("name what to measure on: --motion FILE.npz, or a folder of such files")
    with progress_bar(f"all methods on the {robot}", "frame") as show:
        result = bench_mapping(motion, robot, json, pictures, show)
    say(result.table())
    say(f"wrote {json}" + (f" and pictures to {pictures}" if pictures else ""))


def bench_perception(json: Path, frames: Path, pictures: Path | None) -> None:
    """Measure perception on rendered frames; see `visual-irl bench --help`."""
    from visual_irl.evaluation.benchmarks import perception_bench

    with progress_bars() as show:
        result = perception_bench.bench_perception(json, frames, pictures, show)
    say(result.table())
    say(f"wrote {json}" + (f" and pictures to {pictures}" if pictures else ""))


def bench_backend(json: Path, clips: tuple[Path, ...]) -> None:
    """Measure the PyTorch back end; see `visual-irl bench --help`."""
    from visual_irl.assets import asset_path
    from visual_irl.evaluation.benchmarks import backend_bench
    from visual_irl.perception.landmarks.torch_detector import TorchDetectorConfig

    with progress_bars() as show:
        result = backend_bench.bench_backend(
            asset_path("models/recordings/onion_sorting"), clips, json, PICTURES, show, TorchDetectorConfig()
        )
    say(result.text())
    say(f"wrote {json}")


def bench_memory(json: Path, frames: int) -> None:
    """Watch memory over many frames; see `visual-irl bench --help`."""
    from visual_irl.assets import asset_path
    from visual_irl.evaluation.benchmarks.perception_memory import perception_memory

    with progress_bar("live perception", "frame") as show:
        result = perception_memory(asset_path("models/recordings/onion_sorting"), frames, json, show)
    say(result.text())
    say(f"wrote {json}")


def bench_irl(json: Path, config: irl_bench.IrlBench, workers: int, address: str | None, pictures: Path | None) -> None:
    """Compare reward learners on a kinematic task; see `visual-irl bench --help`."""
    from visual_irl.evaluation.benchmarks import irl_bench
    from visual_irl.evaluation.benchmarks.irl_pictures import plot_profiles

    if pictures is not None:
        require_writable_folder(pictures, "--pictures")
    with progress_bar(f"{len(config.methods)} methods on {config.task}", "run") as show:
        result = irl_bench.bench_irl(config, json, workers, show, address)
    say(result.table())
    say(f"wrote {json}")
    if pictures is not None:
        picture = pictures / f"{config.task}_profiles.png"
        plot_profiles(picture, result.summary())
        say(f"wrote {picture}")


def bench_transfer(json: Path, config: transfer_bench.TransferBench, workers: int, address: str | None) -> None:
    """Optimise a reward learned from people on a robot; see `visual-irl bench --help`."""
    from visual_irl.evaluation.benchmarks import transfer_bench

    with progress_bar(f"a reward of people on the {config.robot}", "seed") as show:
        result = transfer_bench.bench_transfer(config, json, workers, show, address)
    say(transfer_bench.table(result))
    say(f"wrote {json}")


def bench_execution(json: Path, scenes: int, runs: int, trajectories: int, seconds: float, seed: int) -> None:
    """Measure guard, planner, stream and faults; see `visual-irl bench --help`."""
    from visual_irl.evaluation.benchmarks import execution_bench

    config = execution_bench.ExecutionBench(scenes, runs, trajectories, seconds, seed)
    with progress_bars() as show:
        result = execution_bench.bench_execution(config, json, show)
    say(execution_bench.table(result))
    say(f"wrote {json}")


def train_blemish(out: Path, seed: int) -> None:
    """Train the classifier of blemishes on rendered onions; see `visual-irl bench --help`."""
    from visual_irl.perception.objects.blemish_training import TrainingConfig, train_classifier

    require_writable_file(out)
    config = TrainingConfig(seed=seed)
    with progress_bars() as show:
        report = train_classifier(out, config, show)
    artifacts.write_sidecar(out, config, {})
    say(
        f"blemish classifier: taught by {report.sightings} sightings (loss {report.first_loss:.2f} in the first epoch, "
        f"{report.last_loss:.2f} in the last); of {report.held_out} that it was not taught it tells "
        f"{100 * report.sound_right:.1f} % without and {100 * report.blemished_right:.1f} % with a blemish in view"
    )
    say(f"wrote {out}")


def train(motion: Path | None, robot_name: str, out: Path, seed: int) -> None:
    """Train a robot's prior on synthetic motions, and on recorded ones when there are."""
    from visual_irl.mapping.prior_training import TrainingConfig, train_prior

    robot = load_robot(robot_name)
    require_writable_file(out)
    recorded = [load_motion(file) for file in motion_files(motion)] if motion is not None else []
    config = TrainingConfig(seed=seed)
    with progress_bars() as show:
        report = train_prior(robot, [(arm_of_motion(m), m.start) for m in recorded], out, config, show)
    artifacts.write_sidecar(out, config, {file.stem: file for file in (motion_files(motion) if motion else [])})
    say(
        f"prior of the {robot.name}: taught by {report.motions} motions ({report.postures} postures); on motions that it was "
        f"not taught it tells {100 * report.held_out_told:.0f} % of the way to the offline mapper's posture"
    )
    say(f"wrote {out}")
