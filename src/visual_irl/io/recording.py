"""Read RGB-D recordings: rosbag2 folders or single MCAP files, ours or made with `ros2 bag record` elsewhere.

Colour and aligned depth are paired by their stamps while streaming, so memory does not grow with the recording.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy import ndarray

from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile, VisualIrlError
from visual_irl.io import messages
from visual_irl.io.lens import Straightener
from visual_irl.io.mcap_stream import McapFile, Topic, survey
from visual_irl.io.recording_writer import WORLD_FRAME
from visual_irl.types import Intrinsics, RgbdFrame

ALIGN_HINT = (
    "start the RealSense driver with `align_depth.enable:=true` and record `/camera/camera/aligned_depth_to_color/image_raw`"
)

_PICTURES = (messages.IMAGE, messages.COMPRESSED_IMAGE)
_COLOUR_NAMES = ("image_raw", "image_rect", "image_rect_color", "image_color", "image")
_ALIGNED = ("aligned_depth_to_color", "depth_registered", "depth_to_rgb", "depth_to_color")
_NOT_COLOUR = re.compile(r"depth|infra|/ir/|mask|debug")
_WAITING = 60
"""Most pictures kept while their partner is outstanding: two seconds at 30 Hz."""
_HOPELESS = 30
"""A recording whose first so many frames cannot be used is refused: that is no accident."""


@dataclass(frozen=True)
class _Camera:
    """The topics of one camera; `depth` is None when no aligned depth was recorded."""

    name: str
    colour: str
    info: str
    depth: str | None


class Recording:
    """An RGB-D recording; iterate over it for its frames, as often as you like.

    What cannot be used is left out and counted in `refused`: 'unpaired' colour pictures without a depth picture within half
    a frame, 'corrupt' ones that cannot be decoded, and 'wrong_size' for another size than the camera info says. A recording
    without depth yields frames with `depth` None.
    """

    def __init__(self, path: Path, files: list[McapFile], camera: _Camera) -> None:
        self.path = path
        self.refused: Counter[str] = Counter()
        self._files, self._camera = files, camera
        self._kinds = {name: topic.kind for file in files for name, topic in file.topics.items()}
        self.has_depth = camera.depth is not None
        """Whether there is depth aligned to colour."""
        self.count = min(_count(files, topic) for topic in (camera.colour, camera.depth) if topic is not None)
        """The most frames that an iteration yields."""
        damages = [file.damage for file in files if file.damage]
        self.recovered = "; ".join(damages) or None
        """What was lost of a recording that was cut off, or None."""
        self.intrinsics, self._straighten = self._read_intrinsics()
        """Pinhole model of the frames' colour and depth [px]."""
        stamps, frame = self._first_stamps()
        self.period_ns = int(np.median(np.diff(stamps))) if len(stamps) > 1 else 33_000_000
        """Time between colour pictures [ns]."""
        self.T_world_camera, self.fixtures = self._read_poses(frame)
        """Pose of the camera in the world (None: not calibrated), and of every other static child of 'world'."""

    def _messages(self, *topics: str) -> Iterator[tuple[str, bytes]]:
        for file in self._files:
            yield from file.messages(topics)

    def _read_intrinsics(self) -> tuple[Intrinsics, Straightener | None]:
        for _, data in self._messages(self._camera.info):
            camera, distortion = messages.decode_camera_info(data)
            return camera, None if distortion is None else Straightener(camera, distortion)
        raise InvalidInput(f"'{self.path}' has no '{self._camera.info}' message; record the camera info beside the pictures")

    def _first_stamps(self) -> tuple[list[int], str]:
        stamps, frame = [], ""
        for topic, data in islice(self._messages(self._camera.colour), 12):
            try:
                header = messages.decode(self._kinds[topic], data).header
            except UnreadableFile:
                continue  # counted when frames are read
            stamps.append(messages.stamp_ns(header))
            frame = str(header.frame_id).lstrip("/")
        return stamps, frame

    def _read_poses(self, camera_frame: str) -> tuple[ndarray | None, dict[str, ndarray]]:
        """Compose the static tree from the camera up to the world; what else hangs on the world is a fixture."""
        tree: dict[str, tuple[str, ndarray]] = {}
        static = [n for n, kind in self._kinds.items() if kind == messages.TRANSFORMS and n.endswith("/tf_static")]
        for _, data in self._messages(*static):
            tree.update(messages.decode_transforms(data))
        chain: list[str] = []
        T_here_camera = np.eye(4)
        here = camera_frame
        while here in tree and here not in chain:
            chain.append(here)
            here, T_parent_here = tree[here]
            T_here_camera = T_parent_here @ T_here_camera
            if here == WORLD_FRAME:
                break
        fixtures = {name: T for name, (parent, T) in tree.items() if parent == WORLD_FRAME and name not in chain}
        return (T_here_camera if here == WORLD_FRAME else None), fixtures

    @property
    def unpaired(self) -> int:
        """Colour pictures without a depth picture, in the last iteration."""
        return self.refused["unpaired"]

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[RgbdFrame]:
        colour, depth = self._camera.colour, self._camera.depth
        yielded = met = 0
        self.refused.clear()
        failure: VisualIrlError | None = None
        singles = ((data, None) for _, data in self._messages(colour)) if depth is None else None
        for pair in singles or self._pairs(colour, str(depth)):
            met += 1
            try:
                frame = self._frame(*pair)
            except (InvalidInput, UnreadableFile) as error:
                self.refused["wrong_size" if isinstance(error, _WrongSize) else "corrupt"] += 1
                failure = error
                if not yielded and met >= _HOPELESS:
                    raise
                continue
            yielded += 1
            yield frame
        if yielded:
            return
        if failure is not None:
            raise failure
        if depth is not None:
            raise InvalidInput(
                f"'{self.path}': none of {self.unpaired} colour pictures has a depth picture within "
                f"{0.5e-6 * self.period_ns:.0f} ms; record both with one driver and one clock"
            )

    def _pairs(self, colour: str, depth: str) -> Iterator[tuple[bytes, bytes]]:
        """Encoded (colour, depth) whose stamps differ by less than half a frame, in the order of colour."""
        waiting: dict[str, deque[tuple[int, bytes]]] = {colour: deque(), depth: deque()}
        for topic, data in self._messages(colour, depth):
            try:
                stamp = messages.stamp_ns(messages.decode(self._kinds[topic], data).header)
            except UnreadableFile:
                self.refused["corrupt"] += 1
                continue
            waiting[topic].append((stamp, data))
            yield from self._match(waiting[colour], waiting[depth])
        self.refused.update({"unpaired": len(waiting[colour])} if waiting[colour] else {})

    def _match(self, colours: deque[tuple[int, bytes]], depths: deque[tuple[int, bytes]]) -> Iterator[tuple[bytes, bytes]]:
        while colours and depths:
            lag = depths[0][0] - colours[0][0]
            if abs(lag) < 0.5 * self.period_ns:
                yield colours.popleft()[1], depths.popleft()[1]
            elif lag > 0:
                colours.popleft()
                self.refused["unpaired"] += 1
            else:
                depths.popleft()
        while len(colours) > _WAITING:
            colours.popleft()
            self.refused["unpaired"] += 1
        while len(depths) > _WAITING:
            depths.popleft()

    def _frame(self, colour: bytes, depth: bytes | None) -> RgbdFrame:
        stamp, _, rgb = messages.decode_colour(self._kinds[self._camera.colour], colour)
        metres = None
        if depth is not None and self._camera.depth is not None:
            _, metres = messages.decode_depth(self._kinds[self._camera.depth], depth)
        try:
            if self._straighten is not None:
                rgb, metres = self._straighten.pair(rgb, metres)
            return RgbdFrame(stamp, rgb, metres, self.intrinsics, self.T_world_camera)
        except InvalidInput as error:
            raise _WrongSize(str(error)) from error


class _WrongSize(InvalidInput):
    """A picture's size is not the camera's."""


def open_recording(path: Path, camera: str | None = None, require_depth: bool = False) -> Recording:
    """The recording at `path`, a rosbag2 folder or an `.mcap` file.

    Args:
        path: folder or file.
        camera: topic prefix, such as '/cam1/camera'; needed only when there are several cameras.
        require_depth: refuse a recording without aligned depth.

    Raises:
        MissingFile: nothing is there.
        UnreadableFile: not a recording, or nothing of it can be read.
        InvalidInput: no colour pictures, several cameras, or no aligned depth although it is required.
    """
    path = Path(path)
    files = [survey(file) for file in _mcap_files(path)]
    topics = {name: topic for file in reversed(files) for name, topic in file.topics.items()}
    chosen = _choose_camera(path, topics, files, camera)
    if require_depth and chosen.depth is None:
        raise InvalidInput(
            f"'{path}' has no depth aligned to '{chosen.colour}'; it has: {', '.join(sorted(topics))}; {ALIGN_HINT}"
        )
    return Recording(path, files, chosen)


def _mcap_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingFile(f"no recording at '{path}'; `visual-irl record` makes one")

    def part(file: Path) -> tuple[int, str]:
        number = re.search(r"_(\d+)$", file.stem)
        return (int(number[1]) if number else 0, file.name)

    files = sorted(path.glob("*.mcap"), key=part)
    if not files:
        others = ", ".join(sorted(p.name for p in path.iterdir())) or "nothing"
        raise UnreadableFile(
            f"'{path}' holds no .mcap file (it holds: {others}); record with `ros2 bag record -s mcap`, or turn an "
            "older bag into one with `ros2 bag convert`"
        )
    return files


def _count(files: list[McapFile], topic: str) -> int:
    return sum(file.topics[topic].count for file in files if topic in file.topics)


def _base(topic: str) -> str:
    """The topic without the suffix of its image transport."""
    return re.sub(r"/(compressed|compressedDepth)$", "", topic)


def _prefix(topic: str) -> str:
    """The namespace of the camera: '/cam1/camera' of '/cam1/camera/color/image_raw'."""
    return _base(topic).rsplit("/", 2)[0]


def _choose_camera(path: Path, topics: dict[str, Topic], files: list[McapFile], camera: str | None) -> _Camera:
    """The topics of the one camera (or of the one asked for); raw pictures are preferred to compressed ones."""
    pictures = sorted(n for n, t in topics.items() if t.kind in _PICTURES and _count(files, n) > 0)
    pictures.sort(key=lambda n: topics[n].kind != messages.IMAGE)
    colours: dict[str, str] = {}
    for name in pictures:
        base = _base(name)
        if base.rsplit("/", 1)[-1] in _COLOUR_NAMES and not _NOT_COLOUR.search(base):
            colours.setdefault(_prefix(name), name)
    if not colours:
        raise InvalidInput(f"'{path}' has no colour pictures; its topics: {', '.join(sorted(topics)) or 'none'}")
    if camera is None and len(colours) > 1:
        raise InvalidInput(f"'{path}' has several cameras; choose one with camera=: {', '.join(sorted(colours))}")
    name = next(iter(colours)) if camera is None else "/" + camera.strip("/") if camera.strip("/") else ""
    if name not in colours:
        raise InvalidInput(f"'{path}' has no camera '{camera}'; it has: {', '.join(sorted(colours))}")
    depth = (n for n in pictures if _prefix(n) == name and any(part in n.split("/") for part in _ALIGNED))
    info = _base(colours[name]).rsplit("/", 1)[0] + "/camera_info"
    return _Camera(name, colours[name], info, next(depth, None))
