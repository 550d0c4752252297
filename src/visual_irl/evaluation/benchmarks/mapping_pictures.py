"""One picture a mapped motion: the human arm and the robot's side by side at a few moments, and the joint angles over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure
from numpy import ndarray

from visual_irl.evaluation.pictures import HUMAN, MUTED, ROBOT, save_figure
from visual_irl.robots.model import RobotModel
from visual_irl.types import HumanArmTrajectory

MOMENTS = 6
"""How many moments are drawn."""
ROBOTS = (ROBOT, "#3d8f57")
"""Colours of the mapped arms."""
VIEW = {"elev": 18.0, "azim": -35.0}
"""Seen from in front of the person, to their right and a little above [deg]."""
STYLES = ("-", "--")
"""Lines of the mapped paths' joint angles."""


def plot_mapping(
    path: Path,
    arm: HumanArmTrajectory,
    robot: RobotModel,
    T_world_base: Float[ndarray, "4 4"],
    paths: Mapping[str, Float[ndarray, "T J"]],
    start: Bool[ndarray, "T"],
    reachable: Bool[ndarray, "T"],
) -> None:
    """Draw an arm, scaled as the robot followed it, and one or two paths of joint angles [rad] that map it."""
    rows = (np.linspace(0.04, 0.96, MOMENTS) * (len(arm.t) - 1)).astype(int)
    human = np.stack([arm.shoulder, arm.elbow, arm.wrist, arm.Ts_world_hand[:, :3, 3]], axis=1)[rows]
    mapped = {name: np.array([_robot_points(robot, T_world_base, q[k]) for k in rows]) for name, q in paths.items()}
    everything = np.concatenate([human, *mapped.values()]).reshape(-1, 3)
    centre, half = 0.5 * (everything.min(axis=0) + everything.max(axis=0)), 0.5 * float(np.ptp(everything, axis=0).max())
    figure = Figure(figsize=(2.6 * MOMENTS, 9.5))
    grid = figure.add_gridspec(3, MOMENTS, height_ratios=[1.0, 1.0, 1.3], hspace=0.12, wspace=0.02)
    for column, k in enumerate(rows):
        for row in range(2):
            axis: Any = figure.add_subplot(grid[row, column], projection="3d")
            _polyline(axis, human[column], HUMAN if row == 0 else MUTED, "human arm, scaled", 4.0 if row == 0 else 1.5)
            if row == 1:
                for (name, points), colour, style in zip(mapped.items(), ROBOTS, STYLES, strict=False):
                    _polyline(axis, points[column], colour, f"{robot.name}, {name.replace('_', ' ')}", 4.0, style)
            axis.scatter(*human[column, 3], color="black", marker="x", s=40, label="hand target")
            for set_limits, c in zip((axis.set_xlim, axis.set_ylim, axis.set_zlim), centre, strict=True):
                set_limits(c - half, c + half)
            axis.set_box_aspect((1, 1, 1), zoom=1.25)
            axis.view_init(**VIEW)
            axis.tick_params(labelbottom=False, labelleft=False, labelright=False, labeltop=False, length=0)
            if row == 0:
                axis.set_title(f"t = {arm.t[k]:.2f} s", fontsize=9)
            if column == 0:
                axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(-0.15, 1.0))
    _joint_angles(figure.add_subplot(grid[2, :]), arm.t, robot, paths, start, reachable, arm.t[rows])
    save_figure(figure, path)


def _robot_points(robot: RobotModel, T_world_base: ndarray, q: ndarray) -> Float[ndarray, "4 3"]:
    """Shoulder, elbow, wrist and tool of a robot in the world [m]."""
    names = (robot.shoulder_frame, robot.elbow_frame, robot.wrist_frame, robot.tcp_frame)
    return np.array([(T_world_base @ robot.fk(q, name))[:3, 3] for name in names])


def _polyline(axis: Any, points: ndarray, colour: str, label: str, width: float, style: str = "-") -> None:
    axis.plot(*points.T, "o", ls=style, color=colour, lw=width, ms=1.5 * width, label=label)


def _joint_angles(
    axis: Any,
    t: ndarray,
    robot: RobotModel,
    paths: Mapping[str, ndarray],
    start: ndarray,
    reachable: ndarray,
    moments: ndarray,
) -> None:
    """All joints in one plot; lines break between segments."""
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for (name, q), style in zip(paths.items(), STYLES, strict=False):
        broken = np.insert(q, np.nonzero(start)[0], np.nan, axis=0)
        times = np.insert(t, np.nonzero(start)[0], t[start])
        for j, joint in enumerate(robot.joint_names):
            label = joint if style == "-" else None
            axis.plot(times, broken[:, j], style, color=colours[j % 10], lw=1.2, label=label)
        axis.plot([], [], style, color="black", label=name.replace("_", " "))
    if not reachable.all():
        across = axis.get_xaxis_transform()
        axis.fill_between(t, 0, 1, where=~reachable, color=HUMAN, alpha=0.25, lw=0, transform=across, label="out of reach")
    for moment in moments:
        axis.axvline(moment, color=MUTED, lw=0.8, ls=":")
    axis.set_xlim(t[0], t[-1])
    axis.set_xlabel("time [s]")
    axis.set_ylabel("joint angle [rad]")
    axis.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
