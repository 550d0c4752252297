"""The human arm of demonstrations, motion files and plans: gap-free joint centres, a hand frame, and its anatomical angles."""

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
from visual_irl.io.motion import ArmMotion
from visual_irl.mapping.anatomy import SHORTEST, angle_sigmas, angles_of_arm, elbow_between, hand_orientation, torso_frame
from visual_irl.types import SIDES, Demonstration, HandPlan, HumanArmTrajectory, keypoint_index

GRASP_REACH = 0.10
"""Distance from the wrist to the grasp centre along the fingers [m]: about the metacarpals' length of an adult hand."""

ANGLE_POINTS = ("shoulder", "elbow", "wrist", "hand_index_mcp", "hand_middle_mcp", "hand_pinky_mcp")
"""The keypoints that determine the angles, in the order of `angle_sigmas`."""

SMOOTH_SECONDS = 0.12
"""Standard deviation of the window over the hand's directions [s]: knuckles are a few centimetres apart and as noisy."""


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
    q = angles_of_arm(axes, shoulder, elbow, wrist, Ts_world_hand[:, :3, :3])
    return HumanArmTrajectory(demo.t, demo.side, q, shoulder, elbow, wrist, Ts_world_hand, observed, grip)


def angle_deviations(demo: Demonstration) -> Float[ndarray, "T 7"]:
    """Standard deviations [rad] of a demonstrating arm's angles that those of its keypoints bring about, frame by frame.

    NaN where shoulder, elbow, wrist or one of the knuckles was lost, or a span between them is nothing; `inf` where the pose
    leaves an angle open. Those of the hand are what they are in a single frame: `observed_arm` smooths its directions. The
    plane of elevation counts from where the torso looks, which the line of the shoulders says.
    """
    rows = [keypoint_index(f"{demo.side}_{name}") for name in ANGLE_POINTS]
    shoulder, elbow, wrist, index, middle, pinky = np.moveaxis(demo.p_world[:, rows], 1, 0)
    covariance = demo.covariance[:, rows]
    along, across = middle - wrist, index - pinky
    spans = elbow - shoulder, wrist - elbow, along, np.cross(_unit(along), across)
    known = np.isfinite(covariance).all((1, 2, 3)) & np.all([np.linalg.norm(v, axis=1) >= SHORTEST for v in spans], axis=0)
    sigmas = np.full((len(demo.t), 7), np.nan)
    if known.any():
        Rs = hand_orientation(along[known], across[known])
        arm = torso_axes(demo), shoulder[known], elbow[known], wrist[known], Rs
        sigmas[known] = angle_sigmas(*arm, covariance[known])
        sigmas[known, 0] = np.hypot(sigmas[known, 0], heading_deviation(demo))
    return sigmas


def heading_deviation(demo: Demonstration) -> float:
    """Standard deviation [rad] of where the torso looks (`torso_axes`): `inf` where one shoulder was never seen.

    What puts a shoulder off (skin, clothes, the view) does so in all frames: a longer demonstration tells no more.
    """
    both = [keypoint_index(f"{side}_shoulder") for side in SIDES]
    forward, lateral, _ = torso_axes(demo)
    breadth = np.abs((demo.p_world[:, both[0]] - demo.p_world[:, both[1]]) @ lateral)
    variance = np.einsum("i,tpij,j->t", forward, demo.covariance[:, both], forward)
    turned = np.sqrt(variance) / np.maximum(breadth, SHORTEST)
    return float(np.median(turned[np.isfinite(turned)])) if np.isfinite(turned).any() else np.inf


def arm_of_motion(motion: ArmMotion) -> HumanArmTrajectory:
    """The arm of a motion file in its torso frame (x forward, y left, z up)."""
    Ts = np.tile(np.eye(4), (len(motion.t), 1, 1))
    Ts[:, :3, :3] = motion.R_hand
    Ts[:, :3, 3] = motion.wrist + GRASP_REACH * motion.R_hand[:, :, 2]
    q = angles_of_arm(torso_frame(motion.side), motion.shoulder, motion.elbow, motion.wrist, motion.R_hand, motion.start)
    seen = np.ones(len(motion.t), bool)
    return HumanArmTrajectory(
        motion.t, motion.side, q, motion.shoulder, motion.elbow, motion.wrist, Ts, seen, np.zeros(len(motion.t))
    )


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
    shoulders = np.tile(shoulder, (n, 1))
    down, outward = swivel_frame(_unit(wrist - shoulders), axes)
    bend = np.cos(plan.swivel)[:, None] * down + np.sin(plan.swivel)[:, None] * outward
    elbow = elbow_between(shoulders, wrist, upper, fore, bend)
    q = angles_of_arm(axes, shoulders, elbow, wrist, plan.Ts_world_hand[:, :3, :3])
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
    Ts = np.tile(np.eye(4), (len(demo.t), 1, 1))
    Ts[:, :3, :3] = hand_orientation(fingers, _unit(thumb))
    Ts[:, :3, 3] = wrist + GRASP_REACH * fingers
    return Ts


def _bridge(t: ndarray, p: ndarray) -> ndarray:
    """`p` (T, 3) with rows that are not finite interpolated in time, held at the ends."""
    good = np.isfinite(p).all(axis=1)
    return np.stack([np.interp(t, t[good], p[good, k]) for k in range(3)], axis=1)


def _unit(v: ndarray) -> ndarray:
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9)
