"""Notices of the networks are kept away from stderr, whichever thread makes them, and stderr comes back."""

from __future__ import annotations

import os
import threading

from visual_irl.perception.landmarks.mediapipe_detector import QUIET


def stderr() -> tuple[int, int]:
    status = os.fstat(2)
    return status.st_dev, status.st_ino


def test_stderr_is_back_when_the_last_of_two_threads_has_left() -> None:
    before, inside, leave = stderr(), threading.Event(), threading.Event()

    def other() -> None:
        with QUIET:
            inside.set()
            leave.wait(10.0)

    thread = threading.Thread(target=other)
    with QUIET:
        thread.start()
        assert inside.wait(10.0)
    still_quiet = stderr() != before
    leave.set()
    thread.join(10.0)
    assert still_quiet, "the other thread's notices are kept away, too"
    assert stderr() == before
