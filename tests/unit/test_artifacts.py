"""Files round-trip, wrong ones are refused with the way out, and nothing half-written stays."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from visual_irl import covariance as cov
from visual_irl.errors import InvalidInput, MissingFile, UnreadableFile, UnwritableOutput
from visual_irl.io import artifacts, tensors
from visual_irl.io.atomic import atomic_path, require_writable_folder
from visual_irl.tasks.scene import SeenThing
from visual_irl.types import KEYPOINTS, Demonstration, JointTrajectory


def demonstration(frames: int = 7) -> Demonstration:
    rng = np.random.default_rng(0)
    p = rng.normal(size=(frames, len(KEYPOINTS), 3))
    p[2] = np.nan
    return Demonstration(
        t=np.arange(frames) / 15.0,
        side="right",
        p_world=p,
        covariance=p[..., None] * p[..., None, :] + 1e-4 * np.eye(3),
        seen=np.isfinite(p).all(axis=(1, 2)),
        aperture=np.full(frames, 0.05),
        objects={"onion_0": rng.normal(size=(frames, 3))},
        radii={"onion_0": 0.03},
        attributes={"onion_0": {"blemished": 1.0}},
        held=("",) * (frames - 2) + ("onion_0",) * 2,
        fixtures={"bin_blemished": np.eye(4)},
        frame="world",
        task="onion_sorting",
        provenance={"made": "by a test"},
    )


def test_demonstration_round_trip(tmp_path: Path) -> None:
    demo = demonstration()
    artifacts.save_demonstration(tmp_path / "demo.npz", demo)
    back = artifacts.load_demonstration(tmp_path / "demo.npz")
    for name in ("p_world", "covariance"):
        assert np.array_equal(getattr(back, name), getattr(demo, name), equal_nan=True)
    assert back.held == demo.held and back.attributes == demo.attributes and back.side == demo.side
    assert np.array_equal(back.objects["onion_0"], demo.objects["onion_0"])


def changed(path: Path, demo: Demonstration, format: int, **arrays: np.ndarray | None) -> Path:
    """The file of `demo` as of a format, with arrays replaced or left out."""
    artifacts.save_demonstration(path, demo)
    return rewritten(path, {"format": format}, **arrays)


def test_a_file_of_the_first_format_has_deviations_and_one_of_the_next_is_refused(tmp_path: Path) -> None:
    demo = demonstration()
    sigma = np.abs(demo.p_world)
    old = artifacts.load_demonstration(changed(tmp_path / "old.npz", demo, 1, covariance=None, sigma=sigma))
    assert np.array_equal(old.covariance, cov.of_deviations(sigma), equal_nan=True)
    assert np.allclose(old.covariance[0, 3], np.diag(sigma[0, 3] ** 2)) and np.isnan(old.covariance[2]).all()
    with pytest.raises(UnreadableFile, match="format 3"):
        artifacts.load_demonstration(changed(tmp_path / "new.npz", demo, 3))
    with pytest.raises(UnreadableFile, match="lacks covariance"):
        artifacts.load_demonstration(changed(tmp_path / "part.npz", demo, 2, covariance=None))
    negative = np.tile([-1.0, 0.0, 0.0, 1.0, 0.0, 1.0], (*demo.p_world.shape[:2], 1))
    with pytest.raises(InvalidInput, match="negative direction"):
        artifacts.load_demonstration(changed(tmp_path / "negative.npz", demo, 2, covariance=negative))


def rewritten(path: Path, header: dict[str, Any], **arrays: Any) -> Path:
    """The same file with entries of its header or arrays replaced; None leaves them out."""
    with np.load(path) as archive:
        content = {name: archive[name] for name in archive.files}
    said = {k: v for k, v in {**json.loads(str(content["header"])), **header}.items() if v is not None}
    content |= {"header": np.array(json.dumps(said)), **arrays}
    np.savez(path, **{name: a for name, a in content.items() if a is not None})
    return path


@pytest.mark.parametrize("value", [None, 3, "x", [1, 2]])
@pytest.mark.parametrize("name", ["side", "radii", "attributes", "held", "frame", "task", "provenance", "keypoints"])
def test_a_demonstration_with_a_wrong_header_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    artifacts.save_demonstration(tmp_path / "demo.npz", demonstration())
    if (name, value) in (("frame", "x"), ("task", "x")):
        return  # words, though of nothing that is known
    with pytest.raises((UnreadableFile, InvalidInput), match=rf"demo\.npz.*{name}"):
        artifacts.load_demonstration(rewritten(tmp_path / "demo.npz", {name: value}))


@pytest.mark.parametrize(
    ("header", "arrays", "reason"),
    [
        ({}, {"object:onion_0": None}, "'onion_0' without its path"),
        ({"radii": {}}, {}, "lacks the radius"),
        ({"radii": {"onion_0": -0.1}}, {}, "radius of object 'onion_0' is -0.1 m"),
        ({"radii": {"onion_0": "wide"}}, {}, "radii, heights or attributes are no numbers"),
        ({"heights": {"onion_0": float("nan")}}, {}, "height of object 'onion_0' is nan"),
        ({"heights": [1]}, {}, "radii, heights or attributes are no numbers"),
        ({}, {"fixture:bin_blemished": 2 * np.eye(4)}, "'bin_blemished' is no rigid transform"),
        ({}, {"fixture:bin_blemished": np.diag([1.0, 1.0, -1.0, 1.0])}, "'bin_blemished' is no rigid transform"),
        ({}, {"turn:onion_0": np.zeros((7, 3, 3))}, "'onion_0' is no rotation in frame 0"),
        ({}, {"p_world": np.full((7, len(KEYPOINTS), 3), np.inf)}, "infinite place"),
        ({}, {"aperture": np.array(["x"] * 7)}, "'aperture' holds <U1"),
        ({}, {"covariance": np.zeros((7, len(KEYPOINTS), 5))}, r"covariance has shape \(7, 50, 5\)"),
    ],
)
def test_a_demonstration_that_cannot_be_is_refused(
    tmp_path: Path, header: dict[str, Any], arrays: dict[str, Any], reason: str
) -> None:
    artifacts.save_demonstration(tmp_path / "demo.npz", demonstration())
    with pytest.raises((UnreadableFile, InvalidInput), match=rf"demo\.npz.*{reason}.*extract"):
        artifacts.load_demonstration(rewritten(tmp_path / "demo.npz", header, **arrays))


@pytest.mark.parametrize(
    ("header", "arrays", "reason"),
    [
        ({"robot": None}, {}, "lacks 'robot'"),
        ({"task": 5}, {}, "has '5' for 'task'"),
        ({"held": None}, {}, "lacks 'held'"),
        ({"T_world_base": None}, {}, "lacks 'T_world_base'"),
        ({"T_world_base": (2 * np.eye(4)).tolist()}, {}, "pose of 'base' is no rigid transform"),
        ({"T_world_base": [["a"]]}, {}, "pose of 'base' is no rigid transform"),
        ({"fixtures": {"bin": [1, 2]}}, {}, "pose of 'bin' is no rigid transform"),
        ({"held": [[2.0, 1.0, "onion"]]}, {}, "held has"),
        ({"held": [1]}, {}, "held has 1"),
        ({}, {"q": None}, "lacks q"),
        ({}, {"joint_names": np.array(["a"])}, r"shape \(5, 2\), expected \(5, 1\)"),
        ({}, {"qd": np.array(["a"])}, "'qd' holds <U1"),
    ],
)
def test_a_trajectory_that_cannot_be_is_refused(
    tmp_path: Path, header: dict[str, Any], arrays: dict[str, Any], reason: str
) -> None:
    t = np.linspace(0, 1, 5)
    trajectory = JointTrajectory(("a", "b"), t, np.ones((5, 2)), np.zeros((5, 2)), np.full(5, 0.08))
    sound = {"robot": "panda", "task": "pouring", "T_world_base": np.eye(4), "objects": {}, "fixtures": {}, "held": []}
    artifacts.save_trajectory(tmp_path / "t.npz", trajectory, sound)
    artifacts.load_trajectory(tmp_path / "t.npz")
    with pytest.raises((UnreadableFile, InvalidInput), match=rf"t\.npz.*{reason}.*visual-irl map"):
        artifacts.load_trajectory(rewritten(tmp_path / "t.npz", header, **arrays))


@pytest.mark.parametrize("name", ["p_world", "radius", "attributes", "height", "R_world"])
@pytest.mark.parametrize("value", ["x", {}, [1.0], -1.0, float("nan")])
def test_a_thing_of_a_trajectory_that_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    row = {"p_world": [0.1, 0.2, 0.0], "radius": 0.03, "attributes": {"blemished": 1.0}, "height": None, "R_world": None}
    assert SeenThing.read("onion_0", row).attributes == {"blemished": 1.0}
    if (name, value) == ("attributes", {}):
        return  # none are known
    with pytest.raises(InvalidInput, match=r"'onion_0' cannot be.*visual-irl map"):
        SeenThing.read("onion_0", {**row, name: value})


def test_arrays_are_copies_and_read_only() -> None:
    demo = demonstration()
    with pytest.raises(ValueError, match="read-only"):
        demo.p_world[0, 0, 0] = 1.0


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x03\x04 truncated"])
def test_garbage_is_unreadable_and_says_what_makes_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(UnreadableFile, match="visual-irl extract"):
        artifacts.load_demonstration(tmp_path / "x.npz")


def test_truncated_file_is_unreadable(tmp_path: Path) -> None:
    artifacts.save_demonstration(tmp_path / "demo.npz", demonstration())
    whole = (tmp_path / "demo.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableFile):
        artifacts.load_demonstration(tmp_path / "cut.npz")


def test_missing_file_and_wrong_kind(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="visual-irl map"):
        artifacts.load_trajectory(tmp_path / "none.npz")
    artifacts.save_demonstration(tmp_path / "demo.npz", demonstration())
    with pytest.raises(UnreadableFile, match="expected a trajectory"):
        artifacts.load_trajectory(tmp_path / "demo.npz")


def test_trajectory_round_trip_with_extras(tmp_path: Path) -> None:
    t = np.linspace(0, 1, 5)
    trajectory = JointTrajectory(("a", "b"), t, np.ones((5, 2)), np.zeros((5, 2)), np.full(5, 0.08))
    artifacts.save_trajectory(tmp_path / "t.npz", trajectory, {"robot": "panda", "task": ""}, reachable=np.ones(5, bool))
    back, header, extras = artifacts.load_trajectory(tmp_path / "t.npz")
    assert back.joint_names == ("a", "b") and header["robot"] == "panda" and extras["reachable"].all()
    assert np.array_equal(back.q, trajectory.q)


def test_trajectory_with_nan_is_refused_with_its_place() -> None:
    q = np.ones((5, 2))
    q[3, 1] = np.nan
    with pytest.raises(InvalidInput, match=r"nan at index \(3, 1\)"):
        JointTrajectory(("a", "b"), np.linspace(0, 1, 5), q, np.zeros((5, 2)), np.zeros(5))


def test_failed_write_leaves_old_file_and_no_partial(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "x.json") as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "x.json").read_text() == "old" and len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_skill_does_not_fit_on_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensors, "atomic_path", lambda path: nullcontext(Path("/dev/full")))
    with pytest.raises(OSError, match="No space left"):  # and no error of the library that writes
        tensors.save_tensors(Path("skill"), "weights", tensors.Tensors({"w": np.ones(3)}, {}))


def test_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnwritableOutput, match="choose another --out"):
        require_writable_folder(tmp_path / "file" / "out")
    with pytest.raises(UnwritableOutput, match="it is a file; choose another --out"):
        require_writable_folder(tmp_path / "file")


def test_sidecar_records_config_digest_and_versions(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    artifacts.write_sidecar(tmp_path / "a", {"seed": 3}, {"source": tmp_path / "a"})
    sidecar = json.loads((tmp_path / "a.json").read_text())
    assert sidecar["config"] == {"seed": 3} and sidecar["sha256"] == artifacts.digest(tmp_path / "a")
    assert sidecar["inputs"]["source"]["sha256"] == sidecar["sha256"] and "numpy" in sidecar["versions"]
