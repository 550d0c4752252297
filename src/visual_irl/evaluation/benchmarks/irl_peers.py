"""GAIL and AIRL of the library `imitation` on our kinematic tasks: the same features, the same environments.

Ho and Ermon 2016, "Generative adversarial imitation learning"; Fu, Luo and Levine 2018, "Learning robust rewards with
adversarial inverse reinforcement learning"; Gleave et al. 2022, "imitation: Clean imitation learning implementations".
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from imitation.algorithms.adversarial.airl import AIRL
from imitation.algorithms.adversarial.common import AdversarialTrainer
from imitation.algorithms.adversarial.gail import GAIL
from imitation.data.types import Transitions
from imitation.rewards.reward_nets import BasicRewardNet, BasicShapedRewardNet
from imitation.util.logger import configure
from imitation.util.networks import training
from numpy import ndarray
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from visual_irl.policy.ppo import RewardOfStates
from visual_irl.tasks.batch import BatchTask, Policy
from visual_irl.tasks.features import relational_features

ENVIRONMENTS = 32
"""Environments in step: fewer than ours, so that a round of the library is short and it gets many."""


def learn(
    method: str, task: BatchTask, shown: Tensor, actions: Tensor, seed: int, cpu_seconds: float
) -> tuple[Policy, RewardOfStates, int]:
    """Policy, reward and environment steps after `cpu_seconds` of `imitation_gail` or `imitation_airl`.

    Both learn a reward of (s, s'). GAIL is given no action; AIRL's discriminator needs the demonstrator's.
    """
    venv = FeatureVecEnv(task, ENVIRONMENTS, seed)
    generator = PPO(
        "MlpPolicy", venv, n_steps=task.horizon, batch_size=480, n_epochs=4, learning_rate=5e-4, gamma=0.97, gae_lambda=0.95,
        ent_coef=1e-3, policy_kwargs={"net_arch": [128, 128], "log_std_init": -0.3}, seed=seed, device="cpu",
    )  # fmt: skip
    space = (venv.observation_space, venv.action_space)
    inputs: dict[str, Any] = {"use_state": True, "use_action": False, "use_next_state": True, "use_done": False}
    airl = method == "imitation_airl"
    net = BasicShapedRewardNet(*space, **inputs) if airl else BasicRewardNet(*space, **inputs)
    transitions = _transitions(task, shown, actions if airl else torch.zeros_like(actions))
    trainer = (AIRL if airl else GAIL)(
        demonstrations=transitions, demo_batch_size=min(256, len(transitions)), venv=venv, gen_algo=generator, reward_net=net,
        n_disc_updates_per_round=4, custom_logger=configure(format_strs=[]),
    )  # fmt: skip
    began = time.process_time()
    while time.process_time() - began < cpu_seconds:
        _round(trainer)
    reward_net: Any = net.base if airl else net

    def act(observations: Tensor) -> Tensor:
        action, _ = generator.policy.predict(flat_features(task, observations).numpy(), deterministic=True)
        return torch.from_numpy(action)

    def reward(s: Tensor, s_next: Tensor) -> Tensor:
        now, then = flat_features(task, s), flat_features(task, s_next)
        return reward_net(now, torch.zeros(len(s), task.action_size), then, torch.zeros(len(s)))

    return act, reward, venv.steps


def _round(trainer: AdversarialTrainer) -> None:
    """One round of the library's `train`, which would draw a bar of its own for each and takes no option to leave it out."""
    trainer.train_gen(trainer.gen_train_timesteps)
    for _ in range(trainer.n_disc_updates_per_round):
        with training(trainer.reward_train):
            trainer.train_disc()
    trainer.logger.dump()


def flat_features(task: BatchTask, observations: Tensor) -> Tensor:
    """The features that our own networks see, of all things in a row."""
    return relational_features(task.split(observations), task.attributes).flatten(-2)


def _transitions(task: BatchTask, shown: Tensor, actions: Tensor) -> Transitions:
    features = flat_features(task, shown)
    dones = np.zeros(actions.shape[:2], dtype=bool)
    dones[:, -1] = True
    return Transitions(
        obs=features[:, :-1].flatten(0, 1).numpy(),
        acts=actions.flatten(0, 1).numpy(),
        next_obs=features[:, 1:].flatten(0, 1).numpy(),
        dones=dones.reshape(-1),
        infos=np.array([{}] * dones.size),
    )


class FeatureVecEnv(VecEnv):
    """A batch of the task as stable-baselines3 wants it."""

    def __init__(self, task: BatchTask, environments: int, seed: int) -> None:
        self.batch, self.steps, self.render_mode = task.build(environments, seed=20_000 + seed), 0, None
        size = flat_features(task, self.batch.reset()).shape[-1]
        high = np.ones(task.action_size, np.float32)
        super().__init__(
            environments, gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32), gymnasium.spaces.Box(-high, high)
        )

    def reset(self) -> ndarray:
        """New episodes."""
        return flat_features(self.batch.task, self.batch.reset()).numpy()

    def step_async(self, actions: ndarray) -> None:
        """Actions of the next step."""
        self._actions = torch.from_numpy(np.asarray(actions, np.float32))

    def step_wait(self) -> tuple[ndarray, ndarray, ndarray, list[dict[str, Any]]]:
        """One step; episodes are cut by time."""
        task = self.batch.task
        now, ended, reached = self.batch.step(self._actions)
        self.steps += self.num_envs
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if ended:
            last = flat_features(task, reached).numpy()
            infos = [{"terminal_observation": row, "TimeLimit.truncated": True} for row in last]
        reward = task.true_reward(reached).numpy()  # the library puts the learned one in its place
        return flat_features(task, now).numpy(), reward, np.full(self.num_envs, ended), infos

    def close(self) -> None:
        """There is nothing to close."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The same attribute for every environment."""
        return [getattr(self, attr_name)] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Environments of a batch are alike: none can be given an attribute of its own."""
        raise AttributeError(f"environments of a batch are alike; '{attr_name}' cannot be set on some")

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """The same call for every environment."""
        return [getattr(self, method_name)(*args, **kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """No environment is wrapped."""
        return [False] * self.num_envs

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """The batch has its seed from the start."""
        return [None] * self.num_envs
