"""A learned skill on a robot: skill -> executor. The hardware is MuJoCo; no real arm is reached from here."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the nodes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("robot", default_value="ur5e", description="fr3, panda, ur10e or ur5e"),
            DeclareLaunchArgument("trajectory", default_value="", description="trajectory file of `visual-irl map`"),
            DeclareLaunchArgument("skill", default_value="", description="skill folder, instead of a trajectory"),
            DeclareLaunchArgument("demonstration", default_value="", description="demonstration file with the skill's objects"),
            DeclareLaunchArgument(
                "planner", default_value="",
                description="plans the way from the arm to the motion's beginning: ompl, moveit or move_group; empty for none",
            ),
            DeclareLaunchArgument("autostart", default_value="true", description="configure and activate the executor"),
            Node(
                package="visual_irl_ros", executable="skill", name="skill", on_exit=Shutdown(),
                parameters=[
                    {
                        "robot": LaunchConfiguration("robot"),
                        "trajectory": LaunchConfiguration("trajectory"),
                        "skill": LaunchConfiguration("skill"),
                        "demonstration": LaunchConfiguration("demonstration"),
                        "planner": LaunchConfiguration("planner"),
                    }
                ],
            ),
            LifecycleNode(
                package="visual_irl_ros", executable="executor", name="executor", namespace="", on_exit=Shutdown(),
                parameters=[{"robot": LaunchConfiguration("robot"), "autostart": LaunchConfiguration("autostart")}],
            ),
        ]
    )  # fmt: skip
