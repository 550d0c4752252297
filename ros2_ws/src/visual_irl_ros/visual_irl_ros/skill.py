"""The node `skill`: offers the motion of a learned skill, from a trajectory file or planned anew for a demonstration."""

from __future__ import annotations

from rclpy.node import Node
from rclpy.wait_for_message import wait_for_message
from sensor_msgs.msg import JointState
from visual_irl_msgs.msg import RobotMotion

from visual_irl.errors import InvalidInput
from visual_irl.planning import PLANNERS
from visual_irl.planning.approach import approached
from visual_irl.robots import load_robot
from visual_irl.tasks.mapped_motion import MappedMotion
from visual_irl_ros import convert, parameters, qos
from visual_irl_ros.move_group import MoveGroupPlanner
from visual_irl_ros.offered_motion import BESIDE_PEOPLE, offer_of
from visual_irl_ros.runtime import OK, Health, Reporter, run

STATES = 60.0
"""How long the robot may take to say where it is [s]."""


class SkillNode(Node):
    """Publishes one motion, latched."""

    def __init__(self) -> None:
        super().__init__("skill")
        robot = parameters.fixed(self, "robot", "ur5e", "fr3, panda, ur10e or ur5e")
        trajectory = parameters.fixed(self, "trajectory", "", "Trajectory file of `visual-irl map`")
        skill = parameters.fixed(self, "skill", "", "Skill folder of `visual-irl learn`, whose trajectory it is")
        demonstration = parameters.fixed(self, "demonstration", "", "File with the skill's objects, instead of a trajectory")
        planner = parameters.fixed(
            self, "planner", "", "Of the way from the arm to the motion: ompl, moveit, move_group; none if empty"
        )
        self._name, digest, motion = offer_of(load_robot(robot), trajectory, skill, demonstration)
        if planner:
            motion = self._from_here(motion, planner)
        self._out = self.create_publisher(RobotMotion, "motion", qos.OFFER)
        self._out.publish(convert.motion_to_msg(motion, self._name, digest, self.get_clock().now().nanoseconds))
        self._seconds = float(motion.trajectory.t[-1])
        self._reporter = Reporter(self, self._health)

    def _from_here(self, motion: MappedMotion, planner: str) -> MappedMotion:
        """The motion with a planned way to it from where the arm stands."""
        found, message = wait_for_message(JointState, self, "joint_states", qos_profile=qos.NEWEST, time_to_wait=STATES)
        if not found:
            raise InvalidInput(f"no joint states came within {STATES:.0f} s: start the robot first, or leave planner empty")
        state = convert.state_of_msg(message)
        make = MoveGroupPlanner if planner == "move_group" else PLANNERS.load(planner)
        way_there = make(motion.robot, BESIDE_PEOPLE)
        return motion.after(approached(motion.trajectory, way_there, state.joint_names, state.q, motion.world_before))

    def _health(self) -> Health:
        return OK, f"offers '{self._name}', {self._seconds:.1f} s", {}

    def close(self) -> None:
        """Nothing is held."""


def main() -> None:
    """Entry point."""
    run(SkillNode)
