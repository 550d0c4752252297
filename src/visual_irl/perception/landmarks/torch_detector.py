"""Body and hands of one person in PyTorch: MediaPipe's networks on a GPU, or without MediaPipe on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from numpy import ndarray

from visual_irl.errors import InvalidInput, MissingDependency
from visual_irl.perception.landmarks.detection import HandDetection, PersonDetection
from visual_irl.perception.landmarks.person_finder import MOST_PEOPLE, PersonFinder, PersonFinderConfig
from visual_irl.perception.landmarks.region import Region
from visual_irl.perception.landmarks.torch_tracking import MAX_HANDS, Followed, Picture, TorchTracker
from visual_irl.perception.landmarks.weights import component_path


@dataclass(frozen=True)
class TorchDetectorConfig(PersonFinderConfig):
    """Options of the PyTorch detector."""

    device: str = "auto"
    """`cuda`, `cpu`, or `auto`: CUDA where there is a GPU."""
    half: bool = True
    """16-bit floats on a GPU; a CPU always computes with 32."""

    def build(self) -> PersonFinder:
        """The detector, its weights pulled when missing.

        Raises:
            InvalidInput: the device is unknown.
            MissingDependency: there is no CUDA device.
            DownloadFailed: the weights cannot be had.
        """
        return self.build_many(1)[0]

    def build_many(self, streams: int) -> list[PersonFinder]:
        """A detector for each of several streams, which share their networks; `detect_together` runs them as one batch."""
        device = self._device()
        names = ("pose_detection", f"pose_landmark_{self.pose_model}", "palm_detection_full", "hand_landmark_full")
        keys = ("pose_detection", "pose_landmark", "palm_detection", "hand_landmark")
        files = {key: component_path(name) for key, name in zip(keys, names, strict=True)}
        tracker = TorchTracker(files, device, self.half and device.type == "cuda", self.min_confidence, streams)
        return [PersonFinder(self, TorchNetworks(tracker)) for _ in range(streams)]

    def _device(self) -> torch.device:
        if self.device not in ("auto", "cpu", "cuda"):
            raise InvalidInput(f"device '{self.device}' is unknown; known: auto, cpu, cuda")
        there = torch.cuda.is_available()
        if self.device == "cuda" and not there:
            raise MissingDependency("no CUDA device that PyTorch can use; `device: cpu` needs none")
        return torch.device("cuda" if there and self.device != "cpu" else "cpu")


class TorchNetworks:
    """The networks as `person_finder.Networks`, for one stream."""

    def __init__(self, tracker: TorchTracker) -> None:
        self.tracker, self.followed = tracker, Followed()
        self.picture: Picture | None = None
        self.ms = -1
        self._rgb: ndarray | None = None
        self._hands: list[HandDetection] | None = None
        self._body: tuple[PersonDetection | None] | None = None

    def begin(self, rgb: UInt8[ndarray, "H W 3"], stamp_ms: int) -> None:
        """The picture that `hands` and `body` look at from here on."""
        self.picture, self.ms, self._rgb = self.tracker.upload(rgb), stamp_ms, rgb
        self._hands = self._body = None

    def forget(self, stamp_ms: int) -> None:
        """Follow nothing any more."""
        self.followed = Followed()

    def hands(self) -> list[HandDetection]:
        """Up to two hands in the picture."""
        if self._hands is None:
            look([self], bodies=False)
        assert self._hands is not None
        return self._hands

    def body(self, near: Region | None = None) -> PersonDetection | None:
        """The body in the picture, without hands; `near`: the one in the middle of this square, searched for anew."""
        if self._body is None or near is not None:
            look([self], near=near)
        assert self._body is not None
        return self._body[0]

    def bodies(self) -> list[PersonDetection]:
        """All bodies in the picture."""
        assert self.picture is not None
        return self.tracker.all_bodies(self.picture, MOST_PEOPLE)

    def hand_in(self, crop: UInt8[ndarray, "S S 3"]) -> HandDetection | None:
        """A hand in a picture of its own."""
        _, (hands,) = self.tracker.follow([self.tracker.upload(crop)], [Followed()], [0], bodies=False, most_hands=1)
        return hands[0] if hands else None

    def hand_at(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> HandDetection | None:
        """What the hand's network sees in a region."""
        _, (hand,) = self.tracker.seen([self._uploaded(rgb)], [[]], [[region]])
        return hand

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """What the body's network sees in a region."""
        (body,), _ = self.tracker.seen([self._uploaded(rgb)], [[region]], [[]])
        return body

    def _uploaded(self, rgb: UInt8[ndarray, "H W 3"]) -> Picture:
        """A picture on the device, where the newest one is already."""
        return self.picture if rgb is self._rgb and self.picture is not None else self.tracker.upload(rgb)

    def close(self) -> None:
        """Nothing to free: memory goes with the object."""


def look(streams: Sequence[TorchNetworks], bodies: bool = True, near: Region | None = None) -> None:
    """Run the networks on the pictures of all streams together, which share one tracker; each keeps what it saw.

    Hands that were looked at in these pictures already are kept. `near`: the body in the middle of this square, searched
    for anew.
    """
    most_hands = 0 if all(stream._hands is not None for stream in streams) else MAX_HANDS
    pictures = [stream.picture for stream in streams if stream.picture is not None]
    followed, stamps = [stream.followed for stream in streams], [stream.ms for stream in streams]
    seen = streams[0].tracker.follow(pictures, followed, stamps, bodies, most_hands, near)
    for stream, body, hands in zip(streams, *seen, strict=True):
        if bodies:
            stream._body = (body,)
        if most_hands:
            stream._hands = hands


def detect_together(
    finders: Sequence[PersonFinder], pictures: Sequence[ndarray], stamps_ns: Sequence[int]
) -> list[PersonDetection | None]:
    """The person in the newest picture of each stream; the networks see all pictures as one batch.

    Args:
        finders: from one `TorchDetectorConfig.build_many`.
        pictures: one RGB picture (H, W, 3) of each stream; their sizes may differ.
        stamps_ns: their times.
    """
    networks = []
    for finder, rgb, stamp in zip(finders, pictures, stamps_ns, strict=True):
        assert isinstance(finder.networks, TorchNetworks)
        finder.networks.begin(rgb, finder.next_ms(stamp))
        networks.append(finder.networks)
    look(networks)
    return [finder.find(rgb, stamp) for finder, rgb, stamp in zip(finders, pictures, stamps_ns, strict=True)]
