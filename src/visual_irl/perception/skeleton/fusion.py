"""Several calibrated cameras on one person: one place a keypoint, each camera weighed by what it knows.

Camera i says p_i with covariance C_i, in the world frame. Fused: C = (sum C_i^-1)^-1, p = C sum C_i^-1 p_i. A camera with depth
is sure in all directions, one without only across its rays: of such, two or more triangulate. Before that, whoever contradicts
the others is left out: a whole body (somebody else), or single keypoints (guessed, or hidden by something).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from visual_irl import covariance as cov
from visual_irl.bounds import require_within
from visual_irl.errors import InvalidInput
from visual_irl.types import BODY_KEYPOINTS, KEYPOINTS, KeypointFrame

_OTHER = {"left": "right", "right": "left"}
_OTHER_SIDE = np.array([KEYPOINTS.index(_OTHER[name.split("_")[0]] + name[name.index("_") :]) for name in KEYPOINTS])
_BODY = slice(0, len(BODY_KEYPOINTS))
_LEAST = 1e-8 * np.eye(3)  # [m^2], so that what is known exactly has an inverse


@dataclass(frozen=True)
class FusionConfig:
    """How cameras are fused."""

    calibration: float = 0.005
    """How far a camera's pose may be off at the person, standard deviation [m]."""
    shared: float = 0.3
    """Share of a place's variance that all cameras have in common, as the landmark is not the joint: it stays."""
    gate: float = 4.0
    """A keypoint further from where the other cameras see it than this many standard deviations (Mahalanobis) is left out."""
    body_gate: float = 8.0
    """A body of whose joints the median is further is somebody else's, or has left and right exchanged."""
    largest: float = 0.10
    """A place known worse than this in any direction [m] is lost: one camera without depth knows only a ray."""
    memory: float = 0.5
    """For so long [s] the last fused body tells which of two cameras that contradict each other is right."""

    def __post_init__(self) -> None:
        require_within(self, 0.0, 10.0, shared=(0.0, 0.99), gate=(0.1, 1e3), body_gate=(0.1, 1e3), largest=(1e-3, 10.0))


class Fusion:
    """Feed it moments in the order of time, cameras always in the same order; `left_out` counts what was not used and why."""

    def __init__(self, config: FusionConfig | None = None) -> None:
        self.config = config or FusionConfig()
        self.left_out: Counter[str] = Counter()
        self._last: KeypointFrame | None = None

    def step(self, frames: Sequence[KeypointFrame]) -> KeypointFrame:
        """The person at one moment; the frames' stamps must be alike, and the first one's is taken.

        Raises:
            InvalidInput: no frame.
        """
        if not frames:
            raise InvalidInput("a moment needs a frame of one camera or more, got none")
        stamp_ns = frames[0].stamp_ns
        if self._last is not None and abs(stamp_ns - self._last.stamp_ns) > self.config.memory * 1e9:
            self._last = None
        seen = self._of_one_person([_Places.of(frame, self.config.calibration) for frame in frames if frame.person], stamp_ns)
        p, covariance, confidence = self._fused(seen)
        known = np.isfinite(p).all(1)
        fused = KeypointFrame(stamp_ns, p, covariance, np.where(known, confidence, 0.0), frames[0].uv)
        if fused.person:
            self._last = fused
        return fused

    def _of_one_person(self, seen: list[_Places], stamp_ns: int) -> list[_Places]:
        """The cameras that see the same person, with left where the others have left; earlier ones are believed first."""
        for _ in range(len(seen)):
            scores = []
            for i, one in enumerate(seen):
                rest = self._reference(seen[:i] + seen[i + 1 :], stamp_ns)
                scores.append((rest.distance(one), rest.distance(one.mirrored())))
            worst = max(range(len(seen)), key=lambda i: (scores[i][0], i), default=0)
            if not seen or not scores[worst][0] > self.config.body_gate:
                break
            apart, crossed = scores[worst]
            if crossed < 0.5 * apart and crossed <= self.config.body_gate:
                self.left_out["sides exchanged"] += 1
                seen = [*seen[:worst], seen[worst].mirrored(), *seen[worst + 1 :]]
            else:
                self.left_out["somebody else"] += 1
                seen = seen[:worst] + seen[worst + 1 :]
        return seen

    def _reference(self, others: list[_Places], stamp_ns: int) -> _Places:
        """Where the other cameras, and the last moment, say that the body is."""
        last = []
        if self._last is not None:
            moved = (1e-9 * (stamp_ns - self._last.stamp_ns)) ** 2 * np.eye(3)  # 1 m/s
            last = [_Places.of(replace(self._last, covariance=self._last.covariance + moved), 0.0)]
        return combined(last + others)

    def _fused(self, seen: list[_Places]) -> tuple[Float[ndarray, "K 3"], Float[ndarray, "K 3 3"], Float[ndarray, "K"]]:
        k = len(KEYPOINTS)
        if not seen:
            return np.full((k, 3), np.nan), np.full((k, 3, 3), np.nan), np.zeros(k)
        used = np.array([one.known for one in seen])
        for _ in range(len(seen) - 1):
            bad = self._contradicting(seen, used)
            if not bad.any():
                break
            self.left_out["keypoints"] += int(bad.sum())
            used &= ~bad
        whole = combined([one.only(rows) for one, rows in zip(seen, used, strict=True)])
        covariance = whole.covariance * (1.0 + self.config.shared * np.maximum(used.sum(0) - 1, 0))[:, None, None]
        lost = ~whole.known
        lost[~lost] = np.linalg.eigvalsh(covariance[~lost])[:, 2] > self.config.largest**2
        confidence = np.max([np.where(rows, one.confidence, 0.0) for one, rows in zip(seen, used, strict=True)], axis=0)
        return np.where(lost[:, None], np.nan, whole.p), np.where(lost[:, None, None], np.nan, covariance), confidence

    def _contradicting(self, seen: list[_Places], used: Bool[ndarray, "N K"]) -> Bool[ndarray, "N K"]:
        """Of each keypoint the camera that is furthest from the others, where that is too far; of two the less sure one."""
        off, size = np.zeros(used.shape), np.zeros(used.shape)
        for i, one in enumerate(seen):
            rest = combined([o.only(rows) for j, (o, rows) in enumerate(zip(seen, used, strict=True)) if j != i])
            off[i] = np.nan_to_num(cov.distance(one.p - rest.p, one.covariance + rest.covariance)) * used[i]
            size[i] = np.nan_to_num(np.trace(one.covariance, axis1=1, axis2=2)) * used[i]
        two = used.sum(0) == 2
        worst = np.where(two, size.argmax(0), off.argmax(0))
        bad = np.zeros(used.shape, bool)
        bad[worst, np.arange(used.shape[1])] = off.max(0) > self.config.gate
        return bad & used


@dataclass(frozen=True)
class _Places:
    """What one camera says of all keypoints; NaN where it says nothing."""

    p: Float[ndarray, "K 3"]
    covariance: Float[ndarray, "K 3 3"]
    confidence: Float[ndarray, "K"]

    @classmethod
    def of(cls, frame: KeypointFrame, calibration: float) -> _Places:
        found = frame.confidence > 0.0
        covariance = frame.covariance + (calibration**2 * np.eye(3) + _LEAST)
        return cls(frame.p_world, covariance, frame.confidence).only(found)

    @property
    def known(self) -> Bool[ndarray, "K"]:
        return np.isfinite(self.p).all(1)

    def only(self, rows: Bool[ndarray, "K"]) -> _Places:
        """These rows; the others are lost."""
        p, covariance = np.where(rows[:, None], self.p, np.nan), np.where(rows[:, None, None], self.covariance, np.nan)
        return _Places(p, covariance, np.where(rows, self.confidence, 0.0))

    def mirrored(self) -> _Places:
        """Left and right exchanged."""
        return _Places(self.p[_OTHER_SIDE], self.covariance[_OTHER_SIDE], self.confidence[_OTHER_SIDE])

    def distance(self, other: _Places) -> float:
        """Median over the body's joints that both know, in standard deviations; 0 when there are fewer than three."""
        both = (self.known & other.known)[_BODY]
        off = self.p[_BODY][both] - other.p[_BODY][both]
        apart = cov.distance(off, self.covariance[_BODY][both] + other.covariance[_BODY][both])
        return float(np.median(apart)) if both.sum() >= 3 else 0.0


def combined(seen: Sequence[_Places]) -> _Places:
    """Independent cameras together; a keypoint that none knows is NaN."""
    k = len(KEYPOINTS)
    information, weighed, best = np.zeros((k, 3, 3)), np.zeros((k, 3)), np.zeros(k)
    for one in seen:
        rows = one.known
        inverse = np.linalg.inv(one.covariance[rows])
        information[rows] += inverse
        weighed[rows] += (inverse @ one.p[rows, :, None])[..., 0]
        best = np.maximum(best, one.confidence)
    rows = np.trace(information, axis1=1, axis2=2) > 0.0
    p, covariance = np.full((k, 3), np.nan), np.full((k, 3, 3), np.nan)
    covariance[rows] = np.linalg.inv(information[rows])
    covariance[rows] = 0.5 * (covariance[rows] + np.swapaxes(covariance[rows], 1, 2))
    p[rows] = (covariance[rows] @ weighed[rows, :, None])[..., 0]
    return _Places(p, covariance, best)
