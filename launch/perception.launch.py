"""Keypoints and objects of a camera or a recording."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "source", default_value="",
                description="recording, video or picture folder to play as a camera; empty for a driver's topics",
            ),
            DeclareLaunchArgument("loop", default_value="false", description="play the source again and again"),
            DeclareLaunchArgument("objects", default_value="true", description="look for the task's objects, too"),
            DeclareLaunchArgument(
                "detector", default_value="mediapipe",
                description="what runs the networks: mediapipe on the CPU, or torch on a GPU",
            ),
            DeclareLaunchArgument("pose_model", default_value="heavy", description="body network: heavy or full (quicker)"),
            DeclareLaunchArgument("camera", default_value="/camera/camera", description="the camera driver's namespace"),
            Node(
                package="visual_irl_ros", executable="perception", name="perception", on_exit=Shutdown(),
                parameters=[
                    {
                        "source": LaunchConfiguration("source"),
                        "keypoints.detector": LaunchConfiguration("detector"),
                        "pose_model": LaunchConfiguration("pose_model"),
                        "loop": LaunchConfiguration("loop"),
                        "objects": LaunchConfiguration("objects"),
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
        ]
    )  # fmt: skip
