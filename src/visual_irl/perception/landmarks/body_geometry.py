"""What is a body, which hands are its own, and which way round it stands: pure functions of one picture's landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection, mirrored, pixels_per_metre
from visual_irl.perception.landmarks.hand_labels import palm_length
from visual_irl.types import BODY_KEYPOINTS, SIDES

MAX_HAND_SCALE = 3.5
"""A hand that appears more than this many times larger [px/m] than its body is no part of it: it would have to be that
much nearer to the camera. The networks also see bodies in single hands, with factors of up to 6."""
MIN_AGREEMENT = 0.96
"""Least correlation between a body's pixels and its shape: 0.97 to 0.996 on real bodies without a head. It refuses what is
most confused; a hand at the wrist and a second sighting decide on the rest."""
MIN_UPRIGHT = 0.7
"""Least cosine between the trunk and the picture's vertical: who works at a table bends by 45 degrees at most."""
LEAST_UPRIGHT = 0.5
"""The same with a head, which tells more: who reaches to the side leans by 60 degrees at most. A camera on its side is to be
told, not believed now and then."""
MAX_OUTSIDE = 0.25
"""How far outside of the picture a shoulder may lie, in trunk lengths (0.12 m); further off it is a guess."""
MIN_NOSE = 0.93
"""Least visibility of the nose of a body that was found by its face: 0.95 to 1.0 on bodies with a head, up to 0.89 on
the small ones that the network sees within a trunk."""
MAX_WRIST_MISS = 0.25
"""Largest distance between the body's and the hand's wrist, in trunk lengths (0.5 m from shoulders to hips)."""
BROAD = 0.3
"""Shoulders that are further apart than this in the picture, in trunk lengths, show whether a body faces the camera."""
COVERED = 0.3
"""A joint so near to the outline of the other hand, in palms, is covered by it: half a wrist's width."""
ARM = ("shoulder", "elbow", "wrist")


def matched(person: PersonDetection, hands: Sequence[HandDetection]) -> dict[str, HandDetection]:
    """Hands by the side of the wrist on which they lie, the closest pairs first."""
    pairs, trunk = [], trunk_length(person)
    for side in SIDES:
        rows = [POSE_INDEX[f"{side}_{joint}"] for joint in ARM]
        for i, hand in enumerate(hands):
            miss = float(np.linalg.norm(hand.uv[0] - person.uv[rows[2]])) / trunk
            if miss <= MAX_WRIST_MISS and fits(person, hand):
                # a wrist in plain view is preferred to one that the network guesses behind it
                pairs.append((miss - MAX_WRIST_MISS * float(person.visibility[rows[2]]), side, i))
    found: dict[str, HandDetection] = {}
    for _, side, i in sorted(pairs):
        if side not in found and all(hands[i] is not other for other in found.values()):
            found[side] = hands[i]
    return found


def with_confirmed_arms(person: PersonDetection, hands: Mapping[str, HandDetection]) -> PersonDetection:
    """The body with arms that end in hands: these are seen, whatever the network says of their visibility, and their
    wrist is the hand's, which is the more accurate. It often guesses a second arm beside the first: that is not seen."""
    uv, visibility = person.uv.copy(), person.visibility.copy()
    for side, hand in hands.items():
        rows = [POSE_INDEX[f"{side}_{joint}"] for joint in ARM]
        visibility[rows] = np.maximum(visibility[rows], hand.score)
        uv[rows[2]] = hand.uv[0]
    return with_arms(replace(person, uv=uv, visibility=visibility, hands=dict(hands)), list(hands))


def with_arms(person: PersonDetection, sides: Sequence[str]) -> PersonDetection:
    """The body of which only these arms are seen."""
    visibility = person.visibility.copy()
    visibility[[POSE_INDEX[f"{side}_{joint}"] for side in SIDES if side not in sides for joint in ARM[1:]]] = 0.0
    return replace(person, visibility=visibility)


def covered(person: PersonDetection, side: str, joint: str) -> bool:
    """Whether a joint of an arm is drawn on the other arm's hand, while that arm shows no hand of its own.

    Then the hand is in front, and has the skin that is seen there; where the network draws a wrist so, it guesses.
    """
    others = [hand for other, hand in person.hands.items() if other != side]
    if side in person.hands or not others:
        return False
    x, y = (float(value) for value in person.uv[POSE_INDEX[f"{side}_{joint}"]])
    inside = cv2.pointPolygonTest(cv2.convexHull(others[0].uv.astype(np.float32)), (x, y), True)
    return inside > -COVERED * palm_length(others[0])


def clarity(person: PersonDetection, side: str) -> float:
    """Visibility of an arm's least visible joint."""
    return float(person.visibility[[POSE_INDEX[f"{side}_{joint}"] for joint in ARM]].min())


def longest_arm(person: PersonDetection) -> float:
    """Length of an arm that ends in a hand [m], in the body's shape; the longer one's."""
    arms = [person.shape[[POSE_INDEX[f"{side}_{joint}"] for joint in ARM]] for side in person.hands]
    return max(float(np.linalg.norm(np.diff(arm, axis=0), axis=1).sum()) for arm in arms)


def facing(person: PersonDetection) -> PersonDetection:
    """The body the right way round, by its hands' labels. Without a face the network takes many fronts for backs, and
    left for right."""
    votes = sum(1 if hand.label == side else -1 for side, hand in person.hands.items())
    return person if votes >= 0 else mirrored(person)


def oriented_as(person: PersonDetection, last: PersonDetection) -> PersonDetection:
    """The body the way round in which its shoulders and elbows are nearer to their last places."""
    rows = [POSE_INDEX[f"{side}_{joint}"] for side in SIDES for joint in ("shoulder", "elbow")]
    return min((person, mirrored(person)), key=lambda p: float(np.linalg.norm(p.uv[rows] - last.uv[rows])))


def frontness(person: PersonDetection) -> float:
    """How far the left shoulder is at the picture's right of the other one, in trunk lengths: positive from the front."""
    left, right = (float(person.uv[POSE_INDEX[f"{side}_shoulder"], 0]) for side in SIDES)
    return (left - right) / trunk_length(person)


def faces_otherwise(person: PersonDetection, other: PersonDetection) -> bool:
    """Whether one of two bodies clearly shows its front and the other one its back."""
    a, b = frontness(person), frontness(other)
    return min(abs(a), abs(b)) > BROAD and a * b < 0.0


def trunk_middle(person: PersonDetection) -> Float[ndarray, "2"]:
    """The middle of shoulders and hips [px]."""
    return person.uv[[POSE_INDEX[f"{side}_{joint}"] for side in SIDES for joint in ("shoulder", "hip")]].mean(0)


def trunk_length(person: PersonDetection) -> float:
    """From the shoulders' to the hips' middle [px], at least 1."""
    ends = [person.uv[[POSE_INDEX[f"{side}_{joint}"] for side in SIDES]].mean(0) for joint in ("shoulder", "hip")]
    return max(float(np.linalg.norm(ends[0] - ends[1])), 1.0)


def plausible(person: PersonDetection, width: int, height: int) -> bool:
    """Whether pixels and shape agree, the trunk is upright, and its shoulders are in the picture or little outside."""
    shoulders, hips = (person.uv[[POSE_INDEX[f"{side}_{joint}"] for side in SIDES]] for joint in ("shoulder", "hip"))
    trunk = trunk_length(person)
    upright = hips.mean(0)[1] - shoulders.mean(0)[1] >= MIN_UPRIGHT * trunk
    x, y = shoulders[:, 0], shoulders[:, 1]
    outside = np.maximum.reduce([-x, x - width, -y, y - height]).max()
    return bool(agreement(person) >= MIN_AGREEMENT and upright and outside <= MAX_OUTSIDE * trunk)


def head_seen(person: PersonDetection, width: int, height: int) -> bool:
    """Whether the nose is visible, lies within the picture and above the shoulders, and these above the hips."""
    x, y = person.uv[0]
    shoulders, hips = (person.uv[[POSE_INDEX[f"{side}_{joint}"] for side in SIDES]].mean(0) for joint in ("shoulder", "hip"))
    above = float((person.uv[0] - shoulders) @ (shoulders - hips)) > 0.0
    upright = above and hips[1] - shoulders[1] >= LEAST_UPRIGHT * trunk_length(person)
    return bool(person.visibility[0] >= MIN_NOSE and 0.0 <= x < width and 0.0 <= y < height and upright)


def fits(person: PersonDetection, hand: HandDetection) -> bool:
    """Whether a hand is not too large to belong to the body."""
    rows = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
    body = pixels_per_metre(person.uv[rows], person.shape[rows])
    return pixels_per_metre(hand.uv, hand.shape) <= MAX_HAND_SCALE * body


def before_trunk(person: PersonDetection) -> bool:
    """Whether a hand is nearer to the camera than the trunk: it appears larger [px/m] than the body does."""
    rows = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
    body = pixels_per_metre(person.uv[rows], person.shape[rows])
    return any(pixels_per_metre(hand.uv, hand.shape) >= body for hand in person.hands.values())


def agreement(person: PersonDetection) -> float:
    """Correlation between the body's pixels and its shape across the viewing ray: 1 for a scaled projection."""
    rows = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
    uv = person.uv[rows] - person.uv[rows].mean(0)
    w = person.shape[rows, :2] - person.shape[rows, :2].mean(0)
    return float(np.sum(uv * w) / max(float(np.linalg.norm(uv) * np.linalg.norm(w)), 1e-9))
