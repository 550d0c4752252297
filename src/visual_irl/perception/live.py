"""Causal smoothing of keypoints for live use: one Kalman filter a coordinate, with white-noise acceleration.

Nothing is bridged: what is lost in a frame is NaN in that frame, as before. Only what was seen is smoothed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy import ndarray

from visual_irl.errors import InvalidInput
from visual_irl.types import KEYPOINTS, KeypointFrame


@dataclass(frozen=True)
class LiveConfig:
    """How a live stream is smoothed."""

    acceleration_density: float = 1.0
    """Power of the acceleration's white noise [m^2/s^3]; as in `smoothing.SmoothingConfig`."""
    persistent: float = 0.45
    """Share of a measurement's variance that is added to the filter's own: it does not change from frame to frame."""
    gate: float = 4.0
    """A point further from where it was expected than this many standard deviations is an outlier, and lost ..."""
    patience: float = 0.25
    """... unless it stays away for so long [s]: then it is believed, and the filter starts anew."""


class LiveFilter:
    """Feed it frames in the order of time; `rejected` counts points that were refused as outliers."""

    def __init__(self, config: LiveConfig | None = None) -> None:
        self.config = config or LiveConfig()
        shape = (len(KEYPOINTS), 3)
        self._x = np.zeros((*shape, 2))
        self._P = np.zeros((*shape, 2, 2))
        self._seen_ns = np.full(len(KEYPOINTS), -1, dtype=np.int64)
        self._last_ns: int | None = None
        self.rejected = 0

    def step(self, frame: KeypointFrame) -> KeypointFrame:
        """The frame with smoothed positions and their deviations.

        Raises:
            InvalidInput: the frame is not newer than the one before.
        """
        if self._last_ns is not None:
            if frame.stamp_ns <= self._last_ns:
                raise InvalidInput(
                    f"frame at {frame.stamp_ns} ns is not newer than the one before it ({self._last_ns} ns); drop it"
                )
            self._predict((frame.stamp_ns - self._last_ns) * 1e-9)
        self._last_ns = frame.stamp_ns
        found = np.isfinite(frame.p_world).all(1) & np.isfinite(frame.sigma).all(1) & (frame.confidence > 0.0)
        stale = (self._seen_ns < 0) | (frame.stamp_ns - self._seen_ns > self.config.patience * 1e9)
        self._restart(found & stale, frame)
        spread = np.sqrt(self._P[..., 0, 0] + np.nan_to_num(frame.sigma) ** 2)
        off = np.abs(np.nan_to_num(frame.p_world) - self._x[..., 0]) > self.config.gate * spread
        outlier = found & off.any(1)
        self.rejected += int(outlier.sum())
        used = found & ~outlier
        self._update(used, frame)
        self._seen_ns[used] = frame.stamp_ns
        sigma = np.sqrt(self._P[..., 0, 0] + self.config.persistent * np.nan_to_num(frame.sigma) ** 2)
        lost = ~used[:, None]
        return replace(
            frame,
            p_world=np.where(lost, np.nan, self._x[..., 0]),
            sigma=np.where(lost, np.nan, sigma),
            confidence=np.where(used, frame.confidence, 0.0),
        )

    def _predict(self, dt: float) -> None:
        F = np.array([[1.0, dt], [0.0, 1.0]])
        Q = self.config.acceleration_density * np.array([[dt**3 / 3, dt**2 / 2], [dt**2 / 2, dt]])
        self._x = self._x @ F.T
        self._P = F @ self._P @ F.T + Q

    def _restart(self, rows: ndarray, frame: KeypointFrame) -> None:
        """At rest where they are seen, with a weak prior on speed: below 1 m/s."""
        self._x[rows] = np.stack([frame.p_world[rows], np.zeros((int(rows.sum()), 3))], -1)
        self._P[rows] = np.diag([0.0, 1.0])
        self._P[rows, :, 0, 0] = frame.sigma[rows] ** 2

    def _update(self, rows: ndarray, frame: KeypointFrame) -> None:
        P = self._P[rows]
        gain = P[..., :, 0] / (P[..., 0, 0] + frame.sigma[rows] ** 2)[..., None]
        self._x[rows] += gain * (frame.p_world[rows] - self._x[rows, :, 0])[..., None]
        self._P[rows] = P - gain[..., :, None] * P[..., None, 0, :]
