"""An elbow that is drawn beside its place goes back to it, as far as limbs can tell."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from visual_irl.perception.skeleton.arm_depth import LimbLengths
from visual_irl.perception.skeleton.elbow_fit import elbow_on_limbs

ARM = np.array([[-0.18, -0.10, 1.10], [-0.28, 0.14, 1.15], [-0.10, 0.20, 0.98]])
UPPER, FORE = (float(np.linalg.norm(b - a)) for a, b in pairwise(ARM))
KNOWN = LimbLengths((UPPER, FORE), (0.004, 0.004))
SEEN = np.array([0.009, 0.0165, 0.0])


def drawn(shift: np.ndarray) -> np.ndarray:
    """The arm with its elbow moved across its ray [m]."""
    ray = ARM[1] / np.linalg.norm(ARM[1])
    return ARM + np.array([[0.0], [1.0], [0.0]]) * (shift - (shift @ ray) * ray)


@pytest.mark.parametrize("along", [-0.03, 0.03])
def test_an_elbow_drawn_too_high_or_low_on_the_arm_goes_back(along: float) -> None:
    arm = drawn(along * (ARM[1] - ARM[0]) / UPPER)
    found = elbow_on_limbs(arm, KNOWN, SEEN, 0.008)
    assert np.linalg.norm(found - ARM[1]) < 0.4 * np.linalg.norm(arm[1] - ARM[1])


def test_an_elbow_where_both_limbs_fit_stays() -> None:
    assert np.abs(elbow_on_limbs(ARM, KNOWN, SEEN, 0.008) - ARM[1]).max() < 1e-9


def test_limbs_that_are_not_known_tell_nothing() -> None:
    arm = drawn(np.array([0.0, 0.03, 0.0]))
    strangers = LimbLengths((UPPER, FORE), (1.0, 1.0))
    assert np.linalg.norm(elbow_on_limbs(arm, strangers, SEEN, 0.008) - arm[1]) < 1e-3


def test_a_hidden_wrist_hardly_pulls() -> None:
    arm = ARM + np.array([[0.0], [0.0], [1.0]]) * [0.0, 0.0, 0.12]  # its depth is a guess
    pulled = np.linalg.norm(elbow_on_limbs(arm, KNOWN, SEEN, 0.008) - ARM[1])
    kept = np.linalg.norm(elbow_on_limbs(arm, KNOWN, np.array([0.009, 0.0165, 0.12]), 0.008) - ARM[1])
    assert pulled > 0.02 and kept < 0.002
