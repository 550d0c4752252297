"""What a robot at work knows of the vessels before it: what a camera of its cell sees of them, and has seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visual_irl import se3
from visual_irl.errors import NotSeen
from visual_irl.evaluation.episodes.cell_camera import pictures
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.perception.objects.vessels import VesselDetector
from visual_irl.policy.pour_path import Standing
from visual_irl.types import ObjectEstimate, RgbdFrame

PICTURES = 6
"""Pictures of a look: a detector that has seen a vessel stand in three of them finds it again when it is half hidden."""
UPRIGHT = float(np.radians(10.0))
"""What leans less stands [rad]."""
ON_TABLE = 0.02
"""The foot of what stands is this near to the table top [m]."""
BEYOND = 0.03
"""What is seen so far behind a place is seen through it [m]: nothing is there."""


class VesselSight:
    """The vessel detector on pictures of the cell's RGB-D camera, with a sensor's noise; nothing else is known of the scene.

    One that is hidden, by the arm or by another, is thought to be where it was seen last; one that is not there any more, and
    is not seen elsewhere, is unknown.
    """

    def __init__(self, executor: MujocoExecutor, names: Sequence[str], rng: np.random.Generator) -> None:
        """`names` are the vessels' classes: one of each is there."""
        self._executor, self._names, self._rng = executor, names, rng
        self._detector = VesselDetector()
        self._last: dict[str, ObjectEstimate] = {}

    def look(self) -> None:
        """Look at the cell as it stands.

        Raises:
            NotSeen: at the first look, several things may be the same vessel.
        """
        for frame in pictures(self._executor, self._rng, PICTURES):
            seen = self._detector.detect(frame)
        for name in self._names:
            mine, last = [e for e in seen if e.label == name], self._last.get(name)
            if len(mine) > 1 and last is None:
                places = ", ".join(f"({e.p_world[0]:.2f}, {e.p_world[1]:.2f})" for e in mine)
                raise NotSeen(f"{len(mine)} things that look like '{name}' are seen, at {places} m: leave one on the table")
            if mine:
                self._last[name] = mine[0] if last is None else min(mine, key=lambda e: _apart(e, last))
            elif last is not None and _is_gone(last, frame):
                del self._last[name]

    def standing(self, name: str) -> Standing:
        """A vessel as it stands.

        Raises:
            NotSeen: it was never seen, is not where it was, or does not stand.
        """
        known = self._last.get(name)
        if known is None:
            there = ", ".join(sorted(self._last)) or "no vessel"
            raise NotSeen(f"no '{name}' is seen, but {there}: put it upright where the camera sees it, apart from other things")
        assert known.axis is not None and known.height is not None
        lean = float(np.arccos(np.clip(known.axis[2], -1.0, 1.0)))
        foot = known.p_world - 0.5 * known.height * known.axis
        if not (lean < UPRIGHT and abs(foot[2]) < ON_TABLE):
            where = f"leans {np.degrees(lean):.0f} degrees, its foot is {foot[2]:.2f} m over it"
            raise NotSeen(f"'{name}' does not stand on the table: it {where}; put it up")
        return Standing(name, foot, known.height, known.radius)


def _apart(a: ObjectEstimate, b: ObjectEstimate) -> float:
    return float(np.linalg.norm(a.p_world - b.p_world))


def _is_gone(thing: ObjectEstimate, frame: RgbdFrame) -> bool:
    """Whether the camera looks through where a thing was: nothing hides it, and it is not there."""
    assert thing.axis is not None and thing.height is not None and frame.depth is not None and frame.T_world_camera is not None
    k, T_camera_world = frame.intrinsics, se3.inverse(frame.T_world_camera)
    along, across = thing.height * thing.axis, np.cross(thing.axis, T_camera_world[2, :3])
    across = thing.radius * across / np.linalg.norm(across)
    grid = [thing.p_world + a * along + b * across for a in (-0.3, 0.0, 0.3) for b in (-0.6, 0.0, 0.6)]
    p_camera = se3.apply(T_camera_world, np.array(grid))
    u, v = np.round(k.project(p_camera)).astype(int).T
    inside = (u >= 0) & (u < k.width) & (v >= 0) & (v < k.height)
    through = frame.depth[v[inside], u[inside]] > p_camera[inside, 2] + BEYOND  # NaN is not known, and says nothing
    return bool(through.sum() > len(grid) // 2)
