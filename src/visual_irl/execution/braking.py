"""To rest from where the commands are, each joint on its own, within acceleration and jerk limits.

Used where the path cannot be followed any further: its next command is no number or no continuation, or no command comes at
all. The stop leaves the path, so nothing is known about collisions on it; where the path is known, `visual_irl.execution.pace`
stops on it. Ruckig's velocity interface (Berscheid and Kroeger 2021) plans it once; every cycle reads it.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from ruckig import ControlInterface, InputParameter, Result, Ruckig, Synchronization, Trajectory

from visual_irl.errors import InvalidInput
from visual_irl.robots.model import RobotModel

SHARE = 0.8
"""Share of the limits that is commanded: the drives swing about a command that changes as fast as it may."""


class Brake:
    """A stop that begins at position [rad], speed [rad/s] and acceleration [rad/s^2]; every joint brakes as hard as it may.

    Raises:
        InvalidInput: the state to brake from is not finite.
    """

    def __init__(self, robot: RobotModel, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        if not (np.isfinite(q).all() and np.isfinite(qd).all() and np.isfinite(qdd).all()):
            raise InvalidInput(f"a stop of '{robot.name}' cannot begin at {q} rad, {qd} rad/s, {qdd} rad/s^2: not finite")
        n = len(q)
        start = InputParameter(n)
        start.control_interface = ControlInterface.Velocity
        start.synchronization = Synchronization.No
        start.current_position, start.current_velocity = q.tolist(), qd.tolist()
        start.current_acceleration = np.clip(qdd, -robot.acceleration, robot.acceleration).tolist()
        start.target_velocity, start.target_acceleration = [0.0] * n, [0.0] * n
        start.max_acceleration, start.max_jerk = (SHARE * robot.acceleration).tolist(), (SHARE * robot.jerk).tolist()
        self._trajectory = Trajectory(n)
        result = Ruckig(n).calculate(start, self._trajectory)
        if result not in (Result.Working, Result.Finished):
            raise InvalidInput(f"no stop of '{robot.name}' from {qd} rad/s exists ({result})")
        self.duration = float(self._trajectory.duration)
        """Time to rest [s]."""

    def at(self, time: float) -> tuple[Float[ndarray, "J"], Float[ndarray, "J"], Float[ndarray, "J"]]:
        """Position [rad], speed [rad/s], acceleration [rad/s^2] at `time` [s] after the stop began; at rest after its end."""
        q, qd, qdd = (np.array(values) for values in self._trajectory.at_time(min(time, self.duration))[:3])
        if time >= self.duration:
            return q, np.zeros_like(q), np.zeros_like(q)
        return q, qd, qdd
