"""A learned skill on a robot: skill -> executor, which moves MuJoCo's arm or, when told so, one behind ros2_control."""

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
            DeclareLaunchArgument("skill", default_value="", description="skill folder of `visual-irl learn`"),
            DeclareLaunchArgument(
                "demonstration", default_value="", description="file with the skill's objects, instead of a trajectory"
            ),
            DeclareLaunchArgument("arm", default_value="mujoco", description="mujoco, or ros2_control: then a real arm moves"),
            DeclareLaunchArgument(
                "controller", default_value="joint_trajectory_controller", description="name of ros2_control's controller"
            ),
            DeclareLaunchArgument("controller_by", default_value="topic", description="the controller's topic, or action"),
            DeclareLaunchArgument("gripper", default_value="", description="a real arm's: franka, ur; empty: not driven"),
            DeclareLaunchArgument("gripper_address", default_value="", description="where that gripper answers"),
            DeclareLaunchArgument("mount_xyz", default_value="", description="of the base, x y z [m]; standard place if empty"),
            DeclareLaunchArgument("mount_rpy", default_value="", description="how the base is turned, r p y [rad]"),
            DeclareLaunchArgument("log", default_value="", description="folder of the log of all motions; ROS's own if empty"),
            DeclareLaunchArgument(
                "planner", default_value="",
                description="plans the way from the arm to the motion's beginning: ompl, moveit or move_group; empty for none",
            ),
            DeclareLaunchArgument("run", default_value="false", description="execute the motion at once; in simulation only"),
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
                parameters=[
                    {
                        "robot": LaunchConfiguration("robot"),
                        "arm": LaunchConfiguration("arm"),
                        "controller": LaunchConfiguration("controller"),
                        "controller_by": LaunchConfiguration("controller_by"),
                        "gripper": LaunchConfiguration("gripper"),
                        "gripper_address": LaunchConfiguration("gripper_address"),
                        "mount_xyz": LaunchConfiguration("mount_xyz"),
                        "mount_rpy": LaunchConfiguration("mount_rpy"),
                        "log": LaunchConfiguration("log"),
                        "autostart": LaunchConfiguration("autostart"),
                        "run": LaunchConfiguration("run"),
                    }
                ],
            ),
        ]
    )  # fmt: skip
