"""Cameras calibrated with a ChArUco board: the lens, where it stands, and how it sits to a robot's hand.

A ChArUco board is a chessboard with markers in its white squares (Garrido-Jurado et al. 2014, Pattern Recognition 47): its
corners are found to a fraction of a pixel and are known by number, so that a part of the board is enough. The lens follows
Zhang 2000 (IEEE PAMI 22). The hand-eye transform starts from Park and Martin 1994 (IEEE T-RA 10) and is then fitted to the
corners themselves. Every result carries its reprojection error, and a bad one is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from visual_irl import se3
from visual_irl.errors import CalibrationFailed, InvalidInput
from visual_irl.types import Intrinsics

FEWEST_CORNERS = 8
"""Corners that a picture must show; six determine a pose, the rest its error."""
FEWEST_VIEWS = 8
"""Pictures from which a lens is calibrated."""
FEWEST_POSES = 5
"""Hand poses from which a hand-eye transform is found."""
LARGEST_FOCAL_DEVIATION = 0.01
"""Standard deviation of the focal lengths, as a share of them, above which a lens is refused: the views are too alike."""
FOCAL_RANGE = (0.3, 5.0)
"""Focal lengths that cameras have, in picture widths: fields of view from 118 down to 11 degrees."""
LEAST_TURN = np.radians(20.0)
"""Angle between the turns' axes of the hand below which the transform is not determined [rad]."""
LARGEST_ERROR = 1.0
"""Root mean square reprojection error above which a calibration is refused [px]."""


@dataclass(frozen=True)
class Board:
    """A ChArUco board. Its frame begins at a corner of the pattern: x along the rows, y along the columns, z into it."""

    columns: int = 7
    rows: int = 5
    square: float = 0.035
    """Side of a chessboard square [m]; measure it on the print."""
    marker: float = 0.02625
    """Side of a marker [m]."""

    def __post_init__(self) -> None:
        if not (3 <= self.columns <= 20 and 3 <= self.rows <= 20 and 0.0 < self.marker < self.square < 1.0):
            raise InvalidInput(
                f"a board of {self.columns} by {self.rows} squares of {self.square} m with markers of {self.marker} m: 3 to 20 "
                "squares each way, and 0 < marker < square < 1 m are needed"
            )

    def pattern(self) -> Any:
        """OpenCV's board."""
        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_5X5_250)
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)

    def picture(self, dpi: int = 300) -> UInt8[ndarray, "H W"]:
        """The pattern to print at `dpi`, without a margin: its size on paper is exact."""
        size = [round(n * self.square / 0.0254 * dpi) for n in (self.columns, self.rows)]
        return np.asarray(self.pattern().generateImage(size, marginSize=0, borderBits=1))


@dataclass(frozen=True)
class BoardView:
    """The corners of a board in one picture."""

    p_board: Float[ndarray, "N 3"]
    """In the board's frame [m]."""
    uv: Float[ndarray, "N 2"]
    """In the picture [px]."""


@dataclass(frozen=True)
class Lens:
    """Intrinsics with distortion (Brown 1966: k1, k2, p1, p2, k3) and how well they explain the pictures."""

    intrinsics: Intrinsics
    distortion: Float[ndarray, "5"]
    error_px: float
    """Root mean square over all corners [px]."""
    views: int


@dataclass(frozen=True)
class Found:
    """A transform and how well it explains the corners."""

    T: Float[ndarray, "4 4"]
    error_px: float


def find_board(rgb: UInt8[ndarray, "H W 3"], board: Board) -> BoardView | None:
    """The corners of the board in a picture; none when fewer than `FEWEST_CORNERS` are seen."""
    detector = cv2.aruco.CharucoDetector(board.pattern())
    corners, ids, _, _ = detector.detectBoard(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    if ids is None or len(ids) < FEWEST_CORNERS:
        return None
    ids = np.asarray(ids).ravel().astype(np.int64)
    points = np.asarray(board.pattern().getChessboardCorners(), float)[ids]
    return BoardView(points, np.asarray(corners, float).reshape(-1, 2))


def calibrate_lens(views: Sequence[BoardView], width: int, height: int) -> Lens:
    """Focal lengths, principal point and distortion of a camera.

    Raises:
        CalibrationFailed: too few or too similar views, or a reprojection error above `LARGEST_ERROR`.
    """
    if len(views) < FEWEST_VIEWS:
        raise CalibrationFailed(
            f"the board was found in {len(views)} pictures, {FEWEST_VIEWS} are needed: show it whole, in focus, near and far, "
            "at the edges, and tilted"
        )
    points = [view.p_board.astype(np.float32) for view in views]
    pixels = [view.uv.astype(np.float32) for view in views]
    found: Any = cv2.calibrateCameraExtended(points, pixels, (width, height), None, None)  # type: ignore[call-overload]
    error, K, distortion, deviations = float(found[0]), np.asarray(found[1]), np.asarray(found[2]), np.ravel(found[5])
    focal = np.array([K[0, 0], K[1, 1]])
    unsure = float(np.max(deviations[:2] / focal))
    low, high = FOCAL_RANGE
    if not (unsure <= LARGEST_FOCAL_DEVIATION and (low * width <= focal).all() and (focal <= high * width).all()):
        raise CalibrationFailed(
            f"the pictures leave the focal length open: {focal[0]:.0f} px, known to {100 * unsure:.1f} % ({low * width:.0f} to "
            f"{high * width:.0f} px and {100 * LARGEST_FOCAL_DEVIATION:.0f} % are accepted); show the board nearer, and tilted "
            "left and right, forwards and backwards"
        )
    _accept(error, "the lens")
    intrinsics = Intrinsics(float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2]), width, height)
    return Lens(intrinsics, distortion.astype(float).ravel()[:5], error, len(views))


def board_pose(view: BoardView, lens: Lens) -> Found:
    """Pose of the board in the camera's optical frame.

    Raises:
        CalibrationFailed: no pose explains the corners to `LARGEST_ERROR`.
    """
    _, turns, places, _ = cv2.solvePnPGeneric(
        view.p_board, view.uv, lens.intrinsics.K, lens.distortion, flags=cv2.SOLVEPNP_IPPE
    )
    starts = [np.concatenate([np.ravel(r), np.ravel(p)]) for r, p in zip(turns, places, strict=True)]
    fits = [least_squares(lambda x: (_seen(x, view, lens) - view.uv).ravel(), start) for start in starts]
    best = min(fits, key=lambda fit: float(fit.cost))
    error = float(np.sqrt(2.0 * best.cost / len(view.uv)))
    _accept(error, "the board's pose")
    return Found(_matrix(best.x), error)


def hand_eye(
    Ts_base_hand: Float[ndarray, "N 4 4"], views: Sequence[BoardView], lens: Lens
) -> tuple[Found, Float[ndarray, "4 4"]]:
    """Pose of a camera in the hand that carries it, and of the board in the robot's base; the board stands still.

    For a camera that stands still and a hand that carries the board, pass the inverses of the hand's poses: the result is
    the camera in the base, and the board in the hand.

    Raises:
        InvalidInput: not as many hand poses as views.
        CalibrationFailed: too few poses, hand turns about one axis only, or an error above `LARGEST_ERROR`.
    """
    if len(views) != len(Ts_base_hand):
        raise InvalidInput(f"{len(Ts_base_hand)} hand poses for {len(views)} pictures of the board; one each is needed")
    if len(views) < FEWEST_POSES:
        raise CalibrationFailed(f"{len(views)} hand poses with the board in sight, {FEWEST_POSES} or more are needed")
    Ts_camera_board = np.stack([board_pose(view, lens).T for view in views])
    T_hand_camera = _park_martin(Ts_base_hand, Ts_camera_board)
    T_base_board = Ts_base_hand[0] @ T_hand_camera @ Ts_camera_board[0]

    def residuals(x: ndarray) -> ndarray:
        camera, board = se3.inverse(_matrix(x[:6])), _matrix(x[6:])
        off = []
        for T, view in zip(Ts_base_hand, views, strict=True):
            off.append((_seen(_vector(camera @ se3.inverse(T) @ board), view, lens) - view.uv).ravel())
        return np.concatenate(off)

    fit = least_squares(residuals, np.concatenate([_vector(T_hand_camera), _vector(T_base_board)]))
    error = float(np.sqrt(2.0 * fit.cost / sum(len(view.uv) for view in views)))
    _accept(error, "the hand-eye transform")
    return Found(_matrix(fit.x[:6]), error), _matrix(fit.x[6:])


def _park_martin(Ts_base_hand: ndarray, Ts_camera_board: ndarray) -> ndarray:
    """X of A X = X B from all pairs of poses: rotations by the logarithms' least squares, then translations."""
    a, b, rows, right = [], [], [], []
    pairs = [(i, k) for i in range(len(Ts_base_hand)) for k in range(i)]
    As = [se3.inverse(Ts_base_hand[k]) @ Ts_base_hand[i] for i, k in pairs]
    Bs = [Ts_camera_board[k] @ se3.inverse(Ts_camera_board[i]) for i, k in pairs]
    for A, B in zip(As, Bs, strict=True):
        a.append(Rotation.from_matrix(A[:3, :3]).as_rotvec())
        b.append(Rotation.from_matrix(B[:3, :3]).as_rotvec())
    turned = np.array(a)
    spread = np.linalg.svd(turned, compute_uv=False)
    if not spread[1] > np.sin(LEAST_TURN) * spread[0]:
        raise CalibrationFailed(
            "the hand turned about one axis only, which leaves the camera's place open: turn it about two or more, "
            f"{np.degrees(LEAST_TURN):.0f} degrees or more"
        )
    R = Rotation.align_vectors(turned, np.array(b))[0].as_matrix()
    for A, B in zip(As, Bs, strict=True):
        rows.append(A[:3, :3] - np.eye(3))
        right.append(R @ B[:3, 3] - A[:3, 3])
    p = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
    return se3.transform(R, p)


def _seen(x: ndarray, view: BoardView, lens: Lens) -> ndarray:
    """Pixels (N, 2) of the view's corners for a board pose (rotation vector, position)."""
    uv, _ = cv2.projectPoints(view.p_board, x[:3], x[3:], lens.intrinsics.K, lens.distortion)
    return np.asarray(uv, float).reshape(-1, 2)


def _matrix(x: ndarray) -> ndarray:
    return se3.transform(Rotation.from_rotvec(x[:3]).as_matrix(), x[3:])


def _vector(T: ndarray) -> ndarray:
    return np.concatenate([Rotation.from_matrix(T[:3, :3]).as_rotvec(), T[:3, 3]])


def _accept(error: float, what: str) -> None:
    if not error <= LARGEST_ERROR:
        raise CalibrationFailed(
            f"{what} leaves a reprojection error of {error:.2f} px, at most {LARGEST_ERROR:.1f} px is accepted: check the size "
            "of the printed squares, keep the board flat and still, and take new pictures"
        )
