"""A joint target that changes while the arm moves: followed within position, speed, acceleration and jerk limits.

Ruckig (Berscheid and Kroeger 2021, "Jerk-limited real-time trajectory generation with arbitrary target states") plans anew
from the commanded state in every cycle. When targets cease to come the arm decelerates within the same limits and stands. A
target that is not finite, not within the limits, or in which the arm meets itself or its world is refused; the arm also
brakes when its next command would come too near. Its braking path is not checked: near obstacles plan a motion and have
the guard approve it instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from ruckig import ControlInterface, InputParameter, OutputParameter, Result, Ruckig

from visual_irl.bounds import require_within
from visual_irl.errors import RefusedTrajectory
from visual_irl.robots.collision import checker_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World


@dataclass(frozen=True)
class FollowConfig:
    """How a live target is followed."""

    speed_share: float = 0.5
    """Share of the robot's speed, acceleration and jerk limits that is used."""
    target_age: float = 0.25
    """A target older than this is dead: the arm decelerates and stands [s]."""
    margin: float = 0.002
    """Kept from every position limit [rad]."""
    clearance: float = 0.005
    """Least distance between links, and of the arm to its world [m]."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 0.2, speed_share=(0.001, 1.0), target_age=(0.001, 2.0))


class TargetFollower:
    """The command of every cycle for the newest target."""

    def __init__(
        self, robot: RobotModel, q: Float[ndarray, "J"], period: float, world: World, config: FollowConfig = FollowConfig()
    ) -> None:
        self.robot, self.config, self.stopped = robot, config, True
        """Whether the arm was told to stand because no live target is there."""
        n = len(robot.joint_names)
        self._otg, self._in, self._out = Ruckig(n, period), InputParameter(n), OutputParameter(n)
        share = config.speed_share
        self._in.max_velocity, self._in.max_acceleration = (
            (share * robot.velocity).tolist(),
            (share * robot.acceleration).tolist(),
        )
        self._in.max_jerk = (share * robot.jerk).tolist()
        self._in.current_position = np.asarray(q, float).tolist()
        self._checker = checker_of(robot, world)
        self._checker.contact_at(np.asarray(q, float), config.clearance)  # compiled now: the first target must not wait for it
        self._target = np.array(q, float)
        self._heard_ns: int | None = None
        self.blocked = ""
        """What the arm would meet if it went on; empty when nothing."""

    @property
    def standing(self) -> bool:
        """Whether no live target is there and the commanded arm rests."""
        return self.stopped and not any(self._in.current_velocity) and not any(self._in.current_acceleration)

    def take(self, joint_names: Sequence[str], q: Float[ndarray, "J"], now_ns: int) -> None:
        """A new target [rad], heard at `now_ns`.

        Raises:
            RefusedTrajectory: other joints, not finite, outside the limits, or in contact; the last target stays.
        """
        robot, q = self.robot, np.asarray(q, float)
        if tuple(joint_names) != robot.joint_names or q.shape != robot.lower.shape:
            raise RefusedTrajectory(
                f"target of joints {', '.join(joint_names)}; '{robot.name}' has {', '.join(robot.joint_names)}"
            )
        low, high = robot.lower + self.config.margin, robot.upper - self.config.margin
        bad = ~((q >= low) & (q <= high))
        if bad.any():
            j = int(np.argmax(bad))
            raise RefusedTrajectory(
                f"target of '{robot.joint_names[j]}' is {q[j]:.4g} rad, must lie between {low[j]:.4g} and {high[j]:.4g} rad"
            )
        contact = self._checker.contact_at(q, self.config.clearance)
        if contact is not None:
            raise RefusedTrajectory(
                f"at the target link '{contact.first}' is {contact.distance:.4g} m from '{contact.second}', at least "
                f"{self.config.clearance} m is needed"
            )
        self._target, self._heard_ns = q, now_ns

    def cycle(self, now_ns: int) -> tuple[Float[ndarray, "J"], Float[ndarray, "J"], Float[ndarray, "J"]]:
        """Position [rad], speed [rad/s] and acceleration [rad/s^2] to command now."""
        live = self._heard_ns is not None and 0 <= now_ns - self._heard_ns <= 1e9 * self.config.target_age
        out = self._plan(live)
        contact = self._checker.contact_at(np.array(out.new_position), self.config.clearance) if live else None
        self.blocked = "" if contact is None else f"'{contact.first}' would meet '{contact.second}'"
        if contact is not None:
            self._heard_ns, live = None, False
            out = self._plan(False)
        self.stopped = not live
        out.pass_to_input(self._in)
        return np.array(out.new_position), np.array(out.new_velocity), np.array(out.new_acceleration)

    def _plan(self, live: bool) -> OutputParameter:
        n = len(self._target)
        self._in.control_interface = ControlInterface.Position if live else ControlInterface.Velocity
        self._in.target_position, self._in.target_velocity = self._target.tolist(), [0.0] * n
        self._in.target_acceleration = [0.0] * n
        result = self._otg.update(self._in, self._out)
        if result not in (Result.Working, Result.Finished):
            raise RefusedTrajectory(f"no motion to the target of '{self.robot.name}' exists ({result}); it stays where it is")
        return self._out
