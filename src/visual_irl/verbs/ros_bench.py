"""The verb `bench ros`: latency and losses of the real graph across processes, beside bare rclpy in the same run.

The measuring itself needs ROS and is a program of the package visual_irl_ros; here it is started, and its result kept. What the
graph sees is filmed first, at a camera's rate: a recording of fewer pictures that is played quicker shows a person who is
quicker than people are, whom the live filter loses.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, VisualIrlError
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file
from visual_irl.verbs.console import progress_bar, say
from visual_irl.verbs.launch_file import LaunchFile, read_launch_file
from visual_irl.verbs.up import environment, program, start, stop, workspace

Figures = dict[str, float | int]
"""Name -> figure; counts are whole."""
RATE = 30.0
"""Pictures a second [1/s]."""
POSE_MODEL = "full"
"""The quicker network."""
SEED, ONIONS = 1, 6
"""Of the film: half a minute of a person at work."""
STARTUP = 180.0
"""How long the nodes may take to come up [s]."""


def bench_ros(out: Path, robot: str, seconds: float) -> None:
    """Measure for `seconds` each: keypoints through DDS, the same without this project's code, the graph from keypoints on, the
    recorder with pictures of a camera's size, and the whole graph twice.

    Once at the camera's rate, and once ("calm") at one at which few pictures wait for the one before.

    Raises:
        InvalidInput: a duration that says nothing.
        MissingDependency: there is no OpenGL to film with, or the ROS packages are not built.
        VisualIrlError: a part did not come up.
    """
    if not 2.0 <= seconds <= 3600.0:
        raise InvalidInput(f"--seconds is {seconds}, must lie between 2 and 3600")
    require_writable_file(out, "--json")
    ros = workspace()
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # another graph on this machine is not heard
    measure = program(ros, "visual_irl_ros", "bench")
    result: Figures = {}
    for part in ("bare", "keypoint", "bare", "keypoint"):  # in turns: what the machine does else hits both
        result = _merged(result, _measured(measure, ros, part, seconds / 2.0))
    _compile(robot)
    with tempfile.TemporaryDirectory() as folder:
        film = _film(Path(folder) / "film", seconds)
        live = {"robot": robot, "source": str(film), "rate": str(RATE), "pose_model": POSE_MODEL}
        for part, name, arguments, left_out in (
            ("path", "sim", live, "perception"), ("recorder", "record", {}, ""), ("graph", "sim", live, ""),
        ):  # fmt: skip
            launch = read_launch_file(asset_path(f"launch/{name}.launch.py"))
            nodes = tuple(node for node in launch.nodes if node.name != left_out)
            result |= _beside(measure, ros, part, seconds, replace(launch, nodes=nodes), arguments)
    about = {"seconds": seconds, "rate_hz": RATE, "robot": robot, "pose_model": POSE_MODEL}
    artifacts.write_json(out, {**result, **about})
    say("\n".join(f"  {name:24} {value:.3f}" for name, value in result.items()))
    say(f"wrote {out}")


def _compile(name: str) -> None:
    """What `mapper` and `sim` compile once after an installation, before anybody waits for them."""
    from visual_irl.execution.following import TargetFollower
    from visual_irl.mapping.live_arm import LiveArm, LiveArmConfig
    from visual_irl.mapping.live_mapper import LiveMapper
    from visual_irl.robots import load_robot
    from visual_irl.tasks.scene import Scene
    from visual_irl.tasks.surroundings import surroundings

    say("  compiling, for minutes where nothing was compiled yet")
    robot = load_robot(name)
    LiveMapper(robot, LiveArm(LiveArmConfig(), robot.T_world_base))
    TargetFollower(robot, robot.home, 0.002, surroundings(Scene((), ()), robot.T_world_base))


def _film(folder: Path, seconds: float) -> Path:
    """A person at work, at `RATE`; for longer than half a minute it is played again from its beginning."""
    from visual_irl.io.recording_writer import RecordingWriter
    from visual_irl.perception import CAMERAS

    camera = CAMERAS.load("synthetic")(seed=SEED, things=ONIONS, rate=RATE)
    count = min(len(camera), math.ceil(seconds * RATE))
    with progress_bar("filming", "frame") as show, RecordingWriter(folder, camera.fixtures) as writer:
        for done, frame in enumerate(islice(camera, count), 1):
            writer.write(frame)
            show(done, count)
    return folder


def _beside(measure: Path, ros: Path, part: str, seconds: float, launch: LaunchFile, arguments: Mapping[str, str]) -> Figures:
    """A part that watches running nodes, with what these and the whole machine needed, and what was taken from it [CPUs]."""
    nodes = start(launch, launch.resolved(arguments), ros)
    try:
        began, used, machine = time.monotonic(), {n: _cpu_seconds(p.pid) for n, p in nodes.items()}, _machine_seconds()
        result = _measured(measure, ros, part, seconds)
        span = time.monotonic() - began
        for what, before, after in zip(("machine", "stolen"), machine, _machine_seconds(), strict=True):
            result[f"cpu_{part}_{what}"] = (after - before) / span
        for name, process in nodes.items():
            result[f"cpu_{part}_{name}"] = (_cpu_seconds(process.pid) - used[name]) / span
        return result
    finally:
        stop(nodes)


def _cpu_seconds(pid: int) -> float:
    """What a process has used of a CPU [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine_seconds() -> tuple[float, float]:
    """What all of the machine's CPUs have worked, and what the machine around a virtual one has taken from them [s]."""
    user, nice, system, _, _, interrupt, soft, stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    tick = os.sysconf("SC_CLK_TCK")
    return (user + nice + system + interrupt + soft) / tick, stolen / tick


def _measured(measure: Path, ros: Path, part: str, seconds: float) -> Figures:
    say(f"  {part}, {seconds:.0f} s")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "result.json"
        line = [str(measure), part, str(seconds), str(file)]
        try:
            done = subprocess.run(line, env=environment(ros), capture_output=True, text=True, timeout=2.0 * seconds + STARTUP)
        except subprocess.TimeoutExpired as error:
            raise VisualIrlError(f"measuring '{part}' did not end within {2.0 * seconds + STARTUP:.0f} s") from error
        if done.returncode or not file.is_file():
            raise VisualIrlError(f"measuring '{part}' failed: {(done.stderr or done.stdout).strip()[-400:]}")
        content: Figures = json.loads(file.read_text())
        return content


def _merged(first: Figures, second: Figures) -> Figures:
    """Both halves of a part count the same."""
    return first | {k: 0.5 * (first[k] + v) if k in first else v for k, v in second.items()}
