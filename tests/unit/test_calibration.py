"""Calibration on rendered boards whose lens and poses are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation

from visual_irl import se3
from visual_irl.cli import main
from visual_irl.errors import CalibrationFailed, InvalidInput
from visual_irl.perception.calibration import Board, BoardView, Lens, board_pose, calibrate_lens, find_board, hand_eye
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.types import Intrinsics

BOARD = Board()
TRUE = Lens(Intrinsics(615.0, 612.0, 318.0, 243.0, 640, 480), np.zeros(5), 0.0, 0)
SIZE = np.array([BOARD.columns, BOARD.rows]) * BOARD.square
SUPERSAMPLING = 3


def rendered(T_camera_board: np.ndarray, noise: float = 2.0, seed: int = 0) -> np.ndarray:
    """A picture (480, 640, 3) of the board at a pose, with a grey wall behind it and noise."""
    texture = BOARD.picture(dpi=400)
    to_board = np.diag([SIZE[0] / texture.shape[1], SIZE[1] / texture.shape[0], 1.0])
    scale = np.array(
        [[SUPERSAMPLING, 0.0, 0.5 * (SUPERSAMPLING - 1)], [0.0, SUPERSAMPLING, 0.5 * (SUPERSAMPLING - 1)], [0, 0, 1.0]]
    )
    half = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])  # pixel centres
    H = scale @ TRUE.intrinsics.K @ T_camera_board[:3, [0, 1, 3]] @ to_board @ half
    size = (640 * SUPERSAMPLING, 480 * SUPERSAMPLING)
    grey = cv2.warpPerspective(texture, H, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_CONSTANT, borderValue=128)
    grey = cv2.resize(grey, (640, 480), interpolation=cv2.INTER_AREA).astype(float)
    grey += np.random.default_rng(seed).normal(0.0, noise, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def pose(tilt_x: float, tilt_y: float, turn: float, place: tuple[float, float, float]) -> np.ndarray:
    """A board whose middle is at `place` before the camera [m], tilted by these angles [rad]."""
    R = Rotation.from_euler("xyz", [tilt_x, tilt_y, turn]).as_matrix()
    return se3.transform(R, np.array(place) - R @ np.append(0.5 * SIZE, 0.0))


def many_poses(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        pose(*rng.uniform(-0.5, 0.5, 2), rng.uniform(-0.4, 0.4), (*rng.uniform(-0.08, 0.08, 2), rng.uniform(0.4, 0.7)))
        for _ in range(count)
    ]


def view(T_camera_board: np.ndarray, seed: int = 0) -> BoardView:
    found = find_board(rendered(T_camera_board, seed=seed), BOARD)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def views() -> tuple[list[np.ndarray], list[BoardView]]:
    poses = many_poses(14)
    return poses, [view(T, seed) for seed, T in enumerate(poses)]


def test_corners_lie_where_the_board_is(views: tuple[list[np.ndarray], list[BoardView]]) -> None:
    for T, seen in zip(*views, strict=True):
        true = TRUE.intrinsics.project(se3.apply(T, seen.p_board))
        assert np.linalg.norm(true - seen.uv, axis=1).mean() < 0.3  # a third of a pixel


def test_lens_is_found(views: tuple[list[np.ndarray], list[BoardView]]) -> None:
    lens = calibrate_lens(views[1], 640, 480)
    assert lens.error_px < 0.3 and lens.views == 14
    for name, bound in (("fx", 8.0), ("fy", 8.0), ("cx", 8.0), ("cy", 8.0)):  # about a percent
        assert getattr(lens.intrinsics, name) == pytest.approx(getattr(TRUE.intrinsics, name), abs=bound), name


def test_pose_is_found(views: tuple[list[np.ndarray], list[BoardView]]) -> None:
    for T, seen in zip(*views, strict=True):
        found = board_pose(seen, TRUE)
        assert found.error_px < 0.4
        middle = np.append(0.5 * SIZE, 0.0)
        assert np.linalg.norm(se3.apply(found.T, middle) - se3.apply(T, middle)) < 2e-3
        assert Rotation.from_matrix(found.T[:3, :3].T @ T[:3, :3]).magnitude() < np.radians(1.0)


@pytest.mark.parametrize("carried", ["camera", "board"])
def test_hand_eye_is_found(views: tuple[list[np.ndarray], list[BoardView]], carried: str) -> None:
    poses, seen = views
    T_hand_camera = se3.transform(Rotation.from_euler("xyz", [0.2, -0.4, 1.5]).as_matrix(), np.array([0.05, 0.02, -0.08]))
    T_base_board = se3.transform(Rotation.from_euler("xyz", [0.1, 0.0, 0.7]).as_matrix(), np.array([0.5, 0.1, 0.02]))
    if carried == "camera":
        Ts_base_hand = np.stack([T_base_board @ se3.inverse(T) @ se3.inverse(T_hand_camera) for T in poses])
        camera, board = hand_eye(Ts_base_hand, seen, TRUE)
    else:  # the camera stands where the board did, the hand carries the board as it did the camera
        Ts_base_hand = np.stack([T_base_board @ T @ se3.inverse(T_hand_camera) for T in poses])
        found, board_in_hand = hand_eye(se3.inverse(Ts_base_hand), seen, TRUE)
        camera, board = replace(found, T=board_in_hand), found.T
    assert camera.error_px < 0.4
    for T, true in ((camera.T, T_hand_camera), (board, T_base_board)):
        assert np.linalg.norm(T[:3, 3] - true[:3, 3]) < 2e-3
        assert Rotation.from_matrix(T[:3, :3].T @ true[:3, :3]).magnitude() < np.radians(0.5)


def test_what_is_not_enough_is_refused(views: tuple[list[np.ndarray], list[BoardView]]) -> None:
    poses, seen = views
    with pytest.raises(CalibrationFailed, match="found in 3 pictures, 8 are needed"):
        calibrate_lens(seen[:3], 640, 480)
    for tilt in (0.0, 0.05):
        tilts = [(tilt * (-1) ** k, tilt * (k // 2 % 2)) for k in range(8)]
        flat = [view(pose(*tilts[k], 0.0, (0.01 * k, 0.0, 0.5 + 0.01 * k)), k) for k in range(8)]
        with pytest.raises(CalibrationFailed, match="leave the focal length open"):
            calibrate_lens(flat, 640, 480)
    with pytest.raises(CalibrationFailed, match="5 or more are needed"):
        hand_eye(np.stack(poses[:2]), seen[:2], TRUE)
    with pytest.raises(InvalidInput, match="3 hand poses for 2 pictures"):
        hand_eye(np.stack(poses[:3]), seen[:2], TRUE)
    turning = np.stack([se3.transform(Rotation.from_rotvec([0.0, 0.0, 0.2 * k]).as_matrix(), np.zeros(3)) for k in range(6)])
    with pytest.raises(CalibrationFailed, match="one axis only"):
        hand_eye(turning, seen[:6], TRUE)


def test_a_wrong_measurement_is_refused(views: tuple[list[np.ndarray], list[BoardView]]) -> None:
    """Corners that moved, and hand poses that are not those of the pictures."""
    poses, seen = views
    rng = np.random.default_rng(0)
    bent = replace(seen[0], uv=seen[0].uv + rng.normal(0.0, 3.0, seen[0].uv.shape))
    with pytest.raises(CalibrationFailed, match=r"reprojection error of .* px, at most 1\.0 px"):
        board_pose(bent, TRUE)
    with pytest.raises(CalibrationFailed, match="reprojection error"):
        hand_eye(np.stack(poses[::-1]), seen, TRUE)


def test_no_board_is_none() -> None:
    assert find_board(np.full((480, 640, 3), 127, np.uint8), BOARD) is None
    with pytest.raises(InvalidInput, match="0 < marker < square"):
        Board(square=0.02, marker=0.03)


def test_the_print_has_the_size_that_is_asked() -> None:
    picture = Board(square=0.0254, marker=0.02).picture(dpi=100)
    assert picture.shape == (500, 700)


def test_the_verb_goes_from_pictures_to_a_camera_that_extract_reads(tmp_path: Path, views: tuple) -> None:
    poses, _ = views
    folder, camera = tmp_path / "pictures", tmp_path / "camera.json"
    folder.mkdir()
    for k, T in enumerate(poses):
        cv2.imwrite(str(folder / f"color{k:02d}.png"), rendered(T, seed=k)[..., ::-1])
    main(["calibrate", "board", "--out", str(tmp_path / "board.png")])
    assert Image.open(tmp_path / "board.png").info["dpi"] == pytest.approx((300, 300), abs=0.1)
    main(["calibrate", "camera", str(folder), "--out", str(camera)])
    main(
        ["calibrate", "extrinsics", str(folder / "color00.png"), "--camera", str(camera), "--board-at", "0.4", "0.1", "0", "0"]
    )
    content = json.loads(camera.read_text())
    assert content["error_px"] < 0.3 and content["fx"] == pytest.approx(TRUE.intrinsics.fx, abs=8.0)
    flat = se3.transform(np.diag([1.0, -1.0, -1.0]), np.array([0.4, 0.1, 0.0]))
    true = flat @ se3.inverse(poses[0])
    assert np.linalg.norm(np.array(content["T_world_camera"])[:3, 3] - true[:3, 3]) < 8e-3  # a percent of the distance
    (folder / "camera.json").write_text(json.dumps(content | {"fps": 10}))
    with open_frames(folder) as source:
        frame = next(iter(source))
    np.testing.assert_allclose(frame.T_world_camera, content["T_world_camera"])
    poses_file = tmp_path / "poses.json"
    poses_file.write_text(json.dumps([se3.inverse(T).tolist() for T in poses]))
    main(["calibrate", "hand-eye", str(folder), "--camera", str(camera), "--poses", str(poses_file)])
    found = np.array(json.loads(camera.read_text())["T_hand_camera"])
    np.testing.assert_allclose(found, np.eye(4), atol=0.01)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["camera"], "Folder of pictures"),
        (["camera", "nowhere"], "holds no pictures"),
        (["extrinsics", "nowhere"], "--board-at"),
        (["hand-eye", "nowhere"], "--poses"),
        (["board", "--columns", "2"], "3 to 20 squares"),
    ],
)
def test_what_is_missing_is_said(args: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", *args, "--out", str(tmp_path / "x.png")])
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
