"""Real time for a simulated arm."""

from __future__ import annotations

import time


class Pacer:
    """Keeps cycles to real time."""

    def __init__(self, period: float) -> None:
        self._period, self._due = period, time.monotonic()

    def wait(self) -> None:
        """Until the next cycle is due; more than 50 ms of delay is not made up for."""
        self._due = max(self._due + self._period, time.monotonic() - 0.05)
        time.sleep(max(0.0, self._due - time.monotonic()))
