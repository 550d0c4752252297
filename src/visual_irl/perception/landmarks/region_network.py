"""A landmark network on a region of our choice, run by MediaPipe.

MediaPipe's pose task finds a body by its face. Where the head is out of the picture its region is wrong, and with it the
arms; the landmark network itself does not need the head when the region is right. It runs here as an image embedder, the
one MediaPipe task that returns a network's outputs as they are: three times faster than OpenCV runs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions, vision
from numpy import ndarray

from visual_irl.perception.landmarks.task_bundle import with_normalization, with_outputs

BODY_OUTPUTS = ("Identity", "Identity_1", "Identity_4")
"""Landmarks, presence, landmarks in metres."""
HAND_OUTPUTS = ("Identity", "Identity_1", "Identity_2", "Identity_3")
"""Landmarks, presence, probability of a right hand, landmarks in metres."""


class RegionNetwork:
    """A bare landmark network; `run` gives its outputs for a crop of its input's size."""

    def __init__(self, network: Path, outputs: Sequence[str]) -> None:
        """`outputs`: names of those that are wanted; an embedder cannot return a heat map."""
        network_bytes = with_normalization(with_outputs(network.read_bytes(), outputs), 0.0, 255.0)
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
