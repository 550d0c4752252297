"""How keypoints move between frames: white-noise acceleration, a Kalman filter a keypoint with its three axes together.

State (6,): position [m] and velocity [m/s]. With step d [s] and density q [m^2/s^3], per axis F = [[1, d], [0, 1]] and
Q = q [[d^3/3, d^2/2], [d^2/2, d]].
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_LEAST = 1e-10 * np.eye(3)  # a measurement is never surer than 0.01 mm: its inverse must exist


def motion(d: float, q: float) -> tuple[Float[ndarray, "6 6"], Float[ndarray, "6 6"]]:
    """F and Q of a step."""
    F, Q = np.array([[1.0, d], [0.0, 1.0]]), q * np.array([[d**3 / 3, d**2 / 2], [d**2 / 2, d]])
    return np.kron(F, np.eye(3)), np.kron(Q, np.eye(3))


def predicted(
    x: Float[ndarray, "N 6"], P: Float[ndarray, "N 6 6"], d: float, q: float
) -> tuple[Float[ndarray, "N 6"], Float[ndarray, "N 6 6"]]:
    """States and covariances after a step without a measurement."""
    F, Q = motion(d, q)
    return x @ F.T, F @ P @ F.T + Q


def updated(
    x: Float[ndarray, "N 6"], P: Float[ndarray, "N 6 6"], p: Float[ndarray, "N 3"], R: Float[ndarray, "N 3 3"]
) -> tuple[Float[ndarray, "N 6"], Float[ndarray, "N 6 6"]]:
    """States and covariances after measured positions `p` [m] with covariances `R`."""
    gain = P[:, :, :3] @ np.linalg.inv(P[:, :3, :3] + R + _LEAST)
    after = P - gain @ P[:, :3, :]
    return x + (gain @ (p - x[:, :3])[..., None])[..., 0], 0.5 * (after + np.swapaxes(after, 1, 2))
