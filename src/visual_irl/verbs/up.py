"""The verb `up`: start the nodes of a launch file where `launch` is not installed, and stop all of them together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from visual_irl.assets import PACKAGE, asset_path
from visual_irl.errors import InvalidInput, MissingDependency, UnknownName
from visual_irl.verbs.console import say
from visual_irl.verbs.launch_file import LaunchFile, read_launch_file

_LAUNCH = ".launch.py"
GRACE = 2.0
"""How long nodes may take to end before they are killed [s]."""
LOCAL = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
"""Nobody outside of this machine is discovered, unless the user's environment says otherwise."""


def workspace() -> Path:
    """The folder that `make ros` installs to.

    Raises:
        MissingDependency: it was not built.
    """
    named = os.environ.get("VISUAL_IRL_ROS")
    ros = Path(named) if named else PACKAGE.parents[1] / ".venv-ros"
    if not (ros / "workspace").is_dir():
        raise MissingDependency(
            f"the ROS packages are not built ('{ros}/workspace' is missing): run `make ros` in the checkout"
        )
    return ros.resolve()


def environment(ros: Path) -> dict[str, str]:
    """What the built nodes need in their environment."""
    packages = sorted(path for path in (ros / "workspace").iterdir() if (path / "share").is_dir())
    paths = [str(p) for package in packages for p in package.glob("lib/python3*/site-packages")]
    own = {k: v for k, v in os.environ.items() if k not in ("_ROS_WHEELS_BOOTSTRAP_COMPLETE",)}
    libraries = [str(package / "lib") for package in packages]
    return {
        **LOCAL, **own,
        "AMENT_PREFIX_PATH": os.pathsep.join([*map(str, packages), str(ros)]),
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "LD_LIBRARY_PATH": os.pathsep.join(libraries),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }  # fmt: skip


def program(ros: Path, package: str, executable: str) -> Path:
    """The program of a node."""
    path = ros / "workspace" / package / "lib" / package / executable
    if not path.is_file():
        raise MissingDependency(f"the package '{package}' has no program '{executable}' at '{path}': run `make ros` again")
    return path


def up(name: str, given: Sequence[str]) -> int:
    """Start the nodes of `NAME.launch.py`; returns the exit code of the first node that ended, after stopping the rest."""
    known = sorted(path.name.removesuffix(_LAUNCH) for path in asset_path("launch").glob(f"*{_LAUNCH}"))
    if name not in known:
        raise UnknownName(f"unknown launch file '{name}'; known: {', '.join(known)}")
    launch = read_launch_file(asset_path(f"launch/{name}{_LAUNCH}"))
    arguments = launch.resolved(_pairs(given))
    ros = workspace()
    processes = start(launch, arguments, ros)
    say(f"started {', '.join(processes)}; Ctrl-C ends them")
    try:
        while True:
            for node, process in processes.items():
                code = process.poll()
                if code is not None:
                    say(f"'{node}' ended with code {code}: stopping the others")
                    return code
            time.sleep(0.1)
    finally:
        stop(processes)


def start(launch: LaunchFile, arguments: Mapping[str, str], ros: Path) -> dict[str, subprocess.Popen[bytes]]:
    """One process a node, in a group of its own so that Ctrl-C reaches it once."""
    variables = environment(ros)
    programs = [(node, program(ros, node.package, node.executable)) for node in launch.nodes]
    return {
        node.name: subprocess.Popen(node.command(path, arguments), env=variables, start_new_session=True)
        for node, path in programs
    }


def stop(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """End all, the stubborn ones by force, and say which."""
    for process in processes.values():
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    end = time.monotonic() + GRACE
    for node, process in processes.items():
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            print(f"'{node}' did not end within {GRACE} s and was killed", file=sys.stderr)
            process.kill()
            process.wait()


def _pairs(given: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in given:
        name, found, value = text.partition(":=")
        if not found or not name:
            raise InvalidInput(f"'{text}' is no launch argument; write NAME:=VALUE, such as robot:=ur5e")
        pairs[name] = value
    return pairs
