"""Causal smoothing of keypoints for live use: one Kalman filter a keypoint, see `motion_model`.

Nothing is bridged: what is lost in a frame is NaN in that frame, as before. Only what was seen is smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import no_type_check

import numpy as np
from numba import njit
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton import motion_model
from visual_irl.types import KEYPOINTS, KeypointFrame


@dataclass(frozen=True)
class LiveConfig:
    """How a live stream is smoothed."""

    acceleration_density: float = 1.0
    """Power of the acceleration's white noise [m^2/s^3]; as in `smoothing.SmoothingConfig`."""
    persistent: float = 0.1
    """Share of a measurement's variance that is added to the filter's own: it does not change from frame to frame."""
    gate: float = 4.5
    """A point further from where it was expected than this many standard deviations (Mahalanobis's distance: 2 in 10,000 good
    points) is an outlier, and lost ..."""
    patience: float = 0.25
    """... unless it stays away for so long [s]: then it is believed, and the filter starts anew."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 10.0, acceleration_density=(1e-6, 1e6), gate=(0.1, 1e6))


class LiveFilter:
    """Feed it frames in the order of time; `rejected` counts points that were refused as outliers."""

    def __init__(self, config: LiveConfig | None = None) -> None:
        self.config = config or LiveConfig()
        """May be replaced between two frames."""
        self._x = np.zeros((len(KEYPOINTS), 6))
        self._P = np.zeros((len(KEYPOINTS), 6, 6))
        self._seen_ns = np.full(len(KEYPOINTS), -1, dtype=np.int64)
        self._last_ns: int | None = None
        self.rejected = 0

    def step(self, frame: KeypointFrame) -> KeypointFrame:
        """The frame with smoothed positions and their covariances.

        Raises:
            InvalidInput: the frame is not newer than the one before.
        """
        if self._last_ns is not None:
            if frame.stamp_ns <= self._last_ns:
                raise InvalidInput(
                    f"frame at {frame.stamp_ns} ns is not newer than the one before it ({self._last_ns} ns); drop it"
                )
            step = (frame.stamp_ns - self._last_ns) * 1e-9
            self._x, self._P = motion_model.predicted(self._x, self._P, step, self.config.acceleration_density)
        self._last_ns = frame.stamp_ns
        found = np.isfinite(frame.p_world).all(1) & np.isfinite(frame.covariance).all((1, 2)) & (frame.confidence > 0.0)
        stale = (self._seen_ns < 0) | (frame.stamp_ns - self._seen_ns > self.config.patience * 1e9)
        self._restart(found & stale, frame)
        outlier = found & ~_expected(self._x, self._P, frame.p_world, frame.covariance, self.config.gate)
        self.rejected += int(outlier.sum())
        used = found & ~outlier
        self._x[used], self._P[used] = motion_model.updated(
            self._x[used], self._P[used], frame.p_world[used], frame.covariance[used]
        )
        self._seen_ns[used] = frame.stamp_ns
        covariance = self._P[:, :3, :3] + self.config.persistent * frame.covariance
        lost = ~used[:, None]
        return replace(
            frame,
            p_world=np.where(lost, np.nan, self._x[:, :3]),
            covariance=np.where(lost[..., None], np.nan, covariance),
            confidence=np.where(used, frame.confidence, 0.0),
        )

    def forget(self) -> None:
        """Take the next sight of each keypoint for its first."""
        self._seen_ns[:] = -1

    def _restart(self, rows: ndarray, frame: KeypointFrame) -> None:
        """At rest where they are seen, with a weak prior on speed: below 1 m/s."""
        self._x[rows, :3], self._x[rows, 3:] = frame.p_world[rows], 0.0
        self._P[rows] = np.diag([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])
        self._P[rows, :3, :3] = frame.covariance[rows]


@njit(cache=True, nogil=True)
@no_type_check
def _expected(x, P, p, R, gate):
    """Which measured positions are within so many standard deviations of where they are expected."""
    out = np.empty(len(x), np.bool_)
    for n in range(len(x)):
        off = motion_model.whitened(motion_model.root(P[n, :3, :3] + R[n]), p[n] - x[n, :3])
        out[n] = np.sqrt((off**2).sum()) <= gate
    return out
