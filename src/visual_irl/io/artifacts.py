"""Demonstrations and trajectories as `.npz` files (never pickled), each with a JSON sidecar that says how it was made."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

import visual_irl
from visual_irl import covariance, se3
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile
from visual_irl.io.archive import arrays_of
from visual_irl.io.atomic import atomic_path
from visual_irl.types import KEYPOINTS, Demonstration, JointTrajectory

FORMATS = {"demonstration": 2, "trajectory": 1}
"""Version that each kind of file is written in; of demonstrations, version 1 is read, too: deviations for covariances."""
STATED: dict[str, dict[str, type]] = {
    "demonstration": {
        "side": str, "radii": dict, "attributes": dict, "held": list, "frame": str, "task": str, "provenance": dict,
        "keypoints": list,
    },
    "trajectory": {"robot": str, "task": str},
}  # fmt: skip
"""What the header of each kind says, and the JSON type of it."""
SCENE = {"T_world_base": list, "objects": dict, "fixtures": dict, "held": list}
"""What that of a trajectory says besides, when it does a task ("" is none)."""
GROUPS = ("object", "fixture", "turn")
"""Arrays of a demonstration that are named after a thing, as in "object:onion_0"."""


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


def sidecar_of(path: Path) -> Path:
    """Where it stands what made a result: `result.npz.json` beside `result.npz`."""
    return Path(path).with_name(Path(path).name + ".json")


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
    write_json(sidecar_of(path), content)


def require_recorded(path: Path, maker: str) -> None:
    """Refuse a result that is not the one that its sidecar was written for; one without a sidecar is taken as it is.

    A sidecar is written after its result, so a `maker` that is killed in between leaves one that does not fit.

    Raises:
        UnreadableFile: it states another digest, or is no sidecar; with the way out.
    """
    found, record = digest(path), sidecar_of(path)
    if not record.is_file():
        return
    try:
        stated = json.loads(record.read_text())["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnreadableFile(f"'{record}' does not say what '{path}' is: {error!r}; `{maker}` makes both again") from error
    if stated != found:
        raise UnreadableFile(
            f"'{path}' (sha256 {found[:12]}..) is not what '{record}' was written for ({str(stated)[:12]}..): it was changed, "
            f"or what wrote it was stopped before its end; `{maker}` makes both again"
        )


def _save(path: Path, kind: str, arrays: Mapping[str, Any], header: Mapping[str, Any]) -> None:
    head = json.dumps(jsonable({"kind": kind, "format": FORMATS[kind], **header}))
    with atomic_path(Path(path)) as partial, open(partial, "wb") as stream:
        np.savez_compressed(stream, header=np.array(head), **arrays)


def _load(path: Path, kind: str, maker: str) -> tuple[dict[str, Any], dict[str, Any]]:
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no {kind} at '{path}'; `{maker}` makes one")
    try:
        arrays: dict[str, Any] = arrays_of(path)
        header = json.loads(str(arrays.pop("header")))
    except (UnreadableFile, ValueError, KeyError) as error:
        raise UnreadableFile(f"'{path}' is not a {kind} file: {error}; `{maker}` makes one") from error
    if not isinstance(header, dict):
        raise UnreadableFile(f"'{path}' is not a {kind} file: its header is no mapping; `{maker}` makes one")
    if header.get("kind") != kind or header.get("format") not in range(1, FORMATS[kind] + 1):
        raise UnreadableFile(
            f"'{path}' is a {header.get('kind')} of format {header.get('format')}, expected a {kind} of format "
            f"{FORMATS[kind]} or below; `{maker}` makes one"
        )
    _require(header, STATED[kind], path, maker)
    for name, array in arrays.items():
        if name != "joint_names" and array.dtype.kind not in "biuf":
            raise UnreadableFile(f"'{path}': '{name}' holds {array.dtype}, expected numbers; `{maker}` makes it again")
    return arrays, header


def _require(header: Mapping[str, Any], stated: Mapping[str, type], path: Path, maker: str) -> None:
    for name, kind in stated.items():
        if not isinstance(header.get(name), kind):
            found = f"has {str(header[name])[:40]!r} for" if name in header else "lacks"
            raise UnreadableFile(f"'{path}': the header {found} '{name}', expected a {kind.__name__}; `{maker}` makes it again")


def _take(arrays: dict[str, Any], names: Sequence[str], path: Path, maker: str) -> dict[str, Any]:
    """Some of the arrays of a file, taken out of all."""
    if missing := sorted(set(names) - set(arrays)):
        raise UnreadableFile(f"'{path}' lacks {', '.join(missing)}; `{maker}` makes it again")
    return {name: arrays.pop(name) for name in names}


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
    if tuple(header["keypoints"]) != KEYPOINTS:
        raise InvalidInput(f"'{path}' names other keypoints than this version; extract it again")
    stored = "sigma" if header["format"] == 1 else "covariance"
    plain = _take(arrays, ("t", "p_world", "seen", "aperture", stored), path, "visual-irl extract")
    numbers = plain.pop(stored)
    if stored == "covariance":
        if numbers.shape[2:] != (6,):
            raise InvalidInput(f"'{path}': covariance has shape {numbers.shape}, expected (T, K, 6); extract it again")
        if not (covariance.possible(numbers) | np.isnan(numbers).any(-1)).all():
            raise InvalidInput(f"'{path}' holds a covariance with a negative direction; extract it again")
    plain["covariance"] = covariance.of_deviations(numbers) if stored == "sigma" else covariance.unpacked(numbers)
    named = {group: {k.split(":", 1)[1]: v for k, v in arrays.items() if k.startswith(f"{group}:")} for group in GROUPS}
    said = {name: header[name] for name in (*STATED["demonstration"], "heights") if name in header and name != "keypoints"}
    said["held"] = tuple(map(str, said["held"]))
    try:
        said |= {name: {n: float(v) for n, v in said[name].items()} for name in ("radii", "heights") if name in said}
        said["attributes"] = {n: {a: float(v) for a, v in of.items()} for n, of in said["attributes"].items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(f"'{path}': radii, heights or attributes are no numbers ({error}); extract it again") from None
    try:
        return Demonstration(**plain, objects=named["object"], fixtures=named["fixture"], turns=named["turn"], **said)
    except InvalidInput as error:
        raise InvalidInput(f"'{path}': {error}; extract it again") from error


def save_trajectory(path: Path, trajectory: JointTrajectory, header: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Write a joint trajectory as `.npz` with extra per-frame arrays and a header (robot, mount, reachability)."""
    plain = {name: getattr(trajectory, name) for name in ("t", "q", "qd", "opening")}
    names = np.array(trajectory.joint_names)
    _save(path, "trajectory", {**plain, "joint_names": names, **arrays}, header)


def load_trajectory(path: Path) -> tuple[JointTrajectory, dict[str, Any], dict[str, np.ndarray]]:
    """Read a joint trajectory, its header and its extra arrays.

    Raises:
        MissingFile, UnreadableFile, InvalidInput: with the way out.
    """
    arrays, header = _load(path, "trajectory", "visual-irl map")
    plain = _take(arrays, ("joint_names", "t", "q", "qd", "opening"), path, "visual-irl map")
    names = tuple(str(n) for n in plain.pop("joint_names").ravel())
    if header["task"]:
        _check_scene(header, path)
    try:
        return JointTrajectory(joint_names=names, **plain), header, arrays
    except InvalidInput as error:
        raise InvalidInput(f"'{path}': {error}; `visual-irl map` makes it again") from error


def _check_scene(header: Mapping[str, Any], path: Path) -> None:
    """Raise for a header whose base, fixtures or held things cannot be what `map` writes."""
    _require(header, SCENE, path, "visual-irl map")
    for what, pose in {"base": header["T_world_base"], **header["fixtures"]}.items():
        try:
            rigid = se3.is_rigid(np.array(pose, float))
        except (TypeError, ValueError):
            rigid = False
        if not rigid:
            raise InvalidInput(f"'{path}': the pose of '{what}' is no rigid transform; `visual-irl map` makes it again")
    for row in header["held"]:
        begin, end, name = row if isinstance(row, list) and len(row) == 3 else (None, None, None)
        if not (isinstance(begin, Real) and isinstance(end, Real) and begin <= end and isinstance(name, str)):
            raise InvalidInput(f"'{path}': held has {row!r}, expected [from, to, name] in s; `visual-irl map` makes it again")
