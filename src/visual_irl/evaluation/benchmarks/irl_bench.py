"""`visual-irl bench irl`: reward learners and imitators side by side on a kinematic task, every number over several seeds.

The primary score of a reward is what *fresh* policies make of it: policies that learn from scratch on the learned reward
alone and had no part in learning it; demonstrations may lend them states to begin episodes at (`policy.attempts`). Seeds of
demonstrations, learning, optimisation and scoring are apart.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from visual_irl.errors import InvalidInput, MissingDependency, UnknownName, pip_install
from visual_irl.evaluation.benchmarks.kept_parts import KeptParts
from visual_irl.evaluation.benchmarks.reward_measures import behaviour_accuracy, reward_measures
from visual_irl.evaluation.spread import spread
from visual_irl.evaluation.statistics import (
    bootstrap_interval,
    interquartile_mean,
    performance_profile,
    probability_of_improvement,
)
from visual_irl.io import artifacts
from visual_irl.io.atomic import require_writable_file
from visual_irl.policy.attempts import Attempts
from visual_irl.policy.cloning import Cloning
from visual_irl.policy.imitator import ClonedStart
from visual_irl.policy.mppi import Mppi, Planning
from visual_irl.policy.network import PolicyNetwork
from visual_irl.policy.ppo import PPO
from visual_irl.policy.ppo import RewardOfStates as Reward
from visual_irl.reward import SITUATION_LEARNERS
from visual_irl.reward.learner import PLANNER, Imitator, SituationReward, situation_learner
from visual_irl.tasks.batch import BatchTask, Policy, roll_out
from visual_irl.tasks.kinematic import kinematic_task, require_sound

METHODS = ("ours", "bc", "bco", "true_reward")
"""`bc` is given the demonstrator's actions and `true_reward` the reward that the task's author meant; the others neither."""
OURS = "progress"
"""Name of the learner that is `ours`; the others of `SITUATION_LEARNERS` go by their own names."""
PEERS = ("imitation_gail", "imitation_airl")
"""Of the library `imitation`, where it is installed; AIRL cannot do without the demonstrator's actions and is given them."""
MEASURES = ("starc", "epic", "return_correlation", "lipschitz")
"""What is told of a reward without optimising it; see `reward_measures`."""
THRESHOLDS = tuple(round(0.05 * k, 2) for k in range(20))
"""Success at which performance profiles are told."""
TOLD = ("reoptimised_success_worst", "let_go", "behaviour_accuracy", "return", *MEASURES[:3], "improved_on_by_ours")
"""Columns of the printed table between the intervals and the CPU time."""


@dataclass(frozen=True)
class IrlBench:
    """What is measured."""

    task: str = "onion_sorting"
    """Name in `tasks.kinematic.KINEMATIC_TASKS`."""
    demos: int = 10
    """Demonstrations, without actions."""
    seeds: int = 10
    """Independent runs: demonstrations, learning and policies."""
    first_seed: int = 0
    """Seeds count from here."""
    fresh: int = 3
    """Fresh policies trained on each learned reward; without any there is no re-optimised success."""
    keypoint_noise: float = 0.0
    """Standard deviation of noise on every demonstrated position [m]."""
    episodes: int = 256
    """Episodes that score a policy."""
    ppo: PPO = field(default_factory=PPO)
    """Optimiser of every reward."""
    attempts: int = 3
    """How often a policy is begun or gone on with at most; see `policy.attempts`."""
    cloning: Cloning = field(default_factory=Cloning)
    """How actions are cloned."""
    named: tuple[str, ...] = METHODS
    """What is compared."""
    peers: bool = False
    """Measure the library `imitation` too."""
    peer_cpu_seconds: float = 110.0
    """CPU time that each of its learners may take [s]."""

    @property
    def methods(self) -> tuple[str, ...]:
        """What is compared."""
        return self.named + PEERS if self.peers else self.named

    @property
    def all_seeds(self) -> range:
        """Every seed."""
        return range(self.first_seed, self.first_seed + self.seeds)

    def __post_init__(self) -> None:
        require_sound(self.task, kinematic_task(self.task))  # what another package brings fails before anything is measured
        known = METHODS + tuple(name for name in SITUATION_LEARNERS.names if name != OURS)
        for name in self.named:
            if name not in known:
                raise UnknownName(f"unknown method '{name}'; known: {', '.join(known)}")
            if name not in METHODS:
                situation_learner(name)
        if not self.methods:
            raise InvalidInput("bench irl: no method is named; leave --methods out for all")
        for name, least in (("demos", 1), ("seeds", 1), ("fresh", 0), ("attempts", 1), ("episodes", 1)):
            if getattr(self, name) < least:
                raise InvalidInput(f"bench irl: {name} is {getattr(self, name)}; give at least {least}")
        if not 0 <= self.keypoint_noise < 0.5:
            raise InvalidInput(f"bench irl: keypoint_noise is {self.keypoint_noise} m; give 0 to 0.5")
        if self.peers and find_spec("imitation") is None:
            raise MissingDependency(f"bench irl: the peers need the package 'imitation': {pip_install('peers')}")


@dataclass(frozen=True)
class Result:
    """Every run, and what they say."""

    config: IrlBench
    runs: list[dict[str, Any]]

    @property
    def seeds_not_showing_all(self) -> list[int]:
        """Those whose demonstrations leave out an attribute: nobody can know where things with it belong."""
        return sorted({r["seed"] for r in self.runs if not r["shows_all"]})

    def summary(self) -> dict[str, Any]:
        """The content of the JSON file."""
        methods: dict[str, Any] = {}
        scores = {m: np.array([[r["success"]] for r in self.runs if r["method"] == m]) for m in self.config.methods}
        for method, success in scores.items():
            runs = [r for r in self.runs if r["method"] == method]
            rng = np.random.default_rng(0)
            row: dict[str, Any] = {
                "success_iqm": interquartile_mean(success),
                "success_ci": bootstrap_interval(interquartile_mean, success, rng=rng),
                "success_iqm_where_all_shown": None,
                "success_profile": performance_profile(success, np.array(THRESHOLDS)).tolist(),
                "reoptimised_success_iqm": None,
                "reoptimised_success_worst": None,
                "reoptimised_success_ci": None,
                "reoptimised_success_profile": None,
                "improved_on_by_ours": None,
                "improved_on_by_ours_ci": None,
            } | dict.fromkeys(MEASURES)
            all_shown = [[r["success"]] for r in runs if r["shows_all"]]
            if all_shown:
                row["success_iqm_where_all_shown"] = interquartile_mean(np.array(all_shown))
            if runs[0]["reoptimised"]:
                again = np.array([r["reoptimised"] for r in runs])
                row["reoptimised_success_iqm"] = interquartile_mean(again)
                row["reoptimised_success_worst"] = float(again.min())
                row["reoptimised_success_ci"] = bootstrap_interval(interquartile_mean, again, rng=rng)
                row["reoptimised_success_profile"] = performance_profile(again, np.array(THRESHOLDS)).tolist()
            if runs[0]["starc"] is not None:
                row |= {name: float(np.median([r[name] for r in runs])) for name in MEASURES}
            if method != "ours" and "ours" in scores:
                pair = (scores["ours"], success)
                row["improved_on_by_ours"] = probability_of_improvement(*pair)
                row["improved_on_by_ours_ci"] = bootstrap_interval(probability_of_improvement, *pair, rng=rng, resamples=500)
            for name in ("return", "let_go", "behaviour_accuracy", "cpu_s", "env_steps"):
                row[name] = float(np.median([r[name] for r in runs]))
            methods[method] = row
        c = self.config
        return {
            "task": c.task, "demos": c.demos, "seeds": c.seeds, "first_seed": c.first_seed,
            "keypoint_noise_m": c.keypoint_noise, "seeds_not_showing_all": self.seeds_not_showing_all,
            "profile_thresholds": THRESHOLDS, "methods": methods, "runs": self.runs,
        }  # fmt: skip

    def table(self) -> str:
        """The summary for people."""
        lines = [f"{self.config.task}, {self.config.demos} demonstrations, {self.config.seeds} seeds (IQM, 95 % interval)"]
        head = f"{'':14} {'success':>20} {'re-optimised':>20} {'worst':>6} {'let go':>6} {'alike':>6} {'return':>6}"
        lines.append(head + f" {'STARC':>6} {'EPIC':>6} {'r':>6} {'ours >':>6} CPU s")
        methods = self.summary()["methods"]
        for method, r in methods.items():
            iqm, bounds = r["reoptimised_success_iqm"], r["reoptimised_success_ci"]
            again = "-" if iqm is None else _interval(iqm, bounds)
            told = " ".join(f"{'-':>6}" if r[name] is None else f"{r[name]:6.2f}" for name in TOLD)
            lines.append(f"{method:14} {_interval(r['success_iqm'], r['success_ci']):>20} {again:>20} {told} {r['cpu_s']:5.0f}")
        lines.append(
            "alike: learned-behaviour accuracy; r: correlation of returns; ours >: chance that a run of ours is better"
        )
        if self.seeds_not_showing_all:
            rest = {m: r["success_iqm_where_all_shown"] for m, r in methods.items()}
            without = ", ".join(f"{m} {iqm:.3f}" for m, iqm in rest.items() if iqm is not None) or "no seed is left"
            few = f"the demonstrations of seeds {', '.join(map(str, self.seeds_not_showing_all))} leave out an attribute"
            lines.append(f"{few}: where its things belong cannot be known; success without these seeds: {without}")
        heard = [(warning, r["seed"]) for r in self.runs for warning in r["warnings"]]
        for warning in sorted({w for w, _ in heard}):
            seeds = sorted({seed for w, seed in heard if w == warning})
            lines.append(f"warning, seeds {', '.join(map(str, seeds))}: {warning}")
        return "\n".join(lines)


def bench_irl(
    config: IrlBench,
    out: Path,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    address: str | None = None,
) -> Result:
    """Run every method with every seed in worker processes and write the summary to `out`.

    A finished run is kept beside `out` until all are done, so a bench that was interrupted goes on where it was. When a
    worker is killed the runs that were under way are begun again (`evaluation.spread`, also for `address`).

    Raises:
        LearningFailed: a learner diverged, or workers were killed too often.
    """
    require_writable_file(out, "--json")
    kept = KeptParts(out, config)
    jobs = {f"{method} {seed}": (config, method, seed) for method, seed in itertools.product(config.methods, config.all_seeds)}
    todo = [name for name in jobs if name not in kept]
    progress(len(jobs) - len(todo), len(jobs))
    finished = spread(run_method, [jobs[name] for name in todo], workers, address)
    for done, (i, run) in enumerate(finished, len(jobs) - len(todo) + 1):
        kept.keep(todo[i], run)
        progress(done, len(jobs))
    result = Result(config, [kept[name] for name in jobs])
    artifacts.write_json(out, result.summary())
    kept.forget()
    return result


def run_method(config: IrlBench, method: str, seed: int) -> dict[str, Any]:
    """One method with one seed: its policy's score, for a reward its measures and what fresh policies reach, and what was
    warned of: it must reach whoever reads the table, whichever process or machine this is."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", UserWarning)
        run = _run_method(config, method, seed)
    return run | {"warnings": sorted({str(w.message) for w in heard if w.category is UserWarning})}


def _run_method(config: IrlBench, method: str, seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    task = kinematic_task(config.task)
    seen, actions, _ = roll_out(task.build(config.demos, seed=10_000 + seed), task.expert)
    shown = _with_noise(task, seen, config.keypoint_noise, seed)
    began = time.process_time()
    reward: Reward | None = None
    if method in PEERS:
        from visual_irl.evaluation.benchmarks import irl_peers  # imports what only an extra installs

        act, reward, steps = irl_peers.learn(method, task, shown, actions, seed, config.peer_cpu_seconds)
    elif method == "bc":
        act, steps = _acting(task, config.cloning.clone(task, shown[:, :-1].flatten(0, 1), actions.flatten(0, 1), seed)), 0
    elif method == "bco":
        clone, _, steps = config.cloning.from_observations(task.build(config.ppo.environments, seed=20_000 + seed), shown, seed)
        act = _acting(task, clone)
    else:
        policy, steps = None, 0
        if method == "true_reward":
            reward = _true_reward(task)
        else:
            learner = situation_learner(OURS if method == "ours" else method)
            imitator: Imitator = ClonedStart(task, shown, config.ppo, config.cloning, seed)
            if learner.plays_against == PLANNER:
                imitator = Planning(task, Mppi(), seed=seed)
            learned = learner.learn([task.split(s) for s in shown], imitator, seed)
            reward, policy, steps = _on_observations(task, learned.reward), learned.policy, learned.env_steps
        if policy is None:
            policy, steps = Attempts(config.ppo, config.attempts).optimise(task, reward, shown, seed, 30_000 + seed)
        act = _acting(task, policy) if isinstance(policy, PolicyNetwork) else policy
    cpu = time.process_time() - began
    run: dict[str, Any] = {"method": method, "seed": seed, "cpu_s": cpu, "env_steps": steps, **score(config, act, seed)}
    shows_all = len(task.split(shown).attribute.unique()) == task.attributes
    run |= {"shows_all": shows_all, "reoptimised": []} | dict.fromkeys(MEASURES)
    if reward is not None:
        for i in range(1, config.fresh + 1):
            fresh, _ = Attempts(config.ppo, config.attempts).optimise(
                task, reward, shown, 1_000 * i + seed, 40_000 + 100 * i + seed
            )
            run["reoptimised"].append(score(config, _acting(task, fresh), seed)["success"])
        run |= reward_measures(task, reward, seed)
    return run


def score(config: IrlBench, act: Policy, seed: int) -> dict[str, float]:
    """Success, share of episodes that succeed with nothing held at the end, return (0: random actions, 1: the demonstrator),
    and how often the policy does what the demonstrator does."""
    task = kinematic_task(config.task)
    seed += 50_000

    def play(policy: Policy) -> tuple[Tensor, float]:
        seen, _, rewards = roll_out(task.build(config.episodes, seed=seed), policy)
        return seen[:, -1], float(rewards.sum(dim=1).mean())

    last, own = play(act)
    generator = torch.Generator().manual_seed(seed)
    _, random = play(lambda o: 2 * torch.rand(len(o), task.action_size, generator=generator) - 1)
    _, best = play(task.expert)
    loose = ~task.split(last).held.any(dim=-1)
    return {
        "success": float(task.success(last).float().mean()),
        "let_go": float((loose & task.success(last)).float().mean()),
        "return": (own - random) / (best - random),
        "behaviour_accuracy": behaviour_accuracy(task, act, seed),
    }


def _acting(task: BatchTask, network: PolicyNetwork) -> Policy:
    return lambda observations: network.act(task.split(observations))


def _true_reward(task: BatchTask) -> Reward:
    return lambda s, s_next: task.true_reward(s_next)


def _on_observations(task: BatchTask, reward: SituationReward) -> Reward:
    return lambda s, s_next: reward(task.split(s), task.split(s_next))


def _with_noise(task: BatchTask, seen: Tensor, noise: float, seed: int) -> Tensor:
    """Observations whose positions are off by Gaussian noise [m] in every step."""
    places = task.positions
    generator = torch.Generator().manual_seed(60_000 + seed)
    moved = seen.clone()
    moved[..., :places] += noise * torch.randn(*seen.shape[:-1], places, generator=generator)
    return moved


def _interval(value: float, bounds: tuple[float, float]) -> str:
    return f"{value:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"
