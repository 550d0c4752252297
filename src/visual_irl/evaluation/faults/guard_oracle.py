"""Random trajectories for the guard, and a slow judge that decides apart from it which of them break a bound.

The judge solves for the polynomials anew (batches of 6x6 systems), looks at them on a dense grid, and measures distances
between exact shapes with coal; it shares with the guard the limits, the arm's shapes and the definition of what is streamed,
but none of its code.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import coal
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import RobotState, Safety
from visual_irl.robots import load_robot
from visual_irl.robots.chain import forward, pose_of
from visual_irl.robots.hull import body_of, exact_distance
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Obstacle, World, coal_shape
from visual_irl.types import JointTrajectory

ROBOTS = ("panda", "ur5e")
WORLDS = 6
"""Worlds with obstacles an arm; a seventh is empty."""
GRID = 40
"""Points a piece at which the judge looks."""
GRID_ERROR = 0.01
"""Share of a limit by which a grid of that many points may miss a peak of a quintic."""
ROUNDING = 1e-6
"""Excess over a limit that is rounding, as a share of it."""
EVERY = 50
"""One trajectory in so many has its distances measured."""
POSES = 25
"""Poses along a trajectory at which they are."""
NEAR = 0.03
"""Distance below which a refusal for contact may be right between two of those poses [m]."""
BREAKS = (
    "start away", "end speed", "stale state", "arm moves", "opening", "names", "times", "state not finite", "robot stopped",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """A trajectory, and the state that it is asked for in."""

    trajectory: JointTrajectory
    state: RobotState
    age: float
    """Of the state when the guard is asked [s]."""


def polynomials(t: Float[ndarray, "T"], q: Float[ndarray, "T J"], qd: Float[ndarray, "T J"]) -> Float[ndarray, "N J 6"]:
    """Coefficients of the quintics between the samples, by x = time - t[k].

    The acceleration at an inner sample is that of the quintic through position and speed of it and both its neighbours.
    """
    a = np.zeros_like(q)
    h = np.stack([t[:-2] - t[1:-1], 0.0 * t[1:-1], t[2:] - t[1:-1]], axis=1)
    value = np.concatenate([_powers(h, 0), _powers(h, 1)], axis=1)
    known = np.concatenate([q[:-2, None], q[1:-1, None], q[2:, None], qd[:-2, None], qd[1:-1, None], qd[2:, None]], axis=1)
    if len(t) > 2:
        a[1:-1] = 2.0 * np.linalg.solve(value, known)[:, 2]
    ends = np.stack([np.zeros(len(t) - 1), np.diff(t)], axis=1)
    rows = np.concatenate([_powers(ends, order) for order in range(3)], axis=1)
    known = np.stack([q[:-1], q[1:], qd[:-1], qd[1:], a[:-1], a[1:]], axis=1)
    return np.swapaxes(np.linalg.solve(rows, known), 1, 2)


def _powers(x: ndarray, order: int) -> ndarray:
    """Derivatives of 1, x, ..., x^5 at `x`, in a new last axis."""
    out = np.zeros((*x.shape, 6))
    for k in range(order, 6):
        out[..., k] = np.prod(np.arange(k, k - order, -1)) * x ** (k - order)
    return out


def on_grid(t: Float[ndarray, "T"], c: Float[ndarray, "N J 6"], order: int) -> Float[ndarray, "N G J"]:
    """A derivative of the motion on the judge's grid."""
    x = np.diff(t)[:, None] * np.linspace(0.0, 1.0, GRID)
    out: ndarray = _powers(x, order) @ np.swapaxes(c, 1, 2)
    return out


def ratios(trajectory: JointTrajectory, robot: RobotModel) -> Float[ndarray, "4"]:
    """Excess of position [rad], and peaks of speed, acceleration and jerk over what the guard allows (1 is just allowed)."""
    g = SIMULATED
    qd = trajectory.qd.copy()
    qd[[0, -1]] = 0.0
    c = polynomials(trajectory.t, trajectory.q, qd)
    q = on_grid(trajectory.t, c, 0)
    beyond = np.maximum(q - (robot.upper - g.position_margin), robot.lower + g.position_margin - q).max()
    bounds = (
        g.speed_share * robot.velocity, g.acceleration_share * robot.acceleration, g.jerk_share * robot.jerk,
    )  # fmt: skip
    peaks = [(np.abs(on_grid(trajectory.t, c, k + 1)) / bound).max() for k, bound in enumerate(bounds)]
    return np.array([beyond, *peaks])


def random_case(robot: RobotModel, rng: np.random.Generator) -> Case:
    """A motion from rest to rest, most often near one of its bounds on either side, sometimes broken in another way."""
    n = int(rng.integers(3, 11))
    t = np.cumsum(rng.uniform(0.5, 1.0, n))
    far = rng.uniform(0.02, 0.5)
    centre = robot.home
    if rng.random() < 0.15:
        reach = rng.uniform(0.9, 1.02)
        j = int(rng.integers(len(centre)))
        centre = centre.copy()
        centre[j] = robot.upper[j] * reach if rng.random() < 0.5 else robot.lower[j] * reach
        far = 0.05
    q = centre + far * np.cumsum(rng.normal(size=(n, len(centre))), axis=0) / np.sqrt(n)
    qd = 0.3 * far * rng.normal(size=q.shape)
    qd[[0, -1]] = 0.0
    draft = JointTrajectory(robot.joint_names, t, q, qd, np.zeros(n))
    _, v, a, j = ratios(draft, robot)
    aim = rng.uniform(0.8, 1.1)
    stretch = max(v / aim, np.sqrt(a / aim), np.cbrt(j / aim))
    trajectory = JointTrajectory(robot.joint_names, t * stretch, q, qd / stretch, np.zeros(n))
    state = RobotState(robot.joint_names, 10**9, q[0], np.zeros(len(centre)))
    case = Case(trajectory, state, 0.0)
    return _broken(case, robot, rng) if rng.random() < 0.2 else case


def _broken(case: Case, robot: RobotModel, rng: np.random.Generator) -> Case:
    """One more thing that may be wrong; its size is drawn about the guard's bound, or it is wrong for certain."""
    trajectory, state, how = case.trajectory, case.state, BREAKS[int(rng.integers(len(BREAKS)))]
    about, sign = rng.uniform(0.3, 1.7), rng.choice([-1.0, 1.0])
    one = np.eye(len(robot.home))[int(rng.integers(len(robot.home)))]
    replace = dataclasses.replace
    if how == "start away":
        return replace(case, state=replace(state, q=state.q + sign * about * SIMULATED.start_distance * one))
    if how == "end speed":
        qd = trajectory.qd.copy()
        qd[-1] = sign * about * SIMULATED.end_speed * one
        return replace(case, trajectory=replace(trajectory, qd=qd))
    if how == "stale state":
        return replace(case, age=float(about * SIMULATED.state_age))
    if how == "arm moves":
        return replace(case, state=replace(state, qd=sign * about * SIMULATED.start_speed * one))
    if how == "opening":
        opening = trajectory.opening + (about * robot.max_opening if sign > 0 else -1e-3)
        return replace(case, trajectory=replace(trajectory, opening=opening))
    if how == "names":
        return replace(case, trajectory=replace(trajectory, joint_names=trajectory.joint_names[::-1]))
    if how == "times":
        t = trajectory.t.copy()
        t[1] = t[0] if sign > 0 else np.nan
        bad = replace(trajectory)
        object.__setattr__(bad, "t", t)  # the type itself would not let it pass
        return replace(case, trajectory=bad)
    if how == "state not finite":
        return replace(case, state=replace(state, q=np.where(one > 0.0, np.nan, state.q)))
    return replace(case, state=replace(state, safety=Safety.PROTECTIVE_STOP))


def verdict(case: Case, robot: RobotModel) -> str:
    """ "broken", "kept", or "near" where the judge's grid cannot tell; collisions are judged apart."""
    g, s, trajectory = SIMULATED, case.state, case.trajectory
    with np.errstate(invalid="ignore"):
        fine = (
            trajectory.joint_names == robot.joint_names
            and bool(np.isfinite(s.q).all())
            and bool(np.all(np.diff(trajectory.t) > 0.0))
            and case.age <= g.state_age
            and s.safety.moving_allowed
            and float(np.abs(s.qd).max()) <= g.start_speed
            and float(np.abs(s.q - trajectory.q[0]).max()) <= g.start_distance
            and float(np.abs(trajectory.qd[[0, -1]]).max()) <= g.end_speed
            and float(trajectory.opening.min()) >= 0.0
            and float(trajectory.opening.max()) <= robot.max_opening
        )
    if not fine:
        return "broken"
    beyond, *peaks = ratios(trajectory, robot)
    beyond = max(
        beyond, float((s.q - robot.upper + g.position_margin).max()), float((robot.lower + g.position_margin - s.q).max())
    )
    if beyond > ROUNDING or max(peaks) > 1.0 + ROUNDING:
        return "broken"
    return "kept" if beyond < -GRID_ERROR * 0.1 and max(peaks) < 1.0 - GRID_ERROR else "near"


def least_distance(trajectory: JointTrajectory, robot: RobotModel, world: World) -> float:
    """Between exact shapes of the arm, and of the arm and its world, at some poses along the trajectory [m]."""
    qd = trajectory.qd.copy()
    qd[[0, -1]] = 0.0
    c = polynomials(trajectory.t, trajectory.q, qd)
    least = np.inf
    for time in np.linspace(trajectory.t[0], trajectory.t[-1], POSES):
        k = int(np.clip(np.searchsorted(trajectory.t, time, side="right") - 1, 0, len(c) - 1))
        least = min(least, shapes_apart(robot, world, c[k] @ (time - trajectory.t[k]) ** np.arange(6)))
    return least


def shapes_apart(robot: RobotModel, world: World, q: Float[ndarray, "J"]) -> float:
    """Least distance at `q` [rad] of the arm's exact shapes to each other, where they can meet, and to the world's [m]."""
    body, T_base_world = body_of(robot), se3.inverse(world.T_world_base)
    pose = pose_of(body.chain)
    forward(body.chain, np.ascontiguousarray(q), pose)
    least = min(body.distance(int(i), int(j), pose) for i, j in body.hull.pairs)
    for obstacle in world.obstacles:
        T = T_base_world @ obstacle.T_world
        shape, at = coal_shape(obstacle), coal.Transform3s(T[:3, :3], T[:3, 3])
        least = min(least, *(
            exact_distance(part.geometry, body.placed(n, pose), shape, at)
            for n, part in enumerate(body.shapes) if part.carrier >= 0
        ))  # fmt: skip
    return float(least)


def random_world(rng: np.random.Generator) -> World:
    """One to three balls, boxes and cylinders about the arm."""
    obstacles = []
    for i in range(int(rng.integers(1, 4))):
        p = rng.uniform([0.1, -0.6, 0.0], [0.8, 0.6, 0.6])
        T = se3.transform(se3.exp_so3(rng.normal(size=3)), p)
        obstacles.append((
            lambda i=i, p=p: Obstacle.sphere(f"ball {i}", p, rng.uniform(0.02, 0.1)),
            lambda i=i, T=T: Obstacle.box(f"box {i}", T, tuple(rng.uniform(0.01, 0.1, 3))),
            lambda i=i, T=T: Obstacle.cylinder(f"cylinder {i}", T, rng.uniform(0.01, 0.06), rng.uniform(0.02, 0.2)),
        )[int(rng.integers(3))]())  # fmt: skip
    return World(tuple(obstacles))


def judge_guard(count: int, seed: int, progress: Callable[[int, int], None], block: int = 0) -> dict[str, Any]:
    """What the guard says of `count` random trajectories beside what the judge says; every `block` draws others."""
    rng = np.random.default_rng([seed, 1, block])
    robots = [load_robot(name) for name in ROBOTS]
    worlds = [World(), *(random_world(rng) for _ in range(WORLDS))]
    tally: Counter[str] = Counter()
    examples: list[str] = []
    for n in range(count):
        robot, world = robots[n % len(robots)], worlds[int(rng.integers(len(worlds)))]
        case = random_case(robot, rng)
        said, truth = _asked(case, robot, world), verdict(case, robot)
        contact = "distance to '" in said
        tally["approved" if not said else "refused"] += 1
        tally[f"judged {truth}"] += 1
        wrong = ""
        if not said and truth == "broken":
            wrong = "approved_violations"
        elif said and truth == "kept" and not contact:
            wrong = "refused_without_reason"
        elif n % EVERY == 0 and truth != "broken" and (not said or contact):
            tally["distances_measured"] += 1
            least = least_distance(case.trajectory, robot, world)
            if not said and not least >= SIMULATED.clearance - SIMULATED.resolution - 1e-5:
                wrong = "approved_violations"
            elif contact and not least < SIMULATED.clearance + NEAR:
                wrong = "refused_without_reason"
        if wrong:
            tally[wrong] += 1
            examples.append(f"{wrong}: {robot.name}, block {block}, trajectory {n}, {said or 'approved'}")
        if n % 100 == 99 or n + 1 == count:
            progress(n + 1, count)
    names = ("approved_violations", "refused_without_reason", "approved", "refused", "distances_measured")
    found = {name: tally[name] for name in names}
    return {"random_trajectories": count, **found, "undecided": tally["judged near"], "examples": examples[:10]}


def _asked(case: Case, robot: RobotModel, world: World) -> str:
    """The guard's reason to refuse; empty when it approves."""
    try:
        approve(case.trajectory, robot, case.state, world, SIMULATED, now_ns=case.state.stamp_ns + round(1e9 * case.age))
    except RefusedTrajectory as error:
        return str(error)
    return ""
