"""Kinematics of the arms against independent libraries and MuJoCo; limits against what the makers publish."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import frankik
import numpy as np
import pinocchio as pin
import pytest

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingFile, UnknownName, UnreadableFile
from visual_irl.execution.mjcf import export_path, export_text, robot_spec
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.model import JointPair, RobotModel

POSES = 1000
MICRO = 1e-6  # [m] and [1]: the libraries carry the same constants, only rounding is left


@pytest.fixture(params=ROBOTS.names)
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def random_poses(robot: RobotModel, count: int = POSES) -> np.ndarray:
    return np.random.default_rng(7).uniform(robot.lower, robot.upper, (count, len(robot.joint_names)))


@pytest.mark.parametrize("name", ["panda", "fr3"])
def test_franka_tool_equals_frankik(name: str) -> None:
    robot = load_robot(name)
    # frankik's fk ends at the Franka Hand's tool frame (hand turned by -45 degrees, 103.4 mm beyond the flange)
    for q in random_poses(robot):
        np.testing.assert_allclose(robot.fk(q), frankik.fk(q), atol=MICRO)


@pytest.mark.parametrize("name", ["ur5e", "ur10e"])
def test_ur_flange_equals_ur_analytic_ik(name: str) -> None:
    analytic = getattr(pytest.importorskip("ur_analytic_ik", reason="has no wheel for this Python"), name)
    robot = load_robot(name)
    T_base_dh = np.diag([-1.0, -1.0, 1.0, 1.0])  # the maker's Denavit-Hartenberg base is turned by half a turn
    for q in random_poses(robot):
        np.testing.assert_allclose(robot.fk(q, "tool0"), T_base_dh @ analytic.forward_kinematics(*q), atol=MICRO)


def test_mujoco_and_pinocchio_agree_on_every_link(robot: RobotModel) -> None:
    model = robot_spec(robot).compile()
    data = mujoco.MjData(model)
    address = [model.joint(name).qposadr[0] for name in robot.joint_names]
    frames = (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame, robot.tcp_frame)
    for q in random_poses(robot, 50):
        data.qpos[address] = q
        mujoco.mj_kinematics(model, data)
        for frame in frames:
            body = data.body(frame)
            T = se3.transform(body.xmat.reshape(3, 3), body.xpos)
            np.testing.assert_allclose(robot.fk(q, frame), T, atol=MICRO)


def test_mujoco_and_pinocchio_agree_on_weight(robot: RobotModel) -> None:
    """Gravity torques depend on every mass and centre of mass."""
    model = robot_spec(robot).compile()
    model.body_gravcomp[:] = 0.0
    data = mujoco.MjData(model)
    address = [model.joint(name).qposadr[0] for name in robot.joint_names]
    dofs = [model.joint(name).dofadr[0] for name in robot.joint_names]
    arm = robot.pinocchio()
    for q in random_poses(robot, 20):
        data.qpos[address] = q
        mujoco.mj_forward(model, data)
        gravity = pin.computeGeneralizedGravity(arm, arm.createData(), q)
        np.testing.assert_allclose(data.qfrc_bias[dofs], gravity, atol=1e-6)  # [Nm] rounding; URDF numbers are equal


def test_limits_are_those_that_the_makers_publish() -> None:
    panda, fr3, ur5e, ur10e = (load_robot(name) for name in ("panda", "fr3", "ur5e", "ur10e"))
    np.testing.assert_array_equal(panda.lower, frankik.q_min_panda)
    np.testing.assert_array_equal(panda.upper, frankik.q_max_panda)
    np.testing.assert_array_equal(panda.velocity, [2.175] * 4 + [2.61] * 3)
    np.testing.assert_array_equal(panda.effort, [87.0] * 4 + [12.0] * 3)
    np.testing.assert_array_equal(fr3.lower, [-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159])
    np.testing.assert_array_equal(fr3.upper, [2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159])
    np.testing.assert_array_equal(fr3.velocity, [2.62] * 4 + [5.26, 4.18, 5.26])
    np.testing.assert_array_equal(fr3.effort, panda.effort)
    for ur in (ur5e, ur10e):
        np.testing.assert_allclose(ur.upper, 2 * np.pi * np.array([1, 1, 0.5, 1, 1, 1]))
        np.testing.assert_allclose(ur.lower, -ur.upper)
    np.testing.assert_allclose(ur5e.velocity, np.pi)
    np.testing.assert_allclose(ur10e.velocity, np.radians([120, 120, 180, 180, 180, 180]))
    np.testing.assert_array_equal(ur5e.effort, [150.0] * 3 + [28.0] * 3)
    np.testing.assert_array_equal(ur10e.effort, [330.0] * 2 + [150.0] + [56.0] * 3)
    assert [robot.max_opening for robot in (panda, fr3, ur5e, ur10e)] == [0.08, 0.08, 0.085, 0.085]


def test_home_is_inside_the_limits_with_the_tool_down_over_the_table(robot: RobotModel) -> None:
    assert (robot.home > robot.lower).all() and (robot.home < robot.upper).all()
    T = robot.T_world_base @ robot.fk(robot.home)
    np.testing.assert_allclose(T[:3, 2], [0.0, 0.0, -1.0], atol=0.01)  # within half a degree: home is rounded
    assert T[0, 3] > 0.0 and 0.2 < T[2, 3] < 0.5


def test_fingers_close_across_the_tools_y_and_meet_at_the_tool(robot: RobotModel) -> None:
    model = robot_spec(robot).compile()
    data = mujoco.MjData(model)
    for opening in (0.0, robot.max_opening):
        for name in robot.finger_joints:
            data.qpos[model.joint(name).qposadr[0]] = opening / 2
        mujoco.mj_kinematics(model, data)
        R, p = data.body("tcp").xmat.reshape(3, 3), data.body("tcp").xpos
        pads = [i for i in range(model.ngeom) if model.geom(i).name.endswith("_pad")]
        assert len(pads) == 2
        for i in pads:
            x, y, z = R.T @ (data.geom_xpos[i] - p)
            assert abs(x) < 1e-9 and abs(z) < 1e-9  # pads are centred on the tool
            assert abs(abs(y) - model.geom_size[i, 1] - opening / 2) < 1e-9  # opening is the gap between the pads


def test_arrays_cannot_be_written(robot: RobotModel) -> None:
    for array in (robot.lower, robot.home, robot.T_world_base, robot.effort):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_robots_are_built_once_and_the_arm_alone(robot: RobotModel) -> None:
    assert load_robot(robot.name) is robot
    assert robot.pinocchio() is robot.pinocchio()
    assert tuple(robot.pinocchio().names[1:]) == robot.joint_names


def test_bad_names_and_shapes_are_explained(robot: RobotModel) -> None:
    with pytest.raises(UnknownName, match=r"unknown robot 'kuka'; known: fr3, panda, ur10e, ur5e"):
        load_robot("kuka")
    with pytest.raises(UnknownName, match=r"no link 'nose'; it has: .*tcp"):
        robot.fk(robot.home, "nose")
    with pytest.raises(InvalidInput, match=r"joints, got angles of shape \(3,\)"):
        robot.fk(np.zeros(3))
    with pytest.raises(MissingFile, match=r"urdf/none.urdf"):
        asset_path("urdf/none.urdf")


def test_a_wrong_description_is_refused(tmp_path: Path) -> None:
    panda = load_robot("panda")
    values = {f.name: getattr(panda, f.name) for f in dataclasses.fields(panda) if f.init}
    with pytest.raises(InvalidInput, match=r"acceleration .* expected 7 finite numbers"):
        RobotModel(**values | {"acceleration": np.full(7, np.nan)})
    with pytest.raises(InvalidInput, match="pair panda_joint1 ~ nose must join"):
        RobotModel(**values | {"correspondence": (JointPair("panda_joint1", "nose", 1.0, 0.0),)})
    with pytest.raises(UnknownName, match="no joint 'thumb'"):
        RobotModel(**values | {"finger_joints": ("thumb", "panda_finger_joint2")})
    broken = tmp_path / "broken.urdf"
    broken.write_text("<robot")
    with pytest.raises(UnreadableFile, match=r"broken.urdf is not a robot description"):
        RobotModel(**values | {"urdf_path": broken})


def test_the_exported_mjcf_is_current(robot: RobotModel) -> None:
    """Compared as compiled models, so that another MuJoCo may write its numbers differently."""
    saved = mujoco.MjModel.from_xml_path(str(export_path(robot)))
    fresh = mujoco.MjModel.from_xml_string(export_text(robot))
    for name in ("body_mass", "body_pos", "body_quat", "jnt_range", "geom_size", "geom_pos", "geom_rgba",
                 "geom_friction", "actuator_gainprm", "actuator_forcerange", "eq_solref"):  # fmt: skip
        np.testing.assert_allclose(
            getattr(saved, name), getattr(fresh, name), atol=1e-6,  # six digits are written
            err_msg=f"{name}: run python -m visual_irl.execution.mjcf",
        )  # fmt: skip
    assert [saved.body(i).name for i in range(saved.nbody)] == [fresh.body(i).name for i in range(fresh.nbody)]
