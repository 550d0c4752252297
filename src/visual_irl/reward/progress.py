"""A reward from the phases of demonstrations: how many steps the demonstrated way of doing it would still take.

Adversarial rewards only compare the demonstrations with what a policy happened to visit, and are arbitrary elsewhere; a
fresh policy falls into those gaps. Here the reward is built so that it has none:

1. Steps are discovered: a demonstration is cut where a thing is picked up and where it is let go for good.
2. At each cut the relation is found in which the demonstrations agree: the hand to the thing at the pick, the thing's place
   at the release, the hand's place at the end, each in the frame that predicts left-out demonstrations best.
3. The cost-to-go of that strategy, from *any* situation and for any number of things, is the path that it still has to go
   and the events that are still to come. What a metre and an event cost is regressed on the demonstrations' own time.
4. The reward is the negative cost-to-go of the state that a step leads to: a level, not a difference.

From every situation the strategy itself lowers the cost, so the reward has no local optimum but the demonstrated end.
Measured remaining time as a signal: Edwards and Isbell 2019, "Perceptual values from observation"; Yang et al. 2021,
"Keyframe-focused visual imitation learning" motivates cutting at events.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import lsq_linear
from torch import Tensor

from visual_irl.errors import LearningFailed, MissingFile, UnreadableFile
from visual_irl.io.atomic import atomic_path
from visual_irl.reward.places import Place, fit_place
from visual_irl.tasks.situation import Situation

TERMS = ("reach", "carry", "retreat", "picks", "releases")
"""What a cost-to-go is made of: metres to reach, carry and retreat, and events that are still to come."""
KIND = "progress_reward"
LAST_THING = "the last thing"
"""Anchor of the hand's place at the end."""


@dataclass(frozen=True)
class Strategy:
    """What the demonstrations have in common."""

    grip: Float[ndarray, "3"]
    """The hand from the thing at the pick [m]."""
    release: Place
    """The thing when it is let go."""
    rest: Place
    """The thing after that."""
    tolerance: float
    """A loose thing nearer than this to its rest is done with [m]."""
    end: Place
    """The hand when all is done."""
    opening: tuple[float, float]
    """The gripper while it carries and when it lets go."""

    def remaining(self, now: Situation) -> Float[Tensor, "*B 5"]:
        """What is still to do, by `TERMS`: what is held first, then always the nearest thing that is not done."""
        release, rest = self.release.at(now.attribute, {}), self.rest.at(now.attribute, {})
        grip = now.hand.new_tensor(self.grip)
        off = _length(now.things - rest)
        done = ~now.held & (off < self.tolerance)
        carry_each = torch.where(done, off, _length(now.things - release))
        finally_at = torch.where(done[..., None], now.things, rest)
        todo = ~done & ~now.held
        carrying = now.held.any(dim=-1)
        first = now.held.float().argmax(dim=-1)
        at = torch.where(carrying[..., None], _pick(release, first), now.hand)
        reach = torch.zeros_like(now.gripper)
        left = todo
        for _ in range(todo.shape[-1]):
            distance = _length(at.unsqueeze(-2) - now.things - grip).masked_fill(~left, torch.inf)
            nearest, which = distance.min(dim=-1)
            some = nearest.isfinite()
            reach = reach + torch.where(some, nearest, 0.0)
            at = torch.where(some[..., None], _pick(release, which), at)
            left = left & ~torch.nn.functional.one_hot(which, todo.shape[-1]).bool()
        ends = self.end.at(now.attribute, {LAST_THING: finally_at})
        retreat = _length(at.unsqueeze(-2) - ends).amin(dim=-1)
        picks = todo.float().sum(dim=-1)
        there = now.held & (carry_each < self.tolerance)
        releasing = torch.where(there, self._closed(now.gripper).unsqueeze(-1), now.held.float()).sum(dim=-1)
        return torch.stack([reach, carry_each.sum(dim=-1), retreat, picks, picks + releasing], dim=-1)

    def _closed(self, gripper: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """Share of the gripper's way to letting go that is left: at its place, a release is under way once it opens."""
        closed, loose = self.opening
        return ((gripper - loose) / (closed - loose)).clamp(0, 1) if closed - loose > 0.1 else torch.ones_like(gripper)


@dataclass(frozen=True)
class ProgressReward:
    """`r(s, s') = -steps that the strategy still takes from s' / steps that it takes from a demonstrated start`."""

    strategy: Strategy
    cost: Float[ndarray, "5"]
    """Steps a metre and steps an event, by `TERMS`."""
    steps: float
    """Median length of a demonstration [steps]."""

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of what the reward adds up."""
        return TERMS

    def steps_left(self, now: Situation) -> Float[Tensor, "*B"]:
        """Steps that the demonstrated strategy still takes."""
        return self.strategy.remaining(now) @ now.hand.new_tensor(self.cost)

    def __call__(self, now: Situation, then: Situation) -> Float[Tensor, "*B"]:
        """Reward of transitions; differentiable with respect to positions."""
        return -self.steps_left(then) / self.steps

    def save(self, path: Path) -> None:
        """Write as safetensors, atomically."""
        s = self.strategy
        arrays = {"cost": self.cost, "grip": s.grip, "release": s.release.table, "rest": s.rest.table, "end": s.end.table}
        numbers = {"steps": self.steps, "tolerance": s.tolerance, "opening": s.opening}
        places = {
            name: {"frame": p.frame, "known": p.known, "spread": p.spread}
            for name, p in (("release", s.release), ("rest", s.rest), ("end", s.end))
        }
        metadata = {"kind": KIND, "numbers": json.dumps(numbers), "places": json.dumps(places)}
        with atomic_path(path) as partial:
            save_file({k: torch.from_numpy(np.ascontiguousarray(a)) for k, a in arrays.items()}, partial, metadata=metadata)

    @classmethod
    def load(cls, path: Path) -> ProgressReward:
        """Read a reward.

        Raises:
            MissingFile, UnreadableFile: with the way out.
        """
        if not Path(path).is_file():
            raise MissingFile(f"no reward at '{path}'; learn one first")
        try:
            with safe_open(path, framework="np") as archive:
                metadata = archive.metadata() or {}
                if metadata.get("kind") != KIND:
                    raise UnreadableFile(f"'{path}' holds a '{metadata.get('kind')}', expected a {KIND}")
                numbers, places = json.loads(metadata["numbers"]), json.loads(metadata["places"])
                place = {
                    name: Place(p["frame"], archive.get_tensor(name), tuple(p["known"]), float(p["spread"]))
                    for name, p in places.items()
                }
                strategy = Strategy(
                    archive.get_tensor("grip"), place["release"], place["rest"], numbers["tolerance"], place["end"],
                    (numbers["opening"][0], numbers["opening"][1]),
                )  # fmt: skip
                return cls(strategy, archive.get_tensor("cost"), numbers["steps"])
        except (SafetensorError, KeyError, IndexError, ValueError) as error:
            raise UnreadableFile(f"'{path}' is not a reward file: {error}; learn it again") from error


@dataclass(frozen=True)
class Progress:
    """Configuration of the learner; the lengths are in steps of the demonstrations."""

    debounce: int = 2
    """A thing that is held or loose for fewer steps than this is not: a sensor's flicker."""
    slack: float = 2.0
    """Tolerance of a place in standard deviations of the demonstrations ..."""
    strides: float = 1.5
    """... and at least so many strides of the hand: nobody can be more precise than the steps that are made."""
    smoothing: float = 5.0
    """Width of the Gaussian under which a path is priced, in steps for noise as large as a stride; at most two steps."""
    least_event: float = 1.0
    """A pick or a release takes at least so many steps."""

    def build(self) -> Progress:
        """The learner itself: it has no state."""
        return self

    def learn(self, demonstrations: Sequence[Situation]) -> ProgressReward:
        """The reward of demonstrations, each the situations (T) of one after the other.

        Raises:
            LearningFailed: there is none, one holds NaN, or nothing is ever picked up and let go.
        """
        if not demonstrations:
            raise LearningFailed("no demonstration was given; the task must be shown at least once")
        for i, demo in enumerate(demonstrations):
            if not (bool(demo.hand.isfinite().all()) and bool(demo.things.isfinite().all())):
                raise LearningFailed(f"demonstration {i + 1} holds NaN or infinity; extract it again, or leave it out")
        steady = [replace(d, held=_debounced(d.held, self.debounce)) for d in demonstrations]
        smooth = [_smoothed(d, self.smoothing) for d in steady]
        ends = [_finish(d, _noise(raw)) for d, raw in zip(smooth, steady, strict=True)]
        strides = [_strides(d[: end + 1]) for d, end in zip(smooth, ends, strict=True)]
        strategy = self._strategy(steady, float(np.median(np.concatenate(strides))))
        rows, steps_left = [], []
        for demo, finish in zip(smooth, ends, strict=True):
            rows.append(strategy.remaining(demo[: finish + 1]).numpy())
            steps_left.append(finish - np.arange(finish + 1.0))
        terms, target = np.concatenate(rows).astype(float), np.concatenate(steps_left)
        bound = np.array([1e-3, 1e-3, 1e-3, self.least_event, self.least_event])
        cost = lsq_linear(terms, target, bounds=(bound, np.inf)).x
        return ProgressReward(strategy, cost, float(np.median([s[0] for s in steps_left])))

    def _strategy(self, demos: Sequence[Situation], stride: float) -> Strategy:
        grips, releases, rests, ends, last_things = [], [], [], [], []
        attributes, end_attributes = [], []
        closed, loose = [], []
        for demo in demos:
            hand, things = demo.hand.numpy().astype(float), demo.things.numpy().astype(float)
            last, last_release = None, -1
            for n in range(things.shape[1]):
                picked, released = _last_handling(demo.held[:, n].numpy())
                if picked is None or released is None:
                    continue
                grips.append(hand[picked] - things[picked - 1, n])
                releases.append(things[released - 1, n])
                rests.append(_at_the_end(things[released:, n]))
                attributes.append(int(demo.attribute[0, n]))
                closed.append(float(demo.gripper[picked:released].median()))
                loose.append(float(demo.gripper[released]))
                if released > last_release:
                    last, last_release = n, released
            if last is not None:
                ends.append(_at_the_end(hand[last_release:]))
                last_things.append(_at_the_end(things[last_release:, last]))
                end_attributes.append(int(demo.attribute[0, last]))
        if not grips:
            raise LearningFailed(
                f"in none of the {len(demos)} demonstrations is a thing picked up and let go: they show another task, or the "
                "held flags are wrong"
            )
        attribute = np.array(attributes)
        release, rest = fit_place(np.stack(releases), attribute, {}), fit_place(np.stack(rests), attribute, {})
        grip = np.median(np.stack(grips), axis=0)
        precision = float(np.sqrt(np.square(np.stack(grips) - grip).sum(axis=1).mean()))  # of the hand at the pick
        spread = rest.spread if np.isfinite(rest.spread) else precision
        end = fit_place(np.stack(ends), np.array(end_attributes), {LAST_THING: np.stack(last_things)})
        return Strategy(
            grip,
            release,
            rest,
            max(self.slack * spread, self.strides * stride),
            end,
            (float(np.median(closed)), float(np.median(loose))),
        )


def _debounced(held: Bool[Tensor, "T N"], shortest: int) -> Bool[Tensor, "T N"]:
    """Without runs shorter than `shortest` steps in their middle."""
    flags = held.numpy().copy()
    for n in range(flags.shape[1]):
        edges = [0, *(np.flatnonzero(np.diff(flags[:, n])) + 1), len(flags)]
        for a, b in itertools.pairwise(edges[1:-1]):
            if b - a < shortest:
                flags[a:b, n] = flags[a - 1, n]
    return torch.from_numpy(flags)


def _last_handling(held: Bool[ndarray, "T"]) -> tuple[int | None, int | None]:
    """First held step and first loose step after it, of the last time that a thing was picked up and let go."""
    change = np.diff(held.astype(int))
    releases = np.flatnonzero(change < 0) + 1
    if not len(releases):
        return None, None
    picks = np.flatnonzero(change > 0) + 1
    before = picks[picks < releases[-1]]
    return (int(before[-1]), int(releases[-1])) if len(before) else (None, None)


def _noise(demo: Situation) -> float:
    """Standard deviation of what is not motion, an axis [m]: of second differences, of which most are none without it."""
    hand = demo.hand.numpy()
    return float(1.4826 * np.median(np.abs(np.diff(hand, 2, axis=0))) / np.sqrt(6.0)) if len(hand) > 2 else 0.0


def _smoothed(demo: Situation, strength: float) -> Situation:
    """The demonstration with its paths smoothed as much as their noise asks for: distances to noisy points are too long."""
    hand, noise = demo.hand.numpy(), _noise(demo)
    stride = np.median(np.linalg.norm(np.diff(hand, axis=0), axis=1)) if len(hand) > 1 else 0.0
    width = min(2.0, strength * noise / stride) if stride > 0.0 else 0.0
    if width < 0.1:
        return demo
    moved = [gaussian_filter1d(x.numpy(), width, axis=0, mode="nearest") for x in (demo.hand, demo.things)]
    return replace(demo, hand=torch.from_numpy(moved[0]), things=torch.from_numpy(moved[1]))


def _strides(demo: Situation) -> Float[ndarray, "K"]:
    """How far the hand moves in each step [m]."""
    return np.linalg.norm(np.diff(demo.hand.numpy(), axis=0), axis=1)


def _finish(demo: Situation, noise: float) -> int:
    """Last step at which a flag flips or the hand is away from its end by over a tenth of its path's size, and by more than
    noise [m] makes it seem."""
    hand = demo.hand.numpy()
    size = np.linalg.norm(hand.max(axis=0) - hand.min(axis=0))
    distance = np.linalg.norm(hand - _at_the_end(hand), axis=1)
    away = np.flatnonzero(distance > max(0.1 * size, 3.0 * noise))
    flips = np.flatnonzero((demo.held[1:] != demo.held[:-1]).any(dim=1).numpy())
    return int(max(away.max(initial=0), flips.max(initial=0))) + 1


def _at_the_end(path: Float[ndarray, "T 3"]) -> Float[ndarray, "3"]:
    """Where a path ends: the median of its last five steps, at which it rests."""
    end: ndarray = np.median(path[-5:], axis=0)
    return end


def _length(v: Tensor) -> Tensor:
    """Norm with a finite gradient at zero."""
    return torch.sqrt((v * v).sum(-1) + 1e-10)


def _pick(points: Float[Tensor, "*B N 3"], which: Tensor) -> Float[Tensor, "*B 3"]:
    return points.gather(-2, which[..., None, None].expand(*which.shape, 1, 3)).squeeze(-2)
