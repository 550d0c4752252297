"""MediaPipe's smoothing of a body's landmarks over a stream: One-Euro filters (Casiez et al. 2012) and a low pass.

Its numbers are part of what "agrees with MediaPipe" means; `live` and `smoothing` smooth joints in 3D afterwards.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.perception.landmarks.detection import PersonDetection

_VISIBILITY_SHARE = 0.1  # of the newest visibility in the smoothed one
_DERIVATIVE_CUTOFF = 1.0  # [Hz]


class OneEuro:
    """A low pass whose cut-off frequency rises with speed: `min_cutoff` [Hz] at rest, and `beta` times the speed more."""

    def __init__(self, min_cutoff: float, beta: float) -> None:
        self._min_cutoff, self._beta = min_cutoff, beta
        self._raw: ndarray | None = None
        self._smooth = self._speed = np.zeros(0)
        self._last_ms = 0
        self._rate = 30.0  # [Hz], until two stamps tell

    def step(self, values: Float[ndarray, "N D"], stamp_ms: int, scale: float) -> Float[ndarray, "N D"]:
        """Smoothed values; `scale` times them is what the speed is measured in. The first come back as they are."""
        if stamp_ms <= self._last_ms:
            return values
        if self._last_ms:
            self._rate = 1e3 / (stamp_ms - self._last_ms)
        self._last_ms = stamp_ms
        if self._raw is None:
            self._raw, self._smooth, self._speed = values, values, np.zeros_like(values)
            return values
        speed = (values - self._raw) * scale * self._rate
        a = self._share(np.array(_DERIVATIVE_CUTOFF))
        self._speed = a * speed + (1.0 - a) * self._speed
        a = self._share(self._min_cutoff + self._beta * np.abs(self._speed))
        self._raw, self._smooth = values, a * values + (1.0 - a) * self._smooth
        return self._smooth

    def _share(self, cutoff: ndarray) -> ndarray:
        return np.asarray(1.0 / (1.0 + self._rate / (2.0 * np.pi * cutoff)))


class BodyFilter:
    """Pixels, shape and visibility of one body that is followed; a new one needs a new filter."""

    def __init__(self) -> None:
        self._uv, self._shape = OneEuro(0.05, 80.0), OneEuro(0.1, 40.0)
        self._visibility: ndarray | None = None

    def step(self, person: PersonDetection, stamp_ms: int, size: float) -> PersonDetection:
        """The smoothed body; `size` is the side of its region [px], in which its speed is measured."""
        old = person.visibility if self._visibility is None else self._visibility
        self._visibility = _VISIBILITY_SHARE * person.visibility + (1.0 - _VISIBILITY_SHARE) * old
        uv, shape = self._uv.step(person.uv, stamp_ms, 1.0 / size), self._shape.step(person.shape, stamp_ms, 1.0)
        return replace(person, uv=uv, shape=shape, visibility=self._visibility)
