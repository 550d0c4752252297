"""A robot at work in MuJoCo, closed loop: scenes that a skill has not seen, what a camera sees there, and how it ended."""
