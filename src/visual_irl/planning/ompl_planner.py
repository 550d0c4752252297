"""Paths by OMPL's RRT-Connect (Kuffner and LaValle 2000) over compiled, conservative checks, shortened, then timed.

OMPL draws the seeds of all its generators from one generator of the process. It is seeded anew before every search, and
searches take turns, so that each depends on its own seed alone. A search ends after so many moves, on any machine; a clock
ends it only where that takes longer than `time_limit`.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from ompl import base, geometric, util

from visual_irl.errors import NoPathFound
from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.planner import PlannerConfig, check_posture, goal_postures
from visual_irl.planning.timed_path import timed
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

_TURNS = threading.Lock()
GOALS = 12
"""Most postures of a goal pose that are tried, nearest to the start first."""
SHORTCUTS = 20
"""Attempts to shorten a path."""
RANGE = 2.0
"""Longest move that the search adds at once [rad]."""


class OmplPlanner:
    """The default planner of an arm."""

    def __init__(self, robot: RobotModel, config: PlannerConfig | None = None) -> None:
        self.robot, self.config = robot, config or PlannerConfig()

    def plan(
        self,
        q_start: Float[ndarray, "J"],
        goal: Float[ndarray, "J"] | Float[ndarray, "4 4"],
        world: World,
        opening: float = 0.0,
    ) -> JointTrajectory:
        """See `visual_irl.planning.planner.Planner.plan`."""
        checker = self.checker(world)
        return timed(self._path(q_start, goal, world, checker), self.robot, checker, self.config, opening)

    def path(
        self, q_start: Float[ndarray, "J"], goal: Float[ndarray, "J"] | Float[ndarray, "4 4"], world: World
    ) -> Float[ndarray, "N J"]:
        """The shortened polyline alone [rad], not timed; raises as `plan`."""
        return self._path(q_start, goal, world, self.checker(world))

    def checker(self, world: World) -> EdgeChecker:
        """The collision checks of this planner in a world."""
        return EdgeChecker.of(self.robot, world, self.config.clearance, self.config.resolution)

    def _path(self, q_start: ndarray, goal: ndarray, world: World, checker: EdgeChecker) -> ndarray:
        q_start = np.array(q_start, float)
        check_posture(q_start, "start", self.robot, checker, self.config)
        goals = goal_postures(q_start, goal, self.robot, world, checker, self.config)[:GOALS]
        margin = self.config.position_margin
        return connect(q_start, goals, checker, self.robot.lower + margin, self.robot.upper - margin, self.config)


def connect(
    q_start: Float[ndarray, "J"],
    goals: Float[ndarray, "N J"],
    checker: EdgeChecker,
    lower: Float[ndarray, "J"],
    upper: Float[ndarray, "J"],
    config: PlannerConfig,
) -> Float[ndarray, "M J"]:
    """A short polyline [rad] within bounds from `q_start` to one of `goals`, straight if that is free.

    Raises:
        NoPathFound: says how long was searched.
    """
    began = time.monotonic()
    q_start, goals = np.array(q_start), np.array(goals)  # writable, as in the search, which else compiles for those too
    for q in goals:
        if checker.edge_free(q_start, q):
            return np.stack([q_start, q])
    checker.edge_free(q_start, q_start + 1e-3 * (goals[0] - q_start))  # compiled now: the time to search is none for that
    with _TURNS:
        path = _search(q_start, goals, checker, lower, upper, config)
    if path is None:
        raise NoPathFound(
            f"no path to {len(goals)} posture(s) of the goal after {time.monotonic() - began:.1f} s with a clearance of "
            f"{config.clearance:.4g} m and seed {config.seed}: allow more (moves, time_limit), another seed, less clearance, "
            "or make room"
        )
    return path


class _Motions(base.MotionValidator):  # type: ignore[misc, unused-ignore]
    """OMPL's question whether a move is free, answered by `EdgeChecker`."""

    def __init__(self, information: Any, checker: EdgeChecker, size: int) -> None:
        super().__init__(information)
        self.checker, self.size, self.asked = checker, size, 0

    def checkMotion(self, a: Any, b: Any) -> bool:  # OMPL's name for it
        """Whether the straight move is free."""
        self.asked += 1
        return self.checker.edge_free(np.array(a[0 : self.size]), np.array(b[0 : self.size]))


def _search(
    q_start: ndarray, goals: ndarray, checker: EdgeChecker, lower: ndarray, upper: ndarray, config: PlannerConfig
) -> ndarray | None:
    size = len(q_start)
    util.noOutputHandler()  # seeding again is meant
    util.RNG.setSeed(config.seed + 1)
    space = base.RealVectorStateSpace(size)
    bounds = base.RealVectorBounds(size)
    for j in range(size):
        bounds.setLow(j, float(lower[j]))
        bounds.setHigh(j, float(upper[j]))
    space.setBounds(bounds)
    information = base.SpaceInformation(space)
    information.setStateValidityChecker(lambda state: checker.free(np.array(state[0:size])))
    motions = _Motions(information, checker, size)
    information.setMotionValidator(motions)
    information.setup()
    problem = base.ProblemDefinition(information)
    problem.addStartState(_state(space, np.clip(q_start, lower, upper)))
    goal = base.GoalStates(information)
    for q in goals:
        goal.addState(_state(space, np.clip(q, lower, upper)))
    problem.setGoal(goal)
    planner = geometric.RRTConnect(information)
    planner.setRange(RANGE)
    planner.setProblemDefinition(problem)
    planner.setup()
    deadline = time.monotonic() + config.time_limit
    planner.solve(base.PlannerTerminationCondition(lambda: motions.asked >= config.moves or time.monotonic() > deadline))
    if not problem.hasExactSolution():
        return None
    path = problem.getSolutionPath()
    simplifier = geometric.PathSimplifier(information)
    simplifier.reduceVertices(path)
    simplifier.partialShortcutPath(path, SHORTCUTS, SHORTCUTS)
    simplifier.reduceVertices(path)
    return np.array([[state[j] for j in range(size)] for state in path.getStates()])


def _state(space: Any, q: ndarray) -> Any:
    state = space.allocState()
    state[0 : len(q)] = [float(x) for x in q]
    return state
