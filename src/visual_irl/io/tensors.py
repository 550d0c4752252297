"""Named arrays with stated facts in one safetensors file: reading it never executes anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from visual_irl.errors import MissingFile, UnreadableFile
from visual_irl.io.atomic import atomic_path

T = TypeVar("T")


@dataclass(frozen=True)
class Tensors:
    """What a file holds."""

    arrays: Mapping[str, ndarray]
    facts: Mapping[str, str]
    """What is said of them; anything but a name is JSON."""


def save_tensors(path: Path, kind: str, tensors: Tensors) -> None:
    """Write arrays and facts, atomically; `kind` says what the file is. The same arrays and facts are the same bytes.

    Raises:
        UnwritableOutput: the folder cannot be written to or the disk is full.
    """
    save_together({path: (kind, tensors)})


def save_together(files: Mapping[Path, tuple[str, Tensors]]) -> None:
    """Write files that belong together, each of a kind: all are whole before the first replaces an older one.

    Raises:
        UnwritableOutput: as above; the older ones are all still there.
    """
    with ExitStack() as stack:
        for path, (kind, tensors) in files.items():
            arrays = {name: np.ascontiguousarray(a) for name, a in tensors.arrays.items()}
            stack.enter_context(atomic_path(path)).write_bytes(_ordered(save(arrays, {"kind": kind, **tensors.facts})))


def _ordered(file: bytes) -> bytes:
    """A safetensors file with its facts in the order of their names: the library writes them in a random one. Tensors are in a
    fixed order already, and their offsets count from the header's end."""
    size = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data stays aligned
    return len(text).to_bytes(8, "little") + text + file[8 + size :]


def load_tensors(path: Path, kind: str, made: Callable[[Tensors], T], maker: str = "visual-irl learn") -> T:
    """What `made` makes of a file of this kind.

    Raises:
        MissingFile, UnreadableFile: there is none, or it is of another kind or incomplete; `maker` is the way out.
    """
    noun = kind.replace("_", " ")
    if not Path(path).is_file():
        raise MissingFile(f"no {noun} at '{path}'; `{maker}` makes one")
    try:
        with safe_open(path, framework="np") as archive:
            metadata = archive.metadata() or {}
            if metadata.get("kind") != kind:
                raise UnreadableFile(f"'{path}' holds a '{metadata.get('kind')}', expected a {kind}; `{maker}` makes one")
            arrays = {name: archive.get_tensor(name) for name in archive.keys()}  # noqa: SIM118 - not a dict
        return made(Tensors(arrays, metadata))
    except (SafetensorError, AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise UnreadableFile(f"'{path}' is not a {noun} of this kind: {error}; `{maker}` makes one") from error


def load_weights(path: Path, noun: str, way_out: str) -> dict[str, ndarray]:
    """The arrays of a file that holds a network's weights and nothing else.

    Raises:
        MissingFile, UnreadableFile: there is none, or it is no such file; `way_out` says how to get one.
    """
    if not path.is_file():
        raise MissingFile(f"there is no {noun} '{path}'; {way_out}")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UnreadableFile(f"'{path}' is not a {noun}: {error}; {way_out}") from error
