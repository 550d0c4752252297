"""What is remembered of arms: where an elbow's own skin was seen, for a second, wherever the camera goes."""

from __future__ import annotations

import numpy as np

from visual_irl import se3
from visual_irl.perception.skeleton.arm_memory import LONGEST, ArmMemory
from visual_irl.perception.skeleton.lifting import Lifted
from visual_irl.types import KEYPOINTS, keypoint_index

K = len(KEYPOINTS)
LEFT = [keypoint_index(f"left_{joint}") for joint in ("elbow", "wrist")]


def lifted(p: np.ndarray, own: bool) -> Lifted:
    """Only the left elbow and wrist are there (2, 3) [m]; `own`: they show their own skin."""
    places, measured = np.full((K, 3), np.nan), np.zeros(K, bool)
    places[LEFT], measured[LEFT] = p, own
    return Lifted(places, np.ones(K), np.ones(K), 0.0, np.ones(K), np.ones((K, 2)), measured, np.full((2, 2), np.nan))


def test_own_skin_is_remembered_for_a_while() -> None:
    memory, p = ArmMemory(), np.array([[0.2, 0.1, 1.0], [0.1, 0.3, 0.9]])
    assert memory.before(0, None) == {}
    memory.remember(lifted(p, own=True), 0, None)
    memory.remember(lifted(p - 0.3, own=False), 100_000_000, None)  # what hides it
    memory.remember(None, 150_000_000, None)
    before = memory.before(200_000_000, None)
    assert list(before) == ["left"] and before["left"].age == 0.2
    np.testing.assert_array_equal([before["left"].elbow, before["left"].wrist], p)
    assert memory.before(int(1.01e9 * LONGEST), None) == {}


def test_it_is_known_in_the_camera_of_now() -> None:
    memory, p = ArmMemory(), np.array([[0.2, 0.1, 1.0], [0.1, 0.3, 0.9]])
    here, there = se3.look_at(np.array([1.0, 0.2, 0.8]), np.zeros(3)), se3.look_at(np.array([0.4, 0.9, 0.6]), np.zeros(3))
    memory.remember(lifted(p, own=True), 0, here)
    before = memory.before(100_000_000, there)["left"]
    np.testing.assert_allclose(se3.apply(there, np.array([before.elbow, before.wrist])), se3.apply(here, p), atol=1e-12)
