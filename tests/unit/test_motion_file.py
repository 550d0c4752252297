"""Motion files: what is written is read, and whatever is wrong with one is said with its name and the frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_irl.errors import InvalidInput, UnreadableFile
from visual_irl.io.motion import load_motion

FRAMES = 12


def arrays() -> dict[str, Any]:
    """A straight arm that hangs, in two recordings."""
    down = np.tile([0.0, 0.0, -0.25], (FRAMES, 1))
    segment = np.repeat(["a", "b"], FRAMES // 2)
    hand_R = np.tile(np.eye(3), (FRAMES, 1, 1))
    return dict(shoulder=0.0 * down, elbow=down, wrist=2.0 * down, hand_R=hand_R, fps=30.0, segment=segment)


def test_a_motion_file_is_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "made.npz", **arrays(), note="the left arm")
    motion = load_motion(tmp_path / "made.npz")
    assert motion.side == "left" and np.nonzero(motion.start)[0].tolist() == [0, FRAMES // 2]
    assert np.isclose(motion.t[-1], (FRAMES - 1) / 30.0)


def spoiled(name: str, frame: int, value: float) -> dict[str, Any]:
    content = arrays()
    content[name][frame] = value
    return content


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a frame that was not seen": (spoiled("elbow", 7, np.nan), r"elbow is not finite in 1 of 12 frames, first in frame 7"),
    "no hand": ({k: v for k, v in arrays().items() if k != "hand_R"}, "lacks hand_R"),
    "one frame": ({k: v if k == "fps" else v[:1] for k, v in arrays().items()}, "1 frames at 30 a second; at least 4"),
    "no frame": ({k: v if k == "fps" else v[:0] for k, v in arrays().items()}, "0 frames at 30 a second; at least 4"),
    "one number": (arrays() | {"wrist": np.array(3.0)}, "shoulder is an array of float64 of shape"),
    "two coordinates": (arrays() | {"elbow": np.zeros((FRAMES, 2))}, r"elbow is .* of shape \(12, 2\), expected .* \(12, 3\)"),
    "text": (arrays() | {"wrist": np.full((FRAMES, 3), "a")}, "wrist is an array of <U1"),
    "two rates": (arrays() | {"fps": np.array([30.0, 60.0])}, r"fps is an array of float64 of shape \(2,\)"),
    "no rate": (arrays() | {"fps": np.array(0.0)}, "at 0 a second; at least 4 frames, 1 to 1000 a second"),
    "an elbow in the shoulder": (spoiled("elbow", 9, 0.0), "the upper arm of frame 9 is 0 m long, 1 of 12 frames"),
    "millimetres": (arrays() | {"wrist": 1e3 * arrays()["wrist"]}, "the forearm of frame 0 is 500 m long, 12 of 12"),
    "a mirrored hand": (arrays() | {"hand_R": -arrays()["hand_R"]}, "hand_R of frame 0 is not a rotation"),
    "segments of one number": (arrays() | {"segment": np.array(1)}, "does not name a recording for each of 12 frames"),
    "segments in two columns": (arrays() | {"segment": np.zeros((FRAMES, 2))}, r"segment, of shape \(12, 2\), does not"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_motion_file_is_refused(what: str, tmp_path: Path) -> None:
    content, message = BAD[what]
    np.savez(tmp_path / "bad.npz", **content)
    with pytest.raises(InvalidInput, match=message) as refused:
        load_motion(tmp_path / "bad.npz")
    assert "bad.npz" in str(refused.value)


def test_other_files_are_no_motion_files(tmp_path: Path) -> None:
    file = tmp_path / "other.npz"
    with file.open("wb") as stream:
        np.save(stream, np.zeros(3))
    with pytest.raises(UnreadableFile, match="is not a motion file"):
        load_motion(file)
    file.write_text("no archive")
    with pytest.raises(UnreadableFile, match="is not a motion file"):
        load_motion(file)
