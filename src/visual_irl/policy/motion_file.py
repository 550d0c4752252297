"""How motions are kept: named arrays and numbers in one safetensors file, which never executes anything when it is read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.io.tensors import Tensors, load_tensors


@dataclass(frozen=True)
class Packed:
    """Arrays and numbers of one thing that was learned."""

    arrays: Mapping[str, ndarray]
    numbers: Mapping[str, Any]


def require_array(what: str, value: Any, shape: tuple[int, ...], low: float, high: float) -> None:
    """Raise unless all numbers of a learned motion are there and between bounds: a file may come from a stranger.

    Raises:
        InvalidInput: what it is, and the bound.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or array.shape != shape:
        raise InvalidInput(f"{what} is of {array.dtype} and shape {array.shape}, expected numbers of shape {shape}")
    out = ~((array >= low) & (array <= high))  # NaN is neither
    if out.any():
        raise InvalidInput(f"{what} holds {array[out].ravel()[0]:.4g}, expected {low:g} to {high:g}")


def packed_motion(parts: Mapping[str, Packed]) -> tuple[str, Tensors]:
    """The kind of file that parts are kept in by their names, and what it holds."""
    arrays = {f"{part}/{name}": a for part, packed in parts.items() for name, a in packed.arrays.items()}
    numbers = {part: dict(packed.numbers) for part, packed in parts.items()}
    return "motion", Tensors(arrays, {"numbers": json.dumps(numbers)})


def load_motion(path: Path, parts: Mapping[str, Callable[[Packed], Any]]) -> tuple[Any, ...]:
    """Read the named parts, each made by its function.

    Raises:
        MissingFile, UnreadableFile: with the way out.
    """

    def made(file: Tensors) -> tuple[Any, ...]:
        numbers = json.loads(file.facts["numbers"])
        arrays: dict[str, dict[str, ndarray]] = {part: {} for part in parts}
        for key, array in file.arrays.items():
            part, _, name = key.partition("/")
            if part in arrays:
                arrays[part][name] = array
        return tuple(make(Packed(arrays[part], numbers[part])) for part, make in parts.items())

    return load_tensors(path, "motion", made)
