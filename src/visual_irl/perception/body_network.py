"""BlazePose's landmark network on a region of our choice.

MediaPipe's pose task finds a body by its face. Where the head is out of the picture its region is wrong, and with it the
arms; the landmark network itself does not need the head when the region is right. It runs here as an image embedder, the
one MediaPipe task that returns a network's outputs as they are: three times faster than OpenCV runs it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import cv2
import flatbuffers
import numpy as np
from jaxtyping import Float, UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.perception.detection import POSE_LANDMARKS, PersonDetection
from visual_irl.perception.task_bundle import with_normalization

_INPUT = 256
_OUTPUTS = ("Identity", "Identity_1", "Identity_4")  # landmarks, presence, landmarks in metres
_CENTRE, _TOP = 33, 34  # two more landmarks: the hips' middle, and a point of the circle around the whole body
_MARGIN = 1.25


@dataclass(frozen=True)
class Region:
    """A square that holds a whole body: centre (x, y) and side [px], and by how much its up is turned right [rad].

    `extended`: above the picture its top row goes on, instead of black. A trunk that ends at a black edge is often taken
    for one seen from behind, one that goes on is not; where the edge cuts an arm, black is better.
    """

    x: float
    y: float
    side: float
    turn: float = 0.0
    extended: bool = False

    def to_crop(self) -> Float[ndarray, "2 3"]:
        """The affine map from the picture's pixels to the network's input."""
        scale = _INPUT / self.side
        c, s = scale * np.cos(self.turn), scale * np.sin(self.turn)
        A = np.array([[c, s], [-s, c]])
        return np.column_stack([A, 0.5 * _INPUT - A @ [self.x, self.y]])

    def crop(self, rgb: UInt8[ndarray, "H W 3"]) -> UInt8[ndarray, "256 256 3"]:
        """The network's input."""
        M = self.to_crop()
        if self.extended:
            rows = max(0, math.ceil(0.75 * self.side - self.y))  # half the diagonal of the square
            rgb = cv2.copyMakeBorder(rgb, rows, 0, 0, 0, cv2.BORDER_REPLICATE)
            M[:, 2] -= rows * M[:, 1]
        return np.ascontiguousarray(cv2.warpAffine(rgb, M, (_INPUT, _INPUT), flags=cv2.INTER_LINEAR))


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
        rows, M = landmarks.reshape(-1, 5), region.to_crop()
        uv = (rows[:, :2] - M[:, 2]) @ np.linalg.inv(M[:, :2]).T
        c, s = np.cos(region.turn), np.sin(region.turn)
        shape = metres.reshape(-1, 3) @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]).T
        with np.errstate(over="ignore"):
            visibility = 1.0 / (1.0 + np.exp(-rows[:POSE_LANDMARKS, 3]))
        person = PersonDetection(uv[:POSE_LANDMARKS], visibility, shape[:POSE_LANDMARKS], {})
        up = uv[_TOP] - uv[_CENTRE]
        side = max(2.0 * _MARGIN * float(np.linalg.norm(up)), 32.0)
        turn = float(np.arctan2(up[0], -up[1]))
        own = Region(float(uv[_CENTRE, 0]), float(uv[_CENTRE, 1]), side, turn, region.extended)
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
