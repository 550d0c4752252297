"""How motions are kept: named arrays and numbers in one safetensors file, which never executes anything when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from visual_irl.errors import MissingFile, UnreadableFile
from visual_irl.io.atomic import atomic_path


@dataclass(frozen=True)
class Packed:
    """Arrays and numbers of one thing that was learned."""

    arrays: Mapping[str, ndarray]
    numbers: Mapping[str, Any]


def save_motion(path: Path, parts: Mapping[str, Packed]) -> None:
    """Write parts by their names, atomically."""
    arrays = {f"{part}/{name}": np.ascontiguousarray(a) for part, packed in parts.items() for name, a in packed.arrays.items()}
    numbers = {part: dict(packed.numbers) for part, packed in parts.items()}
    with atomic_path(path) as partial:
        save_file(arrays, partial, metadata={"kind": "motion", "numbers": json.dumps(numbers)})


def load_motion(path: Path, parts: Mapping[str, Callable[[Packed], Any]]) -> tuple[Any, ...]:
    """Read the named parts, each made by its function.

    Raises:
        MissingFile, UnreadableFile: with the way out.
    """
    if not Path(path).is_file():
        raise MissingFile(f"no motion at '{path}'; `visual-irl learn` makes one")
    try:
        with safe_open(path, framework="np") as archive:
            metadata = archive.metadata() or {}
            if metadata.get("kind") != "motion":
                raise UnreadableFile(f"'{path}' holds a '{metadata.get('kind')}', expected a motion")
            numbers = json.loads(metadata["numbers"])
            arrays: dict[str, dict[str, ndarray]] = {part: {} for part in parts}
            for key in archive.keys():  # noqa: SIM118 - not a dict
                part, _, name = key.partition("/")
                if part in arrays:
                    arrays[part][name] = archive.get_tensor(key)
        return tuple(made(Packed(arrays[part], numbers[part])) for part, made in parts.items())
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UnreadableFile(f"'{path}' is not a motion of this kind: {error}; `visual-irl learn` makes one") from error
