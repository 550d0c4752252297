"""Time of a path: the demonstrated timing where the arm can, slower where its speed or acceleration limits ask for it."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d, maximum_filter1d

from visual_irl.errors import InvalidInput


def retime(
    t: Float[ndarray, "T"],
    q: Float[ndarray, "T J"],
    velocity: Float[ndarray, "J"],
    acceleration: Float[ndarray, "J"],
    share: float,
) -> Float[ndarray, "T"]:
    """New times [s] for the samples so that `share` of the speed and acceleration limits holds along the path.

    The path itself is not changed. Samples are only ever moved apart, and the slow-down is spread over a quarter of a
    second around the place that needs it, so that it does not jerk.

    Raises:
        InvalidInput: no slow-down within a factor of 50 satisfies the limits: the path itself has a corner or jump.
    """
    steps = np.diff(t)
    width = max(3, int(0.25 / float(np.median(steps))))
    slow = np.ones(len(steps))
    for _ in range(40):
        times = np.concatenate([[0.0], np.cumsum(steps * slow)])
        spline = CubicSpline(times, q, bc_type="clamped")
        speed = np.abs(spline(times, 1)) / (share * velocity)
        accel = np.sqrt(np.abs(spline(times, 2)) / (share * acceleration))
        need = np.maximum(speed, accel).max(axis=1)
        need = np.maximum(need[:-1], need[1:])
        if need.max() <= 1.0:
            return times + t[0]
        grow = np.maximum(1.0, 1.02 * need)
        slow = slow * gaussian_filter1d(maximum_filter1d(grow, width), width / 3, mode="nearest").clip(grow)
        if slow.max() > 50.0:
            break
    worst = int(np.argmax((np.abs(np.diff(q, axis=0)) / velocity).max(axis=1)))
    raise InvalidInput(
        f"the path jumps after sample {worst} (t = {t[worst]:.2f} s): joints would need {need.max():.1f} times their limits; "
        "the hand target may be out of reach there: move the mount with --mount or choose the other robot"
    )


def resample(
    t: Float[ndarray, "T"], q: Float[ndarray, "T J"], rate: float
) -> tuple[Float[ndarray, "S"], Float[ndarray, "S J"], Float[ndarray, "S J"]]:
    """Times, positions and velocities on a regular grid of about `rate` [1/s], at rest at both ends."""
    spline = CubicSpline(t, q, bc_type="clamped")
    times = np.linspace(t[0], t[-1], max(2, round((t[-1] - t[0]) * rate) + 1))
    return times, spline(times), spline(times, 1)
