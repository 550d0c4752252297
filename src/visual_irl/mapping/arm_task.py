"""A kinematic task done by a robot's arm instead of a free point: joint speeds are the actions, within the arm's own limits.

What is seen is what a person's arm would be seen to do: the hand and the directions of the limbs that the robot's stand for
(`mapping.equivalent_arm`), so that a reward learned on people can be asked about every state of the robot.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from visual_irl import se3
from visual_irl.errors import InvalidInput
from visual_irl.mapping.equivalent_arm import hands_of_tools
from visual_irl.mapping.placement import Placement
from visual_irl.robots.chain import Chain, arm_states, chain_of
from visual_irl.robots.model import RobotModel
from visual_irl.tasks.kinematic_sorting import KinematicSorting
from visual_irl.tasks.situation import Limbs, Situation

LIMBS = 10
"""Numbers of an observation about the arm: three directions, and the height of its lowest point."""


@dataclass(frozen=True, eq=False)
class ArmTask:
    """A task, the arm that does it, and where that stands. Observed are what the task says, limbs, joint angles and speeds."""

    task: KinematicSorting
    robot: RobotModel
    placement: Placement
    interval: float = 0.1
    """Duration of a step [s]."""
    pace: float = 0.5
    """Share of the arm's speed and acceleration limits that is used."""
    spread: float = 0.15
    """How far from home each joint starts at most [rad]."""

    def __post_init__(self) -> None:
        if not (self.interval > 0.0 and 0.0 < self.pace <= 1.0):
            raise InvalidInput(f"arm task: interval {self.interval} s must be positive, and pace {self.pace} within (0, 1]")

    horizon = property(lambda self: self.task.horizon, doc="Length of an episode [steps].")
    positions = property(lambda self: self.task.positions, doc="How many numbers, the first ones, are coordinates [m].")
    attributes = property(lambda self: self.task.attributes, doc="Number of classes that the rule tells apart.")
    joints = property(lambda self: len(self.robot.joint_names), doc="Joints of the arm.")
    observation_size = property(
        lambda self: self.task.observation_size + LIMBS + 2 * self.joints, doc="Numbers in an observation."
    )
    action_size = property(lambda self: self.joints + 1, doc="A speed for each joint, and gripper motion.")

    @cached_property
    def chain(self) -> Chain:
        """The arm's kinematics."""
        return chain_of(self.robot)

    def build(self, environments: int, seed: int = 0) -> ArmBatch:
        """Copies of the task, at the start of an episode each."""
        return ArmBatch(self, environments, seed)

    def split(self, observations: Float[Tensor, "*B D"]) -> Situation:
        """The situations that observations describe, as if a person were in them."""
        seen = self.task.checked_size(observations, self.observation_size)
        own, upper, fore, fingers, lowest, _ = seen.split([self.task.observation_size, 3, 3, 3, 1, 2 * self.joints], dim=-1)
        now = self.task.split(own)
        limbs = Limbs(upper, fore, fingers, lowest.squeeze(-1))
        return Situation(now.hand, now.things, now.held, now.attribute, now.gripper, limbs=limbs)

    def angles(self, observations: Float[Tensor, "*B D"]) -> tuple[Float[Tensor, "*B J"], Float[Tensor, "*B J"]]:
        """Joint angles [rad] and speeds [rad/s]."""
        q, speed = observations[..., -2 * self.joints :].split(self.joints, dim=-1)
        return q, speed

    def success(self, observations: Float[Tensor, "*B D"]) -> Bool[Tensor, "*B"]:
        """The task's own criterion."""
        return self.task.success(observations[..., : self.task.observation_size])

    def true_reward(self, observations: Float[Tensor, "*B D"]) -> Float[Tensor, "*B"]:
        """The task's own."""
        return self.task.true_reward(observations[..., : self.task.observation_size])

    def expert(
        self, observations: Float[Tensor, "B D"], noise: float = 0.0, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B A"]:
        """The scripted hand, followed by damped least squares (Wampler 1986) that know of nothing else."""
        script = self.task.expert(observations[:, : self.task.observation_size], noise, generator)
        q = self.angles(observations)[0].double().numpy()
        count, step = self.joints, 1e-5
        moved = np.concatenate([q[:, None], q[:, None] + step * np.eye(count)], axis=1).reshape(-1, count)
        hand = self.look(moved)[0].reshape(len(q), count + 1, 3)
        jacobian = np.swapaxes((hand[:, 1:] - hand[:, :1]) / step, 1, 2)
        way = self.task.hand_step * script[:, :3].double().numpy()
        damped = jacobian @ np.swapaxes(jacobian, 1, 2) + 1e-3 * np.eye(3)
        turn = np.einsum("bij,bi->bj", jacobian, np.linalg.solve(damped, way[..., None])[..., 0])
        share = turn / (self.interval * self.pace * self.robot.velocity)
        share /= np.maximum(np.abs(share).max(axis=1, keepdims=True), 1.0)
        return torch.cat([torch.from_numpy(share).float(), script[:, 3:]], dim=1)

    def look(self, q: Float[ndarray, "B J"]) -> tuple[Float[ndarray, "B 3"], Float[ndarray, "B 10"]]:
        """Where the human hand is that the arm stands for [m], and what is seen of its limbs.

        The upper arm is mirrored downwards, as mapping mirrors a person's upwards: arms on a table cannot hang.
        """
        Ts, points = arm_states(self.chain, q)
        Ts, points = self.placement.T_world_base @ Ts, se3.apply(self.placement.T_world_base, points)
        Ts_hand = hands_of_tools(self.placement, Ts, points[0, 0])
        upper, fore = _unit(points[:, 1] - points[:, 0]), _unit(points[:, 2] - points[:, 1])
        lowest = np.minimum(points[:, 1:, 2].min(axis=1), Ts[:, 2, 3])
        return Ts_hand[:, :3, 3], np.column_stack([upper * [1.0, 1.0, -1.0], fore, Ts_hand[:, :3, 2], lowest])

    def next_speed(
        self, q: Float[ndarray, "B J"], speed: Float[ndarray, "B J"], share: Float[ndarray, "B J"]
    ) -> Float[ndarray, "B J"]:
        """Joint speeds [rad/s] nearest to a share of the fastest that acceleration allows, and from which the arm can still
        stop before its limits: `v dt + v^2 / 2a` is no more than what is left of the way."""
        a, dt = self.pace * self.robot.acceleration, self.interval

        def most(way: ndarray) -> ndarray:
            most: ndarray = a * (np.sqrt(dt**2 + 2.0 * np.maximum(way, 0.0) / a) - dt)
            return most

        low = np.maximum(speed - a * dt, -most(q - self.robot.lower))
        high = np.minimum(speed + a * dt, most(self.robot.upper - q))
        chosen: ndarray = np.minimum(np.maximum(share * self.pace * self.robot.velocity, low), high)
        return chosen


class ArmBatch:
    """Copies in step with each other."""

    def __init__(self, task: ArmTask, environments: int, seed: int) -> None:
        self.task, self.environments = task, environments
        self._inner = task.task.build(environments, seed)
        self._rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> Float[Tensor, "B D"]:
        """New random episodes; their first observations."""
        robot = self.task.robot
        around = self._rng.uniform(-self.task.spread, self.task.spread, (self.environments, self.task.joints))
        self._q = np.clip(robot.home + around, robot.lower, robot.upper)
        self._speed = np.zeros_like(self._q)
        hand, limbs = self.task.look(self._q)
        return self._seen(self._inner.reset(_tensor(hand)), limbs)

    def restart_from(self, observations: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Whole new episodes that begin in these states."""
        self.task.task.checked_size(observations, self.task.observation_size)
        own = self._inner.restart_from(observations[:, : self.task.task.observation_size])
        self._q, self._speed = (x.double().numpy() for x in self.task.angles(observations))
        return self._seen(own, self.task.look(self._q)[1])

    def step(self, actions: Float[Tensor, "B A"]) -> tuple[Tensor, bool, Tensor]:
        """One step of joint speeds (J) and gripper motion (1), each cut to [-1, 1]; returns what a point hand's does."""
        actions, joints = actions.clamp(-1, 1), self.task.joints
        self._speed = self.task.next_speed(self._q, self._speed, actions[:, :joints].double().numpy())
        self._q = self._q + self.task.interval * self._speed
        hand, limbs = self.task.look(self._q)
        _, ended, own = self._inner.move_to(_tensor(hand), actions[:, joints:])
        reached = self._seen(own, limbs)
        return (self.reset() if ended else reached), ended, reached

    def _seen(self, own: Tensor, limbs: ndarray) -> Tensor:
        return torch.cat([own, _tensor(limbs), _tensor(self._q), _tensor(self._speed)], dim=1)


def _tensor(x: ndarray) -> Tensor:
    return torch.from_numpy(x).float()


def _unit(v: ndarray) -> ndarray:
    unit: ndarray = v / np.linalg.norm(v, axis=-1, keepdims=True)
    return unit
