"""A joint_trajectory_controller as its documentation has it, for one arm: what it does with trajectories, without ROS.

A new trajectory replaces the old one from the moment it is received: the controller goes from where its reference then is to
the first point, and through all points by quintics (positions, speeds and accelerations are given); after the last it holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from scipy.interpolate import BPoly


class Controller:
    """Its reference at any time, and everything that it was asked for."""

    def __init__(self, q: Sequence[float]) -> None:
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._end = 0.0
        self._q = np.array(q, float)
        self._path: BPoly | None = None
        self.received = 0

    def take(self, points: Sequence[tuple[float, Sequence[float], Sequence[float], Sequence[float]]]) -> None:
        """A trajectory: time after now, positions, speeds and accelerations of each point."""
        with self._lock:
            now = time.monotonic()
            here = self._at(now)
            times = [0.0, *(row[0] for row in points)]
            assert (np.diff(times) > 0.0).all(), "a controller rejects times that do not increase"
            rows = [here, *([np.array(x, float) for x in row[1:]] for row in points)]
            self._path = BPoly.from_derivatives(times, np.array(rows))
            self._began, self._end, self._q = now, times[-1], np.array(points[-1][1], float)
            self.received += 1

    def reference(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions and speeds now."""
        return self.stamped()[1:]

    def stamped(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Now on the monotonic clock [s], and positions and speeds at just that time."""
        with self._lock:
            now = time.monotonic()
            q, qd, _ = self._at(now)
            return now, q, qd

    def _at(self, now: float) -> list[np.ndarray]:
        x = now - self._began
        if self._path is None or x >= self._end:
            return [self._q, 0.0 * self._q, 0.0 * self._q]
        return [self._path(x), self._path(x, 1), self._path(x, 2)]
