"""What the hand carries, as a part of the arm: when along a motion, and how large.

A thing in the hand is a ball around the tool's centre. While it is taken and while it is put down it touches what it lies on,
so it counts from where it was lifted by `LIFT` to where it is that far from its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from visual_irl.errors import InvalidInput
from visual_irl.robots.model import RobotModel
from visual_irl.robots.obstacles import Carried
from visual_irl.types import JointTrajectory

LIFT = 0.05
"""How far from where it is taken, and put, a thing touches nothing any more [m]."""


class Held(NamedTuple):
    """Something is in the hand from `begin` to `end` on a motion's clock [s]."""

    begin: float
    end: float
    carried: Carried


def held_along(
    trajectory: JointTrajectory, robot: RobotModel, rows: Iterable[tuple[float, float, Carried]]
) -> tuple[Held, ...]:
    """The parts of a motion in which what is carried counts, from when each thing is in the hand.

    Raises:
        InvalidInput: a thing is held before it is taken.
    """
    out = []
    for begin, end, carried in rows:
        if not begin <= end:
            raise InvalidInput(f"'{carried.name}' is held from {begin} s to {end} s: expected an end after the beginning")
        inside = np.flatnonzero((trajectory.t >= begin) & (trajectory.t <= end))
        if len(inside) < 2:
            continue
        p = np.array([robot.fk(trajectory.q[k])[:3, 3] for k in inside])
        away = (np.linalg.norm(p - p[0], axis=1) >= LIFT) & (np.linalg.norm(p - p[-1], axis=1) >= LIFT)
        if away.any():
            first, last = inside[np.flatnonzero(away)[[0, -1]]]
            out.append(Held(float(trajectory.t[first]), float(trajectory.t[last]), carried))
    return tuple(out)


def parts(begin: float, end: float, held: Sequence[Held]) -> list[tuple[float, float, Carried | None]]:
    """The time from `begin` to `end` [s], cut where something comes into the hand or leaves it.

    Raises:
        InvalidInput: two things are held at once, or they are not told in their order.
    """
    out: list[tuple[float, float, Carried | None]] = []
    at = begin
    for row in held:
        if not row.begin >= at - 1e-9 and out:
            raise InvalidInput(f"'{row.carried.name}' is held from {row.begin:.3f} s on, when another thing still is")
        first, last = min(max(row.begin, begin), end), min(max(row.end, begin), end)
        if first > at:
            out.append((at, first, None))
        if last > first:
            out.append((first, last, row.carried))
        at = max(at, last)
    if at < end or not out:
        out.append((at, end, None))
    return out
