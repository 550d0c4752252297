"""From the landmarks of a body, and from the skin that a camera sees at them, to the centres of its joints.

Arrays have a row for each joint of `BODY_KEYPOINTS`. `w` [m] is the network's shape of the body, turned as the camera sees it;
`rays` run from the camera through the joints' pixels.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.perception.skeleton.lifting_config import LiftingConfig
from visual_irl.types import BODY_KEYPOINTS, SIDES

ARMS = [[BODY_KEYPOINTS.index(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist")] for side in SIDES]
SHOULDERS, HIPS = ([BODY_KEYPOINTS.index(f"{side}_{joint}") for side in SIDES] for joint in ("shoulder", "hip"))
"""Rows of the joints, left and right."""


def insets(config: LiftingConfig, w: Float[ndarray, "8 3"], rays: Float[ndarray, "8 3"]) -> Float[ndarray, "8"]:
    """From the skin to each joint along its ray [m], for a body of shape `w`."""
    inset = by_joint(config, "inset").copy()
    inset[SHOULDERS] -= config.inset_shoulder_outward * np.minimum(outwardness(w, rays), config.most_outward)
    return inset


def behind_the_trunk(
    rays: Float[ndarray, "8 3"],
    z: Float[ndarray, "8"],
    w: Float[ndarray, "8 3"],
    far: Bool[ndarray, "8"],
    config: LiftingConfig,
) -> Float[ndarray, "8"]:
    """Depth of a shoulder that the trunk hides [m], a human breadth from the other one; NaN for all other joints.

    So is the farther one of two that are seen nearer to each other than any person's are: both are on the same skin.
    """
    out, shoulders = np.full(len(z), np.nan), SHOULDERS
    away = max(shoulders, key=lambda row: float(w[row, 2]))
    near = shoulders[1 - shoulders.index(away)]
    apart = float(np.linalg.norm(rays[away] * z[away] - rays[near] * z[near]))
    if np.isfinite(z[near]) and (far[away] or apart < config.breadth_range[0]):
        aside = float(np.linalg.norm(rays[away] - rays[near])) * z[near]
        out[away] = z[near] + max(np.mean(config.breadth_range) ** 2 - aside**2, 0.0) ** 0.5
    return out


def aboveness(w: Float[ndarray, "8 3"], rays: Float[ndarray, "8 3"]) -> float:
    """Cosine between a trunk, downwards, and the way from the camera to its shoulders: 0.3 from the front, 1 from above."""
    down, ray = w[HIPS].mean(0) - w[SHOULDERS].mean(0), rays[SHOULDERS].mean(0)
    return float(down @ ray / max(float(np.linalg.norm(down) * np.linalg.norm(ray)), 1e-6))


def outwardness(w: Float[ndarray, "8 3"], rays: Float[ndarray, "8 3"]) -> Float[ndarray, "2"]:
    """How much each shoulder is seen from its own side: 1 wholly, 0 from the front or from behind, -1 through the chest."""
    left, right = SHOULDERS
    across = w[left] - w[right]
    cosine = rays[SHOULDERS] @ across / np.maximum(np.linalg.norm(across) * np.linalg.norm(rays[SHOULDERS], axis=1), 1e-6)
    return np.array([-cosine[0], cosine[1]])


def to_shoulder_centres(w: Float[ndarray, "8 3"], config: LiftingConfig) -> Float[ndarray, "2 3"]:
    """From the landmarks of the shoulders to the joints' centres [m]."""
    left, right = SHOULDERS
    down, across = w[HIPS].mean(0) - w[SHOULDERS].mean(0), w[left] - w[right]
    outward = config.shoulder_outward * across / max(float(np.linalg.norm(across)), 1e-6)
    return config.shoulder_drop * down / max(float(np.linalg.norm(down)), 1e-6) + np.array([outward, -outward])


def along_arms(p: Float[ndarray, "8 3"], config: LiftingConfig) -> Float[ndarray, "8 3"]:
    """From the landmarks of elbows and wrists to the joints' centres, along the limbs [m]."""
    shift = np.zeros_like(p)
    for shoulder, elbow, wrist in ARMS:
        upper, fore = p[elbow] - p[shoulder], p[wrist] - p[elbow]
        shift[elbow] = config.elbow_further * upper / max(float(np.linalg.norm(upper)), 1e-6)
        shift[wrist] = -config.wrist_before * fore / max(float(np.linalg.norm(fore)), 1e-6)
    return shift


def across_rays(shift: Float[ndarray, "N 3"], p: Float[ndarray, "N 3"]) -> Float[ndarray, "N 3"]:
    """What of a shift [m] is seen in the picture: depth is that of the joint already, insets hold for the landmarks' pixels."""
    rays = p / np.linalg.norm(p, axis=1, keepdims=True)
    return shift - np.sum(shift * rays, axis=1, keepdims=True) * rays


@cache
def by_joint(config: LiftingConfig, what: str) -> Float[ndarray, "8"]:
    """A field of the configuration that each kind of joint has."""
    values = np.array([getattr(config, f"{what}_{name.partition('_')[2]}") for name in BODY_KEYPOINTS])
    values.setflags(write=False)
    return values
