"""The mapper's rivals on the same targets: mink, pink and Pinocchio's damped least squares, set up as their users would.

Every rival starts from the joint angles it is given, warm-starts each frame from the one before and iterates until it has
converged or gives up. Hand only: tolerances and structure of the projects' own examples (`mink/examples/arm_ur5e.py`,
`pink/examples/arm_ur5.py`, Pinocchio's inverse-kinematics example). Hand and elbow: the elbow is drawn to where the human's
upper arm would carry it, the joints to the symbolic posture, which is how people try to get a human-like arm from them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pinocchio as pin
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import MissingDependency, pip_install
from visual_irl.robots.model import RobotModel

ITERATIONS = 50
"""Most iterations a frame."""
HAND_REACHED = 1e-4
"""Hand error below which a hand-only solver stops, as in mink's examples [m] and [rad]."""
STILL = 1e-4
"""Largest joint change of an iteration below which nothing moves any more [rad]."""
HAND_COST = 1.0
"""Cost of the hand's position [1/m] and orientation [1/rad]."""
ELBOW_COST = 0.3
"""Cost of the elbow's position beside it [1/m]."""
POSTURE_COST = 1e-3
"""Cost of the joints' distance from the symbolic posture beside it [1/rad]."""
LM_DAMPING = 1e-3
"""Levenberg-Marquardt damping of the tasks, in units of their squared error."""
DLS_DAMPING = 1e-4
"""Damping of the plain solver."""
QP_SOLVER = "daqp"


class Target(NamedTuple):
    """What one frame asks for; see `ArmTargets`."""

    R: Float[ndarray, "3 3"]
    """Orientation of the tool in the base frame."""
    p: Float[ndarray, "3"]
    """Its place [m]."""
    upper: Float[ndarray, "3"]
    """Direction of the human upper arm; zeros when unknown."""
    fore: Float[ndarray, "3"]
    """Direction of the forearm; zeros when unknown."""
    posture: Float[ndarray, "J"]
    """The symbolic map's joint angles [rad]."""
    dt: float
    """Time since the last frame [s]."""


@runtime_checkable
class Follower(Protocol):
    """Something that turns targets into joint angles, one frame after the other."""

    def reset(self, q: Float[ndarray, "J"]) -> None:
        """Start anew from joint angles [rad]: a new recording begins."""

    def follow(self, target: Target) -> Float[ndarray, "J"]:
        """Joint angles [rad] for the next frame."""


class _TaskFollower(ABC):
    """The loop that mink and pink share: tasks for the hand, the elbow and the posture, solved until nothing moves."""

    configuration: Any
    hand: Any
    elbow: Any
    posture: Any
    limb: _UpperArm | None

    def reset(self, q: Float[ndarray, "J"]) -> None:
        self.configuration.update(np.array(q))

    def follow(self, target: Target) -> Float[ndarray, "J"]:
        self.hand.set_target(self._pose(target.R, target.p))
        tasks = [self.hand]
        if self.limb is not None:
            self.posture.set_target(target.posture)
            tasks.append(self.posture)
            if target.upper.any():
                self.elbow.set_target(self._pose(np.eye(3), self.limb.elbow(target.upper)))
                tasks.append(self.elbow)
        for _ in range(ITERATIONS):
            if self.limb is None and _reached(self.hand.compute_error(self.configuration)):
                break
            dq = self._solve(tasks)
            if dq is None:
                break
            self.configuration.integrate_inplace(dq, 1.0)
            if np.abs(dq).max() < STILL:
                break
        return np.array(self.configuration.q)

    @abstractmethod
    def _pose(self, R: ndarray, p: ndarray) -> Any:
        """A pose as the library writes it."""

    @abstractmethod
    def _solve(self, tasks: list[Any]) -> ndarray | None:
        """The library's step (J,) [rad]; none when its quadratic program has no solution."""


class MinkFollower(_TaskFollower):
    """mink on MuJoCo's kinematics. The model has no fingers and no shapes, so that nothing is computed in vain."""

    def __init__(self, robot: RobotModel, elbow: bool) -> None:
        self.mink: Any = _required("mink", "mink")
        _required("daqp", QP_SOLVER)
        self.configuration = self.mink.Configuration(_arm_for_mujoco(robot), robot.home)
        model = self.configuration.model
        self.limits = [self.mink.ConfigurationLimit(model)]
        self.hand = self.mink.FrameTask(robot.tcp_frame, "body", HAND_COST, HAND_COST, lm_damping=LM_DAMPING)
        self.elbow = self.mink.FrameTask(robot.elbow_frame, "body", ELBOW_COST, 0.0, lm_damping=LM_DAMPING)
        self.posture = self.mink.PostureTask(model, POSTURE_COST)
        self.limb = _UpperArm(robot) if elbow else None

    def _pose(self, R: ndarray, p: ndarray) -> Any:
        return self.mink.SE3.from_rotation_and_translation(self.mink.SO3.from_matrix(R), p)

    def _solve(self, tasks: list[Any]) -> ndarray | None:
        try:
            dq: ndarray = self.mink.solve_ik(self.configuration, tasks, 1.0, QP_SOLVER, limits=self.limits)
        except self.mink.NoSolutionFound:
            return None
        return dq


class PinkFollower(_TaskFollower):
    """pink on Pinocchio's kinematics."""

    def __init__(self, robot: RobotModel, elbow: bool) -> None:
        self.pink: Any = _required("pink", "pin-pink")
        self.no_solution = import_module("pink.exceptions").NoSolutionFound
        tasks = import_module("pink.tasks")
        _required("daqp", QP_SOLVER)
        model = pin.Model(robot.pinocchio())  # pink writes attributes into it
        self.configuration = self.pink.Configuration(model, model.createData(), np.array(robot.home))
        self.limits = [import_module("pink.limits").ConfigurationLimit(model)]
        self.hand = tasks.FrameTask(robot.tcp_frame, HAND_COST, HAND_COST, lm_damping=LM_DAMPING)
        self.elbow = tasks.FrameTask(robot.elbow_frame, ELBOW_COST, 0.0, lm_damping=LM_DAMPING)
        self.posture = tasks.PostureTask(POSTURE_COST)
        self.limb = _UpperArm(robot) if elbow else None

    def _pose(self, R: ndarray, p: ndarray) -> Any:
        return pin.SE3(R, p)

    def _solve(self, tasks: list[Any]) -> ndarray | None:
        try:
            dq: ndarray = self.pink.solve_ik(self.configuration, tasks, 1.0, QP_SOLVER, limits=self.limits, safety_break=False)
        except self.no_solution:
            return None
        return dq


class DampedLeastSquares:
    """Pinocchio's inverse-kinematics example with full steps, clipped to the joint limits less a `margin` [rad]."""

    def __init__(self, robot: RobotModel, margin: float = 0.0) -> None:
        self.model = robot.pinocchio()
        self.data = self.model.createData()
        self.frame = robot.frame_id(robot.tcp_frame)
        self.lower, self.upper = robot.lower + margin, robot.upper - margin
        self.q = np.array(robot.home)

    def reset(self, q: Float[ndarray, "J"]) -> None:
        self.q = np.array(q)

    def follow(self, target: Target) -> Float[ndarray, "J"]:
        hand = pin.SE3(target.R, target.p)
        for _ in range(ITERATIONS):
            pin.computeJointJacobians(self.model, self.data, self.q)
            pin.updateFramePlacement(self.model, self.data, self.frame)
            J = pin.getFrameJacobian(self.model, self.data, self.frame, pin.LOCAL)
            to_target = self.data.oMf[self.frame].actInv(hand)
            error = pin.log6(to_target).vector
            if _reached(error):
                break
            J = pin.Jlog6(to_target.inverse()) @ J
            dq = J.T @ np.linalg.solve(J @ J.T + DLS_DAMPING * np.eye(6), error)
            q = np.clip(self.q + dq, self.lower, self.upper)
            still = np.abs(q - self.q).max() < STILL
            self.q = q
            if still:
                break
        return self.q


class _UpperArm:
    """Where a human upper arm's direction puts a robot's elbow; the shoulder lies on the first axis, so it stands still."""

    def __init__(self, robot: RobotModel) -> None:
        self.shoulder = robot.fk(robot.home, robot.shoulder_frame)[:3, 3]
        self.length = float(np.linalg.norm(robot.fk(robot.home, robot.elbow_frame)[:3, 3] - self.shoulder))

    def elbow(self, direction: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
        """The elbow's place [m] in the base frame."""
        return self.shoulder + self.length * direction


PEERS: dict[str, Callable[[RobotModel], Follower]] = {
    "mink_hand": lambda robot: MinkFollower(robot, elbow=False),
    "mink_hand_elbow": lambda robot: MinkFollower(robot, elbow=True),
    "pink_hand": lambda robot: PinkFollower(robot, elbow=False),
    "pink_hand_elbow": lambda robot: PinkFollower(robot, elbow=True),
    "pinocchio_dls": DampedLeastSquares,
}
"""Name -> function that sets the rival up for a robot; raises `MissingDependency` where its package is not installed."""


def _reached(error: ndarray) -> bool:
    """Whether a hand error (metres, then radians) is within `HAND_REACHED`."""
    return bool(np.linalg.norm(error[:3]) < HAND_REACHED and np.linalg.norm(error[3:]) < HAND_REACHED)


def _arm_for_mujoco(robot: RobotModel) -> Any:
    """MuJoCo's model of the arm's joints alone."""
    from visual_irl.execution.mjcf import robot_spec
    from visual_irl.mujoco_engine import mujoco

    spec = robot_spec(robot)
    for what in (spec.actuators, spec.equalities, spec.tendons, spec.excludes, spec.geoms):
        for element in list(what):
            spec.delete(element)
    for name in robot.finger_joints:
        spec.delete(spec.joint(name))
    model: mujoco.MjModel = spec.compile()
    return model


def _required(module: str, package: str) -> Any:
    """A package that only this benchmark needs.

    Raises:
        MissingDependency: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependency(
            f"the mapping benchmark compares with {package}, which is not installed ({error}): {pip_install('bench')}"
        ) from error
