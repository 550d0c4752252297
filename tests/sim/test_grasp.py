"""Every robot picks an onion by friction alone and drops it into a bin; with the gripper open they must not."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pinocchio as pin
import pytest

from rest_to_rest import rest_to_rest
from visual_irl import se3
from visual_irl.errors import InvalidInput, MissingDependency, RefusedTrajectory
from visual_irl.execution import guard
from visual_irl.execution.guard import SIMULATED, ApprovedTrajectory
from visual_irl.execution.mujoco_executor import MujocoExecutor, Randomisation
from visual_irl.execution.state import RobotState
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.interpolation import motion_through
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import World
from visual_irl.tasks.onion_sorting import BLEMISHED, OnionSorting
from visual_irl.tasks.scene import Scene, SceneObject
from visual_irl.types import ExecutionReport, JointTrajectory

ROBOT_NAMES = ROBOTS.names
FOLDED = {
    "fr3": [0.0, -1.6, 0.0, -3.0, 0.0, 0.6, 0.8],
    "panda": [0.0, -1.6, 0.0, -3.0, 0.0, 0.5, 0.8],
    "ur10e": [-0.3, -1.7, 2.9, 1.4, -1.57, -1.9],
    "ur5e": [-0.3, -1.7, 2.9, 1.4, -1.57, -1.9],
}
"""Joints [rad] where an arm touches itself."""
ONION = np.array([0.20, -0.15])
RADIUS = 0.03
DOWN = np.diag([1.0, -1.0, -1.0])


def scene() -> Scene:
    objects = tuple(
        SceneObject(name, "onion", np.array([*xy, RADIUS]), RADIUS, {BLEMISHED: blemish}, OnionSorting.appearance)
        for name, xy, blemish in (("onion_0", ONION, 0.0), ("onion_1", [0.28, -0.02], 1.0))
    )
    return Scene(objects, OnionSorting().fixtures())


def approve(trajectory: JointTrajectory, robot: RobotModel, q: np.ndarray) -> ApprovedTrajectory:
    """Approved where nothing stands around: what the physics does with table and boxes is what is tested here."""
    return guard.approve(trajectory, robot, RobotState.at_rest(robot.joint_names, q), World(), SIMULATED)


def let_through(trajectory: JointTrajectory, robot: RobotModel) -> ApprovedTrajectory:
    """A trajectory that the guard refuses, for what the physics then reports: the only way is its private token."""
    motion = motion_through(trajectory.t, trajectory.q, trajectory.qd)
    return ApprovedTrajectory(trajectory, robot, motion, 0.0, World(), SIMULATED, 0, token=guard._TOKEN)


def solve_ik(robot: RobotModel, p_world: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Joints [rad] whose tool is at `p_world` [m] pointing down: plain damped least squares, from `q`."""
    model = robot.pinocchio()
    data, frame = model.createData(), robot.frame_id(robot.tcp_frame)
    T_base_tcp = se3.inverse(np.array(robot.T_world_base)) @ se3.transform(DOWN, p_world)
    goal = pin.SE3(T_base_tcp)
    for _ in range(200):
        pin.framesForwardKinematics(model, data, q)
        error = pin.log(data.oMf[frame].actInv(goal)).vector
        if np.linalg.norm(error) < 1e-5:
            return q
        J = pin.computeFrameJacobian(model, data, q, frame, pin.LOCAL)
        q = q + J.T @ np.linalg.solve(J @ J.T + 1e-6 * np.eye(6), error)
    raise AssertionError(f"{robot.name} does not reach {p_world}")


def pick_and_place(robot: RobotModel, closing: bool) -> JointTrajectory:
    """Down to the onion, close, up, over the bin, open: straight joint lines with rests between them."""
    bin_x, bin_y = OnionSorting().bin_unblemished
    closed = 0.0 if closing else robot.max_opening
    wide = robot.max_opening
    # x, y, z of the tool [m], opening [m], time to get there [s]
    steps = [
        (*ONION, 0.15, wide, 0.5), (*ONION, 0.028, wide, 1.2), (*ONION, 0.028, closed, 0.8),
        (*ONION, 0.25, closed, 1.2),
        (bin_x, bin_y, 0.25, closed, 1.5), (bin_x, bin_y, 0.12, closed, 0.8), (bin_x, bin_y, 0.12, wide, 0.6),
        (bin_x, bin_y, 0.25, wide, 0.8),
    ]  # fmt: skip
    q = solve_ik(robot, np.array([*ONION, 0.15]), np.array(robot.home))
    rows_q, rows_qd, opening = [q], [np.zeros_like(q)], [wide]
    dt = 0.01
    for x, y, z, target, duration in steps:
        goal, start, n = solve_ik(robot, np.array([x, y, z]), q), q, round(duration / dt)
        for k in range(1, n + 1):
            s = k / n
            rows_q.append(start + (10 * s**3 - 15 * s**4 + 6 * s**5) * (goal - start))
            rows_qd.append((30 * s**2 - 60 * s**3 + 30 * s**4) * (goal - start) / duration)
            opening.append(target)
        q = goal
    t = np.arange(len(rows_q)) * dt
    return JointTrajectory(robot.joint_names, t, np.array(rows_q), np.array(rows_qd), np.array(opening))


def straight(robot: RobotModel, goal: np.ndarray, duration: float) -> JointTrajectory:
    """From home to `goal` [rad] in `duration` [s], at rest at both ends."""
    return rest_to_rest(robot, robot.home, goal, duration, 100.0 / duration, opening=0.04)


def run(name: str, closing: bool = True, seed: int = 0, **where: float) -> tuple[ExecutionReport, dict[str, bool]]:
    robot = load_robot(name)
    executor = MujocoExecutor(scene(), robot, seed=seed)
    trajectory = pick_and_place(robot, closing)
    report = executor.execute(approve(trajectory, robot, trajectory.q[0]))
    return report, OnionSorting().succeeded(scene(), report.details["outcome"])


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_a_scripted_motion_sorts_an_onion_by_friction(name: str, seed: int) -> None:
    report, success = run(name, seed=seed)
    assert report.outcome == "executed"
    assert success["onion_0"], report.details["outcome"]
    assert (
        np.linalg.norm(report.details["outcome"].Ts_world["onion_1"][:2, 3] - [0.28, -0.02]) < 0.01
    )  # untouched: 2 mm and rolling
    assert 20.0 < report.details["grip_peak"] <= load_robot(name).grip_force + 1e-9
    assert report.tracking_rms < 0.005  # drives are stiff and led by the planned speed
    assert report.details["collisions"] == ()
    assert (report.details["effort_peak"] <= 1.0 + 1e-6).all()  # the simulated motors respect their torque limits


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_an_open_gripper_lifts_nothing(name: str) -> None:
    report, success = run(name, closing=False)
    assert not success["onion_0"]
    assert np.linalg.norm(report.details["outcome"].Ts_world["onion_0"][:2, 3] - ONION) < 0.03  # pushed at most a little


def test_the_seed_moves_the_real_onions_and_its_absence_does_not() -> None:
    robot = load_robot("panda")
    still = Randomisation(mass=0.0, friction=0.0, position=0.0, start=0.0)
    exact = MujocoExecutor(scene(), robot, randomise=still).outcome().Ts_world["onion_0"][:3, 3]
    np.testing.assert_allclose(exact, [*ONION, RADIUS], atol=1e-12)
    places = [MujocoExecutor(scene(), robot, seed=s).outcome().Ts_world["onion_0"][:3, 3] for s in (1, 1, 2)]
    np.testing.assert_array_equal(places[0], places[1])
    assert not np.allclose(places[0], places[2], atol=1e-5)
    assert np.abs(np.array(places) - exact).max() <= 0.002


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_a_motion_into_the_table_is_reported(name: str) -> None:
    robot = load_robot(name)
    below = solve_ik(robot, np.array([0.35, -0.25, -0.05]), np.array(robot.home))
    trajectory = straight(robot, below, 3.0)
    report = MujocoExecutor(scene(), robot).execute(approve(trajectory, robot, robot.home))
    assert any("table" in pair and "finger" in "".join(pair) for pair in report.details["collisions"])
    assert report.details["tracking_peak"] > 0.01  # the table is really in the way


@pytest.mark.parametrize("name", ROBOT_NAMES)
def test_an_arm_that_hits_itself_is_reported(name: str) -> None:
    robot = load_robot(name)
    trajectory = straight(robot, np.array(FOLDED[name]), 5.0)
    with pytest.raises(RefusedTrajectory, match=r"distance to .* is below"):
        approve(trajectory, robot, robot.home)
    report = MujocoExecutor(scene(), robot).execute(let_through(trajectory, robot))
    assert report.details["collisions"], "the arm folds onto itself and nothing noticed"
    assert (report.details["effort_peak"] <= 1.0 + 1e-6).all()


def test_an_executor_goes_on_from_where_it_stands_and_only_from_there() -> None:
    panda, ur5e = load_robot("panda"), load_robot("ur5e")
    executor = MujocoExecutor(scene(), panda)
    away = straight(panda, panda.home + 0.2, 1.5)
    with pytest.raises(RefusedTrajectory, match="approved for 'ur5e', this cell has 'panda'"):
        executor.execute(approve(straight(ur5e, ur5e.home + 0.1, 2.0), ur5e, ur5e.home))
    executor.execute(approve(away, panda, executor.q))
    np.testing.assert_allclose(executor.q, panda.home + 0.2, atol=2e-3)  # [rad] drives at rest
    with pytest.raises(RefusedTrajectory, match=r"0\.2 rad from the start, at most 0\.05 rad"):
        executor.execute(approve(away, panda, panda.home))


def test_the_same_seed_gives_the_same_physics() -> None:
    reports = [run("panda", seed=5)[0] for _ in range(2)]
    np.testing.assert_array_equal(reports[0].q_measured, reports[1].q_measured)


def test_frames_come_at_the_asked_rate() -> None:
    robot = load_robot("ur5e")
    times: list[float] = []
    trajectory = straight(robot, robot.home + 0.1, 1.0)
    MujocoExecutor(scene(), robot).execute(approve(trajectory, robot, robot.home), on_frame=times.append, fps=20.0)
    np.testing.assert_allclose(times, np.arange(21) / 20.0, atol=0.002 + 1e-9)  # one step of the physics
    with pytest.raises(InvalidInput, match="fps must be above 0"):
        MujocoExecutor(scene(), robot).execute(approve(trajectory, robot, robot.home), fps=0.0)


@pytest.mark.parametrize("camera", ["front", "side"])
def test_pictures_show_the_cell(camera: str) -> None:
    executor = MujocoExecutor(scene(), load_robot("ur5e"))
    try:
        picture = executor.render(camera, 320, 240)
    except MissingDependency as error:
        pytest.skip(str(error))
    assert picture.shape == (240, 320, 3) and picture.dtype == np.uint8
    green = (picture[..., 1] > 1.5 * picture[..., 0]) & (picture[..., 1] > 1.5 * picture[..., 2])
    assert green.sum() > 200  # the green bin [px]
    with pytest.raises(InvalidInput, match="unknown camera 'top'; known: front, side"):
        executor.render("top")
    with pytest.raises(InvalidInput, match="outside 1 x 1"):
        executor.render(camera, 5000, 10)
    executor.close()


@pytest.mark.parametrize("backend", ["egl", "osmesa", "disable"])
def test_without_opengl_physics_runs_and_pictures_say_what_to_install(backend: str) -> None:
    """A fresh interpreter whose EGL finds no driver, whose OSMesa may be absent, or whose rendering is off."""
    code = (
        "import numpy as np\n"
        "from visual_irl.errors import MissingDependency\n"
        "from visual_irl.execution.guard import approve\n"
        "from visual_irl.execution.state import RobotState\n"
        "from visual_irl.robots.obstacles import World\n"
        "from visual_irl.execution.mujoco_executor import MujocoExecutor\n"
        "from visual_irl.robots import load_robot\n"
        "from visual_irl.tasks.onion_sorting import OnionSorting\n"
        "from visual_irl.types import JointTrajectory\n"
        "robot = load_robot('panda')\n"
        "still = np.tile(robot.home, (3, 1))\n"
        "t = JointTrajectory(robot.joint_names, np.array([0.0, 0.1, 0.2]), still, 0 * still, np.zeros(3))\n"
        "cell = MujocoExecutor(OnionSorting().sample_scene(np.random.default_rng(0), 2), robot)\n"
        "print(cell.execute(approve(t, robot, RobotState.at_rest(robot.joint_names, robot.home), World())).outcome)\n"
        "try:\n    cell.render()\nexcept MissingDependency as error:\n    print(error)\n"
    )
    environment = dict(os.environ, MUJOCO_GL=backend, __EGL_VENDOR_LIBRARY_DIRS="/nonexistent")
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("executed\n")
    if backend != "osmesa":  # a machine may have OSMesa, and then the picture is simply made
        assert "apt-get install -y libegl1 libgl1-mesa-dri" in done.stdout and "MUJOCO_GL=egl" in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere MuJoCo draws with the system's own library")
@pytest.mark.parametrize("first", ["visual_irl.mujoco_engine", "visual_irl.perception.cameras.synthetic_camera"])
def test_pictures_need_no_display(first: str) -> None:
    code = (
        f"import {first}\n"
        "from visual_irl.mujoco_engine import mujoco, renderer\n"
        "print(renderer(mujoco.MjModel.from_xml_string('<mujoco/>'), 8, 8).render().shape)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout == "(8, 8, 3)\n", done.stderr
