"""What every planner takes and returns, and what is checked of a question before one is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InCollision, InvalidInput, Unreachable
from visual_irl.planning.edges import EdgeChecker
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.robots.solutions import solutions, solver_of
from visual_irl.types import JointTrajectory

TURN = 2.0 * np.pi


@dataclass(frozen=True)
class PlannerConfig:
    """How paths are sought and timed. Margins lie above those of the guard, so that what is planned is approved."""

    seed: int = 0
    """The same question with the same seed has the same answer."""
    moves: int = 20_000
    """After so many moves that were looked at without a path the search gives up, on any machine."""
    time_limit: float = 5.0
    """So it does after this long [s]."""
    clearance: float = 0.008
    """Least distance between links, and of the arm to its world [m]; the guard asks for 5 mm."""
    resolution: float = 0.004
    """Most that any point of the arm moves between two checks where it is near something [m]; at most `clearance`."""
    position_margin: float = 0.01
    """Kept from every position limit [rad]."""
    share: float = 0.9
    """Share of the speed, acceleration and jerk limits that is used."""
    point_speed: float | None = None
    """Speed that no point of the arm passes, as beside people; None for no such bound [m/s]."""
    rate: float = 100.0
    """Samples a second of the trajectory [1/s]."""
    blend: float = 0.4
    """Farthest from a corner of the path at which it may begin to be rounded [rad]."""

    def __post_init__(self) -> None:
        for name in ("moves", "time_limit", "rate", "blend"):
            if not 0.0 < getattr(self, name) < np.inf:
                raise InvalidInput(f"planner: {name} is {getattr(self, name)}, expected a number above 0")
        if not 0.0 < self.resolution <= self.clearance < np.inf:
            raise InvalidInput(
                f"planner: clearance {self.clearance} m must be at least the resolution {self.resolution} m, which is above 0: "
                "between two checks a thing could be touched"
            )
        if not 0.0 <= self.position_margin < 0.5:
            raise InvalidInput(f"planner: position_margin is {self.position_margin} rad, expected a number from 0 to 0.5")
        if not 0.0 < self.share <= 1.0:
            raise InvalidInput(f"planner: share is {self.share}, expected a share in (0, 1]")
        if self.point_speed is not None and not 0.0 < self.point_speed < np.inf:
            raise InvalidInput(f"planner: point_speed is {self.point_speed} m/s, expected a number above 0, or none")
        if not 0 < self.seed < 2**31 and self.seed != 0:
            raise InvalidInput(f"planner: seed is {self.seed}, expected a whole number from 0 to {2**31 - 1}")


@runtime_checkable
class Planner(Protocol):
    """Finds a timed motion that touches nothing."""

    def plan(
        self,
        q_start: Float[ndarray, "J"],
        goal: Float[ndarray, "J"] | Float[ndarray, "4 4"],
        world: World,
        opening: float = 0.0,
    ) -> JointTrajectory:
        """A motion from `q_start` [rad], rest to rest, that keeps its clearance everywhere on the timed path.

        Args:
            q_start: where the arm stands [rad].
            goal: joint angles (J,) [rad], or the tool's pose `T_world_tcp` (4, 4), reached by whichever solution is best.
            world: what must not be touched.
            opening: of the gripper, held all the way [m].

        Raises:
            InvalidInput: start or goal is malformed or outside of the limits.
            InCollision: the arm would touch something at the start or the goal.
            Unreachable: no solution of the tool's pose exists.
            NoPathFound: none within the time limit.
        """
        ...


def check_posture(q: Float[ndarray, "J"], what: str, robot: RobotModel, checker: EdgeChecker, config: PlannerConfig) -> None:
    """Refuse joint angles that are malformed, outside the limits, or where the arm touches something."""
    if q.shape != robot.lower.shape or not np.isfinite(q).all():
        raise InvalidInput(f"the {what} is {q}, expected {len(robot.lower)} finite joint angles of '{robot.name}'")
    lower, upper = robot.lower + config.position_margin, robot.upper - config.position_margin
    bad = ~((q >= lower - 1e-9) & (q <= upper + 1e-9))
    if bad.any():
        j = int(np.argmax(bad))
        raise InvalidInput(
            f"joint '{robot.joint_names[j]}' at the {what}: {q[j]:.4g} rad is outside of [{lower[j]:.4g}, {upper[j]:.4g}] rad "
            f"(limits less {config.position_margin} rad); move it inside, or lower position_margin"
        )
    contact = checker.contact_at(q)
    if contact is not None:
        raise InCollision(
            f"at the {what} link '{contact.first}' is {contact.distance:.4g} m from '{contact.second}', at least "
            f"{config.clearance:.4g} m is kept: choose another {what}, or take the thing away"
        )


def goal_postures(
    q_start: Float[ndarray, "J"],
    goal: Float[ndarray, "J"] | Float[ndarray, "4 4"],
    robot: RobotModel,
    world: World,
    checker: EdgeChecker,
    config: PlannerConfig,
) -> Float[ndarray, "N J"]:
    """Joint angles [rad] that reach the goal and touch nothing, nearest to the start first.

    Raises:
        InvalidInput, InCollision, Unreachable: as `Planner.plan`.
    """
    goal = np.asarray(goal, float)
    if goal.ndim == 1:
        check_posture(goal, "goal", robot, checker, config)
        return goal[None]
    if goal.shape != (4, 4) or not se3.is_rigid(goal):
        raise InvalidInput(
            f"the goal has shape {goal.shape}, expected joint angles, or a rigid 4x4 pose of the tool in the world"
        )
    T_base_tcp = se3.inverse(world.T_world_base) @ goal
    solver = solver_of(robot, config.position_margin)
    found = solutions(solver, T_base_tcp)
    where = np.round(T_base_tcp[:3, 3], 3).tolist()
    if len(found) == 0:
        raise Unreachable(
            f"no posture of '{robot.name}' within its limits has the tool at {where} m in the base frame, turned so "
            f"({np.linalg.norm(T_base_tcp[:3, 3]):.3f} m from the base): bring the goal closer, or turn it"
        )
    wound = np.where(solver.periodic, found + TURN * np.round((q_start - found) / TURN), found)
    inside = (wound >= solver.chain.lower) & (wound <= solver.chain.upper)
    wound = np.where(inside, wound, found)
    order = np.argsort(np.linalg.norm(wound - q_start, axis=1), kind="stable")
    free = [q for q in wound[order] if checker.contact_at(q) is None]
    if not free:
        contact = checker.contact_at(wound[order[0]])
        assert contact is not None
        raise InCollision(
            f"all {len(found)} postures of '{robot.name}' with the tool at {where} m in the base frame touch something, "
            f"the nearest one '{contact.second}' with link '{contact.first}': choose another goal, or take the thing away"
        )
    return np.array(free)
