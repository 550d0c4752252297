"""What the tasks in MuJoCo share: a hand of two fingers in the place of the point hand, all copies on a pool of threads.

The hand moves where it is told, straight and no faster, and tilts about one axis; what it holds it holds by friction. A
subclass of `MujocoHandBatch` and of a kinematic batch is a task with the observations, actions and success of the latter.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from visual_irl.mujoco_engine import Simulations, mujoco
from visual_irl.tasks.point_hand import PointHandBatch

PERIOD = 0.1
"""Of an action [s]."""
RAMP = 4
"""In so many moves the drives are told where the hand shall be at its end."""
OPENING = 0.1
"""Between the fingers of an open gripper [m]."""
SHORT, STALLED = 0.003, 0.05
"""Fingers that stand [m/s] this far from where they were told to close to [m] hold something ..."""
REACH = 0.04
"""... which is no farther from the hand's point than this [m]."""
AXES = 6
"""The first joints of a simulation: three of the hand's place, its tilt, and the fingers, which mirror each other."""
STAVES = 8
"""Flat sides of a vessel."""
CONTENT = 'contype="2" conaffinity="2"'
"""What lies in vessels, and is not touched by the hand."""
_BOTH = 'contype="3" conaffinity="3"'
"""What bears all."""

_HAND = f"""
<body name="hand" gravcomp="1">
  <joint name="x" type="slide" axis="1 0 0"/>
  <joint name="y" type="slide" axis="0 1 0"/>
  <joint name="z" type="slide" axis="0 0 1"/>
  <joint name="tilt" type="hinge" axis="-1 0 0" armature=".01"/>
  <geom type="box" size=".02 .07 .02" pos="0 0 .08" mass="1" contype="0" conaffinity="0"/>
  <body name="left" gravcomp="1">
    <joint name="left" type="slide" axis="0 1 0" range="0 {OPENING / 2}" limited="true" damping="5"/>
    <geom type="box" size=".014 .005 .028" pos="0 .005 .02" mass=".1" condim="4" friction="1 .01 .001"/>
  </body>
  <body name="right" gravcomp="1">
    <joint name="right" type="slide" axis="0 -1 0" range="0 {OPENING / 2}" limited="true" damping="5"/>
    <geom type="box" size=".014 .005 .028" pos="0 -.005 .02" mass=".1" condim="4" friction="1 .01 .001"/>
  </body>
</body>"""
_DRIVES = """
<equality><joint joint1="right" joint2="left"/></equality>
<tendon><fixed name="grip"><joint joint="left" coef=".5"/><joint joint="right" coef=".5"/></fixed></tendon>
<actuator>
  <position joint="x" kp="6000" kv="170"/><position joint="y" kp="6000" kv="170"/><position joint="z" kp="6000" kv="170"/>
  <position joint="tilt" kp="200" kv="4"/>
  <position tendon="grip" kp="1600" kv="40" forcerange="-60 60"/>
</actuator>"""


def model_of(things: str, table: float, timestep: float) -> mujoco.MjModel:
    """The hand over a table of that height [m], and what MJCF says of the things; a step of the physics in seconds."""
    return mujoco.MjModel.from_xml_string(
        f"""<mujoco><option timestep="{timestep}" integrator="implicitfast" cone="elliptic" impratio="10"/>
        <worldbody><geom type="plane" size="2 2 .1" pos="0 0 {table}" {_BOTH}/>{_HAND}{things}</worldbody>{_DRIVES}</mujoco>"""
    )


def vessel(radius: float, low: float, high: float, wall: float, more: str = "") -> str:
    """MJCF of an open vessel about its body's z axis: inner radius, floor, rim and thickness [m]."""
    side = (radius + wall) * math.tan(math.pi / STAVES)
    middle, half = (low + high) / 2, (high - low) / 2
    at = [2 * math.pi * k / STAVES for k in range(STAVES)]
    staves = [
        f'<geom type="box" size="{wall / 2} {side} {half}" pos="{(radius + wall / 2) * math.cos(a)} '
        f'{(radius + wall / 2) * math.sin(a)} {middle}" euler="0 0 {math.degrees(a)}" {_BOTH} {more}/>'
        for a in at
    ]
    floor = f'<geom type="cylinder" size="{radius + wall / 2} {wall / 2}" pos="0 0 {low + wall / 2}" {_BOTH} {more}/>'
    return floor + "".join(staves)


class MujocoHandBatch(PointHandBatch):
    """Copies of a task that has a `model()` and a number of `threads`."""

    substeps: ClassVar[int] = 3
    """Steps of the physics in each of an action's moves."""

    _told: Float[Tensor, "B 3"]
    """To where the drives are told to bring the hand [m]."""

    def __init__(self, task: Any, environments: int, seed: int, device: str | torch.device) -> None:
        self._simulations = Simulations(task.model(PERIOD / RAMP / self.substeps), max(environments, 1), task.threads)
        super().__init__(task, environments, seed, device)

    def reset(self, hand: Float[Tensor, "B 3"] | None = None) -> Float[Tensor, "B D"]:
        """New random episodes, with the hand where it is said to be [m]; their first observations."""
        seen = super().reset(hand)
        self._place()
        return seen

    def restart_from(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Whole new episodes that begin in these states, at rest."""
        seen = super().restart_from(observations)
        self._place()
        return seen

    def step(self, actions: Float[Tensor, "B A"]) -> tuple[Tensor, bool, Tensor]:
        """See `PointHandBatch.step`; the drives go on from where they were told to be, 1.5 steps ahead at most."""
        actions, most = actions.clamp(-1, 1), 1.5 * self.task.hand_step
        ahead = (self._told - self._hand + self.task.hand_step * actions[:, :3]).clamp(-most, most)
        self._told = (self._hand + ahead).clamp(*self._corners)
        return self.move_to(self._told, actions[:, 3:])

    def _place(self) -> None:
        """Put every simulation into the state that is seen; fingers that hold something lie on it."""
        sim = self._simulations
        self._told = self._hand
        sim.reset(stage=mujoco.mjtStage.mjSTAGE_NONE)
        opening = torch.where(self._holds(), self._half_width(), self._half_opening())
        sim.qpos[:, :AXES] = self._numbers(self._hand, self._lean(), opening, opening)
        sim.ctrl[:] = self._numbers(self._hand, self._lean(), opening)
        self._lay(sim)

    def _act(self, more: Float[Tensor, "B K"]) -> None:
        """The drives go where the hand was told to; what is seen then is where physics has brought everything."""
        sim = self._simulations
        self._tilt_by(more)
        goal, before = self._numbers(self._hand, self._lean(), self._half_opening()), sim.ctrl.copy()
        for k in range(1, RAMP + 1):
            sim.ctrl[:] = before + (goal - before) * (k / RAMP)
            sim.step(nstep=self.substeps)
        self._hand = self._tensor(sim.qpos[:, :3])
        self._look(sim, self._tensor(sim.qpos[:, 3]))

    def _grasped(self, things: Float[Tensor, "B N 3"]) -> Bool[Tensor, "B N"]:
        """What keeps the fingers from closing: the nearest thing, where it is in reach."""
        sim = self._simulations
        opening, closing = (self._tensor(x[:, 4:AXES].sum(axis=1)) for x in (sim.qpos, sim.qvel))
        stopped = (closing.abs() < STALLED) & (opening > 2 * self._half_opening() + SHORT)
        distance = (self._hand[:, None] - things).norm(dim=-1)
        nearest = torch.nn.functional.one_hot(distance.argmin(dim=-1), things.shape[1]).bool()
        return nearest & (distance < REACH) & stopped[:, None]

    def _half_opening(self) -> Float[Tensor, "B"]:
        """To which each finger is told to go [m]."""
        return OPENING / 4 * (1 - self._gripper)

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(x.astype(np.float32)).to(self.device)

    def _numbers(self, *columns: Tensor) -> np.ndarray:
        flat = [c if c.ndim == 2 else c[:, None] for c in columns]
        joined: np.ndarray = torch.cat(flat, dim=1).double().cpu().numpy()
        return joined

    def _lean(self) -> Float[Tensor, "B"]:
        """To which the hand is told to tilt [rad]."""
        return torch.zeros_like(self._gripper)

    def _tilt_by(self, more: Float[Tensor, "B K"]) -> None:
        """What else of an action moves the hand."""

    def _holds(self) -> Bool[Tensor, "B"]:
        """Whether the hand holds anything."""
        raise NotImplementedError

    def _half_width(self) -> Float[Tensor, "B"]:
        """From the hand's point to the farther side of what it holds, as its fingers close [m]."""
        raise NotImplementedError

    def _lay(self, sim: Simulations) -> None:
        """Put the things where they are seen."""
        raise NotImplementedError

    def _look(self, sim: Simulations, tilt: Float[Tensor, "B"]) -> None:
        """See where the things are; the hand tilts by that [rad]."""
        raise NotImplementedError
