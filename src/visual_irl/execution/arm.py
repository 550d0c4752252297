"""What an executor needs of an arm and of a gripper: two protocols, implemented once a maker."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float
from numpy import ndarray

from visual_irl.execution.state import RobotState


@runtime_checkable
class Arm(Protocol):
    """An arm that takes a joint target every cycle. Its own controller must stop it when targets cease to come."""

    @property
    def joint_names(self) -> tuple[str, ...]:
        """In the order of all joint arrays."""
        ...

    @property
    def period(self) -> float:
        """Time between two targets [s]."""
        ...

    def now_ns(self) -> int:
        """The clock by which `RobotState.stamp_ns` is stamped [ns]."""
        ...

    def read(self) -> RobotState:
        """The newest measurement; never waits for one."""
        ...

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        """The target of this cycle [rad], [rad/s], [rad/s^2]."""
        ...

    def wait(self) -> None:
        """Until the next cycle begins."""
        ...

    def halt(self) -> None:
        """No more targets: the robot's own controller keeps the arm where it is."""
        ...


@runtime_checkable
class Gripper(Protocol):
    """A parallel gripper. Its fingers stay as they are in every stop: what is held is not dropped."""

    follows: bool
    """Whether it takes a new opening every cycle; else it is told once where each movement goes, and closing is a grasp."""

    @property
    def opening(self) -> float:
        """Measured distance between the fingers [m]."""
        ...

    @property
    def busy(self) -> bool:
        """Whether the fingers still go to where they were told."""
        ...

    @property
    def grasped(self) -> bool:
        """Whether the fingers were stopped by something while closing."""
        ...

    def move(self, opening: float) -> None:
        """Go to a distance between the fingers [m]; returns at once."""
        ...

    def close(self, force: float) -> None:
        """Close until the fingers press with `force` [N] or meet; returns at once."""
        ...
