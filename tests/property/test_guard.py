"""No trajectory that breaks a bound anywhere is approved, and none that keeps all of them everywhere is refused.

What is true is decided apart from the guard: SciPy's polynomials on a fine grid for the joints, finite differences for the
speed of the arm's points, and coal on the description's own shapes for collisions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy import ndarray
from scipy.interpolate import BPoly

from rest_to_rest import rest_to_rest
from visual_irl.errors import RefusedTrajectory
from visual_irl.evaluation.faults.guard_oracle import random_world, shapes_apart
from visual_irl.execution.collaboration import Collaboration
from visual_irl.execution.guard import SIMULATED, approve
from visual_irl.execution.state import RobotState
from visual_irl.robots import load_robot
from visual_irl.robots.chain import forward, pose_of
from visual_irl.robots.hull import body_of
from visual_irl.robots.interpolation import accelerations
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

ROBOT = st.sampled_from(["panda", "ur5e"])
SEED = st.integers(0, 2**32 - 1)


def random_motion(robot: RobotModel, rng: np.random.Generator, far: float) -> JointTrajectory:
    """Rest to rest through random samples around home, at irregular times; some of them break some limit."""
    n = int(rng.integers(4, 12))
    t = np.cumsum(rng.uniform(0.5, 1.0, n)) * rng.uniform(0.2, 1.5)
    q = robot.home + far * np.cumsum(rng.normal(size=(n, len(robot.home))), axis=0) / np.sqrt(n)
    qd = 0.3 * far * rng.normal(size=q.shape)
    qd[[0, -1]] = 0.0
    return JointTrajectory(robot.joint_names, t, q, qd, np.zeros(n))


def truth(trajectory: JointTrajectory) -> BPoly:
    """The quintic through positions, speeds and accelerations, by SciPy."""
    a = accelerations(trajectory.t, trajectory.q, trajectory.qd)
    return BPoly.from_derivatives(trajectory.t, np.stack([trajectory.q, trajectory.qd, a], axis=1))


def decided(trajectory: JointTrajectory, robot: RobotModel, world: World, collaboration: Collaboration | None = None) -> str:
    config = dataclasses.replace(SIMULATED, collaboration=collaboration)
    try:
        approve(trajectory, robot, RobotState.at_rest(robot.joint_names, trajectory.q[0]), world, config)
    except RefusedTrajectory as error:
        return str(error)
    return ""


def excess(trajectory: JointTrajectory, robot: RobotModel) -> float:
    """Largest share by which a limit is passed anywhere; below 0 when all are kept."""
    path = truth(trajectory)
    x = np.concatenate([np.linspace(a, b, 40)[:-1] for a, b in zip(path.x[:-1], path.x[1:], strict=True)])
    x = np.append(x, np.nextafter(path.x[1:], 0.0))
    q = path(x)
    c = SIMULATED
    over = [(q - robot.upper + c.position_margin).max(), (robot.lower + c.position_margin - q).max()]
    for order, limit in ((1, c.speed_share * robot.velocity), (2, c.acceleration_share * robot.acceleration),
                         (3, c.jerk_share * robot.jerk)):  # fmt: skip
        over.append((np.abs(path.derivative(order)(x)) / limit).max() - 1.0)
    return float(max(over))


@settings(max_examples=100, deadline=None)
@given(ROBOT, SEED, st.floats(0.005, 0.5))
def test_joint_limits_hold_everywhere_or_the_trajectory_is_refused(name: str, seed: int, far: float) -> None:
    robot = load_robot(name)
    trajectory = random_motion(robot, np.random.default_rng(seed), far)
    over, reason = excess(trajectory, robot), decided(trajectory, robot, World())
    if over > 0.0:
        assert reason.startswith("joint '"), f"approved, but passes a limit by {over}"
    elif over < -0.01:  # the grid of 40 points a piece may miss a peak of that much
        assert not reason or "distance to" in reason, f"refused: {reason}"


@settings(max_examples=15, deadline=None)
@given(ROBOT, SEED, st.floats(0.05, 0.6))
def test_nothing_is_touched_on_the_way_or_the_trajectory_is_refused(name: str, seed: int, far: float) -> None:
    robot, rng = load_robot(name), np.random.default_rng(seed)
    way = far * rng.normal(size=len(robot.home))
    trajectory = rest_to_rest(robot, robot.home, robot.home + way, 6.0, 5.0)
    world = random_world(rng)
    reason = decided(trajectory, robot, world)
    assume(not reason.startswith("joint '"))
    path = truth(trajectory)
    least = min(shapes_apart(robot, world, path(x)) for x in np.linspace(0.0, 6.0, 41))
    if not reason:
        assert least >= SIMULATED.clearance - SIMULATED.resolution - 1e-5
    else:
        assert least < SIMULATED.clearance + 0.03, f"refused with {least} m to spare: {reason}"  # 0.03: between looks


@settings(max_examples=15, deadline=None)
@given(ROBOT, SEED, st.floats(0.05, 0.6), st.floats(0.6, 1.5))
def test_no_point_of_the_arm_is_faster_than_beside_people_it_may_be(name: str, seed: int, far: float, room: float) -> None:
    robot = load_robot(name)
    trajectory = random_motion(robot, np.random.default_rng(seed), far)
    people = Collaboration(separation=room)
    reason = decided(trajectory, robot, World(), people)
    assume(not reason or "fastest point" in reason)
    body, path, h = body_of(robot), truth(trajectory), 1e-5
    pose, fastest = pose_of(body.chain), 0.0
    for x in np.linspace(path.x[0] + h, path.x[-1] - h, 40):
        places = []
        for at in (x - h, x + h):
            forward(body.chain, np.ascontiguousarray(path(at)), pose)
            places.append(_surface(body, pose))
        fastest = max(fastest, float(np.linalg.norm(places[1] - places[0], axis=1).max()) / (2.0 * h))
    if not reason:
        assert fastest <= people.speed_limit + 1e-3  # [m/s] finite differences
    else:  # the balls at the links' ends stand out from the shapes
        assert fastest >= 0.5 * people.speed_limit


def _surface(body: object, pose: object) -> ndarray:
    """Points at both ends of every capsule and around them [m]."""
    points = []
    for n in range(len(body.hull.radius)):
        j = body.hull.carrier[n]
        for end in body.hull.ends[n]:
            for axis in np.vstack([np.eye(3), -np.eye(3)]):
                p = end + body.hull.radius[n] * axis
                points.append(p if j < 0 else pose.R[j] @ p + pose.p[j])
    return np.array(points)
