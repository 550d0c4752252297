"""A published `.tflite` network as plain arrays and a list of operators: a small reader of that flatbuffer, and nothing more.

Only what BlazePose's and MediaPipe Hands' networks hold is known: float and 16-bit float weights, dense or sparse, and
fifteen operators. Field numbers are those of TensorFlow's `schema.fbs` (version 3).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy import ndarray

from visual_irl.errors import MissingFile, UnreadableFile

_NAMES = {
    0: "ADD", 2: "CONCATENATION", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 5: "DEPTH_TO_SPACE", 6: "DEQUANTIZE",
    9: "FULLY_CONNECTED", 14: "LOGISTIC", 17: "MAX_POOL_2D", 22: "RESHAPE", 23: "RESIZE_BILINEAR", 34: "PAD", 40: "MEAN",
    54: "PRELU", 124: "DENSIFY",
}  # fmt: skip
_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4"}
_OPTIONS = {  # operator -> option -> field, struct format, default
    "CONV_2D": {"valid": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "activation": (3, "b", 0)},
    "DEPTHWISE_CONV_2D": {"valid": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "activation": (4, "b", 0)},
    "MAX_POOL_2D": {
        "valid": (0, "b", 0), "stride_w": (1, "i", 0), "stride_h": (2, "i", 0), "width": (3, "i", 0), "height": (4, "i", 0)
    },
    "ADD": {"activation": (0, "b", 0)},
    "FULLY_CONNECTED": {"activation": (0, "b", 0)},
    "CONCATENATION": {"axis": (0, "i", 0)},
    "RESIZE_BILINEAR": {"align_corners": (2, "?", 0), "half_pixel_centres": (3, "?", 0)},
    "DEPTH_TO_SPACE": {"block": (0, "i", 0)},
    "MEAN": {"keep_dims": (0, "?", 0)},
}  # fmt: skip
_DILATIONS = {"CONV_2D": (4, 5), "DEPTHWISE_CONV_2D": (5, 6)}


@dataclass(frozen=True)
class Operator:
    """One step: its name in TensorFlow Lite, numbers of the tensors it reads and writes, and its options."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int]


@dataclass(frozen=True)
class Graph:
    """A network: operators in the order in which they run, constants by tensor number, shapes of all tensors."""

    operators: tuple[Operator, ...]
    constants: Mapping[int, ndarray]
    shapes: tuple[tuple[int, ...], ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_network(path: Path) -> Graph:
    """The network in a `.tflite` file; weights as 32-bit floats, made dense.

    Raises:
        MissingFile: there is no such file.
        UnreadableFile: it is no such network, or has an operator or a type that is not known here.
    """
    if not path.is_file():
        raise MissingFile(f"no network at '{path}'; `visual-irl models pull` fetches it")
    try:
        return _graph(_Table.root(path.read_bytes()))
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise UnreadableFile(
            f"'{path}' is no network that can be read: {error}; delete it, and `visual-irl models pull` fetches it anew"
        ) from error


@dataclass(frozen=True)
class _Table:
    """A flatbuffer table: its fields lie where its virtual table says; what is absent has a default."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> _Table:
        if data[4:8] != b"TFL3":
            raise ValueError("it does not begin like one")
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def _place(self, field: int) -> int | None:
        table = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        if 4 + 2 * field >= struct.unpack_from("<H", self.data, table)[0]:
            return None
        offset = struct.unpack_from("<H", self.data, table + 4 + 2 * field)[0]
        return self.at + offset if offset else None

    def _followed(self, field: int) -> int | None:
        place = self._place(field)
        return None if place is None else place + struct.unpack_from("<I", self.data, place)[0]

    def number(self, field: int, form: str, default: int = 0) -> int:
        place = self._place(field)
        return default if place is None else int(struct.unpack_from("<" + form, self.data, place)[0])

    def table(self, field: int) -> _Table | None:
        place = self._followed(field)
        return None if place is None else _Table(self.data, place)

    def tables(self, field: int) -> list[_Table]:
        places = self._followed(field)
        if places is None:
            return []
        count = struct.unpack_from("<I", self.data, places)[0]
        starts = range(places + 4, places + 4 + 4 * count, 4)
        return [_Table(self.data, start + struct.unpack_from("<I", self.data, start)[0]) for start in starts]

    def array(self, field: int, dtype: str = "<i4") -> ndarray:
        place = self._followed(field)
        if place is None:
            return np.zeros(0, dtype)
        return np.frombuffer(self.data, dtype, struct.unpack_from("<I", self.data, place)[0], place + 4)


def _graph(model: _Table) -> Graph:
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    buffers = model.tables(4)
    (subgraph,) = model.tables(2)
    tensors = subgraph.tables(0)
    constants = {i: value for i, tensor in enumerate(tensors) if (value := _constant(tensor, buffers)) is not None}
    operators = []
    for raw in subgraph.tables(3):
        code = codes[raw.number(0, "I")]
        if code not in _NAMES:
            raise ValueError(f"its operator number {code} is not known")
        operator = _operator(_NAMES[code], raw)
        if operator.name in ("DEQUANTIZE", "DENSIFY"):  # only ever of weights: done here
            constants[operator.outputs[0]] = constants[operator.inputs[0]]
        else:
            operators.append(operator)
    used = {i for operator in operators for i in operator.inputs}
    kept = {i: value.astype(np.float32) if value.dtype.kind == "f" else value for i, value in constants.items() if i in used}
    shapes = tuple(tuple(int(n) for n in tensor.array(0)) for tensor in tensors)
    return Graph(tuple(operators), kept, shapes, _ints(subgraph.array(1)), _ints(subgraph.array(2)))


def _operator(name: str, raw: _Table) -> Operator:
    options = raw.table(4)
    values = {}
    if options is not None:
        values = {key: options.number(*where) for key, where in _OPTIONS.get(name, {}).items()}
        if any(options.number(field, "i", 1) != 1 for field in _DILATIONS.get(name, ())):
            raise ValueError("it has a dilated convolution")
        if name == "RESIZE_BILINEAR" and not (values["align_corners"] or values["half_pixel_centres"]):
            raise ValueError("it enlarges pictures in TensorFlow's first way")
    return Operator(name, _ints(raw.array(1)), _ints(raw.array(2)), values)


def _constant(tensor: _Table, buffers: list[_Table]) -> ndarray | None:
    """A tensor's values where the file holds them."""
    data = buffers[tensor.number(2, "I")].array(0, "u1")
    if not len(data):
        return None
    values = data.view(_DTYPES[tensor.number(1, "b")])
    shape = _ints(tensor.array(0))
    sparsity = tensor.table(6)
    return values.reshape(shape) if sparsity is None else _densified(values, shape, sparsity)


def _densified(values: ndarray, shape: tuple[int, ...], sparsity: _Table) -> ndarray:
    """A sparse tensor made dense: its dimensions are walked in the stated order, of which some are cut into blocks.

    A sparse level lists, for each place of the level above, the indices that hold anything (compressed sparse rows).
    """
    order, blocked, levels = _ints(sparsity.array(0)), _ints(sparsity.array(1)), sparsity.tables(2)
    block = dict.fromkeys(range(len(shape)), 1)
    for number, dimension in enumerate(order[len(shape) :], len(shape)):
        block[blocked[dimension - len(shape)]] = levels[number].number(1, "i")
    coordinates = np.zeros((1, len(shape)), np.int64)
    places = np.zeros(1, np.int64)
    for level, dimension in zip(levels, order, strict=True):
        if level.number(0, "b") == 0:
            count = level.number(1, "i")
            parents, index = np.repeat(np.arange(len(places)), count), np.tile(np.arange(count), len(places))
            places = places[parents] * count + index
        else:
            ends, indices = _indices(level, 2), _indices(level, 4)
            first, last = ends[places], ends[places + 1]
            parents = np.repeat(np.arange(len(places)), last - first)
            places = np.concatenate([np.arange(a, b) for a, b in zip(first, last, strict=True)])
            index = indices[places]
        coordinates = coordinates[parents]
        outer = dimension < len(shape)
        axis = dimension if outer else blocked[dimension - len(shape)]
        coordinates[:, axis] += index * (block[axis] if outer else 1)
    dense = np.zeros(shape, values.dtype)
    dense[tuple(coordinates.T)] = values[places]
    return dense


def _indices(level: _Table, field: int) -> ndarray:
    """A vector whose width the file chose: the union's type says 32, 16 or 8 bits."""
    dtype = {1: "<i4", 2: "<u2", 3: "u1"}[level.number(field, "B")]
    holder = level.table(field + 1)
    assert holder is not None
    return holder.array(0, dtype).astype(np.int64)


def _ints(values: ndarray) -> tuple[int, ...]:
    return tuple(int(value) for value in values)
