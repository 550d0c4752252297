"""Weights are verified, fail over between sources, and leave nothing half-written."""

from __future__ import annotations

import functools
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mediapipe import Image, ImageFormat
from mediapipe.tasks.metadata import schema_py_generated as tflite_schema
from mediapipe.tasks.python import BaseOptions, vision

from visual_irl.assets import asset_path
from visual_irl.errors import DownloadFailed, UnknownName
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.landmarks import download
from visual_irl.perception.landmarks.mediapipe_detector import QUIET, letterbox
from visual_irl.perception.landmarks.task_bundle import Member, build_bundle, with_outputs
from visual_irl.perception.landmarks.weights import (
    Component,
    Manifest,
    component_path,
    default_manifest,
    list_weights,
    pull,
    weight_path,
)

CONTENT = b"a network" * 1000


class _Server(SimpleHTTPRequestHandler):
    """Serves a folder; `/cut` promises more than it sends, `/stall` sends nothing more."""

    def do_GET(self) -> None:
        if self.path in ("/cut", "/stall"):
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:100])
            self.wfile.flush()
            if self.path == "/stall":
                time.sleep(5.0)
            return
        super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "good").write_bytes(CONTENT)
    (folder / "bad").write_bytes(CONTENT[::-1])
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Server, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("VISUAL_IRL_CACHE", str(folder))
    return folder


def manifest_of(*urls: str) -> Manifest:
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    parts = {f"net{i}": Component(f"net{i}", len(CONTENT), sha256, "Apache-2.0", url, {}) for i, url in enumerate(urls)}
    return Manifest(parts, {}, {})


def files_in(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.rglob("*") if p.is_file()) if folder.exists() else []


def test_a_verified_file_is_cached_and_not_fetched_again(server: str, cache: Path) -> None:
    path = component_path("net0", manifest_of(f"{server}/good"))
    assert path == cache / "components" / "net0.tflite" and path.read_bytes() == CONTENT
    assert component_path("net0", manifest_of("http://127.0.0.1:9/gone")) == path


def test_a_wrong_digest_is_refused_and_nothing_is_kept(server: str, cache: Path) -> None:
    with pytest.raises(DownloadFailed, match=r"wrong digest .*, expected (.|\n)*by hand"):
        component_path("net0", manifest_of(f"{server}/bad"))
    assert files_in(cache) == []


def test_a_damaged_cache_is_noticed_and_repaired(server: str, cache: Path) -> None:
    manifest = manifest_of(f"{server}/good")
    path = component_path("net0", manifest)
    path.write_bytes(CONTENT[:-1])
    assert component_path("net0", manifest).read_bytes() == CONTENT


@pytest.mark.parametrize(("page", "reason"), [("cut", "cut off|more expected"), ("stall", "timed out"), ("no", "404")])
def test_a_failed_transfer_names_source_and_reason(
    server: str, cache: Path, page: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page == "stall":
        monkeypatch.setattr(download, "CONNECT_TIMEOUT", 2.0)  # enough to begin an answer on a busy machine
    with pytest.raises(DownloadFailed) as failure:
        component_path("net0", manifest_of(f"{server}/{page}"))
    assert failure.match(f"{server}: .*({reason})")
    assert str(cache / "components" / "net0.tflite") in str(failure.value)
    assert files_in(cache) == []


def test_an_address_that_does_not_answer_is_given_up_quickly(cache: Path) -> None:
    start = time.monotonic()
    with pytest.raises(DownloadFailed, match="refused"):
        component_path("net0", manifest_of("http://127.0.0.1:9/gone"))
    assert time.monotonic() - start < download.CONNECT_TIMEOUT + 2.0


def test_a_file_put_there_by_hand_is_used(cache: Path) -> None:
    path = cache / "components" / "net0.tflite"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert component_path("net0", manifest_of("http://127.0.0.1:9/gone")) == path


def test_an_interruption_leaves_nothing(server: str, cache: Path) -> None:
    from visual_irl.perception.landmarks import weights

    def interrupt(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    manifest = manifest_of(f"{server}/good")
    with_bundle = Manifest(manifest.components, {}, {"bundle": [{"file": "a", "component": "net0", "mean": 0, "std": 1}]})
    with pytest.raises(KeyboardInterrupt):
        weights.pull(["bundle"], interrupt, with_bundle)
    assert files_in(cache) == []


def test_a_full_disk_or_forbidden_folder_is_named(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("VISUAL_IRL_CACHE", str(blocked / "cache"))
    with pytest.raises(OSError, match=r"cannot write .*; choose another folder with VISUAL_IRL_CACHE"):
        component_path("net0", manifest_of(f"{server}/good"))


def test_unknown_weights_list_the_known() -> None:
    with pytest.raises(UnknownName, match="pose_landmarker_heavy"):
        pull(["pose_landmarker_huge"])


def test_every_source_of_the_manifest_is_complete() -> None:
    manifest = default_manifest()
    for part in manifest.components.values():
        assert len(part.sha256) == 64 and part.size > 0 and part.licence == "Apache-2.0"
        assert part.url.startswith("https://") and f"{part.name}.tflite?generation=" in part.url
        assert part.members and set(part.members) <= set(manifest.archives)
    assert {row.name for row in list_weights()} >= {"pose_without_outline_heavy", "hand_landmarker_full"}


@pytest.mark.skipif(os.environ.get("VISUAL_IRL_OFFLINE") == "1", reason="VISUAL_IRL_OFFLINE=1")
def test_bundles_are_built_alike_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pulls into the user's cache once; then builds again from the cached networks elsewhere."""
    first = pull(["hand_landmarker_full"])[0]
    networks = [component_path(name) for name in ("palm_detection_full", "hand_landmark_full")]
    monkeypatch.setenv("VISUAL_IRL_CACHE", str(tmp_path))
    (tmp_path / "components").mkdir()
    for network in networks:
        (tmp_path / "components" / network.name).write_bytes(network.read_bytes())
    assert pull(["hand_landmarker_full"])[0].read_bytes() == first.read_bytes()
    assert all(row.present for row in list_weights() if row.name == "hand_landmarker_full")


@pytest.mark.skipif(os.environ.get("VISUAL_IRL_OFFLINE") == "1", reason="VISUAL_IRL_OFFLINE=1")
@pytest.mark.parametrize("model", ["heavy", "full"])
def test_a_body_is_found_alike_without_the_outline_that_nobody_reads(model: str, tmp_path: Path) -> None:
    """What computes only the outline is left out, and the landmarks are the same to the bit."""
    part = dict(default_manifest().bundles[f"pose_without_outline_{model}"][1])
    whole = Member(part["file"], component_path(part["component"]), part["mean"], part["std"])
    detector = Member("pose_detector.tflite", component_path("pose_detection"), 127.5, 127.5)
    build_bundle(tmp_path / "whole.task", [detector, whole], "")
    with open_frames(asset_path("models/recordings/onion_sorting")) as source:
        picture = Image(image_format=ImageFormat.SRGB, data=letterbox(next(iter(source)).rgb)[0])
    found = []
    for bundle in (tmp_path / "whole.task", weight_path(f"pose_without_outline_{model}")):
        options = vision.PoseLandmarkerOptions(base_options=BaseOptions(model_asset_path=str(bundle)))
        with QUIET, vision.PoseLandmarker.create_from_options(options) as landmarker:
            result = landmarker.detect(picture)
        found.append(
            [[(p.x, p.y, p.z, p.visibility) for p in body] for body in (*result.pose_landmarks, *result.pose_world_landmarks)]
        )
    assert len(found[0]) == 2 and found[0] == found[1]
    network = whole.network.read_bytes()
    assert _operators(with_outputs(network, part["outputs"])) < _operators(network) - 10


def _operators(network: bytes) -> int:
    return tflite_schema.Model.GetRootAsModel(bytearray(network), 0).Subgraphs(0).OperatorsLength()
