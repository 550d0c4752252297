"""A reward from the phases of demonstrations: how many steps the demonstrated way of doing it would still take.

Adversarial rewards only compare the demonstrations with what a policy happened to visit, and are arbitrary elsewhere; a
fresh policy falls into those gaps. Here the reward is built so that it has none:

1. Steps are discovered (`reward.phases`): a demonstration is cut where a thing is picked up, where its content begins and
   ends to run into another, and where it is let go for good.
2. At each cut the relation is found in which the demonstrations agree: the hand to the thing at the pick, the thing's place
   and tilt while it is poured, its place at the release, the hand's at the end, each in the frame that predicts left-out
   demonstrations best.
3. The cost-to-go of that strategy (`reward.strategy`), from *any* situation and for any number of things, is the path that
   it still has to go and the events that are still to come. What a metre and an event cost is regressed on the
   demonstrations' own time. What they never do, to spill, is priced at doing it all again.
4. The reward is the negative cost-to-go of the state that a step leads to: a level, not a difference.

From every situation the strategy itself lowers the cost, so the reward has no local optimum but the demonstrated end.
Measured remaining time as a signal: Edwards and Isbell 2019, "Perceptual values from observation"; Yang et al. 2021,
"Keyframe-focused visual imitation learning" motivates cutting at events.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import lsq_linear
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.io.tensors import Tensors, load_tensors, save_tensors
from visual_irl.reward import phases
from visual_irl.reward.learner import NOBODY, Imitator, Keep, Learned, checked
from visual_irl.reward.order import fixed_order
from visual_irl.reward.places import Place, fit_place
from visual_irl.reward.strategy import LAST_THING, TERMS, Pour, Strategy, anchor_name, anchors_of
from visual_irl.tasks.situation import Situation

KIND = "progress_reward"


@dataclass(frozen=True)
class ProgressReward:
    """`r(s, s') = -steps that the strategy still takes from s' / steps that it takes from a demonstrated start`."""

    strategy: Strategy
    cost: Float[ndarray, "8"]
    """Steps a metre, an event, a radian and a fill, by `TERMS`."""
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
        s, pour = self.strategy, self.strategy.pour
        places = {"release": s.release, "rest": s.rest, "end": s.end} | ({} if pour is None else {"pour": pour.place})
        arrays = {"cost": self.cost, "grip": s.grip, **{name: p.table for name, p in places.items()}}
        numbers = {"steps": self.steps, "tolerance": s.tolerance, "opening": s.opening, "handled": s.handled, "idle": s.idle}
        numbers["order"] = s.order
        numbers["pour"] = None if pour is None else {k: v for k, v in asdict(pour).items() if k != "place"}
        frames = {name: {"frames": p.frames, "spread": p.spread} for name, p in places.items()}
        save_tensors(path, KIND, Tensors(arrays, {"numbers": json.dumps(numbers), "places": json.dumps(frames)}))

    @classmethod
    def load(cls, path: Path) -> ProgressReward:
        """Read a reward.

        Raises:
            MissingFile, UnreadableFile: with the way out.
        """

        def made(file: Tensors) -> ProgressReward:
            numbers, places = json.loads(file.facts["numbers"]), json.loads(file.facts["places"])
            place = {name: Place(tuple(p["frames"]), file.arrays[name], float(p["spread"])) for name, p in places.items()}
            pour = None if numbers["pour"] is None else Pour(place=place["pour"], **numbers["pour"])
            strategy = Strategy(
                file.arrays["grip"], place["release"], place["rest"], numbers["tolerance"], place["end"],
                (numbers["opening"][0], numbers["opening"][1]), tuple(numbers["handled"]), tuple(numbers["idle"]), pour,
                tuple((a, b) for a, b in numbers.get("order", ())),
            )  # fmt: skip
            return cls(strategy, file.arrays["cost"], numbers["steps"])

        return load_tensors(path, KIND, made, "reward.progress.Progress")


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
    told: float = 0.8
    """A warning says so where the reward tells less than this share of the demonstrations' time (R^2). Told are .94 to 1.00 of
    demonstrated sorting and pouring, with 20 mm of noise too, and less than .4 where something is missing."""

    plays_against: ClassVar[str] = NOBODY

    def build(self) -> Progress:
        """The learner itself: it has no state."""
        return self

    def learn(
        self,
        demonstrations: Sequence[Situation],
        imitator: Imitator | None = None,
        seed: int = 0,
        keep: Keep = lambda reward: None,
    ) -> Learned:
        """The reward of demonstrations, each the situations (T) of one after the other; it needs no imitator and no chance.

        Raises:
            LearningFailed: there is none, one holds NaN, or nothing is ever picked up and let go.
        """
        reward = self.reward_of(demonstrations)
        keep(reward)
        return Learned(reward)

    def reward_of(self, demonstrations: Sequence[Situation]) -> ProgressReward:
        """The same, by its own type."""
        checked(demonstrations)
        steady = [replace(d, held=phases.debounced(d.held, self.debounce)) for d in demonstrations]
        smooth = [phases.smoothed(d, self.smoothing) for d in steady]
        ends = [phases.finish(d, phases.noise(raw)) for d, raw in zip(smooth, steady, strict=True)]
        strides = [phases.strides(d[: end + 1]) for d, end in zip(smooth, ends, strict=True)]
        strategy = self._strategy(steady, float(np.median(np.concatenate(strides))))
        rows, steps_left = [], []
        for demo, finish in zip(smooth, ends, strict=True):
            rows.append(strategy.remaining(demo[: finish + 1]).numpy())
            steps_left.append(finish - np.arange(finish + 1.0))
        terms, target = np.concatenate(rows).astype(float), np.concatenate(steps_left)
        steps = float(np.median([s[0] for s in steps_left]))
        bound = np.array([1e-3, 1e-3, 1e-3, self.least_event, self.least_event, 1e-3, 1e-3, 0.0])
        cost = bound.copy()
        seen = terms.any(axis=0) & (np.array(TERMS) != "lost")  # what never happens has no price
        cost[seen] = lsq_linear(terms[:, seen], target, bounds=(bound[seen], np.inf)).x
        told = 1 - np.square(terms @ cost - target).mean() / target.var()
        if not told >= self.told:
            warnings.warn(_untold(strategy, steady, told, self.told), stacklevel=2)
        if strategy.pour is not None:
            cost[TERMS.index("lost")] = steps / strategy.pour.goal  # what is spilled cannot be poured: it is all to do again
        return ProgressReward(strategy, cost, steps)

    def _strategy(self, demos: Sequence[Situation], stride: float) -> Strategy:
        handled, idle = _kinds(demos)
        grips, releases, rests, ends, last_things = [], [], [], [], []
        attributes, end_attributes = [], []
        closed, loose = [], []
        stood: dict[str, list[ndarray]] = {anchor_name(kind): [] for kind in idle}  # at the release
        stand: dict[str, list[ndarray]] = {anchor_name(kind): [] for kind in idle}  # at rest
        stand_at_end: dict[str, list[ndarray]] = {anchor_name(kind): [] for kind in idle}
        for demo in demos:
            hand, things = demo.hand.numpy().astype(float), demo.things.numpy().astype(float)
            anchors = {name: at[:, 0].numpy().astype(float) for name, at in anchors_of(demo, idle).items()}
            last, last_release = None, -1
            for n in range(things.shape[1]):
                picked, released = phases.last_handling(demo.held[:, n].numpy())
                if picked is None or released is None:
                    continue
                grips.append(hand[picked] - things[picked - 1, n])
                releases.append(things[released - 1, n])
                rests.append(phases.at_the_end(things[released:, n]))
                attributes.append(int(demo.attribute[0, n]))
                closed.append(float(demo.gripper[picked:released].median()))
                loose.append(float(demo.gripper[released]))
                for name, at in anchors.items():
                    stood[name].append(at[released - 1])
                    stand[name].append(phases.at_the_end(at[released:]))
                if released > last_release:
                    last, last_release = n, released
            if last is not None:
                ends.append(phases.at_the_end(hand[last_release:]))
                last_things.append(phases.at_the_end(things[last_release:, last]))
                end_attributes.append(int(demo.attribute[0, last]))
                for name, at in anchors.items():
                    stand_at_end[name].append(phases.at_the_end(at))
        if not handled:
            raise LearningFailed(
                f"in none of the {len(demos)} demonstrations is a thing picked up and let go: they show another task (one that "
                "ends with a thing in the hand is none that this reward can tell), or the held flags are wrong"
            )
        attribute = np.array(attributes)
        release, rest = (
            fit_place(np.stack(points), attribute, {name: np.stack(at) for name, at in anchors.items()})
            for points, anchors in ((releases, stood), (rests, stand))
        )
        grip = np.median(np.stack(grips), axis=0)
        precision = float(np.sqrt(np.square(np.stack(grips) - grip).sum(axis=1).mean()))  # of the hand at the pick
        spread = rest.spread if np.isfinite(rest.spread) else precision
        by_end = {LAST_THING: np.stack(last_things)} | {name: np.stack(at) for name, at in stand_at_end.items()}
        return Strategy(
            grip,
            release,
            rest,
            max(self.slack * spread, self.strides * stride),
            fit_place(np.stack(ends), np.array(end_attributes), by_end),
            (float(np.median(closed)), float(np.median(loose))),
            handled,
            idle,
            self._pour(demos, idle, stride),
            fixed_order(demos, max(stride, 4.0 * float(np.median([phases.noise(d) for d in demos])))),
        )

    def _pour(self, demos: Sequence[Situation], idle: tuple[int, ...], stride: float) -> Pour | None:
        """How something is poured, as most demonstrations show it; None where none does."""
        places, tilts, carried, goals, flows, kept, kinds = [], [], [], [], [], [], []
        stands: dict[str, list[ndarray]] = {anchor_name(kind): [] for kind in idle}
        for demo in demos:
            found, v = phases.pouring(demo), demo.vessels
            if found is None or v is None:
                continue
            emptied, filled, steps = found
            places.append(np.median(demo.things[steps, emptied].numpy().astype(float), axis=0))
            for name, at in anchors_of(demo, idle).items():
                stands[name].append(np.median(at[steps, 0].numpy().astype(float), axis=0))
            tilts.append(float(v.tilt[steps, emptied].median()))
            carried.append(float(v.tilt[: steps.start][demo.held[: steps.start, emptied]].median()))
            goals.append(float(v.level[-1, filled]))
            flows.append(float(v.level[:, filled].diff()[steps].median()))
            kept.append(float(v.level[0].sum()))
            kinds.append((int(demo.attribute[0, emptied]), int(demo.attribute[0, filled])))
        if not places:
            return None
        place = fit_place(np.stack(places), np.array([k[0] for k in kinds]), {n: np.stack(a) for n, a in stands.items()})
        near = max(self.slack * place.spread if np.isfinite(place.spread) else 0.0, self.strides * stride)
        goal = float(np.median(goals))
        emptied, filled = max(set(kinds), key=kinds.count)
        enough = goal - 0.5 * float(np.median(flows))  # nobody can pour more precisely than a step does
        return Pour(
            emptied,
            filled,
            place,
            near,
            float(np.median(tilts)),
            float(np.median(carried)),
            goal,
            enough,
            float(np.median(kept)),
        )


def _untold(strategy: Strategy, demos: Sequence[Situation], told: float, least: float) -> str:
    """The warning that the reward does not tell what the demonstrations do, with what is seen of the reason."""
    seen = []
    if strategy.rest.spread > 0.1:
        seen.append(f"things end up to {strategy.tolerance:.2f} m from the place found for them, in no common frame")
    if any(bool((d.attribute != d.attribute[0]).any()) for d in demos):
        seen.append("an attribute changes, and only its first value counts")
    if any(np.sum(np.diff(held.int().numpy()) < 0) > 1 for d in demos for held in d.held.T):
        seen.append("a thing is let go more than once, and only the last time counts")
    return (
        f"the reward tells {max(told, 0.0):.2f} of the demonstrations' time (R^2), below {least}: what they do besides taking, "
        f"pouring, bringing and leaving is not in it, and a policy will leave it out{': ' if seen else ''}{'; '.join(seen)}. "
        "Let what is seen tell of it (docs/reward.md, 'What the reward cannot tell'), or use another learner"
    )


def _kinds(demos: Sequence[Situation]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Attributes of the things that are picked up and let go in some demonstration, and of those that never are."""
    handled, there = set(), set()
    for demo in demos:
        for n in range(demo.things.shape[1]):
            kinds = set(demo.attribute[:, n].tolist())
            there |= kinds
            if None not in phases.last_handling(demo.held[:, n].numpy()):
                handled |= kinds
    return tuple(sorted(handled)), tuple(sorted(there - handled))
