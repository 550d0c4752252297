"""The verb `calibrate`: boards to print, lenses, where a camera stands, and how it sits to a robot's hand; as JSON files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy import ndarray
from PIL import Image

from visual_irl import se3
from visual_irl.errors import CalibrationFailed, InvalidInput, MissingFile, UnreadableFile
from visual_irl.io.atomic import atomic_path, require_writable_file
from visual_irl.perception.calibration import Board, BoardView, Lens, board_pose, calibrate_lens, find_board, hand_eye
from visual_irl.types import Intrinsics
from visual_irl.verbs.console import progress_bar, say

PICTURES = (".png", ".jpg", ".jpeg")
DPI = 300


def print_board(board: Board, out: Path) -> None:
    """Write the board as a picture whose printed size is exact."""
    with atomic_path(out) as partial:
        Image.fromarray(board.picture(DPI)).save(partial, dpi=(DPI, DPI))
    size = " x ".join(f"{1e3 * n * board.square:.0f}" for n in (board.columns, board.rows))
    say(f"wrote {out}: print it at its full size ({size} mm), glue it onto something flat, and measure a square")


def lens(pictures: Path, board: Board, out: Path) -> None:
    """Calibrate a lens from pictures of the board."""
    require_writable_file(out)
    views, size, total = _views(pictures, board)
    found = calibrate_lens([view for _, view in views], *size)
    camera = found.intrinsics
    _write(out, {
        "fx": camera.fx, "fy": camera.fy, "cx": camera.cx, "cy": camera.cy, "width": camera.width, "height": camera.height,
        "distortion": found.distortion.tolist(), "error_px": found.error_px, "views": found.views,
    })  # fmt: skip
    say(
        f"{found.views} of {total} pictures show the board; fx {camera.fx:.1f}, fy {camera.fy:.1f}, cx {camera.cx:.1f}, cy "
        f"{camera.cy:.1f} px, reprojection error {found.error_px:.2f} px"
    )
    say(f"wrote {out}")


def extrinsics(pictures: Path, board: Board, camera: Path, board_at: tuple[float, float, float, float], out: Path) -> None:
    """Where a camera stands, from pictures of the board that lies face up on the table at a known place."""
    require_writable_file(out)
    content = _camera(camera)
    views, _, _ = _views(pictures, board)
    x, y, z, yaw = board_at
    flat = np.array([[np.cos(yaw), np.sin(yaw), 0.0], [np.sin(yaw), -np.cos(yaw), 0.0], [0.0, 0.0, -1.0]])  # its z is down
    found = [board_pose(view, _lens(content)) for _, view in views]
    Ts = np.stack([se3.transform(flat, np.array([x, y, z])) @ se3.inverse(each.T) for each in found])
    best = int(np.argmin([each.error_px for each in found]))
    spread = float(np.linalg.norm(Ts[:, :3, 3] - Ts[best, :3, 3], axis=1).max())
    _write(out, content | {"T_world_camera": Ts[best].tolist(), "extrinsics_error_px": found[best].error_px})
    place = ", ".join(f"{value:.3f}" for value in Ts[best, :3, 3])
    say(
        f"the camera stands at ({place}) m; {len(views)} pictures agree to {1e3 * spread:.1f} mm, reprojection error "
        f"{found[best].error_px:.2f} px"
    )
    say(f"wrote {out}")


def hand_to_eye(pictures: Path, board: Board, camera: Path, poses: Path, carried: str, out: Path) -> None:
    """How a camera sits to a robot's hand, or to its base when the hand carries the board."""
    require_writable_file(out)
    content = _camera(camera)
    Ts = _poses(poses)
    views, _, total = _views(pictures, board)
    if len(Ts) != total:
        raise InvalidInput(f"'{poses}' holds {len(Ts)} hand poses for the {total} pictures of '{pictures}'; one each is needed")
    mine = np.stack([Ts[k] for k, _ in views])
    found, rest = hand_eye(mine if carried == "camera" else se3.inverse(mine), [view for _, view in views], _lens(content))
    names = ("T_hand_camera", "T_base_board") if carried == "camera" else ("T_base_camera", "T_hand_board")
    _write(out, content | {names[0]: found.T.tolist(), names[1]: rest.tolist(), "hand_eye_error_px": found.error_px})
    place = ", ".join(f"{value:.4f}" for value in found.T[:3, 3])
    say(f"{names[0]}: place ({place}) m from {len(views)} pictures, reprojection error {found.error_px:.2f} px")
    say(f"wrote {out}")


def _views(folder: Path, board: Board) -> tuple[list[tuple[int, BoardView]], tuple[int, int], int]:
    """The pictures of a folder (or the one) that show the board with their numbers, their size, and how many there are."""
    folder = Path(folder)
    files = sorted(f for f in folder.iterdir() if f.suffix.lower() in PICTURES) if folder.is_dir() else [folder]
    if not files or not files[0].is_file():
        raise MissingFile(
            f"'{folder}' holds no pictures ({', '.join(PICTURES)}) of a board; `visual-irl calibrate board` draws one"
        )
    views, size = [], (0, 0)
    with progress_bar("board", "picture") as show:
        for k, file in enumerate(files):
            rgb = cv2.imread(str(file), cv2.IMREAD_COLOR_RGB)
            if rgb is None:
                raise UnreadableFile(f"'{file}' is no picture that can be read; copy or take it again")
            if k and (rgb.shape[1], rgb.shape[0]) != size:
                raise InvalidInput(f"'{file}' is {rgb.shape[1]}x{rgb.shape[0]} px, the ones before it {size[0]}x{size[1]} px")
            size = (int(rgb.shape[1]), int(rgb.shape[0]))
            view = find_board(rgb, board)
            if view is not None:
                views.append((k, view))
            show(k + 1, len(files))
    if not views:
        raise CalibrationFailed(
            f"none of the {len(files)} pictures of '{folder}' shows a board of {board.columns} by {board.rows} squares; "
            "say its size with --columns and --rows, and show it sharp and whole"
        )
    return views, size, len(files)


def _camera(path: Path) -> dict[str, Any]:
    content = _json(path)
    if not isinstance(content, dict) or not {"fx", "fy", "cx", "cy", "width", "height"} <= set(content):
        raise InvalidInput(f"'{path}' is no camera file; make one with: visual-irl calibrate camera PICTURES --out {path}")
    return content


def _lens(content: dict[str, Any]) -> Lens:
    fx, fy, cx, cy = (float(content[name]) for name in ("fx", "fy", "cx", "cy"))
    intrinsics = Intrinsics(fx, fy, cx, cy, int(content["width"]), int(content["height"]))
    return Lens(intrinsics, np.array(content.get("distortion", np.zeros(5)), float), float(content.get("error_px", 0.0)), 0)


def _poses(path: Path) -> ndarray:
    try:
        Ts = np.array(_json(path), float)
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"'{path}' must be a JSON list of 4x4 hand poses in the robot's base: {error}") from error
    if Ts.ndim != 3 or Ts.shape[1:] != (4, 4) or not np.isfinite(Ts).all():
        raise InvalidInput(f"'{path}' must be a JSON list of finite 4x4 hand poses in the robot's base, got shape {Ts.shape}")
    turned = Ts[:, :3, :3] @ np.swapaxes(Ts[:, :3, :3], 1, 2) - np.eye(3)
    bad = np.abs(turned).max(axis=(1, 2)) > 1e-3
    if bad.any():
        raise InvalidInput(
            f"'{path}': the rotation of hand pose {int(np.argmax(bad))} is none; its columns must be unit and square"
        )
    return Ts


def _json(path: Path) -> Any:
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFile(f"no file at '{path}'; --help says what it must hold") from None
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"'{path}' cannot be read as JSON: {error}") from error


def _write(out: Path, content: dict[str, Any]) -> None:
    with atomic_path(out) as partial:
        partial.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
