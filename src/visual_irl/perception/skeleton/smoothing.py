"""Fixed-interval smoothing of keypoint paths: outliers out, short gaps bridged, limbs of constant length.

Keypoints move as `motion_model` says; forward Kalman filter, backward smoother (Rauch, Tung and Striebel 1965). The smoother
knows how far away the next measurement is, so that its covariance grows into a gap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.perception.skeleton.motion_model import motion, predicted, updated
from visual_irl.types import SIDES, KeypointFrame, keypoint_index


@dataclass(frozen=True)
class SmoothingConfig:
    """How recordings are smoothed."""

    acceleration_density: float = 1.0
    """Power of the acceleration's white noise [m^2/s^3]: a hand that changes its speed by 1 m/s within 1 s."""
    outlier_window: float = 0.25
    """Half the window of the outlier test [s]."""
    outlier_limit: float = 4.0
    """A point further from its window's median than this many robust standard deviations is an outlier."""
    outlier_floor: float = 0.05
    """A point nearer to the median than this [m] is never an outlier."""
    persistent: float = 0.35
    """Share of a measurement's variance that does not change from frame to frame (landmarks err alike in like pictures):
    no smoothing takes it away."""
    max_gap: float = 0.5
    """A keypoint that is lost for longer [s] stays lost: an arm may do anything meanwhile."""

    def __post_init__(self) -> None:
        bounds = {"acceleration_density": (1e-6, 1e4), "outlier_limit": (1.0, 1e3), "persistent": (0.0, 0.99)}
        require_within(self, 0.0, 10.0, **bounds)


@dataclass(frozen=True)
class KeypointPaths:
    """Smoothed paths; NaN where a keypoint is lost. `observed` is false where it was bridged. `seen`: a person was."""

    t: Float[ndarray, "T"]
    p_world: Float[ndarray, "T K 3"]
    covariance: Float[ndarray, "T K 3 3"]
    observed: Bool[ndarray, "T K"]
    seen: Bool[ndarray, "T"]


def smooth_keypoints(
    t: Float[ndarray, "T"], frames: Sequence[KeypointFrame], config: SmoothingConfig | None = None, shots: Sequence[int] = ()
) -> KeypointPaths:
    """Smoothed paths of all keypoints at the times `t` [s].

    Frames without a person stay NaN: a person who was not there is not invented. `shots`: rows of frames with which a new shot
    begins, in rising order; each is smoothed by itself.

    Raises:
        InvalidInput: fewer than two frames, or times that do not increase.
    """
    config = config or SmoothingConfig()
    if len(frames) < 2 or len(t) != len(frames) or not (np.diff(t) > 0).all():
        raise InvalidInput(f"smoothing needs two or more frames at increasing times, got {len(frames)} and {len(t)} times")
    ends = [0, *shots, len(frames)]
    parts = [_smoothed_shot(np.asarray(t, float)[a:b], frames[a:b], config) for a, b in pairwise(ends)]
    return KeypointPaths(*(np.concatenate(values) for values in zip(*map(astuple, parts), strict=True)))


def _smoothed_shot(t: Float[ndarray, "T"], frames: Sequence[KeypointFrame], config: SmoothingConfig) -> KeypointPaths:
    p = np.stack([frame.p_world for frame in frames])
    measured = np.stack([frame.covariance for frame in frames])
    seen = np.array([frame.person for frame in frames])
    p[outliers(t, p, config)] = np.nan
    observed = np.isfinite(p).all(-1)
    smooth, covariance = rts_smooth(t, p, measured, config.acceleration_density)
    covariance += config.persistent * _held(measured, observed)
    lost = ~bridged(t, observed, config.max_gap) | ~seen[:, None]
    smooth[lost], covariance[lost] = np.nan, np.nan
    for side in SIDES:
        rows = np.array([keypoint_index(f"{side}_{joint}") for joint in ("shoulder", "elbow", "wrist")])
        whole = np.flatnonzero(np.isfinite(smooth[:, rows]).all((1, 2)))
        if len(whole):
            smooth[np.ix_(whole, rows)] = with_constant_limbs(smooth[np.ix_(whole, rows)])
    return KeypointPaths(t, smooth, covariance, observed & ~lost, seen)


def outliers(t: Float[ndarray, "T"], p: Float[ndarray, "T K 3"], config: SmoothingConfig) -> Bool[ndarray, "T K"]:
    """Hampel's test per keypoint: further from the median of its window than its neighbours' scatter explains."""
    far = np.zeros(p.shape[:2], bool)
    starts = np.searchsorted(t, t - config.outlier_window, side="left")
    ends = np.searchsorted(t, t + config.outlier_window, side="right")
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        window = p[start:end]
        some = np.isfinite(window).all(-1).sum(0) >= 3
        if not some.any():
            continue
        median = np.nanmedian(window[:, some], axis=0)
        scatter = 1.4826 * np.nanmedian(np.linalg.norm(window[:, some] - median, axis=-1), axis=0)
        limit = np.maximum(config.outlier_limit * scatter, config.outlier_floor)
        far[i, some] = np.linalg.norm(p[i, some] - median, axis=-1) > limit
    return far


def bridged(t: Float[ndarray, "T"], observed: Bool[ndarray, "T K"], max_gap: float) -> Bool[ndarray, "T K"]:
    """Where a keypoint is observed, or lies between two observations at most `max_gap` [s] apart."""
    last = np.maximum.accumulate(np.where(observed, t[:, None], -np.inf), axis=0)
    following = np.minimum.accumulate(np.where(observed, t[:, None], np.inf)[::-1], axis=0)[::-1]
    return observed | (following - last <= max_gap)


def rts_smooth(
    t: Float[ndarray, "T"], p: Float[ndarray, "T K 3"], covariance: Float[ndarray, "T K 3 3"], density: float
) -> tuple[Float[ndarray, "T K 3"], Float[ndarray, "T K 3 3"]]:
    """Smoothed positions [m] and their covariances; NaN measurements are gaps, an empty path stays NaN."""
    known = np.isfinite(p).all(-1) & np.isfinite(covariance).all((-2, -1))
    n, k = known.shape
    x, P = np.zeros((n, k, 6)), np.zeros((n, k, 6, 6))
    first = np.argmax(known, axis=0)
    x_now = np.concatenate([np.nan_to_num(p[first, np.arange(k)]), np.zeros((k, 3))], 1)
    P_now = np.tile(np.diag([1.0, 1.0, 1.0, 4.0, 4.0, 4.0]), (k, 1, 1))  # weak prior: within 1 m, below 2 m/s
    for i in range(n):
        if i:
            x_now, P_now = predicted(x_now, P_now, float(t[i] - t[i - 1]), density)
        rows = known[i]
        x_now[rows], P_now[rows] = updated(x_now[rows], P_now[rows], p[i, rows], covariance[i, rows])
        x[i], P[i] = x_now, P_now
    for i in range(n - 2, -1, -1):
        d = float(t[i + 1] - t[i])
        x_prior, P_prior = predicted(x[i], P[i], d, density)
        back = P[i] @ motion(d, density)[0].T @ np.linalg.inv(P_prior)
        x[i] = x[i] + (back @ (x[i + 1] - x_prior)[..., None])[..., 0]
        P[i] = P[i] + back @ (P[i + 1] - P_prior) @ np.swapaxes(back, -1, -2)
    empty = ~known.any(0)
    x[:, empty], P[:, empty] = np.nan, np.nan
    return x[..., :3], P[..., :3, :3]


def _held(covariance: Float[ndarray, "T K 3 3"], observed: Bool[ndarray, "T K"]) -> Float[ndarray, "T K 3 3"]:
    """Covariances with those of unobserved frames taken from the neighbouring observations, the larger one."""
    n = len(covariance)
    rows = np.arange(n)[:, None]
    last = np.maximum.accumulate(np.where(observed, rows, -1), axis=0)
    following = np.minimum.accumulate(np.where(observed, rows, n)[::-1], axis=0)[::-1]
    last = np.where(last < 0, np.minimum(following, n - 1), last)
    following = np.where(following == n, last, following)
    before, after = (np.take_along_axis(covariance, end[..., None, None], 0) for end in (last, following))
    larger = np.trace(after, axis1=-2, axis2=-1) > np.trace(before, axis1=-2, axis2=-1)
    return np.where(larger[..., None, None], after, before)


def with_constant_limbs(arm: Float[ndarray, "T 3 3"]) -> Float[ndarray, "T 3 3"]:
    """Shoulder, elbow, wrist per frame with upper arm and forearm as long as their medians over the clip.

    The wrist stays: it is what touches things. The elbow moves to the nearest point that has both lengths, and where
    the arm would have to be longer or shorter than it is, the shoulder gives way along the line to the wrist.
    """
    shoulder, elbow, wrist = arm[:, 0], arm[:, 1], arm[:, 2]
    upper = float(np.nanmedian(np.linalg.norm(elbow - shoulder, axis=1)))
    fore = float(np.nanmedian(np.linalg.norm(wrist - elbow, axis=1)))
    reach = wrist - shoulder
    distance = np.linalg.norm(reach, axis=1, keepdims=True)
    along = reach / np.maximum(distance, 1e-9)
    distance = np.clip(distance, abs(upper - fore) * (1 + 1e-6) + 1e-6, (upper + fore) * (1 - 1e-6))
    shoulder = wrist - distance * along
    # the elbow lies on the circle in which the spheres about shoulder and wrist meet
    a = (distance**2 + upper**2 - fore**2) / (2.0 * distance)
    radius = np.sqrt(np.maximum(upper**2 - a**2, 0.0))
    out = elbow - shoulder
    out = out - np.sum(out * along, axis=1, keepdims=True) * along
    out = out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-9)
    return np.stack([shoulder, shoulder + a * along + radius * out, wrist], axis=1)
