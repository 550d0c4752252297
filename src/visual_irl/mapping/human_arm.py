"""The arm of a demonstration: gap-free joint centres, a hand frame, and seven anatomical angles and back.

Angles follow the ISB recommendation (Wu et al. 2005, J. Biomech. 38, "ISB recommendation on definitions of joint
coordinate systems ... Part II: shoulder, elbow, wrist and hand") in a torso frame (forward, lateral, up), where lateral
points away from the body on either side, so that left and right arms that mirror each other have equal angles:

- shoulder: plane of elevation (0 abduction, pi/2 flexion), elevation (0 hanging), axial rotation,
- elbow flexion (0 straight), forearm rotation (pronation positive),
- wrist flexion and deviation (0: the hand continues the forearm).

Singular poses are defined, not guessed: a hanging or overhead arm has plane 0, a straight elbow has axial rotation 0.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from visual_irl.errors import NoPersonFound
from visual_irl.types import Demonstration, HandPlan, HumanArmTrajectory

GRASP_REACH = 0.10
"""Distance from the wrist to the grasp centre along the fingers [m]: about the metacarpals' length of an adult hand."""

SMOOTH_SECONDS = 0.12
"""Standard deviation of the window over the hand's directions [s]: knuckles are a few centimetres apart and as noisy."""

SINGULAR = np.sin(np.radians(3.0))
"""Below this sine of an angle, a direction that depends on it is treated as undefined."""


def observed_arm(demo: Demonstration) -> HumanArmTrajectory:
    """The demonstrating arm without gaps; short losses are interpolated and marked as not observed.

    Raises:
        NoPersonFound: shoulder, elbow or wrist were seen in fewer than a tenth of the frames or in fewer than 5.
    """
    names = ("shoulder", "elbow", "wrist")
    joints = {name: demo.keypoint(name) for name in names}
    observed = np.all([np.isfinite(p).all(axis=1) for p in joints.values()], axis=0)
    if observed.sum() < max(5, 0.1 * len(demo.t)):
        counts = ", ".join(f"{n} in {int(np.isfinite(p).all(axis=1).sum())}" for n, p in joints.items())
        raise NoPersonFound(
            f"the {demo.side} arm was seen whole in {int(observed.sum())} of {len(demo.t)} frames ({counts}); at least a "
            "tenth is needed: film the arm from shoulder to hand, or choose the other arm with --side"
        )
    shoulder, elbow, wrist = (_bridge(demo.t, p) for p in joints.values())
    grip = np.array([float(bool(name)) for name in demo.held])
    axes = torso_axes(demo)
    Ts_world_hand = _hand_poses(demo, elbow, wrist)
    q = angles_of_arm(demo.side, axes, shoulder, elbow, wrist, Ts_world_hand[:, :3, :3])
    return HumanArmTrajectory(demo.t, demo.side, q, shoulder, elbow, wrist, Ts_world_hand, observed, grip)


def anchored(arm: HumanArmTrajectory) -> HumanArmTrajectory:
    """The arm as it moves about its own shoulder, held at the shoulder's median place: a person may walk, a base may not."""
    still = np.tile(np.median(arm.shoulder[arm.observed], axis=0), (len(arm.t), 1))
    shift = still - arm.shoulder
    Ts = np.array(arm.Ts_world_hand)
    Ts[:, :3, 3] += shift
    return replace(arm, shoulder=still, elbow=arm.elbow + shift, wrist=arm.wrist + shift, Ts_world_hand=Ts)


def densified(arm: HumanArmTrajectory, rate: float) -> HumanArmTrajectory:
    """The arm with at least `rate` samples a second, so that a robot's steps between them are small.

    Points run on monotone cubics (Fritsch and Carlson 1980), which do not overshoot; hands turn at constant speed.
    """
    steps = np.diff(arm.t)
    if (steps <= 1.0 / rate + 1e-9).all():
        return arm
    parts = [np.linspace(a, b, max(1, int(np.ceil((b - a) * rate - 1e-6))), endpoint=False) for a, b in pairwise(arm.t)]
    t = np.append(np.concatenate(parts), arm.t[-1])
    nearest = np.abs(np.searchsorted(0.5 * (arm.t[1:] + arm.t[:-1]), t))
    Ts = np.tile(np.eye(4), (len(t), 1, 1))
    Ts[:, :3, 3] = PchipInterpolator(arm.t, arm.Ts_world_hand[:, :3, 3])(t)
    Ts[:, :3, :3] = Slerp(arm.t, Rotation.from_matrix(arm.Ts_world_hand[:, :3, :3]))(t).as_matrix()
    points = {name: PchipInterpolator(arm.t, getattr(arm, name))(t) for name in ("q", "shoulder", "elbow", "wrist")}
    return replace(arm, t=t, Ts_world_hand=Ts, observed=arm.observed[nearest], grip=arm.grip[nearest], **points)


def imagined_arm(
    plan: HandPlan,
    side: str,
    axes: Float[ndarray, "3 3"],
    shoulder: Float[ndarray, "3"],
    upper: float,
    fore: float,
) -> HumanArmTrajectory:
    """The arm of a person of these limb lengths [m] whose hand follows a plan, with the elbow at the plan's swivel.

    Where the hand is out of that person's reach the arm points straight at it; the hand stays where the plan has it.
    """
    n = len(plan.t)
    hand, fingers = plan.Ts_world_hand[:, :3, 3], plan.Ts_world_hand[:, :3, 2]
    wrist = hand - GRASP_REACH * fingers
    line = wrist - shoulder
    reach = np.linalg.norm(line, axis=1, keepdims=True)
    along = line / np.maximum(reach, 1e-9)
    d = np.clip(reach, abs(upper - fore) + 1e-3, upper + fore)
    cosine = np.clip((upper**2 + d**2 - fore**2) / (2.0 * upper * d), -1.0, 1.0)
    down, outward = swivel_frame(along, axes)
    bend = np.cos(plan.swivel)[:, None] * down + np.sin(plan.swivel)[:, None] * outward
    shoulders = np.tile(shoulder, (n, 1))
    elbow = shoulders + upper * (cosine * along + np.sqrt(1.0 - cosine**2) * bend)
    q = angles_of_arm(side, axes, shoulders, elbow, wrist, plan.Ts_world_hand[:, :3, :3])
    return HumanArmTrajectory(plan.t, side, q, shoulders, elbow, wrist, plan.Ts_world_hand, np.ones(n, bool), plan.grip)


def swivel_of_arm(arm: HumanArmTrajectory, axes: Float[ndarray, "3 3"]) -> Float[ndarray, "T"]:
    """The elbow's angle [rad] about the line from shoulder to wrist: 0 straight down, positive outward (Badler 1999)."""
    down, outward = swivel_frame(_unit(arm.wrist - arm.shoulder), axes)
    upper = arm.elbow - arm.shoulder
    return np.arctan2(np.sum(upper * outward, axis=1), np.sum(upper * down, axis=1))


def swivel_frame(along: Float[ndarray, "T 3"], axes: Float[ndarray, "3 3"]) -> tuple[ndarray, ndarray]:
    """Directions normal to `along`: the lowest one, and the one to its outer side."""
    outward = axes[1] - np.sum(along * axes[1], axis=1, keepdims=True) * along
    down = -axes[2] - np.sum(along * -axes[2], axis=1, keepdims=True) * along
    down = np.where(np.linalg.norm(down, axis=1, keepdims=True) > 1e-3, down, -axes[0])
    down = _unit(down)
    outward = outward - np.sum(outward * down, axis=1, keepdims=True) * down
    return down, _unit(outward)


def torso_axes(demo: Demonstration) -> Float[ndarray, "3 3"]:
    """Rows: unit axes forward, lateral (outward on the demonstrating side) and up of the torso in the world, fixed over time.

    Up is the world's z (the torso is upright); left is the median shoulder line, or +y when one shoulder was never seen.
    """
    line = demo.keypoint("left_shoulder") - demo.keypoint("right_shoulder")
    left = np.array([0.0, 1.0, 0.0])
    if np.isfinite(line).all(axis=1).any():
        left = np.nanmedian(line, axis=0) * [1.0, 1.0, 0.0]
        left /= np.linalg.norm(left)
    up = np.array([0.0, 0.0, 1.0])
    return np.stack([np.cross(left, up), left if demo.side == "left" else -left, up])


def angles_of_arm(
    side: str,
    axes: Float[ndarray, "3 3"],
    shoulder: Float[ndarray, "T 3"],
    elbow: Float[ndarray, "T 3"],
    wrist: Float[ndarray, "T 3"],
    Rs_world_hand: Float[ndarray, "T 3 3"],
) -> Float[ndarray, "T 7"]:
    """The seven angles [rad] of an arm; `axes` are the rows forward, lateral, up. Unwrapped over time."""
    upper = _unit(elbow - shoulder) @ axes.T
    fore = _unit(wrist - elbow) @ axes.T
    thumb, fingers = (Rs_world_hand[:, :, k] @ axes.T for k in (1, 2))
    elevation = np.arctan2(np.linalg.norm(upper[:, :2], axis=1), -upper[:, 2])
    plane = np.where(np.sin(elevation) > SINGULAR, np.arctan2(upper[:, 0], upper[:, 1]), 0.0)
    raise_, side_ = _elevation_frame(plane, elevation)
    flexion = np.arctan2(np.linalg.norm(np.cross(upper, fore), axis=1), np.sum(upper * fore, axis=1))
    rotation = np.arctan2(np.sum(fore * side_, axis=1), np.sum(fore * raise_, axis=1))
    rotation = np.where(np.sin(flexion) > SINGULAR, rotation, 0.0)
    zero, ninety = _forearm_frame(raise_, side_, upper, rotation, flexion)
    pronation = np.arctan2(np.sum(thumb * ninety, axis=1), np.sum(thumb * zero, axis=1))
    thumb0 = np.cos(pronation)[:, None] * zero + np.sin(pronation)[:, None] * ninety
    normal0 = np.cross(thumb0, fore)
    wrist_flexion = np.arctan2(np.sum(fingers * normal0, axis=1), np.sum(fingers * fore, axis=1))
    deviation = np.arcsin(np.clip(np.sum(fingers * thumb0, axis=1), -1.0, 1.0))
    q = np.stack([plane, elevation, rotation, flexion, pronation, wrist_flexion, deviation], axis=1)
    return np.unwrap(q, axis=0)


def arm_of_angles(
    q: Float[ndarray, "T 7"], axes: Float[ndarray, "3 3"], shoulder: Float[ndarray, "T 3"], upper: float, fore: float
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 3"], Float[ndarray, "T 3"]]:
    """Elbow [m], wrist [m] and the direction of the fingers of an arm with these angles and limb lengths [m]."""
    plane, elevation, rotation, flexion, pronation, wrist_flexion, deviation = q.T
    sin, cos = np.sin(elevation), np.cos(elevation)
    u = np.stack([sin * np.sin(plane), sin * np.cos(plane), -cos], axis=1)
    raise_, side_ = _elevation_frame(plane, elevation)
    bent = np.cos(rotation)[:, None] * raise_ + np.sin(rotation)[:, None] * side_
    w = np.cos(flexion)[:, None] * u + np.sin(flexion)[:, None] * bent
    zero, ninety = _forearm_frame(raise_, side_, u, rotation, flexion)
    thumb = np.cos(pronation)[:, None] * zero + np.sin(pronation)[:, None] * ninety
    fingers = (
        np.cos(deviation)[:, None] * (np.cos(wrist_flexion)[:, None] * w + np.sin(wrist_flexion)[:, None] * np.cross(thumb, w))
        + np.sin(deviation)[:, None] * thumb
    )
    elbow = shoulder + upper * (u @ axes)
    return elbow, elbow + fore * (w @ axes), fingers @ axes


def _elevation_frame(plane: ndarray, elevation: ndarray) -> tuple[ndarray, ndarray]:
    """The two directions normal to the upper arm: the one in which it rises, and the one to its side."""
    sin, cos = np.sin(elevation), np.cos(elevation)
    raise_ = np.stack([cos * np.sin(plane), cos * np.cos(plane), sin], axis=1)
    side_ = np.stack([np.cos(plane), -np.sin(plane), np.zeros_like(plane)], axis=1)
    return raise_, side_


def _forearm_frame(
    raise_: ndarray, side_: ndarray, upper: ndarray, rotation: ndarray, flexion: ndarray
) -> tuple[ndarray, ndarray]:
    """The two directions normal to the forearm that the thumb side is measured against."""
    bent = np.cos(rotation)[:, None] * raise_ + np.sin(rotation)[:, None] * side_
    zero = -np.sin(flexion)[:, None] * upper + np.cos(flexion)[:, None] * bent
    fore = np.cos(flexion)[:, None] * upper + np.sin(flexion)[:, None] * bent
    return zero, np.cross(fore, zero)


def _hand_poses(demo: Demonstration, elbow: ndarray, wrist: ndarray) -> ndarray:
    """Hand poses from the knuckles; where the hand was not seen it continues the forearm, palm as last seen."""
    index, pinky = demo.keypoint("hand_index_mcp"), demo.keypoint("hand_pinky_mcp")
    middle = demo.keypoint("hand_middle_mcp")
    seen = np.isfinite(index + pinky + middle).all(axis=1)
    width = SMOOTH_SECONDS / float(np.median(np.diff(demo.t)))
    fingers = _unit(
        gaussian_filter1d(_unit(np.where(seen[:, None], middle - wrist, wrist - elbow)), width, axis=0, mode="nearest")
    )
    thumb = _bridge(demo.t, index - pinky) if seen.sum() >= 2 else np.cross([0.0, 0.0, 1.0], fingers)
    thumb = gaussian_filter1d(_unit(thumb), width, axis=0, mode="nearest")
    thumb = thumb - np.sum(thumb * fingers, axis=1, keepdims=True) * fingers
    degenerate = np.linalg.norm(thumb, axis=1) < 1e-3
    thumb[degenerate] = np.cross([1.0, 0.0, 0.0], fingers[degenerate])
    thumb = _unit(thumb)
    Ts = np.tile(np.eye(4), (len(demo.t), 1, 1))
    Ts[:, :3, 0], Ts[:, :3, 1], Ts[:, :3, 2] = np.cross(thumb, fingers), thumb, fingers
    Ts[:, :3, 3] = wrist + GRASP_REACH * fingers
    return Ts


def _bridge(t: ndarray, p: ndarray) -> ndarray:
    """`p` (T, 3) with rows that are not finite interpolated in time, held at the ends."""
    good = np.isfinite(p).all(axis=1)
    return np.stack([np.interp(t, t[good], p[good, k]) for k in range(3)], axis=1)


def _unit(v: ndarray) -> ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
