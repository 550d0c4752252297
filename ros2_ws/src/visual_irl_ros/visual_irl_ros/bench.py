"""Measures the graph: `bench bare|keypoint|graph SECONDS FILE`; started by `visual-irl bench ros`.

`bare` sends a ready message of 50 keypoints from another process with rclpy alone; `keypoint` does the same through the
library's types on both sides (conversion, transport, conversion, from before the first to after the last). `graph` watches
the running nodes from outside: joint targets and joint states against their stamps, and what perception reports.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from visual_irl_msgs.msg import Keypoints

from visual_irl.types import KEYPOINTS, KeypointFrame
from visual_irl_ros import convert, qos

RATE = 30.0
WARM = 1.0
"""What comes in the first second is not counted: discovery [s]."""


def _frame(stamp_ns: int) -> KeypointFrame:
    k = len(KEYPOINTS)
    return KeypointFrame(stamp_ns, np.full((k, 3), 0.5), np.full((k, 3), 0.01), np.ones(k), np.full((k, 2), 100.0))


def _send(part: str, seconds: float) -> None:
    rclpy.init()
    node = Node("bench_sender")
    out = node.create_publisher(Keypoints, "bench/keypoints", qos.NEWEST)
    message, begin = convert.keypoints_to_msg(_frame(0), "world"), time.monotonic()
    for k in range(round((seconds + 2.0 * WARM) * RATE)):
        time.sleep(max(0.0, begin + k / RATE - time.monotonic()))
        if part == "bare":
            message.header.stamp = convert.stamp_to_msg(time.time_ns())
            out.publish(message)
        else:
            out.publish(convert.keypoints_to_msg(_frame(time.time_ns()), "world"))
    node.destroy_node()
    rclpy.try_shutdown()


def _age_ms(message: Any) -> float:
    return 1e-6 * (time.time_ns() - convert.stamp_of_msg(message.header.stamp))


def _transport(part: str, seconds: float) -> dict[str, float]:
    sender = multiprocessing.get_context("spawn").Process(target=_send, args=(part, seconds), daemon=True)
    node, ages = Node("bench_receiver"), []

    def take(message: Any) -> None:
        if part != "bare":
            convert.keypoints_of_msg(message)
        ages.append(_age_ms(message))

    node.create_subscription(Keypoints, "bench/keypoints", take, qos.NEWEST)
    sender.start()
    while sender.is_alive():
        rclpy.spin_once(node, timeout_sec=0.1)
    counted = ages[round(WARM * RATE) :]
    if not counted:
        raise SystemExit("no message came")
    return {f"{part}_ms_p50": float(np.percentile(counted, 50)), f"{part}_ms_p99": float(np.percentile(counted, 99))}


def _graph(seconds: float) -> dict[str, float]:
    node = Node("bench_watcher")
    targets: list[float] = []
    states: list[float] = []
    reports: list[dict[str, str]] = []
    node.create_subscription(JointTrajectory, "mapper/joint_target", lambda m: targets.append(_age_ms(m)), qos.COMMAND)
    node.create_subscription(JointState, "joint_states", lambda m: states.append(_age_ms(m)), qos.NEWEST)

    def report(message: Any) -> None:
        for status in message.status:
            if status.name == "/perception":
                reports.append({value.key: value.value for value in status.values})

    node.create_subscription(DiagnosticArray, "/diagnostics", report, qos.DIAGNOSTICS)
    end = time.monotonic() + 150.0
    while not (targets and states and reports):
        if time.monotonic() > end:
            raise SystemExit(f"the graph is silent: {len(targets)} targets, {len(states)} states, {len(reports)} reports")
        rclpy.spin_once(node, timeout_sec=0.1)
    for rows in (targets, states, reports):
        rows.clear()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rclpy.spin_once(node, timeout_sec=0.1)
    if len(reports) < 2 or not targets or not states:
        raise SystemExit("the graph fell silent while it was measured")
    done, lost = (int(reports[-1][k]) - int(reports[0][k]) for k in ("frames", "dropped"))
    return {
        "end_to_end_ms_p50": float(np.percentile(targets, 50)), "end_to_end_ms_p99": float(np.percentile(targets, 99)),
        "inference_ms_p50": float(np.percentile([float(r["inference ms"]) for r in reports], 50)),
        "inference_ms_p99": float(np.percentile([float(r["inference ms"]) for r in reports], 99)),
        "frames_sent": done + lost, "frames_lost": lost, "joint_states_ms_p50": float(np.percentile(states, 50)),
        "joint_states_ms_p99": float(np.percentile(states, 99)), "joint_states_hz": len(states) / seconds,
    }  # fmt: skip


def main() -> None:
    """Entry point."""
    part, seconds, file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    rclpy.init()
    try:
        result = _graph(seconds) if part == "graph" else _transport(part, seconds)
        file.write_text(json.dumps(result))
    finally:
        rclpy.try_shutdown()
