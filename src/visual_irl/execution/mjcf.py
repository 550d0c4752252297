"""The robot as MuJoCo sees it, derived from its URDF: drives, gravity compensation, finger pads.

`python -m visual_irl.execution.mjcf` writes `urdf/<robot>.mjcf.xml` beside each URDF, for other tools.
"""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

from visual_irl.errors import UnreadableFile
from visual_irl.io.atomic import atomic_path
from visual_irl.mujoco_engine import mujoco
from visual_irl.robots import ROBOTS, load_robot
from visual_irl.robots.model import RobotModel

TIMESTEP = 0.002
"""Step of the physics [s]; friction grasps need it this small."""

ARMATURE = 0.1
"""Inertia of a geared motor seen at its joint [kg m^2], and mass of a finger's drive [kg]."""

LARGE_JOINT = 50.0
"""Joints with a torque limit above this are shoulder and elbow joints [Nm]."""

STIFFNESS = {"large": 4500.0, "small": 2000.0}
"""Position gain of a drive [Nm/rad]; values of MuJoCo Menagerie's Panda."""

DAMPING_RATIO = 0.1
"""Speed gain over position gain [s]."""

GRIP_STIFFNESS = 4000.0
"""Position gain of the gripper [N/m]: full force when the fingers are 10 mm from where they should be."""

GRIP_DAMPING = 60.0
"""Speed gain of the gripper [Ns/m]: slightly overdamped with the fingers' mass."""

VISUAL_GROUP, COLLISION_GROUP = 1, 3
"""Geometry groups; MuJoCo draws 0 to 2."""

ROBOT_BIT, WORLD_BIT = 1, 2
"""Collision bits of the robot and of the world with its objects; everything meets everything."""

NEIGHBOURS = 2
"""Links with at most this many joints between them never collide: their simplified shapes overlap, the arm's do not."""

GRIPPER = "gripper"
"""Name of the gripper's drive and of the tendon whose length is the opening [m]."""


def robot_spec(robot: RobotModel) -> mujoco.MjSpec:
    """An editable model of the arm and gripper alone, with position drives named like the joints and one `GRIPPER`.

    Raises:
        UnreadableFile: MuJoCo rejects the URDF.
    """
    text = robot.urdf_path.read_text()
    head, opening, rest = text.partition(f'<robot name="{robot.name}">')
    settings = '<mujoco><compiler fusestatic="false" discardvisual="false"/></mujoco>'
    try:
        spec = mujoco.MjSpec.from_string(head + opening + settings + rest)
    except ValueError as error:
        raise UnreadableFile(f"MuJoCo cannot read {robot.urdf_path}: {error}") from error
    set_physics(spec)
    for body in spec.bodies:
        body.gravcomp = float(body.name != "world")
        for geom in body.geoms:
            _set_geometry(geom)
    _exclude_neighbours(spec)
    _add_drives(spec, robot)
    spec.body(robot.tcp_frame).add_site(name=robot.tcp_frame, size=[0.003] * 3, group=4)
    return spec


def set_physics(spec: mujoco.MjSpec) -> None:
    """Solver settings under which friction grasps hold; attaching does not bring them, so the parent needs them too."""
    spec.option.timestep = TIMESTEP
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
    spec.option.impratio = 10.0


def _set_geometry(geom: mujoco.MjsGeom) -> None:
    if geom.contype == 0:
        geom.group = VISUAL_GROUP
        return
    geom.group = COLLISION_GROUP
    geom.contype, geom.conaffinity = ROBOT_BIT, ROBOT_BIT | WORLD_BIT
    if geom.name.endswith("_pad"):
        geom.condim = 6
        geom.friction = [0.7, 0.01, 0.002]
        geom.solref = [0.004, 1.0]
        geom.solimp = [0.95, 0.99, 0.001, 0.5, 2.0]


def _exclude_neighbours(spec: mujoco.MjSpec) -> None:
    """No contacts between links that are joined or nearly joined."""
    joints_above: dict[str, set[str]] = {"world": set()}
    for body in spec.bodies:  # parents come before their children
        if body.name != "world":
            joints_above[body.name] = joints_above[body.parent.name] | {joint.name for joint in body.joints}
    touching = [body.name for body in spec.bodies if any(geom.contype for geom in body.geoms)]
    for first, second in combinations(touching, 2):
        if len(joints_above[first] ^ joints_above[second]) <= NEIGHBOURS:  # the joints on the way between them
            spec.add_exclude(bodyname1=first, bodyname2=second)


def _add_drives(spec: mujoco.MjSpec, robot: RobotModel) -> None:
    for name, effort in zip(robot.joint_names, robot.effort, strict=True):
        joint = spec.joint(name)
        joint.armature = ARMATURE
        joint.actgravcomp = True  # holding the arm's own weight counts towards the torque limit
        stiffness = STIFFNESS["large" if effort > LARGE_JOINT else "small"]
        _add_position_drive(spec, name, mujoco.mjtTrn.mjTRN_JOINT, stiffness, DAMPING_RATIO * stiffness, float(effort))
    tendon = spec.add_tendon(name=GRIPPER)
    for name in robot.finger_joints:
        spec.joint(name).armature = ARMATURE
        tendon.wrap_joint(name, 1.0)
    _add_position_drive(spec, GRIPPER, mujoco.mjtTrn.mjTRN_TENDON, GRIP_STIFFNESS, GRIP_DAMPING, robot.grip_force)
    for equality in spec.equalities:  # the URDF's mimic: both fingers are on one drive
        equality.solref = [0.005, 1.0]


def _add_position_drive(
    spec: mujoco.MjSpec, name: str, transmission: mujoco.mjtTrn, stiffness: float, damping: float, force: float
) -> None:
    spec.add_actuator(
        name=name,
        target=name,
        trntype=transmission,
        gaintype=mujoco.mjtGain.mjGAIN_FIXED,
        biastype=mujoco.mjtBias.mjBIAS_AFFINE,
        gainprm=[stiffness, *[0.0] * 9],
        biasprm=[0.0, -stiffness, -damping, *[0.0] * 7],
        forcelimited=True,
        forcerange=[-force, force],
    )


def export_path(robot: RobotModel) -> Path:
    """Where the exported MJCF of a robot lies: beside its URDF."""
    return robot.urdf_path.with_suffix(".mjcf.xml")


def export_text(robot: RobotModel) -> str:
    """The MJCF of a robot, with a line that says where it comes from."""
    spec = robot_spec(robot)
    spec.compile()
    return (
        f"<!-- Written by `python -m visual_irl.execution.mjcf` from {robot.urdf_path.name}: edit that, not this. -->\n"
        + spec.to_xml()
    )


if __name__ == "__main__":
    for robot_name in ROBOTS.names:
        model = load_robot(robot_name)
        with atomic_path(export_path(model)) as partial:
            partial.write_text(export_text(model))
        print(f"wrote {export_path(model)}")
