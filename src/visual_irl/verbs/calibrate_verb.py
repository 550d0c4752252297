"""The verb `calibrate`: what can be calibrated, each with its own options; OpenCV is loaded when it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from visual_irl.verbs.verb_parts import choice

if TYPE_CHECKING:
    from visual_irl.perception.calibration import Board

CAMERA = Path("out/camera.json")


@dataclass(frozen=True)
class BoardSize:
    """The ChArUco board, as it was printed."""

    columns: int = 7
    """Squares along the board's rows."""
    rows: int = 5
    """Squares along its columns."""
    square: float = 0.035
    """Side of a square, measured on the print [m]."""
    marker: float | None = None
    """Side of a marker [m]; three quarters of a square when not given."""

    def build(self) -> Board:
        """The board itself."""
        from visual_irl.perception.calibration import Board

        return Board(self.columns, self.rows, self.square, 0.75 * self.square if self.marker is None else self.marker)


_DEFAULT = BoardSize()


def board(out: Path = Path("out/board.png"), board: OmitArgPrefixes[BoardSize] = _DEFAULT) -> None:
    """A board to print.

    Example: visual-irl calibrate board --out out/board.png

    Args:
        out: Picture to write.
        board: The board.
    """
    from visual_irl.verbs import calibrate_stage

    calibrate_stage.print_board(board.build(), out)


def camera(pictures: Positional[Path], out: Path = CAMERA, board: OmitArgPrefixes[BoardSize] = _DEFAULT) -> None:
    """The lens, from pictures of the board.

    Example: visual-irl calibrate camera PICTURES --out out/camera.json

    Args:
        pictures: Folder of pictures of the board, tilted to all sides.
        out: Camera file to write.
        board: The board.
    """
    from visual_irl.verbs import calibrate_stage

    calibrate_stage.lens(pictures, board.build(), out)


def extrinsics(
    pictures: Positional[Path],
    board_at: tuple[float, float, float, float],
    camera: Path = CAMERA,
    out: Path | None = None,
    board: OmitArgPrefixes[BoardSize] = _DEFAULT,
) -> None:
    """Where the camera stands, from a board that lies on the table.

    Example: visual-irl calibrate extrinsics PICTURES --camera out/camera.json --board-at 0.4 0.1 0 0

    Args:
        pictures: Folder of pictures of the board, or one picture.
        board_at: Where the board's first corner lies, face up: x, y, z [m] in the world and the yaw of its rows [rad].
        camera: Camera file, as `calibrate camera` writes it.
        out: File to write; what was found is added to the camera file when not given.
        board: The board.
    """
    from visual_irl.verbs import calibrate_stage

    calibrate_stage.extrinsics(pictures, board.build(), camera, board_at, out or camera)


def hand_eye(
    pictures: Positional[Path],
    poses: Path,
    camera: Path = CAMERA,
    carried: Literal["camera", "board"] = "camera",
    out: Path | None = None,
    board: OmitArgPrefixes[BoardSize] = _DEFAULT,
) -> None:
    """How the camera sits to the robot's hand.

    Example: visual-irl calibrate hand-eye PICTURES --camera out/camera.json --poses poses.json

    Args:
        pictures: Folder of pictures of the board.
        poses: JSON list of the hand's 4x4 poses in the robot's base, one a picture in the order of their names.
        camera: Camera file, as `calibrate camera` writes it.
        carried: What the hand carries; with the board in the hand the camera stands still.
        out: File to write; what was found is added to the camera file when not given.
        board: The board.
    """
    from visual_irl.verbs import calibrate_stage

    calibrate_stage.hand_to_eye(pictures, board.build(), camera, poses, carried, out or camera)


SUBJECTS: dict[str, Callable[..., None]] = {
    "board": board,
    "camera": camera,
    "extrinsics": extrinsics,
    "hand-eye": hand_eye,
}
_Subject: Any = choice(SUBJECTS)


def calibrate(what: Annotated[_Subject, arg(name="")]) -> None:
    """Calibrate a camera with a ChArUco board: print the board, then the lens, where it stands, and how it sits to a hand.

    Each has its own options: visual-irl calibrate extrinsics --help

    Example: visual-irl calibrate board --out out/board.png
    """
