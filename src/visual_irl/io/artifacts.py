"""Demonstrations and trajectories as `.npz` files (never pickled), each with a JSON sidecar that says how it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import visual_irl
from visual_irl import covariance
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile
from visual_irl.io.atomic import atomic_path
from visual_irl.types import KEYPOINTS, Demonstration, JointTrajectory

FORMATS = {"demonstration": 2, "trajectory": 1}
"""Version that each kind of file is written in; of demonstrations, version 1 is read, too: deviations for covariances."""


def digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder in the order of their names."""
    path = Path(path)
    h = hashlib.sha256()
    for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
        with open(file, "rb") as stream:
            while block := stream.read(1 << 20):
                h.update(block)
    return h.hexdigest()


def write_json(path: Path, content: Any) -> None:
    """Write `content` (dataclasses and NumPy values allowed) as readable JSON, atomically."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(jsonable(content), indent=2, sort_keys=True) + "\n")


def jsonable(value: Any) -> Any:
    """`value` in JSON's own types; arrays become lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if hasattr(value, "_asdict"):
        return {k: jsonable(v) for k, v in value._asdict().items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(v) for v in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return value.name
    return value


def code_digest() -> str:
    """SHA-256 of this package's own source: results of other code are not reused."""
    package = Path(visual_irl.__file__).parent
    h = hashlib.sha256()
    for file in sorted(package.rglob("*.py")):
        h.update(str(file.relative_to(package)).encode() + b"\0" + file.read_bytes() + b"\0")
    return h.hexdigest()


def write_sidecar(path: Path, config: Any, inputs: Mapping[str, Path]) -> None:
    """Write `<path>.json`: the resolved config, versions, the digest of the artefact and of what it was made from."""
    packages = ("numpy", "mediapipe", "mujoco", "pin", "torch")
    versions = {"visual_irl": visual_irl.__version__, "python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    content = {
        "artefact": Path(path).name,
        "sha256": digest(path),
        "config": config,
        "inputs": {name: {"name": Path(p).name, "sha256": digest(p)} for name, p in inputs.items()},
        "versions": versions,
        "code": code_digest(),
    }
    write_json(Path(path).with_name(Path(path).name + ".json"), content)


def _save(path: Path, kind: str, arrays: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    head = json.dumps(jsonable({"kind": kind, "format": FORMATS[kind], **header}))
    with atomic_path(Path(path)) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, header=np.array(head), **arrays)


def _load(path: Path, kind: str, maker: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no {kind} at '{path}'; `{maker}` makes one")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays: dict[str, Any] = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays.pop("header")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UnreadableFile(f"'{path}' is not a {kind} file: {error}; `{maker}` makes one") from error
    if header.get("kind") != kind or header.get("format") not in range(1, FORMATS[kind] + 1):
        raise UnreadableFile(
            f"'{path}' is a {header.get('kind')} of format {header.get('format')}, expected a {kind} of format "
            f"{FORMATS[kind]} or below; `{maker}` makes one"
        )
    return arrays, header


def save_demonstration(path: Path, demo: Demonstration) -> None:
    """Write a demonstration as `.npz`."""
    objects = {f"object:{name}": p for name, p in demo.objects.items()}
    fixtures = {f"fixture:{name}": T for name, T in demo.fixtures.items()}
    turns = {f"turn:{name}": R for name, R in demo.turns.items()}
    plain = {name: getattr(demo, name) for name in ("t", "p_world", "seen", "aperture")}
    plain["covariance"] = covariance.packed(demo.covariance)
    stated = ("side", "radii", "attributes", "held", "frame", "task", "provenance", "heights")
    header = {name: getattr(demo, name) for name in stated}
    _save(path, "demonstration", {**plain, **objects, **fixtures, **turns}, {**header, "keypoints": KEYPOINTS})


def load_demonstration(path: Path) -> Demonstration:
    """Read a demonstration.

    Raises:
        MissingFile, UnreadableFile, InvalidInput: with the way out.
    """
    arrays, header = _load(path, "demonstration", "visual-irl extract")
    if tuple(header.pop("keypoints")) != KEYPOINTS:
        raise InvalidInput(f"'{path}' names other keypoints than this version; extract it again")
    named: dict[str, dict[str, np.ndarray]] = {"object": {}, "fixture": {}, "turn": {}}
    for key in [k for k in arrays if ":" in k]:
        group, _, name = key.partition(":")
        named[group][name] = arrays.pop(key)
    header["held"] = tuple(header["held"])
    stored = "sigma" if header["format"] == 1 else "covariance"
    missing = {"t", "p_world", "seen", "aperture", stored} - set(arrays)
    if missing:
        raise UnreadableFile(f"'{path}' lacks {', '.join(sorted(missing))}; extract it again")
    numbers = arrays.pop(stored)
    if stored == "covariance" and not (covariance.possible(numbers) | np.isnan(numbers).any(-1)).all():
        raise InvalidInput(f"'{path}' holds a covariance with a negative direction; extract it again")
    arrays["covariance"] = covariance.of_deviations(numbers) if stored == "sigma" else covariance.unpacked(numbers)
    del header["kind"], header["format"]
    return Demonstration(**arrays, objects=named["object"], fixtures=named["fixture"], turns=named["turn"], **header)


def save_trajectory(path: Path, trajectory: JointTrajectory, header: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Write a joint trajectory as `.npz` with extra per-frame arrays and a header (robot, mount, reachability)."""
    plain = {name: getattr(trajectory, name) for name in ("t", "q", "qd", "opening")}
    names = np.array(trajectory.joint_names)
    _save(path, "trajectory", {**plain, "joint_names": names, **arrays}, header)


def load_trajectory(path: Path) -> tuple[JointTrajectory, dict[str, Any], dict[str, np.ndarray]]:
    """Read a joint trajectory, its header and its extra arrays."""
    arrays, header = _load(path, "trajectory", "visual-irl map")
    names = tuple(str(n) for n in arrays.pop("joint_names"))
    plain = {name: arrays.pop(name) for name in ("t", "q", "qd", "opening")}
    return JointTrajectory(joint_names=names, **plain), header, arrays
