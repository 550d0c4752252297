"""Bottles, cups and the like in RGB-D pictures: where they are, how large, and how they are tilted.

A vessel is known when it has stood on the table by itself: a piece of the depth picture that is an upright cylinder of a
class's size. Its colours are learned there, against those of what else stands out of the table. From then on it is found in
the hand as well: pixels of its colours near to where it was, and the cylinder of its size through them. What is hidden is not
reported, but remembered; it is found again where it stands, or near to where it was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl import se3
from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.perception.objects.cylinder_fit import UP, Cylinder, fit_held, fit_standing, straightness
from visual_irl.perception.objects.pieces import connected_pieces, extent
from visual_irl.perception.objects.raised_pixels import COLOURS, RaisedPixels, raised_pixels
from visual_irl.types import Intrinsics, ObjectEstimate, RgbdFrame


@dataclass(frozen=True)
class VesselClass:
    """A kind of vessel by its size: radius and height [m], and height over width."""

    label: str
    radius: tuple[float, float]
    height: tuple[float, float]
    slenderness: tuple[float, float]

    def fits(self, radius: float, height: float) -> bool:
        """Whether a cylinder may be of this kind."""
        bounds = ((radius, self.radius), (height, self.height), (0.5 * height / radius, self.slenderness))
        return all(low <= value < high for value, (low, high) in bounds)


@dataclass(frozen=True)
class VesselDetectorConfig:
    """What vessels look like and where to look for them."""

    classes: tuple[VesselClass, ...] = (
        VesselClass("bottle", (0.014, 0.065), (0.09, 0.36), (1.7, 9.0)),
        VesselClass("cup", (0.022, 0.080), (0.045, 0.18), (0.45, 1.7)),
    )
    """The first one that fits is taken."""
    lower: tuple[float, float, float] = (-0.15, -0.80, 0.008)
    """Corner of the volume that is searched [m, world]; z keeps the table and its noise out."""
    upper: tuple[float, float, float] = (0.80, 0.80, 0.75)
    """The opposite corner [m, world]."""
    step: int = 2
    """Every so many rows and columns are looked at."""
    depth_sigma: float = 0.003
    """Depth noise at arm's length [m]: RealSense D435, about 2 mm at 1 m plus edges."""
    depth_jump: float = 0.018
    """A step between neighbouring looked-at pixels that separates two things [m]."""
    least_points: int = 40
    """Fewer looked-at pixels are noise."""
    contrast: int = 2
    """A step between neighbours in the shares of red or green that may separate a vessel from a hand [bins of 1/32]."""
    lowest: float = 0.02
    """What stands on the table is seen down to this height [m] at least; below it a thing may stand in front."""
    foreign: float = 0.12
    """Share of a piece that may lie outside of its cylinder: more, and it is something else, or a hand is at it."""
    straight: float = 0.75
    """Share of a piece's front that must lie on the cylinder's side; a ball's is less, and a bottle's neck takes some."""
    radius_sigma: float = 0.004
    """Standard deviation of a standing vessel's radius about half the width that is seen [m]."""
    odds: float = 0.5
    """A pixel belongs to a vessel when its colour is this probable there, against what else stands out of the table."""
    confirmed: int = 3
    """Pictures in which a vessel must have stood alone before it is looked for in a hand."""
    forgotten: float = 60.0
    """A vessel that is not seen for so long is no longer looked for [s]; one that never stood long enough, for a second."""
    fitted: int = 200
    """Of so many points at most a vessel in a hand is fitted: neighbours share their noise."""
    speed: float = 1.2
    """A vessel in a hand moves no faster [m/s] ..."""
    reach: float = 0.05
    """... and is looked for this much further from where it was [m], ..."""
    farthest: float = 0.40
    """... but never further than this [m]."""
    shift_sigma: float = 0.02
    """Standard deviation of where the seen part of a vessel leads it, against where it is [m] ..."""
    turn_sigma: float = 0.25
    """... and of its turn from one picture to the next [rad]."""
    still: float = 0.25
    """Share of a standing vessel's outline that must be seen in its place and colours to say that it has not moved."""

    def __post_init__(self) -> None:
        place, length, count = (-10.0, 10.0), (1e-4, 0.5), (1, 1_000_000)
        require_within(
            self, 0.0, 1.0, lower=place, upper=place, step=(1, 16), depth_sigma=length, depth_jump=length, least_points=count,
            contrast=(0, 32), radius_sigma=length, confirmed=(1, 1000), forgotten=(0.0, 3600.0), fitted=(10, 100_000),
            speed=(0.0, 20.0), farthest=(0.0, 5.0), shift_sigma=length, turn_sigma=(1e-3, 10.0),
        )  # fmt: skip

    least_seen: float = 0.10
    """Share of a vessel's outline that must be seen to tell where it is."""
    leaning: float = 0.10
    """A vessel that leans less than this and whose foot is on the table stands [rad]."""

    def build(self) -> VesselDetector:
        """The detector."""
        return VesselDetector(self)


@dataclass
class _Known:
    """A vessel that was seen standing: its class, size, colours, and where it was last."""

    label: str
    pose: Cylinder
    stamp_ns: int
    colours: ndarray
    others: ndarray
    middle: ndarray
    """Middle of what was seen of it in the last picture [m]."""
    sightings: int = 1
    """In how many pictures it stood by itself."""


class VesselDetector:
    """Feed it the pictures of one camera in the order of time: it remembers what stood where, and in which colours."""

    def __init__(self, config: VesselDetectorConfig | None = None) -> None:
        self.config = config or VesselDetectorConfig()
        self._corners = np.array(self.config.lower), np.array(self.config.upper)
        self._known: list[_Known] = []

    def detect(self, frame: RgbdFrame) -> tuple[ObjectEstimate, ...]:
        """The vessels of a frame, in the order in which they were met.

        Raises:
            InvalidInput: the frame has no depth or no world pose.
        """
        if frame.depth is None or frame.T_world_camera is None:
            missing = "depth" if frame.depth is None else "pose in the world (a static transform 'world' -> camera)"
            raise InvalidInput(f"objects need a calibrated RGB-D frame; this one has no {missing}")
        eye = frame.T_world_camera[:3, 3]
        pixels = raised_pixels(frame, self.config.step, *self._corners)
        free = np.ones(len(pixels.rows), bool)
        seen = self._recognise(self._standing(frame, pixels, eye), pixels, frame.stamp_ns, free)
        for find in (self._unmoved, self._follow):
            for known in self._known:
                if id(known) not in seen and known.sightings >= self.config.confirmed:
                    share = find(known, frame, pixels, free, eye)
                    if share is not None:
                        seen[id(known)] = share
        return tuple(_estimate(known, seen[id(known)]) for known in self._known if id(known) in seen)

    # -- vessels that stand by themselves ------------------------------------------------------------------------------

    def _standing(self, frame: RgbdFrame, pixels: RaisedPixels, eye: ndarray) -> list[tuple[str, Cylinder, ndarray, float]]:
        """Class, cylinder, members and visible share of every piece that is an upright vessel on the table."""
        c = self.config
        assert frame.depth is not None
        depth = frame.depth[:: c.step, :: c.step]
        found = []
        largest = max(2.0 * k.radius[1] for k in c.classes)
        for piece in connected_pieces(depth, pixels.rows, pixels.columns, c.depth_jump, c.least_points):
            whole = self._upright(frame, pixels, piece, eye)
            if whole is not None:
                found.append(whole)
            elif np.subtract(*extent(pixels.p_world, piece)[::-1])[:2].max() > largest:  # a hand may be at it
                rows, columns, colour = pixels.rows[piece], pixels.columns[piece], pixels.colour[piece]
                shades = np.stack(np.divmod(colour, COLOURS), axis=1)
                parts = connected_pieces(depth, rows, columns, c.depth_jump, c.least_points, shades, c.contrast)
                found += [v for v in (self._upright(frame, pixels, piece[part], eye) for part in parts) if v is not None]
        return found

    def _upright(
        self, frame: RgbdFrame, pixels: RaisedPixels, piece: ndarray, eye: ndarray
    ) -> tuple[str, Cylinder, ndarray, float] | None:
        """What a piece is if it is an upright vessel on the table."""
        c = self.config
        low, high = extent(pixels.p_world, piece)
        if low[2] > c.lowest or (high - low)[:2].max() > 1.3 * max(2.0 * k.radius[1] for k in c.classes):
            return None
        points = pixels.p_world[piece]
        unseen = 1.5 * float(np.linalg.norm(points[0] - eye)) / frame.intrinsics.fx
        cylinder = fit_standing(points[:: -(-len(points) // 300)], eye, c.depth_sigma, c.radius_sigma, unseen)
        off, _ = cylinder.off(points)
        straight = straightness(cylinder, points, eye, 2.5 * c.depth_sigma)
        label = next((k.label for k in c.classes if k.fits(cylinder.radius, cylinder.height)), None)
        if label is None or np.mean(off > 2.5 * c.depth_sigma) > c.foreign or not straight >= c.straight:
            return None
        share = self._share(cylinder, len(piece), frame, eye)
        return (label, cylinder, piece, share) if share > 0.5 else None

    def _recognise(
        self, standing: list[tuple[str, Cylinder, ndarray, float]], pixels: RaisedPixels, stamp_ns: int, free: ndarray
    ) -> dict[int, float]:
        """Which known vessels stand there, with their visible shares; what is none of them is known from now on.

        Their pixels are not `free` any more: no other vessel is looked for there.
        """
        patience = {True: self.config.forgotten, False: 1.0}
        self._known = [
            k for k in self._known if (stamp_ns - k.stamp_ns) * 1e-9 <= patience[k.sightings >= self.config.confirmed]
        ]
        seen: dict[int, float] = {}
        every = _histogram(pixels.colour)
        for label, cylinder, piece, share in standing:
            colours = _histogram(pixels.colour[piece])
            others = np.maximum(every - colours, 0.0)
            like = [k for k in self._known if k.label == label and id(k) not in seen and _alike(k, cylinder, colours)]
            if like:
                known = min(like, key=lambda k: float(np.linalg.norm(k.pose.centre - cylinder.centre)))
                _remember(known, cylinder, colours, others)
            elif any(_within(k.pose, cylinder) for k in self._known):
                continue  # a known one with something else on it, or before it
            else:
                known = _Known(label, cylinder, stamp_ns, colours, others, np.zeros(3))
                self._known.append(known)
            known.stamp_ns, known.middle = stamp_ns, np.median(pixels.p_world[piece], axis=0)
            seen[id(known)] = share
            free[piece] = False
        return seen

    # -- vessels in a hand, or half hidden -------------------------------------------------------------------------------

    def _unmoved(self, known: _Known, frame: RgbdFrame, pixels: RaisedPixels, free: ndarray, eye: ndarray) -> float | None:
        """The visible share of a vessel that stands where it stood; None when it does not, or too little of it is seen."""
        c, pose = self.config, known.pose
        if not (pose.axis[2] > np.cos(c.leaning) and abs(pose.foot[2]) < 0.005):
            return None
        there = self._on(pose, pixels.p_world, side=True) & free
        share = self._share(pose, int(there.sum()), frame, eye)
        if share < c.still or _overlap(_histogram(pixels.colour[there]), known.colours) < 0.5:
            return None
        lifted = self._above(pose, pixels.p_world) & free & (_odds(known)[pixels.colour] > c.odds)
        if lifted.sum() > 0.1 * there.sum():
            return None
        known.stamp_ns, known.middle = frame.stamp_ns, np.median(pixels.p_world[there], axis=0)
        free[self._on(pose, pixels.p_world)] = False
        return share

    def _follow(self, known: _Known, frame: RgbdFrame, pixels: RaisedPixels, free: ndarray, eye: ndarray) -> float | None:
        """Find a known vessel near to where it was; the visible share, or None when too little of it is seen."""
        c, pose = self.config, known.pose
        gap = max(frame.stamp_ns - known.stamp_ns, 0) * 1e-9
        reach = 0.5 * pose.height + pose.radius + min(c.speed * gap + c.reach, c.farthest)
        mine = free & (_odds(known)[pixels.colour] > c.odds)
        mine[mine] = np.linalg.norm(pixels.p_world[mine] - pose.centre, axis=1) < reach
        points = pixels.p_world[mine]
        if len(points) < c.least_points // 2:
            return None
        part = points[:: -(-len(points) // c.fitted)]
        best: tuple[float, Cylinder, ndarray] | None = None
        for guess in self._guesses(known, points):
            fitted = fit_held(part, guess, c.depth_sigma, c.shift_sigma, c.turn_sigma)
            on = self._on(fitted, points)
            if on.sum() < c.least_points // 2:
                continue
            fitted = self._along(fitted, points[on], frame, eye)
            fitted = fit_held(part, fitted, c.depth_sigma, c.shift_sigma, c.turn_sigma)
            on = self._on(fitted, points)
            turn = float(np.arccos(np.clip(fitted.axis @ pose.axis, -1.0, 1.0)))
            score = float(on.mean()) - 0.1 * turn
            if best is None or score > best[0]:
                best = (score, fitted, on)
            if score > 0.85:
                break
        if best is None:
            return None
        _, fitted, on = best
        share = self._share(fitted, int(on.sum()), frame, eye)
        if share < c.least_seen or on.mean() < 0.5:
            return None
        known.pose, known.stamp_ns, known.middle = fitted, frame.stamp_ns, np.median(points[on], axis=0)
        free[np.flatnonzero(mine)[on]] = False
        return share

    def _guesses(self, known: _Known, points: ndarray) -> list[Cylinder]:
        """Where the vessel may be: led by what is seen of it, with its last axis or along what is seen; or where it was."""
        pose = known.pose
        middle = np.median(points, axis=0)
        led = replace(pose, centre=pose.centre + middle - known.middle)
        guesses = [led]
        core = points[np.linalg.norm(points - middle, axis=1) < 0.6 * pose.height]  # without what else has its colours
        if len(core) > 3:
            spread, axes = np.linalg.eigh(np.cov(core.T))
            if spread[2] > 3.0 * spread[1]:
                guesses.append(replace(led, axis=axes[:, 2] * np.sign(axes[:, 2] @ pose.axis)))
            guesses.append(replace(led, centre=led.centre + np.median(core, axis=0) - middle))
        return [*guesses, pose]

    def _on(self, pose: Cylinder, points: ndarray, side: bool = False) -> ndarray:
        """Which points are on the vessel, or in it unless only those on its `side` are meant."""
        off, along = pose.off(points)
        s = 2.5 * self.config.depth_sigma
        on: ndarray = (off < s) & (np.abs(along) < 0.5 * pose.height + s) & ((off > -s) | (not side))
        return on

    def _above(self, pose: Cylinder, points: ndarray) -> ndarray:
        """Which points are above the mouth, where a vessel shows that was lifted."""
        off, along = pose.off(points)
        s = 2.5 * self.config.depth_sigma
        above: ndarray = (off < s) & (along > 0.5 * pose.height + s) & (along < 1.5 * pose.height)
        return above

    def _along(self, pose: Cylinder, points: ndarray, frame: RgbdFrame, eye: ndarray) -> Cylinder:
        """The pose moved along its axis so that an end that is seen is its end; an end that is covered says nothing."""
        _, along = pose.off(points)
        low, high = np.percentile(along, (1.0, 99.0))
        margin = 0.5 * self.config.step * float(np.linalg.norm(pose.centre - eye)) / frame.intrinsics.fx
        shifts = []
        for end, seen in ((-0.5 * pose.height, low - margin), (0.5 * pose.height, high + margin)):
            if self._free(pose, float(seen), float(np.sign(end)), frame, eye):
                shifts.append(float(seen - end))
        return replace(pose, centre=pose.centre + (np.mean(shifts) if shifts else 0.0) * pose.axis)

    def _free(self, pose: Cylinder, end: float, sign: float, frame: RgbdFrame, eye: ndarray) -> bool:
        """Whether just beyond where the points end along the axis something farther is seen, or nothing."""
        assert frame.depth is not None and frame.T_world_camera is not None
        beyond = pose.centre + (end + sign * 0.012) * pose.axis
        towards = eye - beyond
        towards = towards - (towards @ pose.axis) * pose.axis
        if np.linalg.norm(towards) < pose.radius:  # seen from its end
            return False
        p = beyond + pose.radius * towards / np.linalg.norm(towards)
        p_camera = se3.apply(se3.inverse(frame.T_world_camera), p)
        u, v = np.round(frame.intrinsics.project(p_camera))
        if not (0 <= u < frame.intrinsics.width and 0 <= v < frame.intrinsics.height):
            return False
        z = float(frame.depth[int(v), int(u)])
        return not z < p_camera[2] + 0.02

    def _share(self, pose: Cylinder, count: int, frame: RgbdFrame, eye: ndarray) -> float:
        """How much of a vessel's outline so many looked-at pixels cover."""
        distance = float(np.linalg.norm(pose.centre - eye))
        sight = (pose.centre - eye) / distance
        tilted = float(np.sqrt(max(1.0 - (sight @ pose.axis) ** 2, 0.0)))
        area = 2.0 * pose.radius * pose.height * tilted + np.pi * pose.radius**2 * np.sqrt(1.0 - tilted**2)
        k: Intrinsics = frame.intrinsics
        return float(min(count * self.config.step**2 * (distance / k.fx) ** 2 / area, 1.0))


def _histogram(colour: ndarray) -> Float[ndarray, "B"]:
    """How many pixels have each colour; neighbouring colours get some of them: shade and noise move a pixel's colour."""
    counts = np.bincount(colour, minlength=COLOURS**2 + 1).astype(float)
    grid = np.pad(counts[:-1].reshape(COLOURS, COLOURS), 1)
    rows = 0.25 * (grid[:-2] + grid[2:]) + 0.5 * grid[1:-1]
    soft = 0.25 * (rows[:, :-2] + rows[:, 2:]) + 0.5 * rows[:, 1:-1]
    return np.append(soft.ravel(), counts[-1])


def _alike(known: _Known, cylinder: Cylinder, colours: ndarray) -> bool:
    """Whether a standing vessel may be a known one: nearly its size, and much of its colours."""
    size = abs(cylinder.radius - known.pose.radius) < 0.012 and abs(cylinder.height - known.pose.height) < 0.012
    return bool(size and _overlap(colours, known.colours) > 0.3)


def _overlap(a: Float[ndarray, "B"], b: Float[ndarray, "B"]) -> float:
    """Common share of two histograms."""
    return float(np.minimum(a / max(a.sum(), 1e-9), b / max(b.sum(), 1e-9)).sum())


def _within(known: Cylinder, cylinder: Cylinder) -> bool:
    """Whether a new vessel would be where a known one is: two solid things are not in one place."""
    return bool(np.linalg.norm((known.centre - cylinder.centre)[:2]) < 0.75 * (known.radius + cylinder.radius))


def _remember(known: _Known, cylinder: Cylinder, colours: ndarray, others: ndarray) -> None:
    """A standing vessel was seen once more: its size is the mean of up to thirty sightings, its colours follow the light."""
    known.sightings += 1
    share = 1.0 / min(known.sightings, 30)
    radius = known.pose.radius + share * (cylinder.radius - known.pose.radius)
    height = known.pose.height + share * (cylinder.height - known.pose.height)
    away = cylinder.centre[:2] - known.pose.centre[:2]
    still = np.linalg.norm(away) < 0.01 and known.pose.axis[2] > 0.995
    xy = known.pose.centre[:2] + (0.2 if still else 1.0) * away
    known.pose = Cylinder(np.array([*xy, 0.5 * height]), UP, radius, height)
    known.colours = known.colours + 0.1 * (colours - known.colours)
    known.others = known.others + 0.1 * (others - known.others)


def _odds(known: _Known) -> Float[ndarray, "B"]:
    """For each colour, how probable it is on the vessel rather than on what else stands out of the table."""
    mine, theirs = known.colours / known.colours.sum(), known.others / max(known.others.sum(), 1.0)
    odds: ndarray = mine / (mine + theirs + 1e-3)
    return odds


def _estimate(known: _Known, share: float) -> ObjectEstimate:
    p = known.pose
    return ObjectEstimate("", known.label, p.centre, p.radius, share, {}, height=p.height, axis=p.axis)
