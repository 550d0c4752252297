"""The node `perception`: a camera's topics, or a file played as a camera, become keypoints. Pictures do not cross DDS here."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image
from visual_irl_msgs.msg import Keypoints, ObjectList

from visual_irl.perception.camera_topics import CameraTopics
from visual_irl.perception.keypoints import KeypointConfig, KeypointStream
from visual_irl.perception.objects import OnionDetectorConfig
from visual_irl.perception.sources import open_frames
from visual_irl.types import KeypointFrame, RgbdFrame
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.definitions import type_of
from visual_irl_ros.runtime import OK, WARN, Health, Reporter, run


class Perception(Node):
    """The newest frame is worked on; those that came meanwhile are dropped and counted."""

    def __init__(self) -> None:
        super().__init__("perception")
        source = self.declare_parameter("source", "").value
        self._playing, self._repeat = bool(source), self.declare_parameter("loop", False).value
        find = self.declare_parameter("objects", False).value
        self._rate = float(self.declare_parameter("rate", 0.0).value)
        self._silence = float(self.declare_parameter("input_timeout", 1.0).value)
        config = parameters.declare(self, KeypointConfig())
        self._stream, self._topics = KeypointStream(config), CameraTopics()
        self._finder = OnionDetectorConfig().build() if find else None
        self._keypoints = self.create_publisher(Keypoints, "~/keypoints", qos.NEWEST)
        self._objects = self.create_publisher(ObjectList, "~/objects", qos.NEWEST)
        self._ended, self._heard, self._seen = threading.Event(), 0, 0
        self._newest: RgbdFrame | None = None
        self._came = threading.Condition()
        self.dropped = self.published = 0
        self.inference_ms = 0.0
        self._static = type_of("tf2_msgs/msg/TFMessage")
        if not source:
            for kind, topic, take, profile in (
                (CameraInfo, "color/camera_info", self._topics.info, qos.STREAM),
                (self._static, "/tf_static", self._topics.transforms, qos.STATIC),
                (Image, "aligned_depth_to_color/image_raw", self._topics.depth, qos.STREAM),
                (Image, "color/image_raw", self._topics.colour, qos.STREAM),
            ):
                if kind is not None:
                    self.create_subscription(kind, topic, self._camera(take), profile, raw=True)
        self._reporter = Reporter(self, self._health)
        jobs = [self._work] + ([lambda: self._play(Path(source))] if source else [])
        self._threads = [threading.Thread(target=job, daemon=True) for job in jobs]
        for thread in self._threads:
            thread.start()

    def _camera(self, take: Any) -> Any:
        return lambda data: self._offer(take(bytes(data)))

    def _play(self, path: Path) -> None:
        """A file as a camera: frames at the pace of their stamps, stamped with the time at which they are shown."""
        for shown in _paced(path, self._repeat, self._rate, self._ended, lambda: self.get_clock().now().nanoseconds):
            self._offer(shown)

    def _offer(self, frame: RgbdFrame | None) -> None:
        if frame is None:
            return
        with self._came:
            self.dropped += self._newest is not None
            self._newest, self._heard = frame, time.monotonic_ns()
            self._came.notify()

    def _work(self) -> None:
        while not self._ended.is_set():
            with self._came:
                self._came.wait_for(lambda: self._newest is not None or self._ended.is_set(), 0.5)
                frame, self._newest = self._newest, None
            if frame is None:
                continue
            begin = time.monotonic_ns()
            keypoints = self._stream.step(frame)
            self.inference_ms = 1e-6 * (time.monotonic_ns() - begin)
            if not self._ended.is_set():
                self._publish(frame, keypoints)

    def _publish(self, frame: RgbdFrame, keypoints: KeypointFrame) -> None:
        name = "world" if frame.T_world_camera is not None else "camera"
        self._keypoints.publish(convert.keypoints_to_msg(keypoints, name))
        if self._finder is not None and name == "world" and frame.depth is not None:
            self._objects.publish(convert.objects_to_msg(self._finder.detect(frame), frame.stamp_ns, name))
        self.published += 1
        self._seen = keypoints.stamp_ns if keypoints.person else self._seen

    def _health(self) -> Health:
        values = {"frames": str(self.published), "dropped": str(self.dropped), "inference ms": f"{self.inference_ms:.1f}"}
        values |= {name: str(n) for name, n in {**self._stream.health.problems(), **self._topics.refused}.items()}
        if time.monotonic_ns() - self._heard > round(1e9 * self._silence):
            return WARN, "no pictures come", values
        if self._static is None and not self._playing:
            return WARN, "tf2_msgs is not installed: the camera's place is unknown, keypoints are in its own frame", values
        return OK, "running", values

    def close(self) -> None:
        """End the threads, then free the networks."""
        self._ended.set()
        for thread in self._threads:
            thread.join(0.4)
        if not any(thread.is_alive() for thread in self._threads):
            self._stream.close()


def _paced(path: Path, repeat: bool, rate: float, ended: threading.Event, now_ns: Any) -> Iterator[RgbdFrame]:
    """Frames when they are due: by their stamps, or `rate` of them a second [1/s]."""
    while not ended.is_set():
        first = shown = None
        with open_frames(path) as frames:
            for k, frame in enumerate(frames):
                if first is None or shown is None:
                    first, shown = frame.stamp_ns, time.monotonic_ns()
                due = shown + (round(k * 1e9 / rate) if rate > 0.0 else frame.stamp_ns - first)
                if ended.wait(max(0.0, 1e-9 * (due - time.monotonic_ns()))):
                    return
                yield replace(frame, stamp_ns=now_ns())
        if not repeat:
            return


def main() -> None:
    """Entry point."""
    run(Perception)
