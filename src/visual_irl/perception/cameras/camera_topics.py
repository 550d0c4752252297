"""A RealSense driver's serialised messages, as they come, paired into frames. A broken one is refused and counted."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from numpy import ndarray

from visual_irl.errors import VisualIrlError
from visual_irl.io import messages
from visual_irl.io.lens import Straightener
from visual_irl.io.recording_writer import WORLD_FRAME
from visual_irl.types import Intrinsics, RgbdFrame

WAITING = 8
"""Depth pictures that wait for their colour picture."""
APART_NS = 8_000_000
"""Colour and depth further apart than this do not belong together: half a frame at 60 Hz [ns]."""


class CameraTopics:
    """Feed it the bytes (CDR) of each topic; a colour picture gives a frame when camera info and its depth are there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._camera: Intrinsics | None = None
        self._distortion: tuple[float, ...] = ()
        self._straighten: Straightener | None = None
        self._tree: dict[str, tuple[str, ndarray]] = {}
        self._depths: OrderedDict[int, ndarray] = OrderedDict()
        self._colours: OrderedDict[int, tuple[str, ndarray]] = OrderedDict()
        self.refused: Counter[str] = Counter()
        """Messages by what was wrong with them."""

    def info(self, data: bytes) -> None:
        """A CameraInfo."""
        try:
            camera, distortion = messages.decode_camera_info(data)
        except (VisualIrlError, ValueError) as error:
            self.refused[f"camera info: {error}"[:120]] += 1
            return
        with self._lock:
            coefficients = () if distortion is None else tuple(distortion.tolist())
            if (camera, coefficients) != (self._camera, self._distortion):  # it comes with every picture
                self._straighten = None if distortion is None else Straightener(camera, distortion)
            self._camera, self._distortion = camera, coefficients

    def transforms(self, data: bytes) -> None:
        """A TFMessage of static transforms."""
        try:
            found = messages.decode_transforms(data)
        except (VisualIrlError, ValueError) as error:
            self.refused[f"transforms: {error}"[:120]] += 1
            return
        with self._lock:
            self._tree.update({child: item for child, item in found.items() if np.isfinite(item[1]).all()})

    def depth(self, data: bytes) -> RgbdFrame | None:
        """An aligned depth Image; gives the frame if its colour picture came before it."""
        try:
            stamp, depth = messages.decode_depth(messages.IMAGE, data)
        except (VisualIrlError, ValueError) as error:
            self.refused[f"depth: {error}"[:120]] += 1
            return None
        with self._lock:
            near = min(self._colours, key=lambda s: abs(s - stamp), default=None)
            if near is not None and abs(near - stamp) <= APART_NS:
                return self._frame(near, *self._colours.pop(near), depth)
            _keep(self._depths, stamp, depth)
        return None

    def colour(self, data: bytes) -> RgbdFrame | None:
        """A colour Image; gives the frame if its depth came before it."""
        try:
            stamp, name, rgb = messages.decode_colour(messages.IMAGE, data)
        except (VisualIrlError, ValueError) as error:
            self.refused[f"colour: {error}"[:120]] += 1
            return None
        with self._lock:
            near = min(self._depths, key=lambda s: abs(s - stamp), default=None)
            if near is not None and abs(near - stamp) <= APART_NS:
                return self._frame(stamp, name, rgb, self._depths.pop(near))
            _keep(self._colours, stamp, (name, rgb))
        return None

    def _frame(self, stamp: int, name: str, rgb: ndarray, depth: Float32[ndarray, "H W"] | None) -> RgbdFrame | None:
        if self._camera is None:
            self.refused["no camera info yet"] += 1
            return None
        try:
            if self._straighten is not None:
                rgb, depth = self._straighten.pair(rgb, depth)
            return RgbdFrame(stamp, rgb, depth, self._camera, self._pose(name))
        except VisualIrlError as error:
            self.refused[str(error)[:120]] += 1
            return None

    def _pose(self, frame: str) -> Float[ndarray, "4 4"] | None:
        """`T_world_camera` along the static tree; None when it does not reach the world."""
        T, here, seen = np.eye(4), frame, set()
        while here in self._tree and here not in seen:
            seen.add(here)
            here, T_parent = self._tree[here]
            T = T_parent @ T
            if here == WORLD_FRAME:
                return T
        return None


def _keep(waiting: OrderedDict[int, Any], stamp: int, item: Any) -> None:
    waiting[stamp] = item
    while len(waiting) > WAITING:
        waiting.popitem(last=False)
