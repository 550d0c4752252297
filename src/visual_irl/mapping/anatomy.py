"""Seven anatomical angles of an arm from its points, and back; their ranges of motion and their uncertainty.

Angles follow the ISB recommendation (Wu et al. 2005, J. Biomech. 38, 981-992, "ISB recommendation on definitions of joint
coordinate systems ... Part II: shoulder, elbow, wrist and hand"), in the torso's axes (forward, lateral, up). Lateral points
away from the body on either side, so that left and right arms that mirror each other have equal angles:

- shoulder: plane of elevation (0 abduction, pi/2 flexion), elevation (0 hanging), axial rotation (internal positive),
- elbow flexion (0 straight), forearm rotation (pronation positive),
- wrist flexion and deviation (ulnar positive); at 0 the hand continues the forearm.

Three zeros differ from ISB's. Elevation is positive, as clinicians have it. Axial rotation is 0 where the elbow bends the
forearm the way the upper arm rises, a right angle from ISB's. Forearm rotation is 0 with the thumb on the side to which the
elbow bends, the clinical neutral, and not in full supination.

Singular poses. With the arm hanging or straight overhead the plane is not determined, with the elbow straight (or folded
onto itself) the axial rotation is not, with the wrist at a right angle the forearm rotation is not: only a sum with the
next angle of that kind is. Within `SINGULAR` of such a pose, about where noisy points stop to determine the angle, a
trajectory holds the angle's last determined value (before the first one, that first one), a pose that stands alone has 0,
and the next angle of that kind takes up what is left. The other angles are determined there and stay continuous.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from visual_irl.errors import InvalidInput

SINGULAR = np.sin(np.radians(3.0))
"""Below this sine of its angle to the singular pose, a limb does not determine the angle that turns about it."""

SHORTEST = 1e-3
"""A limb shorter than this has no direction [m]."""

PALM = (0.09, 0.06)
"""From the wrist to the middle knuckle, and from the little finger's knuckle to the index finger's [m], of an adult."""

RANGE_OF_MOTION = np.radians(
    [
        [-90.0, 140.7],  # from backward extension to horizontal flexion
        [0.0, 184.0],  # neutral abduction
        [-103.7, 90.0 + 68.8],  # outward and inward rotation, see below
        [0.0, 142.9],
        [-82.1, 75.8],  # supination, pronation
        [-74.9, 76.4],  # extension, flexion
        [-21.5, 36.0],  # radial, ulnar deviation
    ]
)
"""Least and greatest of each angle [rad]: mean active ranges of 109 men (Boone and Azen 1979, J. Bone Joint Surg. 61-A,
756-759, "Normal range of motion of joints in male subjects").

Each bounds its angle alone: what all seven allow together is smaller. Neutral axial rotation is 0 with the arm flexed and
pi/2 with the arm abducted, because it is counted from the plane of elevation; its range holds both.
"""


def torso_frame(side: str) -> Float[ndarray, "3 3"]:
    """Rows: forward, lateral (outward on that side) and up of a torso that looks along +x with +y on its left."""
    return np.diag([1.0, 1.0 if side == "left" else -1.0, 1.0])


def hand_orientation(along: Float[ndarray, "T 3"], across: Float[ndarray, "T 3"]) -> Float[ndarray, "T 3 3"]:
    """Columns palm normal, thumb side, along the fingers, for a direction along the hand and one from its little finger's
    knuckle to its index finger's; the second is turned square to the first.

    Raises:
        InvalidInput: one of them has no length, or both are parallel.
    """
    fingers = _directions(along, "hand")
    thumb = _directions(across - np.sum(across * fingers, axis=1, keepdims=True) * fingers, "line of the knuckles")
    return np.stack([np.cross(thumb, fingers), thumb, fingers], axis=-1)


def angles_of_arm(
    axes: Float[ndarray, "3 3"],
    shoulder: Float[ndarray, "T 3"],
    elbow: Float[ndarray, "T 3"],
    wrist: Float[ndarray, "T 3"],
    Rs_world_hand: Float[ndarray, "T 3 3"],
    start: Bool[ndarray, "T"] | None = None,
) -> Float[ndarray, "T 7"]:
    """The seven angles [rad] of an arm, unwrapped over time; see the module for their signs and for singular poses.

    Args:
        axes: rows forward, lateral and up of the torso, in the frame of the points.
        shoulder, elbow, wrist: joint centres [m].
        Rs_world_hand: columns palm normal, thumb side, along the fingers (as in `HumanArmTrajectory`).
        start: true where another recording begins; nothing is held or unwrapped across. All true: poses that stand alone.

    Raises:
        InvalidInput: a limb has no length or is not finite; says which, and the first such frame.
    """
    start = np.zeros(len(shoulder), bool) if start is None else start
    upper, fore, thumb, fingers = _arm_directions(axes, shoulder, elbow, wrist, Rs_world_hand)
    back = np.cross(thumb, fingers)  # out of the back of the hand: in these axes every arm is a left one
    elevation = np.arctan2(np.hypot(upper[:, 0], upper[:, 1]), -upper[:, 2])
    plane = _settled(np.arctan2(upper[:, 0], upper[:, 1]), np.sin(elevation) > SINGULAR, start)
    raise_, side_ = _elevation_frame(plane, elevation)
    flexion = np.arctan2(np.linalg.norm(np.cross(upper, fore), axis=1), np.sum(upper * fore, axis=1))
    bent = np.cross(np.cross(upper, fore), upper)
    turns = np.sin(flexion) > SINGULAR
    rotation = np.arctan2(np.sum(bent * side_, axis=1), np.sum(bent * raise_, axis=1))
    rotation = _settled(rotation, turns, start)
    # the forearm's frame is the limbs' own where they have one, so that what the plane leaves open does not reach the wrist
    _, zero, _ = _forearm_frame(plane, elevation, rotation, flexion)
    zero = np.where(turns[:, None], np.sum(upper * fore, axis=1, keepdims=True) * fore - upper, zero)
    zero = zero - np.sum(zero * fore, axis=1, keepdims=True) * fore
    zero = zero / np.linalg.norm(zero, axis=1, keepdims=True)
    ninety = np.cross(fore, zero)
    wrist_flexion = np.arcsin(np.clip(np.sum(back * fore, axis=1), -1.0, 1.0))
    level = np.cross(fore, back)
    tilts = np.cos(wrist_flexion) > SINGULAR
    pronation = np.arctan2(np.sum(level * ninety, axis=1), np.sum(level * zero, axis=1))
    pronation = _settled(pronation, tilts, start)
    level = np.cos(pronation)[:, None] * zero + np.sin(pronation)[:, None] * ninety
    deviation = np.arctan2(-np.sum(fingers * level, axis=1), np.sum(fingers * np.cross(back, level), axis=1))
    deviation = _settled(deviation, np.ones(len(deviation), bool), start)
    return np.stack([plane, elevation, rotation, flexion, pronation, wrist_flexion, deviation], axis=1)


def arm_of_angles(
    q: Float[ndarray, "T 7"],
    axes: Float[ndarray, "3 3"],
    shoulder: Float[ndarray, "T 3"],
    upper: float | Float[ndarray, "T"],
    fore: float | Float[ndarray, "T"],
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 3"], Float[ndarray, "T 3 3"]]:
    """Elbow [m], wrist [m] and hand orientation of an arm with these angles [rad] and limb lengths [m].

    The exact inverse of `angles_of_arm` away from singular poses; near them a limb is off by no more than twice the angle
    by which it wobbles about them, at most twice that of `SINGULAR`.
    """
    plane, elevation, rotation, flexion, pronation, wrist_flexion, deviation = q.T
    u = _upper_arm(plane, elevation)
    w, zero, ninety = _forearm_frame(plane, elevation, rotation, flexion)
    level = np.cos(pronation)[:, None] * zero + np.sin(pronation)[:, None] * ninety
    straight = np.cos(wrist_flexion)[:, None] * w - np.sin(wrist_flexion)[:, None] * np.cross(level, w)
    fingers = np.cos(deviation)[:, None] * straight - np.sin(deviation)[:, None] * level
    thumb = np.cos(deviation)[:, None] * level + np.sin(deviation)[:, None] * straight
    elbow = shoulder + np.reshape(upper, (-1, 1)) * (u @ axes)
    thumb, fingers = thumb @ axes, fingers @ axes
    return elbow, elbow + np.reshape(fore, (-1, 1)) * (w @ axes), np.stack([np.cross(thumb, fingers), thumb, fingers], axis=-1)


def beyond_range(q: Float[ndarray, "T 7"]) -> Float[ndarray, "T 7"]:
    """How far each angle is outside `RANGE_OF_MOTION` [rad]: negative below it, positive above, 0 inside.

    Whole turns do not count: an angle is judged by the one of its turns that is nearest to the range.
    """
    low, high = RANGE_OF_MOTION.T
    q = q - 2.0 * np.pi * np.round((q - 0.5 * (low + high)) / (2.0 * np.pi))
    return np.minimum(q - low, 0.0) + np.maximum(q - high, 0.0)


def angle_sigmas(
    axes: Float[ndarray, "3 3"],
    shoulder: Float[ndarray, "T 3"],
    elbow: Float[ndarray, "T 3"],
    wrist: Float[ndarray, "T 3"],
    Rs_world_hand: Float[ndarray, "T 3 3"],
    covariance: Float[ndarray, "T 6 3 3"],
    palm: tuple[float, float] = PALM,
) -> Float[ndarray, "T 7"]:
    """Standard deviations of the seven angles [rad] that those of the points bring about, to first order.

    The derivatives are those of a chain of seven hinges, in closed form: how the upper arm, the forearm and the hand turn
    when a point moves, projected on the hinges' axes. An angle that a singular pose leaves open has `inf`, and so has any
    whose first-order value exceeds half a turn.

    Args:
        axes, shoulder, elbow, wrist, Rs_world_hand: as for `angles_of_arm`.
        covariance: of the places of shoulder, elbow, wrist, index, middle and little knuckle [m^2], in their frame; the
            six are taken for independent.
        palm: distances between the knuckles that determine the hand's orientation [m], see `PALM`.

    Raises:
        InvalidInput: as `angles_of_arm`.
    """
    u, f, thumb, fingers = _arm_directions(axes, shoulder, elbow, wrist, Rs_world_hand)
    lengths = (np.linalg.norm(elbow - shoulder, axis=1), np.linalg.norm(wrist - elbow, axis=1))
    du = _moved(u, 0, 1, lengths[0])  # (T, 18, 3): a row for each coordinate of each point, as below
    df = _moved(f, 1, 2, lengths[1])
    d_hand = np.cross(fingers[:, None], _moved(fingers, 2, 4, np.full(len(u), palm[0])))
    d_knuckles = _moved(thumb, 5, 3, np.full(len(u), palm[1]))
    d_hand += _dot(d_knuckles, np.cross(fingers, thumb))[..., None] * fingers[:, None]
    back = np.cross(thumb, fingers)
    sin_e, cos_e = np.hypot(u[:, 0], u[:, 1]), -u[:, 2]
    raise_, side_ = _elevation_frame(np.arctan2(u[:, 0], u[:, 1]), np.arctan2(sin_e, cos_e))
    sin_f, cos_f = np.linalg.norm(np.cross(u, f), axis=1), np.sum(u * f, axis=1)
    sin_w = np.sum(back * f, axis=1)
    cos_w = np.sqrt(np.maximum(1.0 - sin_w**2, 0.0))
    tiny = 1e-9  # below, an angle is unknown by far more than a turn
    sin_e, sin_f, cos_w = (np.maximum(x, tiny)[:, None] for x in (sin_e, sin_f, cos_w))
    sin_w = sin_w[:, None]
    bent = np.where(sin_f > tiny, (f - cos_f[:, None] * u) / sin_f, raise_)
    zero, ninety = cos_f[:, None] * bent - sin_f * u, np.cross(u, bent)
    level = np.where(cos_w > tiny, np.cross(f, back) / cos_w, zero)
    d_upper = np.cross(u[:, None], du)
    plane = _dot(du, side_) / sin_e
    about_upper = _dot(df - np.cross(d_upper, f[:, None]), ninety) / sin_f
    rotation = about_upper - cos_e[:, None] * plane
    flexion = _dot(df, zero) - _dot(du, bent)
    d_fore = np.cross(f[:, None], df)
    spin = _dot(d_upper, f) + cos_f[:, None] * about_upper
    rest = d_hand - d_fore
    pronation = (_dot(rest, f) - sin_w * _dot(rest, back)) / cos_w**2 - spin
    deviation = (_dot(rest, back) - sin_w * _dot(rest, f)) / cos_w**2
    J = np.stack([plane, _dot(du, raise_), rotation, flexion, pronation, -_dot(rest, level), deviation], axis=1)
    J = J.reshape(len(u), 7, 6, 3)
    sigmas = np.sqrt(np.einsum("tapi,tpij,tapj->ta", J, axes @ covariance @ axes.T, J))
    return np.where(sigmas <= np.pi, sigmas, np.inf)


def elbow_between(
    shoulder: Float[ndarray, "T 3"],
    wrist: Float[ndarray, "T 3"],
    upper: float,
    fore: float,
    bend: Float[ndarray, "T 3"],
) -> Float[ndarray, "T 3"]:
    """The elbow [m] of an arm with these limb lengths [m] between two points, on the side of `bend`, a unit vector normal to
    their line. Where the wrist is out of reach the upper arm points straight at it, and the forearm is longer (or shorter)."""
    line = wrist - shoulder
    reach = np.linalg.norm(line, axis=1, keepdims=True)
    along = line / np.maximum(reach, 1e-9)
    d = np.clip(reach, abs(upper - fore) + 1e-3, upper + fore)
    cosine = np.clip((upper**2 + d**2 - fore**2) / (2.0 * upper * d), -1.0, 1.0)
    return shoulder + upper * (cosine * along + np.sqrt(1.0 - cosine**2) * bend)


def last_determined(determined: Bool[ndarray, "T"], start: Bool[ndarray, "T"]) -> Int[ndarray, "T"]:
    """For every frame the last one up to it, in its recording, in which a value was determined; before the first such
    frame, that one; -1 where the recording has none. `start` is true where another recording begins."""
    n = len(determined)
    frames = np.arange(n)
    starts = start.copy()
    starts[:1] = True
    first = np.maximum.accumulate(np.where(starts, frames, 0))
    before = np.maximum.accumulate(np.where(determined, frames, -1))
    after = np.minimum.accumulate(np.where(determined, frames, n)[::-1])[::-1]
    after = np.where((after < n) & (first[np.minimum(after, n - 1)] == first), after, -1)
    return np.where(before >= first, before, after)


def _settled(angle: ndarray, determined: ndarray, start: ndarray) -> ndarray:
    """An angle [rad] held where it is not determined, 0 where it never is, unwrapped inside each recording."""
    source = last_determined(determined, start)
    angle = np.where(source >= 0, angle[source], 0.0)
    steps = np.diff(angle, prepend=angle[:1])
    turns = np.where(start, 0.0, np.round(steps / (2.0 * np.pi)))
    turns = np.cumsum(turns)
    first = np.maximum.accumulate(np.where(start, np.arange(len(angle)), 0))
    return angle - 2.0 * np.pi * (turns - turns[first])


def _arm_directions(
    axes: ndarray, shoulder: ndarray, elbow: ndarray, wrist: ndarray, Rs: ndarray
) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Unit directions of upper arm, forearm, thumb side and fingers in the torso's axes."""
    upper, fore = _directions(elbow - shoulder, "upper arm"), _directions(wrist - elbow, "forearm")
    thumb, fingers = (_directions(Rs[:, :, k], "hand") for k in (1, 2))
    return upper @ axes.T, fore @ axes.T, thumb @ axes.T, fingers @ axes.T


def _directions(v: ndarray, limb: str) -> ndarray:
    """`v` (T, 3) [m] with unit rows, each of which must have a length."""
    length = np.linalg.norm(v, axis=1, keepdims=True)
    good = (length >= SHORTEST) & (length < np.inf)
    if not good.all():
        k = int(np.argmin(good))
        raise InvalidInput(
            f"frame {k}: the {limb} is {length[k, 0]:.4f} m long, but only from {SHORTEST} m on has it a direction "
            f"({int((~good).sum())} of {len(v)} frames are so); bridge them or cut them out"
        )
    return v / length


def _elevation_frame(plane: ndarray, elevation: ndarray) -> tuple[ndarray, ndarray]:
    """The two directions normal to the upper arm: the one in which it rises, and the one to its side."""
    sin, cos = np.sin(elevation), np.cos(elevation)
    raise_ = np.stack([cos * np.sin(plane), cos * np.cos(plane), sin], axis=1)
    side_ = np.stack([np.cos(plane), -np.sin(plane), np.zeros_like(plane)], axis=1)
    return raise_, side_


def _upper_arm(plane: ndarray, elevation: ndarray) -> ndarray:
    sin, cos = np.sin(elevation), np.cos(elevation)
    return np.stack([sin * np.sin(plane), sin * np.cos(plane), -cos], axis=1)


def _forearm_frame(plane: ndarray, elevation: ndarray, rotation: ndarray, flexion: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """The forearm, and the two directions normal to it that the thumb side is measured against."""
    raise_, side_ = _elevation_frame(plane, elevation)
    upper = _upper_arm(plane, elevation)
    bent = np.cos(rotation)[:, None] * raise_ + np.sin(rotation)[:, None] * side_
    fore = np.cos(flexion)[:, None] * upper + np.sin(flexion)[:, None] * bent
    zero = np.cos(flexion)[:, None] * bent - np.sin(flexion)[:, None] * upper
    return fore, zero, np.cross(fore, zero)


def _moved(direction: ndarray, tail: int, tip: int, length: ndarray) -> ndarray:
    """How a unit direction (T, 3) from one of six points to another changes with their coordinates: (T, 18, 3) [rad/m]."""
    out = np.zeros((len(direction), 6, 3, 3))
    square = np.eye(3) - direction[:, :, None] * direction[:, None, :]
    out[:, tip] = square / length[:, None, None]
    out[:, tail] = -out[:, tip]
    return out.reshape(len(direction), 18, 3)


def _dot(rows: ndarray, v: ndarray) -> ndarray:
    """Scalar products of (T, N, 3) with (T, 3)."""
    return np.einsum("tnk,tk->tn", rows, v)
