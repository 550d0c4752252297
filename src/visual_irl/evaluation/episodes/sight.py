"""What a robot at work knows of the things before it that it sorts: what a camera of its cell sees, and has seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from visual_irl.errors import InvalidInput
from visual_irl.evaluation.episodes.cell_camera import pictures
from visual_irl.execution.mujoco_executor import MujocoExecutor
from visual_irl.perception.objects.detectors import ObjectsConfig
from visual_irl.policy.closed_loop import UNKNOWN
from visual_irl.policy.skill import Thing
from visual_irl.tasks.pick_place import PickPlace
from visual_irl.types import ObjectEstimate

SAME = 0.08
"""What is seen farther than this from where a thing was is another one [m]."""


class Sight:
    """The task's detector on pictures of the cell's RGB-D camera, with a sensor's noise; nothing else is known of the scene.

    Things are numbered as they are found first. One that the arm hides is thought to be where it was; one that was lost is
    whatever turns up next and is none of the others.
    """

    def __init__(self, executor: MujocoExecutor, rng: np.random.Generator, task: PickPlace) -> None:
        self._executor, self._rng, self._task = executor, rng, task
        self._detector = ObjectsConfig(task.cell_detector or "auto").build(task.name)
        self._things: dict[str, Thing] = {}
        self._inspected: dict[str, list[Mapping[str, float]]] = {}

    def things(self) -> list[Thing]:
        """All that are known, where they are now; the attribute of one that was not inspected is `UNKNOWN`."""
        found = self._look()
        names = list(self._things)
        cost = np.array([[self._distance(self._things[n], f) for f in found] for n in names]).reshape(len(names), len(found))
        rows, columns = linear_sum_assignment(np.minimum(cost, 2.0 * SAME))
        matched = {int(j): names[i] for i, j in zip(rows, columns, strict=True) if cost[i, j] <= SAME}
        for j, estimate in enumerate(found):
            name = matched.get(j, f"{self._task.label}_{len(self._things)}")
            self._things[name] = Thing(name, estimate.p_world, estimate.radius, self._attribute(name))
        return [t for t in self._things.values() if np.isfinite(t.p_world).all()]

    def inspect(self, thing: Thing, p_world: Float[ndarray, "3"]) -> float:
        """One more look at what is held at about `p_world` [m]; its attribute by the median of all looks."""
        told = [e for e in self._look() if any(name in e.attributes for name in self._task.attributes)]
        near = [e for e in told if np.linalg.norm(e.p_world - p_world) < SAME]
        if near:
            best = min(near, key=lambda e: float(np.linalg.norm(e.p_world - p_world)))
            self._inspected.setdefault(thing.name, []).append(best.attributes)
        return self._attribute(thing.name)

    def moved(self, thing: Thing, p_world: Float[ndarray, "3"] | None) -> None:
        """A thing was put at about `p_world` [m]; with None it was lost, and may be anywhere."""
        at = np.full(3, np.nan) if p_world is None else p_world
        self._things[thing.name] = replace(self._things[thing.name], p_world=at)

    def _attribute(self, name: str) -> float:
        shown = self._inspected.get(name)
        if not shown:
            return UNKNOWN
        told = {a: [look[a] for look in shown if a in look] for a in self._task.attributes}
        return float(self._task.kind_of({a: float(np.median(values)) for a, values in told.items() if values}))

    def _look(self) -> tuple[ObjectEstimate, ...]:
        found = self._detector.detect(next(pictures(self._executor, self._rng)))
        ours = tuple(e for e in found if e.label == self._task.label)
        if found and not ours and not self._things:
            labels = ", ".join(sorted({e.label for e in found}))
            raise InvalidInput(
                f"the cell's detector sees {labels}, and task '{self._task.name}' is done with '{self._task.label}': make its "
                "`label` what its detector says"
            )
        return ours

    @staticmethod
    def _distance(thing: Thing, estimate: ObjectEstimate) -> float:
        """How far an estimate is from where a thing was [m]; what was lost may be anywhere, but is not taken before others."""
        away = float(np.linalg.norm(estimate.p_world - thing.p_world))
        return away if np.isfinite(away) else SAME
