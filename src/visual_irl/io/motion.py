"""Arm motion files (`.npz`): the paths of one human arm's joint centres and hand, as motion capture gives them.

Arrays over T frames: `shoulder`, `elbow`, `wrist`, `hand` (T, 3) [m] and `hand_R` (T, 3, 3) in a torso frame (x forward,
y left, z up); columns of `hand_R`: palm normal, thumb side, along the fingers. `fps`; optional `segment` (T,) names the
recording each frame belongs to, `side` ("right" or "left"), `note`.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile

SHAPES = {"shoulder": (3,), "elbow": (3,), "wrist": (3,), "hand_R": (3, 3)}
ORTHONORMAL = 1e-3
"""Largest deviation of `hand_R` from a rotation matrix that is rounding and not an error."""


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
            raise MissingFile(f"the folder '{path}' holds no .npz motion file")
        return files
    if not path.is_file():
        raise MissingFile(f"motion file '{path}' does not exist")
    return [path]


def load_motion(path: Path, side: str | None = None) -> ArmMotion:
    """Read a motion file; `side` overrides what the file says. A file that says nothing is a right arm.

    Raises:
        MissingFile, UnreadableFile: the file is not there, or not an .npz.
        InvalidInput: an array is missing, has the wrong shape or is not finite, with the first bad frame.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"motion file '{path}' does not exist")
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile, EOFError) as error:
        raise UnreadableFile(f"'{path}' is not a motion file (.npz): {error}") from error
    missing = [name for name in (*SHAPES, "fps") if name not in arrays]
    if missing:
        raise InvalidInput(f"'{path}' lacks {', '.join(missing)}; a motion file holds {', '.join(SHAPES)} and fps")
    frames = len(arrays["wrist"])
    for name, shape in SHAPES.items():
        value = np.asarray(arrays[name], dtype=float)
        if value.shape != (frames, *shape):
            raise InvalidInput(f"'{path}': {name} has shape {value.shape}, expected {(frames, *shape)}")
        bad = ~np.isfinite(value.reshape(frames, -1)).all(axis=1)
        if bad.any():
            raise InvalidInput(
                f"'{path}': {name} is not finite in {int(bad.sum())} of {frames} frames, first in frame "
                f"{int(np.argmax(bad))}; bridge the gaps or cut them out"
            )
        arrays[name] = value
    fps = float(arrays["fps"])
    if frames < 4 or not (np.isfinite(fps) and fps > 0.0):
        raise InvalidInput(f"'{path}': {frames} frames at {fps} a second; at least 4 frames and a positive rate are needed")
    R = arrays["hand_R"]
    off = np.abs(np.swapaxes(R, 1, 2) @ R - np.eye(3)).max(axis=(1, 2)) + (np.linalg.det(R) < 0.0)
    if (off > ORTHONORMAL).any():
        k = int(np.argmax(off > ORTHONORMAL))
        raise InvalidInput(f"'{path}': hand_R of frame {k} is not a rotation (off by {off[k]:.3f}, bound {ORTHONORMAL})")
    segment = arrays.get("segment", np.zeros(frames))
    if len(segment) != frames:
        raise InvalidInput(f"'{path}': segment has {len(segment)} entries for {frames} frames")
    said = str(arrays["side"]) if "side" in arrays else _side_in(str(arrays.get("note", "")))
    return ArmMotion(
        path.stem, np.arange(frames) / fps, side or said, arrays["shoulder"], arrays["elbow"], arrays["wrist"], R,
        np.r_[True, segment[1:] != segment[:-1]],
    )  # fmt: skip


def _side_in(note: str) -> str:
    """The side that a note speaks of: "left arm" or the right one."""
    return "left" if "left arm" in note.lower() else "right"
