"""Streams approved motions to an arm, watches it each cycle, and stops it on its path when anything is not as it should be.

A cancel or a time-out decelerates within the joints' limits and holds. Everything else that is wrong (state stream, tracking,
clock, log, command) does the same and latches FAULT. A stop of the robot's own safety system ends commanding at once and
latches FAULT. In FAULT nothing is executed until `reset`, and approvals from before the reset are void: motion is planned anew
from where the arm then is. Nothing recovers by itself.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import numpy as np
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import RefusedTrajectory, RobotUnreachable
from visual_irl.execution.arm import Arm, Gripper
from visual_irl.execution.braking import Brake
from visual_irl.execution.guard import ApprovedTrajectory
from visual_irl.execution.journal import Journal
from visual_irl.execution.pace import Pace, at, changed, reference, steady
from visual_irl.execution.state import RobotState
from visual_irl.robots.model import RobotModel
from visual_irl.types import ExecutionReport, JointTrajectory

STOP_SHARE = 0.85
"""Share of the limits that a change of pace uses where it can: the drives swing about a command that changes quickly."""
MOST = 0.99
"""Share that it never passes: what interpolates between the commands may pass theirs a little."""
LONGER = 1.5
"""Unless it takes longer by more than this factor."""

QUEUE = 512
"""Commands that are remembered, to know where an arm should be that follows with a delay."""

SAME_MOVEMENT = 0.1
"""Longest pause within one movement of a gripper [s]."""


class Phase(Enum):
    """What an executor is doing."""

    IDLE = "idle"
    MOVING = "moving"
    STOPPING = "stopping"
    FAULT = "fault"


@dataclass(frozen=True)
class StreamConfig:
    """What is watched while an arm moves."""

    tracking: float = 0.05
    """Largest distance of a joint from what is commanded [rad]."""
    state_age: float = 0.05
    """Oldest state [s]."""
    cycle_gap: float = 0.05
    """Longest time between two cycles [s]."""
    command_age: float = 0.25
    """Oldest command that the arm may follow [s]."""
    speed_share: float = 1.0
    """Pace of the motion, in (0, 1]; 1 is as approved."""
    pace_step: float = 0.02
    """Smallest change of the robot's speed scaling that is followed."""
    timeout: float = 2.0
    """Time-out over the time that the motion takes at its pace."""
    settle: float = 0.3
    """Time to hold after the end [s]."""
    start_tolerance: float = 0.02
    """Largest distance of a joint from where the approved motion begins [rad]."""

    def __post_init__(self) -> None:
        bounds = {"tracking": (1e-4, 1.0), "speed_share": (0.01, 1.0), "timeout": (0.01, 600.0), "start_tolerance": (1e-4, 0.2)}
        require_within(self, 1e-4, 10.0, **bounds)


class Cycle(NamedTuple):
    """What one cycle did, for observers."""

    time: float
    """Time since the motion began [s]."""
    s: float
    """The motion's own time [s]."""
    command: ndarray
    """(3, J) position, speed and acceleration."""
    state: RobotState


class StreamingExecutor:
    """Executes approved motions on one arm."""

    def __init__(
        self,
        arm: Arm,
        robot: RobotModel,
        journal: Journal | None = None,
        config: StreamConfig = StreamConfig(),
        gripper: Gripper | None = None,
    ) -> None:
        self.arm, self.robot, self.journal, self.config, self.gripper = arm, robot, journal, config, gripper
        self.phase, self.reason = Phase.IDLE, ""
        self._cancel = threading.Event()
        self._valid_from = -(2**62)
        limits = (robot.velocity, robot.acceleration, robot.jerk)
        self._limits = [tuple(share * limit for limit in limits) for share in (MOST, STOP_SHARE)]
        self._row, self._out = np.zeros((3, len(robot.lower))), np.zeros((3, len(robot.lower)))

    def cancel(self) -> None:
        """Bring the arm to rest on its path; may be called from any thread."""
        self._cancel.set()

    def reset(self) -> RobotState:
        """Leave FAULT, after a person has looked. Plan from the state that is returned: older approvals are void.

        Raises:
            RefusedTrajectory: the robot itself is still stopped, or says nothing new.
        """
        state, now = self.arm.read(), self.arm.now_ns()
        if not state.safety.moving_allowed:
            raise RefusedTrajectory(f"the robot still reports {state.safety.value}; clear it on the robot before the reset")
        if not abs(now - state.stamp_ns) <= 1e9 * self.config.state_age:
            raise RefusedTrajectory(
                f"the robot's state is {1e-9 * (now - state.stamp_ns):.3g} s old; mend the connection before the reset"
            )
        self._decide("reset", time_ns=now, was=self.reason)
        self.phase, self.reason, self._valid_from = Phase.IDLE, "", now
        return state

    def execute(self, approved: ApprovedTrajectory, observe: Callable[[Cycle], None] | None = None) -> ExecutionReport:
        """Move as approved; returns when the arm rests. `observe` sees every cycle and must be quick.

        The report's outcome is "executed", "cancelled", "timed out" or "fault", its message the reason. Details: `stop_time`
        from the reason to the end of the commanded motion [s], `tracking_peak` [rad], `cycles`, `s`: the motion's time [s], and
        `grasps`: for a gripper that is only told where to go, whether each closing ended around something.

        Raises:
            RefusedTrajectory: in FAULT, approved for another robot or before the last reset, or the arm is elsewhere.
        """
        state = self._begin(approved)
        run = _Run(self, approved, state)
        self._cancel.clear()
        self.phase = Phase.MOVING
        try:
            while run.goes_on():
                run.cycle(observe)
                self.arm.wait()
        except BaseException as error:
            self._latch(f"the executor itself failed: {type(error).__name__}: {error}")
            self.arm.halt()
            raise
        if run.fault:
            self._latch(run.reason)
        else:
            self.phase = Phase.IDLE
        outcome = "fault" if run.fault else run.outcome
        self._decide("end", outcome=outcome, reason=run.reason, time_ns=self.arm.now_ns())
        if not run.aborted:
            self.arm.halt()
        return run.report(outcome)

    def _begin(self, approved: ApprovedTrajectory) -> RobotState:
        if self.phase is Phase.FAULT:
            raise RefusedTrajectory(f"the executor is in FAULT ({self.reason}); see to it, then reset() and plan again")
        if approved.robot.name != self.robot.name or approved.robot.joint_names != self.robot.joint_names:
            raise RefusedTrajectory(f"approved for '{approved.robot.name}', this cell has '{self.robot.name}': approve again")
        if not approved.approved_ns >= self._valid_from:
            raise RefusedTrajectory("approved before the last reset: plan again from where the robot is, and approve that")
        state = self.arm.read()
        here = state.q if state.q_target is None else state.q_target
        far = np.abs(here - approved.motion.c[0, :, 0])
        if not (far <= self.config.start_tolerance).all():
            j = int(np.argmax(np.where(np.isfinite(far), far, np.inf)))
            raise RefusedTrajectory(
                f"joint '{self.robot.joint_names[j]}' is {far[j]:.3g} rad from where the approved motion begins, at most "
                f"{self.config.start_tolerance} rad: plan and approve from where the robot is"
            )
        self._decide(
            "begin", time_ns=self.arm.now_ns(), robot=self.robot.name, duration=float(approved.motion.t[-1]), q=here,
            speed_share=self.config.speed_share,
        )  # fmt: skip
        return state

    def _latch(self, reason: str) -> None:
        self.phase, self.reason = Phase.FAULT, reason
        self._decide("FAULT", reason=reason)

    def _decide(self, what: str, **values: object) -> None:
        if self.journal is not None:
            self.journal.decide(what, **values)


class Movement(NamedTuple):
    """A movement of the gripper, for one that is told only where each goes; times are the trajectory's [s]."""

    begin: float
    end: float
    opening: float
    """At its end [m]."""
    closes: bool


def movements(trajectory: JointTrajectory) -> list[Movement]:
    """The gripper's movements along a trajectory, the one to its first opening before all."""
    rows = [Movement(0.0, 0.0, float(trajectory.opening[0]), False)]
    t, steps = trajectory.t - trajectory.t[0], np.diff(trajectory.opening)
    for k in np.flatnonzero(np.abs(steps) > 1e-6):
        begin, end, closes = float(t[k]), float(t[k + 1]), bool(steps[k] < 0.0)
        if len(rows) > 1 and rows[-1].closes == closes and begin - rows[-1].end <= SAME_MOVEMENT:
            begin = rows.pop().begin
        rows.append(Movement(begin, end, float(trajectory.opening[k + 1]), closes))
    return rows


class _Run:
    """One execution: where on the motion it is, at which pace, and why it stops."""

    def __init__(self, executor: StreamingExecutor, approved: ApprovedTrajectory, state: RobotState) -> None:
        self.x, self.approved, self.motion = executor, approved, approved.motion
        c = executor.config
        self.period, self.end = executor.arm.period, float(approved.motion.t[-1])
        self.pace, self.since, self.goal = steady(0.0, c.speed_share), 0.0, c.speed_share
        self.time, self.s, self.settled = 0.0, 0.0, 0.0
        self.deadline = c.timeout * self.end / c.speed_share + 1.0
        self._changed(0.0, c.speed_share, 0.0, 0.0)  # compiled at first use, which takes seconds: not in the middle of a motion
        reference(self.motion, self.pace, 0.0, executor._row, executor._out)
        self.outcome, self.reason, self.fault, self.aborted = "executed", "as approved", False, False
        self.stopped_at = self.reason_at = math.nan
        self.last_clock, self.last_stamp = executor.arm.now_ns(), state.stamp_ns
        self.last = np.zeros((3, len(state.q)))
        self.last[0] = approved.motion.c[0, :, 0]
        self.sent = deque([self.last[0]], maxlen=QUEUE)
        self.arrived = False
        """Whether what the arm follows now is the last command."""
        self.brake: Brake | None = None
        self.braking = 0.0
        self.last_opening = math.nan
        self.grips = movements(approved.trajectory)
        self.grip: Movement | None = None
        self.grasps: list[bool] = []
        self.rows: list[tuple[float, ndarray, ndarray]] = []

    def goes_on(self) -> bool:
        return not self.aborted and self.settled < self.x.config.settle

    def cycle(self, observe: Callable[[Cycle], None] | None) -> None:
        """Read, judge, set the pace, command, record."""
        x = self.x
        state, now = x.arm.read(), x.arm.now_ns()
        if not self.fault:
            self._judge(state, now)
        self.last_clock, self.last_stamp = now, state.stamp_ns
        if self.aborted:
            x.arm.halt()
            return
        if x.phase is Phase.MOVING:
            self._follow_scaling(state)
        command = self._next_command(now)
        due = self._due(state)
        self.last = command.copy()
        self.sent.append(self.last[0])
        self.arrived = bool((np.abs(due - self.last[0]) <= 1e-6).all())
        x.arm.command(command[0], command[1], command[2])
        self._grip()
        self._record(state, now, command, due)
        if observe is not None:
            observe(Cycle(self.time, self.s, command, state))
        self._proceed()

    def _next_command(self, now: int) -> ndarray:
        """Position, speed and acceleration (3, J) of this cycle: on the path, or of a stop that had to leave it."""
        x, command = self.x, self.x._out
        if self.brake is None:
            s = reference(self.motion, self.pace, self.since, x._row, command)
            step = np.abs(command[0] - self.last[0])
            if (step <= 1.1 * x.robot.velocity * self.period + 1e-6).all() and np.isfinite(command).all():
                self.s = s
                return command
            if not self.fault:
                self._stop(now, "the next command is no continuation of the last one; it was not sent", fault=True)
            self._leave_path()
        assert self.brake is not None
        self.braking += self.period
        command[:] = self.brake.at(self.braking)
        return command

    def _leave_path(self) -> None:
        """Stop each joint on its own, from the last command."""
        if self.brake is None:
            self.brake, self.braking = Brake(self.x.robot, *self.last), 0.0
            self.x._decide("the stop leaves the path", q=self.last[0], qd=self.last[1])

    def _due(self, state: RobotState) -> ndarray:
        """Where the arm should be in `state` [rad]: what was commanded `command_age` before the last command."""
        back = state.command_age / self.period
        if not 0.0 <= back <= len(self.sent) - 1:
            back = len(self.sent) - 1.0 if back > 0.0 else 0.0
        k = int(back)
        newer, older = self.sent[-1 - k], self.sent[-1 - min(k + 1, len(self.sent) - 1)]
        position: ndarray = newer + (back - k) * (older - newer)
        return position

    def _judge(self, state: RobotState, now: int) -> None:
        c, names = self.x.config, self.x.robot.joint_names
        gap, age = 1e-9 * (now - self.last_clock), 1e-9 * (now - state.stamp_ns)
        late = c.cycle_gap + self.period
        if not state.safety.moving_allowed:
            self.aborted = True
            self._stop(now, f"the robot reports {state.safety.value}{': ' * bool(state.message)}{state.message}", fault=True)
        elif not -1e-9 <= gap <= late:
            self._stop(
                now, f"the clock went {gap:.3g} s between two cycles, at most {late:.3g} s forward is allowed", fault=True
            )
        elif not -1e-3 <= age <= c.state_age:
            self._stop(now, f"the newest state is {age:.3g} s old, at most {c.state_age} s is allowed", fault=True)
        elif state.stamp_ns < self.last_stamp:
            back = 1e-9 * (self.last_stamp - state.stamp_ns)
            self._stop(now, f"states come out of order: this one is {back:.3g} s older than the one before", fault=True)
        elif not 0.0 <= state.command_age <= c.command_age:
            self._stop(
                now, f"the arm follows a command that is {state.command_age:.3g} s old, at most {c.command_age} s", fault=True
            )
        elif not (np.isfinite(state.q).all() and np.isfinite(state.qd).all()):
            self._stop(now, "the state holds values that are no numbers", fault=True)
        elif not ((state.q >= self.x.robot.lower - 0.01) & (state.q <= self.x.robot.upper + 0.01)).all():
            j = int(np.argmax(np.maximum(self.x.robot.lower - state.q, state.q - self.x.robot.upper)))
            self._stop(now, f"joint '{names[j]}' is at {state.q[j]:.4g} rad, beyond its limit", fault=True)
        elif not (np.abs(state.q - (due := self._due(state))) <= c.tracking).all():
            j = int(np.argmax(np.abs(state.q - due)))
            off = abs(state.q[j] - due[j])
            old = f", by a state that is {age:.3g} s old" if age > self.period else ""
            self._stop(now, f"joint '{names[j]}' is {off:.3g} rad from its command, at most {c.tracking} rad{old}", fault=True)
        elif self.x.phase is Phase.MOVING and self.x._cancel.is_set():
            self._stop(now, "cancelled", outcome="cancelled")
        elif self.x.phase is Phase.MOVING and not self.time <= self.deadline:
            self._stop(now, f"not done after {self.time:.3g} s, the time-out", outcome="timed out")

    def _stop(self, now: int, reason: str, fault: bool = False, outcome: str = "fault") -> None:
        """Decide to stop for a reason, and plan how."""
        self.fault, self.outcome, self.reason = fault, outcome, reason
        if math.isnan(self.reason_at):
            self.reason_at = self.time
        self.x._decide("stop", reason=reason, fault=fault, s=self.s, time_ns=now)
        if self.x.phase is Phase.MOVING and not self.aborted and not self._change_pace(0.0):
            self._leave_path()
        self.x.phase = Phase.STOPPING

    def _change_pace(self, goal: float) -> bool:
        """Plan a change of pace on the path; whether there is one within the limits."""
        s, r, slope, _ = at(self.pace, self.since)
        if abs(r - goal) < 1e-12 and slope == 0.0:
            self.pace, self.since, self.goal = steady(s, goal), 0.0, goal
            return True
        new = self._changed(s, r, slope, goal)
        if new is not None:
            self.pace, self.since, self.goal = new, 0.0, goal
        return new is not None

    def _changed(self, s: float, r: float, slope: float, goal: float) -> Pace | None:
        """The quickest change of pace on the path, or a gentler one that takes little longer."""
        new, gentle = (changed(self.motion, s, r, slope, goal, (v, a, j)) for v, a, j in self.x._limits)
        return gentle if new is not None and gentle is not None and gentle.duration <= LONGER * new.duration else new

    def _follow_scaling(self, state: RobotState) -> None:
        scaling = min(max(state.speed_scaling, 0.0), 1.0) if math.isfinite(state.speed_scaling) else 0.0
        goal = 0.0 if self._waits else self.x.config.speed_share * scaling
        if abs(goal - self.goal) > self.x.config.pace_step or (goal == 0.0) != (self.goal == 0.0):
            self._change_pace(goal)

    def _grip(self) -> None:
        gripper = self.x.gripper
        if gripper is None or self.x.phase is not Phase.MOVING:
            return
        trajectory = self.approved.trajectory
        now = self.s - self.approved.approach
        if gripper.follows:
            opening = float(np.interp(now, trajectory.t - trajectory.t[0], trajectory.opening))
            if not abs(opening - self.last_opening) <= 1e-6:
                gripper.move(opening)
                self.last_opening = opening
            return
        try:
            if self.grips and now >= self.grips[0].begin and self.grip is None:
                self.grip = self.grips.pop(0)
                self.x._decide("grip", opening=self.grip.opening, closes=self.grip.closes, s=self.s)
                if self.grip.closes:
                    gripper.close(self.x.robot.grip_force)
                else:
                    gripper.move(self.grip.opening)
            elif self.grip is not None and not gripper.busy:
                if self.grip.closes:
                    self.grasps.append(gripper.grasped)
                    self.x._decide("closed", grasped=self.grasps[-1], s=self.s)
                self.grip = None
        except RobotUnreachable as error:
            self.grip = None
            self._stop(self.last_clock, f"the gripper: {error}", fault=True)

    @property
    def _waits(self) -> bool:
        """Whether the fingers are later than planned: the arm waits for them."""
        return self.grip is not None and self.s - self.approved.approach >= self.grip.end

    def _record(self, state: RobotState, now: int, command: ndarray, due: ndarray) -> None:
        self.rows.append((self.time, state.q, state.q - due))
        if self.x.journal is None:
            return
        try:
            self.x.journal.write(
                "cycle", time_ns=now, s=self.s, q=command[0].tolist(), qd=command[1].tolist(), stamp_ns=state.stamp_ns,
                q_measured=state.q.tolist(), qd_measured=state.qd.tolist(), scaling=state.speed_scaling,
                safety=state.safety.value,
            )  # fmt: skip
        except OSError as error:
            if not self.fault:
                self._stop(now, f"the log cannot be written: {error.strerror or error}", fault=True)

    def _proceed(self) -> None:
        self.time += self.period
        self.since += self.period
        s, r, slope, _ = at(self.pace, self.since)
        if self.brake is not None:
            done = self.braking >= self.brake.duration
        else:
            done = s >= self.end or (self.x.phase is Phase.STOPPING and r <= 1e-9 and abs(slope) <= 1e-9)
        if done:
            if math.isnan(self.stopped_at):
                self.stopped_at = self.time
            if self.fault or self.arrived:
                self.settled += self.period

    def report(self, outcome: str) -> ExecutionReport:
        times, measured, error = (np.array(column) for column in zip(*self.rows, strict=True)) if self.rows else (
            np.zeros(0), np.zeros((0, len(self.last[0]))), np.zeros((0, len(self.last[0])))
        )  # fmt: skip
        rms = float(np.sqrt(np.mean(error**2))) if len(error) else 0.0
        details = {
            "stop_time": self.stopped_at - self.reason_at if not self.aborted else 0.0,
            "tracking_peak": float(np.abs(error).max()) if len(error) else 0.0,
            "cycles": len(self.rows),
            "s": self.s,
            "grasps": self.grasps,
        }
        return ExecutionReport(outcome, self.reason, times, measured, rms, details)
