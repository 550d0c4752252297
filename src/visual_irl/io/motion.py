"""Arm motion files (`.npz`): the paths of one human arm's joint centres and hand, as motion capture gives them.

Arrays over T frames: `shoulder`, `elbow`, `wrist`, `hand` (T, 3) [m] and `hand_R` (T, 3, 3) in a torso frame (x forward,
y left, z up); columns of `hand_R`: palm normal, thumb side, along the fingers. `fps`; optional `segment` (T,) names the
recording each frame belongs to, `side` ("right" or "left"), `note`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile
from visual_irl.io.archive import arrays_of

SHAPES = {"shoulder": (3,), "elbow": (3,), "wrist": (3,), "hand_R": (3, 3)}
ORTHONORMAL = 1e-3
"""Largest deviation of `hand_R` from a rotation matrix that is rounding and not an error."""
FEWEST = 4
"""Frames that a motion has at least: its jerk takes as many."""
SLOWEST, FASTEST = 1.0, 1000.0
"""Rates of frames that a recorded motion has [1/s]."""
SHORTEST_LIMB, LONGEST_LIMB = 1e-3, 1.0
"""An upper arm or forearm that is shorter has no direction, one that is longer is not in metres [m]."""


@dataclass(frozen=True)
class ArmMotion:
    """One arm over T frames in its torso frame; see the module."""

    name: str
    t: Float[ndarray, "T"]
    """Times [s]; they run on through the segments."""
    side: str
    shoulder: Float[ndarray, "T 3"]
    elbow: Float[ndarray, "T 3"]
    wrist: Float[ndarray, "T 3"]
    R_hand: Float[ndarray, "T 3 3"]
    start: Bool[ndarray, "T"]
    """True where a segment begins."""


def motion_files(path: Path) -> list[Path]:
    """The file itself, or every `.npz` of a folder, sorted.

    Raises:
        MissingFile: there is none.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(path.glob("*.npz"))
        if not files:
            raise MissingFile(f"the folder '{path}' holds no .npz motion file: name another folder, or a file")
        return files
    if not path.is_file():
        raise MissingFile(f"no motion file at '{path}'; it is an .npz with {', '.join(SHAPES)} and fps")
    return [path]


def load_motion(path: Path, side: str | None = None) -> ArmMotion:
    """Read a motion file; `side` overrides what the file says. A file that says nothing is a right arm.

    Raises:
        MissingFile, UnreadableFile: the file is not there, or not an .npz.
        InvalidInput: an array is missing, has the wrong shape or type or is not finite, a limb is no arm's, or the rate no
            recording's; with the first bad frame.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no motion file at '{path}'; it is an .npz with {', '.join(SHAPES)} and fps")
    try:
        arrays = arrays_of(path)
    except UnreadableFile as error:
        raise UnreadableFile(f"'{path}' is not a motion file (.npz): {error}") from error
    missing = [name for name in (*SHAPES, "fps") if name not in arrays]
    if missing:
        raise InvalidInput(f"'{path}' lacks {', '.join(missing)}; a motion file holds {', '.join(SHAPES)} and fps")
    frames = arrays["wrist"].shape[0] if arrays["wrist"].ndim else 0
    for name, shape in SHAPES.items():
        arrays[name] = value = _numbers(path, name, arrays[name], (frames, *shape))
        bad = ~np.isfinite(value).all(axis=tuple(range(1, value.ndim)))
        if bad.any():
            raise InvalidInput(
                f"'{path}': {name} is not finite in {int(bad.sum())} of {frames} frames, first in frame "
                f"{int(np.argmax(bad))}; bridge the gaps or cut them out"
            )
    fps = float(_numbers(path, "fps", arrays["fps"], ()))
    if frames < FEWEST or not SLOWEST <= fps <= FASTEST:
        raise InvalidInput(
            f"'{path}': {frames} frames at {fps:g} a second; at least {FEWEST} frames, {SLOWEST:g} to {FASTEST:g} a second, "
            "are needed"
        )
    for limb, ends in (("upper arm", ("shoulder", "elbow")), ("forearm", ("elbow", "wrist"))):
        length = np.linalg.norm(arrays[ends[1]] - arrays[ends[0]], axis=1)
        bad = ~((length >= SHORTEST_LIMB) & (length <= LONGEST_LIMB))
        if bad.any():
            k = int(np.argmax(bad))
            raise InvalidInput(
                f"'{path}': the {limb} of frame {k} is {length[k]:.3g} m long, {int(bad.sum())} of {frames} frames are not "
                f"between {SHORTEST_LIMB:g} and {LONGEST_LIMB:g} m; {ends[0]} and {ends[1]} are joint centres in metres"
            )
    R = arrays["hand_R"]
    off = np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max(axis=(1, 2)) + (np.linalg.det(R) < 0.0)
    if (off > ORTHONORMAL).any():
        k = int(np.argmax(off > ORTHONORMAL))
        raise InvalidInput(f"'{path}': hand_R of frame {k} is not a rotation (off by {off[k]:.3f}, bound {ORTHONORMAL})")
    segment = arrays.get("segment", np.zeros(frames))
    if segment.shape != (frames,) or (segment != segment).any():
        raise InvalidInput(
            f"'{path}': segment, of shape {segment.shape}, does not name a recording for each of {frames} frames"
        )
    said = str(arrays["side"]) if "side" in arrays else _side_in(str(arrays.get("note", "")))
    return ArmMotion(
        path.stem, np.arange(frames) / fps, side or said, arrays["shoulder"], arrays["elbow"], arrays["wrist"], R,
        np.r_[True, segment[1:] != segment[:-1]],
    )  # fmt: skip


def _numbers(path: Path, name: str, value: ndarray, shape: tuple[int, ...]) -> ndarray:
    """The array as real numbers, of that shape."""
    if value.shape != shape or value.dtype.kind not in "fiu":
        raise InvalidInput(f"'{path}': {name} is an array of {value.dtype} of shape {value.shape}, expected numbers of {shape}")
    return value.astype(float)


def _side_in(note: str) -> str:
    """The side that a note speaks of: "left arm" or the right one."""
    return "left" if "left arm" in note.lower() else "right"
