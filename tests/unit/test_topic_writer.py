"""Recordings of serialised topics: whole ones open as rosbags, cut-off ones keep what reached the disk, none is overwritten."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rosbags.rosbag2 import Reader

from visual_irl.errors import InvalidInput, UnwritableOutput
from visual_irl.io import messages
from visual_irl.io.mcap_stream import survey
from visual_irl.io.topic_writer import TopicWriter
from visual_irl.types import Intrinsics

CAMERA = Intrinsics(500.0, 500.0, 31.5, 23.5, 64, 48)
INFO = messages.encode_camera_info(1, "camera", CAMERA)
DEFINITION = str(messages.TYPES.generate_msgdef(messages.CAMERA_INFO, ros_version=2)[0])


def writer(folder: Path) -> TopicWriter:
    opened = TopicWriter(folder)
    opened.declare("/info", messages.CAMERA_INFO, DEFINITION)
    return opened


def test_what_was_written_is_read_by_rosbags(tmp_path: Path) -> None:
    recording = writer(tmp_path / "bag")
    for k in range(40):
        recording.write("/info", INFO, 10**9 + k * 10**8)
    recording.close()
    with Reader(tmp_path / "bag") as reader:
        rows = [(c.topic, stamp, bytes(data)) for c, stamp, data in reader.messages()]
    assert rows == [("/info", 10**9 + k * 10**8, INFO) for k in range(40)]


def test_a_killed_process_leaves_all_but_the_last_second(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from visual_irl.io import messages\n"
        "from visual_irl.io.topic_writer import TopicWriter\n"
        "w = TopicWriter(Path(sys.argv[1]))\n"
        "w.declare('/info', messages.CAMERA_INFO, sys.argv[3])\n"
        "for k in range(100): w.write('/info', bytes.fromhex(sys.argv[2]), 10**9 + k * 10**8)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "bag"), INFO.hex(), DEFINITION], env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    found = survey(tmp_path / "bag" / "bag_0.mcap")
    stamps = list(found.messages(("/info",)))
    assert 90 <= len(stamps) <= 100, "at most the last second is lost"
    assert np.all([data == INFO for _, data in stamps])


@pytest.mark.parametrize("room", [600, 60_000])
def test_a_full_disk_leaves_nothing_or_what_is_whole(tmp_path: Path, room: int) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    recording = writer(tmp_path / "bag")
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, usual[1]))  # a larger file cannot be written
    try:
        with pytest.raises(UnwritableOutput) as told:
            for k in range(10_000):
                recording.write("/info", np.random.default_rng(k).bytes(500), 10**9 + k * 10**8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    if room < 1000:
        assert "nothing was kept" in str(told.value) and not (tmp_path / "bag").exists()
        return
    found = survey(tmp_path / "bag" / "bag_0.mcap")
    assert "is kept" in str(told.value) and found.damage is not None and "bytes are lost" not in found.damage
    assert len(list(found.messages(("/info",)))) > 50


def test_nothing_is_overwritten_and_nothing_empty_is_left(tmp_path: Path) -> None:
    recording = writer(tmp_path / "bag")
    with pytest.raises(InvalidInput, match="declared"):
        recording.write("/other", INFO, 1)
    with pytest.raises(InvalidInput, match="no message"):
        recording.close()
    assert not (tmp_path / "bag").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    with pytest.raises(UnwritableOutput, match="never overwritten"):
        TopicWriter(tmp_path / "full")
