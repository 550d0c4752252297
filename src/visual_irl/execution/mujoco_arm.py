"""An arm in MuJoCo, alone or in a task's scene, behind the `Arm` protocol.

Targets go to stiff position drives, the clock is the simulation's.

Like a real arm it has a controller of its own: when a cycle passes without a target, after `halt` and in a stop of its safety
system, it brakes each joint within the limits (`visual_irl.execution.braking`) and holds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.execution.braking import Brake
from visual_irl.execution.mjcf import robot_spec
from visual_irl.execution.mujoco_gripper import MujocoGripper
from visual_irl.execution.state import RobotState, Safety
from visual_irl.execution.world import PREFIX, nominal_bodies, outcome_of, world_spec
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.scene import Outcome, Scene

REST = 1.5
"""How long the things of a scene come to rest after a motion [s]."""


class MujocoArm:
    """An arm that stands at `q` [rad] and takes a target every step of the physics; its clock is the simulation's.

    With a `scene` it stands in it, its base at `T_world_base`; without one there is nothing but the arm.
    """

    def __init__(
        self,
        robot: RobotModel,
        q: Float[ndarray, "J"],
        scene: Scene | None = None,
        T_world_base: Float[ndarray, "4 4"] | None = None,
        opening: float = 0.0,
    ) -> None:
        self.robot = robot
        self._scene = scene or Scene((), ())
        prefix = "" if scene is None else PREFIX
        if scene is None:
            spec = robot_spec(robot)
        else:
            mount = robot.T_world_base if T_world_base is None else T_world_base
            spec = world_spec(scene, robot, mount, nominal_bodies(scene))
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        joints = [self.model.joint(prefix + name) for name in robot.joint_names]
        self._q = np.array([j.qposadr[0] for j in joints])
        self._dof = np.array([j.dofadr[0] for j in joints])
        self._drives = np.array([self.model.actuator(prefix + name).id for name in robot.joint_names])
        stiffness, brake = self.model.actuator_gainprm[self._drives, 0], -self.model.actuator_biasprm[self._drives, 2]
        self._lead, self._stiffness = (brake + self.model.dof_damping[self._dof]) / stiffness, stiffness
        self.safety, self.message = Safety.NORMAL, ""
        self.data.qpos[self._q] = q
        self.data.ctrl[self._drives] = q
        self.data.qpos[[self.model.joint(prefix + name).qposadr[0] for name in robot.finger_joints]] = opening / 2.0
        self.gripper = MujocoGripper(robot, self.model, self.data, prefix)
        """Its fingers."""
        self.gripper.step(0.0)
        mujoco.mj_forward(self.model, self.data)
        self.target = np.array(q, float)
        self._motion = np.zeros((2, len(self.target)))
        self._fresh, self._braking = True, 0.0
        self._brake: Brake | None = None

    @property
    def joint_names(self) -> tuple[str, ...]:
        """In the order of all joint arrays."""
        return self.robot.joint_names

    @property
    def period(self) -> float:
        """One step of the physics [s]."""
        return float(self.model.opt.timestep)

    def now_ns(self) -> int:
        """The simulation's time [ns]."""
        return round(1e9 * self.data.time)

    def read(self) -> RobotState:
        """The state now."""
        return RobotState(
            self.robot.joint_names, self.now_ns(), self.data.qpos[self._q], self.data.qvel[self._dof], self.target,
            safety=self.safety, message=self.message,
        )  # fmt: skip

    def command(self, q: Float[ndarray, "J"], qd: Float[ndarray, "J"], qdd: Float[ndarray, "J"]) -> None:
        """Targets of the drives, led by speed and inertia so that they do not lag; ignored in a stop of the robot."""
        if self.safety.moving_allowed:
            self._drive(q, qd, qdd)
            self._fresh, self._brake = True, None

    def wait(self) -> None:
        """One step of the physics; without a target since the last one the arm's own controller brakes."""
        if not self._fresh or not self.safety.moving_allowed:
            self._own_stop()
        self._fresh = False
        self.gripper.step(self.period)
        mujoco.mj_step(self.model, self.data)

    def halt(self) -> None:
        """No more targets: the arm's own controller brakes, if the arm moves, and holds."""
        self._fresh = False

    def _drive(self, q: ndarray, qd: ndarray, qdd: ndarray) -> None:
        self.target, self._motion = np.array(q, float), np.array([qd, qdd], float)
        acceleration, torque = np.zeros(self.model.nv), np.zeros(self.model.nv)
        acceleration[self._dof] = qdd
        mujoco.mj_mulM(self.model, self.data, torque, acceleration)
        self.data.ctrl[self._drives] = q + self._lead * qd + torque[self._dof] / self._stiffness

    def _own_stop(self) -> None:
        if self._brake is None:
            self._brake, self._braking = Brake(self.robot, self.target, *self._motion), 0.0
        if not self._fresh:  # a target that came in this cycle is already where the arm shall be after it
            self._braking += self.period
        self._drive(*self._brake.at(self._braking))

    def rest(self) -> None:
        """Let the things of the scene come to rest."""
        for _ in range(round(REST / self.period)):
            self.wait()

    def outcome(self) -> Outcome:
        """Poses of the scene's movable things, and places of its grains, in the world."""
        return outcome_of(self.data, self._scene)

    def push(self, torque: Float[ndarray, "J"]) -> None:
        """Push from outside with these torques until told otherwise [Nm]."""
        self.data.qfrc_applied[self._dof] = torque
