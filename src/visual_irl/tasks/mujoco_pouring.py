"""Pouring with physics: the bottle is held by friction and holds balls, which fall where it is tipped.

Observations, actions, success and the author's reward are those of `KinematicPouring`, so that one reward can be optimised
with and without physics. A tenth of the cup's fill is one ball; the cup takes more than it needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.mujoco_engine import Simulations, mujoco
from visual_irl.tasks.kinematic_pouring import BOTTLE, CUP, KinematicPouring, KinematicPouringBatch
from visual_irl.tasks.mujoco_hand import AXES, CONTENT, MujocoHandBatch, model_of, vessel
from visual_irl.tasks.point_hand import disturbed

BALLS = 10
"""That fill the cup."""
LAYER = ((0.01, 0.01), (-0.01, -0.01), (0.01, -0.01), (-0.01, 0.01))
"""Where the balls of a layer begin, about the bottle's axis [m]."""
SOFT = 'friction=".9 .01 .001" condim="4"'


@dataclass(frozen=True)
class MujocoPouring(KinematicPouring):
    """The task, with what physics asks for besides."""

    steps: int = 80
    first_tilt: float = 1.6
    full_tilt: float = 2.1
    most_tilt: float = 2.3
    bottle_radius: float = 0.024
    """Inside of the bottle [m]."""
    wall: float = 0.006
    """Of both vessels [m]."""
    ball: float = 0.01
    """Radius of a ball [m]."""
    threads: int = 0
    """Of the physics; 0 is one for each core. Results do not depend on it."""

    noun: ClassVar[str] = "pouring in MuJoCo"

    @property
    def balls(self) -> int:
        """In the bottle at first."""
        return round(BALLS * self.content)

    def build(self, environments: int, seed: int = 0, device: str | torch.device = "cpu") -> MujocoPouringBatch:
        """`environments` copies of the task, at the start of an episode each; the physics runs on the CPU."""
        return MujocoPouringBatch(self, environments, seed, device)

    def model(self, timestep: float) -> mujoco.MjModel:
        """Table, hand, bottle, cup and balls; a step of the physics [s]."""
        bottle = vessel(self.bottle_radius, -self.standing, self.neck, self.wall, f'mass=".01" {SOFT}')
        cup = vessel(self.cup_radius, -self.cup_height / 2, self.cup_height / 2, self.wall)
        sphere = f'<geom type="sphere" size="{self.ball}" mass=".004" condim="1" priority="1" {CONTENT}/>'
        things = f'<body><freejoint/>{bottle}</body><body mocap="true">{cup}</body>'
        return model_of(things + f"<body><freejoint/>{sphere}</body>" * self.balls, 0.0, timestep)

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B 5"]:
        """Scripted demonstrator: takes the bottle from above, tips it over the cup until that is full, and puts it away."""
        o = self.split(observations)
        assert o.vessels is not None  # `split` made them
        v, bottle, cup, held = o.vessels, o.things[..., BOTTLE, :], o.things[..., CUP, :], o.held[..., BOTTLE]
        over, home = self.pouring_place(cup), self.disposal_place(bottle).expand_as(bottle)
        filled = v.level[..., CUP] >= self.full
        done = filled & ~held & ((bottle - home).norm(dim=-1) < self.disposal_distance)
        upright = v.hand_tilt < 0.2
        aim = torch.where(held[:, None], torch.where(filled[:, None], home, over), bottle)
        aim = torch.where((held & filled & ~upright)[:, None], over, aim)  # upright first, then away
        aside = (o.hand - aim)[:, :2].norm(dim=-1)
        carried = torch.where(filled & upright, (2 * aside).clamp(max=0.15), 0.0)
        high = torch.where(held, carried, 0.12 * (aside > 0.01))
        high = torch.where(done, 0.2, high)
        there = (o.hand - aim).norm(dim=-1) < 0.015
        rise = held & filled & upright & (o.hand[:, 2] < 0.2) & (aside > 0.1)  # over the cup's rim
        near = aside < 0.03
        lean = torch.where(held & near & ~filled & ((o.hand - aim)[:, 2].abs() < 0.03), self.full_tilt, 0.0)
        turn = ((lean - v.hand_tilt) / self.tilt_step).clamp(-0.5, 0.5)
        close = torch.where(held, ~(there & filled & upright), there & ~done)
        rests = (~close & (o.gripper > -0.5)) | (close & ~held)  # until the fingers have let go, or hold
        goal = torch.cat([torch.where(rise[:, None], o.hand, aim)[:, :2], (aim[:, 2] + high)[:, None]], dim=-1)
        move = self.towards(goal, o.hand) * ~rests[:, None]
        return disturbed(torch.cat([move, torch.where(close, 1.0, -1.0)[:, None], turn[:, None]], dim=-1), noise, generator)


class MujocoPouringBatch(MujocoHandBatch, KinematicPouringBatch):
    """Copies of the task."""

    task: MujocoPouring
    substeps: ClassVar[int] = 6

    def _lean(self) -> Float[Tensor, "B"]:
        return self._hand_tilt

    def _tilt_by(self, more: Float[Tensor, "B 1"]) -> None:
        self._hand_tilt = (self._hand_tilt + self.task.tilt_step * more[:, 0]).clamp(0, self.task.most_tilt)

    def _holds(self) -> Bool[Tensor, "B"]:
        return self._held

    def _half_width(self) -> Float[Tensor, "B"]:
        off = self._hand - self._bottle
        aside = off[:, 1] * self._hand_tilt.cos() - off[:, 2] * self._hand_tilt.sin()
        return self.task.bottle_radius + self.task.wall + aside.abs() * self._held

    def _lay(self, sim: Simulations) -> None:
        """The bottle as it is tilted; as many balls in it and in the cup as there are, the others far away on the table."""
        task = self.task
        half = -self._tilt / 2  # about x
        none = torch.zeros_like(half)
        sim.qpos[:, AXES : AXES + 7] = self._numbers(self._bottle, half.cos(), half.sin(), none, none)
        sim.mocap_pos[:, 0] = self._numbers(self._cup)
        in_bottle, in_cup = ((BALLS * x).round() for x in (self._in_bottle, self._in_cup))
        up = torch.stack([none, self._tilt.sin(), self._tilt.cos()], dim=-1)
        side = torch.stack([none, self._tilt.cos(), -self._tilt.sin()], dim=-1)
        for i in range(task.balls):
            x, y = LAYER[i % 4]
            layer = 2.1 * task.ball * (i // 4) + task.ball + task.wall
            inside = self._bottle + side * y + up * (layer - task.standing)
            inside = inside + inside.new_tensor([x, 0.0, 0.0])
            cup = self._cup + self._cup.new_tensor([x, y, layer - task.cup_height / 2])
            lost = inside.new_tensor([1.5, 0.05 * i, task.ball]).expand_as(inside)
            here = torch.where((i < in_bottle + in_cup)[:, None], cup, lost)
            sim.qpos[:, AXES + 7 * (i + 1) : AXES + 7 * (i + 1) + 3] = self._numbers(
                torch.where((i < in_bottle)[:, None], inside, here)
            )

    def _look(self, sim: Simulations, tilt: Float[Tensor, "B"]) -> None:
        """What is in the cup, what lies on the table; the rest is in the bottle, or on its way."""
        task = self.task
        free = self._tensor(sim.qpos[:, AXES:]).unflatten(-1, (1 + task.balls, 7))
        self._bottle, balls = free[:, 0, :3], free[:, 1:, :3]
        x, y = free[:, 0, 4], free[:, 0, 5]  # of the quaternion w, x, y, z
        self._tilt = (1 - 2 * (x.square() + y.square())).clamp(-1, 1).acos()
        self._hand_tilt = tilt.clamp(0, task.most_tilt)
        self._held = self._grasped(self._bottle[:, None])[:, 0]
        off = balls - self._cup[:, None]
        in_cup = (off[..., :2].norm(dim=-1) < task.cup_radius) & (off[..., 2] < task.cup_height / 2)
        apart = (balls - self._bottle[:, None]).norm(dim=-1) > task.neck + task.ball
        spilled = ~in_cup & apart & (balls[..., 2] < 2 * task.ball)
        self._in_cup = in_cup.sum(dim=-1) / BALLS
        self._in_bottle = task.content - self._in_cup - spilled.sum(dim=-1) / BALLS
