"""Camera or recording to a robot in MuJoCo that follows the person: perception -> mapper -> sim."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the nodes."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("robot", default_value="ur5e", description="fr3, panda, ur10e or ur5e"),
            DeclareLaunchArgument("side", default_value="right", description="the arm that is followed: right or left"),
            DeclareLaunchArgument(
                "source", default_value="",
                description="recording, video or picture folder to play as a camera; empty for a driver's topics",
            ),
            DeclareLaunchArgument("loop", default_value="false", description="play the source again and again"),
            DeclareLaunchArgument("rate", default_value="0.0", description="pictures a second; 0 for the source's own"),
            DeclareLaunchArgument("pose_model", default_value="heavy", description="body network: heavy or full (quicker)"),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="every node keeps the simulation's time"),
            DeclareLaunchArgument("camera", default_value="/camera/camera", description="the camera driver's namespace"),
            Node(
                package="visual_irl_ros", executable="perception", name="perception", on_exit=Shutdown(),
                parameters=[
                    {
                        "source": LaunchConfiguration("source"),
                        "pose_model": LaunchConfiguration("pose_model"),
                        "loop": LaunchConfiguration("loop"),
                        "rate": LaunchConfiguration("rate"),
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    }
                ],
                remappings=[
                    ("color/image_raw", [LaunchConfiguration("camera"), "/color/image_raw"]),
                    ("color/camera_info", [LaunchConfiguration("camera"), "/color/camera_info"]),
                    (
                        "aligned_depth_to_color/image_raw",
                        [LaunchConfiguration("camera"), "/aligned_depth_to_color/image_raw"],
                    ),
                ],
            ),
            Node(
                package="visual_irl_ros", executable="mapper", name="mapper", on_exit=Shutdown(),
                parameters=[
                    {
                        "robot": LaunchConfiguration("robot"),
                        "side": LaunchConfiguration("side"),
                        "use_sim_time": LaunchConfiguration("use_sim_time"),
                    }
                ],
                remappings=[("keypoints", "perception/keypoints")],
            ),
            Node(
                package="visual_irl_ros", executable="sim", name="sim", on_exit=Shutdown(),
                parameters=[
                    {"robot": LaunchConfiguration("robot"), "use_sim_time": LaunchConfiguration("use_sim_time")}
                ],
                remappings=[("joint_target", "mapper/joint_target")],
            ),
        ]
    )  # fmt: skip
