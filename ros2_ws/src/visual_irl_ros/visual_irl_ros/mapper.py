"""The node `mapper`: live keypoints become joint targets; the service `~/retarget` maps whole motions."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import numpy as np
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from visual_irl_msgs.msg import Keypoints
from visual_irl_msgs.srv import Retarget

from visual_irl.errors import InvalidInput, Unreachable, VisualIrlError
from visual_irl.mapping.live_arm import LiveArm, LiveArmConfig
from visual_irl.mapping.live_mapper import LiveMapper
from visual_irl.mapping.online import OnlineConfig
from visual_irl.mapping.retarget import RetargetConfig, retarget
from visual_irl.robots import load_robot
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.gate import Gate
from visual_irl_ros.listener import Listener
from visual_irl_ros.newest import Newest
from visual_irl_ros.runtime import OK, WARN, Health, Reporter, publish, run
from visual_irl_ros.wire import KeypointWire, head_of, message_of


class Mapper(Node):
    """Publishes nothing while no arm is seen: whoever follows then stops."""

    def __init__(self) -> None:
        super().__init__("mapper")
        self._robot = load_robot(parameters.fixed(self, "robot", "ur5e", "fr3, panda, ur10e or ur5e"))
        self._silence = parameters.fixed(self, "input_timeout", 0.5, "Without input for so long it has stopped [s]")
        self._arm = parameters.declare(self, LiveArmConfig(), lambda arm: self._begin(arm, self._online))
        self._online = parameters.declare(self, OnlineConfig(), lambda online: self._begin(self._arm, online))
        self.get_logger().info("loading; the first time after an installation this compiles for a minute or more")
        self._busy = threading.Lock()  # keypoints come in a thread of their own
        self._begin(self._arm, self._online)
        self._keypoints = Gate(KeypointWire("world").decode, max_age=1.0, frames=("world",), head=head_of)
        self._states = Gate(self._measured, max_age=1.0, head=head_of)
        self._newest = Newest(self, JointState, "joint_states")
        self._targets = self.create_publisher(JointTrajectory, "~/joint_target", qos.COMMAND)
        group = MutuallyExclusiveCallbackGroup()
        self.create_service(Retarget, "~/retarget", self._on_retarget, qos_profile=qos.SERVICE, callback_group=group)
        self._published, self._requests = 0, Counter()
        self._reporter = Reporter(self, self._health)
        self._listener = Listener(self, Keypoints, "keypoints", self._on_keypoints, qos.FRAMES)

    def _begin(self, arm: LiveArmConfig, online: OnlineConfig) -> None:
        """Follow anew with these settings: from where the robot is measured next, until then nothing is published."""
        mapper = LiveMapper(self._robot, LiveArm(arm, self._robot.T_world_base), online)
        with self._busy:
            self._mapper, self._arm, self._online = mapper, arm, online

    def _robot_silent(self, now: int) -> bool:
        """Whether the robot is not heard; looks whether it has told something new."""
        data = self._newest.take()
        if data is not None:
            self._states.admit(data, now)
        return self._states.silent(now, self._silence)

    def _measured(self, data: bytes) -> None:
        state = convert.state_of_msg(message_of(data, JointState))
        self._mapper.measured(state.joint_names, state.q)

    def _on_keypoints(self, message: bytes) -> None:
        now = self.get_clock().now().nanoseconds
        with self._busy:
            frame = self._keypoints.admit(message, now)
            q = None if frame is None or self._robot_silent(now) else self._mapper.step(frame)
        if q is not None:
            self._published += 1
            publish(self._targets, convert.target_to_msg(self._robot.joint_names, q, frame.stamp_ns))

    def _on_retarget(self, request: Any, response: Any) -> Any:
        try:
            arm, base = convert.arm_of_msgs(request.arm), convert.pose_of_msg(request.base)
            motion, report = retarget(arm, self._robot, base, RetargetConfig())
            mapped = MappedMotion(motion, self._robot, base)
            response.motion = convert.motion_to_msg(mapped, "", "", self.get_clock().now().nanoseconds)
            response.reachable = float(np.mean(report.reachable))
        except Unreachable as error:
            response.error_code, response.error_text = Retarget.Response.UNREACHABLE, str(error)
        except InvalidInput as error:
            response.error_code, response.error_text = Retarget.Response.MALFORMED, str(error)
        except (VisualIrlError, ValueError, ArithmeticError) as error:
            response.error_code, response.error_text = Retarget.Response.FAILED, str(error)
        self._requests["retarget refused" if response.error_code else "retarget done"] += 1
        return response

    def _health(self) -> Health:
        now = self.get_clock().now().nanoseconds
        with self._busy:
            silent = self._robot_silent(now)
        values = {f"keypoints {k}": v for k, v in self._keypoints.counts().items()}
        values |= {f"states {k}": v for k, v in self._states.counts().items()}
        values |= {"targets": str(self._published), **{k: str(n) for k, n in self._requests.items()}}
        if silent:
            return WARN, "no joint states: no targets are published", values
        if self._keypoints.silent(now, self._silence):
            return WARN, "no keypoints: no targets are published", values
        if not self._mapper.seen:
            return WARN, "the arm is not seen: no targets are published", values
        return OK, f"mapping: {self._mapper.status}", values

    def close(self) -> None:
        """No more targets."""
        self._listener.end()


def main() -> None:
    """Entry point."""
    run(Mapper)
