"""A whole motion slowed down evenly, step by step, until what is streamed of it keeps what it must."""

from __future__ import annotations

from collections.abc import Callable

from visual_irl.types import JointTrajectory

SLOWING = 1.03
"""Factor of a step."""
SLOWINGS = 60
"""Most steps: a factor of 5.7."""


def least_slowing(kept: Callable[[float], bool], factor: float = 1.0) -> float | None:
    """The first factor, from `factor` on, by which a motion must be slowed to keep what it must; None if none does."""
    for _ in range(SLOWINGS):
        if kept(factor):
            return factor
        factor *= SLOWING
    return None


def slower(motion: JointTrajectory, factor: float) -> JointTrajectory:
    """The motion, `factor` times as long."""
    return JointTrajectory(motion.joint_names, factor * motion.t, motion.q, motion.qd / factor, motion.opening)
