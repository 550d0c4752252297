"""Pick, inspect and place with physics: onions roll, are held by friction, and bins have walls.

Observations, actions, success and the author's reward are those of `KinematicSorting`, so that one reward can be optimised
with and without physics.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.mujoco_engine import Simulations, mujoco
from visual_irl.tasks.kinematic_sorting import KinematicSorting, KinematicSortingBatch
from visual_irl.tasks.mujoco_hand import AXES, MujocoHandBatch, model_of
from visual_irl.tasks.point_hand import disturbed


@dataclass(frozen=True)
class MujocoSorting(KinematicSorting):
    """The task, with what physics asks for besides."""

    radius: float = 0.03
    """Of an onion [m]."""
    mass: float = 0.1
    """Of an onion [kg]."""
    wall: float = 0.03
    """Height of a bin's walls [m], which stand `placed_distance` from its centre."""
    threads: int = 0
    """Of the physics; 0 is one for each core. Results do not depend on it."""

    noun: ClassVar[str] = "sorting in MuJoCo"

    def build(self, environments: int, seed: int = 0, device: str | torch.device = "cpu") -> MujocoSortingBatch:
        """`environments` copies of the task, at the start of an episode each; the physics runs on the CPU."""
        return MujocoSortingBatch(self, environments, seed, device)

    def model(self, timestep: float) -> mujoco.MjModel:
        """Table, bins, hand and onions; a step of the physics [s]."""
        table, half, side = self.table_height - self.radius, self.placed_distance, 0.004
        walls = [
            f'<geom type="box" size="{sx} {sy} {self.wall / 2}" pos="{x + dx} {y + dy} {table + self.wall / 2}"/>'
            for x, y, _ in self.bins
            for dx, dy, sx, sy in ((half, 0, side, half), (-half, 0, side, half), (0, half, half, side), (0, -half, half, side))
        ]
        onion = (
            f'<body><freejoint/><geom type="sphere" size="{self.radius}" mass="{self.mass}" condim="6" friction=".9 .01 .002"/>'
            "</body>"
        )
        return model_of("".join(walls) + onion * self.objects, table, timestep)

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 4"]:
        """Scripted demonstrator: comes from above around the nearest onion out of place, and to its bin over the walls."""
        o = self.split(observations)
        thing, centre, held, in_bin = self.next_thing(o)
        done = in_bin & ~held
        aim = torch.where((held | done)[:, None], centre, thing)
        aside = (o.hand - aim)[:, :2].norm(dim=-1)
        high = torch.where(done, 0.15, torch.where(held, aside.clamp(max=0.12), 0.08 * (aside > 0.01)))
        there = (o.hand - aim).norm(dim=-1) < 0.015
        close = torch.where(held, ~there, there & ~done)
        rests = ~close & (o.gripper > -0.5)  # until the fingers have let go
        move = self.towards(aim + torch.nn.functional.pad(high[:, None], (2, 0)), o.hand) * ~rests[:, None]
        return disturbed(torch.cat([move, torch.where(close, 1.0, -1.0)[:, None]], dim=-1), noise, generator)


class MujocoSortingBatch(MujocoHandBatch, KinematicSortingBatch):
    """Copies of the task."""

    task: MujocoSorting

    def _holds(self) -> Bool[Tensor, "B"]:
        return self._held.any(dim=-1)

    def _half_width(self) -> Float[Tensor, "B"]:
        off = (self._hand[:, None, 1] - self._objects[..., 1]).abs()
        return self.task.radius + (off * self._held).amax(dim=-1)

    def _lay(self, sim: Simulations) -> None:
        for i in range(self.task.objects):
            sim.qpos[:, AXES + 7 * i : AXES + 7 * i + 3] = self._numbers(self._objects[:, i])

    def _look(self, sim: Simulations, tilt: Float[Tensor, "B"]) -> None:
        self._objects = self._tensor(sim.qpos[:, AXES:]).unflatten(-1, (self.task.objects, 7))[..., :3]
        self._held = self._grasped(self._objects)
