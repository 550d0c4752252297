"""Whether a thing has a mark, such as a blemish, after all that was seen of it: a mark is on one side, maybe turned away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from visual_irl.bounds import require_within


@dataclass(frozen=True)
class MarkConfig:
    """How sightings add up."""

    in_view: float = 0.5
    """Share of the clear sightings of a thing with a mark in which the mark is in view: it is on one side."""
    surest: float = 6.0
    """A single sighting's log odds count up to this."""
    alike: float = 10.0
    """So many sightings of a thing in a row are taken to say what one says: pictures that follow each other err alike."""

    def __post_init__(self) -> None:
        require_within(self, 1.0, 1e3, in_view=(1e-3, 1.0), surest=(0.1, 100.0))


def mark_probability(shown: Float[ndarray, "N"], clear: Float[ndarray, "N"], config: MarkConfig | None = None) -> float:
    """How probable it is that a thing has a mark, if half of all things have one.

    With s the log odds that a sighting shows it, the sighting is exp(s) times likelier where a mark is in view than where none
    is, and so v exp(s) + 1 - v times likelier of a thing with a mark, where v is the chance that the mark is in view. A clear
    sight of a mark says much; not seeing one says little, and the less, the less is seen.

    Args:
        shown: how probable it is that a mark is in view, by sighting; one or more.
        clear: share of the thing that is seen, by sighting.
        config: how sightings add up.
    """
    config = config or MarkConfig()
    with np.errstate(divide="ignore"):
        s = np.clip(np.log(shown) - np.log1p(-shown), -config.surest, config.surest)
    v = config.in_view * np.clip(clear, 0.0, 1.0)
    evidence = np.log(v * np.exp(s) + 1.0 - v).sum() / min(config.alike, len(shown))
    return float(1.0 / (1.0 + np.exp(-evidence)))
