"""The real recorder: what it wrote opens, and what it could not finish is readable up to the last second."""

from __future__ import annotations

import resource
import signal
import struct
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rclpy.action import ActionClient
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image
from visual_irl_msgs.action import Record
from visual_irl_ros import convert, qos
from visual_irl_ros.recorder import Recorder

from visual_irl.io.mcap_stream import survey

TOPIC = "/camera/camera/color/image_raw"
PERIOD = 1.0 / 30.0


class Camera:
    """Publishes pictures that zstd cannot make small, neither alone nor after each other."""

    def __init__(self, watcher: Any) -> None:
        self.watcher = watcher
        self._out = watcher.create_publisher(Image, TOPIC, qos.RECORDED)
        self._noise = np.random.default_rng(0)
        self.sent: list[int] = []
        """Stamps of all pictures [ns]."""

    def play(self, until: Callable[[], bool], seconds: float) -> bool:
        """Until a condition holds; whether it did."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until():
            self.sent.append(time.time_ns())
            image = Image(height=120, width=160, encoding="rgb8", step=480, header=convert.header(self.sent[-1], "camera"))
            image.data = array("B")
            image.data.frombytes(self._noise.bytes(160 * 120 * 3))
            self._out.publish(image)
            self.watcher.rest(PERIOD)
        return until()


@pytest.fixture
def recording(watcher: Any, launched: Callable, tmp_path: Path) -> Any:
    nodes = launched("record")
    client = ActionClient(watcher, Record, "recorder/record")
    assert watcher.up("recorder")
    assert client.wait_for_server(30.0)

    def begin(folder: Path, duration: float = 0.0) -> Any:
        goal = client.send_goal_async(Record.Goal(folder=str(folder), duration=duration))
        assert watcher.wait(goal.done, 20.0)
        return goal.result()

    return nodes["recorder"], Camera(watcher), begin


def result_of(camera: Camera, goal: Any) -> Record.Result:
    told = goal.get_result_async()
    assert camera.play(told.done, 60.0)
    return told.result().result


def stamps(folder: Path) -> list[int]:
    """Of the recorded pictures [ns]."""
    found = survey(next(folder.glob("*.mcap")))
    return [stamp_of(data) for _, data in found.messages((TOPIC,))]


def stamp_of(data: bytes) -> int:
    seconds, nanoseconds = struct.unpack_from("<iI", data, 4)
    return int(seconds * 10**9 + nanoseconds)


def written(watcher: Any) -> int:
    return int(watcher.values["recorder"]["written"])


@pytest.mark.timeout(120)
def test_what_is_recorded_opens_and_is_never_overwritten(watcher: Any, recording: Any, tmp_path: Path) -> None:
    _, camera, begin = recording
    result = result_of(camera, begin(tmp_path / "bag", 2.0))
    assert result.error_code == Record.Result.SUCCESS, result.error_text
    with Reader(tmp_path / "bag") as reader:
        rows = [bytes(data) for _, _, data in reader.messages()]
    assert len(rows) == result.written > 5
    again = result_of(camera, begin(tmp_path / "bag", 1.0))
    assert again.error_code == Record.Result.UNWRITABLE and "never overwritten" in again.error_text
    goal = begin(tmp_path / "other")
    assert watcher.wait(lambda: written(watcher) == 0, 20.0)  # what is known until then is the first recording's
    assert camera.play(lambda: written(watcher) > 3, 30.0)
    assert not begin(tmp_path / "third").accepted, "one recording at a time"
    goal.cancel_goal_async()
    assert result_of(camera, goal).error_code == Record.Result.SUCCESS


@pytest.mark.timeout(120)
def test_a_recording_of_the_launch_files_folder_lasts_until_ctrl_c(watcher: Any, launched: Callable, tmp_path: Path) -> None:
    camera, folder = Camera(watcher), str(tmp_path / "bag")
    node = launched("record", folder=folder)["recorder"]
    assert camera.play(lambda: "recorder" in watcher.values and written(watcher) > 5, 60.0)
    node.send_signal(signal.SIGINT)
    assert node.wait(10.0) == 0
    found = stamps(tmp_path / "bag")
    assert len(found) > 5
    again = launched("record", folder=folder, duration="0.1")["recorder"]
    assert again.wait(30.0) == 1 and stamps(tmp_path / "bag") == found


@pytest.mark.timeout(120)
def test_a_killed_recorder_leaves_all_but_the_last_second(watcher: Any, recording: Any, tmp_path: Path) -> None:
    process, camera, begin = recording
    begin(tmp_path / "bag")
    assert camera.play(lambda: written(watcher) > 80, 60.0)
    process.send_signal(signal.SIGKILL)
    killed = time.time_ns()
    process.wait()
    found = stamps(tmp_path / "bag")
    assert len(found) > 20
    assert killed - found[-1] < 2_500_000_000, "the second that may be lost, and what waited on a loaded machine"


@pytest.mark.timeout(120)
def test_what_is_pushed_out_while_the_recorder_stands_is_counted(watcher: Any, recording: Any, tmp_path: Path) -> None:
    process, camera, begin = recording
    goal = begin(tmp_path / "bag")
    assert camera.play(lambda: written(watcher) > 10, 60.0)
    process.send_signal(signal.SIGSTOP)
    camera.play(lambda: False, 4.0)  # more than its queue holds
    process.send_signal(signal.SIGCONT)
    camera.play(lambda: False, 2.0)
    goal.cancel_goal_async()
    result = result_of(camera, goal)
    found = stamps(tmp_path / "bag")
    assert found == sorted(found) and len(found) == result.written
    between = [stamp for stamp in camera.sent if found[0] <= stamp <= found[-1]]
    assert result.dropped > 10
    assert len(between) == result.written + result.dropped


@pytest.mark.timeout(120)
def test_a_full_disk_is_told_and_leaves_a_readable_file(watcher: Any, recording: Any, tmp_path: Path) -> None:
    process, camera, begin = recording
    goal = begin(tmp_path / "bag")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (2 << 20, 2 << 20))  # writes beyond fail, as on a full disk
    result = result_of(camera, goal)
    assert result.error_code == Record.Result.DISK_FULL
    assert "free some space" in result.error_text
    assert len(stamps(tmp_path / "bag")) > 10
    assert process.poll() is None


@pytest.mark.timeout(60)
def test_what_waits_for_the_disk_when_it_is_told_to_end_is_written(watcher: Any) -> None:
    recorder, written = Recorder(), []
    topic = next(iter(recorder._kinds))
    ended = threading.Event()

    def slowly(topic: str, data: bytes, stamp_ns: int) -> None:
        time.sleep(0.01)
        written.append(data)

    given = (SimpleNamespace(write=slowly), 0.0, ended.is_set, lambda told: None)
    thread = threading.Thread(target=recorder._write, args=given)
    thread.start()
    while recorder._queue is None:
        time.sleep(0.001)
    for i in range(50):
        recorder._taker(topic)(bytes([i]), {})
    ended.set()
    thread.join(20.0)
    recorder._taker(topic)(b"later", {})
    assert written == [bytes([i]) for i in range(50)]
    assert recorder.written == 50 and recorder.dropped == 0
    recorder.destroy_node()
