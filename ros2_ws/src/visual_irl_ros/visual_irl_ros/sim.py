"""The node `sim`: an arm in MuJoCo that follows live joint targets, as a robot's controller would, and keeps the clock."""

from __future__ import annotations

import threading

from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from visual_irl.errors import RefusedTrajectory
from visual_irl.execution.following import FollowConfig, TargetFollower
from visual_irl.execution.mujoco_arm import MujocoArm
from visual_irl.robots import load_robot
from visual_irl.tasks.scene import Scene
from visual_irl.tasks.surroundings import surroundings
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.gate import Gate
from visual_irl_ros.listener import Listener
from visual_irl_ros.pacer import Pacer
from visual_irl_ros.priority import prompt
from visual_irl_ros.runtime import OK, WARN, Health, Reporter, publish, run
from visual_irl_ros.wire import head_of, message_of

CLOCK_PERIOD_NS = 10_000_000
"""How often the simulation's time is told [ns]: every node with use_sim_time wakes for it."""


class Sim(Node):
    """Publishes joint_states and /clock; without live targets the arm decelerates and stands."""

    def __init__(self) -> None:
        super().__init__("sim")
        self._robot = robot = load_robot(parameters.fixed(self, "robot", "ur5e", "fr3, panda, ur10e or ur5e"))
        clock = parameters.fixed(self, "publish_clock", True, "Publish the simulation's time on /clock")
        self._arm = MujocoArm(robot, robot.home)
        self._follower = self._follow(parameters.declare(self, FollowConfig(), self._on_config))
        self._gate = Gate(lambda data: convert.target_of_msg(message_of(data, JointTrajectory)), max_age=1.0, head=head_of)
        self._lock, self._ended, self._refused = threading.Lock(), threading.Event(), 0
        self._clock_told = -CLOCK_PERIOD_NS
        self._states = self.create_publisher(JointState, "joint_states", qos.NEWEST)
        self._clock_out = self.create_publisher(Clock, "/clock", qos.CLOCK) if clock else None
        self._reporter = Reporter(self, self._health)
        self._listener = Listener(self, JointTrajectory, "joint_target", self._on_target, qos.COMMAND)
        self._thread = threading.Thread(target=self._physics, daemon=True)
        self._thread.start()

    def _follow(self, config: FollowConfig) -> TargetFollower:
        """From where the arm was told to be."""
        world = surroundings(Scene((), ()), self._robot.T_world_base)
        return TargetFollower(self._robot, self._arm.target, self._arm.period, world, config)

    def _on_config(self, config: FollowConfig) -> None:
        with self._lock:
            if not self._follower.standing:
                raise RefusedTrajectory("the arm moves: change this while it stands")
            self._follower = self._follow(config)

    def _on_target(self, message: bytes) -> None:
        target = self._gate.admit(message, self.get_clock().now().nanoseconds)
        if target is None:
            return
        try:
            with self._lock:
                self._follower.take(*target, self._arm.now_ns())
        except RefusedTrajectory as error:
            self._refused += 1
            self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def _physics(self) -> None:
        """Every step of the physics in real time; a late step is made up for, a stall is not."""
        pacer = Pacer(self._arm.period)
        with prompt():
            while not self._ended.is_set():
                with self._lock:
                    self._arm.command(*self._follower.cycle(self._arm.now_ns()))
                    self._arm.wait()
                self._publish()
                pacer.wait()

    def _publish(self) -> None:
        if self._ended.is_set():
            return
        publish(self._states, convert.state_to_msg(self._arm.read(), self.get_clock().now().nanoseconds))
        time = self._arm.now_ns()
        if self._clock_out is not None and time - self._clock_told >= CLOCK_PERIOD_NS:
            publish(self._clock_out, convert.clock_to_msg(time))
            self._clock_told = time

    def _health(self) -> Health:
        values = {**self._gate.counts(), "refused targets": str(self._refused)}
        if self._follower.blocked:
            return WARN, f"stopped: {self._follower.blocked}", values
        if self._follower.stopped:
            return WARN, "no live target: the arm stands", values
        return OK, "following", values

    def close(self) -> None:
        """End the physics."""
        self._listener.end()
        self._ended.set()
        self._thread.join(0.5)


def main() -> None:
    """Entry point."""
    run(Sim)
