"""The same networks in PyTorch, on any device and for whole batches: what `tflite.read_network` read, step by step.

TensorFlow Lite keeps pictures as (N, H, W, C), PyTorch as (N, C, H, W): they are turned once at each end, and wherever a
picture becomes a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from visual_irl.perception.landmarks.tflite import Graph, Operator, read_network

_WEIGHT_AXES = {"CONV_2D": (0, 3, 1, 2), "DEPTHWISE_CONV_2D": (3, 0, 1, 2)}
_PICTURE_AXES = {0: 0, 1: 2, 2: 3, 3: 1, -1: 1}  # of (N, H, W, C) in (N, C, H, W)


class TorchNetwork(torch.nn.Module):
    """Call it with pictures (N, 3, H, W), normalised as the network expects; it returns the wanted outputs.

    On CUDA a batch is filled up to the next power of two; each such size is captured once as a graph and replayed, which
    saves the launch of some 300 kernels. Graphs of one network are not to be replayed by two threads at once.
    """

    def __init__(self, path: Path, outputs: Sequence[int], device: torch.device, half: bool) -> None:
        """`outputs` counts the network's outputs; what computes only others is left out."""
        super().__init__()
        graph = read_network(path)
        self.device, self.dtype = device, torch.float16 if half else torch.float32
        self.side = graph.shapes[graph.inputs[0]][1]
        """Side of the square picture that the network takes [px]."""
        self._input, self._outputs = graph.inputs[0], [graph.outputs[i] for i in outputs]
        self._operators = _needed(graph, self._outputs)
        self._sizes = {i: tuple(value.tolist()) for i, value in graph.constants.items() if value.dtype.kind == "i"}
        for i, value in _weights(graph, self._operators).items():
            weight = torch.from_numpy(value).to(device, self.dtype)
            picture = weight.dim() == 4 and weight.shape[1] > 1
            self.register_buffer(_name(i), weight.contiguous(memory_format=torch.channels_last) if picture else weight)
        self._last_use = {i: k for k, op in enumerate(self._operators) for i in op.inputs if i not in graph.constants}
        self._shapes = graph.shapes
        self._replays: dict[int, Callable[[Tensor], list[Tensor]]] = {}
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, pictures: Float[Tensor, "N 3 S S"]) -> list[Tensor]:
        """The wanted outputs, as 32-bit floats with N first."""
        if self.device.type == "cpu":
            return self._run(pictures.to(self.dtype).contiguous(memory_format=torch.channels_last))
        size = _filled_up(len(pictures))
        if size not in self._replays:
            self._replays[size] = self.captured(size)
        return self._replays[size](pictures)

    def prepare(self, most: int) -> None:
        """Capture the graphs of all batches of up to `most` pictures, so that no later picture has to wait for that."""
        for size in sorted({_filled_up(n) for n in range(1, most + 1)} - self._replays.keys()):
            self._replays[size] = self.captured(size)

    @torch.no_grad()
    def captured(self, size: int) -> Callable[[Tensor], list[Tensor]]:
        """This network on up to so many pictures as a CUDA graph. Never run so far: no CUDA device was at hand."""
        shape = (size, 3, self.side, self.side)
        still = torch.zeros(shape, dtype=self.dtype, device=self.device).contiguous(memory_format=torch.channels_last)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        # TF32 has no more digits than 16 bits: who asks for 32 does not want it
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            with torch.cuda.stream(stream):  # libraries choose their kernels before anything is captured
                for _ in range(3):
                    self._run(still)
            torch.cuda.current_stream().wait_stream(stream)
            recording = torch.cuda.CUDAGraph()
            # what other threads do on the device meanwhile is no part of it, and no error
            with torch.cuda.graph(recording, capture_error_mode="thread_local"):
                results = self._run(still)

        def replay(pictures: Tensor) -> list[Tensor]:
            still[: len(pictures)].copy_(pictures)  # what earlier batches left in the rest is seen for nothing
            recording.replay()
            return [result[: len(pictures)].clone() for result in results]

        return replay

    def _run(self, pictures: Tensor) -> list[Tensor]:
        values = {self._input: pictures}
        for k, operator in enumerate(self._operators):
            known = (i for i in operator.inputs if i >= 0 and i not in self._sizes)
            inputs = [values[i] if i in values else getattr(self, _name(i)) for i in known]
            values[operator.outputs[0]] = self._step(operator, inputs)
            for i in operator.inputs:
                if self._last_use.get(i) == k and i not in self._outputs:
                    values.pop(i, None)
        return [_as_stored(values[i]).float() for i in self._outputs]

    def _step(self, op: Operator, x: list[Tensor]) -> Tensor:  # one short branch an operator reads best in one place
        o = op.options
        if op.name in _WEIGHT_AXES:
            bias = x[2] if len(x) > 2 else None
            groups = x[0].shape[1] if op.name == "DEPTHWISE_CONV_2D" else 1
            padded, margin = _same(x[0], (x[1].shape[2], x[1].shape[3]), o)
            return _activated(F.conv2d(padded, x[1], bias, (o["stride_h"], o["stride_w"]), margin, groups=groups), o)
        if op.name == "ADD":
            return _activated(x[0] + x[1], o)
        if op.name == "PRELU":
            return F.prelu(x[0], x[1])
        if op.name == "MAX_POOL_2D":
            padded, margin = _same(x[0], (o["height"], o["width"]), o, float("-inf"))
            return F.max_pool2d(padded, (o["height"], o["width"]), (o["stride_h"], o["stride_w"]), margin)
        if op.name == "PAD":
            pads = np.array(self._sizes[op.inputs[1]])[[2, 1, 3]]  # PyTorch counts from the last axis
            return F.pad(x[0], pads.ravel().tolist())
        if op.name == "RESIZE_BILINEAR":
            corners = bool(o["align_corners"])
            return F.interpolate(x[0], size=self._sizes[op.inputs[1]], mode="bilinear", align_corners=corners)
        if op.name == "DEPTH_TO_SPACE":
            n, c, h, w = x[0].shape
            b = o["block"]
            return x[0].reshape(n, b, b, c // b**2, h, w).permute(0, 3, 4, 1, 5, 2).reshape(n, c // b**2, h * b, w * b)
        if op.name == "RESHAPE":
            flat = _as_stored(x[0]).reshape(len(x[0]), *self._shapes[op.outputs[0]][1:])
            return flat.permute(0, 3, 1, 2) if flat.dim() == 4 else flat
        if op.name == "CONCATENATION":
            return torch.cat(x, _PICTURE_AXES[o["axis"]] if x[0].dim() == 4 else o["axis"])
        if op.name == "LOGISTIC":
            return torch.sigmoid(x[0])
        if op.name == "MEAN":  # of a picture's rows and columns
            return x[0].mean((2, 3), keepdim=bool(o["keep_dims"]))
        if op.name == "FULLY_CONNECTED":
            return _activated(F.linear(_as_stored(x[0]).reshape(len(x[0]), -1), x[1], x[2]), o)
        raise NotImplementedError(op.name)


def _filled_up(pictures: int) -> int:
    """The size of the batch that so many pictures are put into: few sizes need few graphs."""
    return 1 << (pictures - 1).bit_length()


def _needed(graph: Graph, outputs: Sequence[int]) -> tuple[Operator, ...]:
    wanted, kept = set(outputs), []
    for operator in reversed(graph.operators):
        if wanted.intersection(operator.outputs):
            kept.append(operator)
            wanted.update(operator.inputs)
    return tuple(reversed(kept))


def _weights(graph: Graph, operators: Sequence[Operator]) -> dict[int, np.ndarray]:
    """Constants that are weights, with their axes as PyTorch wants them."""
    out = {}
    for operator in operators:
        for position, i in enumerate(operator.inputs):
            if i in graph.constants and graph.constants[i].dtype.kind == "f":
                value = graph.constants[i]
                if position == 1 and operator.name in _WEIGHT_AXES:
                    value = value.transpose(_WEIGHT_AXES[operator.name])
                if position == 1 and operator.name == "PRELU":
                    value = value.reshape(-1)  # one slope a channel
                out[i] = np.array(value)
    return out


def _name(i: int) -> str:
    return f"constant_{i}"


def _as_stored(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1) if x.dim() == 4 else x


def _activated(x: Tensor, options: Mapping[str, int]) -> Tensor:
    kind = options.get("activation", 0)
    return x if kind == 0 else F.relu(x) if kind == 1 else x.clamp(0.0, 6.0) if kind == 3 else x.clamp(-1.0, 1.0)


def _same(x: Tensor, kernel: tuple[int, int], options: Mapping[str, int], value: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """TensorFlow's padding 'SAME', which puts the odd pixel below and to the right; and what the operator pads by itself."""
    if options["valid"]:
        return x, (0, 0)
    strides = (options["stride_h"], options["stride_w"])
    extra = [max((-(-n // s) - 1) * s + k - n, 0) for n, k, s in zip(x.shape[2:], kernel, strides, strict=True)]
    if all(e % 2 == 0 for e in extra):
        return x, (extra[0] // 2, extra[1] // 2)
    top, left = extra[0] // 2, extra[1] // 2
    return F.pad(x, (left, extra[1] - left, top, extra[0] - top), value=value), (0, 0)
