"""Bodies and hands followed through one or more streams with the networks of `torch_network`, as MediaPipe follows them.

What is followed is looked at where its last landmarks were; only what is not yet followed, or was lost, is searched for by
a detector. All streams' pictures go through each network together, as one batch. Pictures are cut on the device.
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
        staged = torch.empty((height * width + 1, 3), dtype=torch.uint8, pin_memory=device.type == "cuda")
        staged[-1] = 0
        staged[:-1].numpy().reshape(rgb.shape)[...] = rgb
        return cls(staged.to(device, non_blocking=True), width, height)

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

    def cut(self, regions: Sequence[Region], size: int) -> Float[Tensor, "N 3 size size"]:
        """The regions as a network's inputs, whole levels in 0..255: bilinear, black around the picture.

        Outside of the square its outermost pixels go on, as in MediaPipe; `Region.extended` does so above the picture.
        All is as OpenCV does it, to the bit: the next picture's region depends on this one's landmarks, and a hundredth
        of a level grows to pixels within ten pictures.
        """
        device = self.pixels.device
        maps = np.array([region.from_crop(size) for region in regions])
        steps = np.arange(size)
        across = _STEPS * (maps[:, :, :1] * steps)  # (N, 2, size): what a column adds to x and y
        down = _STEPS * (maps[:, :, 1:2] * steps + maps[:, :, 2:])
        columns, rows = torch.from_numpy(across).to(device), torch.from_numpy(down).to(device)
        x, y = (columns[:, k, None, :] + rows[:, k, :, None] for k in (0, 1))
        left, top = self.offset
        x = x.round().long().clamp(-_STEPS * left, _STEPS * (self.side - 1 - left))
        y = y.round().long().clamp(max=_STEPS * (self.side - 1 - top))
        tops = torch.tensor([0 if region.extended else -_STEPS * top for region in regions], device=device)
        y = torch.maximum(y, tops[:, None, None])
        u, v = x // _STEPS, y // _STEPS
        right, below = (x - _STEPS * u)[..., None], (y - _STEPS * v)[..., None]
        upper = (_STEPS - right) * self._at(u, v) + right * self._at(u + 1, v)
        lower = (_STEPS - right) * self._at(u, v + 1) + right * self._at(u + 1, v + 1)
        mixed = (_STEPS - below) * upper + below * lower
        return ((mixed + _STEPS**2 // 2) // _STEPS**2).permute(0, 3, 1, 2).float()

    def _at(self, u: Tensor, v: Tensor) -> Tensor:
        inside = (u >= 0) & (v >= 0) & (u < self.width) & (v < self.height)
        index = torch.where(inside, v * self.width + u, self.width * self.height)
        return self.pixels[index].int()


@dataclass
class Followed:
    """What is followed in one stream."""

    body: Region | None = None
    filter: BodyFilter = field(default_factory=BodyFilter)
    hands: list[Region] = field(default_factory=list)


class TorchTracker:
    """The four networks, and one step of following for any number of streams."""

    def __init__(self, networks: dict[str, Path], device: torch.device, half: bool, least: float) -> None:
        """`networks`: files by the names pose_detection, pose_landmark, palm_detection, hand_landmark.

        `least`: a body or hand with a lower score in [0, 1] is not there.
        """
        self.device, self._least = device, least

        def load(name: str, outputs: Sequence[int]) -> TorchNetwork:
            return TorchNetwork(networks[name], outputs, device, half)

        self._body_detector, self._palm_detector = load("pose_detection", (0, 1)), load("palm_detection", (0, 1))
        self._body, self._hand = load("pose_landmark", (0, 1, 3, 4)), load("hand_landmark", (0, 1, 2, 3))
        self._body_anchors = anchors(self._body_detector.side, _BODY_STRIDES)
        self._palm_anchors = anchors(self._palm_detector.side, _PALM_STRIDES)

    def upload(self, rgb: UInt8[ndarray, "H W 3"]) -> Picture:
        """A picture for the other methods."""
        return Picture.upload(rgb, self.device)

    def bodies(
        self,
        pictures: Sequence[Picture],
        streams: Sequence[Followed],
        stamps_ms: Sequence[int],
        near: Sequence[Region | None],
    ) -> list[PersonDetection | None]:
        """The body of each stream's picture, smoothed, without hands; each stream follows it from here on.

        `near`: the body nearest to the middle of this square, within it, searched for anew.
        """
        lost = [i for i, stream in enumerate(streams) if stream.body is None or near[i] is not None]
        for i, boxes in zip(lost, self._bodies_found([pictures[i] for i in lost]), strict=True):
            streams[i].body, streams[i].filter = _nearest(boxes, near[i]), BodyFilter()
        looked = [i for i, stream in enumerate(streams) if stream.body is not None]
        regions = [[streams[i].body] for i in looked]
        out: list[PersonDetection | None] = [None] * len(pictures)
        seen = self.bodies_in([pictures[i] for i in looked], regions)  # type: ignore[arg-type]
        for i, (person, presence, own) in zip(looked, seen, strict=True):
            streams[i].body = own if presence > self._least else None
            if presence > self._least:
                out[i] = streams[i].filter.step(person, stamps_ms[i], own.side)
        return out

    def all_bodies(self, picture: Picture, most: int) -> list[PersonDetection]:
        """Up to so many bodies of one picture; nothing is followed."""
        (boxes,) = self._bodies_found([picture])
        return [person for person, presence, _ in self.bodies_in([picture], [boxes[:most]]) if presence > self._least]

    def bodies_in(
        self, pictures: Sequence[Picture], regions: Sequence[Sequence[Region]]
    ) -> list[tuple[PersonDetection, float, Region]]:
        """What the body network sees in regions of each picture: body, probability that it is there, its own region."""
        flat = [region for some in regions for region in some]
        if not flat:
            return []
        rows, presence, heat, metres = self._body(self._cut(pictures, regions, self._body.side) / 255.0)
        rows = rows.reshape(len(flat), -1, 5)
        rows[..., :2] = _refined(rows[..., :2] / self._body.side, heat) * self._body.side
        packed = torch.cat([rows.flatten(1), presence, metres], 1).cpu().numpy().astype(float)
        out = []
        for values, region in zip(packed, flat, strict=True):
            count = rows.shape[1]
            person, own = body_in(values[: 5 * count].reshape(-1, 5), values[5 * count + 1 :].reshape(-1, 3), region)
            out.append((person, float(values[5 * count]), own))
        return out

    def hands(
        self, pictures: Sequence[Picture], streams: Sequence[Followed], most: int = MAX_HANDS
    ) -> list[list[HandDetection]]:
        """The hands of each stream's picture; each stream follows them from here on."""
        lacking = [i for i, stream in enumerate(streams) if len(stream.hands) < most]
        regions = [list(stream.hands) for stream in streams]
        for i, palms in zip(lacking, self._palms_found([pictures[i] for i in lacking]), strict=True):
            for palm in palms[:most]:
                if all(overlap(palm, other) <= _SAME_HAND for other in regions[i]):
                    regions[i].append(palm)
        regions = [some[:most] for some in regions]
        seen = iter(self.hands_in(pictures, regions))
        out = []
        for stream, some in zip(streams, regions, strict=True):
            found = [hand for hand in (next(seen) for _ in some) if hand is not None]
            kept = [hand for i, hand in enumerate(found) if not any(_same_hand(hand, other) for other in found[:i])]
            stream.hands = [hand_around(hand.uv) for hand in kept]
            out.append(kept)
        return out

    def hands_in(self, pictures: Sequence[Picture], regions: Sequence[Sequence[Region]]) -> list[HandDetection | None]:
        """What the hand network sees in regions of each picture; None where there is no hand."""
        flat = [region for some in regions for region in some]
        if not flat:
            return []
        landmarks, presence, right, metres = self._hand(self._cut(pictures, regions, self._hand.side) / 255.0)
        packed = torch.cat([landmarks, metres, presence, right], 1).cpu().numpy().astype(float)
        out: list[HandDetection | None] = []
        for values, region in zip(packed, flat, strict=True):
            hand = hand_in(values[:63].reshape(21, 3), values[63:126].reshape(21, 3), float(values[127]), region)
            out.append(hand if values[126] > self._least else None)
        return out

    def _bodies_found(self, pictures: Sequence[Picture]) -> list[list[Region]]:
        found = self._detect(pictures, self._body_detector, self._body_anchors)
        return [
            [body_around(*(box.points[:2] * picture.side - picture.offset)) for box in boxes]
            for picture, boxes in zip(pictures, found, strict=True)
        ]

    def _palms_found(self, pictures: Sequence[Picture]) -> list[list[Region]]:
        found = self._detect(pictures, self._palm_detector, self._palm_anchors)
        out = []
        for picture, boxes in zip(pictures, found, strict=True):
            regions = []
            for box in boxes:
                corner, points = box.box * picture.side, box.points * picture.side - picture.offset
                corner[:2] -= picture.offset
                regions.append(hand_of_palm(corner, points[0], points[2]))
            out.append(regions)
        return out

    def _detect(self, pictures: Sequence[Picture], network: TorchNetwork, places: ndarray) -> list[list[Box]]:
        if not pictures:
            return []
        inputs = self._cut(pictures, [[picture.square()] for picture in pictures], network.side)
        # the body's detector wants -1..1, the palm's 0..1
        raw, odds = network(inputs / 127.5 - 1.0 if network is self._body_detector else inputs / 255.0)
        packed = torch.cat([raw, odds], 2).cpu().numpy().astype(float)
        return [found_boxes(one[:, :-1], one[:, -1], places, network.side, self._least) for one in packed]

    def _cut(self, pictures: Sequence[Picture], regions: Sequence[Sequence[Region]], size: int) -> Tensor:
        cut = [picture.cut(some, size) for picture, some in zip(pictures, regions, strict=True) if some]
        return torch.cat(cut)


def _nearest(bodies: Sequence[Region], near: Region | None) -> Region | None:
    """The body nearest to the middle of a square, if that lies in it; the first one of all without a square."""
    if near is None:
        return bodies[0] if bodies else None
    off = [max(abs(body.x - near.x), abs(body.y - near.y)) for body in bodies]
    return bodies[int(np.argmin(off))] if bodies and min(off) <= 0.5 * near.side else None


def _refined(points: Float[Tensor, "N K 2"], heat: Float[Tensor, "N H W K"]) -> Float[Tensor, "N K 2"]:
    """Landmarks, in shares of the input, moved to the middle of their heat map near them, where that is clear."""
    n, height, width, k = heat.shape
    cell = (points * torch.tensor([width, height], device=points.device)).trunc().long()
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

    near = np.linalg.norm(hand.uv - other.uv, axis=1) < 0.2 * max(breadth(hand.uv), breadth(other.uv))
    low, high = np.maximum(hand.uv.min(0), other.uv.min(0)), np.minimum(hand.uv.max(0), other.uv.max(0))
    both = float(np.maximum(high - low, 0.0).prod())
    union = float(np.ptp(hand.uv, 0).prod() + np.ptp(other.uv, 0).prod()) - both
    return bool(near.sum() >= 10 and both > 0.2 * union)
