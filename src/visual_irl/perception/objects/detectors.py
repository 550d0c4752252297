"""Which objects are looked for in a picture, and by what: one detector a task, or the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from visual_irl.errors import UnknownName
from visual_irl.perception.objects.onions import OnionDetectorConfig
from visual_irl.perception.objects.onnx_objects import OnnxDetectorConfig
from visual_irl.perception.objects.vessels import VesselDetectorConfig
from visual_irl.types import ObjectEstimate, RgbdFrame


@runtime_checkable
class ObjectDetector(Protocol):
    """Finds objects in the pictures of one camera, fed in the order of time; they have no identity yet (`name` is '')."""

    def detect(self, frame: RgbdFrame) -> tuple[ObjectEstimate, ...]:
        """The objects of a calibrated frame with depth."""
        ...


@dataclass(frozen=True)
class ObjectsConfig:
    """The detectors, and which of them is used."""

    detector: str = "auto"
    """A name of `OF_TASK`'s detectors; `auto` takes the task's."""
    onions: OnionDetectorConfig = field(default_factory=OnionDetectorConfig)
    vessels: VesselDetectorConfig = field(default_factory=VesselDetectorConfig)
    onnx: OnnxDetectorConfig = field(default_factory=OnnxDetectorConfig)
    """The user's own."""

    def build(self, task: str) -> ObjectDetector:
        """The detector of a task's objects.

        Raises:
            UnknownName: there is no such detector, or none is known for the task.
        """
        name = OF_TASK.get(task, "") if self.detector == "auto" else self.detector
        if not name:
            raise UnknownName(
                f"no object detector is known for task '{task}', only for {', '.join(OF_TASK)}; name one in the configuration, "
                f"as in `objects: {{detector: {NAMES[0]}}}`"
            )
        if name not in NAMES:
            raise UnknownName(f"unknown object detector '{name}'; known: auto, {', '.join(NAMES)}")
        detector: ObjectDetector = getattr(self, name).build()
        return detector


OF_TASK: Mapping[str, str] = {"onion_sorting": "onions", "pouring": "vessels"}
"""Task -> the detector of its objects."""
NAMES = ("onions", "vessels", "onnx")
"""Every detector: a field of `ObjectsConfig`."""
