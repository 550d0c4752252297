"""The online mapper: one target a frame, causal, compiled, without an allocation in the loop.

Two arms are followed. The *ideal* one has no inertia: it takes the hand exactly by a few hand-first steps from where it was,
drawn to the human's limbs and to the posture that the prior expects of the best path through the whole motion; where this
draws it off the hand, or into itself, its step is taken again for the hand alone. When its branch ends (a joint limit takes
the hand away, or the arm meets itself), every other solution is looked at and the best one taken; it also leaves one that has
long cost more than another. The *commanded* arm follows the ideal one inside the joints' position, speed and acceleration
limits: exactly where it can, with the hand first where it nearly can, and straight through joint space after a change of
branch.

When keypoints are lost the last target is held for a while, then the arm decelerates and stands until they come back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit, types
from numba.experimental import structref
from numpy import ndarray

from visual_irl import se3
from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.mapping.branch_change import unlikeness
from visual_irl.mapping.branch_path import BranchCosts, price, wound
from visual_irl.mapping.branch_sweep import forget, sweep_of
from visual_irl.mapping.branch_watch import OPTIONS
from visual_irl.mapping.commanded_arm import NEARLY, Limits, OnlineState, command, decelerate
from visual_irl.mapping.hand_first import Pull, self_motion, work_of
from visual_irl.mapping.ideal_arm import follow_ideal
from visual_irl.mapping.prior import JOINTS, Prior, held, look, no_prior, note_limbs, prior_state, wished
from visual_irl.robots.chain import INSIDE, forward, tool_jacobian
from visual_irl.robots.model import RobotModel
from visual_irl.robots.self_collision import clearance
from visual_irl.robots.solutions import capacity, solutions, solver_of


class Status(IntEnum):
    """What the arm does after a step."""

    TRACKING = 0
    """The hand is where it must be."""
    BEHIND = 1
    """The target is within reach, the arm's speed or acceleration limits keep it from there."""
    UNREACHABLE = 2
    """No joint angles put the hand there, or only such that the arm meets itself; it is as near as the branch allows."""
    HOLDING = 3
    """Keypoints are lost; the last target is held."""
    STOPPED = 4
    """Keypoints have been lost for longer; the arm has decelerated or is doing so."""


class Steadiness(NamedTuple):
    """What keeps a live arm's self-motion steady. The hand is exact whatever it says.

    All but `approach` is for arms with a joint more than the hand needs: any other has no self-motion, and would only be held
    off its target.
    """

    stride: float = 0.18
    """Joint step between two frames beyond which the arm goes only where the hand cannot be met otherwise [rad]."""
    approach: float = 0.18
    """Largest joint step between two frames of any arm while its hand cannot be met [rad]."""
    inertia: float = 0.5
    """Pull towards going on as the arm went in the last frame, at 60 frames a second, per rad^2. How much of that is wanted
    follows from how the limbs hold the self-motion: as much as does not swing through their optimum (critical damping)."""
    farthest: float = 0.16
    """Largest self-motion that the prior asks for in a frame [rad]."""
    rest: float = 0.05
    """In place of the pulls' own `rest`, as inertia does most of its work."""


@dataclass(frozen=True)
class OnlineConfig:
    """How a live arm is followed."""

    margin: float = 0.002
    """Distance kept from every joint limit [rad]."""
    pull: Pull = Pull(1.0, 1.0, posture=0.0, limit=10.0, zone=0.1, turn=0.18, turn_zone=1.3, rest=0.5)
    """What the arm is drawn to besides the hand; its posture is the one that the prior guesses, see `guess`."""
    guess: float = 1.0
    """Weight of that posture with a prior, per rad^2 and per squared difference of the limbs' directions from the human's: the
    less an arm can be like the human's, the more the prior's word counts."""
    costs: BranchCosts = field(default_factory=lambda: BranchCosts(posture=0.0, motion=0.005, jump=0.0))
    """What decides between branches when one ends: limbs, limits and, a little, the way."""
    fixed_costs: BranchCosts = field(default_factory=lambda: BranchCosts(posture=0.0, motion=3.0, jump=1.5))
    """What decides between those of an arm without a redundant joint, which leaves one that has cost more: a jump costs a
    tenth of what it costs offline, as what is to come is not known."""
    leave: float = 0.6
    """What it costs an arm with a redundant joint to leave its branch unforced, beside the limbs of the branches [rad^2 s]; a
    jump costs about 1.5 offline. Infinite to leave none."""
    steadiness: Steadiness = Steadiness()
    """How its self-motion is kept steady."""
    pulling: int = 2
    """Steps a frame that are drawn to the limbs."""
    finishing: int = 5
    """Most steps a frame for the hand alone."""
    tolerance: float = 2e-5
    """Hand error at which a frame is solved [m]."""
    speed_share: float = 1.0
    """Share of the robot's speed and acceleration limits that is used; infinite to follow without inertia."""
    hold_seconds: float = 0.5
    """How long the last target is held when keypoints are lost [s]."""

    def __post_init__(self) -> None:
        require_within(
            self, 0.0, 1e3, margin=(0.0, 0.2), pulling=(0, 50), finishing=(1, 50), tolerance=(1e-9, 0.01),
            speed_share=(1e-3, np.inf), hold_seconds=(0.0, 10.0), leave=(1e-3, np.inf),
        )  # fmt: skip
        width = (1e-4, 3.0)
        require_within(self.pull, 0.0, 1e3, zone=width, turn_zone=width)
        for costs in (self.costs, self.fixed_costs):
            require_within(costs, 0.0, 1e3, zone=width, clear=(1e-4, 0.5), dexterous=(1e-4, 1.0), step=width)
        require_within(self.steadiness, 0.0, 1e3, stride=(1e-4, np.inf), approach=(1e-4, np.inf), farthest=width)


@structref.register
class _FollowerType(types.StructRef):
    """What `_Follower` is to the compiler."""


class _Follower(structref.StructRefProxy):
    """Everything that a step needs, behind one pointer: handing over its sixty arrays one by one takes longer than the step."""


structref.define_boxing(_FollowerType, _Follower)
structref.define_constructor(
    _Follower,
    _FollowerType,
    [
        "solver", "work", "state", "prior", "history", "sweep", "limits", "pull", "costs", "steadiness", "pulling", "finishing",
        "tolerance", "hold",
    ],
)  # fmt: skip
TARGET = 20
"""Numbers of a frame: the tool's orientation (9) and place (3), upper arm (3) and forearm (3), seen, time step."""


class OnlineMapper:
    """Follows one human arm with one robot, frame by frame.

    Call `reset` once, then `step` for every frame; the joint angles are in `q`.
    """

    def __init__(self, robot: RobotModel, config: OnlineConfig, prior: Prior | None = None) -> None:
        self.robot, self.config = robot, config
        self._solver = solver_of(robot, config.margin)
        self._work = work_of(self._solver.chain)
        self._prior = prior or no_prior()
        self._history = prior_state(self._prior)
        self._sweep = sweep_of(self._solver, config.leave)
        share = config.speed_share
        limits = Limits(np.array(robot.velocity) * share, np.array(robot.acceleration) * share)
        n = len(robot.home)
        rows = max(capacity(self._solver), OPTIONS)
        self._state = OnlineState(
            np.array(robot.home), np.zeros(n), np.array(robot.home), np.eye(3), np.zeros(3), np.zeros(3), np.zeros(3),
            np.array(robot.home), np.zeros(n), np.zeros(n), np.zeros(n), np.ones(n), np.zeros(n),
            np.zeros((rows, n)), np.zeros(rows), np.zeros((OPTIONS, n)), np.full(OPTIONS, np.inf),
            np.zeros(OPTIONS), np.zeros(5),
        )  # fmt: skip
        steadiness, pull, costs = config.steadiness, config.pull, config.costs
        if n > 6:
            pull = pull._replace(rest=steadiness.rest, posture=0.0 if prior is None else config.guess)
        else:
            steadiness, costs = steadiness._replace(stride=np.inf, inertia=0.0), config.fixed_costs
        self._follower = _follower_of(
            self._solver, self._work, self._state, self._prior, self._history, self._sweep, limits,
            pull, costs, steadiness, config.pulling, config.finishing, config.tolerance, config.hold_seconds,
        )  # fmt: skip
        self._target = np.zeros(TARGET)
        self._R = self._target[:9].reshape(3, 3)
        self._p, self._upper, self._fore = self._target[9:12], self._target[12:15], self._target[15:18]

    @property
    def q(self) -> Float[ndarray, "J"]:
        """Commanded joint angles [rad]; a view that the next step changes."""
        return self._state.q

    @property
    def qd(self) -> Float[ndarray, "J"]:
        """Their speeds [rad/s]; a view that the next step changes."""
        return self._state.qd

    def reset(self, q: Float[ndarray, "J"]) -> None:
        """Start from measured joint angles, at rest.

        Raises:
            InvalidInput: the angles are not finite, not as many as the arm has joints, or outside its limits.
        """
        q = np.asarray(q, float)
        if q.shape != self.robot.home.shape or not np.isfinite(q).all():
            raise InvalidInput(
                f"robot '{self.robot.name}' needs {len(self.robot.home)} finite joint angles to start from, got {q}"
            )
        outside = (q < self.robot.lower) | (q > self.robot.upper)
        if outside.any():
            j = int(np.argmax(outside))
            raise InvalidInput(
                f"robot '{self.robot.name}' cannot start with {self.robot.joint_names[j]} at {q[j]:.4f} rad; its limits are "
                f"{self.robot.lower[j]:.4f} and {self.robot.upper[j]:.4f}"
            )
        s = self._state
        s.q[:] = np.clip(q, self._solver.chain.lower, self._solver.chain.upper)
        s.ideal[:] = s.q
        s.posture[:] = s.q
        s.before[:] = s.q
        s.qd[:] = 0.0
        s.figures[:] = 0.0
        s.options[0], s.totals[:], s.totals[0] = s.q, np.inf, 0.0
        forward(self._solver.chain, s.q, self._work.pose)
        s.R[:], s.p[:] = self._work.pose.R[-1], self._work.pose.p[-1]
        s.figures[3] = clearance(self._solver.capsules, self._work.pose)
        s.upper[:], s.fore[:] = 0.0, 0.0
        self._history.filled[:] = 0
        forget(self._sweep)

    def best_start(
        self, R: Float[ndarray, "3 3"], p: Float[ndarray, "3"], upper: Float[ndarray, "3"], fore: Float[ndarray, "3"],
        posture: Float[ndarray, "J"],
    ) -> Float[ndarray, "J"]:  # fmt: skip
        """The solution of a first target that looks most human; the nearest pose from home when it has none."""
        found = solutions(self._solver, se3.transform(R, p))
        if not len(found):
            return np.clip(self.robot.home, self._solver.chain.lower, self._solver.chain.upper)
        costs = [price(self._solver, self._work, q, upper, fore, posture, self.config.costs) for q in found]
        best = found[int(np.argmin(costs))][None]
        return wound(best, self._solver.periodic, self._solver.chain.lower, self._solver.chain.upper, self.robot.home[None])[0]

    def step(
        self, R: Float[ndarray, "3 3"], p: Float[ndarray, "3"], upper: Float[ndarray, "3"], fore: Float[ndarray, "3"],
        seen: bool, dt: float,
    ) -> Status:  # fmt: skip
        """One frame: tool pose and limb directions in the base frame, whether the arm was seen, seconds since the last one.

        A target with a number that is not finite, or a time step that is not positive, counts as not seen. Nothing raises:
        a live arm must get an answer.
        """
        self.aim(R, p, upper, fore, seen, dt)
        return self.advance()

    def aim(
        self, R: Float[ndarray, "3 3"], p: Float[ndarray, "3"], upper: Float[ndarray, "3"], fore: Float[ndarray, "3"],
        seen: bool, dt: float,
    ) -> None:  # fmt: skip
        """Write down what `step` is given, whatever its memory layout; `advance` then does it."""
        self._R[:], self._p[:], self._upper[:], self._fore[:] = R, p, upper, fore
        self._target[18], self._target[19] = seen, dt

    def advance(self) -> Status:
        """The compiled part of `step`, alone."""
        return STATUS[_step(self._follower, self._target)]

    @property
    def hand_error(self) -> float:
        """What is left of the hand's error: metres plus 0.3 times radians."""
        return float(self._state.figures[2])


STATUS = tuple(Status)


@njit(cache=True)
@no_type_check
def _follower_of(
    solver, work, state, prior, history, sweep, limits, pull, costs, steadiness, pulling, finishing, tolerance, hold
):  # fmt: skip
    """Put together what the steps need."""
    return _Follower(
        solver, work, state, prior, history, sweep, limits, pull, costs, steadiness, pulling, finishing, tolerance, hold
    )


@njit(cache=True, nogil=True)
@no_type_check
def _step(follower, target):
    """One frame; see `OnlineMapper.step`."""
    solver, work, state, prior, history = follower.solver, follower.work, follower.state, follower.prior, follower.history
    joints = len(state.q)
    seen, dt = target[18] != 0.0, target[19]
    if not 0.0 < dt < np.inf:
        return 3 if state.figures[0] <= follower.hold else 4
    for i in range(18):
        seen = seen and np.isfinite(target[i])
    if seen:
        state.figures[0] = 0.0
        for r in range(3):
            for c in range(3):
                state.R[r, c] = target[3 * r + c]
            state.p[r], state.upper[r], state.fore[r] = target[9 + r], target[12 + r], target[15 + r]
    else:
        state.figures[0] += dt
        if state.figures[0] > follower.hold:
            decelerate(solver, work, state, follower.limits, dt)
            return 4
    s, trust, stiff = 0.0, 0.0, 0.0
    if seen and joints == JOINTS:  # without a self-motion there is nothing that could be asked for
        note_limbs(history, state.upper, state.fore, dt)
        stiff = _look_along(solver.chain, work, history, state, follower.pull)
        if prior.on:
            trust = unlikeness(solver.chain, work, state.ideal, state.upper, state.fore, follower.costs)
            farthest = follower.steadiness.farthest
            s = min(max(wished(prior, history), -farthest), farthest)
    pull = _drawn(state, follower.pull, follower.steadiness, s, trust * follower.pull.posture, stiff, dt)
    reachable, gap = follow_ideal(
        solver, work, state, follower.sweep, pull, follower.costs, follower.steadiness, follower.pulling,
        follower.finishing, follower.tolerance, dt,
    )  # fmt: skip
    if not command(solver, work, state, follower.limits, gap, dt, follower.finishing, follower.tolerance):
        return 2
    if not seen:
        return 3
    if state.figures[2] <= NEARLY * follower.tolerance:
        return 0
    return 1 if reachable else 2


@njit(**INSIDE)
@no_type_check
def _look_along(chain, work, history, state, pull):
    """Fill `state.free` with the ideal arm's self-motion, and what is seen along it; returns how strongly the limbs hold it
    [1/rad^2]."""
    forward(chain, state.ideal, work.pose)
    tool_jacobian(work.pose, work.J)
    self_motion(work, state.free, state.free)
    look(chain, work, history, state.ideal, state.free)
    return held(history, pull.upper, pull.fore)


@njit(**INSIDE)
@no_type_check
def _drawn(state, pull, steadiness, s, trust, stiff, dt):
    """Fill `state.posture` with what the ideal arm is drawn to: to where the prior wants it, and on as it went in the last
    frame; returns the pulls with the weight of both together.

    With inertia w, and limbs that hold the self-motion by k, a frame x minimises k x^2 + w (x - x1 - c (x1 - x2))^2; both poles
    of that recursion are one where (1 + c)^2 = 4 c (1 + k / w), so that it goes to rest as fast as it can without swinging.
    """
    inertia = steadiness.inertia / max(60.0 * dt, 0.25) ** 4
    last = state.figures[4]
    on = dt / last if 0.0 < last < 0.25 and dt < 0.25 else 0.0
    ratio = stiff / max(inertia, 1e-9)
    on *= (np.sqrt(1.0 + ratio) - np.sqrt(ratio)) ** 2
    weight = trust + inertia
    for j in range(len(state.q)):
        state.posture[j] = state.ideal[j]
        if weight > 0.0:
            wish = trust * s * state.free[j] + inertia * on * (state.ideal[j] - state.before[j])
            state.posture[j] += wish / weight
    state.figures[4] = dt
    return Pull(pull.upper, pull.fore, weight, pull.limit, pull.zone, pull.turn, pull.turn_zone, pull.rest)
