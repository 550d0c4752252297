"""A simulated arm on which something goes wrong at a chosen time, and which keeps what its physics did."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.execution.guard import ApprovedTrajectory
from visual_irl.execution.journal import Journal
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.state import RobotState, Safety
from visual_irl.execution.streaming import StreamingExecutor
from visual_irl.robots.interpolation import Motion, evaluate
from visual_irl.robots.model import RobotModel


@dataclass(frozen=True)
class Fault:
    """A kind of fault."""

    says: tuple[str, ...]
    """What the log must say; one of these."""
    outside: bool = False
    """Something from outside moves or stops the arm: how hard is not the controller's choice."""
    latches: bool = True
    """Whether the executor must be in FAULT afterwards."""


FAULTS = {
    "state stream frozen": Fault(("the newest state is", "by a state that is")),
    "states delayed": Fault(("the newest state is", "by a state that is")),
    "states reordered": Fault(("states come out of order", "by a state that is")),
    "connection cut": Fault(("the newest state is", "by a state that is")),
    "cancel": Fault(("cancelled",), latches=False),
    "external push": Fault(("from its command",), outside=True),
    "joint against a stop": Fault(("from its command",), outside=True),
    "joint beyond its limit": Fault(("beyond its limit",)),
    "protective stop": Fault(("protective stop: C153A0",)),
    "emergency stop": Fault(("emergency stop",)),
    "motion turns NaN": Fault(("no continuation",)),
    "state turns NaN": Fault(("no numbers",)),
    "clock jumps forward": Fault(("the clock went",)),
    "clock jumps back": Fault(("the clock went",)),
    "disk full": Fault(("the log cannot be written",)),
}
"""What can happen inside a process."""
KILLED, DRIVER_KILLED = "process killed", "driver killed"
"""What happens to a whole one: to that which commands, and to that which speaks with a Franka arm."""

PUSH = 1.6
"""Torque of a push over the joint's own limit."""
PUSH_TIME = 0.1
"""How long somebody pushes [s]."""


class FaultyArm(MujocoArm):
    """An arm at `q` [rad]; `kind` happens at `at` [s], on `joint` where one is meant."""

    def __init__(self, robot: RobotModel, q: Float[ndarray, "J"], kind: str, at: float, joint: int) -> None:
        self.kind, self.at, self.joint = kind, at, joint
        self.healed = False
        """Whether what was wrong has gone again, without anybody telling the executor."""
        self.history: list[ndarray] = []
        """Per step of the physics time [s], positions [rad] and speeds [rad/s], (1 + 2 J,)."""
        self.commands: list[ndarray] = []
        """Per command time [s], position, speed and acceleration, (1 + 3 J,)."""
        self._reads = 0
        super().__init__(robot, q)
        self._last = [super().read()]

    @property
    def struck(self) -> bool:
        """Whether the fault is there now."""
        return self.data.time >= self.at and not self.healed

    def arrange(self, executor: StreamingExecutor, approved: ApprovedTrajectory) -> None:
        """Prepare what happens outside of the arm: a cancel, a full disk, a motion that is none."""
        self._executor = executor
        if self.kind == "motion turns NaN":
            turn_nan(approved, self.at, self.joint)

    def now_ns(self) -> int:
        jump = {"clock jumps forward": 10**9, "clock jumps back": -(10**9)}.get(self.kind, 0)
        return super().now_ns() + (jump if self.struck else 0)

    def read(self) -> RobotState:
        state = dataclasses.replace(super().read(), stamp_ns=round(1e9 * self.data.time))
        if not self.struck:
            self._last = [*self._last[-100:], state]
            return state
        if self.kind in ("state stream frozen", "connection cut"):
            return self._last[-1]
        self._last = [*self._last[-100:], state]
        self._reads += 1
        if self.kind == "states delayed":
            return self._last[-min(50, len(self._last))]
        if self.kind == "states reordered" and self._reads % 3 == 0:
            return self._last[-min(4, len(self._last))]
        if self.kind == "joint beyond its limit":
            return dataclasses.replace(state, q=np.where(self._chosen, self.robot.upper + 0.02, state.q))
        if self.kind == "state turns NaN":
            return dataclasses.replace(state, q=np.where(self._chosen, np.nan, state.q))
        return state

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        self.commands.append(np.concatenate([[self.data.time], q, qd, qdd]))
        if not (self.struck and self.kind == "connection cut"):
            super().command(q, qd, qdd)

    def wait(self) -> None:
        self._strike()
        super().wait()
        self.history.append(np.concatenate([[self.data.time], self.data.qpos[self._q], self.data.qvel[self._dof]]))

    @property
    def _chosen(self) -> ndarray:
        return np.arange(len(self.target)) == self.joint

    def _strike(self) -> None:
        """What happens to the physics, the robot's safety system and the machine."""
        if self.kind == "external push":
            pushed = self.struck and self.data.time < self.at + PUSH_TIME
            self.push(np.where(self._chosen & pushed, PUSH * self.robot.effort, 0.0))
        if not self.struck:
            self.safety, self.message = Safety.NORMAL, ""
            return
        if self.kind == "joint against a stop":
            self._put_stop()
        elif self.kind == "protective stop":
            self.safety, self.message = Safety.PROTECTIVE_STOP, "C153A0"
        elif self.kind == "emergency stop":
            self.safety = Safety.EMERGENCY_STOP
        elif self.kind == "cancel":
            self._executor.cancel()
        elif self.kind == "disk full" and self._executor.journal is not None:
            fill(self._executor.journal)

    def _put_stop(self) -> None:
        """A hard stop right before the joint; it stays where it is first put."""
        j = self.model.joint(self.robot.joint_names[self.joint])
        q, towards = float(self.data.qpos[j.qposadr[0]]), float(np.sign(self.data.qvel[j.dofadr[0]]))
        if not hasattr(self, "_stop_at"):
            self._stop_at = q
            j.range[1 if towards > 0.0 else 0] = q


def turn_nan(approved: ApprovedTrajectory, at: float, joint: int) -> None:
    """Make an approved motion none: `joint` has no numbers from `at` [s] on."""
    t, c = approved.motion.t, approved.motion.c.copy()
    c[np.searchsorted(t, at) :, joint] = np.nan
    object.__setattr__(approved, "motion", Motion(t, c))


def fill(journal: Journal) -> None:
    """The log's disk takes no more: the kernel says so from now on."""
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, journal.descriptor)
    os.close(full)


def moving_joint(motion: Motion, at: float, more: float) -> int | None:
    """The joint that goes on farthest in its present direction after `at` [s]; None when none goes `more` [rad]."""
    row = np.zeros((3, motion.c.shape[1]))
    evaluate(motion, at, row)
    start, speed = row[0].copy(), row[1].copy()
    ahead = np.zeros_like(start)
    for time in np.linspace(at, motion.t[-1], 40):
        evaluate(motion, float(time), row)
        ahead = np.maximum(ahead, np.sign(speed) * (row[0] - start))
    ahead *= np.abs(speed) > 0.1
    return int(np.argmax(ahead)) if ahead.max() > more else None
