"""Targets that an arm surely reaches."""

from __future__ import annotations

import numpy as np

from visual_irl.mapping.targets import ArmTargets
from visual_irl.robots import load_robot


def targets_along(name: str, frames: int = 60, seed: int = 0) -> ArmTargets:
    """Targets that the arm itself reaches, moving smoothly from home; limbs as a person's would not quite be."""
    robot, rng = load_robot(name), np.random.default_rng(seed)
    t = np.arange(frames) / 60.0
    sway = rng.uniform(0.1, 0.3, len(robot.home)) * np.sin(rng.uniform(1.0, 4.0, len(robot.home)) * t[:, None])
    q = np.clip(robot.home + sway, robot.lower + 0.1, robot.upper - 0.1)
    Ts = np.array([robot.fk(row) for row in q])
    upper, fore = (np.tile(v / np.linalg.norm(v), (frames, 1)) for v in rng.normal(size=(2, 3)))
    return ArmTargets(t, Ts[:, :3, :3], Ts[:, :3, 3], upper, fore, np.tile(robot.home, (frames, 1)), np.zeros(frames, bool))
