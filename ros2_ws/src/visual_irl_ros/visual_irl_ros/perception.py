"""The node `perception`: a camera's topics, or a file played as a camera, become keypoints. Pictures do not cross DDS here."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from visual_irl_msgs.msg import Keypoints, ObjectList

from visual_irl.perception import DETECTORS
from visual_irl.perception.cameras.camera_topics import CameraTopics
from visual_irl.perception.cameras.latest_frame import LatestFrame
from visual_irl.perception.cameras.player import PlayConfig, Player
from visual_irl.perception.live_stream import LiveStream, LiveStreamConfig
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.types import KeypointFrame, RgbdFrame
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.definitions import type_of
from visual_irl_ros.gate import Gate
from visual_irl_ros.priority import prompt
from visual_irl_ros.runtime import ERROR, OK, WARN, Health, Reporter, publish, run
from visual_irl_ros.wire import KeypointWire


class Perception(Node):
    """The newest frame is worked on; those that came meanwhile are skipped and counted."""

    def __init__(self) -> None:
        super().__init__("perception")
        source = parameters.fixed(self, "source", "", "Recording, video or picture folder that is played as a camera")
        find = parameters.fixed(self, "objects", False, "Look for the task's objects, too")
        self._silence = parameters.fixed(self, "input_timeout", 1.0, "Without a picture for so long the input has stopped [s]")
        play = parameters.declare(self, PlayConfig(), self._on_play)
        live = parameters.declare(self, LiveStreamConfig(objects=ObjectsConfig() if find else None), self._on_live)
        detector = parameters.declare(self, DETECTORS.load(live.keypoints.detector)())
        self._find, self._topics = find, CameraTopics()
        self._stream = LiveStream(live, detector.build())
        self._wires = {name: KeypointWire(name) for name in ("world", "camera")}
        self._keypoints = self.create_publisher(Keypoints, "~/keypoints", qos.FRAMES)
        self._objects = self.create_publisher(ObjectList, "~/objects", qos.NEWEST)
        self._pictures = Gate(lambda frame: frame, max_age=1.0, head=lambda frame: (frame.stamp_ns, ""))
        self._player = Player(Path(source), play, self._now_ns) if source else None
        self._frames = LatestFrame(self._player and (lambda: self._player))
        self._published, self._effort, self._failure = 0, convert.Effort(), ""
        self._heard = (0, time.monotonic())  # how many pictures had come when, by the last look
        self._static = type_of("tf2_msgs/msg/TFMessage")
        if not source:
            self._subscribe()
        self._reporter = Reporter(self, self._health)
        self._frames.__enter__()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _subscribe(self) -> None:
        for kind, topic, take, profile in (
            (CameraInfo, "color/camera_info", self._topics.info, qos.STREAM),
            (self._static, "/tf_static", self._topics.transforms, qos.STATIC),
            (Image, "aligned_depth_to_color/image_raw", self._topics.depth, qos.STREAM),
            (Image, "color/image_raw", self._topics.colour, qos.STREAM),
        ):
            if kind is not None:
                self.create_subscription(kind, topic, self._camera(take), profile, raw=True)

    def _camera(self, take: Any) -> Any:
        def came(data: bytes) -> None:
            frame = take(bytes(data))
            if frame is not None and self._pictures.admit(frame, self._now_ns()) is not None:
                self._frames.offer(frame)

        return came

    def _now_ns(self) -> int:
        return int(self.get_clock().now().nanoseconds)

    def _on_play(self, config: PlayConfig) -> None:
        if self._player is not None:
            self._player.config = config

    def _on_live(self, config: LiveStreamConfig) -> None:
        self._stream.config = config

    def _work(self) -> None:
        try:
            for frame in self._frames:
                begin = self._now_ns()
                keypoints = self._stream.step(frame)
                self._effort = convert.Effort(1e-9 * (begin - frame.stamp_ns), 1e-9 * (self._now_ns() - begin))
                if keypoints is not None:
                    with prompt():
                        self._publish(frame, keypoints)
        except Exception as error:  # of a file that is damaged in its middle; diagnostics say so, nothing is published any more
            self._failure = f"{type(error).__name__}: {error}"

    def _publish(self, frame: RgbdFrame, keypoints: KeypointFrame) -> None:
        name = "world" if frame.T_world_camera is not None else "camera"
        publish(self._keypoints, self._wires[name].encode(keypoints, self._effort))
        self._published += 1
        if self._find and name == "world" and frame.depth is not None:
            publish(self._objects, convert.objects_to_msg(keypoints.objects, frame.stamp_ns, name))

    def _health(self) -> Health:
        frames = self._frames
        values = {"received": str(frames.received), "skipped": str(frames.dropped), "published": str(self._published)}
        values |= {"inference ms": f"{1e3 * self._effort.inference:.1f}", "outliers": str(self._stream.rejected)}
        values |= {name: str(n) for name, n in {**self._stream.health.problems(), **self._topics.refused}.items()}
        values |= {name: n for name, n in self._pictures.counts().items() if self._player is None}
        if self._failure:
            return ERROR, f"no more keypoints come: {self._failure}", values
        if frames.received != self._heard[0]:
            self._heard = (frames.received, time.monotonic())
        if time.monotonic() - self._heard[1] > self._silence:
            return WARN, "no pictures come", values
        if self._stream.health.estranged:
            return WARN, "pictures of another size, or from before the last one, are not used", values
        if self._static is None and self._player is None:
            return WARN, "tf2_msgs is not installed: the camera's place is unknown, keypoints are in its own frame", values
        return OK, "running", values

    def close(self) -> None:
        """End the threads, then free the networks."""
        if self._player is not None:
            self._player.end()
        self._frames.__exit__(None, None, None)
        self._thread.join(0.4)
        if not self._thread.is_alive():
            self._stream.close()


def main() -> None:
    """Entry point."""
    run(Perception, pictures=True)
