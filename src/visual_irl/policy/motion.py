"""How the demonstrator's hand moves between places: speed profile, arc, duration and elbow swivel, taken from the frames.

A segment between two places is described relative to the straight line between its ends (progress along it, and the
offset from it to the side and up), averaged over the demonstrations, and replayed between any two other ends, which it
meets exactly: the endpoint-preserving part of movement primitives (Ijspeert et al. 2013) without their dynamics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.ndimage import gaussian_filter1d

from visual_irl.errors import InvalidInput, LearningFailed
from visual_irl.policy.motion_file import Packed, require_array
from visual_irl.types import require_side

SMOOTH_SECONDS = 0.04
"""Standard deviation of the window that takes noise off the hand's path, at any frame rate [s]."""
LONGEST = 600.0
"""No movement and no rest of a demonstration is longer [s]."""
SAMPLES = 60
"""Samples of a normalised segment."""
PHASES = ("reach", "inspect", "carry", "place", "return")
"""Kinds of segments: to an object, to the inspection place, from it (or at once) over a fixture, back to rest."""


@dataclass(frozen=True)
class MotionLibrary:
    """Mean segment of each phase, and where and how long the hand rests.

    `shape` rows: progress along the line in [0, 1], offset to the side and up as a share of its length.
    """

    shape: Mapping[str, Float[ndarray, "S 3"]]
    swivel: Mapping[str, Float[ndarray, "S"]]
    """Elbow swivel along each phase [rad]."""
    speed: Mapping[str, tuple[float, float]]
    """Duration as a line over the distance: seconds, seconds per metre."""
    dwell: float
    """Time at the inspection place [s]."""
    rest: Float[ndarray, "3"]
    """Where the hand rests [m]."""
    shoulder: Float[ndarray, "3"]
    """The demonstrator's shoulder [m]."""
    upper_length: float
    """Upper arm [m]."""
    fore_length: float
    """Forearm [m]."""
    side: str

    def __post_init__(self) -> None:
        require_side(self.side)
        if not self.shape or not self.shape.keys() == self.swivel.keys() == self.speed.keys():
            told = "; ".join(", ".join(part) or "nothing" for part in (self.shape, self.swivel, self.speed))
            raise InvalidInput(f"shape, swivel and duration are of different phases: {told}")
        for phase in self.shape:
            require_array(f"shape of '{phase}'", self.shape[phase], (SAMPLES, 3), -100.0, 100.0)
            require_array(f"swivel of '{phase}'", self.swivel[phase], (SAMPLES,), -10.0, 10.0)
            require_array(f"duration of '{phase}'", self.speed[phase], (2,), -LONGEST, LONGEST)
        require_array("dwell", self.dwell, (), 0.0, LONGEST)
        for what, place in (("rest", self.rest), ("shoulder", self.shoulder)):
            require_array(what, place, (3,), -10.0, 10.0)
        for what, length in (("upper arm", self.upper_length), ("forearm", self.fore_length)):
            require_array(what, length, (), 0.05, 1.0)

    def segment(
        self, phase: str, p0: Float[ndarray, "3"], p1: Float[ndarray, "3"], rate: float
    ) -> tuple[Float[ndarray, "N 3"], Float[ndarray, "N"]]:
        """Hand path [m] from `p0` to `p1` at `rate` [1/s] without its first sample, and the swivel [rad] along it."""
        name = phase if phase in self.shape else next(iter(self.shape))
        line = p1 - p0
        length = float(np.linalg.norm(line))
        offset, slope = self.speed[name]
        samples = max(4, round(max(0.3, offset + slope * length) * rate))
        phase_time = np.linspace(0.0, 1.0, samples + 1)[1:]
        grid = np.linspace(0.0, 1.0, SAMPLES)
        s, across, up = (np.interp(phase_time, grid, self.shape[name][:, k]) for k in range(3))
        across_axis, up_axis = _line_frame(line)
        path = p0 + s[:, None] * line + length * (across[:, None] * across_axis + up[:, None] * up_axis)
        return path, np.interp(phase_time, grid, self.swivel[name])

    def packed(self) -> Packed:
        """For a file."""
        arrays = {f"shape:{k}": v for k, v in self.shape.items()} | {f"swivel:{k}": v for k, v in self.swivel.items()}
        numbers = {
            "speed": dict(self.speed),
            "dwell": self.dwell,
            "upper_length": self.upper_length,
            "fore_length": self.fore_length,
            "side": self.side,
        }
        return Packed(arrays | {"rest": self.rest, "shoulder": self.shoulder}, numbers)

    @classmethod
    def unpacked(cls, packed: Packed) -> MotionLibrary:
        """From a file."""
        named: dict[str, dict[str, ndarray]] = {"shape": {}, "swivel": {}}
        for key, array in packed.arrays.items():
            group, _, name = key.partition(":")
            if name:
                named[group][name] = array
        numbers = dict(packed.numbers)
        speed = {k: (float(a), float(b)) for k, (a, b) in numbers.pop("speed").items()}
        rest, shoulder = packed.arrays["rest"], packed.arrays["shoulder"]
        return cls(named["shape"], named["swivel"], speed, rest=rest, shoulder=shoulder, **numbers)


@dataclass(frozen=True)
class ObservedMotion:
    """What a library is learned from: one demonstration's hand, swivel, and what it does when."""

    t: Float[ndarray, "T"]
    hand: Float[ndarray, "T 3"]
    swivel: Float[ndarray, "T"]
    shoulder: Float[ndarray, "T 3"]
    upper_length: float
    fore_length: float
    side: str
    segments: Sequence[tuple[str, int, int]]
    """Phase, first and last frame of every movement between two places."""
    dwells: Sequence[float] = ()
    """How long the hand rests at the inspection place [s]."""


def learn_motion(demonstrations: Sequence[ObservedMotion]) -> MotionLibrary:
    """The mean motion of some demonstrations.

    Raises:
        LearningFailed: demonstrations of both arms are mixed, or none holds a usable segment.
    """
    sides = {d.side for d in demonstrations}
    if len(sides) != 1:
        raise LearningFailed("the demonstrations mix left and right arms; learn one skill for each side")
    collected: dict[str, list[tuple[ndarray, ndarray, float, float]]] = {phase: [] for phase in PHASES}
    dwells: list[float] = []
    for d in demonstrations:
        hand = _without_noise(d.t, d.hand)
        for phase, first, last in d.segments:
            a, b = _moving_part(d.t, d.hand, first, min(last, len(d.t) - 1))
            if b - a >= 4 and np.linalg.norm(hand[b] - hand[a]) > 0.05:
                collected[phase].append(_normalised(d.t[a : b + 1], hand[a : b + 1], d.swivel[a : b + 1]))
        dwells += d.dwells
    collected = {phase: rows for phase, rows in collected.items() if rows}
    if "reach" not in collected:
        raise LearningFailed(
            "no demonstration shows a hand that reaches for an object over more than 5 cm: begin with the hand farther away"
        )
    return MotionLibrary(
        shape={phase: np.mean([r[0] for r in rows], axis=0) for phase, rows in collected.items()},
        swivel={phase: np.mean([r[1] for r in rows], axis=0) for phase, rows in collected.items()},
        speed={phase: _duration_line(rows) for phase, rows in collected.items()},
        dwell=float(np.mean(dwells)) if dwells else 0.0,
        rest=np.mean([d.hand[:3].mean(axis=0) for d in demonstrations], axis=0),
        shoulder=np.mean([np.median(d.shoulder, axis=0) for d in demonstrations], axis=0),
        upper_length=float(np.mean([d.upper_length for d in demonstrations])),
        fore_length=float(np.mean([d.fore_length for d in demonstrations])),
        side=sides.pop(),
    )


def _without_noise(t: ndarray, p: ndarray) -> ndarray:
    smooth: ndarray = gaussian_filter1d(p, SMOOTH_SECONDS / float(np.median(np.diff(t))), axis=0, mode="nearest")
    return smooth


def _moving_part(t: ndarray, hand: ndarray, a: int, b: int) -> tuple[int, int]:
    """The part of frames [a, b] that moves: rests before the first and after the last 5 % of the top speed are cut."""
    if b - a < 4:
        return a, b
    speed = np.linalg.norm(np.gradient(_without_noise(t[a : b + 1], hand[a : b + 1]), t[a : b + 1], axis=0), axis=1)
    moving = np.nonzero(speed > 0.08 * speed.max())[0]
    return a + int(moving[0]), a + int(moving[-1])


def _normalised(t: ndarray, p: ndarray, swivel: ndarray) -> tuple[ndarray, ndarray, float, float]:
    """Shape (S, 3), swivel (S,), length [m] and duration [s] of one movement; the shape's ends are exact."""
    line = p[-1] - p[0]
    length = float(np.linalg.norm(line))
    across_axis, up_axis = _line_frame(line)
    relative = (p - p[0]) / length
    columns = np.stack([relative @ line / length, relative @ across_axis, relative @ up_axis], axis=1)
    time = (t - t[0]) / (t[-1] - t[0])
    grid = np.linspace(0.0, 1.0, SAMPLES)
    shape = np.stack([np.interp(grid, time, columns[:, k]) for k in range(3)], axis=1)
    shape[:, 0] = np.maximum.accumulate(np.clip(shape[:, 0], 0.0, 1.0))
    shape[0], shape[-1] = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0)
    return shape, np.interp(grid, time, swivel), length, float(t[-1] - t[0])


def _duration_line(rows: list[tuple[ndarray, ndarray, float, float]]) -> tuple[float, float]:
    """Duration over distance: the mean of both for few or equal distances, else a line that never falls."""
    lengths, durations = np.array([r[2] for r in rows]), np.array([r[3] for r in rows])
    if len(rows) < 3 or lengths.std() < 0.03:
        return 0.0, float(durations.sum() / lengths.sum())
    slope = float(np.polyfit(lengths, durations, 1)[0])
    slope = float(np.clip(slope, 0.0, durations.mean() / lengths.mean()))
    return float(durations.mean() - slope * lengths.mean()), slope


def _line_frame(line: ndarray) -> tuple[ndarray, ndarray]:
    """Horizontal normal of a line, and the normal of both that points up."""
    direction = line / max(float(np.linalg.norm(line)), 1e-9)
    across = np.cross([0.0, 0.0, 1.0], direction)
    if np.linalg.norm(across) < 1e-3:
        across = np.array([0.0, 1.0, 0.0])
    across /= np.linalg.norm(across)
    return across, np.cross(direction, across)
