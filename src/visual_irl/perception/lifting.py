"""Keypoints in 3D from 2D landmarks: with a depth picture, or without one up to a scale that the arm's length gives.

Everything here is a pure function in the optical camera frame [m] until `to_world`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.detection import POSE_INDEX, HandDetection, PersonDetection, pixels_per_metre
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, SIDES, Intrinsics, KeypointFrame, keypoint_index

_ROWS = np.array([POSE_INDEX[name] for name in BODY_KEYPOINTS])
_LIMBS = {  # row of a joint -> rows of the joints that a limb ties it to
    BODY_KEYPOINTS.index(f"{side}_{joint}"): [BODY_KEYPOINTS.index(f"{side}_{other}") for other in others]
    for side in SIDES
    for joint, others in (("elbow", ("shoulder", "wrist")), ("wrist", ("elbow",)), ("shoulder", ("elbow",)))
}
_FORWARD = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True)
class LiftingConfig:
    """How landmarks become joint centres."""

    min_visibility: float = 0.5
    """A landmark with a lower visibility in [0, 1] is lost: below it the network guesses."""
    inset_shoulder: float = 0.06
    """From the skin that the camera sees to the shoulder's centre, along the viewing ray [m]. This one, the elbow's and
    the wrist's were chosen to centre that error on rendered demonstrations of three bodies."""
    inset_elbow: float = 0.065
    """The same for the elbow [m]."""
    inset_wrist: float = 0.04
    """The same for the wrist [m]."""
    inset_hip: float = 0.09
    """The same for the hip [m]; a guess, for rendered people sit behind a table."""
    inset_hand: float = 0.009
    """The same for the joints of the hand [m]: half a finger."""
    patch: float = 0.012
    """Half the side of the square over which depth is read [m]: within a forearm's width."""
    max_disagreement: float = 0.20
    """A joint whose depth differs by more [m] from the body's shape is what hides the joint or lies behind it; the
    shape itself errs by 0.05 m on average."""
    limb_range: tuple[float, float] = (0.20, 0.36)
    """Lengths of adults' upper arms and forearms [m]; a depth that gives them is believed against the shape."""
    sigma_lateral: float = 0.015
    """Standard deviation across the ray [m]: about 9 px of 640 at 1 m."""
    sigma_depth: float = 0.025
    """Standard deviation along the ray of a joint whose depth was measured [m]."""
    sigma_shape: float = 0.08
    """Standard deviation along the ray of a joint placed by the body's shape alone [m]."""


@dataclass(frozen=True)
class Lifted:
    """Keypoints in the camera frame; `measured` tells those with depth of their own from those placed by shape."""

    p_camera: Float[ndarray, "K 3"]
    sigma_lateral: Float[ndarray, "K"]
    sigma_depth: Float[ndarray, "K"]
    confidence: Float[ndarray, "K"]
    uv: Float[ndarray, "K 2"]
    measured: Bool[ndarray, "K"]


def lift_keypoints(
    person: PersonDetection, depth: Float[ndarray, "H W"] | None, intrinsics: Intrinsics, config: LiftingConfig
) -> Lifted | None:
    """Every keypoint that can be placed, or None when none can.

    With `depth` [m], a joint lies behind the skin at its pixel; without, the body's shape is placed where it projects
    best onto the pixels, in the shape's own scale: `torso.align_to_torso` corrects that once a clip is complete.
    """
    visible = person.visibility >= config.min_visibility
    shape = _seen_from(person.uv[visible].mean(0), intrinsics, person.shape) if visible.any() else person.shape
    uv, w = person.uv[_ROWS], shape[_ROWS]
    confidence = np.where(visible[_ROWS], person.visibility[_ROWS], 0.0)
    if depth is None:
        anchor = _depth_by_projection(person.uv, shape, visible, intrinsics)
        z_centre = np.full(len(_ROWS), np.nan)
    else:
        px_per_m = pixels_per_metre(person.uv[visible], shape[visible]) if visible.any() else 0.0
        z_skin = np.array([skin_depth(depth, p, config.patch * px_per_m) for p in uv])
        z_centre = z_skin + _insets(config) * _cosine(uv, intrinsics)
        z_centre[confidence == 0.0] = np.nan
        agreed, anchor = reject_by_shape(z_centre, w[:, 2], config.max_disagreement)
        z_centre = keep_human_limbs(intrinsics.back_project(uv, z_centre), agreed, config.limb_range)
    if anchor is None:
        return None
    measured = np.isfinite(z_centre)
    z = np.where(measured, z_centre, w[:, 2] + anchor)
    confidence = np.where(z > 0.05, confidence * np.where(measured | (depth is None), 1.0, 0.5), 0.0)
    return _assemble(person, depth, intrinsics, config, uv, z, confidence, measured)


def _assemble(
    person: PersonDetection,
    depth: Float[ndarray, "H W"] | None,
    intrinsics: Intrinsics,
    config: LiftingConfig,
    uv: Float[ndarray, "8 2"],
    z: Float[ndarray, "8"],
    confidence: Float[ndarray, "8"],
    measured: Bool[ndarray, "8"],
) -> Lifted | None:
    """The body's joints and, on each wrist that was found, its hand."""
    k, body = len(KEYPOINTS), slice(0, len(BODY_KEYPOINTS))
    p, all_uv = np.full((k, 3), np.nan), np.full((k, 2), np.nan)
    all_confidence, all_measured = np.zeros(k), np.zeros(k, bool)
    p[body], all_uv[body] = intrinsics.back_project(uv, z), uv
    all_confidence[body], all_measured[body] = confidence, measured & (confidence > 0.0)
    for side, hand in person.hands.items():
        wrist = keypoint_index(f"{side}_wrist")
        if all_confidence[wrist] > 0.0:
            placed = place_hand(hand, float(p[wrist, 2]), depth, intrinsics, config)
            if placed is not None:
                rows = slice(keypoint_index(f"{side}_hand_wrist"), keypoint_index(f"{side}_hand_wrist") + 21)
                p[rows], all_measured[rows] = placed
                all_uv[rows], all_confidence[rows] = hand.uv, hand.score
    lost = all_confidence == 0.0
    p[lost], all_uv[lost] = np.nan, np.nan
    if lost.all():
        return None
    sigma_depth = np.where(all_measured, config.sigma_depth, config.sigma_shape)
    sigma_lateral = np.full(k, config.sigma_lateral)
    sigma_depth[lost] = sigma_lateral[lost] = np.nan
    return Lifted(p, sigma_lateral, sigma_depth, all_confidence, all_uv, all_measured)


def skin_depth(depth: Float[ndarray, "H W"], uv: Float[ndarray, "2"], half: float) -> float:
    """Median of the known depth [m] within `half` px of a pixel; NaN outside of the picture or when most is unknown."""
    height, width = depth.shape
    if not (0.0 <= uv[0] < width and 0.0 <= uv[1] < height):
        return np.nan
    u, v, r = round(float(uv[0])), round(float(uv[1])), max(1, round(half))
    patch = depth[max(v - r, 0) : v + r + 1, max(u - r, 0) : u + r + 1]
    known = patch[np.isfinite(patch)]
    return float(np.median(known)) if known.size > 0.3 * patch.size else np.nan


def reject_by_shape(
    z: Float[ndarray, "N"], z_shape: Float[ndarray, "N"], limit: float
) -> tuple[Float[ndarray, "N"], float | None]:
    """Depths [m] without those that contradict the body's shape, and the depth of the shape's origin.

    The origin is the one that most joints agree on within `limit` [m]; None when fewer than two do.
    """
    origin = z - z_shape
    known = np.flatnonzero(np.isfinite(origin))
    if len(known) < 2:
        return np.full_like(z, np.nan), None
    agrees = np.abs(origin[known, None] - origin[None, known]) <= limit
    best = agrees[np.argmax(agrees.sum(1))]
    if best.sum() < 2:
        return np.full_like(z, np.nan), None
    anchor = float(np.median(origin[known[best]]))
    return np.where(np.abs(origin - anchor) <= limit, z, np.nan), anchor


def keep_human_limbs(
    p: Float[ndarray, "8 3"], z_agreed: Float[ndarray, "8"], limb_range: tuple[float, float]
) -> Float[ndarray, "8"]:
    """`z_agreed` [m] with those measured depths taken back whose limbs to accepted joints all have human lengths.

    The shape may be wrong by more than its limit, for a whole arm; what hides a joint rarely lies where a limb fits.

    Args:
        p: all measured joints [m], in the order of `BODY_KEYPOINTS`, NaN where nothing was measured.
        z_agreed: depths that agree with the shape, NaN elsewhere.
        limb_range: shortest and longest limb [m].
    """
    z = z_agreed.copy()
    for _ in range(2):  # from the shoulder to the elbow, then on to the wrist
        for joint, neighbours in _LIMBS.items():
            accepted = [n for n in neighbours if np.isfinite(z[n])]
            if np.isnan(z[joint]) and np.isfinite(p[joint]).all() and accepted:
                lengths = np.linalg.norm(p[accepted] - p[joint], axis=1)
                if ((lengths >= limb_range[0]) & (lengths <= limb_range[1])).all():
                    z[joint] = p[joint, 2]
    return z


def place_hand(
    hand: HandDetection,
    wrist_z: float,
    depth: Float[ndarray, "H W"] | None,
    intrinsics: Intrinsics,
    config: LiftingConfig,
) -> tuple[Float[ndarray, "21 3"], bool] | None:
    """The hand's joints [m], each on its pixel's ray, and whether its depth was measured; None when it does not fit.

    Its distance is that of the skin under its landmarks, or the wrist's when too little of that is known or it lies
    further than `max_disagreement` from the wrist. Its size follows from the pixels.
    """
    w = _seen_from(hand.uv.mean(0), intrinsics, hand.shape)
    z_skin = np.full(len(w), np.nan)
    if depth is not None:
        half = 0.5 * config.patch * intrinsics.fx / wrist_z
        z_skin = np.array([skin_depth(depth, p, half) for p in hand.uv]) + config.inset_hand
    scale, origin, measured = 1.0, 0.0, False
    for _ in range(3):  # size and distance depend weakly on each other
        origins = (z_skin - scale * w[:, 2])[np.isfinite(z_skin)]
        measured = len(origins) >= 5 and abs(np.median(origins) + scale * w[0, 2] - wrist_z) <= config.max_disagreement
        origin = float(np.median(origins)) if measured else wrist_z - scale * float(w[0, 2])
        scale = _size_by_projection(hand.uv, w, origin, intrinsics)
    z = scale * w[:, 2] + origin
    if not (0.5 <= scale <= 1.8 and z.min() > 0.05):
        return None  # no adult or child has such a hand: the landmarks are wrong
    return intrinsics.back_project(hand.uv, z), bool(measured)


def to_world(lifted: Lifted | None, stamp_ns: int, T_world_camera: Float[ndarray, "4 4"] | None) -> KeypointFrame:
    """The keypoints in the world frame, or in the camera frame when that is all that is known; None: nobody seen."""
    k = len(KEYPOINTS)
    if lifted is None:
        nothing = np.full((k, 3), np.nan)
        return KeypointFrame(stamp_ns, nothing, nothing, np.zeros(k), nothing[:, :2])
    T = np.eye(4) if T_world_camera is None else T_world_camera
    ray = lifted.p_camera / np.linalg.norm(lifted.p_camera, axis=1, keepdims=True) @ T[:3, :3].T
    variance = lifted.sigma_lateral[:, None] ** 2 * (1.0 - ray**2) + lifted.sigma_depth[:, None] ** 2 * ray**2
    return KeypointFrame(stamp_ns, se3.apply(T, lifted.p_camera), np.sqrt(variance), lifted.confidence, lifted.uv)


def _insets(config: LiftingConfig) -> Float[ndarray, "8"]:
    return np.array([getattr(config, f"inset_{name.partition('_')[2]}") for name in BODY_KEYPOINTS])


def _cosine(uv: Float[ndarray, "N 2"], intrinsics: Intrinsics) -> Float[ndarray, "N"]:
    """Share of a step along a pixel's ray that goes along the camera's z."""
    return 1.0 / np.linalg.norm(intrinsics.back_project(uv, np.ones(len(uv))), axis=1)


def _seen_from(uv: Float[ndarray, "2"], intrinsics: Intrinsics, shape: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """A shape estimated as if it stood in the middle of the picture, turned to the ray on which it really is."""
    ray = intrinsics.back_project(uv, np.array(1.0))
    return shape @ se3.rotation_between(_FORWARD, ray).T


def _depth_by_projection(
    uv: Float[ndarray, "N 2"], shape: Float[ndarray, "N 3"], visible: Bool[ndarray, "N"], intrinsics: Intrinsics
) -> float | None:
    """Depth [m] of the shape's origin where the shape projects best onto the pixels: linear least squares in the
    translation t, f (w_x + t_x) = (u - c)(w_z + t_z). None with fewer than four landmarks."""
    if visible.sum() < 4:
        return None
    w, d = shape[visible], uv[visible] - [intrinsics.cx, intrinsics.cy]
    n = len(w)
    A, b = np.zeros((2 * n, 3)), np.zeros(2 * n)
    for axis, f in enumerate((intrinsics.fx, intrinsics.fy)):
        rows: Int[ndarray, "N"] = np.arange(n) + axis * n
        A[rows, axis], A[rows, 2] = f, -d[:, axis]
        b[rows] = d[:, axis] * w[:, 2] - f * w[:, axis]
    depth = float(np.linalg.lstsq(A, b, rcond=None)[0][2])
    return depth if depth > 0.1 else None


def _size_by_projection(uv: Float[ndarray, "N 2"], w: Float[ndarray, "N 3"], z: float, intrinsics: Intrinsics) -> float:
    """Scale s with which a shape whose origin is `z` [m] away projects best: f (s w_x + t_x) = (u - c)(s w_z + z)."""
    d, n = uv - [intrinsics.cx, intrinsics.cy], len(w)
    A, b = np.zeros((2 * n, 3)), np.zeros(2 * n)
    for axis, f in enumerate((intrinsics.fx, intrinsics.fy)):
        rows: Int[ndarray, "N"] = np.arange(n) + axis * n
        A[rows, 0], A[rows, 1 + axis] = f * w[:, axis] - d[:, axis] * w[:, 2], f
        b[rows] = d[:, axis] * z
    return float(np.linalg.lstsq(A, b, rcond=None)[0][0])
