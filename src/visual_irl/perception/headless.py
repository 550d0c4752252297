"""A body whose head is out of the picture, found by its arms: its wrist must be where a hand was found on its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from visual_irl.perception.body_network import BodyNetwork, Region, first_regions
from visual_irl.perception.detection import POSE_INDEX, HandDetection, PersonDetection, mirrored, pixels_per_metre
from visual_irl.types import BODY_KEYPOINTS, SIDES

MAX_HAND_SCALE = 3.5
"""A hand that appears more than this many times larger [px/m] than its body is no part of it: it would have to be that
much nearer to the camera. The networks also see bodies in single hands, with factors of up to 6."""
MIN_AGREEMENT = 0.988
"""Least correlation between a body's pixels and its shape. The network's two outputs agree on bodies (0.989 to 0.996 on
real ones without a head) and less on what is none (up to 0.985 on a single hand)."""
MIN_ARM = 0.36
"""Least length of upper arm and forearm [m] in the body's shape; a small adult has 0.48, which the network shortens."""
MIN_NOSE = 0.93
"""Least visibility of the nose of a body that was found by its face: 0.95 to 1.0 on bodies with a head, up to 0.89 on
the small ones that the network sees within a trunk."""
MAX_WRIST_MISS = 0.5
"""Largest distance between the body's and the hand's wrist, in palms (wrist to middle knuckle)."""

FOLLOW_WITHIN = 6.0
"""A hand is the nearest one seen before, if that was within so many palms: it may be lost for a moment and move on."""
_FOLLOWED = 8  # last places of hands that are remembered


class HeadlessSearch:
    """Follows such a body through a stream."""

    def __init__(self, network: BodyNetwork, min_confidence: float, min_visibility: float) -> None:
        self._network = network
        self._min_confidence, self._min_visibility = min_confidence, min_visibility
        self._region: Region | None = None
        self._turn = 0

    def find(self, rgb: UInt8[ndarray, "H W 3"], hands: Sequence[HandDetection]) -> PersonDetection | None:
        """The body to which at least one of the hands belongs, or None."""
        likeliest, *others = first_regions(rgb.shape[1], rgb.shape[0])
        regions = [*([self._region] if self._region else []), likeliest, others[self._turn % len(others)]]
        self._turn += 1  # the others take turns: a search that runs dry must not cost six networks a frame
        self._region = None
        for region in regions if hands else []:
            person, presence, own = self._network.run(rgb, region)
            if presence < self._min_confidence:
                continue
            ends = {side: hand for side in SIDES if (hand := self._hand_at(person, side, hands))}
            if ends:
                self._region = own
                return facing(replace(person, hands=ends))
        return None

    def _hand_at(self, person: PersonDetection, side: str, hands: Sequence[HandDetection]) -> HandDetection | None:
        rows = [POSE_INDEX[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "wrist")]
        if not (person.visibility[rows] >= self._min_visibility).all():
            return None
        wrist = person.uv[rows[2]]
        near = min(hands, key=lambda hand: float(np.linalg.norm(hand.uv[0] - wrist)))
        close = np.linalg.norm(near.uv[0] - wrist) <= MAX_WRIST_MISS * palm_length(near)
        arm = person.shape[rows]
        long = float(np.linalg.norm(np.diff(arm, axis=0), axis=1).sum()) >= MIN_ARM
        return near if close and long and fits(person, near) and agreement(person) >= MIN_AGREEMENT else None


class LabelVotes:
    """Which side each hand is, by the majority of its labels while it is followed: single labels err in 1 of 10."""

    def __init__(self) -> None:
        self._followed: list[tuple[Float[ndarray, "2"], dict[str, float]]] = []

    def relabelled(self, hands: Sequence[HandDetection]) -> list[HandDetection]:
        """The hands of the next picture with the labels of their majorities."""
        before, self._followed = self._followed, [*self._followed[-_FOLLOWED:]]
        result = []
        for hand in hands:
            gaps = [float(np.linalg.norm(wrist - hand.uv[0])) for wrist, _ in before]
            known = bool(gaps) and min(gaps) < FOLLOW_WITHIN * palm_length(hand)
            votes = before[int(np.argmin(gaps))][1] if known else dict.fromkeys(SIDES, 0.0)
            votes[hand.label] += hand.score
            self._followed.append((hand.uv[0], votes))
            result.append(replace(hand, label=max(SIDES, key=lambda side: votes[side])))
        return result


def facing(person: PersonDetection) -> PersonDetection | None:
    """The body the right way round, by its hands. Without a face the network takes many fronts for backs, and left for
    right. None when two hands look like the same side: nothing says which of them is wrong."""
    if len(person.hands) == 2 and len({hand.label for hand in person.hands.values()}) == 1:
        return None
    side, hand = next(iter(person.hands.items()))
    return person if hand.label == side else mirrored(person)


def head_seen(person: PersonDetection, width: int, height: int) -> bool:
    """Whether the nose is visible and lies within the picture."""
    x, y = person.uv[0]
    return bool(person.visibility[0] >= MIN_NOSE and 0.0 <= x < width and 0.0 <= y < height)


def distinct(hands: Sequence[HandDetection]) -> list[HandDetection]:
    """The hands without those that were found twice: wrists closer than a palm; the better score stays."""
    kept: list[HandDetection] = []
    for hand in sorted(hands, key=lambda h: -h.score):
        if all(np.linalg.norm(hand.uv[0] - other.uv[0]) > palm_length(other) for other in kept):
            kept.append(hand)
    return kept


def palm_length(hand: HandDetection) -> float:
    """From the wrist to the middle finger's knuckle [px]."""
    return float(np.linalg.norm(hand.uv[9] - hand.uv[0]))


def fits(person: PersonDetection, hand: HandDetection) -> bool:
    """Whether a hand is not too large to belong to the body."""
    rows = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
    body = pixels_per_metre(person.uv[rows], person.shape[rows])
    return pixels_per_metre(hand.uv, hand.shape) <= MAX_HAND_SCALE * body


def agreement(person: PersonDetection) -> float:
    """Correlation between the body's pixels and its shape across the viewing ray: 1 for a scaled projection."""
    rows = [POSE_INDEX[name] for name in BODY_KEYPOINTS]
    uv = person.uv[rows] - person.uv[rows].mean(0)
    w = person.shape[rows, :2] - person.shape[rows, :2].mean(0)
    return float(np.sum(uv * w) / max(float(np.linalg.norm(uv) * np.linalg.norm(w)), 1e-9))
