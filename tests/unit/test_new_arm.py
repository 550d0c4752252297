"""A new arm is one file and a URDF: a seventh-axis arm that no solver here knows, through placement, mapping and timing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from visual_irl.mapping.offline import OfflineConfig, limb_errors, map_offline
from visual_irl.mapping.online import OnlineConfig, OnlineMapper, Status
from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots.model import JointPair, RobotModel

LENGTHS = (0.30, 0.0, 0.38, 0.0, 0.34, 0.0, 0.12)
"""Of the links that joints 1 to 7 stand on [m]."""
AXES = ("0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1", "0 1 0", "0 0 1")


def description() -> str:
    """An arm that stands upright at angle zero: turning and bending joints in turn, as on a KUKA iiwa or an xArm7."""
    links = ['<link name="base"/>']
    for i, (length, axis) in enumerate(zip(LENGTHS, AXES, strict=True), start=1):
        turn = 3.0 if axis == "0 0 1" else 2.2
        shape = (
            '<collision><origin xyz="0 0 0"/><geometry><sphere radius="0.05"/></geometry></collision>'
            '<inertial><mass value="1"/><inertia ixx="0.01" ixy="0" ixz="0" iyy="0.01" iyz="0" izz="0.01"/></inertial>'
        )
        links.append(
            f'<link name="link{i}">{shape}</link><joint name="joint{i}" type="revolute"><parent link="'
            f'{"base" if i == 1 else f"link{i - 1}"}"/><child link="link{i}"/><origin xyz="0 0 {length}"/><axis xyz="{axis}"/>'
            f'<limit lower="{-turn}" upper="{turn}" velocity="3" effort="100"/></joint>'
        )
    links.append('<link name="tcp"/><joint name="tool" type="fixed"><parent link="link7"/><child link="tcp"/>')
    links.append('<origin xyz="0 0 0.1"/></joint>')
    for side in ("left", "right"):
        links.append(
            f'<link name="{side}"/><joint name="finger_{side}" type="prismatic"><parent link="link7"/><child link="{side}"/>'
            '<axis xyz="0 1 0"/><limit lower="0" upper="0.04" velocity="0.1" effort="20"/></joint>'
        )
    return f'<robot name="upright">{"".join(links)}</robot>'


@pytest.fixture(scope="module")
def robot(tmp_path_factory: pytest.TempPathFactory) -> RobotModel:
    path = tmp_path_factory.mktemp("urdf") / "upright.urdf"
    path.write_text(description())
    return upright(path)


def upright(path: Path) -> RobotModel:
    """What the file of a new arm holds."""
    return RobotModel(
        name="upright",
        urdf_path=path,
        joint_names=tuple(f"joint{i}" for i in range(1, 8)),
        finger_joints=("finger_left", "finger_right"),
        acceleration=np.full(7, 10.0),
        jerk=np.full(7, 500.0),
        home=np.array([0.0, 0.5, 0.0, 1.4, 0.0, 1.2, 0.0]),
        T_world_base=np.eye(4),
        shoulder_frame="link2",
        elbow_frame="link4",
        wrist_frame="link6",
        grip_force=20.0,
        correspondence=(
            JointPair("joint1", "shoulder_plane", 1.0, -np.pi / 2),
            JointPair("joint2", "shoulder_elevation", 1.0, 0.0),
            JointPair("joint3", "shoulder_rotation", 1.0, 0.0),
            JointPair("joint4", "elbow_flexion", 1.0, 0.0),
            JointPair("joint5", "forearm_rotation", 1.0, 0.0),
            JointPair("joint6", "wrist_flexion", 1.0, 0.0),
        ),
    )


def swing(robot: RobotModel, frames: int = 60) -> ArmTargets:
    """A motion of the arm itself about home, with its own limbs: what it is to find again. The posture says nothing."""
    t = np.arange(frames) / 60.0
    q = robot.home + 0.3 * np.sin(1.5 * t[:, None] + np.arange(7)) - 0.3 * np.sin(np.arange(7))
    Ts = np.array([robot.fk(row) for row in q])
    points = np.array([[robot.fk(row, name)[:3, 3] for name in ("link2", "link4", "link6")] for row in q])
    upper, fore = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (np.diff(points, axis=1)[:, k] for k in range(2)))
    posture = np.tile(robot.home, (frames, 1))
    return ArmTargets(t, Ts[:, :3, :3], Ts[:, :3, 3], upper, fore, posture, np.zeros(frames, bool))


def test_its_hand_is_exact_its_path_steady_and_its_limbs_near_the_persons(robot: RobotModel) -> None:
    targets = swing(robot)
    path = map_offline(robot, targets, OfflineConfig())
    assert path.exact.all() and path.joined[1:].all()
    assert np.abs(np.diff(path.q, axis=0)).max() < 0.2
    assert (path.q >= robot.lower).all() and (path.q <= robot.upper).all()
    assert np.degrees(limb_errors(robot, targets, path.q)).mean() < 5.0, "limbs that the arm can have, it nearly has"


def test_live_it_follows_and_changes_its_branch(robot: RobotModel) -> None:
    """There, the hand turns until joint 7 is at its limit: only another of the solutions goes on."""
    mapper, targets = OnlineMapper(robot, OnlineConfig(speed_share=np.inf)), swing(robot)
    mapper.reset(mapper.best_start(targets.R[0], targets.p[0], targets.upper[0], targets.fore[0], targets.posture[0]))
    for k in range(len(targets.t)):
        assert mapper.step(targets.R[k], targets.p[k], targets.upper[k], targets.fore[k], True, 1 / 60) == Status.TRACKING
    T, changes = robot.fk(mapper.q), 0
    for k in range(300):
        c, s = np.cos(0.02 * k), np.sin(0.02 * k)
        before = mapper.q.copy()
        R = T[:3, :3] @ np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
        status = mapper.step(R, T[:3, 3], np.zeros(3), np.zeros(3), True, 1 / 60)
        assert status == Status.TRACKING and (mapper.q >= robot.lower).all() and (mapper.q <= robot.upper).all()
        changes += bool(np.abs(mapper.q - before).max() > 0.6)
    assert 1 <= changes <= 5
