"""Threads that wait for a message or a cycle and then need a moment: where they may, they run before all ordinary ones.

On two cores that networks keep busy, whoever wakes waits for a core: 10 ms and more, one time in a hundred, at each of a
target's three handovers. A round-robin priority (`sched(7)`) ends that. It is granted to root and to whom the machine's
`limits.conf` gives `rtprio`, as for any robot's driver; without it everything runs as before. What computes for longer must not
run inside: nothing ordinary gets that core meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEVEL = 1
"""The lowest of real-time priorities: a driver's own threads go first."""
_MIDDLEWARE = "dds."
"""How the names of Fast DDS's threads begin."""


def _raise(thread: int) -> bool:
    """Give an ordinary thread of this process (0: the one that asks) the priority; whether it got it.

    Whatever else a user has started the process with (`chrt`) stays.
    """
    with suppress(OSError):  # not granted, or the thread has ended
        if os.sched_getscheduler(thread) == os.SCHED_OTHER:
            os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(LEVEL))
            return True
    return False


@contextmanager
def prompt() -> Iterator[bool]:
    """Inside, the thread that asks has the priority; gives whether it got it here."""
    granted = _raise(0)
    try:
        yield granted
    finally:
        if granted:
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def prompt_middleware() -> int:
    """Give the priority to the middleware's threads, which hand over what comes; how many got it."""
    return sum(_raise(int(task.name)) for task in Path("/proc/self/task").iterdir() if _name(task).startswith(_MIDDLEWARE))


def _name(task: Path) -> str:
    with suppress(OSError):  # the thread has ended
        return (task / "comm").read_text()
    return ""
