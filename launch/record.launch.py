"""A recorder beside the camera's driver: it records at once into `folder`, or waits for the action recorder/record."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The arguments, then the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("camera", default_value="/camera/camera", description="the camera driver's namespace"),
            DeclareLaunchArgument(
                "folder", default_value="",
                description="new folder to record into at once, and then to end; empty: wait for the action",
            ),
            DeclareLaunchArgument("duration", default_value="0.0", description="how long, in seconds; 0 until Ctrl-C"),
            Node(
                package="visual_irl_ros", executable="recorder", name="recorder", on_exit=Shutdown(),
                parameters=[{"folder": LaunchConfiguration("folder"), "duration": LaunchConfiguration("duration")}],
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
