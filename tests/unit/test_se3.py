"""Group axioms and conversions of rigid transforms, on random ones."""

from __future__ import annotations

import numpy as np
import pytest

from visual_irl import se3
from visual_irl.errors import InvalidInput

RNG = np.random.default_rng(0)
VECTORS = [RNG.normal(size=3) * s for s in (1e-9, 0.1, 1.0, 3.0) for _ in range(5)]


@pytest.mark.parametrize("w", VECTORS)
def test_log_inverts_exp(w: np.ndarray) -> None:
    w = w / max(1.0, np.linalg.norm(w) / 3.1)  # inside the half turn, where the logarithm is unique
    assert np.allclose(se3.log_so3(se3.exp_so3(w)), w, atol=1e-7)  # sqrt of machine precision near half a turn


def test_log_of_half_turn_has_length_pi() -> None:
    for axis in np.eye(3):
        w = se3.log_so3(se3.exp_so3(np.pi * axis))
        assert np.isclose(np.linalg.norm(w), np.pi) and np.isclose(abs(w @ axis), np.pi)


def test_inverse_cancels_and_apply_composes() -> None:
    T_a_b = se3.transform(se3.exp_so3(VECTORS[7]), VECTORS[8])
    T_b_c = se3.transform(se3.exp_so3(VECTORS[9]), VECTORS[10])
    assert np.allclose(se3.inverse(T_a_b) @ T_a_b, np.eye(4), atol=1e-12)
    p_c = RNG.normal(size=(4, 3))
    assert np.allclose(se3.apply(T_a_b @ T_b_c, p_c), se3.apply(T_a_b, se3.apply(T_b_c, p_c)), atol=1e-12)


@pytest.mark.parametrize("w", VECTORS)
def test_quaternion_round_trip(w: np.ndarray) -> None:
    R = se3.exp_so3(w)
    assert np.allclose(se3.rotation_of_quaternion(se3.quaternion_wxyz(R)), R, atol=1e-12)


def test_zero_quaternion_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no direction"):
        se3.rotation_of_quaternion(np.zeros(4))


def test_rotation_between_turns_a_into_b_also_when_opposite() -> None:
    for a, b in [(VECTORS[6], VECTORS[11]), (VECTORS[6], -VECTORS[6]), (np.array([0, 0, 1.0]), np.array([0, 0, -2.0]))]:
        R = se3.rotation_between(a, b)
        assert np.allclose(R @ a / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-7)
        assert np.isclose(np.linalg.det(R), 1.0)


def test_look_at_puts_target_on_optical_axis_with_y_down() -> None:
    T_world_camera = se3.look_at(np.array([1.0, -0.2, 0.6]), np.array([0.0, 0.1, 0.2]))
    p_camera = se3.apply(se3.inverse(T_world_camera), np.array([0.0, 0.1, 0.2]))
    assert np.allclose(p_camera[:2], 0.0, atol=1e-12) and p_camera[2] > 1.0
    assert T_world_camera[2, 1] < 0.0  # image y points down in the world
