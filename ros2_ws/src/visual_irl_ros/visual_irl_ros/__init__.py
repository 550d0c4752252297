"""Thin ROS 2 nodes around visual_irl: each declares parameters, converts, calls the library, converts back, publishes."""
