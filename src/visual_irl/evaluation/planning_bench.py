"""Planning on random table scenes: ours beside bare OMPL, the same scenes and the same collision checks of states."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import PlanningFailed
from visual_irl.planning.ompl_planner import OmplPlanner
from visual_irl.planning.planner import Planner
from visual_irl.robots.collision import checker_of
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings

THINGS = (3, 7)
"""Fewest and most boxes on the table."""


def plan_scenes(
    robot: RobotModel, scenes: int, seed: int, progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, float]:
    """Success and time of ours and of bare OMPL; scenes that neither solves are left out and counted."""
    planner = OmplPlanner()
    warm = random_scene(robot, planner, np.random.default_rng([seed, 9]))
    planner.plan(robot, *_ends(warm), seed=0)
    ours, bare, unsolved = [], [], 0
    for k in range(scenes):
        world, start, goal = random_scene(robot, planner, np.random.default_rng([seed, k]))
        mine, other = _timed(planner, robot, world, start, goal, k), _timed(_Bare(planner), robot, world, start, goal, k)
        if np.isnan(mine) and np.isnan(other):
            unsolved += 1
        else:
            ours.append(mine)
            bare.append(other)
        progress(k + 1, scenes)
    both = np.array([ours, bare]).reshape(2, -1)
    solved = np.isfinite(both)
    return {
        "success": float(solved[0].mean()),
        "ms_median": float(np.nanmedian(both[0])),
        "ms_p95": float(np.nanquantile(both[0], 0.95)),
        "bare_success": float(solved[1].mean()),
        "bare_ms_median": float(np.nanmedian(both[1])),
        "bare_ms_p95": float(np.nanquantile(both[1], 0.95)),
        "unsolved_by_both": float(unsolved),
    }


def random_scene(robot: RobotModel, planner: OmplPlanner, rng: np.random.Generator) -> tuple[World, ndarray, ndarray]:
    """A table with boxes, and two free postures whose hands are low over it."""
    table = surroundings(Scene((), ()), robot.T_world_base)
    base_xy = robot.T_world_base[:2, 3]
    while True:
        boxes = []
        for k in range(int(rng.integers(THINGS[0], THINGS[1] + 1))):
            half = rng.uniform([0.03, 0.03, 0.05], [0.08, 0.08, 0.2])
            angle, distance = rng.uniform(-1.6, 1.6), rng.uniform(0.3, 0.7)
            place = np.array([*(base_xy + distance * np.array([np.cos(angle), np.sin(angle)])), half[2]])
            boxes.append(Obstacle.box(f"box {k}", se3.transform(np.eye(3), place), half.tolist()))
        world = World((*table.obstacles, *boxes), table.T_world_base)
        checker = checker_of(robot, world)
        ends: list[ndarray] = []
        for _ in range(4000):
            q = rng.uniform(np.maximum(robot.lower, -2.8) + 0.05, np.minimum(robot.upper, 2.8) - 0.05)
            hand = robot.T_world_base @ robot.fk(q)
            low = 0.05 < hand[2, 3] < 0.45 and hand[0, 3] > base_xy[0]
            apart = not ends or np.linalg.norm(hand[:3, 3] - (robot.T_world_base @ robot.fk(ends[0]))[:3, 3]) > 0.3
            inside = ((q > robot.lower + planner.margin) & (q < robot.upper - planner.margin)).all()
            if low and apart and inside and checker.contact_at(q, planner.clearance) is None:
                ends.append(q)
                if len(ends) == 2:
                    return world, ends[0], ends[1]


def _ends(scene: tuple[World, ndarray, ndarray]) -> tuple[World, ndarray, ndarray]:
    world, start, goal = scene
    return world, start, goal[None]


def _timed(planner: Planner, robot: RobotModel, world: World, start: ndarray, goal: ndarray, seed: int) -> float:
    """Milliseconds, NaN where there is no path."""
    began = time.perf_counter()
    try:
        planner.plan(robot, world, start, goal[None], seed)
    except PlanningFailed:
        return float("nan")
    return 1e3 * (time.perf_counter() - began)


class _Bare:
    """RRT-Connect as OMPL sets it up: edges checked at a fixed spacing, its own simplification, no check after it."""

    def __init__(self, planner: OmplPlanner) -> None:
        self.planner = planner

    def plan(self, robot: RobotModel, world: World, q_start: ndarray, goals: ndarray, seed: int = 0) -> ndarray:
        checker = checker_of(robot, world)
        lower, upper = robot.lower + self.planner.margin, robot.upper - self.planner.margin
        corners = self.planner.search(checker, lower, upper, q_start, list(goals), seed, False, self.planner.seconds)
        if corners is None:
            raise PlanningFailed("bare OMPL found no path")
        return corners
