"""What is measured of a mapped motion: the hand, the limbs, smoothness, limits and time, the same way for every method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from visual_irl.mapping.offline import EXACT_POSITION, EXACT_ROTATION, hand_errors, limb_errors
from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots.model import RobotModel

JUMP = 0.2
"""A joint step between two frames above this is a jump [rad]."""
LIMIT_SLACK = 1e-6
"""How far beyond a limit an angle counts as outside [rad]: mink's and pink's own tolerance."""


@dataclass(frozen=True)
class Samples:
    """Single measurements of one method on one or more motions: N reachable frames, T frames, S steps, K jerks, J joints."""

    exact: Bool[ndarray, "N"]
    """Whether the hand is within 1 mm and 1 degree."""
    position: Float[ndarray, "N"]
    """Distance of the hand to its target [m]."""
    limbs: Float[ndarray, "N 2"]
    """Angles of upper arm and forearm to the human's [rad]; NaN where the human's is not known."""
    regret: Float[ndarray, "N 2"]
    """The same minus those of the reference."""
    step: Float[ndarray, "S"]
    """Largest joint step between two frames of a segment [rad]."""
    way: Float[ndarray, "S 2"]
    """What all joints turn in it together, of the method and of the reference [rad]."""
    continuous: Bool[ndarray, "S"]
    """Whether the reference has no jump there."""
    jerk: Float[ndarray, "K J"]
    """Third differences inside segments [rad/s^3]."""
    calm: Bool[ndarray, "K"]
    """Whether none of their three steps is a jump."""
    outside: Bool[ndarray, "T J"]
    """Angles outside the limits, or not finite."""
    us: Float[ndarray, "T"]
    """Time a frame [us]."""
    core_us: Float[ndarray, "T"]
    """The compiled core's share of it [us]; NaN where there is none."""
    asked_jerk: Float[ndarray, "K 6"]
    """Third differences of the hand's target inside segments, of its place over the arm's reach and of its turn: those of a
    joint that moved it with the arm stretched out [rad/s^3]."""


def measure(
    robot: RobotModel,
    targets: ArmTargets,
    q: Float[ndarray, "T J"],
    us: Float[ndarray, "T"],
    reachable: Bool[ndarray, "T"],
    reference: Float[ndarray, "T J"],
) -> Samples:
    """Measure joint angles [rad] that a method gave for targets; `reference` are the angles that regret is taken against."""
    position, rotation = hand_errors(robot, targets, q)
    limbs = limb_errors(robot, targets, q)
    regret = limbs - limb_errors(robot, targets, reference)
    inside = (q >= robot.lower - LIMIT_SLACK) & (q <= robot.upper + LIMIT_SLACK)
    steps, jerks, asked, calm = [np.zeros(0)], [np.zeros((0, q.shape[1]))], [np.zeros((0, 6))], [np.zeros(0, bool)]
    ways, continuous = [np.zeros((0, 2))], [np.zeros(0, bool)]
    reach = sum(robot.limb_lengths())
    for part in targets.segments():
        turned = np.abs(np.diff([q[part], reference[part]], axis=1))
        steps.append(turned[0].max(axis=1, initial=0.0))
        continuous.append(turned[1].max(axis=1, initial=0.0) <= JUMP)
        ways.append(turned.sum(axis=2).T)
        t = targets.t[part]
        if len(t) > 3:
            cubed = (((t[3:] - t[:-3]) / 3.0) ** 3)[:, None]
            jerks.append(np.diff(q[part], 3, axis=0) / cubed)
            small = steps[-1] <= JUMP
            calm.append(small[:-2] & small[1:-1] & small[2:])
            R = Rotation.from_matrix(targets.R[part])
            turns = R[:-1].apply((R[:-1].inv() * R[1:]).as_rotvec())
            asked.append(np.hstack([np.diff(targets.p[part], 3, axis=0) / reach, np.diff(turns, 2, axis=0)]) / cubed)
    exact = (position < EXACT_POSITION) & (rotation < EXACT_ROTATION)
    return Samples(
        exact[reachable], position[reachable], limbs[reachable], regret[reachable], np.concatenate(steps), np.concatenate(ways),
        np.concatenate(continuous), np.concatenate(jerks), np.concatenate(calm), ~inside, us, np.full(len(us), np.nan),
        np.concatenate(asked),
    )  # fmt: skip


def pooled(parts: Sequence[Samples]) -> Samples:
    """The measurements of one method on several motions as if they were one."""
    return Samples(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Samples)))


def figures(samples: Samples) -> dict[str, float | int | None]:
    """The benchmark's figures, named with their units; None where nothing was there to be measured.

    `jerk_relative` is the joints' jerk over that of the target itself: what a noisy or fast recording asks for is in both.
    `jerk_rms_between_jumps` leaves out what a jump is in, of which one outweighs some thousand steady frames.
    `avoidable_jumps` are those where the reference has none. `way_relative` is what all joints turn over what the reference's
    do, where neither jumps: an elbow that sways goes a longer way.

    Hand, limbs and regret are over reachable frames; the rest is over all of them.
    """
    mm = samples.position * 1e3
    upper, fore = (np.degrees(samples.limbs[:, k]) for k in range(2))
    jumps = ~(samples.step <= JUMP)
    way, reference_way = samples.way[~jumps & samples.continuous].sum(axis=0)
    regret_upper, regret_fore = (np.degrees(samples.regret[:, k]) for k in range(2))
    return {
        "frames": len(samples.position),
        "ok": _mean(samples.exact.astype(float)),
        "pos_mm_median": _percentile(mm, 50.0),
        "pos_mm_p95": _percentile(mm, 95.0),
        "pos_mm_max": _percentile(mm, 100.0),
        "upper_deg": _mean(upper),
        "fore_deg": _mean(fore),
        "regret_upper_deg": _mean(regret_upper),
        "regret_fore_deg": _mean(regret_fore),
        "jerk_rms": _root_mean_square(samples.jerk),
        "jerk_rms_between_jumps": _root_mean_square(samples.jerk[samples.calm]),
        "jerk_relative": _ratio(samples.jerk, samples.asked_jerk),
        "jumps": int(jumps.sum()),
        "avoidable_jumps": int((jumps & samples.continuous).sum()),
        "way_relative": float(way / reference_way) if reference_way > 0.0 else None,
        "limit_violations": int(samples.outside.sum()),
        "us_p50": _percentile(samples.us, 50.0),
        "us_p99": _percentile(samples.us, 99.0),
        "core_us_p50": _percentile(samples.core_us, 50.0),
        "core_us_p99": _percentile(samples.core_us, 99.0),
    }


def _mean(values: ndarray) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def _root_mean_square(values: ndarray) -> float | None:
    return float(np.sqrt((values**2).mean())) if len(values) else None


def _percentile(values: ndarray, share: float) -> float | None:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, share)) if len(known) else None


def _ratio(jerk: ndarray, asked: ndarray) -> float | None:
    """Root mean square of the joints' jerk over that of the target."""
    size = float(np.sqrt((asked**2).sum(axis=1).mean())) if len(asked) else 0.0
    return float(np.sqrt((jerk**2).mean())) / size if size > 0.0 else None
