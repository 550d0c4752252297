"""Every conversion between ROS and the library is its own inverse, and malformed messages are refused by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rclpy.serialization import deserialize_message, serialize_message
from visual_irl_msgs.action import RunSkill
from visual_irl_msgs.msg import Keypoints
from visual_irl_ros import convert
from visual_irl_ros.wire import KeypointWire, effort_of, head_of

from visual_irl import covariance as cov
from visual_irl import se3
from visual_irl.errors import InvalidInput, VisualIrlError
from visual_irl.execution.state import RobotState
from visual_irl.mapping.prior_lessons import synthetic_arm
from visual_irl.robots import load_robot
from visual_irl.robots.carrying import Held
from visual_irl.robots.obstacles import Carried
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl.tasks.scene import SeenThing
from visual_irl.types import (
    GRASPS,
    KEYPOINTS,
    SIDES,
    ExecutionReport,
    HandState,
    JointTrajectory,
    KeypointFrame,
    ObjectEstimate,
)

K = len(KEYPOINTS)
stamps = st.integers(0, 2**31 * 10**9 - 1)
reals = st.floats(-50.0, 50.0)
apertures = st.one_of(st.just(float("nan")), st.floats(0.0, 1.0))
anything = st.floats(allow_nan=True, allow_infinity=True)
short_names = st.sampled_from(["onion_0", "bottle", "bin_bad", "cup"])
turns = arrays(float, 3, elements=st.floats(-3.0, 3.0)).map(se3.exp_so3)
poses = st.builds(se3.transform, turns, arrays(float, 3, elements=reals))
sizes = st.floats(1e-3, 10.0)
seen_things = st.builds(
    SeenThing, arrays(float, 3, elements=reals), sizes, st.dictionaries(short_names, st.floats(0.0, 1.0), max_size=2),
    st.none() | sizes, st.none() | turns,
)  # fmt: skip
UR5E = load_robot("ur5e")


@st.composite
def frame_parts(draw: st.DrawFn) -> tuple:
    confidence = draw(arrays(float, K, elements=st.floats(0.0, 1.0)))
    lost = (confidence == 0.0)[:, None]
    p, root = draw(arrays(float, (K, 3), elements=reals)), draw(arrays(float, (K, 3, 3), elements=st.floats(-9.0, 9.0)))
    covariance = cov.unpacked(cov.packed(root @ np.swapaxes(root, 1, 2)))  # symmetric to the last bit
    uv = draw(arrays(float, (K, 2), elements=anything))
    hands = {
        side: HandState(*draw(st.tuples(apertures, st.sampled_from(GRASPS)))) for side in draw(st.sets(st.sampled_from(SIDES)))
    }
    covariance = np.where(lost[..., None], np.nan, covariance)
    return (draw(stamps), np.where(lost, np.nan, p), covariance, confidence, uv, (), hands)


@settings(max_examples=50, deadline=None)
@given(frame_parts())
def test_keypoints(parts: tuple) -> None:
    frame = KeypointFrame(*parts)
    back = convert.keypoints_of_msg(convert.keypoints_to_msg(frame, "world"))
    same(back, frame)


def same(a: KeypointFrame, b: KeypointFrame) -> None:
    assert a.stamp_ns == b.stamp_ns
    for name in ("p_world", "covariance", "confidence", "uv"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    assert a.hands.keys() == b.hands.keys()
    for side, hand in a.hands.items():
        assert hand.grasp == b.hands[side].grasp
        np.testing.assert_equal(hand.aperture, b.hands[side].aperture)


@settings(max_examples=50, deadline=None)
@given(frame_parts(), st.sampled_from(["world", "camera", "a much longer name of a frame"]), st.floats(0.0, 9.0))
def test_keypoints_as_bytes_are_those_of_the_message(parts: tuple, frame_id: str, waited: float) -> None:
    frame, wire = KeypointFrame(*parts), KeypointWire(frame_id)
    data = wire.encode(frame, convert.Effort(waited, 0.5))
    assert head_of(data) == (frame.stamp_ns, frame_id) and effort_of(data) == (waited, 0.5)
    message = deserialize_message(data, Keypoints)
    assert (message.header.frame_id, message.waited, message.inference) == (frame_id, waited, 0.5)
    same(wire.decode(data), convert.keypoints_of_msg(message))
    of_rosidl = serialize_message(convert.keypoints_to_msg(frame, frame_id, convert.Effort(waited, 0.5)))
    same(wire.decode(of_rosidl), wire.decode(data))
    same(KeypointWire("elsewhere").decode(data), wire.decode(data))
    order = np.random.default_rng(0).permutation(K)
    message.names = [message.names[i] for i in order]
    for name, width in (("positions", 3), ("covariances", 6), ("confidences", 1), ("pixels", 2)):
        setattr(message, name, np.array(getattr(message, name)).reshape(K, width)[order].ravel().tolist())
    same(wire.decode(serialize_message(message)), wire.decode(data))


@pytest.mark.parametrize(("grasp", "aperture"), [(5, 0.1), (255, 0.1), (2, -0.1), (2, 3.0), (4, np.inf)])
def test_hands_that_cannot_be_are_refused(grasp: int, aperture: float) -> None:
    with pytest.raises(InvalidInput, match="right hand"):
        convert.hands_of_fields((0, grasp), (np.nan, aperture))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=64), st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5))
def test_bytes_that_are_no_keypoints_are_refused_or_sound(junk: bytes, changes: list[tuple[int, int]]) -> None:
    wire = KeypointWire("world")
    with pytest.raises(InvalidInput):
        wire.decode(junk)
    data = bytearray(wire.encode(KeypointFrame(7, np.ones((K, 3)), np.ones((K, 3, 3)), np.ones(K), np.ones((K, 2)))))
    for place, value in changes:
        data[place] = value
    for part in (bytes(data), bytes(data[: changes[0][0]])):
        try:
            found = wire.decode(part)
        except VisualIrlError:
            continue
        assert np.abs(found.p_world[found.confidence > 0.0]).max(initial=0.0) <= 100.0


@pytest.mark.parametrize("outcome", ["executed", "cancelled", "timed out", "fault"])
def test_reports(outcome: str) -> None:
    details = {"grasps": [True, False], "succeeded": {"onion_0": True, "onion_1": False}}
    report = ExecutionReport(outcome, "as it was", np.arange(2.0), np.array([[1.0], [2.0]]), 0.25, details)
    result = convert.report_to_msg(report, "why")
    assert result.error_code == getattr(
        RunSkill.Result, {"executed": "SUCCESS"}.get(outcome, outcome.replace(" ", "_").upper())
    )
    assert list(result.positions) == [2.0] and result.tracking_rms == 0.25
    assert (result.succeeded, result.of, result.grasps) == (1, 2, [True, False])
    assert result.error_text == ("" if outcome == "executed" else "as it was: why")


@settings(max_examples=50, deadline=None)
@given(stamps)
def test_stamps(stamp: int) -> None:
    assert convert.stamp_of_msg(convert.stamp_to_msg(stamp)) == stamp
    assert convert.stamp_of_msg(convert.clock_to_msg(stamp).clock) == stamp
    assert convert.stamp_of_msg(convert.header(stamp, "world").stamp) == stamp


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=9), arrays(float, 3, elements=reals), st.floats(1e-3, 9.0), st.floats(0, 1)), max_size=4
    ),
    stamps,
)
def test_objects(rows: list, stamp: int) -> None:
    objects = tuple(ObjectEstimate(n.replace("\0", ""), "onion", p, r, c, {"blemished": c}) for n, p, r, c in rows)
    back = convert.objects_of_msg(convert.objects_to_msg(objects, stamp, "world"))
    assert [dataclasses.replace(o, p_world=np.zeros(3)).attributes for o in back] == [o.attributes for o in objects]
    for a, b in zip(back, objects, strict=True):
        assert (a.name, a.label, a.radius, a.confidence) == (b.name, b.label, b.radius, b.confidence)
        np.testing.assert_array_equal(a.p_world, b.p_world)


@settings(max_examples=50, deadline=None)
@given(arrays(float, 3, elements=st.floats(-3.0, 3.0)), arrays(float, 3, elements=reals))
def test_poses(turn: np.ndarray, p: np.ndarray) -> None:
    T = se3.transform(se3.exp_so3(turn), p)
    np.testing.assert_allclose(convert.pose_of_msg(convert.pose_to_msg(T)), T, atol=1e-9)  # through a quaternion


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 10**18))
def test_arms(seed: int, start: int) -> None:
    arm = synthetic_arm(seed)
    back = convert.arm_of_msgs(convert.arm_to_msgs(arm, start, "world"))
    assert back.side == arm.side
    np.testing.assert_allclose(back.t, arm.t - arm.t[0], atol=2e-9)  # whole nanoseconds
    for name in ("q", "shoulder", "elbow", "wrist", "Ts_world_hand", "grip", "observed"):
        np.testing.assert_allclose(getattr(back, name), getattr(arm, name), atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(1, 8), st.data())
def test_motions_targets_and_states(n: int, joints: int, data: st.DataObject) -> None:
    q, qd = (data.draw(arrays(float, (n, joints), elements=reals)) for _ in range(2))
    names = tuple(f"joint_{j}" for j in range(joints))
    way = JointTrajectory(names, 0.01 * np.arange(n), q, qd, np.full(n, 0.02))
    things = {name: data.draw(seen_things) for name in data.draw(st.sets(short_names, max_size=3))}
    fixtures = {name: data.draw(poses) for name in data.draw(st.sets(short_names, max_size=3))}
    held = (Held(0.1, 0.2, Carried("onion_0", 0.04)), Held(0.3, 0.3, Carried("onion_1", 0.03)))
    motion = MappedMotion(way, UR5E, data.draw(poses), "onion_sorting", things, fixtures, held, 0.01)
    message = convert.motion_to_msg(motion, "sort", "abc", 5)
    assert (message.skill, message.digest) == ("sort", "abc")
    back = convert.motion_of_msg(message, UR5E)
    assert back.trajectory.joint_names == names and back.held == held and back.approach == 0.01 and back.task == "onion_sorting"
    np.testing.assert_allclose(back.trajectory.t, way.t, atol=1e-9)  # whole nanoseconds
    for name in ("q", "qd", "opening"):
        np.testing.assert_array_equal(getattr(back.trajectory, name), getattr(way, name))
    np.testing.assert_allclose(back.T_world_base, motion.T_world_base, atol=1e-9)
    assert back.fixtures.keys() == fixtures.keys() and back.things.keys() == things.keys()
    for name, T in fixtures.items():
        np.testing.assert_allclose(back.fixtures[name], T, atol=1e-9)
    for name, thing in things.items():
        there = back.things[name]
        assert (there.radius, there.height, there.attributes) == (thing.radius, thing.height, thing.attributes)
        np.testing.assert_allclose(there.p_world, thing.p_world, atol=1e-12)
        assert (there.R_world is None) == (thing.R_world is None)
        if thing.R_world is not None:
            np.testing.assert_allclose(there.R_world, thing.R_world, atol=1e-9)
    there, at = convert.target_of_msg(convert.target_to_msg(names, q[0], 7))
    assert there == names
    np.testing.assert_array_equal(at, q[0])
    state = convert.state_of_msg(convert.state_to_msg(RobotState(names, 9, q[0], qd[0]), 9))
    assert state.stamp_ns == 9
    np.testing.assert_array_equal(state.qd, qd[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(anything, max_size=400), st.lists(anything, max_size=9), st.lists(st.text(max_size=3), max_size=9))
def test_malformed_messages_are_refused(many: list[float], few: list[float], names: list[str]) -> None:
    names = [n.replace("\0", "") for n in names]
    keypoints = convert.Keypoints(names=names, positions=many[:384], confidences=few)
    target = convert.JointTrajectoryMsg(joint_names=names, points=[convert.JointTrajectoryPoint(positions=few)])
    state = convert.JointState(name=names, position=few, velocity=few)
    motion = convert.RobotMotion(robot="ur5e", trajectory=target, opening=few)
    with pytest.raises(VisualIrlError):
        convert.keypoints_of_msg(keypoints)
    with pytest.raises(VisualIrlError):
        convert.motion_of_msg(motion, UR5E)
    for take, message, sound in ((convert.target_of_msg, target, few), (convert.state_of_msg, state, few)):
        if len(few) == len(names) and few and np.isfinite(sound).all():
            take(message)
        elif few or names:
            with pytest.raises(VisualIrlError):
                take(message)
