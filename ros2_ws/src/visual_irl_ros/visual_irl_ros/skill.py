"""The node `skill`: offers the motion of a learned skill, from a trajectory file or planned anew for a demonstration."""

from __future__ import annotations

from pathlib import Path

from rclpy.node import Node
from visual_irl_msgs.msg import RobotMotion

from visual_irl.errors import InvalidInput
from visual_irl.io.artifacts import load_demonstration, load_trajectory
from visual_irl.types import JointTrajectory
from visual_irl_ros import convert, qos
from visual_irl_ros.runtime import OK, Health, Reporter, run


class SkillNode(Node):
    """Publishes one motion, latched."""

    def __init__(self) -> None:
        super().__init__("skill")
        robot = self.declare_parameter("robot", "ur5e").value
        trajectory = self.declare_parameter("trajectory", "").value
        skill = self.declare_parameter("skill", "").value
        demonstration = self.declare_parameter("demonstration", "").value
        if bool(trajectory) == bool(skill and demonstration):
            raise InvalidInput("give the parameter trajectory (from `visual-irl map`), or both skill and demonstration")
        if trajectory:
            self._name, motion = Path(trajectory).stem, _read(Path(trajectory), robot)
        else:
            self._name, motion = Path(skill).name, _planned(Path(skill), Path(demonstration), robot)
        self._out = self.create_publisher(RobotMotion, "motion", qos.LATCHED)
        self._out.publish(convert.motion_to_msg(motion, robot, self._name, self.get_clock().now().nanoseconds))
        self._seconds = float(motion.t[-1])
        self._reporter = Reporter(self, self._health)

    def _health(self) -> Health:
        return OK, f"offers '{self._name}', {self._seconds:.1f} s", {}

    def close(self) -> None:
        """Nothing is held."""


def _read(path: Path, robot: str) -> JointTrajectory:
    motion, about, _ = load_trajectory(path)
    if about["robot"] != robot:
        raise InvalidInput(f"'{path}' was mapped for '{about['robot']}', the parameter robot is '{robot}': map again")
    return motion


def _planned(skill: Path, demonstration: Path, robot_name: str) -> JointTrajectory:
    from visual_irl import pipeline
    from visual_irl.mapping.retarget import RetargetConfig, retarget
    from visual_irl.policy.hand_path import PolicyConfig
    from visual_irl.robots import load_robot

    robot = load_robot(robot_name)
    demo = load_demonstration(demonstration)
    _, arm = pipeline.plan(pipeline.load_skill(skill), demo, PolicyConfig())
    return retarget(arm, robot, robot.T_world_base, RetargetConfig())[0]


def main() -> None:
    """Entry point."""
    run(SkillNode)
