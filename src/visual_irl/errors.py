"""One error tree: every failure that a user can meet is a `VisualIrlError` and also the builtin a caller would guess.

A message says what was wrong, where, the value and its bound, and the way out.
"""

from __future__ import annotations

from collections.abc import Mapping


class VisualIrlError(Exception):
    """Base of every error that this package raises on purpose."""


class InvalidInput(VisualIrlError, ValueError):
    """A value, array or file content breaks its contract."""


class UnknownName(VisualIrlError, KeyError):
    """A name is not registered; the message lists the names that are."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class MissingDependency(VisualIrlError, ImportError):
    """An optional package or system library is absent; the message holds the install command (`pip_install`)."""


class MissingFile(VisualIrlError, FileNotFoundError):
    """A named file or folder does not exist."""


class UnreadableFile(VisualIrlError, OSError):
    """A file exists but does not hold what its name promises."""


class UnwritableOutput(VisualIrlError, OSError):
    """A result cannot be written where the user asked for it."""


class DiskFull(UnwritableOutput):
    """A recording's disk takes no more: `reason` says why, `kept` how many messages of each topic stay readable."""

    def __init__(self, message: str, reason: str, kept: Mapping[str, int]) -> None:
        super().__init__(message)
        self.reason, self.kept = reason, kept


class DownloadFailed(VisualIrlError, ConnectionError):
    """No source of a weight file answered, or what came had the wrong digest."""


class NoPersonFound(VisualIrlError, ValueError):
    """A video shows no usable person or arm."""


class Unreachable(VisualIrlError, ValueError):
    """A hand target lies outside of what the arm can reach."""


class RobotUnreachable(VisualIrlError, ConnectionError):
    """A robot or a gripper does not answer, or its connection was lost."""


class MotionStopped(VisualIrlError, RuntimeError):
    """A motion was begun and did not end as approved; the message holds the reason."""


class InCollision(VisualIrlError, ValueError):
    """At the start or the goal of a motion, or all along it, the arm would touch something."""


class NoPathFound(VisualIrlError, TimeoutError):
    """No motion that touches nothing was found in the time there was."""


class NotSeen(VisualIrlError, LookupError):
    """A thing that is needed is not seen, or not as it must be."""


class RefusedTrajectory(VisualIrlError, ValueError):
    """The guard found a reason not to execute a trajectory."""


class WouldCollide(RefusedTrajectory):
    """The guard's only reason so far: somewhere along the motion the arm would touch something."""


class LearningFailed(VisualIrlError, RuntimeError):
    """A learner did not converge or its demonstrations carry no signal."""


class ClusterUnreachable(VisualIrlError, ConnectionError):
    """No cluster at an address."""


class CalibrationFailed(VisualIrlError, ValueError):
    """A camera calibration has too little to go by, or does not explain what was seen."""


def pip_install(extras: str = "") -> str:
    """The command that brings this package with `extras`, as in "franka,bench"; every message spells it so."""
    requirement = f"visual-irl[{extras}]" if extras else "visual-irl"
    return f'`pip install "{requirement}"`'
