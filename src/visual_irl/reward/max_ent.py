"""Maximum causal entropy inverse reinforcement learning on the graph of a task.

Ziebart, Bagnell and Dey 2010, "Modeling interaction via the principle of maximum causal entropy": find the linear reward
under which the demonstrated moves are most likely for an agent whose policy is soft-optimal,

    Q_t(s, a) = theta . phi(s, a, s') + V_{t+1}(s'),    V_t(s) = log sum_a exp Q_t(s, a),    pi(a|s) = exp(Q - V),

with a Gaussian prior on theta. Dynamics are known and deterministic, so the likelihood is exact and its gradient is the
difference of feature counts. The demonstrations hold states only: which move was made is read off consecutive states.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import minimize
from torch import Tensor

from visual_irl.errors import LearningFailed
from visual_irl.io.evaluations import Evaluations
from visual_irl.reward.model import LinearReward
from visual_irl.tasks.graph import Graph, Relations


@dataclass(frozen=True)
class MaxEnt:
    """Configuration of the learner."""

    prior: float = 0.02
    """Weight of `|theta|^2` per episode: keeps weights finite where demonstrations never fail."""
    horizon: int = 8
    """Longest episode in moves: go, grasp, go, go, release and slack."""
    iterations: int = 200
    """Most L-BFGS iterations."""

    def build(self) -> MaxEnt:
        """The learner itself: it has no state."""
        return self

    def learn(
        self,
        relations: Relations,
        graph: Graph,
        state_sequences: Sequence[Sequence[int]],
        progress: Callable[[int, float], None] = lambda iteration, loss: None,
        evaluations: Evaluations | None = None,
    ) -> LinearReward:
        """The reward that explains the demonstrated state sequences, one an episode of the graph.

        `evaluations` remembers what was computed, for a learner that is killed; nothing is kept when not given.

        Raises:
            LearningFailed: a sequence is not possible on the graph, or the likelihood is not finite.
        """
        evaluations = Evaluations() if evaluations is None else evaluations
        steps = _demonstrated_moves(graph, state_sequences, self.horizon)
        features = relations(graph.before, graph.after)
        calls = 0

        def loss(weights: ndarray) -> tuple[float, ndarray]:
            theta = torch.from_numpy(weights.copy()).requires_grad_(True)
            log_policy = soft_policy(graph, features @ theta, self.horizon)
            likelihood = torch.stack([log_policy[t, e, s, m] for e, t, s, m in steps]).sum()
            value = -likelihood / len(state_sequences) + self.prior * (theta**2).sum()
            (gradient,) = torch.autograd.grad(value, theta)
            return float(value.detach()), gradient.numpy()

        def remembered(weights: ndarray) -> tuple[float, ndarray]:
            nonlocal calls
            value, gradient = evaluations.ask(weights, loss)
            calls += 1
            if not (np.isfinite(value) and np.isfinite(gradient).all()):
                best = "" if evaluations.best is None else f"; the best weights until then: {evaluations.best.tolist()}"
                raise LearningFailed(f"the loss became {value} at step {calls}: raise --prior above {self.prior}{best}")
            progress(calls, value)
            return value, gradient

        # SciPy's optimiser, not torch's: importing torch.optim loads a compiler whose LLVM clashes with off-screen OpenGL's
        found = minimize(
            remembered, np.zeros(features.shape[-1]), jac=True, method="L-BFGS-B", options={"maxiter": self.iterations}
        )
        return LinearReward(relations, torch.from_numpy(found.x))


def soft_policy(graph: Graph, reward: Float[Tensor, "E N M"], horizon: int) -> Float[Tensor, "H E N M"]:
    """Log-probability of every move at every time, by backward recursion; -inf for moves that do not exist."""
    exists = graph.successors >= 0
    ended = ~exists.any(dim=1)
    value = reward.new_zeros(reward.shape[0], len(graph.states))
    policies = []
    for _ in range(horizon):
        q = (reward + value[:, graph.successors.clamp(min=0)]).masked_fill(~exists, -torch.inf)
        v = torch.logsumexp(q.masked_fill(ended[:, None], 0.0), dim=-1)
        policies.append(q - v[..., None])
        value = v.masked_fill(ended, 0.0)
    return torch.stack(policies[::-1])


def _demonstrated_moves(graph: Graph, sequences: Sequence[Sequence[int]], horizon: int) -> list[tuple[int, int, int, int]]:
    """(episode, time, state, move) for each demonstrated step."""
    steps = []
    for e, sequence in enumerate(sequences):
        if len(sequence) - 1 > horizon:
            raise LearningFailed(f"episode {e} has {len(sequence) - 1} moves; raise --horizon above {horizon}")
        for t, (s, s_next) in enumerate(itertools.pairwise(sequence)):
            moves = (graph.successors[s] == s_next).nonzero()
            if not len(moves):
                raise LearningFailed(f"episode {e}: no move leads from {graph.states[s]} to {graph.states[s_next]}")
            steps.append((e, t, s, int(moves[0])))
    return steps
