"""The verb `bench ros`: latency and losses of the real graph across processes, beside bare rclpy in the same run.

The measuring itself needs ROS and is a program of the package visual_irl_ros; here it is started, and its result kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, VisualIrlError
from visual_irl.evaluation.launch_file import read_launch_file
from visual_irl.evaluation.stages import say
from visual_irl.evaluation.up import environment, program, start, stop, workspace
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_folder

RATE = 30.0
"""Pictures a second [1/s]."""
STARTUP = 180.0
"""How long the nodes may take to come up [s]."""


def bench_ros(out: Path, robot: str, seconds: float) -> None:
    """Measure for `seconds` each: keypoints through DDS, the same without this project's code, and the whole graph twice.

    Once at the camera's rate, and once ("calm") at one at which few pictures wait for the one before.

    Raises:
        InvalidInput: a duration that says nothing.
        VisualIrlError: a part did not come up.
    """
    if not 2.0 <= seconds <= 3600.0:
        raise InvalidInput(f"--seconds is {seconds}, must lie between 2 and 3600")
    require_writable_folder(out.parent)
    ros = workspace()
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))  # another graph on this machine is not heard
    measure = program(ros, "visual_irl_ros", "bench")
    result: dict[str, float] = {}
    for part in ("bare", "keypoint", "bare", "keypoint"):  # in turns: what the machine does else hits both
        result = _merged(result, _measured(measure, ros, part, seconds / 2.0))
    result |= _graph(measure, ros, robot, seconds)
    artifacts.write_json(out, {**result, "seconds": seconds, "rate_hz": RATE, "robot": robot})
    say("\n".join(f"  {name:24} {value:.3f}" for name, value in result.items()))
    say(f"wrote {out}")


def _graph(measure: Path, ros: Path, robot: str, seconds: float) -> dict[str, float]:
    """The whole graph, with what its processes needed of a CPU."""
    launch = read_launch_file(asset_path("launch/sim.launch.py"))
    arguments = launch.resolved(
        {"robot": robot, "source": str(asset_path("models/recordings/onion_sorting")), "rate": str(RATE)}
    )
    nodes = start(launch, arguments, ros)
    try:
        began, used = time.monotonic(), {name: _cpu_seconds(process.pid) for name, process in nodes.items()}
        result = _measured(measure, ros, "graph", seconds)
        span = time.monotonic() - began
        for name, process in nodes.items():
            result[f"cpu_{name}"] = (_cpu_seconds(process.pid) - used[name]) / span
        return result
    finally:
        stop(nodes)


def _cpu_seconds(pid: int) -> float:
    """What a process has used of a CPU [s]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _measured(measure: Path, ros: Path, part: str, seconds: float) -> dict[str, float]:
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
        content: dict[str, float] = json.loads(file.read_text())
        return content


def _merged(first: dict[str, float], second: dict[str, float]) -> dict[str, float]:
    """Both halves of a part count the same."""
    return first | {k: 0.5 * (first[k] + v) if k in first else v for k, v in second.items()}
