"""A recorder that waits for the action recorder/record; the camera's driver runs beside it."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("camera", default_value="/camera/camera", description="the camera driver's namespace"),
            Node(
                package="visual_irl_ros", executable="recorder", name="recorder", on_exit=Shutdown(),
                remappings=[
                    ("color/image_raw", [LaunchConfiguration("camera"), "/color/image_raw"]),
                    ("color/camera_info", [LaunchConfiguration("camera"), "/color/camera_info"]),
                    (
                        "aligned_depth_to_color/image_raw",
                        [LaunchConfiguration("camera"), "/aligned_depth_to_color/image_raw"],
                    ),
                    ("keypoints", "perception/keypoints"),
                ],
            ),
        ]
    )  # fmt: skip
