"""A hand in 3D: its shape by the network, its distance and visible fingers by depth, its size by the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from visual_irl import se3
from visual_irl.perception.detection import HandDetection
from visual_irl.perception.lifting_config import LiftingConfig
from visual_irl.perception.skin_depth import skin_depths
from visual_irl.types import Intrinsics

_FORWARD = np.array([0.0, 0.0, 1.0])
_THUMB, _THUMB_END, _KNUCKLES = [1, 2, 3, 4], [3, 4], [5, 9, 13, 17]


@dataclass(frozen=True)
class PlacedHand:
    """A hand in the camera's frame."""

    p: Float[ndarray, "21 3"]
    """Joints [m]."""
    sigma: Float[ndarray, "21"]
    """Standard deviations along the ray [m]."""
    own: Bool[ndarray, "21"]
    """Which have depth of their own."""
    guessed: Bool[ndarray, "21"]
    """Which the network cannot see: they may be off across the ray, too."""


def place_hand(
    hand: HandDetection,
    wrist_z: float,
    depth: Float[ndarray, "H W"] | None,
    intrinsics: Intrinsics,
    config: LiftingConfig,
) -> PlacedHand | None:
    """The hand's joints, each on its pixel's ray; None when it does not fit.

    Its distance is that of the skin under its landmarks, or the wrist's when too little of that is known or it lies
    further than `max_disagreement` from the wrist. Its size follows from the pixels.
    """
    w = seen_from(hand.uv.mean(0), intrinsics, hand.shape)
    z_skin = np.full(len(w), np.nan)
    if depth is not None:
        half = 0.5 * config.patch * intrinsics.fx / wrist_z
        z_skin = skin_depths(depth, hand.uv, half) + hand_insets(config)
    scale, origin, measured = 1.0, 0.0, False
    for _ in range(3):  # size and distance depend weakly on each other
        origins = (z_skin - scale * w[:, 2])[np.isfinite(z_skin)]
        measured = len(origins) >= 5 and abs(np.median(origins) + scale * w[0, 2] - wrist_z) <= config.max_disagreement
        origin = float(np.median(origins)) if measured else wrist_z - scale * float(w[0, 2])
        scale = _size_by_projection(hand.uv, w, origin, intrinsics)
    z = scale * w[:, 2] + origin
    if not (0.5 <= scale <= 1.8 and z.min() > 0.05):
        return None  # no adult or child has such a hand: the landmarks are wrong
    skin, by_shape = config.finger_sigma
    guessed = guessed_thumb(hand.uv, w)
    if not measured:
        sigma = np.maximum(np.full(len(z), config.sigma_hand), np.where(guessed, config.sigma_guessed, 0.0))
        return PlacedHand(intrinsics.back_project(hand.uv, z), sigma, np.zeros(len(z), bool), guessed)
    own = np.abs(z_skin - z) <= 2.0 * np.hypot(skin, by_shape)  # NaN has no depth of its own
    share = by_shape**2 / (skin**2 + by_shape**2)
    z = np.where(own, z + share * (np.nan_to_num(z_skin) - z), z)
    hidden = z > z_skin + 2.0 * np.hypot(skin, by_shape)
    sigma = np.where(own, skin, np.where(hidden, 2.0 * by_shape, by_shape))
    sigma[1:5] = np.maximum(sigma[1:5], config.lateral_thumb)
    sigma[guessed] = config.sigma_guessed
    return PlacedHand(intrinsics.back_project(hand.uv, z), sigma, own & ~guessed, guessed)


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
    inset[0], inset[1] = config.inset_hand_wrist, 0.5 * (config.inset_hand + config.inset_hand_wrist)
    return inset


def seen_from(uv: Float[ndarray, "2"], intrinsics: Intrinsics, shape: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """A shape estimated as if it stood in the middle of the picture, turned to the ray on which it really is."""
    ray = intrinsics.back_project(uv, np.array(1.0))
    return shape @ se3.rotation_between(_FORWARD, ray).T


def _size_by_projection(uv: Float[ndarray, "N 2"], w: Float[ndarray, "N 3"], z: float, intrinsics: Intrinsics) -> float:
    """Scale s with which a shape whose origin is `z` [m] away projects best: f (s w_x + t_x) = (u - c)(s w_z + z)."""
    d, n = uv - [intrinsics.cx, intrinsics.cy], len(w)
    A, b = np.zeros((2 * n, 3)), np.zeros(2 * n)
    for axis, f in enumerate((intrinsics.fx, intrinsics.fy)):
        rows: Int[ndarray, "N"] = np.arange(n) + axis * n
        A[rows, 0], A[rows, 1 + axis] = f * w[:, axis] - d[:, axis] * w[:, 2], f
        b[rows] = d[:, axis] * z
    return float(np.linalg.solve(A.T @ A, A.T @ b)[0])  # well conditioned: all in metres and pixels of one hand
