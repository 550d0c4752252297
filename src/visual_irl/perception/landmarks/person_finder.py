"""One person and their hands in a stream, out of what the networks see: the same for every way of running them.

Hands are found once on the whole picture and, for an arm whose hand was not found there, once more on an enlarged crop
around the wrist. A body whose head is out of the picture is searched for by its arms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float, Float32, UInt8
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.perception.landmarks.body_geometry import faces_otherwise, fits, head_seen
from visual_irl.perception.landmarks.detection import POSE_INDEX, HandDetection, PersonDetection
from visual_irl.perception.landmarks.hand_labels import LabelVotes, distinct, palm_length
from visual_irl.perception.landmarks.headless import HeadlessSearch
from visual_irl.perception.landmarks.person_choice import (
    KEEP_NS,
    Chosen,
    Look,
    demonstrator,
    doubtful,
    exchanged,
    far_from,
    look_of,
    middle_of_shoulders,
    nearest_to,
    place_of,
    same_person,
    size_of,
    wears,
)
from visual_irl.perception.landmarks.region import Region, hand_around
from visual_irl.types import SIDES

CROP_SIZE = 256
"""Side of an enlarged hand crop [px]: the palm detector works on 192."""
MOST_PEOPLE = 4
"""So many people in a picture are told apart."""
PAUSE_NS = 180_000_000
"""After a closer look for a hand that found none, so long [ns] none is taken: hands stay hidden for longer."""
_FACE_EVERY = 5
"""While a body is followed without its head, only every so many pictures are searched for a face, until one is found: it
costs a third."""


@runtime_checkable
class Networks(Protocol):
    """The body's and the hand's networks, which follow what they found from picture to picture."""

    def begin(self, rgb: UInt8[ndarray, "H W 3"], stamp_ms: int) -> None:
        """The picture that `hands` and `body` look at from here on; stamps rise."""
        ...

    def forget(self, stamp_ms: int) -> None:
        """Follow nothing any more; stamps rise as those of pictures do."""
        ...

    def hands(self) -> list[HandDetection]:
        """Up to two hands in the picture; asked after `body`."""
        ...

    def body(self, near: Region | None = None) -> PersonDetection | None:
        """The body in the picture that was found by its face, without hands; `near`: the one nearest to the middle of this
        square, searched for anew."""
        ...

    def bodies(self) -> list[PersonDetection]:
        """All bodies in the picture, up to `MOST_PEOPLE`; nothing is followed."""
        ...

    def hand_in(self, crop: UInt8[ndarray, "S S 3"]) -> HandDetection | None:
        """A hand in a picture of its own; nothing is followed."""
        ...

    def hand_at(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> HandDetection | None:
        """A hand in a region where one is expected, without searching for it; nothing is followed."""
        ...

    def run(self, rgb: UInt8[ndarray, "H W 3"], region: Region) -> tuple[PersonDetection, float, Region]:
        """What the body's network sees in a region, the probability that a body is there, and the body's own region."""
        ...

    def close(self) -> None:
        """Free the networks."""
        ...


@dataclass(frozen=True)
class PersonFinderConfig:
    """Options that every detector has."""

    pose_model: str = "heavy"
    """`heavy` or `full`. Full costs a third of the time, but finds few bodies whose head is out of the picture."""
    min_confidence: float = 0.5
    """A body or hand with a lower score in [0, 1] is not there (MediaPipe's default)."""
    min_visibility: float = 0.5
    """A landmark with a lower visibility in [0, 1] is lost: below it the network guesses."""
    hand_reach: float = 0.6
    """A hand belongs to the arm whose wrist is nearest, at most this many forearm lengths away."""
    search_without_head: bool = True
    """Look for a body whose head is out of the picture by its arms and hands; costs up to two more runs of the
    body network a frame, and two of the hand networks."""

    def __post_init__(self) -> None:
        if self.pose_model not in ("heavy", "full"):
            raise InvalidInput(f"pose_model '{self.pose_model}' is unknown; known: full, heavy")
        require_within(self, 1e-6, 1.0, hand_reach=(0.0, 10.0))


class PersonFinder:
    """Tracks one person through a stream; see `PersonFinderConfig`."""

    def __init__(self, config: PersonFinderConfig, networks: Networks) -> None:
        self.config, self.networks = config, networks
        self._last_ms = -1
        self._expected: ndarray | None = None
        self._depth: ndarray | None = None
        self._shape: tuple[int, ...] = ()
        self._clothes: ndarray | None = None
        self._unsure = False
        self._follow_nobody()

    def _follow_nobody(self) -> None:
        self._votes = LabelVotes()
        self._headless: HeadlessSearch | None = None
        self._without_face = 0
        self._in_vain_ns: dict[str, int] = {}
        self._last_hands: dict[str, HandDetection] = {}
        self._chosen: Chosen | None = None
        self._near: Region | None = None
        self._crowded = False

    def expect(self, shoulders: Float[ndarray, "2"] | None) -> None:
        """Where another camera says that the middle between the person's shoulders will be in the next picture [px]."""
        self._expected = shoulders

    def show_depth(self, depth: Float32[ndarray, "H W"] | None) -> None:
        """The depth of the next picture [m]: who walks in front is nearer."""
        self._depth = depth

    def begin_shot(self) -> None:
        """The next picture shows another place: somebody is chosen anew, among those in the same clothes if there are any."""
        if self._chosen is not None and self._chosen.clothes is not None:
            self._clothes = self._chosen.clothes
        self._follow_nobody()
        self.networks.forget(self.next_ms(0))

    def doubts_sides(self) -> bool:
        """Whether a body without a head was lost in the last picture because its left and right are not certain."""
        return self._unsure

    def next_ms(self, stamp_ns: int) -> int:
        """The time of a picture in rising milliseconds, as the networks want it: a stamp that stalls is moved on."""
        self._last_ms = max(self._last_ms + 1, stamp_ns // 1_000_000)
        return self._last_ms

    def detect(self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int) -> PersonDetection | None:
        """The person in a picture, or None."""
        if rgb.shape != self._shape:  # where somebody was in another size's pixels tells nothing
            self._shape, self._chosen, self._near, self._headless, self._last_hands = rgb.shape, None, None, None, {}
        self.networks.begin(rgb, self.next_ms(stamp_ns))
        return self.find(rgb, stamp_ns)

    def find(self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int) -> PersonDetection | None:
        """The person in a picture that the networks have begun with, or None."""
        self._unsure = False
        followed = self._headless is not None and self._headless.locked
        faceless = followed and self._without_face < _FACE_EVERY
        self._without_face = self._without_face + 1 if faceless else 0
        body = None if faceless else self._body(stamp_ns)  # first: hands may be looked for at the same time
        found = self._votes.relabelled(distinct(self.networks.hands()), stamp_ns)
        if not faceless:
            person = self._by_face(rgb, body, found, stamp_ns)
            if person is not None and (person.hands or not followed):
                self._without_face = _FACE_EVERY  # it is looked for in the next picture, too
                return person  # a face without a hand does not outdo a body that is followed by its hand
        if not self.config.search_without_head:
            return None
        if self._headless is None:
            c = self.config
            self._headless = HeadlessSearch(self.networks, self._closer, self._votes, c.min_confidence, c.min_visibility)
        person = self._headless.find(rgb, stamp_ns, found)
        self._unsure = person is None and self._headless.unsure
        if person is None or followed or self._chosen is None:
            return person
        if faces_otherwise(person, self._chosen.person) or not self._same(person, rgb, stamp_ns):
            self._headless, person = None, None  # somebody without a head, who came or passes before the one with a face
        return person

    def _body(self, stamp_ns: int) -> PersonDetection | None:
        """What the pose networks find, near whoever is followed."""
        if self._chosen is not None and abs(stamp_ns - self._chosen.stamp_ns) > KEEP_NS:  # or another stream's
            self._chosen = self._near = None
        if self._chosen is not None and self._expected is not None and far_from(self._chosen.person, self._expected):
            self._chosen = self._near = None
        return self.networks.body(self._near)

    def _by_face(
        self, rgb: UInt8[ndarray, "H W 3"], followed: PersonDetection | None, found: list[HandDetection], stamp_ns: int
    ) -> PersonDetection | None:
        """Whom the pose networks follow, with their hands, unless it is no body with a head, or somebody else."""
        seen = None if followed is None else self._chosen_by(followed, found, rgb, stamp_ns)
        if seen is None:
            self._last_hands = {}
            self._near = place_of(self._chosen.person) if self._chosen and self._crowded else None
            return None
        person, look = seen
        self._near = None if person is followed else place_of(person)
        self._chosen = Chosen.seen(person, look, stamp_ns, self._chosen)
        self._last_hands = self._assign(rgb, person, found, stamp_ns)
        return replace(person, hands=self._last_hands)

    def _chosen_by(
        self, followed: PersonDetection, found: list[HandDetection], rgb: UInt8[ndarray, "H W 3"], stamp_ns: int
    ) -> tuple[PersonDetection, Look] | None:
        """The chosen one and how they look in this picture, in which the networks follow a body; chosen now, if nobody was."""
        height, width = rgb.shape[:2]
        person: PersonDetection | None = followed
        look = look_of(followed, rgb, self._depth)
        if self._chosen is not None and not same_person(followed, look, self._chosen, stamp_ns):
            person, self._crowded = self._again(rgb, stamp_ns), True
        # hands tell a new body from what only looks like one; of a known one's, some may be other people's
        elif not self._plausible(followed, [] if self._chosen else found, width, height):
            return None
        elif self._chosen is None:
            person = self._choose(followed, found, rgb)
        elif doubtful(followed, look, self._chosen):
            person = self._again(rgb, stamp_ns, followed)
            self._crowded |= person is None
        if person is None or (self._chosen is not None and exchanged(person, self._chosen, stamp_ns)):
            return None
        return person, look if person is followed else look_of(person, rgb, self._depth)

    def _same(self, person: PersonDetection, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int) -> bool:
        """Whether a body may be the chosen one's."""
        return self._chosen is not None and same_person(person, look_of(person, rgb, self._depth), self._chosen, stamp_ns)

    def _again(
        self, rgb: UInt8[ndarray, "H W 3"], stamp_ns: int, doubted: PersonDetection | None = None
    ) -> PersonDetection | None:
        """The chosen one among all bodies in a picture in which the networks follow somebody else, or one who is `doubted`: who
        is the chosen one still, where nobody else is found there."""
        height, width = rgb.shape[:2]
        bodies = [body for body in self.networks.bodies() if self._plausible(body, [], width, height)]
        same = next((body for body in bodies if self._same(body, rgb, stamp_ns)), None)
        if same is None and doubted is not None and all(far_from(body, middle_of_shoulders(doubted)) for body in bodies):
            return doubted
        return same

    def _choose(self, followed: PersonDetection, found: list[HandDetection], rgb: UInt8[ndarray, "H W 3"]) -> PersonDetection:
        """Who of all people in the picture is followed from here on; asked once, for it costs a run of all networks."""
        height, width = rgb.shape[:2]
        others = [person for person in self.networks.bodies() if self._plausible(person, found, width, height)]
        itself = Chosen(followed, 0, size_of(followed))
        distinct_others = [other for other in others if not same_person(other, look_of(other, rgb, None), itself, 0)]
        self._crowded = bool(distinct_others)
        everybody = [followed, *distinct_others]
        if self._expected is not None:
            return nearest_to(everybody, self._expected)
        clothes = self._clothes
        alike = [] if clothes is None else [one for one in everybody if wears(look_of(one, rgb, None), clothes)]
        return demonstrator(alike or everybody, width)

    def _plausible(self, person: PersonDetection, hands: list[HandDetection], width: int, height: int) -> bool:
        """Whether the networks have found a body by its face. They also see small ones within a trunk, or in a hand: these
        have no arms to see, or their hands are giants'."""
        elbows = person.visibility[[POSE_INDEX[f"{side}_elbow"] for side in SIDES]]
        armed = bool((elbows >= self.config.min_visibility).any())
        return armed and head_seen(person, width, height) and all(fits(person, hand) for hand in hands)

    def _assign(
        self, rgb: UInt8[ndarray, "H W 3"], person: PersonDetection, found: list[HandDetection], stamp_ns: int
    ) -> dict[str, HandDetection]:
        """Each hand to the arm with the nearest wrist; the closest pairs first, one hand an arm.

        An arm without one is looked at closer, unless that was in vain a moment ago: its hand is hidden, or is the other's.
        """
        arms = {side: _arm(person, side) for side in SIDES if self._visible(person, side)}
        pairs = sorted(
            (float(np.linalg.norm(hand.uv[0] - arm[1])), side, i) for side, arm in arms.items() for i, hand in enumerate(found)
        )
        hands: dict[str, HandDetection] = {}
        used: set[int] = set()
        for distance, side, i in pairs:
            if side not in hands and i not in used and distance <= self._reach(person):
                hands[side] = found[i]
                used.add(i)
        for side, (elbow, wrist) in arms.items():
            if side not in hands and abs(stamp_ns - self._in_vain_ns.get(side, -PAUSE_NS)) >= PAUSE_NS:
                hand = self._look_closer(rgb, side, elbow, wrist, self._reach(person))
                taken = [other.uv[0] for other in hands.values()]
                if hand and all(np.linalg.norm(hand.uv[0] - p) > palm_length(hand) for p in taken):
                    hands[side] = hand
                else:
                    self._in_vain_ns[side] = stamp_ns
        return hands

    def _visible(self, person: PersonDetection, side: str) -> bool:
        rows = [POSE_INDEX[f"{side}_elbow"], POSE_INDEX[f"{side}_wrist"]]
        return bool((person.visibility[rows] >= self.config.min_visibility).all())

    def _reach(self, person: PersonDetection) -> float:
        """Largest distance [px] of a hand's wrist from the body's; by the longer forearm: one may be foreshortened."""
        return self.config.hand_reach * max(float(np.linalg.norm(np.subtract(*_arm(person, side)))) for side in SIDES)

    def _look_closer(
        self, rgb: UInt8[ndarray, "H W 3"], side: str, elbow: Float[ndarray, "2"], wrist: Float[ndarray, "2"], reach: float
    ) -> HandDetection | None:
        """A hand where this arm's was in the last picture, else in an enlarged square around where the forearm points."""
        last = self._last_hands.get(side)
        hand = self.networks.hand_at(rgb, hand_around(last.uv)) if last is not None else None
        if hand is None or np.linalg.norm(hand.uv[0] - wrist) > reach:
            hand = self._closer(rgb, wrist + 0.35 * (wrist - elbow), 2.0 * reach)
        return hand if hand is not None and np.linalg.norm(hand.uv[0] - wrist) <= reach else None

    def _closer(self, rgb: UInt8[ndarray, "H W 3"], centre: Float[ndarray, "2"], half: float) -> HandDetection | None:
        """A hand in the enlarged square with a centre and half a side [px]."""
        scale = 0.5 * CROP_SIZE / max(half, 24.0)
        shift = 0.5 * CROP_SIZE - scale * centre
        A = np.array([[scale, 0.0, shift[0]], [0.0, scale, shift[1]]])
        hand = self.networks.hand_in(cv2.warpAffine(rgb, A, (CROP_SIZE, CROP_SIZE), flags=cv2.INTER_LINEAR))
        return None if hand is None else replace(hand, uv=(hand.uv - shift) / scale)

    def close(self) -> None:
        """Free the networks."""
        self.networks.close()


def _arm(person: PersonDetection, side: str) -> tuple[Float[ndarray, "2"], Float[ndarray, "2"]]:
    return person.uv[POSE_INDEX[f"{side}_elbow"]], person.uv[POSE_INDEX[f"{side}_wrist"]]
