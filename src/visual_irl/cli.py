"""The verbs of `visual-irl`. Each is a typed function; nothing heavy loads for --help."""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
import warnings
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Literal

import tyro
from tyro.conf import OmitSubcommandPrefixes, Positional

from visual_irl.errors import VisualIrlError
from visual_irl.evaluation.interruption import interruptible
from visual_irl.verbs.bench_verb import bench
from visual_irl.verbs.calibrate_verb import calibrate
from visual_irl.verbs.verb_parts import Seed, choice


def record(
    out: Positional[Path],
    camera: str = "synthetic",
    task: str = "onion_sorting",
    seed: Seed = 0,
    things: int | None = None,
    body_seed: int = 0,
    side: Literal["right", "left"] = "right",
    rate: float = 15.0,
    raw: bool = False,
) -> None:
    """Record a demonstration as a rosbag2 MCAP folder with the RealSense driver's topics.

    The synthetic camera films a scripted person who sorts onions or pours; the truth lies beside it as truth.npz.

    Example: visual-irl record out/recording --seed 1 --things 2

    Example: visual-irl record out/pour --task pouring

    Args:
        out: Folder to make; an existing one is never overwritten.
        camera: Name of the camera: synthetic, realsense, or one of another package.
        task: What the person before the synthetic camera does: onion_sorting, pouring, or a task of another package.
        seed: Seed of the scene, the motion and the sensor noise.
        things: How many things lie on the table, 1 to 8, where the task leaves that open: onions, or those of your task.
            Three if not told.
        body_seed: Seed of the person's build and looks.
        side: The arm that does it.
        rate: Frames a second.
        raw: Write uncompressed images, much larger.
    """
    from visual_irl.verbs import stages

    stages.record(out, camera, task, seed, things, body_seed, side, rate, raw)


def extract(
    sources: Positional[tuple[Path, ...]],
    out: Path = Path("out/demonstration.npz"),
    side: Literal["auto", "right", "left"] | None = None,
    task: str | None = None,
    pictures: Path | None = None,
    upper_arm: float | None = None,
    forearm: float | None = None,
    every: int | None = None,
    backend: Literal["mediapipe", "torch"] | None = None,
    config: Path | None = None,
) -> None:
    """Extract 3D keypoints and objects from a recording, a folder of colour and depth pictures, or any video.

    Several are calibrated cameras that filmed the same person at the same time; they are fused.

    Example: visual-irl extract models/recordings/onion_sorting --out out/demonstration.npz --pictures out/pictures

    Example: visual-irl extract left.mp4 right.mp4 --out out/demonstration.npz

    Args:
        sources: Recording folder or .mcap, folder of pictures with a camera.json, or a video file; the camera of clip.mp4,
            where it is calibrated, is clip.camera.json.
        out: Demonstration file to write.
        side: The arm that demonstrates; auto, unless the config says otherwise, takes the one that moves more.
        task: Task whose objects are looked for; onion_sorting, unless the config says otherwise.
        pictures: Folder for pictures of the keypoints on the frames.
        upper_arm: The person's upper arm [m], for videos without depth; a typical adult's when not given.
        forearm: The person's forearm [m], likewise.
        every: Use every n-th frame; each one, unless the config says otherwise.
        backend: What runs the keypoint networks: mediapipe on the CPU (unless the config says otherwise), or torch on a GPU.
        config: YAML file with fields of ExtractionConfig. Options win over it.
    """
    from visual_irl.verbs import stages

    stages.extract(
        sources, out, side, task, pictures=pictures, upper_arm=upper_arm, forearm=forearm, every=every, backend=backend,
        config_file=config,
    )  # fmt: skip


def learn(
    demonstrations: Positional[tuple[Path, ...]],
    out: Path = Path("out/skill"),
    learner: str = "max_ent",
    resume: bool = False,
) -> None:
    """Learn a reward and a policy from one or more demonstrations, without seeing any action.

    Example: visual-irl learn out/demonstration.npz --out out/skill

    Example: visual-irl learn out/demonstration.npz --out out/skill --resume

    Args:
        demonstrations: Demonstration files of the same task.
        out: Skill folder to write; the learning curve for TensorBoard lies beside it, in OUT_curves.
        learner: Name of the reward learner.
        resume: Go on where a run that was killed left off, with the same result; its steps lie beside the folder, in
            OUT_checkpoint.safetensors. One of other demonstrations or options is refused.
    """
    from visual_irl.verbs import stages

    stages.learn(demonstrations, out, learner, resume)


def map_(
    demonstration: Positional[Path | None] = None,
    robot: str = "panda",
    skill: Path | None = None,
    motion: Path | None = None,
    out: Path = Path("out/trajectory.npz"),
    mount: tuple[float, float, float, float] | None = None,
    calibrate_mount: bool = False,
    side: Literal["right", "left"] | None = None,
    pictures: Path | None = None,
    config: Path | None = None,
    smooth_hand_ms: float | None = None,
) -> None:
    """Map an arm onto a robot: a demonstrated one, what a skill does with the demonstration's objects, or a motion file's.

    Example: visual-irl map out/demonstration.npz --skill out/skill --robot ur5e --out out/ur5e.npz

    Args:
        demonstration: Demonstration file; gives the arm, or with a skill the objects and fixtures.
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        skill: Skill folder; without it the demonstrated arm itself is mapped.
        motion: Motion file of one arm (.npz with shoulder, elbow, wrist, hand_R, fps) instead of a demonstration.
        out: Trajectory file to write: joint_names, t, q, qd, and frame_... arrays that report every frame of the arm.
        mount: Robot base in the world: x y z [m] and yaw [rad]; see --calibrate-mount for where it is when not given.
        calibrate_mount: Search base pose, tool yaw and scale that reach the most, and say how much that is. Without a
            skill and a --mount this is always done; with a skill the robot otherwise stands at its standard place.
        side: The arm of a motion file, where the file does not say it.
        pictures: Folder for pictures of the human arm against the robot arm.
        config: YAML file with fields of RetargetConfig.
        smooth_hand_ms: Smooth the hand's path over this many milliseconds first, so that a noisy or fast hand need not be
            slowed down; 0 keeps it exactly, which is the default. How far it moves is reported for every frame.
    """
    from visual_irl.verbs.map_stage import map_arm

    smooth_hand = None if smooth_hand_ms is None else 1e-3 * smooth_hand_ms
    map_arm(
        robot, out, demonstration=demonstration, motion=motion, skill=skill, mount=mount, calibrate=calibrate_mount, side=side,
        pictures=pictures, config_file=config, smooth_hand=smooth_hand,
    )  # fmt: skip


def replay(
    trajectory: Positional[Path],
    out: Path = Path("out/replay"),
    world: Path | None = None,
    seed: Seed = 0,
    video: bool = True,
) -> None:
    """Replay a trajectory in MuJoCo: position control, a gripper that holds by friction, success read from the physics.

    Example: visual-irl replay out/ur5e.npz --world models/recordings/onion_sorting/truth.npz --out out/replay

    Args:
        trajectory: Trajectory file.
        out: Folder for report.json, replay.mp4 and filmstrip.png.
        world: Demonstration file with the true objects to simulate; the perceived ones when not given.
        seed: Seed of the physics: friction, masses and small offsets of the objects.
        video: Render pictures and the video.
    """
    from visual_irl.verbs import stages

    stages.replay(trajectory, out, world, seed, video)


def run(
    skill: Positional[Path],
    robot: str = "panda",
    executor: str = "mujoco",
    address: str | None = None,
    trajectory: Path | None = None,
    demonstration: Path = Path("out/demonstration.npz"),
    world: Path | None = None,
    out: Path = Path("out/run"),
    speed: float = 0.25,
    allow_motion: bool = False,
    yes: bool = False,
    preview: bool = True,
    gripper: bool = True,
    recover: bool = False,
) -> None:
    """Run a skill on an arm: shown in simulation first, asked about, then executed under watch, slowly and with a log.

    Example: visual-irl run out/skill --robot ur5e --trajectory out/ur5e.npz

    Example: visual-irl run out/skill --robot ur5e --executor ur --address 192.168.1.10 --allow-motion

    Args:
        skill: Skill folder; a trajectory that was made with another one is refused.
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        executor: What moves: mujoco (simulation), ur (a real arm, through ur-rtde) or franka (a real arm, through libfranka).
        address: Address of the real robot.
        trajectory: What `visual-irl map --skill` wrote for this robot; mapped anew from the demonstration when not given.
        demonstration: Demonstration file whose objects the skill handles, when there is no trajectory.
        world: Demonstration file with the true objects to simulate; the perceived ones when not given.
        out: Folder for preview/, log and report.json.
        speed: Share of the planned speed, in (0, 1].
        allow_motion: Allow anything real to move.
        yes: Do not ask before the motion.
        preview: Show the plan in simulation first.
        gripper: Drive a real arm's gripper too: the Franka hand, or a Robotiq with its URCap on a UR.
        recover: Ask a real arm to clear its own errors first, after a reflex; moves nothing (a UR: on its pendant).
    """
    from visual_irl.verbs import run_plan, run_stage

    options = run_plan.RunOptions(
        robot, executor, address, trajectory, demonstration, world, out, speed, allow_motion, yes, preview, gripper, recover
    )
    run_stage.run_skill(skill, options)


def check_robot(robot: str = "panda", executor: str = "mujoco", address: str | None = None) -> None:
    """Check connection, states, limits, calibration and stops of a robot; moves nothing.

    Example: visual-irl check-robot --robot ur5e --executor ur --address 192.168.1.10

    Args:
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        executor: How it is reached: mujoco (simulation), ur (a real arm, through ur-rtde) or franka (through libfranka).
        address: Address of the real robot.
    """
    from visual_irl.verbs import run_stage

    run_stage.check_robot(robot, executor, address)


def view(
    source: Positional[str],
    demonstration: Path | None = None,
    task: str = "onion_sorting",
    every: int = 1,
    host: str = "127.0.0.1",
    port: int = 8080,
    seconds: float | None = None,
) -> None:
    """Show points, skeleton, its uncertainty and objects in the browser: of a recording, a demonstration or a live camera.

    Example: visual-irl view models/recordings/onion_sorting

    Args:
        source: Recording, folder of pictures, video or demonstration file; or the name of a camera.
        demonstration: What was extracted from the recording; without it, that is done first.
        task: Task whose objects are looked for, when extracting.
        every: Use every n-th frame, when extracting.
        host: Address to serve on; only this machine can open the default. Whoever can open the page sees everything on it.
        port: Port to serve on; 0 takes a free one.
        seconds: End after so long; until Ctrl-C when not given.
    """
    from visual_irl.verbs import view_stage

    view_stage.view(source, demonstration, task, every, host, port, seconds)


def models(
    action: Positional[Literal["pull", "list"]],
    names: Positional[tuple[str, ...]] = (),
) -> None:
    """Fetch or list the perception weights.

    Example: visual-irl models pull

    Args:
        action: pull fetches what is missing, list shows what there is.
        names: Only these; all defaults when empty.
    """
    from visual_irl.verbs import stages

    stages.models(action, names)


def demo(out: Path = Path("demo_out"), recording: Path | None = None, seeds: int = 5) -> None:
    """The main job: a recorded demonstration becomes a skill that a Panda and a UR5e replay; ends with a report.

    Example: visual-irl demo --out demo_out

    Args:
        out: Folder for everything that is made; a second run reuses it.
        recording: Recording of onion sorting; the shipped one when not given.
        seeds: Physics seeds a robot.
    """
    from visual_irl.verbs.demo import run_demo

    run_demo(out, recording, seeds)


def evaluate(
    skill: Positional[Path],
    robot: str = "panda",
    episodes: int = 20,
    json: Path | None = None,
    seed: Seed = 1000,
    workers: int = 1,
    address: str | None = None,
    pictures: Path | None = None,
    move_bins: float = 0.0,
) -> None:
    """Let a skill do its task in MuJoCo, closed loop, in scenes that it has not seen, with things at random places.

    Sorting: 4 to 8 onions, seen by a camera of the cell; what one is becomes known when it is inspected. Pouring: a bottle full
    of grains, a cup, and a zone to leave the bottle in. Each step is planned from where things are then; what was lost is taken
    again. Success is read from the physics: the share of onions in the right bin or of grains in the cup. Beside it: how human
    the motion is, and that of a hand-only solver.

    Example: visual-irl evaluate out/skill --robot ur5e --episodes 20 --json out/evaluate_ur5e.json

    Args:
        skill: Skill folder.
        robot: Name of the robot: fr3, panda, ur10e or ur5e.
        episodes: Scenes.
        json: Result file to write; out/evaluate_ROBOT.json when not given.
        seed: Seed of the first scene; the others follow.
        workers: Episodes at once.
        address: Ray cluster on which the episodes run: HOST:PORT, auto, or local for one that is started here. They run in
            processes of this machine when not given.
        pictures: Folder for a picture of the first episode.
        move_bins: Sorting: each bin stands up to so far from its usual place, along x and y [m], 0.1 at most.
    """
    from visual_irl.verbs.evaluate_stage import evaluate as run

    run(skill, robot, episodes, json or Path(f"out/evaluate_{robot}.json"), seed, workers, address, pictures, move_bins)


def up(name: Positional[str], arguments: Positional[tuple[str, ...]] = ()) -> None:
    """Start the nodes of a launch file without `ros2 launch`: what `make ros` built, with the same names and parameters.

    Example: visual-irl up sim robot:=panda source:=models/recordings/onion_sorting

    Args:
        name: The launch file: sim, perception, record or robot.
        arguments: Its arguments as NAME:=VALUE.
    """
    from visual_irl.verbs.up import up as start

    raise SystemExit(start(name, arguments))


VERBS: dict[str, Callable[..., Any]] = {
    "record": record,
    "extract": extract,
    "learn": learn,
    "map": map_,
    "replay": replay,
    "evaluate": evaluate,
    "run": run,
    "check-robot": check_robot,
    "bench": bench,
    "calibrate": calibrate,
    "models": models,
    "up": up,
    "view": view,
    "demo": demo,
}

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""Why nothing more can be written to a disk; the last under `ulimit -f` and on a stick of 4 GiB a file."""


def main(args: list[str] | None = None) -> None:
    """Run a verb. Errors end with one line and exit code 1, and leave no half-written file.

    A reader that has left (`visual-irl bench --help | head -5`) ends it without a word, with 141 as it ends other programs.

    Raises:
        SystemExit: as above.
        KeyboardInterrupt: Ctrl-C or another request to end, of which `visual_irl.__main__` makes a line and an exit code.
    """
    args = sys.argv[1:] if args is None else args
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a locale without the bullets of --help shows question marks
    try:
        try:
            with interruptible(), warnings.catch_warnings():
                warnings.showwarning = lambda message, *rest: print(f"warning: {message}", file=sys.stderr)
                tyro.cli(
                    _verbs(args),
                    prog="visual-irl",
                    description="Show a manipulation task to an RGB-D camera; a cobot then does it, and moves like a person.",
                    args=args,
                    config=(OmitSubcommandPrefixes,),
                )
        finally:
            sys.stdout.flush()  # here, as Python's own flush at the end of the process can only complain
    except BrokenPipeError:
        if not _reader_left():  # a pipe of the verb's own
            raise
        raise SystemExit(128 + signal.SIGPIPE) from None
    except VisualIrlError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except OSError as error:
        if error.errno not in FULL:
            raise
        where = f"'{error.filename}'" if error.filename else "what was made"
        print(f"error: cannot write {where}: {error.strerror}; free some space, or choose another --out", file=sys.stderr)
        raise SystemExit(1) from None
    except RuntimeError as error:
        if "no locator available" not in str(error):  # what Numba says of its cache
            raise
        print(
            "error: compiled functions can be kept neither beside the source nor in the home folder's .cache; set "
            "NUMBA_CACHE_DIR to a folder that can be written to",
            file=sys.stderr,
        )
        raise SystemExit(1) from None


def _verbs(args: list[str]) -> Any:
    """The verbs as tyro takes them. Only one that is asked about tells more than its first sentence."""
    return choice(VERBS, {name: (do.__doc__ or "").split("\n\n")[0] for name, do in VERBS.items() if name not in args})


def _reader_left() -> bool:
    """Whether nobody reads any more what is said; all that is left to say then goes nowhere."""
    poll = select.poll()
    for stream in (1, 2):
        poll.register(stream, 0)
    left = [stream for stream, event in poll.poll(0) if event & select.POLLERR]
    for stream in left:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
    return bool(left)
