"""Even cycles in real time: waits until absolute times, so that what one cycle took does not move the next."""

from __future__ import annotations

import time

SPIN = 2e-4
"""The last part of a wait is spent looking at the clock: a sleeping process wakes up late [s]."""


class Cadence:
    """Cycles of `period` [s] on the monotonic clock."""

    def __init__(self, period: float) -> None:
        self.period = period
        self._next = time.perf_counter() + period
        self.late = 0
        """Cycles that began more than one period after they should have."""

    def wait(self) -> float:
        """Until the next cycle begins; how late it began [s]. After a stall cycles go on from now, none is made up for."""
        left = self._next - time.perf_counter()
        if left > SPIN:
            time.sleep(left - SPIN)
        while time.perf_counter() < self._next:
            pass
        now = time.perf_counter()
        late = now - self._next
        self.late += late > self.period
        self._next = (now if late > self.period else self._next) + self.period
        return late
