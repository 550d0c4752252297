"""A body whose head is out of the picture, found by its arms: its wrist must be where a hand was found on its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from visual_irl.perception.landmarks.body_geometry import (
    ARM,
    BROAD,
    before_trunk,
    clarity,
    faces_otherwise,
    facing,
    frontness,
    longest_arm,
    matched,
    oriented_as,
    plausible,
    trunk_length,
    trunk_middle,
    with_arms,
    with_confirmed_arms,
)
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection, mirrored
from visual_irl.perception.landmarks.hand_labels import FOLLOW_WITHIN, LabelVotes, palm_length
from visual_irl.perception.landmarks.region import Region
from visual_irl.types import SIDES

MIN_ARM = 0.36
"""Least length of upper arm and forearm [m] in the body's shape; a small adult has 0.48, which the network shortens."""
MAX_STEP, MAX_SPEED = 0.25, 2.0
"""How far a shoulder of the same body lies from its last place at most: so many trunk lengths by the network's error, and
so many more per second [1/s] by its motion, 1 m/s. A stranger's mostly lies further."""
LOCK_NS = 1_000_000_000
"""A body that was not found for so long [ns] is searched for anew."""
BLIND_NS = 500_000_000
"""An arm is followed for so long [ns] without its hand, which what it holds may hide."""
MIN_DOUBTED = 0.1
"""Least visibility of an arm that ends in a hand, of a body that is followed already. Where sleeve and coat look alike the
network doubts arms that it places well."""
HAND_REACH = 0.45
"""How far a hand is from the middle of its body's region at most, in sides of it: an arm and half the shoulders are 0.9 m,
the region is a body's height and a quarter, 2.2 m."""
MAX_ASIDE = 0.25
"""How far a followed body is from the middle of a region that may hold it at most, in sides of it: 0.5 m."""
DECIDED, FRONT = 3, 1
"""Sightings by which one way of facing must lead before it holds for the whole stream, and the lead that the front starts
with: most demonstrators face the camera."""
REFIND = 3.5
"""Half the side of the enlarged square in which a hand is looked for again, in palms."""
CLOSER = 0.4
"""Half the side of the enlarged square around a wrist in which its hand is looked for, in trunk lengths (0.2 m)."""
_OWN_REGIONS = 2

Closer = Callable[[UInt8[ndarray, "H W 3"], Float[ndarray, "2"], float], HandDetection | None]
"""A hand in the enlarged square with a centre and half a side [px]."""


def first_regions(width: int, height: int) -> list[Region]:
    """Where a body without a head may be: it fills the picture, or stands at its left or right, partly outside.

    The fewest that found the arms in pictures of four demonstrations, of 90 tried, and their mirror images.
    """
    side = float(max(width, height))
    middle = [Region(0.5 * width, 0.65 * height, side, extended=extended) for extended in (True, False)]
    left = [(0.1, 0.8, 1.0, True), (0.1, 0.5, 0.8, True), (0.25, 0.65, 1.3, False)]
    return middle + [
        Region((x if at_left else 1.0 - x) * width, y * height, size * side, extended=extended)
        for x, y, size, extended in left
        for at_left in (True, False)
    ]


@dataclass(frozen=True)
class Sighting:
    """A body that was found, and when a hand was last seen at its wrist [ns]."""

    person: PersonDetection
    stamp_ns: int
    hand_ns: int


@runtime_checkable
class BodyNetwork(Protocol):
    """The body's landmark network."""

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """What it sees in a region (no hands), the probability that a body is there, and the body's own region."""
        ...


class HeadlessSearch:
    """Follows such a body through a stream.

    Whether it faces the camera is decided once, by its hands' labels in the first sightings; from then on it tells left
    from right, and a picture that contradicts it is lost.

    Each picture has two tries: the region that was right last, and one of the others in turn. A new body counts from its
    second sighting on: what the network sees by chance in a hand or a coat does not stay in place.
    """

    def __init__(
        self, network: BodyNetwork, closer: Closer, votes: LabelVotes, min_confidence: float, min_visibility: float
    ) -> None:
        self._network, self._closer, self._votes = network, closer, votes
        self._min_confidence, self._min_visibility = min_confidence, min_visibility
        self._last: Sighting | None = None
        self._new: Sighting | None = None
        self._doubted: Sighting | None = None
        self.unsure = False
        """Whether the last picture showed a body, not for the first time, whose left and right are not certain."""
        self._hands: list[HandDetection] = []
        self._hands_ns = 0
        self._own: Region | None = None
        self._order = list(range(_OWN_REGIONS + len(first_regions(1, 1))))  # the last body's own regions come first
        self._turn = self._in_vain = 0
        self._lead = FRONT
        self._front: bool | None = None

    @property
    def locked(self) -> bool:
        """Whether a body is being followed."""
        return self._last is not None

    def find(self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int, hands: Sequence[HandDetection]) -> PersonDetection | None:
        """The body to which at least one of the hands belongs, or None."""
        known_bodies = self._last, self._new, self._doubted
        self._last, self._new, self._doubted = (s if s and stamp_ns - s.stamp_ns <= LOCK_NS else None for s in known_bodies)
        self.unsure = False
        again, known = self._refound(rgb, stamp_ns, hands)
        hands = [*hands, *again]
        bodies = []
        for index, region in self._tries(rgb.shape[1], rgb.shape[0], hands):
            person, presence, own = self._network.run(rgb, region)
            if presence >= self._min_confidence and plausible(person, rgb.shape[1], rgb.shape[0]):
                body, clear = self._with_hands(rgb, person, hands, stamp_ns, search=not known and (self.locked or not hands))
                bodies.append((clear, index, body, own))
                if clear >= self._min_visibility:
                    break
        self._in_vain += 1
        for clear, index, body, own in sorted(bodies, key=lambda b: -b[0]):
            if self._believed(body, clear, stamp_ns, hand_known=known):
                # upright: its turn, measured on hips below a table's edge, may run away
                self._own, self._in_vain = replace(own, turn=0.0), 0
                self._order.remove(index)
                self._order.insert(0, index)
                return self._last.person if self._last and self._last.stamp_ns == stamp_ns else None
        return None

    def _believed(self, found: PersonDetection, clear: float, stamp_ns: int, hand_known: bool) -> bool:
        """Whether a body is the followed one, or may be a new one; it is remembered as such."""
        last, new = self._last, self._new
        if found.hands:
            body = self._right_way(found)
            if body is None or (last and faces_otherwise(body, last.person)):  # nobody turns so soon: labels have changed
                self._doubt(found, clear, stamp_ns)
                return False
            self._hands, self._hands_ns = list(body.hands.values()), stamp_ns
            sighting = Sighting(body, stamp_ns, stamp_ns)
            if last and clear >= MIN_DOUBTED and continues(body, last, stamp_ns):
                self._last = sighting
            elif clear < self._min_visibility or longest_arm(body) < MIN_ARM:
                return False
            else:
                again = new is not None and continues(body, new, stamp_ns)
                decided = self._decide(body, again)
                if not decided:
                    self._doubt(found, clear, stamp_ns)
                self._last, self._new = (sighting, None) if again and decided else (last, sighting)
            return True
        if not hand_known and last and stamp_ns - last.hand_ns <= BLIND_NS and continues(found, last, stamp_ns):
            body = oriented_as(found, last.person)
            arms = self._arms_that_continue(body, last, stamp_ns)
            if self._agrees(body) and arms:
                self._last = Sighting(replace(with_arms(body, arms), hands={}), stamp_ns, last.hand_ns)
                return True
        return False

    def _doubt(self, found: PersonDetection, clear: float, stamp_ns: int) -> None:
        """Remember a body whose left and right are not certain; `unsure` where it was there before."""
        if clear >= self._min_visibility and longest_arm(found) >= MIN_ARM:
            before = self._doubted
            self.unsure |= before is not None and before.stamp_ns < stamp_ns and continues(found, before, stamp_ns)
            self._doubted = Sighting(found, stamp_ns, stamp_ns)

    def _right_way(self, body: PersonDetection) -> PersonDetection | None:
        """The body with left and right as decided for the stream, or as its hands say; None where these disagree.

        Seen from the side, the network tells left from right as its hands do, or one of both is wrong.
        """
        drawn, body = body, facing(body)
        settled = any(self._votes.settled(hand) for hand in body.hands.values())
        if body is not drawn and abs(frontness(drawn)) < BROAD and not settled:
            return None
        if not self._agrees(body):
            if settled:
                return None
            body = mirrored(body)
        if self._front is not None and abs(frontness(body)) >= BROAD:
            for side, hand in body.hands.items():
                self._votes.settle(hand, side)
        return body

    def _agrees(self, body: PersonDetection) -> bool:
        """Whether a body faces as decided, as far as its shoulders show it."""
        seen = frontness(body)
        return self._front is None or abs(seen) < BROAD or (seen > 0.0) == self._front

    def _decide(self, body: PersonDetection, again: bool) -> bool:
        """Count how a new body faces; whether left and right are certain: shoulders seen from the side do not matter.

        Who faces the camera has the hands before the trunk, who shows the back beyond it: else the sighting contradicts itself.
        """
        seen = frontness(body)
        if self._front is not None or abs(seen) < BROAD:
            return True
        if (seen > 0.0) != before_trunk(body):
            self._lead = FRONT
            return False
        self._lead = (self._lead if again else FRONT) + (1 if seen > 0.0 else -1)
        if abs(self._lead) >= DECIDED:
            self._front = self._lead > 0
        return self._front is not None

    def _tries(self, width: int, height: int, hands: Sequence[HandDetection]) -> Iterator[tuple[int, Region]]:
        """Regions for this picture, with their numbers."""
        regions: dict[int, Region] = dict(enumerate(first_regions(width, height), _OWN_REGIONS))
        if self._own:
            regions.update({i: replace(self._own, extended=i == 0) for i in range(_OWN_REGIONS)})
        known = [index for index in self._order if index in regions]
        usable = [index for index in known if self._may_hold(regions[index], hands)]
        usable = usable if len(usable) > 1 else known
        self._turn += 1
        other = usable[1 + self._turn % (len(usable) - 1)]
        idle = not self.locked and self._in_vain > 2 * len(usable)  # every region had its turns
        for index in (other,) if idle else (usable[0], other):
            yield index, regions[index]

    def _may_hold(self, region: Region, hands: Sequence[HandDetection]) -> bool:
        """Whether the followed body, or else one that reaches a hand, may stand in the middle of a region."""
        if self._last:
            return abs(float(trunk_middle(self._last.person)[0]) - region.x) <= MAX_ASIDE * region.side
        return not hands or any(abs(float(hand.uv[0, 0]) - region.x) <= HAND_REACH * region.side for hand in hands)

    def _refound(
        self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int, hands: Sequence[HandDetection]
    ) -> tuple[list[HandDetection], bool]:
        """The followed hand, looked for where it was last when the whole picture does not show it; and whether any
        followed hand is in the picture."""
        known = False
        self._hands = self._hands if stamp_ns - self._hands_ns <= LOCK_NS else []
        for i, last in enumerate(self._hands):
            near = [h for h in hands if np.linalg.norm(h.uv[0] - last.uv[0]) < FOLLOW_WITHIN * palm_length(h)]
            again = near[0] if near else self._closer(rgb, last.uv.mean(0), REFIND * palm_length(last))
            if again is not None:
                self._hands[i], self._hands_ns, known = again, stamp_ns, True
                if not near:
                    return self._votes.relabelled([again], stamp_ns), True
        return [], known

    def _with_hands(
        self, rgb: UInt8[ndarray, "H W 3"], person: PersonDetection, hands: Sequence[HandDetection], stamp_ns: int, search: bool
    ) -> tuple[PersonDetection, float]:
        """The body with the hands that lie on its wrists, and how clearly the network sees the clearest of these arms."""
        found = matched(person, hands)
        if not found and search:
            side = max(SIDES, key=lambda s: float(person.visibility[POSE_INDEX[f"{s}_wrist"]]))
            hand = self._closer(rgb, person.uv[POSE_INDEX[f"{side}_wrist"]], CLOSER * trunk_length(person))
            if hand is not None:
                found = matched(person, self._votes.relabelled([hand], stamp_ns))
        clear = [clarity(person, side) for side in found]
        return with_confirmed_arms(person, found) if found else person, max(clear, default=0.0)

    def _arms_that_continue(self, body: PersonDetection, last: Sighting, stamp_ns: int) -> list[str]:
        """The sides of arms that are visible in both, and have moved like an arm, at most twice as fast as a trunk."""
        sides = []
        for side in SIDES:
            rows = [POSE_INDEX[f"{side}_{joint}"] for joint in ARM]
            step = np.linalg.norm(body.uv[rows] - last.person.uv[rows], axis=1)
            seen = np.minimum(body.visibility[rows], last.person.visibility[rows]) >= self._min_visibility
            if seen.all() and (step <= 2.0 * reach_since(last, stamp_ns)).all():
                sides.append(side)
        return sides


def continues(person: PersonDetection, last: Sighting, stamp_ns: int) -> bool:
    """Whether both shoulders, in either order, lie near their last places."""
    rows = [POSE_INDEX[f"{side}_shoulder"] for side in SIDES]
    step = np.linalg.norm(oriented_as(person, last.person).uv[rows] - last.person.uv[rows], axis=1)
    return bool((step <= reach_since(last, stamp_ns)).all())


def reach_since(last: Sighting, stamp_ns: int) -> float:
    """How far a joint of the trunk may have moved [px] since a sighting."""
    return (MAX_STEP + MAX_SPEED * 1e-9 * (stamp_ns - last.stamp_ns)) * trunk_length(last.person)
