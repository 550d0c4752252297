"""Bodies and hands followed through one or more streams with the networks of `torch_network`, as MediaPipe follows them.

What is followed is looked at where its last landmarks were; only what is not yet followed, or was lost, is searched for by
a detector. All streams' pictures go through each network together, as one batch. Pictures are cut on the device.

A GPU is waited for once a step where everything is followed, and twice where something is searched for: body and hands are
looked at together, and what goes to the device and comes back goes in one piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from torch import Tensor

from visual_irl.perception.landmarks.detection import HandDetection, PersonDetection
from visual_irl.perception.landmarks.landmark_filter import BodyFilter
from visual_irl.perception.landmarks.person_finder import MOST_PEOPLE
from visual_irl.perception.landmarks.region import Region, body_around, body_in, hand_around, hand_in, hand_of_palm, overlap
from visual_irl.perception.landmarks.ssd import Box, anchors, found_boxes
from visual_irl.perception.landmarks.torch_network import TorchNetwork

MAX_HANDS = 2
_BODY_STRIDES, _PALM_STRIDES = (8, 16, 32, 32, 32), (8, 16, 16, 16)
_SAME_HAND = 0.5  # overlap of regions above which a newly found hand is one that is followed already
_REFINE_ABOVE = 0.5  # least value of a landmark's heat map that moves the landmark
_STEPS = 32  # a pixel: OpenCV's warps round places so
_HEAT_REACH = 3  # half the window around it [cells]


@dataclass(frozen=True)
class Picture:
    """One picture on the device: pixels (H * W + 1, 3) of which the last is black, and how large it is."""

    pixels: Tensor
    width: int
    height: int

    @classmethod
    def upload(cls, rgb: UInt8[ndarray, "H W 3"], device: torch.device) -> Picture:
        """The picture as it comes from a camera: copied once, for a GPU to where it can fetch it by itself."""
        height, width = rgb.shape[:2]
        staged = torch.empty((height * width + 1, 3), dtype=torch.uint8, pin_memory=device.type != "cpu")
        staged[-1] = 0
        staged[:-1].numpy().reshape(rgb.shape)[...] = rgb
        return cls(staged.to(device, non_blocking=True), width, height)  # freed when it was fetched

    @property
    def side(self) -> int:
        """Of the black square around the picture [px]."""
        return max(self.width, self.height)

    @property
    def offset(self) -> tuple[int, int]:
        """Of the picture in the square, x and y [px]."""
        return (self.side - self.width) // 2, (self.side - self.height) // 2

    def square(self) -> Region:
        """The whole square as a region of the picture."""
        x, y = self.offset
        return Region(0.5 * self.side - x, 0.5 * self.side - y, float(self.side))


@dataclass
class Followed:
    """What is followed in one stream."""

    body: Region | None = None
    filter: BodyFilter = field(default_factory=BodyFilter)
    hands: list[Region] = field(default_factory=list)


class TorchTracker:
    """The four networks, and one step of following for any number of streams."""

    def __init__(self, networks: dict[str, Path], device: torch.device, half: bool, least: float, streams: int) -> None:
        """`networks`: files by the names pose_detection, pose_landmark, palm_detection, hand_landmark.

        `least`: a body or hand with a lower score in [0, 1] is not there. `streams`: so many are followed.
        """
        self.device, self._least = device, least

        def load(name: str, outputs: Sequence[int]) -> TorchNetwork:
            return TorchNetwork(networks[name], outputs, device, half)

        self._body_detector, self._palm_detector = load("pose_detection", (0, 1)), load("palm_detection", (0, 1))
        self._body, self._hand = load("pose_landmark", (0, 1, 3, 4)), load("hand_landmark", (0, 1, 2, 3))
        self._body_anchors = anchors(self._body_detector.side, _BODY_STRIDES)
        self._palm_anchors = anchors(self._palm_detector.side, _PALM_STRIDES)
        if device.type != "cpu":
            for detector in (self._body_detector, self._palm_detector):
                detector.prepare(streams)
            self._body.prepare(max(streams, MOST_PEOPLE))
            self._hand.prepare(MAX_HANDS * streams)

    def upload(self, rgb: UInt8[ndarray, "H W 3"]) -> Picture:
        """A picture for the other methods."""
        return Picture.upload(rgb, self.device)

    def follow(
        self,
        pictures: Sequence[Picture],
        streams: Sequence[Followed],
        stamps_ms: Sequence[int],
        bodies: bool = True,
        most_hands: int = MAX_HANDS,
        near: Region | None = None,
    ) -> tuple[list[PersonDetection | None], list[list[HandDetection]]]:
        """The body of each stream's picture, smoothed, without hands, and its hands; each stream follows them from here on.

        `near`: the bodies nearest to the middle of this square, within it, searched for anew.
        """
        lost = [i for i, stream in enumerate(streams) if bodies and (stream.body is None or near is not None)]
        lacking = [i for i, stream in enumerate(streams) if len(stream.hands) < most_hands]
        found, palms = self._found([pictures[i] for i in lost], [pictures[i] for i in lacking])
        for i, some in zip(lost, found, strict=True):
            streams[i].body, streams[i].filter = _nearest(some, near), BodyFilter()
        body_regions = [[stream.body] if bodies and stream.body is not None else [] for stream in streams]
        hand_regions = [stream.hands[:most_hands] for stream in streams]
        for i, some in zip(lacking, palms, strict=True):
            for palm in some[:most_hands]:
                if all(overlap(palm, other) <= _SAME_HAND for other in hand_regions[i]):
                    hand_regions[i].append(palm)
        hand_regions = [some[:most_hands] for some in hand_regions]
        bodies_seen, hands_seen = self.seen(pictures, body_regions, hand_regions)
        people, hands = iter(bodies_seen), iter(hands_seen)
        followed = [
            self._body_of(stream, next(people), ms) if some else None
            for stream, some, ms in zip(streams, body_regions, stamps_ms, strict=True)
        ]
        if most_hands == 0:
            return followed, [[] for _ in streams]
        return followed, [
            _hands_of(stream, [next(hands) for _ in some]) for stream, some in zip(streams, hand_regions, strict=True)
        ]

    def _body_of(self, stream: Followed, seen: tuple[PersonDetection, float, Region], stamp_ms: int) -> PersonDetection | None:
        person, presence, own = seen
        stream.body = own if presence > self._least else None
        return stream.filter.step(person, stamp_ms, own.side) if presence > self._least else None

    def all_bodies(self, picture: Picture, most: int) -> list[PersonDetection]:
        """Up to so many bodies of one picture; nothing is followed."""
        ((regions,), _) = self._found([picture], [])
        bodies, _ = self.seen([picture], [regions[:most]], [[]])
        return [person for person, presence, _ in bodies if presence > self._least]

    def seen(
        self,
        pictures: Sequence[Picture],
        body_regions: Sequence[Sequence[Region]],
        hand_regions: Sequence[Sequence[Region]],
    ) -> tuple[list[tuple[PersonDetection, float, Region]], list[HandDetection | None]]:
        """What the networks see in regions of each picture, one region after the other.

        Returns:
            Body, probability that it is there, and its own region; and the hands, None where there is no hand.
        """
        rows, hand_rows = _fetched([self._body_rows(pictures, body_regions), self._hand_rows(pictures, hand_regions)])
        bodies, hands = [], []
        for values, region in zip(rows, (region for some in body_regions for region in some), strict=True):
            person, own = body_in(values[:195].reshape(39, 5), values[196:].reshape(39, 3), region)
            bodies.append((person, float(values[195]), own))
        for values, region in zip(hand_rows, (region for some in hand_regions for region in some), strict=True):
            hand = hand_in(values[:63].reshape(21, 3), values[63:126].reshape(21, 3), float(values[127]), region)
            hands.append(hand if values[126] > self._least else None)
        return bodies, hands

    def _body_rows(self, pictures: Sequence[Picture], regions: Sequence[Sequence[Region]]) -> Tensor | None:
        if not any(regions):
            return None
        rows, presence, heat, metres = self._body(cut(pictures, regions, self._body.side) / 255.0)
        rows = rows.reshape(len(rows), -1, 5)
        rows[..., :2] = _refined(rows[..., :2] / self._body.side, heat) * self._body.side
        return torch.cat([rows.flatten(1), presence, metres], 1)

    def _hand_rows(self, pictures: Sequence[Picture], regions: Sequence[Sequence[Region]]) -> Tensor | None:
        if not any(regions):
            return None
        landmarks, presence, right, metres = self._hand(cut(pictures, regions, self._hand.side) / 255.0)
        return torch.cat([landmarks, metres, presence, right], 1)

    def _found(
        self, for_bodies: Sequence[Picture], for_palms: Sequence[Picture]
    ) -> tuple[list[list[Region]], list[list[Region]]]:
        """The regions of all bodies in some pictures, and those of all hands in others."""
        detectors = (self._body_detector, self._palm_detector)
        raw = [self._raw(one, some) for one, some in zip(detectors, (for_bodies, for_palms), strict=True)]
        body_rows, palm_rows = _fetched(raw)
        bodies = [
            [body_around(*(box.points[:2] * picture.side - picture.offset)) for box in boxes]
            for picture, boxes in zip(for_bodies, self._boxes(body_rows, self._body_detector, self._body_anchors), strict=True)
        ]
        palms = [
            [_palm_region(box, picture) for box in boxes]
            for picture, boxes in zip(for_palms, self._boxes(palm_rows, self._palm_detector, self._palm_anchors), strict=True)
        ]
        return bodies, palms

    def _raw(self, network: TorchNetwork, pictures: Sequence[Picture]) -> Tensor | None:
        if not pictures:
            return None
        inputs = cut(pictures, [[picture.square()] for picture in pictures], network.side)
        # the body's detector wants -1..1, the palm's 0..1
        return torch.cat(network(inputs / 127.5 - 1.0 if network is self._body_detector else inputs / 255.0), 2)

    def _boxes(self, rows: ndarray, network: TorchNetwork, places: ndarray) -> list[list[Box]]:
        return [found_boxes(one[:, :-1], one[:, -1], places, network.side, self._least) for one in rows]


def cut(pictures: Sequence[Picture], regions: Sequence[Sequence[Region]], size: int) -> Float[Tensor, "N 3 size size"]:
    """Regions of each picture as a network's inputs, whole levels in 0..255: bilinear, black around the picture.

    Outside of the square its outermost pixels go on, as in MediaPipe; `Region.extended` does so above the picture.
    All is as OpenCV does it, to the bit: the next picture's region depends on this one's landmarks, and a hundredth
    of a level grows to pixels within ten pictures.
    """
    used = [(picture, some) for picture, some in zip(pictures, regions, strict=True) if some]
    pixels = used[0][0].pixels if len(used) == 1 else torch.cat([picture.pixels for picture, _ in used])
    maps, limits, first = [], [], 0
    for picture, some in used:
        left, top = picture.offset
        low, high = (-_STEPS * left, -_STEPS * top), (_STEPS * (picture.side - 1 - left), _STEPS * (picture.side - 1 - top))
        last = first + picture.width * picture.height
        for region in some:
            maps.append(region.from_crop(size))
            upper = 0 if region.extended else low[1]
            limits.append([low[0], high[0], upper, high[1], picture.width, picture.height, first, last])
        first = last + 1
    n, A, steps = len(maps), np.array(maps), np.arange(size)
    across = _STEPS * (A[:, :, :1] * steps)  # (N, 2, size): what a column adds to x and y
    down = _STEPS * (A[:, :, 1:2] * steps + A[:, :, 2:])
    told = _sent(np.concatenate([across.reshape(n, -1), down.reshape(n, -1), limits], axis=1), pixels.device)
    lines = told[:, : 4 * size].reshape(n, 4, size)
    left_most, right_most, top_most, bottom_most, width, height, base, black = told[:, 4 * size :].long().T[..., None, None]
    x, y = ((lines[:, k, None, :] + lines[:, 2 + k, :, None]).round().long() for k in (0, 1))
    x, y = x.clamp(left_most, right_most), y.clamp(top_most, bottom_most)
    u, v = x // _STEPS, y // _STEPS
    right, below = (x - _STEPS * u).int(), (y - _STEPS * v).int()
    columns, rows = torch.stack([u, u + 1]), torch.stack([v, v + 1])[:, None]  # of the four pixels around a place
    inside = ((columns >= 0) & (columns < width)) & ((rows >= 0) & (rows < height))
    levels = pixels[torch.where(inside, base + rows * width + columns, black)].int()
    weights = torch.stack([_STEPS - below, below])[:, None] * torch.stack([_STEPS - right, right])
    mixed = (levels * weights[..., None]).sum((0, 1), dtype=torch.int32)
    return ((mixed + _STEPS**2 // 2) // _STEPS**2).permute(0, 3, 1, 2).float()


def _sent(values: ndarray, device: torch.device) -> Tensor:
    """An array on the device; nobody waits for a GPU that fetches it."""
    staged = torch.from_numpy(values)
    return staged.pin_memory().to(device, non_blocking=True) if device.type != "cpu" else staged


def _fetched(values: Sequence[Tensor | None]) -> list[ndarray]:
    """Results as arrays of 64-bit floats, fetched as one, for a GPU is waited for each time; no rows where there are none."""
    known = [value.flatten() for value in values if value is not None]
    flat = torch.cat(known).cpu().numpy().astype(float) if known else np.zeros(0)
    out, first = [], 0
    for value in values:
        last = first + (0 if value is None else value.numel())
        out.append(flat[first:last].reshape((0, 0) if value is None else value.shape))
        first = last
    return out


def _palm_region(box: Box, picture: Picture) -> Region:
    corner, points = box.box * picture.side, box.points * picture.side - picture.offset
    corner[:2] -= picture.offset
    return hand_of_palm(corner, points[0], points[2])


def _hands_of(stream: Followed, seen: Sequence[HandDetection | None]) -> list[HandDetection]:
    """The hands among what was seen, each once; the stream follows them from here on."""
    found = [hand for hand in seen if hand is not None]
    kept = [hand for i, hand in enumerate(found) if not any(_same_hand(hand, other) for other in found[:i])]
    stream.hands = [hand_around(hand.uv) for hand in kept]
    return kept


def _nearest(bodies: Sequence[Region], near: Region | None) -> Region | None:
    """The body nearest to the middle of a square, if that lies in it; the first one of all without a square."""
    if near is None:
        return bodies[0] if bodies else None
    off = [max(abs(body.x - near.x), abs(body.y - near.y)) for body in bodies]
    return bodies[int(np.argmin(off))] if bodies and min(off) <= 0.5 * near.side else None


def _refined(points: Float[Tensor, "N K 2"], heat: Float[Tensor, "N H W K"]) -> Float[Tensor, "N K 2"]:
    """Landmarks, in shares of the input, moved to the middle of their heat map near them, where that is clear."""
    n, height, width, k = heat.shape
    cell = torch.stack([points[..., 0] * width, points[..., 1] * height], -1).trunc().long()
    reach = torch.arange(-_HEAT_REACH, _HEAT_REACH + 1, device=points.device)
    columns, rows = cell[..., 0, None] + reach, cell[..., 1, None] + reach
    inside = ((columns >= 0) & (columns < width))[:, :, None, :] & ((rows >= 0) & (rows < height))[:, :, :, None]
    flat = rows.clamp(0, height - 1)[:, :, :, None] * width + columns.clamp(0, width - 1)[:, :, None, :]
    near = torch.gather(heat.permute(0, 3, 1, 2).reshape(n, k, -1), 2, flat.reshape(n, k, -1)).reshape(flat.shape)
    weight = torch.sigmoid(near) * inside
    total = weight.sum((2, 3)).clamp(min=1e-9)
    x = (weight * columns[:, :, None, :]).sum((2, 3)) / total / width
    y = (weight * rows[:, :, :, None]).sum((2, 3)) / total / height
    home = (cell >= 0).all(2) & (cell[..., 0] < width) & (cell[..., 1] < height)
    clear = home & (weight.amax((2, 3)) >= _REFINE_ABOVE)
    return torch.where(clear[..., None], torch.stack([x, y], -1), points)


def _same_hand(hand: HandDetection, other: HandDetection) -> bool:
    """Whether two hands are one that was found twice: half of their landmarks coincide, and their boxes overlap."""

    def breadth(uv: ndarray) -> float:
        return max(float(np.linalg.norm(uv[a] - uv[b])) for a, b in ((0, 5), (5, 17), (17, 0)))

    box, other_box = (hand.uv.min(0), hand.uv.max(0)), (other.uv.min(0), other.uv.max(0))
    both = float(np.maximum(np.minimum(box[1], other_box[1]) - np.maximum(box[0], other_box[0]), 0.0).prod())
    if both <= 0.2 * (float((box[1] - box[0]).prod() + (other_box[1] - other_box[0]).prod()) - both):
        return False
    near = np.linalg.norm(hand.uv - other.uv, axis=1) < 0.2 * max(breadth(hand.uv), breadth(other.uv))
    return bool(near.sum() >= 10)
