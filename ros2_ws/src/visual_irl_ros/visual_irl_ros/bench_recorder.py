"""Measures the running recorder with colour and depth of a camera's size, sent by a process of its own as its driver would.

Pictures are sent once camera and recorder know each other. What the recorder cannot write, and what the middleware loses on the
way, must be in what it says it dropped: what is in neither is `unseen`.
"""

from __future__ import annotations

import multiprocessing
import os
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from ament_index_python.packages import get_package_share_directory
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.serialization import serialize_message
from sensor_msgs.msg import Image
from visual_irl_msgs.action import Record

from visual_irl.assets import asset_path
from visual_irl.perception.cameras.sources import open_frames
from visual_irl_ros import convert, qos

RATE = 30.0
PICTURES = 20
"""Different pairs of pictures, sent in turns."""
CAMERA = "/camera/camera"


def _pictures() -> list[tuple[bytearray, bytearray]]:
    """Serialised pairs of colour (8 bit RGB) and depth (16 bit millimetres) from the shipped recording, which is rendered: with
    a sensor's noise, for else zstd has it too easy."""
    pairs, rng = [], np.random.default_rng(0)
    with open_frames(asset_path("models/recordings/onion_sorting")) as frames:
        for frame, _ in zip(frames, range(PICTURES), strict=False):
            colour = np.clip(frame.rgb + rng.normal(0.0, 2.0, frame.rgb.shape), 0, 255).astype(np.uint8)
            depth = np.nan_to_num(1e3 * frame.depth + rng.normal(0.0, 2.0, frame.depth.shape)).astype("<u2")
            pairs.append((_image(colour, "rgb8"), _image(depth, "16UC1")))
    return pairs


def _image(pixels: Any, encoding: str) -> bytearray:
    height, width = pixels.shape[:2]
    head = convert.header(1, "camera")
    message = Image(header=head, height=height, width=width, encoding=encoding, step=pixels.nbytes // height)
    message.data.frombytes(np.ascontiguousarray(pixels).tobytes())
    return bytearray(serialize_message(message))


def _send(seconds: float, profile: str, ready: Any, begin: Any, sent: Any) -> None:
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = profile
    rclpy.init()
    node = Node("bench_camera")
    topics = ("color/image_raw", "aligned_depth_to_color/image_raw")
    out = [node.create_publisher(Image, f"{CAMERA}/{topic}", qos.RECORDED) for topic in topics]
    pictures = _pictures()
    while not all(publisher.get_subscription_count() for publisher in out):
        time.sleep(0.05)
    ready.set()
    begin.wait()
    start = time.monotonic()
    for i in range(round(seconds * RATE)):
        time.sleep(max(0.0, start + i / RATE - time.monotonic()))
        for publisher, data in zip(out, pictures[i % len(pictures)], strict=True):
            struct.pack_into("<iI", data, 4, *divmod(time.time_ns(), 10**9))
            publisher.publish(bytes(data))
            sent.value += 1
    time.sleep(1.0)
    node.destroy_node()
    rclpy.try_shutdown()


def recorded(seconds: float) -> dict[str, float]:
    """Record for so long; how many pictures were sent, written and said to be dropped."""
    context = multiprocessing.get_context("spawn")
    ready, begin, sent = context.Event(), context.Event(), context.Value("q", 0)
    profile = Path(get_package_share_directory("visual_irl_ros")) / "config" / "fastdds_pictures.xml"
    camera = context.Process(target=_send, args=(seconds, str(profile), ready, begin, sent), daemon=True)
    camera.start()
    node, executor = Node("bench_recording"), SingleThreadedExecutor()
    executor.add_node(node)
    client = ActionClient(node, Record, "recorder/record", **qos.ACTION_CLIENT)

    def wait(future: Any) -> Any:
        executor.spin_until_future_complete(future, timeout_sec=60.0)
        if not future.done():
            raise SystemExit("the recorder does not answer")
        return future.result()

    if not (client.wait_for_server(60.0) and ready.wait(60.0)):
        raise SystemExit("there is no recorder, or no camera")
    with tempfile.TemporaryDirectory() as folder:
        goal = wait(client.send_goal_async(Record.Goal(folder=f"{folder}/bag", duration=0.0)))
        time.sleep(2.0)  # the goal is taken before its file is open, and the camera meets the recorder half a second earlier
        begin.set()
        camera.join()
        goal.cancel_goal_async()
        result = wait(goal.get_result_async()).result
        size = sum(file.stat().st_size for file in Path(folder).rglob("*.mcap"))
    return {
        "recorder_pictures_sent": sent.value, "recorder_pictures_written": result.written,
        "recorder_pictures_dropped": result.dropped, "recorder_pictures_unseen": sent.value - result.written - result.dropped,
        "recorder_file_mb_per_s": 1e-6 * size / seconds,
    }  # fmt: skip
