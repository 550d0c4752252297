"""The verb `view`: a recording, a demonstration or a live camera as a page in the browser."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.interruption import until_interrupted
from visual_irl.io import artifacts
from visual_irl.perception import CAMERAS
from visual_irl.perception.cameras.latest_frame import LatestFrame
from visual_irl.perception.cameras.sources import open_frames
from visual_irl.perception.extraction import ExtractionConfig, extract_demonstration
from visual_irl.perception.grasp import grasp_states
from visual_irl.perception.live_stream import LiveStream
from visual_irl.perception.point_cloud import coloured_points
from visual_irl.types import Demonstration, KeypointFrame, ObjectEstimate, RgbdFrame
from visual_irl.verbs.console import progress_bar, say
from visual_irl.verbs.view_page import Snapshot, ViewPage

MOST_CLOUDS = 600
"""Clouds that are kept, about 0.3 MB each; of a longer recording every n-th frame is shown."""
TICK = 1.0 / 30.0
"""Time between looks at the controls [s]."""
_SAME_FRAME = 2e-3
"""A frame belongs to the demonstration's sample whose time differs by less [s]."""


def view(source: str, demonstration: Path | None, task: str, every: int, host: str, port: int, seconds: float | None) -> None:
    """Show a source; see `visual-irl view --help`."""
    if seconds is not None and not seconds > 0.0:
        raise InvalidInput(f"seconds is {seconds}, must be above 0")
    path = Path(source)
    if source in CAMERAS.names and not path.exists():
        if demonstration is not None:
            raise InvalidInput(f"'{source}' is a live camera, which has no demonstration; leave out --demonstration")
        with ViewPage(host, port) as page, until_interrupted():  # how one leaves a page
            show_camera(page, CAMERAS.load(source), seconds)
        return
    if not path.exists():
        known = ", ".join(CAMERAS.names)
        raise InvalidInput(f"'{source}' is neither a file or folder nor a camera; known cameras: {known}")
    given = demonstration or (path if path.suffix == ".npz" else None)
    known_demo = None if given is None else artifacts.load_demonstration(given)
    if path.suffix != ".npz":
        open_frames(path)  # what cannot be read is refused before there is a page
    with ViewPage(host, port) as page:  # a port that is in use is found before any long work
        demo = known_demo or _extracted(path, task, every)
        shown, note = _snapshots(page, path, demo)
        if note:
            say(f"note: {note}")
        with until_interrupted():
            play(page, demo.t, shown, seconds)


def _extracted(path: Path, task: str, every: int) -> Demonstration:
    """The demonstration that a recording shows."""
    with progress_bar("keypoints and objects", "frame") as show:
        demo, _ = extract_demonstration([path], replace(ExtractionConfig(), task=task, every=every), 0, show)
    if demo.provenance["note"]:
        say(f"note: {demo.provenance['note']}")
    return demo


# -- a recording ------------------------------------------------------------------------------------------------------


def _snapshots(page: ViewPage, path: Path, demo: Demonstration) -> tuple[list[Snapshot], str]:
    """Each sample of the demonstration, with the points of its frame where there are any; and what to know."""
    rows: list[Snapshot] = [demonstrated(demo, i, grasp) for i, grasp in enumerate(grasp_states(demo))]
    if path.suffix == ".npz":
        return rows, "a demonstration alone has no pictures: name its recording, and this file with --demonstration"
    if demo.frame != "world":
        return rows, "no points: the camera is not calibrated to a world, so the skeleton is in the person's own frame"
    stride = -(-len(demo.t) // MOST_CLOUDS)
    first, found = None, 0
    with open_frames(path) as source, progress_bar("points", "frame") as show:
        for frame in source:
            if first is None:
                first = frame.stamp_ns
                look_through(page, frame)
            t = 1e-9 * (frame.stamp_ns - first)
            i = int(np.abs(demo.t - t).argmin())
            if abs(demo.t[i] - t) < _SAME_FRAME:
                found += 1
                if i % stride == 0:
                    rows[i] = replace(rows[i], **_cloud(frame))
            show(found, len(demo.t))
    if found < 0.9 * len(demo.t):
        raise InvalidInput(
            f"only {found} of {len(demo.t)} samples of the demonstration have a frame in '{path}': it was not extracted from "
            "this recording; leave out --demonstration, or name the right one"
        )
    note = f"of {len(demo.t)} frames, one in {stride} shows its own points" if stride > 1 else ""
    return _filled(rows, stride), note


def _filled(rows: list[Snapshot], stride: int) -> list[Snapshot]:
    """Frames between those whose points are kept have the points of the one before."""
    kept = [rows[i - i % stride] for i in range(len(rows))]
    return [replace(row, points=k.points, colours=k.colours) for row, k in zip(rows, kept, strict=True)]


def _cloud(frame: RgbdFrame) -> dict[str, Any]:
    points, colours = coloured_points(frame)
    return {"points": points, "colours": colours}


def demonstrated(demo: Demonstration, i: int, grasp: str) -> Snapshot:
    """Sample `i` of a demonstration and its grasp, without points."""
    axis = {name: demo.turns[name][i, :, 2] for name in demo.heights}
    objects = tuple(
        ObjectEstimate(
            name, "", path[i] + (0.5 * demo.heights[name] * axis[name] if name in axis else 0.0), demo.radii[name], 1.0,
            demo.attributes[name], demo.heights.get(name), axis.get(name),
        )
        for name, path in demo.objects.items()
    )  # fmt: skip
    lost = "" if demo.seen[i] else ", **nobody is seen**"
    aperture = f"{1e3 * demo.aperture[i]:.0f} mm" if np.isfinite(demo.aperture[i]) else "unknown"
    held = f" {demo.held[i]}" if demo.held[i] else ""
    text = f"t = {demo.t[i]:.2f} s{lost}\n\n{demo.side} hand: {grasp}{held}, aperture {aperture}"
    nothing = np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8)
    return Snapshot(*nothing, demo.p_world[i], demo.covariance[i], objects, text)


def play(page: ViewPage, t: np.ndarray, rows: list[Snapshot], seconds: float | None = None) -> None:
    """Show samples at times `t` [s] as the controls say, for so many seconds or for ever."""
    player = page.add_player(float(t[-1]), float(np.median(np.diff(t))))
    say(f"open {page.address} in a browser; Ctrl-C ends it")
    shown, begin = -1, time.monotonic()
    last = begin
    while seconds is None or time.monotonic() - begin < seconds:
        now = time.monotonic()
        i = int(np.abs(t - player.advance(now - last)).argmin())
        last = now
        if i != shown:
            page.show(rows[i])
            shown = i
        time.sleep(TICK)


# -- a live camera ----------------------------------------------------------------------------------------------------


def show_camera(page: ViewPage, camera: Callable[[], Iterable[RgbdFrame]], seconds: float | None = None) -> None:
    """Show what is perceived in the newest frame, over and over, for so many seconds or until the camera ends."""
    stream, begin, shown = LiveStream(), time.monotonic(), 0
    say(f"open {page.address} in a browser; Ctrl-C ends it")
    try:
        with LatestFrame(camera) as frames:
            for frame in frames:
                keypoints = stream.step(frame)
                if keypoints is not None:
                    if not shown:
                        look_through(page, frame)
                    shown += 1
                    rate = shown / (time.monotonic() - begin)
                    page.show(
                        seen(frame, keypoints, f"{rate:.1f} frames/s, {frames.dropped} dropped", stream.health.problems())
                    )
                if seconds is not None and time.monotonic() - begin >= seconds:
                    return
            say(f"the camera ended after {frames.received} frames, {frames.dropped} of which were dropped")
    finally:
        stream.close()
    while seconds is None or time.monotonic() - begin < seconds:  # its last picture stays
        time.sleep(TICK)


def seen(frame: RgbdFrame, keypoints: KeypointFrame, pace: str, problems: Mapping[str, int]) -> Snapshot:
    """What is shown of a live frame."""
    text = pace if keypoints.person else f"{pace}\n\n**nobody is seen**"
    for side, hand in keypoints.hands.items():
        aperture = f", aperture {1e3 * hand.aperture:.0f} mm" if np.isfinite(hand.aperture) else ""
        text += f"\n\n{side} hand: {hand.grasp}{aperture}"
    if problems:
        text += "\n\nunusable: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in problems.items())
    return Snapshot(*coloured_points(frame), keypoints.p_world, keypoints.covariance, keypoints.objects, text)


def look_through(page: ViewPage, frame: RgbdFrame) -> None:
    """Let visitors begin at the camera, and turn about what is in the middle of its picture."""
    middle = np.nan if frame.depth is None else float(np.nanmedian(np.append(frame.depth[::8, ::8], 1.0)))
    T = np.eye(4) if frame.T_world_camera is None else frame.T_world_camera
    page.look_through(T, frame.intrinsics, middle if np.isfinite(middle) else 1.0)
