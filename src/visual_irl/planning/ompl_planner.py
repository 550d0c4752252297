"""OMPL's RRT-Connect (Kuffner and LaValle 2000) with shortcuts, over our collision checks.

OMPL checks edges at a fixed spacing and may miss thin things. Its path is therefore checked once more by conservative
advancement (`visual_irl.robots.collision`), which misses nothing; where it fails, the search is repeated with every edge
checked like that. OMPL: Sucan, Moll and Kavraki 2012.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from ompl import base, geometric, util

from visual_irl.errors import InvalidInput, PlanningFailed
from visual_irl.robots.collision import Checker, Contact, checker_of
from visual_irl.robots.interpolation import Motion
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World


@dataclass(frozen=True)
class OmplPlanner:
    """Configuration; the same seed gives the same path, as long as the time suffices."""

    clearance: float = 0.01
    """Distance that sampled postures keep from the world and between links [m]."""
    kept: float = 0.006
    """Distance that is kept everywhere between them [m]; more than the guard asks for, and most that any point of the arm moves
    between two checks near something."""
    margin: float = 0.01
    """Kept from every joint limit [rad]."""
    seconds: float = 10.0
    """Time after which the search is given up [s]."""

    def __post_init__(self) -> None:
        if not 0.0 < self.kept <= self.clearance:
            raise InvalidInput(f"planner: kept {self.kept} m must be above 0 and at most clearance {self.clearance} m")
        if not (self.seconds > 0.0 and self.margin >= 0.0):
            raise InvalidInput(f"planner: seconds {self.seconds} must be above 0 and margin {self.margin} rad at least 0")

    def plan(
        self, robot: RobotModel, world: World, q_start: Float[ndarray, "J"], goals: Float[ndarray, "G J"], seed: int = 0
    ) -> Float[ndarray, "N J"]:
        """Corners of a path [rad]; see `visual_irl.planning.planner.Planner`."""
        lower, upper = robot.lower + self.margin, robot.upper - self.margin
        checker = checker_of(robot, world)
        self._check("the start", robot, checker, q_start, lower, upper)
        reachable, reasons = [], []
        for k, goal in enumerate(goals):
            try:
                self._check(f"goal {k + 1}", robot, checker, goal, lower, upper)
                reachable.append(np.asarray(goal, float))
            except PlanningFailed as error:
                reasons.append(str(error))
        if not reachable:
            raise PlanningFailed(reasons[0] if reasons else "no goal was given: name at least one")
        began = time.perf_counter()
        for edge_by_edge in (False, True):
            left = self.seconds - (time.perf_counter() - began)
            if left <= 0.0:
                break
            corners = self.search(checker, lower, upper, np.asarray(q_start, float), reachable, seed, edge_by_edge, left)
            if corners is not None and all(_contact(checker, a, b, self.kept) is None for a, b in pairwise(corners)):
                return corners
        raise PlanningFailed(
            f"no path for '{robot.name}' was found in {time.perf_counter() - began:.1f} s (at most {self.seconds} s): move "
            "what stands in the way, choose another goal, or allow more seconds"
        )

    def search(
        self,
        checker: Checker,
        lower: ndarray,
        upper: ndarray,
        start: ndarray,
        goals: list[ndarray],
        seed: int,
        edge_by_edge: bool,
        seconds: float,
    ) -> ndarray | None:
        """Corners of OMPL's path after its simplification; edges at a fixed spacing, or `edge_by_edge` without missing any."""
        util.setLogLevel(util.LOG_NONE)
        util.RNG.setSeed(1 + seed)  # generators that are made after this take their seeds from it
        joints = len(lower)
        space = base.RealVectorStateSpace(joints)
        bounds = base.RealVectorBounds(joints)
        for j in range(joints):
            bounds.setLow(j, float(lower[j]))
            bounds.setHigh(j, float(upper[j]))
        space.setBounds(bounds)
        setup = geometric.SimpleSetup(space)
        information = setup.getSpaceInformation()
        setup.setStateValidityChecker(lambda s: checker.contact_at(_array(s, joints), self.clearance) is None)
        if edge_by_edge:
            information.setMotionValidator(_Edges(information, checker, self.kept, joints))
        setup.addStartState(_state(space, start))
        targets = base.GoalStates(information)
        for goal in goals:
            targets.addState(_state(space, goal))
        setup.setGoal(targets)
        setup.setPlanner(geometric.RRTConnect(information))
        setup.solve(seconds)
        if not setup.haveExactSolutionPath():
            return None
        setup.simplifySolution()
        return np.array([_array(s, joints) for s in setup.getSolutionPath().getStates()])

    def _check(self, what: str, robot: RobotModel, checker: Checker, q: ndarray, lower: ndarray, upper: ndarray) -> None:
        q = np.asarray(q, float)
        if q.shape != lower.shape or not np.isfinite(q).all():
            raise PlanningFailed(f"{what} {q.tolist()} is not {len(lower)} finite joint angles")
        beyond = np.maximum(lower - q, q - upper)
        j = int(np.argmax(beyond))
        if beyond[j] > 0.0:
            raise PlanningFailed(
                f"{what}: '{robot.joint_names[j]}' at {q[j]:.3f} rad is outside of {lower[j]:.3f} to {upper[j]:.3f}: "
                "choose another"
            )
        contact = checker.contact_at(q, self.clearance)
        if contact is not None:
            raise PlanningFailed(
                f"{what}: '{contact.first}' is {contact.distance:.4f} m from '{contact.second}', at least {self.clearance} m "
                "are kept: choose another, or move the thing"
            )


class _Edges(base.MotionValidator):
    """Whether a straight piece is free."""

    def __init__(self, information: Any, checker: Checker, clearance: float, joints: int) -> None:
        super().__init__(information)
        self.checker, self.clearance, self.joints = checker, clearance, joints

    def checkMotion(self, first: Any, second: Any) -> bool:
        a, b = _array(first, self.joints), _array(second, self.joints)
        return _contact(self.checker, a, b, self.clearance) is None


def _contact(checker: Checker, a: ndarray, b: ndarray, clearance: float) -> Contact | None:
    """What a straight piece comes nearer to than `clearance` [m]."""
    c = np.zeros((1, len(a), 6))
    c[0, :, 0], c[0, :, 1] = a, b - a
    return checker.contact_along(Motion(np.array([0.0, 1.0]), c), clearance, clearance)


def _array(state: Any, joints: int) -> Float[ndarray, "J"]:
    return np.array([state[j] for j in range(joints)])


def _state(space: Any, q: ndarray) -> Any:
    state = space.allocState()
    for j, value in enumerate(q):
        state[j] = float(value)
    return state
