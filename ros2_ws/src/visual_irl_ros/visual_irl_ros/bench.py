"""Measures the graph: `bench bare|keypoint|path|graph|recorder SECONDS FILE`; started by `visual-irl bench ros`.

`bare` sends a ready message of 50 keypoints from another process with rclpy alone; `keypoint` sends the library's own frames
and receives them as such (conversion, transport, conversion; timed from before the first to after the last). `path` sends a
person's keypoints to `mapper` and waits for their joint targets: the graph without its networks. `graph` watches the running
nodes from outside: each joint target against the stamp of its picture and against what that picture's keypoints took. A picture
is lost when it was neither skipped for a newer one, or refused for its time, which perception counts, nor arrived; a target
likewise. Beside it a bare chain of the same messages runs (`bench_chain`). Joint states are timed when the middleware has them
here: to wake for each of 500 a second would take what is measured a quarter of a CPU. `recorder` is in `bench_recorder`.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from visual_irl_msgs.msg import Keypoints

from visual_irl.assets import asset_path
from visual_irl.io.artifacts import load_demonstration
from visual_irl.types import KEYPOINTS, KeypointFrame
from visual_irl_ros import convert, qos
from visual_irl_ros.bench_chain import TARGETS, bare_chain
from visual_irl_ros.bench_recorder import recorded
from visual_irl_ros.newest import Newest
from visual_irl_ros.priority import prompt, prompt_middleware
from visual_irl_ros.wire import KeypointWire, effort_of, head_of

RATE = 30.0
WARM = 1.0
"""What comes in the first second is not counted: discovery [s]."""
RAISED = 0.15
"""How far the person's hands of `path` stay above where they took things from the table: a robot's fingers reach lower [m]."""


def _send(part: str, sent: Any) -> None:
    """Send keypoints at `RATE`; `sent` gets the time at which each left the library's terms [ns]."""
    rclpy.init()
    node = Node("bench_sender")
    out = node.create_publisher(Keypoints, "bench/keypoints", qos.FRAMES)
    k = len(KEYPOINTS)
    rows = (np.full((k, 3), 0.5), np.tile(1e-4 * np.eye(3), (k, 1, 1)), np.ones(k), np.full((k, 2), 100.0))
    wire, message, begin = KeypointWire("world"), convert.keypoints_to_msg(KeypointFrame(0, *rows), "world"), time.monotonic()
    for i in range(len(sent)):
        frame = KeypointFrame(i, *rows)
        time.sleep(max(0.0, begin + i / RATE - time.monotonic()))
        sent[i] = time.time_ns()
        if part == "bare":
            message.header.stamp.nanosec = i
            out.publish(message)
        else:
            out.publish(wire.encode(frame))
    node.destroy_node()
    rclpy.try_shutdown()


def _transport(part: str, seconds: float) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    sent = context.Array("q", round((seconds + 2.0 * WARM) * RATE), lock=False)
    sender = context.Process(target=_send, args=(part, sent), daemon=True)
    node, ages, wire = Node("bench_receiver"), {}, KeypointWire("world")
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def take(message: Any) -> None:
        i = message.header.stamp.nanosec if part == "bare" else wire.decode(message).stamp_ns
        ages[i] = 1e-6 * (time.time_ns() - sent[i])

    node.create_subscription(Keypoints, "bench/keypoints", take, qos.FRAMES, raw=part != "bare")
    sender.start()
    while sender.is_alive():
        executor.spin_once(timeout_sec=0.1)
    counted = [age for i, age in ages.items() if i >= WARM * RATE]
    if not counted:
        raise SystemExit("no message came")
    return {f"{part}_ms_p50": float(np.percentile(counted, 50)), f"{part}_ms_p99": float(np.percentile(counted, 99))}


class _Graph:
    """Watches the running nodes from outside: what they say of themselves, and when what they publish arrives here."""

    def __init__(self) -> None:
        self.node, self._executor = Node("bench_watcher"), SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self.told: dict[str, dict[str, str]] = {}
        self.efforts: dict[int, tuple[float, float]] = {}
        self.answered: dict[int, float] = {}
        self.chain: list[float] = []
        self.states: list[float] = []
        self.measuring = False
        self.node.create_subscription(Keypoints, "perception/keypoints", self._keypoints, qos.RECORDED, raw=True)
        self.node.create_subscription(JointTrajectory, "mapper/joint_target", self._target, qos.RECORDED, raw=True)
        self.node.create_subscription(JointTrajectory, TARGETS, self._bare_target, qos.RECORDED, raw=True)
        self._state = Newest(self.node, JointState, "joint_states", qos.RECORDED)
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._report, qos.DIAGNOSTICS)
        prompt_middleware()  # whoever measures must not wait for a core

    def _keypoints(self, data: bytes) -> None:
        effort = effort_of(data)
        self.efforts[head_of(data)[0]] = (1e3 * effort.waited, 1e3 * effort.inference)

    def _target(self, data: bytes) -> None:
        now, stamp = time.time_ns(), head_of(data)[0]
        if self.measuring:
            self.answered[stamp] = 1e-6 * (now - stamp)

    def _bare_target(self, data: bytes) -> None:
        self.chain.append(1e-6 * (time.time_ns() - head_of(data)[0]))

    def _take_states(self) -> None:
        while (taken := self._state.take_with_time()) is not None:
            if self.measuring:
                self.states.append(1e-6 * (taken[1] - head_of(taken[0])[0]))

    def _report(self, message: Any) -> None:
        for status in message.status:
            self.told[status.name.removeprefix("/")] = {v.key: v.value for v in status.values}

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0.0 and not until():
            self._executor.spin_once(timeout_sec=min(left, 0.05))
            self._take_states()
        return until()

    def play(self, loop: bool, rate: float) -> None:
        """Have perception play its source again and again, or stand at its end; at `rate` pictures a second [1/s]."""
        client = self.node.create_client(SetParameters, "perception/set_parameters", qos_profile=qos.SERVICE)
        values = {
            "loop": ParameterValue(type=ParameterType.PARAMETER_BOOL, bool_value=loop),
            "rate": ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=rate),
        }
        if not client.wait_for_service(30.0):
            raise SystemExit("perception does not answer")
        wanted = [Parameter(name=name, value=value) for name, value in values.items()]
        done = client.call_async(SetParameters.Request(parameters=wanted))
        if not self.spin(30.0, done.done) or not all(result.successful for result in done.result().results):
            raise SystemExit("perception does not change its parameters 'loop' and 'rate'")

    def measure(self, seconds: float, rate: float) -> dict[str, float]:
        """The times of every target that came meanwhile [ms]."""
        with bare_chain(RATE), prompt() as granted:
            self.chain.clear()
            if not self.spin(60.0, lambda: bool(self.chain)):
                raise SystemExit("the bare chain does not come up")
            self.play(True, rate)
            self.spin(WARM)
            for what in (self.answered, self.states, self.chain):
                what.clear()
            self.measuring = True
            self.spin(seconds)
            self.measuring = False
        self.play(False, RATE)
        rows = [(ms, *self.efforts[stamp]) for stamp, ms in self.answered.items() if stamp in self.efforts]
        if not rows or not self.states or not self.chain:
            came = f"{len(rows)} targets, {len(self.states)} joint states, {len(self.chain)} bare targets"
            raise SystemExit(f"{came} came; the nodes say {self.told}")
        total, waited, inference = np.array(rows).T
        figures = {
            "end_to_end_ms": total, "inference_ms": inference, "waited_ms": waited, "beside_inference_ms": total - inference,
            "beside_both_ms": total - inference - waited, "joint_states_ms": np.array(self.states),
            "bare_chain_ms": np.array(self.chain),
        }  # fmt: skip
        result = {f"{name}_p{p}": float(np.percentile(values, p)) for name, values in figures.items() for p in (50, 99)}
        more = {"age_ms_mean": _mean_age(self.answered), "joint_states_hz": len(self.states) / seconds, "targets": len(rows)}
        more["prompt"] = int(granted)
        return {**result, **more}

    def quiet(self, seconds: float) -> dict[str, int]:
        """Every node's counts once nothing changes any more: then no picture is on its way."""
        before: dict[str, int] | None = None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.spin(3.0)
            now = self._counts()
            if now is not None and now == before:
                return now
            before = now
        raise SystemExit(f"the graph does not come to rest: {before}; it says {self.told}")

    def _counts(self) -> dict[str, int] | None:
        told = self.told
        if not {"perception", "mapper", "sim"} <= told.keys() or not self.efforts:
            return None

        def count(node: str, *beginnings: str) -> int:
            return sum(int(v) for k, v in told[node].items() if k.startswith(beginnings) and v.isdigit())

        return {
            "sent": count("perception", "received"), "skipped": count("perception", "skipped", "out_of_order"),
            "arrived": count("mapper", "keypoints accepted", "keypoints refused"), "targets": count("mapper", "targets"),
            "taken": count("sim", "accepted", "refused Invalid"),
        }  # fmt: skip


def _mean_age(answered: dict[int, float]) -> float:
    """How old the newest target is on average, at any moment [ms]: it grows from its latency on until the next one comes."""
    latency = np.array(list(answered.values()))
    came = 1e-6 * np.array(list(answered)) + latency
    apart = np.diff(came)
    return float(np.sum(apart * (latency[:-1] + 0.5 * apart)) / max(np.sum(apart), 1e-9))


def _graph(seconds: float) -> dict[str, float]:
    graph = _Graph()
    begin = graph.quiet(240.0)  # the source was played once: everything is loaded, compiled and connected
    result = graph.measure(seconds, RATE)
    end = graph.quiet(60.0)
    done = {name: end[name] - begin[name] for name in begin}
    lost = done["sent"] - done["skipped"] - done["arrived"] + done["targets"] - done["taken"]
    result |= {"frames_sent": done["sent"], "frames_skipped": done["skipped"], "frames_lost": lost}
    calm = min(RATE, 500.0 / result["inference_ms_p50"])  # twice the time that a picture takes: few wait for the one before
    more = graph.measure(seconds, calm)
    return {**result, "calm_rate_hz": calm, **{f"calm_{name}": value for name, value in more.items()}}


def _person(seconds: float) -> np.ndarray:
    """A recorded person's keypoints at `RATE` [m], to the recording's end and back, again and again: nobody leaps."""
    demo = load_demonstration(asset_path("models/recordings/onion_sorting/truth.npz"))
    t, end = np.arange(0.0, seconds, 1.0 / RATE), demo.t[-1] - demo.t[0]
    t = demo.t[0] + end - np.abs(end - t % (2.0 * end))
    flat = demo.p_world.reshape(len(demo.t), -1)
    moved = np.stack([np.interp(t, demo.t, column) for column in flat.T], axis=1).reshape(len(t), -1, 3)
    return np.asarray(moved + np.array([0.0, 0.0, RAISED]))


def _path(seconds: float) -> dict[str, float]:
    """A person's keypoints at `RATE`, each until its joint target arrives here."""
    graph, wire = _Graph(), KeypointWire("world")
    out = graph.node.create_publisher(Keypoints, "perception/keypoints", qos.FRAMES)
    person = _person(seconds + WARM)
    k, sent = len(KEYPOINTS), 0
    sure = (np.tile(1e-4 * np.eye(3), (k, 1, 1)), np.ones(k), np.zeros((k, 2)))
    if not graph.spin(120.0, lambda: {"mapper", "sim"} <= graph.told.keys() and out.get_subscription_count() > 1):
        raise SystemExit(f"the nodes do not come up; they say {graph.told}")
    begin, latest = time.monotonic(), 0.0
    for i, p_world in enumerate(person):
        graph.spin(begin + i / RATE - time.monotonic())
        late = time.monotonic() - begin - i / RATE
        begin, latest = begin + (late if late > 1.0 / RATE else 0.0), max(late, latest)  # nothing is made up for in a burst
        graph.measuring = i >= WARM * RATE
        out.publish(wire.encode(KeypointFrame(time.time_ns(), p_world, *sure)))
        sent += graph.measuring
    graph.spin(1.0)
    ages = list(graph.answered.values())
    if not ages:
        raise SystemExit(f"no target came; the nodes say {graph.told}")
    result = {f"path_ms_p{p}": float(np.percentile(ages, p)) for p in (50, 99)}
    refused = sum(int(n) for name, n in graph.told["sim"].items() if name.startswith("refused"))
    counts = {"path_frames_sent": sent, "path_frames_lost": sent - len(ages), "path_targets_refused": refused}
    return {**result, **counts, "path_sender_late_ms_max": 1e3 * latest}


def main() -> None:
    """Entry point."""
    part, seconds, file = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    rclpy.init()
    try:
        parts = {"graph": _graph, "path": _path, "recorder": recorded}
        result = parts[part](seconds) if part in parts else _transport(part, seconds)
        file.write_text(json.dumps(result))
    finally:
        rclpy.try_shutdown()
