"""Between ROS messages and the library's types: the only module that knows both. What is malformed raises InvalidInput.

ROS quaternions are scalar last, the library's scalar first; lost keypoints are NaN on both sides.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion
from numpy import ndarray
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory as JointTrajectoryMsg
from trajectory_msgs.msg import JointTrajectoryPoint
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import Fixture as FixtureMsg
from visual_irl_msgs.msg import Held as HeldMsg
from visual_irl_msgs.msg import HumanArm, Keypoints, ObjectList, RobotMotion
from visual_irl_msgs.msg import ObjectEstimate as ObjectMsg
from visual_irl_msgs.msg import SeenThing as SeenThingMsg

from visual_irl import covariance as cov
from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.execution.state import RobotState
from visual_irl.robots.carrying import Held
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Carried
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.tasks.scene import SeenThing
from visual_irl.types import (
    GRASPS,
    KEYPOINTS,
    SIDES,
    ExecutionReport,
    HandState,
    HumanArmTrajectory,
    JointTrajectory,
    KeypointFrame,
    ObjectEstimate,
)

_NAMES = list(KEYPOINTS)


def stamp_of_msg(time: Time | Duration) -> int:
    """Nanoseconds."""
    return int(time.sec) * 1_000_000_000 + int(time.nanosec)


def stamp_to_msg(stamp_ns: int) -> Time:
    """A stamp."""
    return Time(sec=int(stamp_ns // 1_000_000_000), nanosec=int(stamp_ns % 1_000_000_000))


def clock_to_msg(stamp_ns: int) -> Clock:
    """The simulation's time."""
    return Clock(clock=stamp_to_msg(stamp_ns))


def header(stamp_ns: int, frame: str) -> Header:
    """Stamp and frame."""
    return Header(stamp=stamp_to_msg(stamp_ns), frame_id=frame)


class Effort(NamedTuple):
    """What a picture's keypoints took."""

    waited: float = 0.0
    """From the picture's stamp until work on it began [s]."""
    inference: float = 0.0
    """Work on it [s]."""


def keypoints_to_msg(frame: KeypointFrame, frame_id: str, effort: Effort | None = None) -> Keypoints:
    """Keypoints with their covariances, and what the hands do."""
    effort, (grasps, apertures) = effort or Effort(), hands_to_fields(frame.hands)
    return Keypoints(
        header=header(frame.stamp_ns, frame_id), names=list(_NAMES), positions=_doubles(frame.p_world),
        covariances=_doubles(cov.packed(frame.covariance)), confidences=_doubles(frame.confidence), pixels=_doubles(frame.uv),
        waited=effort.waited, inference=effort.inference, grasps=list(grasps), apertures=list(apertures),
    )  # fmt: skip


def keypoints_of_msg(message: Keypoints) -> KeypointFrame:
    """The frame; keypoints in any order."""
    rows = [
        _rows(getattr(message, what), width, what)
        for what, width in (("positions", 3), ("covariances", 6), ("confidences", 1), ("pixels", 2))
    ]
    if message.names != _NAMES:
        order = _order(message.names)
        rows = [values[order] for values in rows]
    return sound_keypoints(stamp_of_msg(message.header.stamp), *rows, hands_of_fields(message.grasps, message.apertures))


def hands_to_fields(hands: Mapping[str, HandState]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Grasp and aperture [m] of the left and the right hand, as the message has them."""
    states = [hands.get(side) for side in SIDES]
    return (
        tuple(0 if state is None else 1 + GRASPS.index(state.grasp) for state in states),
        tuple(np.nan if state is None else float(state.aperture) for state in states),
    )


def hands_of_fields(grasps: Sequence[int], apertures: Sequence[float]) -> dict[str, HandState]:
    """What the hands do, those that nobody watches left out.

    Raises:
        InvalidInput: no such grasp, or no possible aperture.
    """
    hands = {}
    for side, grasp, aperture in zip(SIDES, grasps, apertures, strict=True):
        if grasp > len(GRASPS):
            raise InvalidInput(f"grasp of the {side} hand is {grasp}, must be at most {len(GRASPS)}")
        if grasp == Keypoints.NOT_WATCHED:
            continue
        if not (np.isnan(aperture) or 0.0 <= aperture <= 1.0):
            raise InvalidInput(f"aperture of the {side} hand is {aperture} m, must lie in [0, 1] or be NaN")
        hands[side] = HandState(float(aperture), GRASPS[grasp - 1])
    return hands


def sound_keypoints(
    stamp_ns: int, p: ndarray, covariance: ndarray, confidence: ndarray, uv: ndarray, hands: Mapping[str, HandState]
) -> KeypointFrame:
    """The frame of a message's numbers, ordered as `KEYPOINTS`: (K, 3) [m], (K, 6) [m^2], (K, 1) and (K, 2) [px].

    Raises:
        InvalidInput: a keypoint that claims to be seen has no possible place or covariance.
    """
    confidence = confidence[:, 0]
    if np.count_nonzero((confidence >= 0.0) & (confidence <= 1.0)) != len(confidence):
        raise InvalidInput(f"confidences reach from {confidence.min()} to {confidence.max()}, must lie in [0, 1]")
    seen = confidence > 0.0
    count = np.count_nonzero(seen)
    if count != len(p):
        p, covariance = np.where(seen[:, None], p, np.nan), np.where(seen[:, None], covariance, np.nan)
    sound = np.count_nonzero(np.abs(covariance) <= 1e4) == 6 * count and np.count_nonzero(cov.possible(covariance)) == count
    if np.count_nonzero(np.abs(p) <= 100.0) != 3 * count or not sound:
        raise InvalidInput(
            "a keypoint with confidence above 0 needs a position within 100 m and a covariance: symmetric, no direction "
            "negative, at most 1e4 m^2"
        )
    return KeypointFrame(stamp_ns, p, cov.unpacked(covariance), confidence, uv, hands=hands)


def _order(names: Sequence[str]) -> list[int]:
    """Where each keypoint of the library is among `names`."""
    if sorted(names) != sorted(KEYPOINTS):
        raise InvalidInput(f"{len(names)} keypoint names, expected each of the {len(KEYPOINTS)} names of KEYPOINTS once")
    place = {name: i for i, name in enumerate(names)}
    return [place[name] for name in KEYPOINTS]


def objects_to_msg(objects: Sequence[ObjectEstimate], stamp_ns: int, frame_id: str) -> ObjectList:
    """The objects of one picture."""
    return ObjectList(
        header=header(stamp_ns, frame_id),
        objects=[
            ObjectMsg(
                name=o.name, label=o.label, position=_point(o.p_world), radius=float(o.radius), confidence=float(o.confidence),
                attribute_names=list(o.attributes), attribute_values=[float(v) for v in o.attributes.values()],
            )
            for o in objects
        ],
    )  # fmt: skip


def objects_of_msg(message: ObjectList) -> tuple[ObjectEstimate, ...]:
    """The objects of one picture."""
    found = []
    for o in message.objects:
        attributes = _attributes(o)
        if not (0.0 < o.radius <= 10.0 and 0.0 <= o.confidence <= 1.0):
            raise InvalidInput(
                f"object '{o.name}': radius {o.radius} m must lie in (0, 10], confidence {o.confidence} in [0, 1]"
            )
        found.append(ObjectEstimate(o.name, o.label, _array(o.position), float(o.radius), float(o.confidence), attributes))
    return tuple(found)


def _attributes(message: Any) -> dict[str, float]:
    names, values = message.attribute_names, message.attribute_values
    if len(names) != len(values):
        raise InvalidInput(f"object '{message.name}' has {len(names)} attribute names, {len(values)} values")
    attributes = {n: float(v) for n, v in zip(names, values, strict=True)}
    if not all(0.0 <= v <= 1.0 for v in attributes.values()):
        raise InvalidInput(f"object '{message.name}': attributes {attributes} must lie in [0, 1]")
    return attributes


def pose_to_msg(T: ndarray) -> Pose:
    """A transform."""
    w, x, y, z = (float(v) for v in se3.quaternion_wxyz(np.asarray(T)[:3, :3]))
    return Pose(position=_point(np.asarray(T)[:3, 3]), orientation=Quaternion(x=x, y=y, z=z, w=w))


def pose_of_msg(pose: Pose) -> ndarray:
    """A transform; a quaternion whose length is not 1 is refused."""
    o, p = pose.orientation, _array(pose.position)
    q = np.array([o.w, o.x, o.y, o.z])
    if not abs(float(np.linalg.norm(q)) - 1.0) <= 1e-3 or not (np.abs(p) <= 100.0).all():
        raise InvalidInput(f"pose at {p.tolist()} with quaternion {q.tolist()}: within 100 m and of length 1 is needed")
    return np.asarray(se3.transform(se3.rotation_of_quaternion(q / np.linalg.norm(q)), p))


def arm_to_msgs(arm: HumanArmTrajectory, start_ns: int, frame_id: str) -> list[HumanArm]:
    """Every moment of an arm; `start_ns` is the stamp of t = 0."""
    return [
        HumanArm(
            header=header(start_ns + round(1e9 * arm.t[i]), frame_id), side=arm.side, shoulder=_point(arm.shoulder[i]),
            elbow=_point(arm.elbow[i]), wrist=_point(arm.wrist[i]), hand=pose_to_msg(arm.Ts_world_hand[i]), angles=arm.q[i],
            grip=float(arm.grip[i]), observed=bool(arm.observed[i]),
        )
        for i in range(len(arm.t))
    ]  # fmt: skip


def arm_of_msgs(messages: Sequence[HumanArm]) -> HumanArmTrajectory:
    """An arm from its moments; time begins at the first."""
    if len(messages) < 2:
        raise InvalidInput(f"an arm's motion needs two moments or more, got {len(messages)}")
    first = messages[0]
    if any((m.side, m.header.frame_id) != (first.side, first.header.frame_id) for m in messages):
        raise InvalidInput("the moments of an arm are of different sides or frames")
    grip = np.array([m.grip for m in messages])
    if not ((grip >= 0.0) & (grip <= 1.0)).all():
        raise InvalidInput("grip must lie in [0, 1]")
    begin = stamp_of_msg(first.header.stamp)
    t = np.array([1e-9 * (stamp_of_msg(m.header.stamp) - begin) for m in messages])
    points = [np.array([_array(getattr(m, name)) for m in messages]) for name in ("shoulder", "elbow", "wrist")]
    if not (np.abs(points) <= 100.0).all():
        raise InvalidInput("joint centres of an arm must lie within 100 m")
    hands = np.array([pose_of_msg(m.hand) for m in messages])
    angles, observed = np.array([m.angles for m in messages]), np.array([m.observed for m in messages])
    return HumanArmTrajectory(t, first.side, angles, *points, hands, observed, grip)


def motion_to_msg(motion: MappedMotion, skill: str, digest: str, stamp_ns: int) -> RobotMotion:
    """A motion with what it was made for, for the executor."""
    way = motion.trajectory
    points = [
        JointTrajectoryPoint(positions=q.tolist(), velocities=qd.tolist(), time_from_start=_duration(t))
        for t, q, qd in zip(way.t, way.q, way.qd, strict=True)
    ]
    return RobotMotion(
        header=header(stamp_ns, ""), robot=motion.robot.name, skill=skill, digest=digest, opening=way.opening.tolist(),
        trajectory=JointTrajectoryMsg(header=header(stamp_ns, ""), joint_names=list(way.joint_names), points=points),
        base=pose_to_msg(motion.T_world_base), task=motion.task,
        things=[_thing_to_msg(name, thing) for name, thing in motion.things.items()],
        fixtures=[FixtureMsg(name=name, pose=pose_to_msg(T)) for name, T in motion.fixtures.items()],
        held=[HeldMsg(name=h.carried.name, begin=h.begin, end=h.end, radius=h.carried.radius) for h in motion.held],
        approach=motion.approach,
    )  # fmt: skip


def motion_of_msg(message: RobotMotion, robot: RobotModel) -> MappedMotion:
    """A motion with what it was made for; what it means is the guard's to judge.

    Raises:
        InvalidInput: it is for another robot than `robot`, or cannot be.
    """
    if message.robot != robot.name:
        raise InvalidInput(f"the motion is for '{message.robot}', this cell has '{robot.name}': map it again")
    points, n = message.trajectory.points, len(message.trajectory.joint_names)
    if not 2 <= len(points) <= 100_000 or not 1 <= n <= 64 or len(message.opening) != len(points):
        raise InvalidInput(f"motion of {len(points)} points, {n} joints and {len(message.opening)} gripper openings")
    if any(len(p.positions) != n or len(p.velocities) != n for p in points):
        raise InvalidInput(f"every point of a motion needs {n} positions and velocities")
    t = np.array([1e-9 * stamp_of_msg(p.time_from_start) for p in points])
    q, qd = np.array([p.positions for p in points]), np.array([p.velocities for p in points])
    way = JointTrajectory(tuple(message.trajectory.joint_names), t, q, qd, np.array(message.opening))
    return MappedMotion(
        way, robot, pose_of_msg(message.base), message.task,
        {thing.name: _thing_of_msg(thing) for thing in message.things},
        {fixture.name: pose_of_msg(fixture.pose) for fixture in message.fixtures},
        tuple(Held(h.begin, h.end, Carried(h.name, h.radius)) for h in message.held), message.approach,
    )  # fmt: skip


def _thing_to_msg(name: str, thing: SeenThing) -> SeenThingMsg:
    return SeenThingMsg(
        name=name, pose=pose_to_msg(se3.transform(np.eye(3) if thing.R_world is None else thing.R_world, thing.p_world)),
        turned=thing.R_world is not None, radius=float(thing.radius), height=np.nan if thing.height is None else thing.height,
        attribute_names=list(thing.attributes), attribute_values=[float(v) for v in thing.attributes.values()],
    )  # fmt: skip


def _thing_of_msg(message: SeenThingMsg) -> SeenThing:
    T, attributes = pose_of_msg(message.pose), _attributes(message)
    if not (message.radius <= 10.0 and not message.height > 10.0):
        raise InvalidInput(f"'{message.name}': radius {message.radius} and height {message.height} m must be at most 10 m")
    height = None if np.isnan(message.height) else float(message.height)
    return SeenThing(T[:3, 3], float(message.radius), attributes, height, T[:3, :3] if message.turned else None)


_OUTCOMES = {
    "executed": RunSkill.Result.SUCCESS, "cancelled": RunSkill.Result.CANCELLED, "timed out": RunSkill.Result.TIMED_OUT,
    "fault": RunSkill.Result.FAULT,
}  # fmt: skip


def report_to_msg(report: ExecutionReport, why: str = "") -> RunSkill.Result:
    """What came of an execution; `why` says more about a stop."""
    text = "" if report.outcome == "executed" else f"{report.message}{why and ': '}{why}"
    positions = report.q_measured[-1].tolist() if len(report.q_measured) else []
    things = report.details.get("succeeded", {})
    return RunSkill.Result(
        error_code=_OUTCOMES[report.outcome], error_text=text, positions=positions, tracking_rms=float(report.tracking_rms),
        succeeded=sum(things.values()), of=len(things), grasps=report.details["grasps"],
    )  # fmt: skip


def said_of_result(name: str, result: RunSkill.Result) -> str:
    """A line about a motion that was executed."""
    things = f": {result.succeeded} of {result.of} things as they should be, by the physics" if result.of else ""
    return f"'{name}' was executed{things}"


def target_to_msg(joint_names: Sequence[str], q: ndarray, stamp_ns: int) -> JointTrajectoryMsg:
    """One live target, stamped as the picture that it answers."""
    point = JointTrajectoryPoint(positions=np.asarray(q, float).tolist())
    return JointTrajectoryMsg(header=header(stamp_ns, ""), joint_names=list(joint_names), points=[point])


def target_of_msg(message: JointTrajectoryMsg) -> tuple[tuple[str, ...], ndarray]:
    """Joint names and angles [rad] of a live target."""
    if len(message.points) != 1 or len(message.points[0].positions) != len(message.joint_names):
        raise InvalidInput(f"a live target has one point with a position for each joint, got {len(message.points)} points")
    q = np.array(message.points[0].positions, float)
    if not np.isfinite(q).all():
        raise InvalidInput(f"a live target must be finite, got {q.tolist()}")
    return tuple(message.joint_names), q


def state_to_msg(state: RobotState, stamp_ns: int) -> JointState:
    """Measured angles and speeds."""
    return JointState(
        header=header(stamp_ns, ""), name=list(state.joint_names), position=state.q.tolist(), velocity=state.qd.tolist()
    )


def state_of_msg(message: JointState) -> RobotState:
    """Measured angles and speeds; they must be finite."""
    n = len(message.name)
    if not 1 <= n <= 64 or len(message.position) != n or len(message.velocity) != n:
        raise InvalidInput(f"{n} joints with {len(message.position)} positions and {len(message.velocity)} velocities")
    q, qd = np.array(message.position), np.array(message.velocity)
    if not np.isfinite([q, qd]).all():
        raise InvalidInput("a joint state must be finite")
    return RobotState(tuple(message.name), stamp_of_msg(message.header.stamp), q, qd)


def _point(p: Any) -> Point:
    return Point(x=float(p[0]), y=float(p[1]), z=float(p[2]))


def _array(point: Point) -> ndarray:
    return np.array([point.x, point.y, point.z])


def _duration(t: float) -> Duration:
    nanoseconds = round(1e9 * float(t))
    return Duration(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


def _doubles(values: ndarray) -> array[float]:
    """The numbers as a message holds them: assigning a list would look at each of them twice."""
    return array("d", np.ascontiguousarray(values, float).tobytes())


def _rows(values: Any, width: int, what: str) -> ndarray:
    """(K, width) of a message's numbers, which are not copied."""
    if len(values) != len(KEYPOINTS) * width:
        raise InvalidInput(f"{len(values)} {what}, expected {len(KEYPOINTS) * width}")
    return np.frombuffer(values).reshape(len(KEYPOINTS), width)
