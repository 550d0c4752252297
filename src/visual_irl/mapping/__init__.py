"""From a human arm to a robot's joints: anatomical angles, symbolic joint map, inverse kinematics, timing."""
