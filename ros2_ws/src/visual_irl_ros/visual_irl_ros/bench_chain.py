"""A control for the graph: bare rclpy, three processes, messages of the same sizes at the same rate beside it.

One process sends 50 keypoints, the next answers each with a joint target, the watcher takes it. What this chain takes where
nothing is computed is the machine's and the middleware's.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from trajectory_msgs.msg import JointTrajectory
from visual_irl_msgs.msg import Keypoints

from visual_irl.types import KEYPOINTS, KeypointFrame
from visual_irl_ros import convert, qos
from visual_irl_ros.transport import without_shared_memory

TARGETS = "bench/joint_target"
"""The topic on which the chain ends; each message bears the time at which its first one was sent."""
JOINTS = 7


def _run(part: str, rate: float) -> None:
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    without_shared_memory()  # as the nodes around an arm
    rclpy.init()
    node = Node(f"bench_{part}")
    if part == "sender":
        k = len(KEYPOINTS)
        rows = (np.full((k, 3), 0.5), np.tile(1e-4 * np.eye(3), (k, 1, 1)), np.ones(k), np.full((k, 2), 100.0))
        keypoints = convert.keypoints_to_msg(KeypointFrame(0, *rows), "world")
        first = node.create_publisher(Keypoints, "bench/keypoints", qos.FRAMES)

        def send() -> None:
            keypoints.header = convert.header(time.time_ns(), "world")
            first.publish(keypoints)

        node.create_timer(1.0 / rate, send)
    else:
        target = convert.target_to_msg([f"joint_{i}" for i in range(JOINTS)], np.zeros(JOINTS), 0)
        second = node.create_publisher(JointTrajectory, TARGETS, qos.COMMAND)

        def answer(message: Keypoints) -> None:
            target.header = message.header
            second.publish(target)

        node.create_subscription(Keypoints, "bench/keypoints", answer, qos.FRAMES)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)


@contextmanager
def bare_chain(rate: float) -> Iterator[None]:
    """Inside, the chain runs; its targets come on `TARGETS`."""
    context = multiprocessing.get_context("spawn")
    parts = [context.Process(target=_run, args=(part, rate), daemon=True) for part in ("relay", "sender")]
    for part in parts:
        part.start()
    try:
        yield
    finally:
        for part in parts:
            part.terminate()
            part.join(5.0)
