"""How keypoints move between frames: white-noise acceleration, a Kalman filter a keypoint with its three axes together.

State (6,): position [m] and velocity [m/s]. With step d [s] and density q [m^2/s^3], per axis F = [[1, d], [0, 1]] and
Q = q [[d^3/3, d^2/2], [d^2/2, d]].
"""

from __future__ import annotations

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from numba import njit
from numpy import ndarray

_LEAST = 1e-10  # [m^2]; a measurement is never surer than 0.01 mm: its inverse must exist


def motion(d: float, q: float) -> tuple[Float[ndarray, "6 6"], Float[ndarray, "6 6"]]:
    """F and Q of a step."""
    F, Q = np.array([[1.0, d], [0.0, 1.0]]), q * np.array([[d**3 / 3, d**2 / 2], [d**2 / 2, d]])
    return np.kron(F, np.eye(3)), np.kron(Q, np.eye(3))


@njit(cache=True, nogil=True)
@no_type_check
def predicted(x, P, d, q):
    """States (N, 6) and covariances (N, 6, 6) after a step without a measurement: F x and F P F^T + Q."""
    x, P = x.copy(), P.copy()
    for n in range(len(x)):
        for i in range(3):
            x[n, i] += d * x[n, 3 + i]
            for j in range(6):
                P[n, i, j] += d * P[n, 3 + i, j]
        for i in range(6):
            for j in range(3):
                P[n, i, j] += d * P[n, i, 3 + j]
        for i in range(3):
            P[n, i, i] += q * d**3 / 3.0
            P[n, i, 3 + i] += q * d**2 / 2.0
            P[n, 3 + i, i] += q * d**2 / 2.0
            P[n, 3 + i, 3 + i] += q * d
    return x, P


@njit(cache=True, nogil=True)
@no_type_check
def updated(x, P, p, R):
    """States (N, 6) and covariances (N, 6, 6) after measured positions `p` (N, 3) [m] with covariances `R` (N, 3, 3)."""
    x, P, gain = x.copy(), P.copy(), np.empty((6, 3))
    for n in range(len(x)):
        before, L = P[n].copy(), root(P[n, :3, :3] + R[n] + _LEAST * np.eye(3))
        for i in range(6):
            gain[i] = _solved(L, before[i, :3])
        off = p[n] - x[n, :3]
        for i in range(6):
            for k in range(3):
                x[n, i] += gain[i, k] * off[k]
                for j in range(6):
                    P[n, i, j] -= gain[i, k] * before[k, j]
        P[n] = 0.5 * (P[n] + P[n].T)  # rounding must not make it unsymmetric
    return x, P


@njit(cache=True, nogil=True)
@no_type_check
def root(A):
    """Cholesky's lower triangle L of a covariance (3, 3), A = L L^T; NaN where it is none."""
    L = np.zeros((3, 3))
    for i in range(3):
        for j in range(i + 1):
            rest = A[i, j]
            for k in range(j):
                rest -= L[i, k] * L[j, k]
            if i > j:
                L[i, j] = rest / L[j, j]
            else:
                L[i, i] = np.sqrt(rest) if rest > 0.0 else np.nan
    return L


@njit(cache=True, nogil=True)
@no_type_check
def whitened(L, offset):
    """An offset (3,) [m] in standard deviations of the covariance L L^T: its length is Mahalanobis's distance."""
    out = np.empty(3)
    for i in range(3):
        rest = offset[i]
        for k in range(i):
            rest -= L[i, k] * out[k]
        out[i] = rest / L[i, i]
    return out


@njit(cache=True, nogil=True)
@no_type_check
def _solved(L, b):
    """x with L L^T x = b."""
    out = whitened(L, b)
    for i in range(2, -1, -1):
        for k in range(i + 1, 3):
            out[i] -= L[k, i] * out[k]
        out[i] /= L[i, i]
    return out
