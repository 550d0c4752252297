"""Pictures of results: learned reward over time, human arm against robot arm, contact sheets, and a replay as MP4."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import av
import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.figure import Figure
from numpy import ndarray
from PIL import Image, ImageDraw

from visual_irl.io.atomic import atomic_path
from visual_irl.mapping.retarget import MappingReport
from visual_irl.mapping.targets import mirrored_upwards
from visual_irl.types import HumanArmTrajectory

matplotlib.use("Agg")
HUMAN, ROBOT, MUTED = "#c2452d", "#1f6fb4", "#888888"
EXACT_MM = 1.0
"""What counts as an exact hand [mm]; an axis of errors reaches to it, so that rounding does not look like an error."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, atomically."""
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=110, format="png", bbox_inches="tight")


def plot_reward(path: Path, t: Float[ndarray, "T"], reward: Float[ndarray, "T"], held: Sequence[str], title: str) -> None:
    """The learned reward of every step of a demonstration, and its sum, with the time in which an object is held."""
    figure = Figure(figsize=(10, 4))
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(t, reward, color=HUMAN, lw=1)
    upper.set_ylabel("reward a step")
    lower.plot(t, np.cumsum(reward), color=ROBOT)
    lower.set_ylabel("sum so far")
    lower.set_xlabel("time [s]")
    holding = np.array([bool(h) for h in held])
    for axis in (upper, lower):
        low, high = axis.get_ylim()
        axis.fill_between(t, low, high, where=holding, color="#e8d9a8", alpha=0.6, lw=0, label="object in hand")
        axis.set_ylim(low, high)
    upper.legend(loc="upper right", fontsize=8)
    upper.set_title(title, fontsize=10)
    save_figure(figure, path)


def plot_weights(path: Path, names: Sequence[str], theta: Float[ndarray, "F"]) -> None:
    """The learned weight of every feature."""
    figure = Figure(figsize=(7, 0.32 * len(names) + 0.8))
    axis = figure.subplots()
    axis.barh(np.arange(len(names)), theta, color=[ROBOT if w > 0 else HUMAN for w in theta])
    axis.set_yticks(np.arange(len(names)), [n.replace("_", " ") for n in names], fontsize=8)
    axis.invert_yaxis()
    axis.axvline(0.0, color="black", lw=0.8)
    axis.set_xlabel("learned weight")
    save_figure(figure, path)


def plot_arms(
    path: Path, arm: HumanArmTrajectory, report: MappingReport, robot: str, elbow_up: bool = False, moments: int = 4
) -> None:
    """Human arm against robot arm at some moments, from the side and from above; with `elbow_up` also the human's upper arm as
    it is compared, mirrored upwards."""
    figure = Figure(figsize=(3.1 * moments, 6.6), layout="constrained")
    rows = np.linspace(0.08, 0.92, moments) * (len(arm.t) - 1)
    human = np.stack([arm.shoulder, arm.elbow, arm.wrist, arm.Ts_world_hand[:, :3, 3]], axis=1)
    upwards = np.stack([arm.shoulder, arm.shoulder + mirrored_upwards(arm.elbow - arm.shoulder)], axis=1)
    drawn = [human, report.robot_points, *([upwards] if elbow_up else [])]
    both = np.concatenate(drawn, axis=1)[rows.astype(int)].reshape(-1, 3)
    low, high = both.min(axis=0) - 0.08, both.max(axis=0) + 0.08
    for column, k in enumerate(rows.astype(int)):
        for row, (i, j, name) in enumerate([(0, 2, "from the side"), (1, 0, "from above")]):
            axis = figure.add_subplot(2, moments, row * moments + column + 1)
            for points, colour, label in ((human[k], HUMAN, "human"), (report.robot_points[k], ROBOT, robot)):
                axis.plot(points[:, i], points[:, j], "o-", color=colour, lw=3, ms=5, label=label)
            if elbow_up:
                label = "upper arm as it is compared, mirrored upwards"
                axis.plot(*upwards[k][:, [i, j]].T, "o--", color=HUMAN, lw=1.5, ms=3, label=label)
            axis.plot(*human[k, 3, [i, j]], "x", color="black", ms=9, label="hand target")
            axis.set_xlim(low[i], high[i])
            axis.set_ylim(low[j], high[j])
            axis.set_aspect("equal")
            if i == 1:
                axis.invert_xaxis()  # +y is the person's left: drawn as the person sees it
            axis.set_title(f"{name}, t = {arm.t[k]:.1f} s", fontsize=8)
            axis.tick_params(labelsize=6)
            axis.set_xlabel(f"{'xyz'[i]} [m]", fontsize=7)
            if column == 0:
                axis.set_ylabel(f"{'xyz'[j]} [m]", fontsize=7)
    figure.legend(*axis.get_legend_handles_labels(), fontsize=8, loc="outside upper center", ncols=4)
    save_figure(figure, path)


def plot_tracking(path: Path, report: MappingReport) -> None:
    """The hand's error and the limbs' angles over time."""
    figure = Figure(figsize=(10, 4))
    upper, lower = figure.subplots(2, 1, sharex=True)
    upper.plot(report.t, report.position_error * 1e3, color=ROBOT, label="hand")
    top = max(EXACT_MM, 1.08e3 * float(report.position_error.max()))
    upper.set_ylim(-0.05 * top, top)
    upper.set_ylabel("hand error [mm]")
    for limb, error, colour in (("upper arm", report.upper_error, HUMAN), ("forearm", report.fore_error, ROBOT)):
        lower.plot(report.t, np.degrees(error), color=colour, label=limb)
    lower.set_ylim(bottom=0.0)
    lower.set_ylabel("angle to human's [deg]")
    lower.set_xlabel("time [s]")
    lower.set_xlim(report.t[0], report.t[-1])
    if not report.reachable.all():
        across = upper.get_xaxis_transform()
        out = {"where": ~report.reachable, "color": HUMAN, "alpha": 0.3, "lw": 0, "label": "out of reach"}
        upper.fill_between(report.t, 0, 1, transform=across, **out)
    for k, moment in enumerate(report.t[1:][~report.joined[1:]]):
        for axis in (upper, lower):
            axis.axvline(moment, color=MUTED, lw=0.8, ls=":", label="branch changed" if k == 0 else None)
    for axis in (upper, lower):
        axis.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    save_figure(figure, path)


def contact_sheet(path: Path, images: Sequence[UInt8[ndarray, "H W 3"]], labels: Sequence[str], columns: int = 4) -> None:
    """Equal pictures in a grid, each with its label, as PNG."""
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for k, (image, label) in enumerate(zip(images, labels, strict=True)):
        tile = Image.fromarray(image)
        draw = ImageDraw.Draw(tile)
        draw.rectangle((0, 0, 7 * len(label) + 10, 18), fill=(0, 0, 0))
        draw.text((5, 3), label, fill=(255, 255, 255))
        sheet.paste(tile, ((k % columns) * width, (k // columns) * height))
    with atomic_path(path) as partial:
        sheet.save(partial, format="PNG")


class Mp4Writer:
    """Writes frames of one size as H.264, playable in browsers; the file appears when the block ends without an error."""

    def __init__(self, path: Path, fps: int, width: int, height: int) -> None:
        self.path, self.fps, self.width, self.height = path, fps, width, height

    def __enter__(self) -> Mp4Writer:
        with ExitStack() as stack:
            partial = stack.enter_context(atomic_path(self.path))
            self._container = stack.enter_context(av.open(str(partial), "w", format="mp4"))
            self._open = stack.pop_all()
        self._stream = self._container.add_stream("libx264", rate=self.fps)
        self._stream.width, self._stream.height = self.width, self.height
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "26", "preset": "veryfast"}
        return self

    def write(self, image: UInt8[ndarray, "H W 3"]) -> None:
        """Add one frame."""
        for packet in self._stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")):
            self._container.mux(packet)

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        if kind is not None:
            self._open.__exit__(kind, value, trace)
            return
        with self._open:  # a disk may be full now: the file is named, and what there is of it goes
            for packet in self._stream.encode():
                self._container.mux(packet)
