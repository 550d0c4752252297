"""BlazePose's landmark network on a region of our choice.

MediaPipe's pose task finds a body by its face. Where the head is out of the picture its region is wrong, and with it the
arms; the landmark network itself does not need the head when the region is right. It runs here as an image embedder, the
one MediaPipe task that returns a network's outputs as they are: three times faster than OpenCV runs it.
"""

from __future__ import annotations

from pathlib import Path

import flatbuffers
import numpy as np
from jaxtyping import UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.perception.detection import PersonDetection
from visual_irl.perception.region import Region, body_in
from visual_irl.perception.task_bundle import with_normalization

_OUTPUTS = ("Identity", "Identity_1", "Identity_4")  # landmarks, presence, landmarks in metres


class BodyNetwork:
    """The bare landmark network; `run` gives what it sees in a region, and the region for the next picture."""

    def __init__(self, network: Path) -> None:
        self._embedder = vision.ImageEmbedder.create_from_options(
            vision.ImageEmbedderOptions(
                base_options=BaseOptions(
                    model_asset_buffer=with_normalization(_landmarks_only(network.read_bytes()), 0.0, 255.0)
                )
            )
        )

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """Landmarks (without hands), the probability that a body is there, and the body's own region."""
        result = self._embedder.embed(Image(image_format=ImageFormat.SRGB, data=region.crop(rgb)))
        landmarks, presence, metres = (np.asarray(head.embedding, float) for head in result.embeddings)
        person, own = body_in(landmarks.reshape(-1, 5), metres.reshape(-1, 3), region)
        return person, float(presence[0]), own

    def close(self) -> None:
        """Free the network."""
        self._embedder.close()


def _landmarks_only(network: bytes) -> bytes:
    """The network without its heat map and mask, which an embedder cannot return, and without what computes only them."""
    model = tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(bytearray(network), 0))
    graph = model.subgraphs[0]
    named = {_text(graph.tensors[i].name): i for i in graph.outputs}
    graph.outputs = [named[name] for name in _OUTPUTS]
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
