"""A hand plan built move by move: like the person on the way, straight where it touches things, with round corners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from visual_irl.bounds import require_within
from visual_irl.policy.motion import MotionLibrary
from visual_irl.types import HandPlan


@dataclass(frozen=True)
class PolicyConfig:
    """How a plan becomes a hand path."""

    rate: float = 40.0
    """Samples a second of the hand path [1/s]."""
    approach: float = 0.10
    """Distance from an object or a release from which the hand goes straight to it [m]."""
    cone: float = 1.5
    """Slope of the cone above an object or a bin that the hand must stay in near it: rise over run."""
    grasp_seconds: float = 0.6
    """Time for the gripper to close or open [s]."""
    descend_speed: float = 0.15
    """Speed of the last straight part [m/s]."""
    look_seconds: float = 1.2
    """Shortest time to inspect [s]."""
    turn: float = 0.35
    """How far the object is turned to and fro while it is inspected [rad]."""
    smooth_seconds: float = 0.06
    """Standard deviation of the window that rounds the corners of the path [s]."""
    clearance: float = 0.02
    """Room between a carried object and a fixture's wall below it [m]."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 10.0, rate=(5.0, 1000.0), grasp_seconds=(0.05, 10.0), descend_speed=(0.01, 10.0))


@dataclass(frozen=True)
class HandState:
    """Where a hand is between two plans: place [m], direction over the table and the arm's swivel [rad], its grip, and how far
    its fingers point down [rad]."""

    p_world: Float[ndarray, "3"]
    yaw: float
    swivel: float
    closed: float = 0.0
    held: str = ""
    pitch: float = 0.0


@dataclass(frozen=True)
class Step:
    """What is done now, and after it what will probably follow: an arm that sees that far does not run into a dead end."""

    plan: HandPlan
    samples: int
    """How many samples of the plan are done now."""
    end: HandState
    """Where the hand is after them."""


class HandPath(ABC):
    """Builds a `HandPlan` sample by sample. How the hand is turned at a sample is the task's."""

    def __init__(self, motion: MotionLibrary, config: PolicyConfig, rest: Float[ndarray, "3"], start: HandState) -> None:
        self.motion, self.config, self.rest = motion, config, rest
        self.at, self.yaw, self.swivel_now = start.p_world.copy(), start.yaw, start.swivel
        self.closed, self.held, self.tilt, self.pitch = start.closed, start.held, 0.0, start.pitch
        self.rows: list[tuple[ndarray, float, float, float, float, float, str, str]] = []
        self._append(self.at[None], np.array([self.swivel_now]), "rest")

    @abstractmethod
    def frames(
        self, yaw: Float[ndarray, "T"], tilt: Float[ndarray, "T"], pitch: Float[ndarray, "T"]
    ) -> Float[ndarray, "T 3 3"]:
        """Hand orientations (see `HumanArmTrajectory`) for directions over the table, tilts and pitches [rad]."""

    @abstractmethod
    def heading(self, p: Float[ndarray, "3"]) -> float:
        """Direction of the hand over the table at a place [rad]."""

    @property
    def state(self) -> HandState:
        """Where the hand is now."""
        return HandState(self.at.copy(), self.yaw, self.swivel_now, self.closed, self.held, self.pitch)

    @property
    def phase(self) -> str:
        """What the hand does now."""
        return self.rows[-1][6]

    def _append(
        self,
        path: ndarray,
        swivel: ndarray,
        phase: str,
        yaw: ndarray | None = None,
        tilt: ndarray | None = None,
        pitch: ndarray | None = None,
    ) -> None:
        turns = [(yaw, self.yaw), (tilt, self.tilt), (pitch, self.pitch)]
        yaws, tilts, pitches = (np.full(len(path), now) if turn is None else turn for turn, now in turns)
        for p, s, a, b, c in zip(path, swivel, yaws, tilts, pitches, strict=True):
            self.rows.append((p, float(a), float(b), float(c), self.closed, float(s), phase, self.held))
        self.at, self.swivel_now = path[-1].copy(), float(swivel[-1])
        self.yaw, self.tilt, self.pitch = float(yaws[-1]), float(tilts[-1]), float(pitches[-1])

    def travel(
        self,
        phase: str,
        goal: Float[ndarray, "3"],
        yaw: float | None = None,
        height: float | None = None,
        pitch: float | None = None,
    ) -> None:
        """Move to `goal` like the person, inside the cones above both ends, which are `height` high [m]; a `pitch` that is not
        given stays."""
        height = self.config.approach if height is None else height
        start, start_yaw = self.at.copy(), self.yaw
        path, swivel = self.motion.segment(phase, start, goal, self.config.rate)
        run = np.minimum(np.linalg.norm(path[:, :2] - start[:2], axis=1), np.linalg.norm(path[:, :2] - goal[:2], axis=1))
        floor = min(start[2], goal[2]) + np.minimum(height, self.config.cone * run)
        s = np.linspace(0.0, 1.0, len(path) + 1)[1:]
        floor = np.maximum(floor, start[2] + s * (goal[2] - start[2]) - 0.05)
        path[:, 2] = np.maximum(path[:, 2], floor)
        path[-1] = goal
        turn = _wrapped((self.heading(goal) if yaw is None else yaw) - start_yaw)
        ease = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        blend = np.minimum(1.0, s / 0.3)
        lean = 0.0 if pitch is None else pitch - self.pitch
        swivels = (1 - blend) * self.swivel_now + blend * swivel
        self._append(path, swivels, phase, start_yaw + turn * ease, pitch=self.pitch + lean * ease)

    def straight(self, goal: Float[ndarray, "3"], phase: str) -> None:
        """Move on a straight line with a minimum-jerk profile (Flash and Hogan 1985)."""
        length = float(np.linalg.norm(goal - self.at))
        n = max(4, round(1.9 * length / self.config.descend_speed * self.config.rate))
        s = np.linspace(0.0, 1.0, n + 1)[1:]
        s = s**3 * (10.0 - 15.0 * s + 6.0 * s * s)
        self._append(self.at + s[:, None] * (goal - self.at), np.full(n, self.swivel_now), phase)

    def hold(self, seconds: float, phase: str, turn: float = 0.0) -> None:
        """Stay; turn the hand to and fro by `turn` [rad]."""
        n = max(1, round(seconds * self.config.rate))
        s = np.linspace(0.0, 1.0, n + 1)[1:]
        yaw = self.yaw + turn * np.sin(2.0 * np.pi * s) * np.sin(np.pi * s)
        self._append(np.tile(self.at, (n, 1)), np.full(n, self.swivel_now), phase, yaw)

    def settle(self, phase: str) -> None:
        """Stand still for as long as the window that rounds corners is wide: the path's ends are where they were put."""
        self.hold(4.5 * self.config.smooth_seconds, phase)

    def done(self, phase: str) -> tuple[int, HandState]:
        """Ends the step that is done now at rest: its samples and end. What is put on the path after it is looked ahead at."""
        self.settle(phase)
        samples, end = len(self.rows), self.state
        self.settle(phase)
        return samples, end

    def finish(self) -> HandPlan:
        """Return to rest; the whole plan."""
        self.travel("return", self.rest.copy())
        return self.plan()

    def plan(self) -> HandPlan:
        """The path so far, its corners rounded."""
        p, yaw, tilt, pitch, grip, swivel, phase, held = zip(*self.rows, strict=True)
        width = self.config.smooth_seconds * self.config.rate

        def rounded(column: tuple[float, ...] | tuple[ndarray, ...]) -> ndarray:
            smooth: ndarray = gaussian_filter1d(np.array(column), width, axis=0, mode="nearest")
            return smooth

        Ts = np.tile(np.eye(4), (len(self.rows), 1, 1))
        Ts[:, :3, :3], Ts[:, :3, 3] = self.frames(*map(rounded, (yaw, tilt, pitch))), rounded(p)
        t = np.arange(len(self.rows)) / self.config.rate
        return HandPlan(t, Ts, np.array(grip), rounded(swivel), phase, held)


def _wrapped(angle: float) -> float:
    return float((angle + np.pi) % (2.0 * np.pi) - np.pi)
