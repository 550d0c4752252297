"""Execution in simulated physics: drives follow the trajectory, friction holds the objects, results are measured."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.interpolate import CubicHermiteSpline

from visual_irl import se3
from visual_irl.errors import InvalidInput, RefusedTrajectory
from visual_irl.execution.guard import ApprovedTrajectory
from visual_irl.execution.mjcf import GRIPPER, TIMESTEP
from visual_irl.execution.world import (
    CAMERAS,
    MAX_IMAGE,
    PREFIX,
    Body,
    grain_names,
    nominal_bodies,
    outcome_of,
    world_spec,
)
from visual_irl.mujoco_engine import mujoco, renderer
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.scene import Outcome, Scene
from visual_irl.types import ExecutionReport, Intrinsics, JointTrajectory, RgbdFrame

DRIVE_TIME = 0.8
"""Time to drive to the start, in which the objects come to rest [s]."""

SETTLE_TIME = 1.0
"""Time after the end before positions are measured [s]."""

MEASURE_EVERY = 5
"""Steps of physics between two measurements of the joints: 100 Hz."""


@dataclass(frozen=True)
class Randomisation:
    """How far the physical world may differ from the planned one; uniform within plus and minus."""

    mass: float = 0.15
    """Of an object's mass, relative."""
    friction: float = 0.15
    """Of an object's friction, relative."""
    position: float = 0.002
    """Of an object's place on the table, per axis [m]."""
    start: float = 0.02
    """Of the robot's joints before it drives to the start [rad]."""


class MujocoExecutor:
    """A simulated cell. Its state goes on from one `execute` to the next."""

    def __init__(
        self,
        scene: Scene,
        robot: RobotModel,
        T_world_base: Float[ndarray, "4 4"] | None = None,
        seed: int = 0,
        randomise: Randomisation = Randomisation(),
    ) -> None:
        self.robot, self.scene, self.seed, self.randomise = robot, scene, seed, randomise
        self._rng = np.random.default_rng(seed)
        mount = robot.T_world_base if T_world_base is None else T_world_base
        bodies = {name: self._drawn(nominal) for name, nominal in nominal_bodies(scene).items()}
        spec = world_spec(scene, robot, mount, bodies)
        self.model = spec.compile()
        self.data = mujoco.MjData(self.model)
        joints = [self.model.joint(PREFIX + name) for name in robot.joint_names]
        self._q = np.array([j.qposadr[0] for j in joints])
        self._dof = np.array([j.dofadr[0] for j in joints])
        self._fingers = np.array([self.model.joint(PREFIX + name).qposadr[0] for name in robot.finger_joints])
        self._drives = np.array([self.model.actuator(PREFIX + name).id for name in robot.joint_names])
        self._gripper = self.model.actuator(PREFIX + GRIPPER).id
        stiffness, brake = self.model.actuator_gainprm[self._drives, 0], -self.model.actuator_biasprm[self._drives, 2]
        self._lead = (brake + self.model.dof_damping[self._dof]) / stiffness
        grains = grain_names(scene)
        touched = [*(o.name for o in scene.objects), *(v.name for v in scene.vessels if v.taken), *grains]
        bodies_of = [self.model.body(k).name for k in range(self.model.nbody)]
        self._is_robot = np.array([name.startswith(PREFIX) for name in bodies_of])[self.model.geom_bodyid]
        self._is_touched = np.isin(bodies_of, touched)[self.model.geom_bodyid]
        self._renderers: dict[tuple[int, int], mujoco.Renderer] = {}
        self._moved = False
        self._place(robot.home, robot.max_opening)

    @property
    def q(self) -> Float[ndarray, "J"]:
        """Measured joint angles [rad]."""
        q: ndarray = self.data.qpos[self._q].copy()
        return q

    @property
    def opening(self) -> float:
        """Measured distance between the fingers [m]."""
        return float(self.data.qpos[self._fingers].sum())

    def object_positions(self) -> dict[str, Float[ndarray, "3"]]:
        """Measured centres of the objects in the world [m]."""
        return {o.name: self.data.body(o.name).xpos.copy() for o in self.scene.objects}

    def outcome(self) -> Outcome:
        """Measured poses of objects and vessels, and places of the grains, in the world."""
        return outcome_of(self.data, self.scene)

    def execute(
        self, approved: ApprovedTrajectory, on_frame: Callable[[float], None] | None = None, fps: float = 30.0
    ) -> ExecutionReport:
        """Move as approved, wait until things rest, and report what was measured.

        The first call puts the robot beside the trajectory's start and drives it there; later ones start where it is.
        `on_frame(t)` is called `fps` times a simulated second with the trajectory's time `t` [s]: render then.
        The report's details: `outcome` (where things are now), `grip_peak` [N] a finger, `tracking_peak` [rad],
        `effort_peak` (share of the torque limit per joint), `collisions` (pairs of names, where the robot touched
        itself or anything that it is not meant to take), `simulated` and `computed` [s].

        Raises:
            RefusedTrajectory: approved for another robot, or the robot is not near the start.
            InvalidInput: `fps` is not positive.
        """
        trajectory = approved.trajectory
        if approved.robot is not self.robot:
            raise RefusedTrajectory(f"approved for '{approved.robot.name}', this cell has '{self.robot.name}': approve again")
        if not fps > 0:
            raise InvalidInput(f"{fps} pictures a second: fps must be above 0")
        self._go_to_start(trajectory, approved.config.start_distance)
        began, simulated = time.perf_counter(), self.data.time
        log = self._follow(trajectory, on_frame, fps)
        self._hold(trajectory, SETTLE_TIME)
        unstable = int(self.data.warning[mujoco.mjtWarning.mjWARN_BADQACC].number)
        t, q_measured, error, grip, effort, collisions = log
        details = {
            "outcome": self.outcome(),
            "grip_peak": float(grip.max()),
            "tracking_peak": float(np.abs(error).max()),
            "effort_peak": effort.max(axis=0) / self.robot.effort,
            "collisions": collisions,
            "simulated": float(self.data.time - simulated),
            "computed": time.perf_counter() - began,
            "seed": self.seed,
        }
        outcome = "failed" if unstable else "executed"
        message = f"physics became unstable {unstable} times: the motion hits something hard" if unstable else "as approved"
        return ExecutionReport(outcome, message, t, q_measured, float(np.sqrt(np.mean(error**2))), details)

    def render(self, camera: str = "front", width: int = 640, height: int = 480) -> UInt8[ndarray, "H W 3"]:
        """A picture of the cell as it is now.

        Raises:
            MissingDependency: there is no OpenGL.
            InvalidInput: unknown camera or a size that cannot be rendered.
        """
        drawing = self._drawing(camera, width, height)
        picture: ndarray = drawing.render().copy()
        return picture

    def photograph(self, camera: str = "front", width: int = 640, height: int = 480) -> RgbdFrame:
        """Colour and depth of the cell as it is now, without a sensor's noise; errors as of `render`."""
        drawing = self._drawing(camera, width, height)
        rgb = drawing.render().copy()
        drawing.enable_depth_rendering()
        depth: ndarray = drawing.render().copy()
        drawing.disable_depth_rendering()
        eye, target, vertical = CAMERAS[camera]
        horizontal = 2.0 * float(np.arctan(np.tan(np.radians(vertical) / 2.0) * width / height))
        T_world_camera = se3.look_at(np.array(eye), np.array(target))
        stamp = round(1e9 * self.data.time)
        return RgbdFrame(stamp, rgb, depth, Intrinsics.from_fov(width, height, horizontal), T_world_camera)

    def close(self) -> None:
        """Give the renderers' OpenGL contexts back."""
        for drawing in self._renderers.values():
            drawing.close()
        self._renderers.clear()

    def _drawing(self, camera: str, width: int, height: int) -> mujoco.Renderer:
        """A renderer of that size that sees what the camera sees now."""
        if camera not in CAMERAS:
            raise InvalidInput(f"unknown camera '{camera}'; known: {', '.join(CAMERAS)}")
        if not (0 < width <= MAX_IMAGE[0] and 0 < height <= MAX_IMAGE[1]):
            raise InvalidInput(f"a picture of {width} x {height} is outside 1 x 1 to {MAX_IMAGE[0]} x {MAX_IMAGE[1]} pixels")
        if (width, height) not in self._renderers:
            self._renderers[width, height] = renderer(self.model, width, height)
        drawing = self._renderers[width, height]
        drawing.update_scene(self.data, camera)
        return drawing

    def _drawn(self, nominal: Body) -> Body:
        """What one physical object is, drawn around the nominal one."""
        r = self.randomise
        density = nominal.density * (1.0 + self._rng.uniform(-r.mass, r.mass))
        friction = nominal.friction * (1.0 + self._rng.uniform(-r.friction, r.friction))
        dx, dy = self._rng.uniform(-r.position, r.position, 2)
        return Body(density, friction, (float(dx), float(dy), 0.0))

    def _place(self, q: ndarray, opening: float) -> None:
        self.data.qpos[self._q] = q
        self.data.qpos[self._fingers] = opening / 2.0
        self._command(q, np.zeros_like(q), opening)
        mujoco.mj_forward(self.model, self.data)

    def _command(self, q: ndarray, qd: ndarray, opening: float) -> None:
        self.data.ctrl[self._drives] = q + self._lead * qd
        self.data.ctrl[self._gripper] = opening

    def _go_to_start(self, trajectory: JointTrajectory, reach: float) -> None:
        q0 = trajectory.q[0]
        if not self._moved:
            noise = self._rng.uniform(-self.randomise.start, self.randomise.start, len(q0))
            self._place(np.clip(q0 + noise, self.robot.lower, self.robot.upper), float(trajectory.opening[0]))
            self._moved = True
        far = np.abs(self.q - q0)
        if not (far <= reach).all():
            j = int(np.argmax(far))
            raise RefusedTrajectory(
                f"joint '{self.robot.joint_names[j]}' is {far[j]:.3g} rad from the start, at most {reach} rad "
                "is bridged: plan from where the robot is"
            )
        start, steps = self.q, round(DRIVE_TIME / TIMESTEP)
        for k in range(steps):
            s = (k + 1) / steps
            self._command(start + (3 * s**2 - 2 * s**3) * (q0 - start), np.zeros_like(q0), float(trajectory.opening[0]))
            mujoco.mj_step(self.model, self.data)

    def _follow(
        self, trajectory: JointTrajectory, on_frame: Callable[[float], None] | None, fps: float
    ) -> tuple[ndarray, ndarray, ndarray, ndarray, ndarray, tuple[tuple[str, str], ...]]:
        """Times, measured joints, tracking errors, grip forces and torques at 100 Hz, and what touched."""
        t, q, qd, opening = self._references(trajectory)
        rows, collisions, frame = [], set(), 0
        for k in range(len(t)):
            if k % MEASURE_EVERY == 0:
                force = abs(float(self.data.actuator_force[self._gripper]))
                rows.append((t[k], self.q, self.q - q[k], force, np.abs(self.data.qfrc_actuator[self._dof])))
                collisions |= self._collisions()
            if on_frame is not None and t[k] >= frame / fps:
                on_frame(float(t[k]))
                frame += 1
            self._command(q[k], qd[k], opening[k])
            mujoco.mj_step(self.model, self.data)
        times, measured, error, grip, effort = (np.array(column) for column in zip(*rows, strict=True))
        return times, measured, error, grip, effort, tuple(sorted(collisions))

    def _collisions(self) -> set[tuple[str, str]]:
        """Pairs of bodies that touch now and should not: a link and another link, a bin or the table."""
        pairs = set()
        geoms = self.data.contact.geom
        robot, touched = self._is_robot[geoms].any(axis=1), self._is_touched[geoms].any(axis=1)
        for row in geoms[(self.data.contact.dist < 0.0) & robot & ~touched]:
            names = [self.model.body(int(self.model.geom_bodyid[g])).name for g in row]
            first, second = sorted(
                name.removeprefix(PREFIX) if name != "world" else self.model.geom(int(g)).name
                for name, g in zip(names, row, strict=True)
            )
            pairs.add((first, second))
        return pairs

    def _references(self, trajectory: JointTrajectory) -> tuple[ndarray, ndarray, ndarray, ndarray]:
        """Commands at every step of the physics; the fingers open and close no faster than the gripper can."""
        t0 = trajectory.t - trajectory.t[0]
        t = np.arange(round(float(t0[-1]) / TIMESTEP) + 1) * TIMESTEP
        t = np.minimum(t, t0[-1])
        path = CubicHermiteSpline(t0, trajectory.q, trajectory.qd)
        opening = np.interp(t, t0, trajectory.opening)
        step = self.robot.gripper_speed * TIMESTEP
        for k in range(1, len(opening)):
            opening[k] = opening[k - 1] + np.clip(opening[k] - opening[k - 1], -step, step)
        return t, path(t), path(t, 1), opening

    def _hold(self, trajectory: JointTrajectory, duration: float) -> None:
        """Stand at the last sample while the fingers finish and objects come to rest."""
        opening, step = float(self.data.ctrl[self._gripper]), self.robot.gripper_speed * TIMESTEP
        for _ in range(round(duration / TIMESTEP)):
            opening += float(np.clip(trajectory.opening[-1] - opening, -step, step))
            self._command(trajectory.q[-1], np.zeros(len(self._q)), opening)
            mujoco.mj_step(self.model, self.data)
