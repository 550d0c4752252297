"""What an arm says about itself, each cycle."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import Enum

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput


class Safety(Enum):
    """What the robot's own safety system says."""

    NORMAL = "normal"
    REDUCED = "reduced"
    PROTECTIVE_STOP = "protective stop"
    EMERGENCY_STOP = "emergency stop"
    FAULT = "robot fault"

    @property
    def moving_allowed(self) -> bool:
        """Whether the robot follows commands."""
        return self in (Safety.NORMAL, Safety.REDUCED)


@dataclass(frozen=True, eq=False)
class RobotState:
    """One measurement of an arm. NaN is let through: whoever reads it must notice."""

    joint_names: tuple[str, ...]
    stamp_ns: int
    """When it was measured, on the monotonic clock of the machine that reads it [ns]."""
    q: Float[ndarray, "J"]
    """Measured joint angles [rad]."""
    qd: Float[ndarray, "J"]
    """Measured joint speeds [rad/s]."""
    q_target: Float[ndarray, "J"] | None = None
    """Where the controller holds the arm, if it says so: a motion starts from there [rad]."""
    speed_scaling: float = 1.0
    """Share of the commanded speed that the robot itself allows, in [0, 1]."""
    safety: Safety = Safety.NORMAL
    message: str = ""
    """What the robot says about a stop."""
    command_age: float = 0.0
    """How old the command is that the arm follows at `stamp_ns`: what lies in a queue before the drives [s]."""

    def __post_init__(self) -> None:
        for name in ("q", "qd", "q_target"):
            value = getattr(self, name)
            if value is None:
                continue
            array = np.array(value, float)
            if array.shape != (len(self.joint_names),):
                raise InvalidInput(f"the state's {name} has shape {array.shape}, expected {len(self.joint_names)} joints")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def at_rest(cls, joint_names: tuple[str, ...], q: Float[ndarray, "J"]) -> RobotState:
        """An arm that stands at `q` [rad] now: where a simulation puts it."""
        return cls(joint_names, time.monotonic_ns(), q, np.zeros(len(joint_names)))
