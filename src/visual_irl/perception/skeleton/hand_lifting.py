"""A hand in 3D: its shape by the network, its distance and visible fingers by depth, its size by the pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.landmarks.detection import HandDetection
from visual_irl.perception.skeleton.lifting_config import LiftingConfig
from visual_irl.perception.skeleton.skin_depth import skin_depths
from visual_irl.types import Intrinsics

_FORWARD = np.array([0.0, 0.0, 1.0])
_THUMB, _THUMB_END, _KNUCKLES = [1, 2, 3, 4], [3, 4], [5, 9, 13, 17]
_CHAINS = [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16], [17, 18, 19, 20]]
_TIPS, _BEFORE_TIPS = [4, 8, 12, 16, 20], [2, 6, 10, 14, 18]
_HIDDEN_THUMB = np.array([[0.52, 0.27, 0.30], [0.81, 0.32, 0.43], [1.02, 0.34, 0.53]])
"""Where the thumb's last joints and its tip are on a hand that hides them [sizes of its palm, from wrist to middle knuckle]:
along the palm, to the thumb's side, out of the palm. The mean of medians over six real clips of the thumbs that are seen."""
_BEYOND = 0.017
"""How far from a tip's landmark one looks for what the finger touches [m]: 10 mm from its end."""
_LEAST_OWN = 5
"""So many joints must show their own skin before a hand has a distance of its own."""


@dataclass(frozen=True)
class HandSkin:
    """What depth tells of a hand by itself, before anything is known of its arm."""

    w: Float[ndarray, "21 3"]
    """The network's shape, turned to the ray on which the hand is [m]."""
    per_metre: float
    """Size of the hand, in sizes of that shape, for each metre that its origin is away: pixels tell only their ratio."""
    z: Float[ndarray, "21"]
    """Depth of each joint if the skin at its pixel is its own [m]; NaN: unknown."""
    origin: float
    """Depth of the shape's origin where the skin fits the shape best [m]; NaN where too little of it does."""
    sigma: float
    """Its standard deviation [m]."""
    z_beyond: Float[ndarray, "5"]
    """What is seen a little beyond where each finger ends [m]; NaN: unknown."""

    def joints(self, origin: float) -> Float[ndarray, "21"]:
        """Depths of the joints by the shape, when its origin is at `origin` [m]."""
        return origin * (1.0 + self.per_metre * self.w[:, 2])

    def reordered(self, rows: Int[ndarray, "21"]) -> HandSkin:
        """The same hand with other names for its joints."""
        return replace(self, w=self.w[rows], z=self.z[rows], z_beyond=self.z_beyond[rows[_TIPS] // 4 - 1])


@dataclass(frozen=True)
class PlacedHand:
    """A hand in the camera's frame."""

    p: Float[ndarray, "21 3"]
    """Joints [m]."""
    sigma: Float[ndarray, "21"]
    """Standard deviations along the ray [m] ..."""
    across: Float[ndarray, "21"]
    """... and across it."""
    own: Bool[ndarray, "21"]
    """Which have depth of their own."""
    guessed: Bool[ndarray, "21"]
    """Which the network cannot see."""


def hand_skin(
    hand: HandDetection, depth: Float[ndarray, "H W"] | None, intrinsics: Intrinsics, config: LiftingConfig
) -> HandSkin:
    """What depth tells of a hand; without `depth` only its shape and size."""
    w = seen_from(hand.uv.mean(0), intrinsics, hand.shape)
    per_metre = _size_by_projection(hand.uv, w, intrinsics)
    if depth is None:
        return HandSkin(w, per_metre, np.full(len(w), np.nan), np.nan, np.nan, np.full(len(_TIPS), np.nan))
    pixels = intrinsics.fx * per_metre / config.hand_size[0]
    z = skin_depths(depth, hand.uv, 0.5 * config.patch * pixels) + hand_insets(config)
    onward = hand.uv[_TIPS] - hand.uv[_BEFORE_TIPS]
    onward *= pixels * _BEYOND / np.maximum(np.linalg.norm(onward, axis=1, keepdims=True), 1e-6)
    beyond = skin_depths(depth, hand.uv[_TIPS] + onward, 1.0)
    return HandSkin(w, per_metre, z, *_origin(z, w, per_metre, config), beyond)


def _origin(z: Float[ndarray, "21"], w: Float[ndarray, "21 3"], per_metre: float, config: LiftingConfig) -> tuple[float, float]:
    """Depth of the shape's origin and its standard deviation [m]; NaN where too little of the skin fits.

    It is the most likely one of those that each landmark would give by itself: a landmark shows its own skin, something
    in front (another finger, what the hand holds) or, at the hand's edge, something behind, and hands have human sizes.
    """
    spread, lengthened = np.hypot(config.finger_sigma[0], _shape_sigma(config)), 1.0 + per_metre * w[:, 2]
    each = (z / lengthened)[np.isfinite(z) & (lengthened > 0.0)]
    if len(each) < _LEAST_OWN or not per_metre > 0.0:
        return np.nan, np.nan
    off = z - each[:, None] * lengthened
    front, behind = config.hand_hidden
    own = (1.0 - front - behind) / (np.sqrt(2.0 * np.pi) * spread) * np.exp(-0.5 * (off / spread) ** 2)
    other = np.where(off < 0.0, front, behind) / config.arm.span
    usual, deviation = config.hand_size
    likelihood = np.nansum(np.log(own + other), axis=1) - 0.5 * (np.log(per_metre * each / usual) / deviation) ** 2
    best = int(likelihood.argmax())
    share = np.nan_to_num(own[best] / (own[best] + other[best]))
    if share.sum() < _LEAST_OWN:
        return np.nan, np.nan
    weight = share * (lengthened / spread) ** 2
    return float(np.nansum(weight * z / lengthened) / weight.sum()), float(weight.sum() ** -0.5)


def place_hand(
    hand: HandDetection, skin: HandSkin, side: str, wrist_z: float, intrinsics: Intrinsics, config: LiftingConfig,
    no_thumb: bool = False,
) -> PlacedHand | None:  # fmt: skip
    """The joints of a left or right hand, each on its pixel's ray; None when it does not fit on an arm whose wrist is at
    `wrist_z` [m].

    Its distance is that of the skin under its landmarks, or the wrist's where too little of that is known. Its size
    follows from the pixels. `no_thumb`: the thumb was drawn where none is.
    """
    measured = bool(np.isfinite(skin.origin))
    origin = skin.origin if measured else wrist_z / (1.0 + skin.per_metre * float(skin.w[0, 2]))
    z = skin.joints(origin)
    if abs(z[0] - wrist_z) > config.max_disagreement:
        return None  # another arm's, or somebody else's
    if not (0.5 <= skin.per_metre * origin <= 1.8 and z.min() > 0.05):
        return None  # no adult or child has such a hand: the landmarks are wrong
    guessed = guessed_thumb(hand.uv, skin.w)
    if no_thumb or guessed[4]:
        guessed[_THUMB] = True
    z, sigma, own = _along_fingers(z, np.where(guessed, np.nan, skin.z) if measured else np.full(len(z), np.nan), config)
    if not measured:
        sigma = np.hypot(sigma, config.sigma_hand)
    across = np.full(len(z), config.lateral_hand)
    beyond = skin.z_beyond - z[_TIPS]
    nearer, farther = config.touching
    across[_TIPS] = np.where((beyond > -nearer) & (beyond < farther), config.lateral_touching, config.lateral_hand)
    across[_THUMB] = np.maximum(across[_THUMB], config.lateral_thumb)
    sigma[_THUMB] = np.maximum(sigma[_THUMB], config.lateral_thumb)
    if -nearer < beyond[0] < farther:  # it is perhaps drawn on the skin of what it holds, and goes on around that
        sigma[_THUMB_END] = across[_THUMB_END] = config.sigma_thumb_touching
    sigma[guessed] = across[guessed] = config.sigma_guessed
    p = _with_ends(intrinsics.back_project(hand.uv, z), config)
    if guessed[4]:
        p[_THUMB[1:]] = _hidden_thumb(p, side)
    return PlacedHand(p, sigma, across, own, guessed)


def _hidden_thumb(p: Float[ndarray, "21 3"], side: str) -> Float[ndarray, "3 3"]:
    """Joints and tip [m] of a thumb that the camera does not see: under the palm, relaxed."""
    wrist, index, middle, little = p[[0, 5, 9, 17]]
    palm = max(float(np.linalg.norm(middle - wrist)), 1e-6)
    along = (middle - wrist) / palm
    aside = (index - little) - ((index - little) @ along) * along
    aside /= max(float(np.linalg.norm(aside)), 1e-6)
    out = np.cross(along, aside) if side == "left" else np.cross(aside, along)
    return wrist + palm * _HIDDEN_THUMB @ np.stack([along, aside, out])


def _along_fingers(
    by_shape: Float[ndarray, "21"], z_skin: Float[ndarray, "21"], config: LiftingConfig
) -> tuple[Float[ndarray, "21"], Float[ndarray, "21"], Bool[ndarray, "21"]]:
    """Depths of the joints [m], their standard deviations, and which have their own skin: a Kalman filter along each finger.

    A joint is expected where the shape puts it from the joint before. Skin that is seen far from there is not its own.
    """
    z, sigma, own = by_shape.copy(), np.zeros(len(by_shape)), np.zeros(len(by_shape), bool)
    skin, knuckle, bone = config.finger_sigma
    for chain in _CHAINS:
        before, variance = by_shape[chain[0]], knuckle**2
        for joint, last in zip(chain, [chain[0], *chain], strict=False):
            expected = before + by_shape[joint] - by_shape[last]
            variance += bone**2 if joint != chain[0] else 0.0
            off = z_skin[joint] - expected
            own[joint] = off * off <= config.finger_gate**2 * (variance + skin**2)  # NaN is nobody's
            if own[joint]:
                gain = variance / (variance + skin**2)
                expected, variance = expected + gain * off, (1.0 - gain) * variance
            z[joint], sigma[joint], before = expected, variance**0.5, expected
    return z, sigma, own


def _with_ends(p: Float[ndarray, "21 3"], config: LiftingConfig) -> Float[ndarray, "21 3"]:
    """The joints with tips moved on to where fingers end."""
    along = p[_TIPS] - p[_BEFORE_TIPS]
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    out = p.copy()
    out[_TIPS] += np.array(config.tip_further)[:, None] * along / length
    return out


def _shape_sigma(config: LiftingConfig) -> Float[ndarray, "21"]:
    """Standard deviation of each joint's depth by the hand's shape [m]: the further out on a finger, the more."""
    sigma = np.full(21, config.finger_sigma[1])
    for chain in _CHAINS:
        sigma[chain] = np.hypot(config.finger_sigma[1], config.finger_sigma[2] * np.arange(len(chain)))
    return sigma


def guessed_thumb(uv: Float[ndarray, "21 2"], shape: Float[ndarray, "21 3"]) -> Bool[ndarray, "21"]:
    """Which joints of the thumb the network draws over the rest of the hand, yet not before it: hidden ones, which it guesses.

    Such a thumb is tucked under the palm. Its tip is 0.08 to 0.12 m off on rendered hands, one beside the palm 0.015 m.
    """
    others = cv2.convexHull(np.delete(uv, _THUMB, axis=0).astype(np.float32))
    guessed = np.zeros(len(uv), bool)
    for joint in _THUMB_END:
        x, y = (float(value) for value in uv[joint])
        behind = shape[joint, 2] > float(np.median(shape[_KNUCKLES, 2]))
        guessed[joint] = behind and cv2.pointPolygonTest(others, (x, y), False) > 0.0
    return guessed


def hand_insets(config: LiftingConfig) -> Float[ndarray, "21"]:
    """From the skin to each joint [m]: half a finger; at the wrist and the thumb's root half a wrist."""
    inset = np.full(21, config.inset_hand)
    inset[_TIPS] = config.inset_tip
    inset[0], inset[1] = config.inset_hand_wrist, 0.5 * (config.inset_hand + config.inset_hand_wrist)
    return inset


def seen_from(uv: Float[ndarray, "2"], intrinsics: Intrinsics, shape: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """A shape estimated as if it stood in the middle of the picture, turned to the ray on which it really is."""
    ray = intrinsics.back_project(uv, np.array(1.0))
    return shape @ se3.rotation_between(_FORWARD, ray).T


def _size_by_projection(uv: Float[ndarray, "N 2"], w: Float[ndarray, "N 3"], intrinsics: Intrinsics) -> float:
    """Scale s with which a shape whose origin is 1 m away projects best: f (s w_x + t_x) = (u - c)(s w_z + 1)."""
    d, n = uv - [intrinsics.cx, intrinsics.cy], len(w)
    A, b = np.zeros((2 * n, 3)), np.zeros(2 * n)
    for axis, f in enumerate((intrinsics.fx, intrinsics.fy)):
        rows: Int[ndarray, "N"] = np.arange(n) + axis * n
        A[rows, 0], A[rows, 1 + axis] = f * w[:, axis] - d[:, axis] * w[:, 2], f
        b[rows] = d[:, axis]
    return float(np.linalg.solve(A.T @ A, A.T @ b)[0])  # well conditioned: all in metres and pixels of one hand
