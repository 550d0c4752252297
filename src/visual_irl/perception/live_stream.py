"""The whole live chain for one camera: detector, lifting, objects, the causal filter and the hands, frame by frame."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from visual_irl.errors import InvalidInput
from visual_irl.perception.cameras.exposure import well_exposed
from visual_irl.perception.cameras.stream_health import StreamHealth, with_possible_depth
from visual_irl.perception.cameras.upright_camera import turned_upright
from visual_irl.perception.grasp import HandWatch
from visual_irl.perception.holding import HoldingConfig
from visual_irl.perception.landmarks.detection import Detector
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.perception.skeleton.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.skeleton.live import LiveConfig, LiveFilter
from visual_irl.types import KeypointFrame, RgbdFrame

STAYS = 15
"""Frames in a row of another camera or clock that are not believed yet: half a second."""


@dataclass(frozen=True)
class LiveStreamConfig:
    """How a live stream is perceived."""

    keypoints: KeypointConfig = field(default_factory=KeypointConfig)
    smoothing: LiveConfig = field(default_factory=LiveConfig)
    hands: HoldingConfig = field(default_factory=HoldingConfig)
    objects: ObjectsConfig | None = field(default_factory=ObjectsConfig)
    """None looks for no objects."""
    task: str = "onion_sorting"
    """Task whose objects are looked for."""


class LiveStream:
    """Feed it frames as they come; whatever they are, it neither raises nor invents a keypoint."""

    def __init__(self, config: LiveStreamConfig | None = None, detector: Detector | None = None) -> None:
        self._config = config or LiveStreamConfig()
        self._detector = detector or self._config.keypoints.build_detector()
        self._begin()

    def _begin(self) -> None:
        """As if nothing had been seen yet."""
        config = self._config
        self._stream, self._filter = KeypointStream(config.keypoints, self._detector), LiveFilter(config.smoothing)
        self._hands = HandWatch(config.hands)
        self._finder = config.objects.build(config.task) if config.objects else None

    @property
    def health(self) -> StreamHealth:
        """What was wrong with how many frames."""
        return self._stream.health

    @property
    def config(self) -> LiveStreamConfig:
        """How the next frame is perceived; may be replaced at any time, but for what is loaded at the start.

        Raises:
            InvalidInput: another detector, other objects or another task.
        """
        return self._config

    @config.setter
    def config(self, config: LiveStreamConfig) -> None:
        before = self._config
        for name, same in (
            ("keypoints.detector", config.keypoints.detector == before.keypoints.detector),
            ("objects", config.objects == before.objects), ("task", config.task == before.task),
        ):  # fmt: skip
            if not same:
                raise InvalidInput(f"{name}: set at the start only, what it names is loaded then; restart the node")
        self._config = config

    @property
    def rejected(self) -> int:
        """Keypoints that the filter refused as outliers."""
        return self._filter.rejected

    def step(self, frame: RgbdFrame) -> KeypointFrame | None:
        """Smoothed keypoints, objects and the hands' states; None for a frame that is not newer than all before it.

        A frame that cannot be used has no keypoint and no object; see `StreamHealth` for what was wrong. Where another size, or
        an earlier time, stays for `STAYS` frames, a camera or a clock was started anew, and so is everything here.
        """
        if self.health.estranged >= STAYS:
            health = self.health
            self._begin()
            self._stream.health = health
            health.begin_anew()
        c = self._config  # the whole frame is perceived by one configuration, whichever thread replaces it
        self._stream.config, self._filter.config, self._hands.config = c.keypoints, c.smoothing, c.hands
        frame = turned_upright(with_possible_depth(frame))
        newer = self.health.newer(frame)
        keypoints = self._stream.step(frame)
        if not newer:
            return None
        if self._stream.new_shot:
            self._filter.forget()
            self._hands = HandWatch(c.hands)
        if self._finder and self.health.sound and frame.depth is not None and frame.T_world_camera is not None:
            keypoints = replace(keypoints, objects=self._finder.detect(well_exposed(frame)))
        return self._hands.step(self._filter.step(keypoints))

    def close(self) -> None:
        """Free the networks."""
        self._stream.close()
