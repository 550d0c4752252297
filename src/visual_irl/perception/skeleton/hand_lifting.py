"""A hand in 3D: its shape by the network, its distance and visible fingers by depth, its size by the pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import no_type_check

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numba import njit
from numpy import ndarray

from visual_irl.perception.landmarks.detection import HandDetection
from visual_irl.perception.skeleton.lifting_config import LiftingConfig
from visual_irl.perception.skeleton.skin_depth import skin_depths
from visual_irl.types import Intrinsics

_THUMB, _THUMB_END, _NO_THUMB, _KNUCKLES = [1, 2, 3, 4], [3, 4], [0, *range(5, 21)], [5, 9, 13, 17]
_TIPS = [4, 8, 12, 16, 20]
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
    per_metre = _size_by_projection(hand.uv, w, intrinsics.fx, intrinsics.fy, intrinsics.cx, intrinsics.cy)
    if depth is None:
        return HandSkin(w, per_metre, np.full(len(w), np.nan), np.nan, np.nan, np.full(len(_TIPS), np.nan))
    pixels = intrinsics.fx * per_metre / config.hand_size[0]
    z = skin_depths(depth, hand.uv, 0.5 * config.patch * pixels) + hand_insets(config)
    beyond = skin_depths(depth, _beyond_tips(hand.uv, pixels * _BEYOND), 1.0)
    return HandSkin(w, per_metre, z, *_origin(z, w, per_metre, config), beyond)


def _origin(z: Float[ndarray, "21"], w: Float[ndarray, "21 3"], per_metre: float, config: LiftingConfig) -> tuple[float, float]:
    """Depth of the shape's origin and its standard deviation [m]; NaN where too little of the skin fits.

    It is the most likely one of those that each landmark would give by itself: a landmark shows its own skin, something
    in front (another finger, what the hand holds) or, at the hand's edge, something behind, and hands have human sizes.
    """
    if not per_metre > 0.0:
        return np.nan, np.nan
    hidden, size = config.hand_hidden, config.hand_size
    origin, sigma = _most_likely(z, 1.0 + per_metre * w[:, 2], _spread(config), per_metre, hidden, config.arm.span, size)
    return origin, sigma


@njit(cache=True, nogil=True)
@no_type_check
def _most_likely(z, lengthened, spread, per_metre, hidden, span, size):
    """`_origin`, for a joint's depth over the origin's and its deviation [m]."""
    known = np.flatnonzero(np.isfinite(z))
    own, other, best = np.zeros((2, len(z))), np.zeros((2, len(z))), -np.inf  # of the best one, and of the one that is tried
    seen, tried = 1.0 - hidden[0] - hidden[1], 0
    for i in known:
        if not lengthened[i] > 0.0:
            continue
        tried += 1
        origin, likelihood = z[i] / lengthened[i], 0.0
        for j in known:
            off = z[j] - origin * lengthened[j] if j != i else 0.0  # which rounding would put before or behind
            own[1, j] = seen / (np.sqrt(2.0 * np.pi) * spread[j]) * np.exp(-0.5 * (off / spread[j]) ** 2)
            other[1, j] = (hidden[0] if off < 0.0 else hidden[1]) / span
            likelihood += np.log(own[1, j] + other[1, j])
        likelihood -= 0.5 * (np.log(per_metre * origin / size[0]) / size[1]) ** 2
        if likelihood > best:
            best, own[0], other[0] = likelihood, own[1], other[1]
    if tried < _LEAST_OWN:
        return np.nan, np.nan
    shares, weights, total = 0.0, 0.0, 0.0
    for j in known:
        share = own[0, j] / (own[0, j] + other[0, j])
        weight = share * (lengthened[j] / spread[j]) ** 2
        shares, weights, total = shares + share, weights + weight, total + weight * z[j] / lengthened[j]
    if shares < _LEAST_OWN:
        return np.nan, np.nan
    return total / weights, weights**-0.5


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
    z, sigma, own = _along_fingers(z, skin.z, guessed | (not measured), config.finger_sigma, config.finger_gate)
    if not measured:
        sigma = np.hypot(sigma, config.sigma_hand)
    across = np.full(len(z), config.lateral_hand)
    nearer, farther = config.touching
    touches = [-nearer < beyond < farther for beyond in (skin.z_beyond - z[_TIPS]).tolist()]
    across[_TIPS] = np.where(touches, config.lateral_touching, config.lateral_hand)
    across[_THUMB] = np.maximum(across[_THUMB], config.lateral_thumb)
    sigma[_THUMB] = np.maximum(sigma[_THUMB], config.lateral_thumb)
    if touches[0]:  # it is perhaps drawn on the skin of what it holds, and goes on around that
        sigma[_THUMB_END] = across[_THUMB_END] = config.sigma_thumb_touching
    sigma[guessed] = across[guessed] = config.sigma_guessed
    p = _with_ends(intrinsics.back_project(hand.uv, z), config.tip_further)
    if guessed[4]:
        p[_THUMB[1:]] = _hidden_thumb(p, 1.0 if side == "left" else -1.0)
    return PlacedHand(p, sigma, across, own, guessed)


@njit(cache=True, nogil=True)
@no_type_check
def _hidden_thumb(p, turned):
    """Joints and tip (3, 3) [m] of a hidden thumb: under the palm, relaxed; `turned`: 1 for a left hand, -1 for a right one."""
    wrist, across = p[0], p[5] - p[17]
    palm = max(np.sqrt(((p[9] - wrist) ** 2).sum()), 1e-6)
    along = (p[9] - wrist) / palm
    aside = across - (across * along).sum() * along
    aside /= max(np.sqrt((aside**2).sum()), 1e-6)
    thumb = np.empty((3, 3))
    for k in range(3):
        a, b, c = _HIDDEN_THUMB[k]
        thumb[k] = wrist + palm * (a * along + b * aside + c * turned * np.cross(along, aside))
    return thumb


@njit(cache=True, nogil=True)
@no_type_check
def _along_fingers(by_shape, z_skin, unseen, deviations, gate):
    """Depths of the joints [m], their standard deviations, and which have their own skin: a Kalman filter along each finger.

    A joint is expected where the shape puts it from the joint before. Skin that is seen far from there is not its own, nor is
    that of `unseen` joints.
    """
    z, sigma, own = by_shape.copy(), np.zeros(len(by_shape)), np.zeros(len(by_shape), np.bool_)
    skin, knuckle, bone = deviations
    for joint in range(len(by_shape)):
        first = joint == 0 or joint % 4 == 1  # the wrist, and the roots of the fingers
        expected = by_shape[joint] if first else z[joint - 1] + by_shape[joint] - by_shape[joint - 1]
        variance = knuckle**2 if first else sigma[joint - 1] ** 2 + bone**2
        off = z_skin[joint] - expected
        own[joint] = not unseen[joint] and off * off <= gate**2 * (variance + skin**2)  # NaN is nobody's
        if own[joint]:
            gain = variance / (variance + skin**2)
            expected, variance = expected + gain * off, (1.0 - gain) * variance
        z[joint], sigma[joint] = expected, variance**0.5
    return z, sigma, own


@njit(cache=True, nogil=True)
@no_type_check
def _with_ends(p, further):
    """The joints (21, 3) with tips moved on to where fingers end [m]."""
    out = p.copy()
    for k in range(5):
        tip = 4 * (k + 1)
        along = p[tip] - p[tip - 2]
        out[tip] += further[k] * along / max(np.sqrt((along**2).sum()), 1e-6)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _beyond_tips(uv, onward):
    """Pixels (5, 2) that lie so far [px] beyond the tips' landmarks, along the fingers."""
    out = np.empty((5, 2))
    for k in range(5):
        tip = 4 * (k + 1)
        along = uv[tip] - uv[tip - 2]
        out[k] = uv[tip] + onward * along / max(np.sqrt((along**2).sum()), 1e-6)
    return out


@cache
def _spread(config: LiftingConfig) -> Float[ndarray, "21"]:
    """Standard deviation between each joint's depth by its skin and by the hand's shape [m]: further out on a finger, more."""
    skin, knuckle, bone = config.finger_sigma
    spread = np.full(21, np.hypot(skin, knuckle))
    spread[1:] = np.tile([np.hypot(skin, np.hypot(knuckle, bone * n)) for n in range(4)], 5)
    spread.setflags(write=False)
    return spread


def guessed_thumb(uv: Float[ndarray, "21 2"], shape: Float[ndarray, "21 3"]) -> Bool[ndarray, "21"]:
    """Which joints of the thumb the network draws over the rest of the hand, yet not before it: hidden ones, which it guesses.

    Such a thumb is tucked under the palm. Its tip is 0.08 to 0.12 m off on rendered hands, one beside the palm 0.015 m.
    """
    guessed = np.zeros(len(uv), bool)
    palm = sum(sorted(shape[_KNUCKLES, 2].tolist())[1:3]) / 2.0  # the median
    behind = [joint for joint in _THUMB_END if shape[joint, 2] > palm]
    if behind:
        others = cv2.convexHull(uv[_NO_THUMB].astype(np.float32))
        guessed[behind] = [cv2.pointPolygonTest(others, uv[joint].tolist(), False) > 0.0 for joint in behind]
    return guessed


@cache
def hand_insets(config: LiftingConfig) -> Float[ndarray, "21"]:
    """From the skin to each joint [m]: half a finger; at the wrist and the thumb's root half a wrist."""
    inset = np.full(21, config.inset_hand)
    inset[_TIPS] = config.inset_tip
    inset[0], inset[1] = config.inset_hand_wrist, 0.5 * (config.inset_hand + config.inset_hand_wrist)
    inset.setflags(write=False)
    return inset


def seen_from(uv: Float[ndarray, "2"], intrinsics: Intrinsics, shape: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """A shape estimated as if it stood in the middle of the picture, turned to the ray on which it really is."""
    return np.asarray(_turned((uv[0] - intrinsics.cx) / intrinsics.fx, (uv[1] - intrinsics.cy) / intrinsics.fy, shape))


@njit(cache=True, nogil=True)
@no_type_check
def _turned(x, y, shape):
    """Points (N, 3) after the shortest rotation from (0, 0, 1) to (x, y, 1): I + K + K^2 / (1 + cos), as in `se3`."""
    cosine, out = 1.0 / np.sqrt(x * x + y * y + 1.0), np.empty(shape.shape)
    kx, ky = cosine * x, cosine * y  # K p = (kx p_z, ky p_z, -kx p_x - ky p_y)
    for n in range(len(shape)):
        across, z = kx * shape[n, 0] + ky * shape[n, 1], shape[n, 2]
        out[n, 0] = shape[n, 0] + kx * z - kx * across / (1.0 + cosine)
        out[n, 1] = shape[n, 1] + ky * z - ky * across / (1.0 + cosine)
        out[n, 2] = z - across - (kx * kx + ky * ky) * z / (1.0 + cosine)
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _size_by_projection(uv, w, fx, fy, cx, cy):
    """Scale s with which a shape whose origin is 1 m away projects best: f (s w_x + t_x) = (u - c)(s w_z + 1).

    Least squares: the slope of u - c over f w_x - (u - c) w_z, both about their means, which the translation t takes.
    """
    both, square = 0.0, 0.0
    for axis, f, c in ((0, fx, cx), (1, fy, cy)):
        d = uv[:, axis] - c
        a = f * w[:, axis] - d * w[:, 2]
        a = a - a.mean()
        both += (a * (d - d.mean())).sum()
        square += (a * a).sum()
    return both / square if square > 0.0 else np.nan
