"""Which objects are looked for in a picture, and by what: one detector a task, or the user's own."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Protocol, runtime_checkable

from visual_irl.errors import UnknownName
from visual_irl.perception import OBJECT_DETECTORS
from visual_irl.perception.objects.onions import OnionDetectorConfig
from visual_irl.perception.objects.onnx_objects import OnnxDetectorConfig
from visual_irl.perception.objects.vessels import VesselDetectorConfig
from visual_irl.tasks import load_task
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
    """A name of `visual_irl.perception.OBJECT_DETECTORS`; `auto` takes the task's."""
    onions: OnionDetectorConfig = field(default_factory=OnionDetectorConfig)
    vessels: VesselDetectorConfig = field(default_factory=VesselDetectorConfig)
    onnx: OnnxDetectorConfig = field(default_factory=OnnxDetectorConfig)
    """The user's own network. A detector that has no settings here is used as it is registered."""

    def build(self, task: str) -> ObjectDetector:
        """The detector of a task's objects.

        Raises:
            UnknownName: there is no such detector, or the task names none.
        """
        name = self.named(task)
        made = OBJECT_DETECTORS.load(name)
        config = getattr(self, name) if name in {f.name for f in fields(self)} else made()
        detector: ObjectDetector = config.build()
        return detector

    def named(self, task: str) -> str:
        """The name of that detector.

        Raises:
            UnknownName: as above.
        """
        name = load_task(task).detector if self.detector == "auto" else self.detector
        if not name:
            raise UnknownName(
                f"task '{task}' names no object detector: set `detector` in its class to one of "
                f"{', '.join(OBJECT_DETECTORS.names)}, or to one of another package (entry point "
                "`visual_irl.object_detectors`); or name one in the configuration, as in `objects: {detector: onnx}`"
            )
        if name not in OBJECT_DETECTORS.names:
            raise UnknownName(
                f"task '{task}': unknown object detector '{name}'; known: {', '.join(OBJECT_DETECTORS.names)} (one of another "
                "package is its entry point `visual_irl.object_detectors`; install that package again after adding one)"
            )
        return name
