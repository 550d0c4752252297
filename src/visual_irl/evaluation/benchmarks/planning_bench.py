"""The planner beside bare OMPL on random table scenes, in one run: success and time to a shortened path.

Bare OMPL is RRT-Connect with the same posture check as a validity callback, its own fixed-step edge checks and its own
simplification, all at their defaults. A scene counts when a long run of bare OMPL solved it, checked with our edge checks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import InvalidInput, NoPathFound
from visual_irl.planning.edges import EdgeChecker
from visual_irl.planning.ompl_planner import OmplPlanner
from visual_irl.planning.planner import PlannerConfig
from visual_irl.robots import load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World

LIMIT = 5.0
"""Time that both get [s]."""
LONG = 15.0
"""Time of the run that tells whether a scene can be solved at all [s]."""
NEEDED = 0.5
"""Least distance of start and goal in every scene [rad]."""


class Question(NamedTuple):
    """One scene with its start and goal."""

    world: World
    start: ndarray
    goal: ndarray


def plan_scenes(
    robot: str, scenes: int, seed: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Success and times [ms] of the planner and of bare OMPL on random table scenes.

    `ms_*` are to a shortened path that our edge checks find free; `timed_ms_*` go on to the timed and checked motion.
    `detour_*` are of the scenes alone where the straight move is not free.
    `bare_success` counts paths that OMPL calls solved, `bare_free` those of them that our edge checks find free, too.
    """
    if scenes < 1:
        raise InvalidInput(f"scenes is {scenes}, expected 1 or more")
    arm = load_robot(robot)
    rng = np.random.default_rng(seed)
    rows, bare_rows, timed_rows = [], [], []
    found = solved = free = motions = drawn = straight = 0
    detours: tuple[list[float], list[float]] = ([], [])
    warm(arm)
    while found < scenes:
        question = random_question(arm, rng)
        drawn += 1
        checker = EdgeChecker.of(arm, question.world, 0.008, 0.004)
        straight_free = checker.edge_free(question.start, question.goal)
        if not straight_free and not solvable(arm, question):
            continue
        found += 1
        straight += straight_free
        planner = OmplPlanner(arm, PlannerConfig(seed=found, time_limit=LIMIT))
        began = time.perf_counter()
        try:
            planner.path(question.start, question.goal, question.world)
            rows.append(time.perf_counter() - began)
            if not straight_free:
                detours[0].append(rows[-1])
            began = time.perf_counter()
            planner.plan(question.start, question.goal, question.world)
            timed_rows.append(time.perf_counter() - began)
            motions += 1
        except NoPathFound:
            pass
        began = time.perf_counter()
        path = bare_ompl(arm, question, found, LIMIT)
        if path is not None:
            bare_rows.append(time.perf_counter() - began)
            if not straight_free:
                detours[1].append(bare_rows[-1])
            solved += 1
            free += checker.path_free(path)
        progress(found, scenes)
    ms = {name: 1e3 * np.array(x) for name, x in (("ours", rows), ("timed", timed_rows), ("bare", bare_rows))}
    return {
        "success": len(rows) / scenes,
        "timed_success": motions / scenes,
        "ms_median": _quantile(ms["ours"], 0.5),
        "ms_p95": _quantile(ms["ours"], 0.95),
        "timed_ms_median": _quantile(ms["timed"], 0.5),
        "timed_ms_p95": _quantile(ms["timed"], 0.95),
        "bare_ms_median": _quantile(ms["bare"], 0.5),
        "bare_ms_p95": _quantile(ms["bare"], 0.95),
        "detour_ms_median": _quantile(1e3 * np.array(detours[0]), 0.5),
        "bare_detour_ms_median": _quantile(1e3 * np.array(detours[1]), 0.5),
        "bare_success": solved / scenes,
        "bare_free": free / scenes,
        "scenes": scenes,
        "drawn": drawn,
        "straight": straight,
    }


def _quantile(x: ndarray, share: float) -> float | None:
    return float(np.quantile(x, share)) if len(x) else None


def random_question(arm: RobotModel, rng: np.random.Generator) -> Question:
    """Floor, table, three to eight boxes and cylinders on it, and a free start and goal with the tool above the table."""
    while True:
        obstacles = [
            Obstacle.box("table", se3.transform(np.eye(3), np.array([0.65, 0.0, -0.03])), [0.45, 0.8, 0.025]),
            Obstacle.plane("floor", np.array([0.0, 0.0, -0.75]), np.array([0.0, 0.0, 1.0])),
        ]
        for k in range(int(rng.integers(3, 9))):
            angle, far, height = rng.uniform(-1.0, 1.0), rng.uniform(0.4, 0.8), rng.uniform(0.1, 0.5)
            p = np.array([far * np.cos(angle), far * np.sin(angle), 0.5 * height])
            turn = se3.exp_so3(np.array([0.0, 0.0, rng.uniform(-np.pi, np.pi)]))
            size = rng.uniform(0.02, 0.08, 2)
            T = se3.transform(turn, p)
            if rng.random() < 0.5:
                obstacles.append(Obstacle.box(f"box {k}", T, [*size, 0.5 * height]))
            else:
                obstacles.append(Obstacle.cylinder(f"cylinder {k}", T, size[0], 0.5 * height))
        world = World(tuple(obstacles))
        checker = EdgeChecker.of(arm, world, 0.012, 0.004)
        ends = [q for q in (_posture(arm, checker, rng) for _ in range(2)) if q is not None]
        if len(ends) == 2 and np.linalg.norm(ends[1] - ends[0]) > NEEDED:
            return Question(world, ends[0], ends[1])


def _posture(arm: RobotModel, checker: EdgeChecker, rng: np.random.Generator) -> ndarray | None:
    lower, upper = np.maximum(arm.lower + 0.05, -np.pi), np.minimum(arm.upper - 0.05, np.pi)
    for _ in range(500):
        q = rng.uniform(lower, upper)
        x, y, z = arm.fk(q)[:3, 3]
        if 0.02 < z < 0.5 and x > 0.1 and 0.25 < np.hypot(x, y) < 0.85 and checker.free(q):
            return q
    return None


def solvable(arm: RobotModel, question: Question) -> bool:
    """Whether a long run of bare OMPL finds a path that our edge checks, too, find free."""
    checker = EdgeChecker.of(arm, question.world, 0.008, 0.004)
    for attempt in range(3):
        path = bare_ompl(arm, question, 1000 + attempt, LONG / 3, resolution=0.002, simplify=False)
        if path is not None and checker.path_free(path):
            return True
    return False


def bare_ompl(
    arm: RobotModel, question: Question, seed: int, limit: float, resolution: float | None = None, simplify: bool = True
) -> ndarray | None:
    """The path [rad] that OMPL alone finds and simplifies, or none; `resolution` is its share of the space's extent."""
    from ompl import base, geometric, util

    util.noOutputHandler()
    util.RNG.setSeed(seed)
    checker = EdgeChecker.of(arm, question.world, 0.008, 0.004)
    size = len(arm.lower)
    space = base.RealVectorStateSpace(size)
    bounds = base.RealVectorBounds(size)
    for j in range(size):
        bounds.setLow(j, float(arm.lower[j] + 0.01))
        bounds.setHigh(j, float(arm.upper[j] - 0.01))
    space.setBounds(bounds)
    setup = geometric.SimpleSetup(space)
    setup.setStateValidityChecker(lambda state: checker.free(np.array(state[0:size])))
    if resolution is not None:
        setup.getSpaceInformation().setStateValidityCheckingResolution(resolution)
    ends = []
    for q in (question.start, question.goal):
        state = space.allocState()
        state[0:size] = [float(x) for x in q]
        ends.append(state)
    setup.setStartAndGoalStates(*ends)
    setup.setPlanner(geometric.RRTConnect(setup.getSpaceInformation()))
    setup.solve(limit)
    if not setup.haveExactSolutionPath():
        return None
    if simplify:
        setup.simplifySolution()
    return np.array([[s[j] for j in range(size)] for s in setup.getSolutionPath().getStates()])


def warm(arm: RobotModel) -> None:
    """Compile what is timed."""
    planner = OmplPlanner(arm, PlannerConfig())
    other = arm.home + 0.1
    planner.plan(arm.home, other, World((Obstacle.sphere("far", np.array([3.0, 0.0, 0.0]), 0.1),)))
    bare_ompl(arm, Question(World(), arm.home, other), 1, 1.0)
