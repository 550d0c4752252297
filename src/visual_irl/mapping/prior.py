"""The neural part of the mapper: which posture the best path through the whole motion would have now.

A small multi-layer perceptron gives every posture of the arm an energy, from the posture, how its limbs lie to the human's,
and how the arm has moved in the last quarter of a second; the lowest energy is where the offline mapper, which sees the
future too, would most likely be. It chooses between branches, and draws the arm along its self-motion. It never moves the
arm by itself: hand-first inverse kinematics follows, so the hand is exact whatever the network says. It is trained by
`visual_irl.mapping.prior_training`; here it only runs, compiled and without an allocation.
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
from visual_irl.robots.chain import FAST, LEAN, Chain, forward

LAGS = 4
"""Past moments that are read besides the present one."""
LAG_SECONDS = 0.06
"""Time between them [s]."""
MOMENT = 15
"""Numbers that describe a moment: two columns of the tool's orientation (6), its position (3), two limb directions (6)."""
LAYERS = ("W1", "b1", "W2", "b2", "W3", "b3")


class Prior(NamedTuple):
    """A network of two hidden layers and one output; weights are float32, a row for each input of their layer."""

    W1: ndarray
    b1: ndarray
    W2: ndarray
    b2: ndarray
    W3: ndarray
    b3: ndarray
    on: bool


class PriorState(NamedTuple):
    """Recent moments and the network's buffers."""

    moments: ndarray
    """(LAGS + 1, MOMENT) latest first."""
    age: ndarray
    """(1,) seconds since a moment was last filed."""
    filled: ndarray
    """(1,) how many moments there are."""
    x: ndarray
    """The network's inputs: first what no posture changes, then what does."""
    base: ndarray
    """What the first layer makes of the former."""
    a: ndarray
    b: ndarray


def inputs(joints: int) -> int:
    """Numbers that the network reads."""
    return (LAGS + 1) * MOMENT + 2 * joints + 12


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
    fits = W1.shape[0] == len(b1) and W2.shape == (len(b2), len(b1)) and W3.shape == (1, len(b2)) and b3.shape == (1,)
    if not fits or W1.shape[1] not in (inputs(6), inputs(7)):
        raise InvalidInput(f"'{path}': layers {W1.shape}, {W2.shape} and {W3.shape} do not fit each other or an arm; {how}")
    W1, W2, W3 = (np.ascontiguousarray(W.T) for W in (W1, W2, W3))
    return Prior(W1, b1, W2, b2, W3, b3, True)


def no_prior(joints: int) -> Prior:
    """A prior that prefers no posture."""
    z = np.zeros((1, 1), np.float32)
    return Prior(np.zeros((inputs(joints), 1), np.float32), z[0], z, z[0], z, z[0], False)


def prior_state(prior: Prior) -> PriorState:
    """Buffers for a prior."""
    return PriorState(
        np.zeros((LAGS + 1, MOMENT), np.float32), np.zeros(1), np.zeros(1, np.int64),
        np.zeros(len(prior.W1), np.float32), np.zeros(len(prior.b1), np.float32), np.zeros(len(prior.b1), np.float32),
        np.zeros(len(prior.b2), np.float32),
    )  # fmt: skip


@njit(**LEAN)
@no_type_check
def file_moment(prior: Prior, state: PriorState, R: ndarray, p: ndarray, upper: ndarray, fore: ndarray, dt: float) -> None:
    """Note the present moment, keep one of the past every `LAG_SECONDS`, and fill the inputs that no posture changes and what
    the network makes of them."""
    state.age[0] += dt
    if state.filled[0] == 0:
        for i in range(LAGS + 1):
            _write_moment(state.moments[i], R, p, upper, fore)
        state.filled[0] = 1
        state.age[0] = 0.0
    elif state.age[0] >= LAG_SECONDS - 1e-9:
        state.age[0] = 0.0
        for i in range(LAGS, 0, -1):
            for k in range(MOMENT):
                state.moments[i, k] = state.moments[i - 1, k]
    _write_moment(state.moments[0], R, p, upper, fore)
    for k in range(MOMENT):
        state.x[k] = state.moments[0, k]
        for i in range(1, LAGS + 1):
            state.x[i * MOMENT + k] = 4.0 * (state.moments[0, k] - state.moments[i, k])
    _weigh(prior.W1, prior.b1, state.x, 0, (LAGS + 1) * MOMENT, state.base)


@njit(**LEAN)
@no_type_check
def _write_moment(m, R, p, upper, fore):
    for r in range(3):
        m[r], m[3 + r], m[6 + r], m[9 + r], m[12 + r] = R[r, 0], R[r, 2], p[r], upper[r], fore[r]


@njit(**LEAN)
@no_type_check
def write_posture(chain: Chain, work: Work, state: PriorState, q: ndarray) -> None:
    """Fill the inputs that depend on the posture `q` (J,): sines, cosines, limb directions and how they miss the human's."""
    joints = len(q)
    o = (LAGS + 1) * MOMENT
    for j in range(joints):
        state.x[o + j] = np.sin(q[j])
        state.x[o + joints + j] = np.cos(q[j])
    o += 2 * joints
    forward(chain, q, work.pose)
    for limb in range(2):
        limb_direction(chain, work, limb, work.d)
        for r in range(3):
            state.x[o + r] = work.d[r]
            state.x[o + 3 + r] = 2.0 * (work.d[r] - state.moments[0, 9 + 3 * limb + r])
        o += 6


@njit(**LEAN)
@no_type_check
def energy(chain: Chain, work: Work, prior: Prior, state: PriorState, q: ndarray) -> float:
    """How unlikely the best path is to have the posture `q` now; `file_moment` must have been called for this moment."""
    write_posture(chain, work, state, q)
    _weigh(prior.W1, state.base, state.x, (LAGS + 1) * MOMENT, len(state.x), state.a)
    _rectify(state.a)
    _weigh(prior.W2, prior.b2, state.a, 0, len(state.a), state.b)
    _rectify(state.b)
    s = prior.b3[0]
    for k in range(len(state.b)):
        s += prior.W3[k, 0] * state.b[k]
    return s


@njit(**LEAN, fastmath=FAST)
@no_type_check
def _weigh(W, b, x, first, last, out):
    """Fill `out` with `b` and what the weights of the inputs from `first` to `last` add."""
    for i in range(len(out)):
        out[i] = b[i]
    for k in range(first, last):
        weights, value = W[k], x[k]
        for i in range(len(out)):
            out[i] += weights[i] * value


@njit(**LEAN)
@no_type_check
def _rectify(x):
    for i in range(len(x)):
        x[i] = x[i] if x[i] > np.float32(0.0) else np.float32(0.0)
