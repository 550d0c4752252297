"""The neural part of the mapper: how far along its self-motion the best path through the whole motion would have the arm now.

A live arm sees how its limbs lie to the human's, which way its self-motion would turn them, how the human's limbs turn, and how
near its joints are to their limits. Each of these draws it one way or the other along the self-motion (*terms*, which change
their sign with the direction that is called positive); a small multi-layer perceptron weighs them by how the arm lies, so that
the sum is where the offline mapper, which sees the future too, would most likely be. What is the same question gets the same
answer: the tool turned about the last joint or the base about the first, short of those joints' limits, and the mirrored
motion of the mirrored arm.

The network never moves the arm by itself: hand-first inverse kinematics follows, so the hand is exact whatever it says. It is
trained by `visual_irl.mapping.prior_training`; here it only runs, compiled and without an allocation.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.assets import asset_path
from visual_irl.errors import InvalidInput, MissingFile
from visual_irl.io.tensors import load_weights
from visual_irl.mapping.hand_first import Work, limb_direction
from visual_irl.robots.chain import INNERMOST, INSIDE, LEAN, Chain, limb_jacobian
from visual_irl.robots.model import RobotModel

JOINTS = 7
"""Joints of the arms that a prior is for: one more than the hand needs."""
TERMS = 4 + JOINTS
"""What draws the arm along its self-motion: how it changes the limbs' misses (2), whether the human's limbs turn that way (2),
and which joints it takes from their limits."""
INPUTS = TERMS + 4 + 2 * JOINTS + 6
"""Numbers that the network reads: the terms' sizes, the limbs' misses and how fast they turn, joints near limits and in the
self-motion, sines and cosines of the joints whose angle is no turn of base, limb or tool."""
BENT = (1, 3, 5)
"""Those joints."""
ZONE = 0.8
"""Distance from a joint limit from which on it is seen [rad]."""
MEMORY = 0.08
"""Time constant of the mean that a limb's turning is told by [s]."""
LAYERS = ("W1", "b1", "W2", "b2", "W3", "b3")


class Prior(NamedTuple):
    """A network of two hidden layers and an output for each term; weights are float32, a row for each input of their layer."""

    W1: ndarray
    b1: ndarray
    W2: ndarray
    b2: ndarray
    W3: ndarray
    b3: ndarray
    on: bool


class PriorState(NamedTuple):
    """What the human's limbs did, and the network's buffers."""

    limbs: ndarray
    """(2, 3) directions of the human's limbs now."""
    means: ndarray
    """(2, 3) their running means."""
    turning: ndarray
    """(2, 3) how fast they turn [1/s]."""
    filled: ndarray
    """(1,) whether there has been a moment."""
    terms: ndarray
    """(TERMS,)"""
    x: ndarray
    """(INPUTS,)"""
    a: ndarray
    b: ndarray


def prior_of(robot: RobotModel) -> Prior | None:
    """The prior that ships for an arm; None for one without a self-motion, which has nothing to choose along.

    Raises:
        MissingFile, UnreadableFile, InvalidInput: as `load_prior`.
    """
    return load_prior(robot.name) if len(robot.home) == JOINTS else None


def load_prior(robot: str, path: Path | None = None) -> Prior:
    """The prior that ships for a robot, or the one in a file.

    Raises:
        MissingFile: there is none, with how to train one.
        UnreadableFile, InvalidInput: not a file of weights, or its layers do not fit each other.
    """
    name = f"models/mapping_prior_{robot}.safetensors"
    how = f"train one with: visual-irl bench mapping --train-prior --robot {robot}"
    try:
        path = asset_path(name) if path is None else Path(path)
    except MissingFile:
        raise MissingFile(f"no mapping prior ships for the robot '{robot}' ({name}); {how}") from None
    w = load_weights(path, "mapping prior", how)
    if sorted(w) != sorted(LAYERS):
        raise InvalidInput(f"'{path}' is not a mapping prior: it holds {', '.join(sorted(w))}, expected {', '.join(LAYERS)}")
    W1, b1, W2, b2, W3, b3 = (np.ascontiguousarray(w[layer], np.float32) for layer in LAYERS)
    fits = W1.shape == (len(b1), INPUTS) and W2.shape == (len(b2), len(b1)) and W3.shape == (len(b3), len(b2))
    if not fits or len(b3) != TERMS:
        raise InvalidInput(f"'{path}': layers {W1.shape}, {W2.shape} and {W3.shape} do not fit each other or an arm; {how}")
    W1, W2, W3 = (np.ascontiguousarray(W.T) for W in (W1, W2, W3))
    return Prior(W1, b1, W2, b2, W3, b3, True)


def no_prior() -> Prior:
    """A prior that prefers no posture."""
    z = np.zeros((1, 1), np.float32)
    return Prior(np.zeros((INPUTS, 1), np.float32), z[0], z, z[0], z, z[0], False)


def prior_state(prior: Prior) -> PriorState:
    """Buffers for a prior."""
    return PriorState(
        np.zeros((2, 3)), np.zeros((2, 3)), np.zeros((2, 3)), np.zeros(1, np.int64), np.zeros(TERMS),
        np.zeros(INPUTS, np.float32), np.zeros(len(prior.b1), np.float32), np.zeros(len(prior.b2), np.float32),
    )  # fmt: skip


@njit(**LEAN)
@no_type_check
def note_limbs(state: PriorState, upper: ndarray, fore: ndarray, dt: float) -> None:
    """Note the directions of the human's limbs, `dt` [s] after the last ones."""
    share = 1.0 if state.filled[0] == 0 else 1.0 - np.exp(-dt / MEMORY)
    for r in range(3):
        state.limbs[0, r], state.limbs[1, r] = upper[r], fore[r]
        for limb in range(2):
            state.means[limb, r] += share * (state.limbs[limb, r] - state.means[limb, r])
            state.turning[limb, r] = (state.limbs[limb, r] - state.means[limb, r]) / MEMORY
    state.filled[0] = 1


@njit(**LEAN)
@no_type_check
def look(chain: Chain, work: Work, state: PriorState, q: ndarray, free: ndarray) -> None:
    """Fill the terms and what the network reads at the posture `q` (J,) with the unit self-motion `free` (J,); `work.pose` must
    hold the arm's pose, and `note_limbs` have been called for this moment."""
    terms, x, d = state.terms, state.x, work.d
    for limb in range(2):
        length = limb_direction(chain, work, limb, d)
        limb_jacobian(chain, work.pose, limb, work.a, work.Jl)
        limb_jacobian(chain, work.pose, limb + 1, work.b, work.Jm)
        along = 0.0
        for r in range(3):
            v = 0.0
            for j in range(JOINTS):
                v += (work.Jm[r, j] - work.Jl[r, j]) * free[j]
            work.e[r] = v / length
            along += work.e[r] * d[r]
        slope, miss, lead, swing = 0.0, 0.0, 0.0, 0.0
        for r in range(3):
            v, off = work.e[r] - along * d[r], d[r] - state.limbs[limb, r]
            slope += 2.0 * off * v
            miss += off * off
            lead += v * state.turning[limb, r]
            swing += v * v
        terms[limb], terms[2 + limb] = slope, lead
        x[TERMS + limb], x[TERMS + 2 + limb] = miss, swing
    o = TERMS + 4
    for j in range(JOINTS):
        low = max(0.0, 1.0 - (q[j] - chain.lower[j]) / ZONE)
        high = max(0.0, 1.0 - (chain.upper[j] - q[j]) / ZONE)
        near = low * low - high * high
        terms[4 + j] = near * free[j]
        x[o + j], x[o + JOINTS + j] = abs(near), free[j] * free[j]
    o += 2 * JOINTS
    for k in range(len(BENT)):
        x[o + 2 * k], x[o + 2 * k + 1] = np.sin(q[BENT[k]]), np.cos(q[BENT[k]])
    for k in range(TERMS):
        x[k] = abs(terms[k])


@njit(**LEAN)
@no_type_check
def held(state: PriorState, upper: float, fore: float) -> float:
    """How strongly limbs of these weights hold the self-motion that was looked along: the curvature of their cost [1/rad^2]."""
    return upper * state.x[TERMS + 2] + fore * state.x[TERMS + 3]


@njit(**LEAN)
@no_type_check
def wished(prior: Prior, state: PriorState) -> float:
    """How far along the self-motion from where `look` was called the best path is expected now [rad]."""
    _weigh(prior.W1, prior.b1, state.x, state.a)
    _rectify(state.a)
    _weigh(prior.W2, prior.b2, state.a, state.b)
    _rectify(state.b)
    s = 0.0
    for k in range(TERMS):
        weight = float(prior.b3[k])
        for i in range(len(state.b)):
            weight += prior.W3[i, k] * state.b[i]
        s += weight * state.terms[k]
    return s


@njit(**INNERMOST)
@no_type_check
def _weigh(W, b, x, out):
    """Fill `out` with `b` and what the weights of the inputs add."""
    for i in range(len(out)):
        out[i] = b[i]
    for k in range(len(x)):
        weights, value = W[k], x[k]
        for i in range(len(out)):
            out[i] += weights[i] * value


@njit(**INSIDE)
@no_type_check
def _rectify(x):
    for i in range(len(x)):
        x[i] = x[i] if x[i] > np.float32(0.0) else np.float32(0.0)
