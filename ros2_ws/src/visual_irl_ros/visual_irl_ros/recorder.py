"""The node `recorder`: camera and keypoint topics into a rosbag2 folder, as they come; at once, or by the action `~/record`."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rclpy
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup, ReentrantCallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from visual_irl_msgs.action import Record

from visual_irl.errors import InvalidInput, UnwritableOutput
from visual_irl.io.topic_writer import TopicWriter
from visual_irl_ros import parameters, qos
from visual_irl_ros.definitions import definition_of, type_of
from visual_irl_ros.missed import Missed
from visual_irl_ros.runtime import OK, WARN, Health, Reporter, run

TOPICS = [
    "color/image_raw:sensor_msgs/msg/Image",
    "aligned_depth_to_color/image_raw:sensor_msgs/msg/Image",
    "color/camera_info:sensor_msgs/msg/CameraInfo",
    "keypoints:visual_irl_msgs/msg/Keypoints",
]
WAITING = 600
"""Messages that may wait for the disk."""


class Recorder(Node):
    """Messages stay serialised from the network to the file; the first reason to drop one is counted, never hidden."""

    def __init__(self) -> None:
        super().__init__("recorder")
        topics = parameters.fixed(
            self, "topics", [*TOPICS, "/tf_static:tf2_msgs/msg/TFMessage"], "What is recorded, each as topic:package/msg/Type"
        )
        folder = parameters.fixed(self, "folder", "", "Record into this new folder at once and end with it; else by the action")
        seconds = parameters.fixed(self, "duration", 0.0, "How long `folder` is recorded [s]; 0 until the node is told to end")
        types = {self.resolve_topic_name(name): (kind, type_of(kind)) for name, _, kind in (t.partition(":") for t in topics)}
        self._kinds = {topic: kind for topic, (kind, found) in types.items() if found is not None}
        self._missing = sorted(kind for kind, found in types.values() if found is None)
        self._latched: dict[str, bytes] = {}
        self._queue: queue.Queue[tuple[str, bytes, int]] | None = None
        self.dropped, self.written, self._last = 0, 0, 0
        self._taken = threading.Lock()  # by the one recording that runs
        self._missed, in_order, group = Missed(), MutuallyExclusiveCallbackGroup(), ReentrantCallbackGroup()
        for topic in self._kinds:
            profile = qos.STATIC if topic.endswith("/tf_static") else qos.RECORDED
            self.create_subscription(
                types[topic][1], topic, self._taker(topic), profile, raw=True, callback_group=in_order,
                event_callbacks=SubscriptionEventCallbacks(message_lost=self._on_lost),
            )  # fmt: skip
        self._server = ActionServer(
            self, Record, "~/record", self._by_action, callback_group=group, goal_callback=self._on_goal,
            cancel_callback=lambda goal: CancelResponse.ACCEPT, **qos.ACTION,
        )  # fmt: skip
        self._reporter = Reporter(self, self._health)
        self.exit_code = 0
        if folder:
            self._taken.acquire()
            goal = Record.Goal(folder=folder, duration=seconds)
            threading.Thread(target=self._at_once, args=(goal,), daemon=True).start()

    def _taker(self, topic: str) -> Any:
        def take(data: bytes, info: Any) -> None:
            self._last, missing = time.monotonic_ns(), self._missed.before(topic, info)
            if topic.endswith("/tf_static"):
                self._latched[topic] = bytes(data)
            waiting = self._queue
            if waiting is not None:
                self.dropped += missing
                try:
                    waiting.put_nowait((topic, bytes(data), self.get_clock().now().nanoseconds))
                except queue.Full:
                    self.dropped += 1

        return take

    def _on_lost(self, event: Any) -> None:
        if self._queue is not None and not self._missed.numbered:
            self.dropped += event.total_count_change

    def _on_goal(self, goal: Any) -> GoalResponse:
        return GoalResponse.ACCEPT if self._taken.acquire(blocking=False) else GoalResponse.REJECT

    def _by_action(self, goal: Any) -> Record.Result:
        try:
            result = self._record(goal.request, lambda: goal.is_cancel_requested, goal.publish_feedback)
        finally:
            self._taken.release()
        (goal.abort if result.error_code else goal.canceled if goal.is_cancel_requested else goal.succeed)()
        return result

    def _at_once(self, goal: Record.Goal) -> None:
        result = self._record(goal, lambda: False, lambda told: None)
        counts = f"{result.written} messages written to '{goal.folder}', {result.dropped} dropped"
        print(f"error: {result.error_text}" if result.error_code else counts, flush=True)
        self.exit_code = int(result.error_code != Record.Result.SUCCESS)
        self._taken.release()
        rclpy.try_shutdown()

    def _record(self, goal: Record.Goal, cancelled: Callable[[], bool], tell: Callable[[Any], None]) -> Record.Result:
        self.dropped = self.written = 0
        result = Record.Result()
        try:
            writer = TopicWriter(Path(goal.folder))
            for topic, kind in self._kinds.items():
                writer.declare(topic, kind, definition_of(kind))
            self._write(writer, goal.duration, cancelled, tell)
            writer.close()
        except UnwritableOutput as error:
            result.error_code = Record.Result.UNWRITABLE if not self.written else Record.Result.DISK_FULL
            result.error_text = str(error)
        except InvalidInput as error:
            result.error_code, result.error_text = Record.Result.NO_MESSAGE, str(error)
        finally:
            self._queue = None
        result.written, result.dropped = self.written, self.dropped
        return result

    def _write(self, writer: TopicWriter, seconds: float, cancelled: Callable[[], bool], tell: Callable[[Any], None]) -> None:
        """Until it is told to end; what waits for the disk then is still written."""
        self._queue = waiting = queue.Queue(WAITING)
        for topic, data in self._latched.items():
            waiting.put((topic, data, self.get_clock().now().nanoseconds))
        begin = told = time.monotonic()
        while self._queue is not None or not waiting.empty():
            if cancelled() or not self.context.ok() or 0.0 < seconds <= time.monotonic() - begin:
                self._queue = None  # nothing is taken in any more
            try:
                writer.write(*waiting.get(timeout=0.1))
                self.written += 1
            except queue.Empty:
                pass
            if time.monotonic() - told >= 1.0:
                told = time.monotonic()
                tell(Record.Feedback(written=self.written, dropped=self.dropped))

    def _health(self) -> Health:
        values = {"written": str(self.written), "dropped": str(self.dropped), "recording": str(self._queue is not None)}
        if self._missing:
            values["not recorded, for their packages are not installed"] = ", ".join(self._missing)
        if time.monotonic_ns() - self._last > 1_000_000_000:
            return WARN, "no messages come", values
        return (WARN, "messages were dropped", values) if self.dropped else (OK, "running", values)

    def close(self) -> None:
        """The running recording sees that the context ended, and closes its file."""
        end = time.monotonic() + 0.8
        while self._taken.locked() and time.monotonic() < end:
            time.sleep(0.02)


def main() -> None:
    """Entry point."""
    run(Recorder, pictures=True)
