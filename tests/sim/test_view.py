"""`visual-irl view` in a real browser: the skeleton lies where the person is, in the right colours, and the controls work."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.sync.client import connect

from visual_irl import cli, se3
from visual_irl.io import artifacts
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.types import KEYPOINTS, ObjectEstimate, RgbdFrame, keypoint_index
from visual_irl.verbs import view_stage
from visual_irl.verbs.view_page import COLOURS as PAGE_COLOURS
from visual_irl.verbs.view_page import (
    ELLIPSOID,
    MARKED,
    PLAIN,
    UNTOLD,
    Snapshot,
    ViewPage,
    free_port,
    object_ellipsoids,
    regions,
    skeleton_lines,
)

ROOT = Path(__file__).resolve().parents[2]
RECORDING = ROOT / "models" / "recordings" / "onion_sorting"
BROWSER = next((b for name in ("chromium", "chromium-headless-shell", "google-chrome") if (b := shutil.which(name))), None)
K = len(KEYPOINTS)
COLOURS = {side: PAGE_COLOURS[side] for side in ("left", "right")}
SCALE, WIDTH = 2, 1600
"""The page is higher by so much than the recording's pictures, and wide enough [px] for the controls beside the person."""
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install -y --no-install-recommends chromium")


class NotYet(Exception):
    """The browser cannot do this now, as while it goes to another page."""


class Tab:
    """One page of a headless Chromium, driven over its debugging protocol."""

    def __init__(self, folder: Path, width: int, height: int) -> None:
        assert BROWSER
        options = [
            "--headless=new",
            "--no-sandbox",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            "--hide-scrollbars",
        ]
        options += ["--disable-dev-shm-usage", f"--user-data-dir={folder}", "--remote-debugging-port=0", "--no-first-run"]
        self._process = subprocess.Popen(
            [BROWSER, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        port_file = folder / "DevToolsActivePort"
        wait_for(lambda: port_file.is_file() and "\n" in port_file.read_text(), "the browser's debugging port")
        port = port_file.read_text().split()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=20) as reply:
            targets = json.load(reply)
            pages = [page for page in targets if page["type"] == "page"]
        self._socket, self._number = connect(pages[0]["webSocketDebuggerUrl"], max_size=None, compression=None), 0
        self("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __call__(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": params}))
        while True:
            reply = json.loads(self._socket.recv(timeout=60))
            if reply.get("id") == self._number:
                if "error" in reply:
                    raise NotYet(reply["error"]["message"])
                result: dict[str, Any] = reply["result"]
                return result

    def picture(self) -> np.ndarray:
        data = base64.b64decode(self("Page.captureScreenshot", format="png")["data"])
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)

    def text(self) -> str:
        return str(self("Runtime.evaluate", expression="document.body.innerText")["result"]["value"])

    def click(self, label: str) -> None:
        button = f"[...document.querySelectorAll('button')].find(b => b.innerText.trim().toLowerCase() == '{label}').click()"
        assert "exceptionDetails" not in self("Runtime.evaluate", expression=button), f"no button '{label}'"

    def close(self) -> None:
        self._socket.close()
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def wait_for(ready: Any, what: str, seconds: float = 60.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(NotYet):
            value = ready()
            if value is not None and value is not False:
                return value
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds:.0f} s")


@pytest.fixture(scope="module")
def first() -> RgbdFrame:
    with open_frames(RECORDING) as source:
        return next(iter(source))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The verb on the shipped recording and its truth, as a user starts it; the address that it prints."""
    command = [sys.executable, "-m", "visual_irl", "view", str(RECORDING), "--demonstration", str(RECORDING / "truth.npz")]
    process = subprocess.Popen(
        [*command, "--port", "0", "--every", "5"], stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job would ignore it
    )  # fmt: skip
    assert process.stdout
    address = ""
    for line in process.stdout:
        if line.startswith("open "):
            address = line.split()[1]
            break
    assert address.startswith("http://127.0.0.1:"), "loopback unless told otherwise"
    yield address
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


def near(picture: np.ndarray, uv: np.ndarray, rgb: tuple[int, int, int], reach: int = 7) -> float:
    """Share of pixels around `uv` that have a colour's hue."""
    u, v = np.round(uv).astype(int)
    patch = picture[v - reach : v + reach + 1, u - reach : u + reach + 1].reshape(-1, 3).astype(float)
    wanted = np.array(rgb, float) - np.mean(rgb)
    tint = patch - patch.mean(1, keepdims=True)
    alike = tint @ wanted / (np.linalg.norm(tint, axis=1) * np.linalg.norm(wanted) + 1e-9)
    return float(((alike > 0.93) & (np.linalg.norm(tint, axis=1) > 60.0)).mean())


@needs_browser
def test_skeleton_lies_on_the_person_in_the_colours_of_its_sides(page: str, first: RgbdFrame, tmp_path: Path) -> None:
    k = first.intrinsics
    truth = artifacts.load_demonstration(RECORDING / "truth.npz")
    assert first.T_world_camera is not None
    uv = k.project(se3.apply(se3.inverse(first.T_world_camera), truth.p_world[0]))
    uv = SCALE * uv + (0.5 * (WIDTH - SCALE * k.width), 0.0)
    tab = Tab(tmp_path / "profile", WIDTH, SCALE * k.height)
    try:
        tab("Page.navigate", url=page)

        def drawn() -> np.ndarray | None:
            picture = tab.picture()
            if out := os.environ.get("VISUAL_IRL_VIEW_PICTURE"):
                Image.fromarray(picture.astype(np.uint8)).save(out)
            elbows = [near(picture, uv[keypoint_index(f"{side}_elbow")], COLOURS[side]) for side in COLOURS]
            return picture if min(elbows) > 0.1 else None

        picture = wait_for(drawn, "the skeleton")
        if out := os.environ.get("VISUAL_IRL_VIEW_PICTURE"):
            Image.fromarray(picture.astype(np.uint8)).save(out)
        for side, other in (("left", "right"), ("right", "left")):
            for joint in ("shoulder", "elbow", "wrist"):
                pixel = uv[keypoint_index(f"{side}_{joint}")]
                assert near(picture, pixel, COLOURS[side]) > 0.05, f"{side} {joint}"
                assert near(picture, pixel, COLOURS[other]) < 0.02, f"{side} {joint} has the other side's colour"
        assert "t = 0.00 s" in tab.text() and "right hand: open, aperture" in tab.text()
        tab.click("play")
        wait_for(lambda: "t = 0.00 s" not in tab.text(), "the next frame")
        tab.click("pause")
        wait_for(lambda: "play" in tab.text().lower(), "the pause")
    finally:
        tab.close()


def test_lost_keypoints_are_not_drawn_and_regions_hold_90_percent() -> None:
    rng = np.random.default_rng(0)
    p, spread = rng.normal(size=(K, 3)), rng.normal(0.0, 0.01, (K, 3, 3))
    p[keypoint_index("left_elbow")] = np.nan
    ends, colours = skeleton_lines(p)["limbs"]
    whole, _ = skeleton_lines(rng.normal(size=(K, 3)))["limbs"]
    assert len(whole) - len(ends) == 2 and np.isfinite(ends).all() and colours.shape == ends.shape
    centres, axes, turns, rgb = regions(p, spread @ np.swapaxes(spread, 1, 2))
    assert len(centres) == K - 1 and {tuple(c) for c in rgb.tolist()} == set(COLOURS.values())
    draws = rng.normal(size=(40_000, 3)) @ spread[0].T @ se3.rotation_of_quaternion(turns[0])
    assert (((draws / axes[0]) ** 2).sum(1) < 1.0).mean() == pytest.approx(0.9, abs=0.01)  # 7 sigma of 40,000 draws
    assert ELLIPSOID > 2.0


def test_an_onion_is_drawn_as_what_it_is_known_to_be() -> None:
    known = [{"blemished": 0.9}, {"blemished": 0.1}, {}]
    onions = tuple(ObjectEstimate(f"onion{i}", "onion", np.full(3, 0.1 * i), 0.04, 1.0, a) for i, a in enumerate(known))
    centres, radii, _, colours = object_ellipsoids(onions)
    assert np.array_equal(centres[:, 0], [0.0, 0.1, 0.2]) and np.all(radii == 0.04)
    assert [tuple(rgb) for rgb in colours] == [MARKED, PLAIN, UNTOLD]


def test_a_bottle_is_drawn_as_high_as_it_is_and_tilted_as_it_is() -> None:
    axis = np.array([0.6, 0.0, 0.8])
    bottle = ObjectEstimate("bottle", "bottle", np.array([0.2, 0.0, 0.1]), 0.03, 1.0, {}, 0.2, axis)
    _, axes, turns, _ = object_ellipsoids((bottle,))
    assert np.allclose(axes, [[0.03, 0.03, 0.1]])
    assert np.allclose(se3.rotation_of_quaternion(turns[0]) @ [0.0, 0.0, 1.0], axis)


def test_an_empty_snapshot_and_a_full_one_replace_each_other() -> None:
    nothing = Snapshot(
        np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8), np.full((K, 3), np.nan), np.full((K, 3, 3), np.nan)
    )
    truth = artifacts.load_demonstration(RECORDING / "truth.npz")
    with ViewPage(port=0) as opened:
        for p in (truth.p_world[0], nothing.p_world, truth.p_world[1]):
            opened.show(Snapshot(nothing.points, nothing.colours, p, 1e-4 * np.eye(3) + 0.0 * p[..., None]))
        with urllib.request.urlopen(opened.address, timeout=20) as reply:
            assert b"<html" in reply.read().lower()


def test_the_slider_shows_hundredths_and_the_time_goes_on_exactly() -> None:
    with ViewPage(port=0) as opened:
        player = opened.add_player(34.0 / 3.0, 1.0 / 15.0)
        assert player._slider.max == 11.34 and player.advance(0.5) == 0.0, "it stands until it is told to play"
        player._toggle()
        times = [player.advance(1.0 / 30.0) for _ in range(90)]
        assert times[-1] == 3.0 and all(t == round(t, 2) for t in times)
        player._slider.value = 7.5
        assert player.advance(1.0 / 30.0) == 7.53, "it goes on from where it was moved to"
        assert player.advance(60.0) == 11.34 and not player.playing
        player._toggle()
        assert player.advance(0.25) == 0.25, "from its beginning again"


def fails(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(["view", *args])
    assert stop.value.code == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]


def test_a_port_in_use_or_out_of_range(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        message = fails(capsys, str(RECORDING), "--port", str(port))
        assert f"127.0.0.1:{port}" in message and "--port" in message
    assert "70000" in fails(capsys, str(RECORDING), "--port", "70000")
    assert free_port("127.0.0.1", 0) > 0


def test_what_cannot_be_read_is_refused_before_there_is_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.npz").write_bytes(b"no demonstration")
    monkeypatch.setattr(view_stage, "ViewPage", None)
    assert "no known format" in fails(capsys, str(tmp_path), "--port", "0")
    assert "notes.npz" in fails(capsys, str(tmp_path / "notes.npz"), "--port", "0")
    assert "notes.npz" in fails(capsys, str(RECORDING), "--port", "0", "--demonstration", str(tmp_path / "notes.npz"))


def test_unknown_sources_and_demonstrations_of_other_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    message = fails(capsys, "nowhere", "--port", "0")
    assert "nowhere" in message and "synthetic" in message
    truth = artifacts.load_demonstration(RECORDING / "truth.npz")
    artifacts.save_demonstration(tmp_path / "other.npz", replace(truth, t=truth.t * 1.7 + 0.05))
    message = fails(capsys, str(RECORDING), "--port", "0", "--demonstration", str(tmp_path / "other.npz"))
    assert "not extracted from this recording" in message
    assert "live camera" in fails(capsys, "synthetic", "--port", "0", "--demonstration", str(tmp_path / "other.npz"))
