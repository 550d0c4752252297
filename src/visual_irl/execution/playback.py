"""A short queue of targets between an executor and a controller with a faster clock of its own.

The executor gives a target every `period`; the controller asks at times of its own clock, and gets the quintic through the two
targets around that time, which agrees with both in position, speed and acceleration. So the executor may be late by what the
queue holds, and a cycle that the controller lost is made up for. When the queue runs dry while the arm moves, each joint brakes
within its limits, and nothing more is played until `clear`.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.execution.braking import Brake
from visual_irl.robots.model import RobotModel

AT_REST = 1e-6
"""Targets slower than this [rad/s], and changing their speed less [rad/s^2], may be held for ever."""
_QUINTIC = np.linalg.inv(
    np.array([[1, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 2, 0, 0, 0], [1] * 6, range(6), [0, 0, 2, 6, 12, 20]], float)
)
"""From both ends' position, speed and acceleration to coefficients, in units of the period."""


class Playback:
    """What is played: `put` by the executor's side, `next` by the controller's."""

    def __init__(self, robot: RobotModel, period: float, depth: int) -> None:
        self._robot, self._period, self._depth = robot, period, depth
        self._scale = np.array([1.0, period, period * period])[:, None]
        self.broken = ""
        """Why it braked by itself; empty while it did not."""
        self.clear()

    def clear(self) -> None:
        """Forget everything, `broken` too."""
        self._targets: deque[ndarray] = deque()
        self._taken, self._x, self._began, self._ended = 0, 0.0, False, False
        self._brake: Brake | None = None
        self._braking = 0.0
        self.broken = ""

    def put(self, target: Float[ndarray, "3 J"]) -> None:
        """The next target: position [rad], speed [rad/s], acceleration [rad/s^2]. Ignored once it brakes."""
        if self._brake is None and not self.broken:
            if not np.isfinite(target).all():
                self.broken = "a target is no number: it was not sent, the arm braked"
            else:
                self._targets.append(target)

    def end(self) -> None:
        """No target comes any more: what is queued is played to its end, and an arm that then moves brakes."""
        self._ended = True

    @property
    def waiting(self) -> bool:
        """Whether there is anything to play."""
        return bool(self._targets)

    @property
    def position(self) -> float:
        """Which target is followed now, counted from 0, with the share of the way to the next one."""
        return self._taken + self._x / self._period

    @property
    def done(self) -> bool:
        """Whether it came to rest for good."""
        if self._brake is not None:
            return self._braking >= self._brake.duration
        return self._ended and len(self._targets) <= 1 and (not self._targets or _rests(self._targets[0]))

    def next(self, elapsed: float) -> Float[ndarray, "J"]:
        """What to command `elapsed` [s] of the controller's time after the last call [rad]; there must be a target."""
        if self._brake is not None:
            self._braking += elapsed
            return self._brake.at(self._braking)[0]
        if not self._began:
            self._began = self._ended or bool(self.broken) or len(self._targets) >= self._depth
            return self._targets[0][0]
        self._x += elapsed
        while self._x >= self._period and len(self._targets) > 1:
            self._targets.popleft()
            self._taken, self._x = self._taken + 1, self._x - self._period
        first = self._targets[0]
        if len(self._targets) > 1:
            return self._between(first, self._targets[1])
        if _rests(first):
            self._x = 0.0
            position: ndarray = first[0]
            return position
        if not self._ended and not self.broken:
            self.broken = f"no target came for {1e3 * self._depth * self._period:.0f} ms: the arm braked"
        self._brake, self._braking = Brake(self._robot, *first), self._x
        return self._brake.at(self._braking)[0]

    def _between(self, first: ndarray, second: ndarray) -> ndarray:
        ends = np.concatenate([first * self._scale, second * self._scale])
        u = self._x / self._period
        position: ndarray = u ** np.arange(6) @ _QUINTIC @ ends
        return position


def _rests(target: ndarray) -> bool:
    return bool((np.abs(target[1:]) <= AT_REST).all())
