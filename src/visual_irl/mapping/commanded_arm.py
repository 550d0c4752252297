"""The commanded arm: follows the ideal one of the online mapper inside the joints' speed and acceleration limits.

It goes exactly where the ideal arm is when its walls of this frame let it, with the hand first when it nearly can, and
straight through joint space after a change of branch. It keeps room to stop before every joint limit and before it meets
itself.
"""

from __future__ import annotations

from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.mapping.hand_first import ANGLE_LENGTH, NO_STEPS, Pull, hand_first
from visual_irl.robots.chain import INSIDE, LEAN, forward, tool_error
from visual_irl.robots.self_collision import FAR, OVERLAP, clearance


class OnlineState(NamedTuple):
    """Everything that changes from frame to frame."""

    q: ndarray
    """(J,) commanded joints [rad]."""
    qd: ndarray
    """(J,) their speeds [rad/s]."""
    ideal: ndarray
    """(J,) joints of the ideal arm [rad]."""
    R: ndarray
    """(3, 3) last target."""
    p: ndarray
    """(3,) last target [m]."""
    upper: ndarray
    """(3,) last upper-arm direction."""
    fore: ndarray
    """(3,) last forearm direction."""
    posture: ndarray
    """(J,) what the ideal arm is drawn to [rad]."""
    before: ndarray
    """(J,) where the ideal arm was [rad]."""
    low: ndarray
    """(J,) walls of this frame."""
    high: ndarray
    """(J,) walls of this frame."""
    free: ndarray
    """(J,) self-motion of the ideal arm."""
    ahead: ndarray
    """(J,) where the arm would be while it brakes, or could land with capsules that touch [rad]."""
    found: ndarray
    """(N, J) solutions."""
    ways: ndarray
    """(N,) what it costs to go there."""
    options: ndarray
    """(9, J) the solutions of the last frame that had some [rad]; of an arm without a redundant joint."""
    totals: ndarray
    """(9,) what the best path so far costs that ends there, above the least; infinite where there is none."""
    now: ndarray
    """(9,) what each of this frame's solutions costs by itself."""
    figures: ndarray
    """(5,) seconds since keypoints were seen; hand error [m + ANGLE_LENGTH rad] of the ideal and of the commanded arm; the
    commanded arm's distance to itself [m]; the last time step [s]."""


class Limits(NamedTuple):
    """Speed and acceleration limits that are used."""

    velocity: ndarray
    """(J,) [rad/s]"""
    acceleration: ndarray
    """(J,) [rad/s^2]"""


@njit(**INSIDE)
@no_type_check
def command(solver, work, state, limits, gap, dt, finishing, tolerance):
    """Take the commanded arm towards the ideal one, `gap` [m] away from itself, inside its speed and acceleration limits;
    brake, and return False, where that would bring the arm into itself."""
    joints, chain = len(state.q), solver.chain
    inside, far = True, 0.0
    for j in range(joints):
        _walls(chain, state, limits, dt, j)
        inside = inside and state.low[j] <= state.ideal[j] <= state.high[j]
        far = max(far, abs(state.ideal[j] - state.q[j]))
    q = state.found[0]
    for j in range(joints):
        q[j] = _towards(state, limits, dt, j)
    state.figures[2] = state.figures[1]
    if inside:
        pass
    elif far < CHANGED:  # the same branch: the hand goes first, as far as the limits let it
        pull = Pull(0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.1)
        state.figures[2] = hand_first(
            chain, work, q, state.R, state.p, state.upper, state.fore, state.ideal, pull, state.low, state.high, NO_STEPS,
            finishing, tolerance,
        )  # fmt: skip
    else:
        forward(chain, q, work.pose)
        tool_error(work.pose, state.R, state.p, work.e)
        away = np.sqrt(work.e[0] ** 2 + work.e[1] ** 2 + work.e[2] ** 2)
        state.figures[2] = away + ANGLE_LENGTH * np.sqrt(work.e[3] ** 2 + work.e[4] ** 2 + work.e[5] ** 2)
    if not inside:
        gap = gap_of(solver, work, q)
    if not _may_go(solver, work, state, limits, q, gap, dt):
        decelerate(solver, work, state, limits, dt)
        return False
    state.figures[3] = gap
    for j in range(joints):
        state.qd[j] = (q[j] - state.q[j]) / dt
        state.q[j] = q[j]
    return True


@njit(**LEAN)
@no_type_check
def gap_of(solver, work, q):
    """Distance of the arm to itself at `q`, at most `FAR` [m]."""
    forward(solver.chain, q, work.pose)
    return clearance(solver.capsules, work.pose, FAR, -np.inf)


NEARLY = 30.0
"""Error of a hand that counts as met, over that at which its steps end."""


@njit(**LEAN)
@no_type_check
def gap_at(solver, work, q, error, tolerance):
    """`gap_of` where `hand_first` has ended with this error; not looked for, and less than any, where the hand is not met."""
    if not error <= NEARLY * tolerance:
        return -np.inf
    if not error < tolerance:  # else the pose is known from its last step
        forward(solver.chain, q, work.pose)
    return clearance(solver.capsules, work.pose, FAR, -np.inf)


@njit(**INSIDE)
@no_type_check
def meets_itself(solver, work, q):
    """Whether capsules of the arm overlap at `q`."""
    forward(solver.chain, q, work.pose)
    return clearance(solver.capsules, work.pose, 0.0, 0.0) < 0.0


LEAST_GAP = 0.01
"""Distance to itself that an arm keeps, unless it moves apart [m]."""


@njit(**INSIDE)
@no_type_check
def _may_go(solver, work, state, limits, q, gap, dt):
    """Whether the arm can move to `q`, `gap` [m] away from itself, and still stop, braking all joints together, before it
    meets itself.

    As the same was asked a frame ago, the course on which it would brake now is known to be free.
    """
    joints, stopping, turn, before = len(state.q), 0.0, 0.0, state.figures[3]
    for j in range(joints):
        stopping = max(stopping, abs(q[j] - state.q[j]) / (dt * limits.acceleration[j]))
        turn += abs(q[j] - state.q[j]) / dt
    if stopping == 0.0 and gap >= -OVERLAP:
        return True
    if gap < before and gap < (LEAST_GAP if stopping > 0.0 else -OVERLAP):
        return False
    # until it stands no point comes nearer to another than by all joints' turn at the arm's full length
    if gap - 0.5 * stopping * turn * solver.capsules.length < LEAST_GAP:
        for part in range(1, 4):
            for j in range(joints):
                state.ahead[j] = q[j] + part / 6.0 * stopping * (q[j] - state.q[j]) / dt
            ahead = gap_of(solver, work, state.ahead)
            if ahead < before and ahead < LEAST_GAP:
                return False
    return True


CHANGED = 0.6
"""Distance between ideal and commanded joints above which they are on different branches [rad]."""


@njit(**INSIDE)
@no_type_check
def _walls(chain, state, limits, dt, j):
    """Positions that joint `j` can take in this frame: limits, speed, acceleration, and room to stop before a limit."""
    v, a = limits.velocity[j], limits.acceleration[j]
    fast = min(v, state.qd[j] + a * dt)
    slow = max(-v, state.qd[j] - a * dt)
    # stopping from speed w after this frame's way w dt needs w dt + w^2 / (2 a) of room
    up, down = chain.upper[j] - state.q[j], state.q[j] - chain.lower[j]
    fast = min(fast, _stopping_speed(up, a, dt))
    slow = max(slow, -_stopping_speed(down, a, dt))
    if fast < slow:  # the acceleration limit gives way to the position limit
        fast = slow = min(max(0.0, -down / dt), up / dt)
    state.high[j] = min(state.q[j] + fast * dt, chain.upper[j])
    state.low[j] = max(state.q[j] + slow * dt, chain.lower[j])


@njit(**INSIDE)
@no_type_check
def _towards(state, limits, dt, j):
    """Where joint `j` goes in this frame: onto the ideal one where its walls let it; else no faster, beside the ideal one's own
    motion, than it can still stop there, so that it does not shoot past it."""
    away = state.ideal[j] - state.q[j]
    q = state.ideal[j]
    if not state.low[j] <= q <= state.high[j]:
        own = state.ideal[j] - state.before[j]
        if abs(own) > limits.velocity[j] * dt:  # a change of branch, or faster than any motion that could be joined
            own = 0.0
        closing = min(_stopping_speed(abs(away), limits.acceleration[j], dt) * dt, abs(away))
        q = state.q[j] + own + np.sign(away) * closing
    return min(max(q, state.low[j]), state.high[j])


@njit(**INSIDE)
@no_type_check
def _stopping_speed(room, a, dt):
    """Largest speed from which a joint that moves on for `dt` can still stop within `room`."""
    if not a < np.inf:
        return np.inf if room > 0.0 else 0.0
    return a * (np.sqrt(dt * dt + 2.0 * max(room, 0.0) / a) - dt)


@njit(**INSIDE)
@no_type_check
def decelerate(solver, work, state, limits, dt):
    """Brake all joints together, so that the arm keeps its course, as fast as the slowest of them can; the ideal arm waits
    where the commanded one stands."""
    joints = len(state.q)
    share = 1.0
    for j in range(joints):
        if state.qd[j] != 0.0:
            share = min(share, limits.acceleration[j] * dt / abs(state.qd[j]))
    for j in range(joints):
        _walls(solver.chain, state, limits, dt, j)
        q = state.q[j] + (1.0 - share) * state.qd[j] * dt
        q = min(max(q, state.low[j]), state.high[j])
        state.qd[j] = (q - state.q[j]) / dt
        state.q[j] = q
        state.ideal[j] = q
        state.before[j] = q
    state.figures[3] = gap_of(solver, work, state.q)
