"""The cells of `urdf/`: whoever reads a URDF (robot_state_publisher with urdfdom, as Pinocchio here), MuJoCo and the library
place every link alike, and the table and the mount are those that motions are planned with."""

from __future__ import annotations

import numpy as np
import pinocchio as pin
import pytest
import xacro

from visual_irl import se3
from visual_irl.assets import asset_path
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.execution.world import PREFIX
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings

MICRO = 1e-6  # [m] and [1]: the same numbers, only rounding is left
KEEP = '<mujoco><compiler fusestatic="false" discardvisual="false"/></mujoco></robot>'


@pytest.fixture(params=ROBOTS.names)
def robot(request: pytest.FixtureRequest) -> RobotModel:
    return load_robot(request.param)


def expanded(**arguments: str) -> str:
    return xacro.process_file(str(asset_path("urdf/cell.urdf.xacro")), mappings=arguments).toxml()


def body(model: mujoco.MjModel, data: mujoco.MjData, name: str) -> np.ndarray:
    found = data.body(name)
    return se3.transform(found.xmat.reshape(3, 3), found.xpos)


def test_a_cell_is_the_same_to_ros_to_mujoco_and_to_the_library(robot: RobotModel) -> None:
    text = expanded(robot=robot.name)
    urdf = pin.buildModelFromXML(text)
    ros = urdf.createData()
    cell = mujoco.MjModel.from_xml_string(text.replace("</robot>", KEEP))
    own = mujoco.MjData(cell)
    scene = MujocoArm(robot, robot.home, Scene((), ()))  # what `run` and `evaluate` move
    links = {frame.name for frame in urdf.frames if frame.type == pin.FrameType.BODY} - {"universe", "world"}
    assert {"table", robot.tcp_frame} < links
    for angles in np.random.default_rng(3).uniform(robot.lower, robot.upper, (20, len(robot.joint_names))):
        q = pin.neutral(urdf)
        for name, angle in zip(robot.joint_names, angles, strict=True):
            q[urdf.joints[urdf.getJointId(name)].idx_q] = angle
            own.qpos[cell.joint(name).qposadr[0]] = angle
            scene.data.qpos[scene.model.joint(PREFIX + name).qposadr[0]] = angle
        pin.framesForwardKinematics(urdf, ros, q)
        mujoco.mj_kinematics(cell, own)
        mujoco.mj_kinematics(scene.model, scene.data)
        for link in links:
            T_world_link = ros.oMf[urdf.getFrameId(link)].homogeneous
            np.testing.assert_allclose(body(cell, own, link), T_world_link, atol=MICRO)
            if link != "table":
                np.testing.assert_allclose(robot.T_world_base @ robot.fk(angles, link), T_world_link, atol=MICRO)
                np.testing.assert_allclose(body(scene.model, scene.data, PREFIX + link), T_world_link, atol=MICRO)


def test_a_cell_has_the_table_that_motions_avoid(robot: RobotModel) -> None:
    urdf = pin.buildModelFromXML(expanded(robot=robot.name))
    shapes = pin.buildGeomFromUrdfString(urdf, expanded(robot=robot.name), pin.GeometryType.COLLISION)
    told = next(shape for shape in shapes.geometryObjects if shape.name.startswith("table"))
    avoided = next(o for o in surroundings(Scene((), ()), robot.T_world_base).obstacles if o.name == "table")
    np.testing.assert_allclose(told.placement.homogeneous, avoided.T_world, atol=MICRO)
    np.testing.assert_allclose(told.geometry.halfSide, avoided.size, atol=MICRO)


def test_an_arm_can_be_mounted_elsewhere() -> None:
    robot = load_robot("ur5e")
    urdf = pin.buildModelFromXML(expanded(robot="ur5e", mount_xyz="0.1 0.2 0.3", mount_rpy="0 0 1.5707963267948966"))
    data = urdf.createData()
    pin.framesForwardKinematics(urdf, data, pin.neutral(urdf))
    T_world_base = np.array([[0.0, -1.0, 0.0, 0.1], [1.0, 0.0, 0.0, 0.2], [0.0, 0.0, 1.0, 0.3], [0.0, 0.0, 0.0, 1.0]])
    np.testing.assert_allclose(data.oMf[urdf.getFrameId("base_link")].homogeneous, T_world_base, atol=MICRO)
    assert robot.tcp_frame in {frame.name for frame in urdf.frames}
