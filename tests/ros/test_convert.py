"""Every conversion between ROS and the library is its own inverse, and malformed messages are refused by name."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="ROS is not here; `make test-ros` builds it from wheels and runs these")
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from visual_irl_ros import convert

from visual_irl import se3
from visual_irl.errors import VisualIrlError
from visual_irl.execution.state import RobotState
from visual_irl.mapping.prior_training import synthetic_arm
from visual_irl.types import KEYPOINTS, JointTrajectory, KeypointFrame, ObjectEstimate

K = len(KEYPOINTS)
stamps = st.integers(0, 2**31 * 10**9 - 1)
reals = st.floats(-50.0, 50.0)
anything = st.floats(allow_nan=True, allow_infinity=True)


@st.composite
def frame_parts(draw: st.DrawFn) -> tuple:
    confidence = draw(arrays(float, K, elements=st.floats(0.0, 1.0)))
    lost = (confidence == 0.0)[:, None]
    p, sigma = draw(arrays(float, (K, 3), elements=reals)), draw(arrays(float, (K, 3), elements=st.floats(0.0, 9.0)))
    uv = draw(arrays(float, (K, 2), elements=anything))
    return (draw(stamps), np.where(lost, np.nan, p), np.where(lost, np.nan, sigma), confidence, uv)


@settings(max_examples=50, deadline=None)
@given(frame_parts())
def test_keypoints(parts: tuple) -> None:
    frame = KeypointFrame(*parts)
    back = convert.keypoints_of_msg(convert.keypoints_to_msg(frame, "world"))
    assert back.stamp_ns == frame.stamp_ns
    for name in ("p_world", "confidence", "uv"):
        np.testing.assert_array_equal(getattr(back, name), getattr(frame, name))
    np.testing.assert_allclose(back.sigma, frame.sigma, rtol=1e-12, atol=1e-150)  # a square and its root


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


def test_arms() -> None:
    arm = synthetic_arm(1)
    back = convert.arm_of_msgs(convert.arm_to_msgs(arm, 123, "world"))
    assert back.side == arm.side
    np.testing.assert_allclose(back.t, arm.t - arm.t[0], atol=2e-9)  # whole nanoseconds
    for name in ("q", "shoulder", "elbow", "wrist", "Ts_world_hand", "grip", "observed"):
        np.testing.assert_allclose(getattr(back, name), getattr(arm, name), atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 9), st.integers(1, 8), st.data())
def test_motions_targets_and_states(n: int, joints: int, data: st.DataObject) -> None:
    q, qd = (data.draw(arrays(float, (n, joints), elements=reals)) for _ in range(2))
    names = tuple(f"joint_{j}" for j in range(joints))
    motion = JointTrajectory(names, 0.01 * np.arange(n), q, qd, np.full(n, 0.02))
    back = convert.motion_of_msg(convert.motion_to_msg(motion, "ur5e", "sort", 5))
    assert back.joint_names == names
    np.testing.assert_allclose(back.t, motion.t, atol=1e-9)  # whole nanoseconds
    for name in ("q", "qd", "opening"):
        np.testing.assert_array_equal(getattr(back, name), getattr(motion, name))
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
    motion = convert.RobotMotion(trajectory=target, opening=few)
    with pytest.raises(VisualIrlError):
        convert.keypoints_of_msg(keypoints)
    with pytest.raises(VisualIrlError):
        convert.motion_of_msg(motion)
    for take, message, sound in ((convert.target_of_msg, target, few), (convert.state_of_msg, state, few)):
        if len(few) == len(names) and few and np.isfinite(sound).all():
            take(message)
        elif few or names:
            with pytest.raises(VisualIrlError):
                take(message)
