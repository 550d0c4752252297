"""Keypoints in 3D from 2D landmarks: with a depth picture, or without one up to a scale that the arm's length gives.

Everything here is a pure function in the optical camera frame [m] until `to_world`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.covariance import about_rays, turned
from visual_irl.perception.landmarks.body_geometry import covered
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection, pixels_per_metre
from visual_irl.perception.skeleton.arm_depth import ALONG, ArmBefore, LimbLengths, arm_depth
from visual_irl.perception.skeleton.elbow_fit import elbow_on_limbs
from visual_irl.perception.skeleton.hand_lifting import HandSkin, PlacedHand, hand_skin, place_hand, seen_from
from visual_irl.perception.skeleton.hand_order import MOST_TWIST, REVERSED, forearm_twist, reversed_order
from visual_irl.perception.skeleton.joint_centres import (
    ARMS,
    SHOULDERS,
    aboveness,
    across_rays,
    along_arms,
    behind_the_trunk,
    by_joint,
    insets,
    outwardness,
    to_shoulder_centres,
)
from visual_irl.perception.skeleton.lifting_config import LiftingConfig
from visual_irl.perception.skeleton.shoulder_cover import ShouldersBefore, before_shoulders
from visual_irl.perception.skeleton.skin_depth import skin_depths
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, SIDES, Intrinsics, KeypointFrame, keypoint_index

_ROWS = np.array([POSE_INDEX[name] for name in BODY_KEYPOINTS])
_LIMBS = {  # row of a joint -> rows of the joints that a limb ties it to
    BODY_KEYPOINTS.index(f"{side}_{joint}"): [BODY_KEYPOINTS.index(f"{side}_{other}") for other in others]
    for side in SIDES
    for joint, others in (("elbow", ("shoulder", "wrist")), ("wrist", ("elbow",)), ("shoulder", ("elbow",)))
}
_WRISTS = [arm[2] for arm in ARMS]
_IS_WRIST = np.isin(np.arange(len(BODY_KEYPOINTS)), _WRISTS)
_UPPER_ARMS = [row for arm in ARMS for row in arm[:2]]
GUESSED = 0.05
"""Deviation of a wrist's depth by its hand [m] for each deviation by which the two networks disagree on its pixel."""
_NO_LIMBS = np.full((2, 2), np.nan)
_WEIGHT = np.array([0.25 if name.endswith("hip") else 1.0 for name in BODY_KEYPOINTS])
"""Of a joint's depth where joints contradict each other: what is seen at hips is often the table's edge, for both alike."""


@dataclass(frozen=True)
class Lifted:
    """Keypoints in the camera frame; `measured` tells those with depth of their own from those placed by shape."""

    p_camera: Float[ndarray, "K 3"]
    sigma_lateral: Float[ndarray, "K"]
    sigma_depth: Float[ndarray, "K"]
    sigma_distance: float
    """Share of the distance by which all of it may be off together; 0 with depth."""
    confidence: Float[ndarray, "K"]
    uv: Float[ndarray, "K 2"]
    measured: Bool[ndarray, "K"]
    limbs: Float[ndarray, "2 2"]
    """Lengths of upper arm and forearm [m] by side, NaN unless all three joints have depth of their own."""


def lift_keypoints(
    person: PersonDetection,
    depth: Float[ndarray, "H W"] | None,
    intrinsics: Intrinsics,
    config: LiftingConfig,
    lengths: LimbLengths | None = None,
    before: Mapping[str, ArmBefore] | None = None,
    shoulders: ShouldersBefore | None = None,
) -> Lifted | None:
    """Every keypoint that can be placed, or None when none can.

    With `depth` [m], a joint lies behind the skin at its pixel, arms are as long as `lengths` says (any adult's when it is
    None), elbows do not jump away from where they were `before`, by side, and what is far before the `shoulders` of a moment
    ago is not them; without, the body's shape is placed where it projects best onto the pixels, in the shape's own scale:
    `torso.align_to_torso` corrects that once a clip is complete.
    """
    seen = _seen(person, depth, intrinsics, config)
    body = _project_body(seen) if depth is None else _place_body(seen, lengths or LimbLengths(), before or {}, shoulders)
    return None if body is None else _assemble(seen, body)


@dataclass(frozen=True)
class _Seen:
    """A person in one picture."""

    person: PersonDetection
    depth: Float[ndarray, "H W"] | None
    intrinsics: Intrinsics
    config: LiftingConfig
    visible: Bool[ndarray, "33"]
    """Which landmarks are no guesses."""
    shape: Float[ndarray, "33 3"]
    """The network's shape of the body [m], turned as the camera sees it."""
    px_per_m: float
    """How large the person appears [px/m]; 0 where no landmark is visible."""
    confidence: Float[ndarray, "8"]
    hidden: Bool[ndarray, "8"]
    """Which joints another part of the person covers."""
    skins: Mapping[str, HandSkin]


def _seen(person: PersonDetection, depth: Float[ndarray, "H W"] | None, camera: Intrinsics, config: LiftingConfig) -> _Seen:
    visible = person.visibility >= config.min_visibility
    shape = seen_from(person.uv[visible].mean(0), camera, person.shape) if visible.any() else person.shape
    px_per_m = pixels_per_metre(person.uv[visible], shape[visible]) if visible.any() else 0.0
    confidence = np.where(visible[_ROWS], person.visibility[_ROWS], 0.0)
    hidden = np.array([covered(person, *name.split("_")) for name in BODY_KEYPOINTS])
    skins = {side: hand_skin(hand, depth, camera, config) for side, hand in person.hands.items()}
    return _Seen(person, depth, camera, config, visible, shape, px_per_m, confidence, hidden, skins)


@dataclass
class _Body:
    """Joints of `BODY_KEYPOINTS`: pixels, places [m], confidence, which have depth of their own, deviations along and across
    the ray [m]."""

    uv: Float[ndarray, "8 2"]
    p: Float[ndarray, "8 3"]
    confidence: Float[ndarray, "8"]
    measured: Bool[ndarray, "8"]
    sigma: Float[ndarray, "8"]
    across: Float[ndarray, "8"]
    limbs: Float[ndarray, "2 2"]


def _project_body(seen: _Seen) -> _Body | None:
    """Joints of the shape where it projects best onto the pixels."""
    config, confidence = seen.config, seen.confidence.copy()
    anchor = _depth_by_projection(seen.person.uv, seen.shape, seen.visible, seen.intrinsics)
    if anchor is None:
        return None
    confidence[_WRISTS] *= ~seen.hidden[_WRISTS]
    uv, z = seen.person.uv[_ROWS], seen.shape[_ROWS, 2] + anchor
    p = seen.intrinsics.back_project(uv, z)
    p[SHOULDERS] += to_shoulder_centres(seen.shape[_ROWS], config)
    p = p + along_arms(p, config)
    nothing, sigma = np.zeros(len(z), bool), np.full(len(z), config.sigma_shape)
    return _Body(uv, p, confidence, nothing, sigma, by_joint(config, "lateral"), _NO_LIMBS)


class _Skin(NamedTuple):
    """What the depth picture shows at each joint's pixel."""

    rays: Float[ndarray, "8 3"]
    z: Float[ndarray, "8"]
    """Of the skin [m]; NaN: none, or not the joint's."""
    noise: Float[ndarray, "8"]
    """Standard deviation of a joint's depth by its skin [m]."""


def _place_body(
    seen: _Seen, lengths: LimbLengths, before: Mapping[str, ArmBefore], shoulders: ShouldersBefore | None
) -> _Body | None:
    """Joints by their skin's depth, checked by the shape; arms by all evidence together."""
    person, intrinsics, config, confidence, hidden = seen.person, seen.intrinsics, seen.config, seen.confidence, seen.hidden
    assert seen.depth is not None
    w = seen.shape[_ROWS]
    uv = _with_hands_wrists(seen)
    z_skin = skin_depths(seen.depth, uv, config.patch * seen.px_per_m)
    rays = intrinsics.back_project(uv, np.ones(len(uv)))
    z_seen = z_skin + insets(config, w, rays) / np.linalg.norm(rays, axis=1)
    far = np.zeros(len(uv), bool)
    far[SHOULDERS] = outwardness(w, rays) < config.far_shoulder
    z_skin[far | hidden] = z_seen[far | hidden] = np.nan
    before_them = somebody = np.zeros(2, bool)
    if shoulders is not None:
        before_them, somebody = before_shoulders((rays * z_seen[:, None])[SHOULDERS], shoulders, person, seen.px_per_m)
    z_skin[SHOULDERS], z_seen[SHOULDERS] = (np.where(before_them, np.nan, z[SHOULDERS]) for z in (z_skin, z_seen))
    confidence = confidence * ~np.repeat(somebody, len(BODY_KEYPOINTS) // 2)  # its arm is hidden, too, or that one's
    z_skin[confidence == 0.0] = z_seen[confidence == 0.0] = np.nan
    agreed, anchor = reject_by_shape(z_seen, w[:, 2], config.max_disagreement, _WEIGHT)
    if anchor is None:
        return None
    z = keep_human_limbs(intrinsics.back_project(uv, z_seen), agreed, config.limb_range, config.breadth_range)
    behind = behind_the_trunk(rays, z, w, far, config)
    z[np.isfinite(behind)] = np.nan
    measured = np.isfinite(z)
    confidence = confidence * ~(somebody.any() & np.repeat(~measured[SHOULDERS], len(BODY_KEYPOINTS) // 2))
    noise = np.hypot(config.sigma_depth, config.sigma_square * z**2)
    sigma = np.where(measured, noise, np.where(np.isfinite(behind), config.sigma_breadth, config.sigma_shape))
    z = np.where(measured, z, np.where(np.isfinite(behind), behind, w[:, 2] + anchor))
    p = rays * z[:, None]
    p[SHOULDERS] += across_rays(to_shoulder_centres(w, config), p[SHOULDERS])
    across = np.hypot(by_joint(config, "lateral"), config.landmark_pixels * intrinsics.width / 640.0 / intrinsics.fx * z)
    outward = outwardness(w, rays)
    across[SHOULDERS] = np.hypot(across[SHOULDERS], config.lateral_shoulder_side * outward)
    sigma[SHOULDERS] = np.hypot(sigma[SHOULDERS], config.sigma_shoulder_side * np.maximum(outward, 0.0))
    across[np.isfinite(behind)] = config.lateral_breadth
    across[_UPPER_ARMS] = np.hypot(across[_UPPER_ARMS], config.lateral_above * max(aboveness(w, rays) - config.above, 0.0))
    body, lost = _Body(uv, p, confidence, measured, sigma, across, _NO_LIMBS.copy()), hidden & _IS_WRIST
    for k, arm in enumerate(ARMS):
        if measured[arm[0]] and confidence[arm[1]] > 0.0 and confidence[arm[2]] > 0.0:
            lost[arm[2]] &= not _place_arm(seen, _Skin(rays, z_skin, noise), body, k, lengths, before.get(SIDES[k]))
    p = p + across_rays(along_arms(p, config), p)
    confidence = np.where((p[:, 2] > 0.05) & ~lost, confidence * np.where(measured, 1.0, 0.5), 0.0)
    return replace(body, p=p, confidence=confidence, measured=measured & (confidence > 0.0))


def _place_arm(seen: _Seen, skin: _Skin, body: _Body, k: int, lengths: LimbLengths, last: ArmBefore | None) -> bool:
    """Puts elbow and wrist of side `k` of a body where all evidence together has them; whether a covered wrist is known so."""
    assert seen.depth is not None
    config, arm, (rays, z_skin, noise) = seen.config, ARMS[k], skin
    shoulder, outer, told = arm[0], arm[1:], False
    elbow, wrist = outer
    p, sigma, across = body.p, body.sigma, body.across
    by_hand = _wrist_by_hand(seen.skins.get(SIDES[k]), _contradiction(seen, SIDES[k]))
    ways = np.array([seen.intrinsics.project(p[shoulder]), *body.uv[outer]])
    along = (ways[:-1, None] + np.array(ALONG)[:, None] * np.diff(ways, axis=0)[:, None]).reshape(-1, 2)
    z_along = skin_depths(seen.depth, along, 0.5 * config.patch * seen.px_per_m).reshape(2, -1)
    found = arm_depth(
        p[shoulder], rays[outer], z_skin[outer], seen.shape[_ROWS][arm, 2], lengths, config.arm, by_hand, last, z_along
    )
    p[outer] = rays[outer] * found.z[:, None]
    sigma[outer] = np.maximum(found.sigma * np.linalg.norm(rays[outer], axis=1), noise[shoulder])
    body.measured[outer] = found.own > 0.5
    across[outer] *= 1.0 + config.hidden_growth * (1.0 - found.own)
    doubt = 1.0 + config.doubted_growth * (1.0 - body.confidence[outer])
    sigma[outer], across[outer] = sigma[outer] * doubt, across[outer] * doubt
    if seen.hidden[wrist]:  # drawn where its forearm is seen to go, or anywhere
        told = bool(found.forearm >= config.forearm_seen and found.sigma[1] <= config.sure_covered)
        across[wrist] = config.lateral_covered
    unseen = 0.0 if found.own[1] > 0.5 else float(np.hypot(found.sigma[1], across[wrist]))
    moved = elbow_on_limbs(p[arm], lengths, np.array([sigma[elbow], across[elbow], unseen]), config.sigma_limb)
    if not moved[2] < z_skin[elbow]:  # nothing is before what is seen
        p[elbow] = moved
    if found.own.min() > 0.8:
        body.limbs[k] = np.linalg.norm(np.diff([p[shoulder], *(rays[outer] * found.z_own[:, None])], axis=0), axis=1)
    return told


def _with_hands_wrists(seen: _Seen) -> Float[ndarray, "8 2"]:
    """The body's pixels, its wrists fused with those of the hands: the hands' network sees them enlarged."""
    uv = seen.person.uv[_ROWS].copy()
    body, hand = (sigma**2 for sigma in seen.config.wrist_pixels)
    gate = 6.0 * (body + hand) ** 0.5 * seen.intrinsics.width / 640.0
    for side, found in seen.person.hands.items():
        row = BODY_KEYPOINTS.index(f"{side}_wrist")
        if seen.confidence[row] > 0.0 and np.linalg.norm(found.uv[0] - uv[row]) < gate:
            uv[row] = (hand * uv[row] + body * found.uv[0]) / (body + hand)
    return uv


def _assemble(seen: _Seen, body: _Body) -> Lifted | None:
    """The body's joints and, on each wrist that was found, its hand."""
    intrinsics, config = seen.intrinsics, seen.config
    k, rows = len(KEYPOINTS), slice(0, len(BODY_KEYPOINTS))
    p, uv = np.full((k, 3), np.nan), np.full((k, 2), np.nan)
    confidence, measured, sigma, lateral = np.zeros(k), np.zeros(k, bool), np.full(k, np.nan), np.full(k, np.nan)
    p[rows], uv[rows], confidence[rows], measured[rows] = body.p, body.uv, body.confidence, body.measured
    sigma[rows], lateral[rows] = body.sigma, body.across
    for side, hand in seen.person.hands.items():
        wrist = keypoint_index(f"{side}_wrist")
        if confidence[wrist] > 0.0:
            hand, placed = _in_order(hand, seen.skins[side], side, body.p[ARMS[SIDES.index(side)]], intrinsics, config)
            if placed is not None:
                rows = slice(keypoint_index(f"{side}_hand_wrist"), keypoint_index(f"{side}_hand_wrist") + 21)
                p[rows], sigma[rows], lateral[rows], measured[rows] = placed.p, placed.sigma, placed.across, placed.own
                uv[rows] = np.where(placed.guessed[:, None], intrinsics.project(placed.p), hand.uv)
                confidence[rows] = np.where(placed.guessed, 0.5, 1.0) * hand.score
    lost = confidence == 0.0
    p[lost], uv[lost], sigma[lost] = np.nan, np.nan, np.nan
    if lost.all():
        return None
    distance = config.sigma_distance if seen.depth is None else 0.0
    return Lifted(p, np.where(lost, np.nan, lateral), sigma, distance, confidence, uv, measured, body.limbs)


def _in_order(
    hand: HandDetection, skin: HandSkin, side: str, arm: Float[ndarray, "3 3"], intrinsics: Intrinsics, config: LiftingConfig
) -> tuple[HandDetection, PlacedHand | None]:
    """A hand on its arm, its fingers put right where they were drawn in reverse order; then the thumb was guessed."""
    wrist_z = float(arm[2, 2])
    placed = place_hand(hand, skin, side, wrist_z, intrinsics, config)
    if placed is None or not forearm_twist(arm, placed.p[5], placed.p[17]) > MOST_TWIST:
        return hand, placed
    hand, skin = reversed_order(hand), skin.reordered(REVERSED)
    return hand, place_hand(hand, skin, side, wrist_z, intrinsics, config, no_thumb=True)


def _contradiction(seen: _Seen, side: str) -> float:
    """How far apart the body's network and the hand's draw a wrist, in standard deviations of that; 0 without a hand."""
    if side not in seen.person.hands:
        return 0.0
    apart = float(np.linalg.norm(seen.person.hands[side].uv[0] - seen.person.uv[POSE_INDEX[f"{side}_wrist"]]))
    return apart / (float(np.hypot(*seen.config.wrist_pixels)) * seen.intrinsics.width / 640.0)


def _wrist_by_hand(skin: HandSkin | None, contradiction: float) -> tuple[float, float] | None:
    """Depth of a wrist by its hand's skin and its standard deviation [m]; None where that tells nothing.

    A hand whose wrist is drawn far from the arm's is hidden there, and how deep it is, is guessed as well.
    """
    if skin is None or not np.isfinite(skin.origin):
        return None
    return float(skin.joints(skin.origin)[0]), skin.sigma + GUESSED * max(contradiction - 2.0, 0.0)


def apparent_scale(
    person: PersonDetection, depth: Float[ndarray, "H W"], intrinsics: Intrinsics, config: LiftingConfig
) -> float:
    """How many times as far away as a person of usual size would be who looks as large, the depth picture [m] puts a body.

    1 but for how large people are, and how well the network guesses that; NaN where it shows hardly any of the body. Another
    value is a wrong unit of depth, or a wrong focal length.
    """
    visible = person.visibility >= config.min_visibility
    z = skin_depths(depth, person.uv[_ROWS][visible[_ROWS]], 2.0)
    z = z[np.isfinite(z)]
    if len(z) < 3:
        return float("nan")
    return float(np.median(z)) * pixels_per_metre(person.uv[visible], person.shape[visible]) / intrinsics.fx


def reject_by_shape(
    z: Float[ndarray, "N"], z_shape: Float[ndarray, "N"], limit: float, weight: Float[ndarray, "N"]
) -> tuple[Float[ndarray, "N"], float | None]:
    """Depths [m] without those that contradict the body's shape, and the depth of the shape's origin.

    The origin is the one that most joints, each by its `weight`, agree on within `limit` [m], and the median of those that
    weigh most; None when no two agree.
    """
    origin = z - z_shape
    known = np.flatnonzero(np.isfinite(origin))
    if len(known) < 2:
        return np.full_like(z, np.nan), None
    agrees = np.abs(origin[known, None] - origin[None, known]) <= limit
    best = agrees[np.argmax((agrees @ weight[known]) * (agrees.sum(1) >= 2))]
    if best.sum() < 2:
        return np.full_like(z, np.nan), None
    those = known[best]
    anchor = float(np.median(origin[those[weight[those] == weight[those].max()]]))
    return np.where(np.abs(origin - anchor) <= limit, z, np.nan), anchor


def keep_human_limbs(
    p: Float[ndarray, "8 3"],
    z_agreed: Float[ndarray, "8"],
    limb_range: tuple[float, float],
    breadth_range: tuple[float, float],
) -> Float[ndarray, "8"]:
    """`z_agreed` [m] with those measured depths taken back whose limbs to accepted joints all have human lengths, and of a
    shoulder that is as far from the other one, which is accepted, as people's are.

    The shape may be wrong by more than its limit, for a whole arm; what hides a joint rarely lies where a limb fits.

    Args:
        p: all measured joints [m], in the order of `BODY_KEYPOINTS`, NaN where nothing was measured.
        z_agreed: depths that agree with the shape, NaN elsewhere.
        limb_range: shortest and longest limb [m].
        breadth_range: the same of the line between the shoulders.
    """
    z = z_agreed.copy()
    for shoulder, other in (SHOULDERS, SHOULDERS[::-1]):
        breadth = float(np.linalg.norm(p[shoulder] - p[other]))
        if np.isnan(z[shoulder]) and np.isfinite(z[other]) and breadth_range[0] <= breadth <= breadth_range[1]:
            z[shoulder] = p[shoulder, 2]
    for _ in range(2):  # from the shoulder to the elbow, then on to the wrist
        for joint, neighbours in _LIMBS.items():
            accepted = [n for n in neighbours if np.isfinite(z[n])]
            if np.isnan(z[joint]) and np.isfinite(p[joint]).all() and accepted:
                lengths = np.linalg.norm(p[accepted] - p[joint], axis=1)
                if ((lengths >= limb_range[0]) & (lengths <= limb_range[1])).all():
                    z[joint] = p[joint, 2]
    return z


def to_world(lifted: Lifted | None, stamp_ns: int, T_world_camera: Float[ndarray, "4 4"] | None) -> KeypointFrame:
    """The keypoints in the world frame, or in the camera frame when that is all that is known; None: nobody seen."""
    k = len(KEYPOINTS)
    if lifted is None:
        nothing = np.full((k, 3), np.nan)
        return KeypointFrame(stamp_ns, nothing, np.full((k, 3, 3), np.nan), np.zeros(k), nothing[:, :2])
    T, along = np.eye(4), lifted.sigma_depth
    if T_world_camera is not None:  # otherwise the distance does not matter
        T, along = T_world_camera, np.hypot(along, lifted.sigma_distance * np.linalg.norm(lifted.p_camera, axis=1))
    covariance = turned(about_rays(lifted.p_camera, lifted.sigma_lateral, along), T[:3, :3])
    return KeypointFrame(stamp_ns, se3.apply(T, lifted.p_camera), covariance, lifted.confidence, lifted.uv)


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
