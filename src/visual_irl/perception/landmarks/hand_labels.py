"""Which hand is which over a stream: single labels err often, and the same hand is found twice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.perception.landmarks.detection import HandDetection
from visual_irl.types import SIDES

FOLLOW_WITHIN = 6.0
"""A hand is the nearest one seen before, if that was within so many palms: it may be lost for a moment and move on."""
INHERITED = 3.0
"""Votes that a hand which appears while no other is followed takes over from the last one: most likely it is the same,
found again elsewhere. If not, four labels of its own outvote them."""
_FORGET_NS = 1_000_000_000  # a hand unseen for a second is lost


@dataclass
class _Followed:
    wrist: Float[ndarray, "2"]
    votes: dict[str, float]
    stamp_ns: int


class LabelVotes:
    """Which side each hand is, by the scores of all its labels while it is followed."""

    def __init__(self) -> None:
        self._followed: list[_Followed] = []

    def relabelled(self, hands: Sequence[HandDetection], stamp_ns: int) -> list[HandDetection]:
        """The hands of a picture with the labels of their majorities. Two hands get different ones: they are of one
        person, and the two majorities that are clearer together decide."""
        recent = [f for f in self._followed if stamp_ns - f.stamp_ns <= _FORGET_NS]
        free, mine = list(recent), []
        for hand in hands:
            gaps = [float(np.linalg.norm(f.wrist - hand.uv[0])) for f in free]
            if gaps and min(gaps) < FOLLOW_WITHIN * palm_length(hand):
                mine.append(free.pop(int(np.argmin(gaps))))
            else:
                mine.append(_Followed(hand.uv[0], self._inherited(recent), stamp_ns))
        for hand, followed in zip(hands, mine, strict=True):
            followed.wrist, followed.stamp_ns = hand.uv[0], stamp_ns
            followed.votes[hand.label] += hand.score
        if mine:
            self._followed = [*free, *mine]
        labels = [_lead(f.votes) for f in mine]
        sides = ["left" if lead > 0.0 else "right" for lead in labels]
        if len(mine) == 2:
            sides = ["left", "right"] if labels[0] > labels[1] else ["right", "left"]
        return [replace(hand, label=side) for hand, side in zip(hands, sides, strict=True)]

    def settle(self, hand: HandDetection, side: str) -> None:
        """What the body tells about a followed hand's side: no label of its own changes it any more."""
        for followed in self._at(hand):
            followed.votes[side] = math.inf
            followed.votes["left" if side == "right" else "right"] = 0.0

    def settled(self, hand: HandDetection) -> bool:
        """Whether the side of a followed hand is settled."""
        return any(math.isinf(_lead(followed.votes)) for followed in self._at(hand))

    def _at(self, hand: HandDetection) -> list[_Followed]:
        return [f for f in self._followed if np.linalg.norm(f.wrist - hand.uv[0]) < palm_length(hand)]

    def _inherited(self, recent: Sequence[_Followed]) -> dict[str, float]:
        votes = dict.fromkeys(SIDES, 0.0)
        if not recent and self._followed:
            last = max(self._followed, key=lambda f: f.stamp_ns).votes
            lead = _lead(last)
            votes["left" if lead > 0.0 else "right"] = min(INHERITED, abs(lead))
        return votes


def _lead(votes: dict[str, float]) -> float:
    return votes["left"] - votes["right"]


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
