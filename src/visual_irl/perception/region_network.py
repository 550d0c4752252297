"""A landmark network on a region of our choice, run by MediaPipe.

MediaPipe's pose task finds a body by its face. Where the head is out of the picture its region is wrong, and with it the
arms; the landmark network itself does not need the head when the region is right. It runs here as an image embedder, the
one MediaPipe task that returns a network's outputs as they are: three times faster than OpenCV runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import flatbuffers
import numpy as np
from jaxtyping import UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.perception.task_bundle import with_normalization

BODY_OUTPUTS = ("Identity", "Identity_1", "Identity_4")
"""Landmarks, presence, landmarks in metres."""
HAND_OUTPUTS = ("Identity", "Identity_1", "Identity_2", "Identity_3")
"""Landmarks, presence, probability of a right hand, landmarks in metres."""


class RegionNetwork:
    """A bare landmark network; `run` gives its outputs for a crop of its input's size."""

    def __init__(self, network: Path, outputs: Sequence[str]) -> None:
        """`outputs`: names of those that are wanted."""
        network_bytes = with_normalization(_with_outputs(network.read_bytes(), outputs), 0.0, 255.0)
        self._embedder = vision.ImageEmbedder.create_from_options(
            vision.ImageEmbedderOptions(base_options=BaseOptions(model_asset_buffer=network_bytes))
        )

    def run(self, crop: UInt8[ndarray, "S S 3"]) -> list[ndarray]:
        """The outputs, each flat, in the order of their names."""
        result = self._embedder.embed(Image(image_format=ImageFormat.SRGB, data=crop))
        return [np.asarray(head.embedding, float) for head in result.embeddings]

    def close(self) -> None:
        """Free the network."""
        self._embedder.close()


def _with_outputs(network: bytes, outputs: Sequence[str]) -> bytes:
    """The network with these outputs alone (an embedder cannot return a heat map), without what computes only others."""
    model = tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(bytearray(network), 0))
    graph = model.subgraphs[0]
    named = {_text(graph.tensors[i].name): i for i in graph.outputs}
    graph.outputs = [named[name] for name in outputs]
    needed, kept = {int(i) for i in graph.outputs}, []
    for operator in reversed(graph.operators):
        if needed.intersection(int(i) for i in operator.outputs):
            kept.append(operator)
            needed.update(int(i) for i in operator.inputs)
    graph.operators = kept[::-1]
    builder = flatbuffers.Builder(len(network))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else name
