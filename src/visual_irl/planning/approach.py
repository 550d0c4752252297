"""A motion that begins where the arm stands: a planned way to its first posture, and then the motion itself."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.planning.planner import Planner
from visual_irl.planning.slowing import least_slowing, slower
from visual_irl.robots.interpolation import JERK, first_beyond, motion_through
from visual_irl.robots.obstacles import World
from visual_irl.types import JointTrajectory

NEAR = 0.01
"""An arm that stands this near to the first posture needs no way there: the guard bridges it [rad]."""


def approached(
    motion: JointTrajectory, planner: Planner, joint_names: tuple[str, ...], q_start: Float[ndarray, "J"], world: World
) -> JointTrajectory:
    """The motion with the way from `q_start` [rad] to its beginning in front of it; both come to rest where they meet.

    Raises:
        InvalidInput: the arm has other joints, or the motion does not begin at rest.
        VisualIrlError: the planner found no way; see `Planner.plan`.
    """
    if joint_names != motion.joint_names:
        raise InvalidInput(f"the arm has {', '.join(joint_names)}, the motion moves {', '.join(motion.joint_names)}")
    if not (np.abs(motion.qd[0]) <= 1e-3).all():
        raise InvalidInput(
            f"the motion begins at up to {np.abs(motion.qd[0]).max():.3g} rad/s; only from rest it can be approached"
        )
    if (np.abs(q_start - motion.q[0]) <= NEAR).all():
        return motion
    way = planner.plan(np.asarray(q_start, float), motion.q[0], world, float(motion.opening[0]))
    most = np.maximum(_jerk(way), _jerk(motion))

    def kept(factor: float) -> bool:
        """Whether joining does not raise the jerk; where it does at any speed, the guard refuses it."""
        whole = _joined(slower(way, factor), motion)
        return first_beyond(motion_through(whole.t, whole.q, whole.qd), JERK, -most, most)[0] < 0

    return _joined(slower(way, least_slowing(kept) or 1.0), motion)


def _joined(way: JointTrajectory, motion: JointTrajectory) -> JointTrajectory:
    """One after the other. Where they meet the acceleration at rest is estimated from steps of both, not quite as alone."""
    t = motion.t[1:] - motion.t[0] + way.t[-1]
    return JointTrajectory(
        motion.joint_names,
        np.concatenate([way.t, t]),
        np.concatenate([way.q, motion.q[1:]]),
        np.concatenate([way.qd, motion.qd[1:]]),
        np.concatenate([way.opening, motion.opening[1:]]),
    )


def _jerk(motion: JointTrajectory) -> Float[ndarray, "J"]:
    """Largest jerk of each joint at the ends and middles of what is streamed between samples [rad/s^3]."""
    streamed = motion_through(motion.t, motion.q, motion.qd)
    h, c = np.diff(streamed.t)[:, None], streamed.c
    at = [np.abs(6.0 * c[..., 3] + 24.0 * c[..., 4] * x * h + 60.0 * c[..., 5] * (x * h) ** 2) for x in (0.0, 0.5, 1.0)]
    return np.asarray(np.max(at, axis=(0, 1)) * (1.0 + 1e-6))
